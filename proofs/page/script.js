"use strict";
(() => {
  const key = (cell) => {
    const data = cell.querySelector("data");
    return data ? Number(data.value) : cell.querySelector(".none") ? NaN : cell.textContent.trim();
  };
  const before = (a, b) => {
    if (typeof a === "string" || typeof b === "string") return String(a).localeCompare(b, "en", { numeric: true });
    return (Number.isNaN(a) - Number.isNaN(b)) || a - b;
  };
  const open = (body, wanted) => {
    body.classList.toggle("open", wanted);
    body.querySelector("button.open").setAttribute("aria-expanded", wanted);
  };

  for (const section of document.querySelectorAll("section.items")) {
    const table = section.querySelector("table");
    const heads = [...table.tHead.rows[0].cells];
    const bodies = [...table.tBodies];
    const filters = [...section.querySelectorAll("[data-filter]")];
    const choice = section.querySelector("select.sort");
    const count = section.querySelector(".count");

    const sort = (column, descending) => {
      const value = (body) => key(body.rows[0].cells[column]);
      bodies.sort((a, b) => {
        const [x, y] = [value(a), value(b)];
        const last = Number.isNaN(x) - Number.isNaN(y);
        return last || (descending ? before(y, x) : before(x, y));
      });
      table.append(...bodies);
      heads.forEach((head, k) => head.setAttribute("aria-sort", k !== column ? "none" : descending ? "descending" : "ascending"));
      if (choice) choice.value = column;
    };
    heads.forEach((head, column) => head.querySelector("button")?.addEventListener("click", () =>
      sort(column, head.getAttribute("aria-sort") === "ascending")));
    choice?.addEventListener("change", () => sort(Number(choice.value), false));

    const filter = () => {
      let shown = 0;
      for (const body of bodies) {
        body.hidden = !filters.every(({ dataset, value }) => !value || (dataset.filter === "text"
          ? body.textContent.toLowerCase().includes(value.trim().toLowerCase())
          : body.dataset[dataset.filter].split(" ").includes(value)));
        shown += !body.hidden;
      }
      if (count) count.textContent = shown === bodies.length ? `${shown} shown` : `${shown} of ${bodies.length} shown`;
    };
    filters.forEach((control) => control.addEventListener("input", filter));
    section.querySelector("form")?.addEventListener("submit", (event) => event.preventDefault());

    bodies.forEach((body) => body.querySelector("button.open").addEventListener("click", () =>
      open(body, !body.classList.contains("open"))));
    const all = section.querySelector("button.all");
    all?.addEventListener("click", () => {
      const wanted = all.getAttribute("aria-pressed") !== "true";
      all.setAttribute("aria-pressed", wanted);
      bodies.forEach((body) => open(body, wanted));
    });
    section.show = (body) => {
      filters.forEach((control) => { control.value = ""; });
      filter();
      open(body, true);
    };
  }

  const follow = () => {
    const body = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (body?.tagName !== "TBODY") return;
    body.closest("section.items").show(body);
    body.scrollIntoView();
    body.querySelector("button.open").focus({ preventScroll: true });
  };
  addEventListener("hashchange", follow);
  follow();
})();
