"use strict";
/* Draws every figure from the data that stands behind it. */
(() => {
  const config = {
    responsive: true, displaylogo: false, showSendToCloud: false, plotlyServerURL: "",
    modeBarButtons: [["zoom2d", "pan2d", "zoomIn2d", "zoomOut2d", "resetScale2d"]],
  };
  /* On a touch screen a finger scrolls the page; the buttons zoom. */
  const isTouch = matchMedia("(pointer: coarse)").matches;
  const drawers = {
    plot: (div, spec) => Plotly.newPlot(div, spec.data, spec.layout, config),
    timeline: (div, spec) => FlexsimTimeline(div, spec, config),
  };
  const drawings = [...document.querySelectorAll(".drawing")].map((div) => {
    const spec = JSON.parse(document.getElementById(`${div.id}-data`).textContent);
    if (isTouch) spec.layout.dragmode = false;
    return drawers[div.dataset.drawer](div, spec);
  });
  Promise.all(drawings).then(() => document.documentElement.setAttribute("data-drawn", "yes"));
})();
