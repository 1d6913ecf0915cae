// Tables sort by their heads; charts come alive when they are seen, from the rows of the table beside them.
(() => {
  const number = (text) => (text.trim() === "" ? NaN : Number(text.replace(/,/g, "")));

  function sortTable(head) {
    const table = head.closest("table"), body = table.tBodies[0], index = head.cellIndex;
    const down = head.getAttribute("aria-sort") !== "descending";
    const rows = [...table.tBodies].flatMap((part) => [...part.rows]).map((row) => [row, row.cells[index].textContent.trim()]);
    const compare = (a, b) => {
      const x = number(a[1]), y = number(b[1]);
      if (Number.isNaN(x) && Number.isNaN(y)) return a[1].localeCompare(b[1]);
      if (Number.isNaN(x) || Number.isNaN(y)) return Number.isNaN(x) ? (down ? 1 : -1) : down ? -1 : 1;
      return x - y;
    };
    rows.sort((a, b) => (down ? -compare(a, b) : compare(a, b)));
    for (const other of head.parentNode.cells) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    body.append(...rows.map((entry) => entry[0]));
  }

  document.addEventListener("click", (event) => {
    const head = event.target.closest("th button")?.closest("th");
    if (head) sortTable(head);
  });

  function readRows(figure) {
    const table = figure.querySelector("table"), heads = [...table.tHead.rows[0].cells];
    const read = (head, text) => ("number" in head.dataset ? (text === "" ? null : number(text)) : text);
    return [...table.tBodies].map((body) =>
      [...body.rows].map((row) =>
        Object.fromEntries(heads.map((head, place) => [head.dataset.field, read(head, row.cells[place].textContent.trim())])),
      ),
    );
  }

  // The first specification is whole; the others are the first with some values changed.
  function readSpecs(figure) {
    const [first, ...changes] = JSON.parse(figure.querySelector("script").textContent);
    const change = (spec, [path, value]) => {
      path.slice(0, -1).reduce((part, key) => part[key], spec)[path.at(-1)] = value;
      return spec;
    };
    return [first, ...changes.map((found) => found.reduce(change, structuredClone(first)))];
  }

  const config = JSON.parse(document.getElementById("config").textContent);
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  const options = { actions: false, renderer: "svg", tooltip: { theme: dark ? "dark" : "light" }, config };

  function enliven(figure) {
    const data = readRows(figure), specs = readSpecs(figure);
    figure.querySelectorAll(".panel").forEach(async (panel, place) => {
      const live = document.createElement("div"), still = panel.querySelector("svg");
      await vegaEmbed(live, { ...specs[place], datasets: { rows: data[place] } }, options);
      const chart = live.querySelector("svg");
      // One picture with one name: its single marks have no words of their own.
      for (const name of ["role", "aria-label", "aria-roledescription"]) {
        chart.querySelectorAll(`[${name}]`).forEach((part) => part.removeAttribute(name));
      }
      chart.setAttribute("role", "img");
      chart.setAttribute("aria-label", still.getAttribute("aria-label"));
      still.replaceWith(live);
      figure.dataset.live = Number(figure.dataset.live ?? 0) + 1;
    });
  }

  const seen = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (!entry.isIntersecting) continue;
      seen.unobserve(entry.target);
      enliven(entry.target);
    }
  });
  document.querySelectorAll("figure[data-charts]").forEach((figure) => seen.observe(figure));
  addEventListener("beforeprint", () => document.querySelectorAll(".fold").forEach((fold) => (fold.open = true)));
})();
