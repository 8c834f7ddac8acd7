"use strict";
/* A timeline: single bars where few are in view, else in every column the kind that fills most. */
const FlexsimTimeline = (() => {
  const MOST_BARS = 2500;
  const MOST_NUMBERS = 1200;
  const MOST_OUTLINED = 600;
  const MARGIN_PX = 90;
  const DIGIT_PX = 7;

  const decoded = (text, Type) => {
    const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
    return new Type(bytes.buffer);
  };
  const unpacked = (spec) => ({
    start: decoded(spec.start, Uint32Array),
    end: decoded(spec.end, Uint32Array),
    color: decoded(spec.color, Uint16Array),
    number: decoded(spec.number, Int32Array),
    stage: decoded(spec.stage, Int32Array),
    firstOfRow: spec.first_of_row,
  });

  /* The numbers of the bars that a view shows, row by row; bars of a row lie in order of start. */
  const inView = (bars, spec, view) => {
    const found = [];
    const [from, to] = view.x.map((time) => time / spec.tick);
    const rows = [...view.y].sort((a, b) => a - b);
    for (let row = 0; row < spec.rows.length; row++) {
      if (row + 0.5 < rows[0] || row - 0.5 > rows[1]) continue;
      for (let i = bars.firstOfRow[row]; i < bars.firstOfRow[row + 1]; i++) {
        if (bars.end[i] > from && bars.start[i] < to) found.push([i, row]);
      }
    }
    return found;
  };

  const withUnit = (seconds) => {
    const units = [[1, "s"], [1e-3, "ms"], [1e-6, "µs"]];
    const [factor, name] = units.find(([least]) => seconds >= least) || [1e-9, "ns"];
    return `${Number((seconds / factor).toPrecision(5))} ${name}`;
  };

  const told = (bars, spec, i) => {
    const parts = [spec.palette[bars.color[i]].name];
    if (bars.stage[i] >= 0) parts.push(`stage ${bars.stage[i]}`);
    if (bars.number[i] >= 0) parts.push(`microbatch ${bars.number[i]}`);
    return parts.join(", ");
  };

  const barTrace = (div, bars, spec, view, found) => {
    const pxPerTime = Math.max(div.clientWidth - MARGIN_PX, 100) / Math.abs(view.x[1] - view.x[0]);
    const isNumbered = found.length <= MOST_NUMBERS;
    const trace = {
      type: "bar", orientation: "h", base: [], x: [], y: [], width: [], text: [], customdata: [],
      marker: { color: [], line: { color: "#ffffff", width: found.length <= MOST_OUTLINED ? 0.5 : 0 } },
      textposition: "inside", insidetextanchor: "middle", textangle: 0, constraintext: "none",
      textfont: { size: 10, color: [] }, cliponaxis: true,
      hovertemplate: "%{customdata}<extra></extra>",
    };
    for (const [i, row] of found) {
      const color = spec.palette[bars.color[i]];
      const [start, end] = [bars.start[i] * spec.tick, bars.end[i] * spec.tick];
      const number = bars.number[i] < 0 ? "" : String(bars.number[i]);
      const isWide = (end - start) * pxPerTime > DIGIT_PX * number.length + 3;
      trace.base.push(start);
      trace.x.push(end - start);
      trace.y.push(color.is_low ? row + 0.33 : row - (spec.has_low ? 0.12 : 0));
      trace.width.push(color.is_low ? 0.2 : spec.has_low ? 0.62 : 0.84);
      trace.text.push(isNumbered && isWide ? number : "");
      trace.marker.color.push(color.color);
      trace.textfont.color.push(color.text_color);
      trace.customdata.push(
        `${told(bars, spec, i)}<br>${spec.row_name} ${spec.rows[row]}<br>` +
        `${spec.shown(start)} – ${spec.shown(end)} (${spec.shown(end - start)})`);
    }
    return trace;
  };

  /* For every row and column, which colour fills most of it; -1 where it is mostly idle. */
  const filled = (bars, spec, view, found, numColumns) => {
    const [from, to] = view.x;
    const step = (to - from) / numColumns;
    const cells = new Map();
    for (const [i, row] of found) {
      if (!cells.has(row)) cells.set(row, new Map());
      const color = bars.color[i];
      if (!cells.get(row).has(color)) cells.get(row).set(color, new Float32Array(numColumns));
      const share = cells.get(row).get(color);
      const start = Math.max((bars.start[i] * spec.tick - from) / step, 0);
      const end = Math.min((bars.end[i] * spec.tick - from) / step, numColumns);
      for (let column = Math.floor(start); column < end; column++) {
        share[column] += Math.min(end, column + 1) - Math.max(start, column);
      }
    }
    return [...Array(spec.rows.length).keys()].map((row) => most(cells.get(row), spec.palette, numColumns));
  };
  const most = (shares, palette, numColumns) => {
    const found = new Array(numColumns).fill(null);
    const busy = new Float32Array(numColumns);
    const best = new Float32Array(numColumns);
    const ordered = [...(shares || [])].sort((a, b) => palette[a[0]].is_low - palette[b[0]].is_low);
    for (const [color, share] of ordered) {
      for (let column = 0; column < numColumns; column++) {
        const free = palette[color].is_low ? 1 - busy[column] : 1;
        const here = Math.min(share[column], free);
        if (!palette[color].is_low) busy[column] += share[column];
        if (here > best[column]) { best[column] = here; found[column] = color; }
      }
    }
    return found.map((color, column) => (best[column] >= Math.min(0.5, 1 - busy[column]) ? color : null));
  };

  const mapTrace = (div, bars, spec, view, found) => {
    const numColumns = Math.max(div.clientWidth - MARGIN_PX, 200);  // one a pixel
    const z = filled(bars, spec, view, found, numColumns);
    const count = spec.palette.length;
    const step = (view.x[1] - view.x[0]) / numColumns;
    const scale = spec.palette.flatMap(({ color }, i) => [[i / count, color], [(i + 1) / count, color]]);
    return {
      type: "heatmap", z, x0: view.x[0] + step / 2, dx: step, y0: 0, dy: 1, ygap: 1.5,
      zmin: -0.5, zmax: count - 0.5, colorscale: scale, showscale: false, hoverongaps: false,
      text: z.map((row) => row.map((color) => (color === null ? "" : spec.palette[color].name))),
      hovertemplate: `mostly %{text}<br>${spec.row_name} %{y}<extra></extra>`,
    };
  };

  const viewOf = (layout) => ({ x: [...layout.xaxis.range], y: [...layout.yaxis.range] });

  const draw = (div, spec, config) => {
    const bars = unpacked(spec);
    spec.shown = (time) => withUnit(time * spec.unit_s);
    const whole = { x: [0, spec.end_time], y: [spec.rows.length - 0.5, -0.5] };
    const show = (view) => {
      const found = inView(bars, spec, view);
      const trace = found.length <= MOST_BARS
        ? barTrace(div, bars, spec, view, found) : mapTrace(div, bars, spec, view, found);
      const layout = structuredClone(spec.layout);
      layout.xaxis.range = [...view.x];
      layout.yaxis.range = [...view.y];
      layout.dragmode = div.layout ? div.layout.dragmode : layout.dragmode;
      return Plotly.react(div, [trace], layout, { ...config, doubleClick: false });
    };
    return show(whole).then(() => {
      div.on("plotly_doubleclick", () => show(whole));
      div.on("plotly_relayout", (change) => {
        if (Object.keys(change).some((key) => key.includes("axis"))) show(viewOf(div.layout));
      });
    });
  };
  return draw;
})();
