"use strict";
/* A click on a header sorts its table's rows, a second one the other way round. */
(() => {
  const keyOf = (row, column) => {
    const cell = row.cells[column];
    return "key" in cell.dataset ? Number(cell.dataset.key) : cell.textContent;
  };
  const compare = (a, b) => {
    const areNumbers = [typeof a === "number", typeof b === "number"];
    if (areNumbers[0] && areNumbers[1]) return a - b;
    if (areNumbers[0] !== areNumbers[1]) return areNumbers[0] ? -1 : 1;
    return a.localeCompare(b, "en", { numeric: true });
  };
  const sort = (table, column) => {
    const headers = [...table.tHead.rows[0].cells];
    const isDescending = headers[column].getAttribute("aria-sort") === "ascending";
    headers.forEach((header) => header.removeAttribute("aria-sort"));
    headers[column].setAttribute("aria-sort", isDescending ? "descending" : "ascending");
    const keyed = [...table.tBodies[0].rows].map((row) => [keyOf(row, column), row]);
    keyed.sort((a, b) => (isDescending ? compare(b[0], a[0]) : compare(a[0], b[0])));
    table.tBodies[0].append(...keyed.map((pair) => pair[1]));
  };
  for (const table of document.querySelectorAll("table.sortable")) {
    [...table.tHead.rows[0].cells].forEach((header, column) => {
      header.addEventListener("click", () => sort(table, column));
    });
  }
})();
