const board = new DataTable("#board", {
  paging: false, autoWidth: false, order: [], orderFixed: [0, "asc"], rowGroup: {dataSource: 0, className: "paper"},
  columnDefs: [{targets: 0, visible: false}, {targets: [6, 7], orderable: false}],
  layout: {topStart: null, topEnd: "search", bottomStart: null, bottomEnd: null},
  language: {search: "search", zeroRecords: "No claim is like that."},
});
const controls = document.querySelector(".controls");
const shown = () => { document.querySelector("#shown").textContent = `${board.rows({search: "applied"}).count()} of ${board.rows().count()} shown`; };
for (const filter of controls.querySelectorAll("[data-filter]"))
  filter.addEventListener("change", () => {
    const column = board.column(filter.dataset.filter);
    (filter.value ? column.search(filter.value, {exact: true}) : column.search("")).draw();
  });
controls.querySelector("[data-sort]").addEventListener("change", (event) =>
  board.order(event.target.value ? [event.target.value.split(" ")] : []).draw());
board.on("draw", shown);
shown();
controls.hidden = false;
const open = () => { const found = document.getElementById(location.hash.slice(1)); if (found?.tagName === "DETAILS") found.open = true; };
addEventListener("hashchange", open);
open();
