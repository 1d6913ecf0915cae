// Tables sort by their heads; charts come alive when they are seen.
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

  // The specification of a figure; the page has its rows by column.
  function read(figure) {
    const spec = JSON.parse(figure.querySelector("script").textContent), columns = Object.entries(spec.datasets.rows);
    const turn = (_, place) => Object.fromEntries(columns.map(([name, values]) => [name, values[place]]));
    return { ...spec, datasets: { rows: columns[0]?.[1].map(turn) ?? [] } };
  }

  // Three digits and at most six decimals, as in all tables; a count has all of its own.
  const show = (value) => (typeof value === "number" && !Number.isInteger(value) ? +(+value.toFixed(6)).toPrecision(3) : value ?? "");

  // The numbers behind a figure, when someone opens them.
  function showNumbers(fold) {
    const rows = read(fold.closest("figure")).datasets.rows, table = document.createElement("table");
    const fields = Object.keys(rows[0] ?? {}).filter((field) => !field.startsWith("_"));  // what is drawn alone
    table.createCaption().textContent = fold.closest("figure").querySelector(".chart").ariaLabel;
    const head = table.createTHead().insertRow(), body = table.createTBody();
    for (const field of fields) {
      const cell = head.appendChild(document.createElement("th")), button = document.createElement("button");
      cell.scope = "col";
      button.type = "button";
      button.textContent = field.replaceAll("_", " ");
      cell.append(button);
    }
    for (const row of rows) {
      const line = body.insertRow();
      for (const field of fields) line.insertCell().textContent = show(row[field]);
    }
    const box = document.createElement("div");
    box.className = "scroll";
    box.tabIndex = 0;
    box.append(table);
    fold.append(box);
  }

  document.addEventListener("toggle", (event) => {
    const fold = event.target;
    if (fold.matches("details.data") && fold.open && !fold.querySelector("table")) showNumbers(fold);
  }, true);

  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  const options = { mode: "vega-lite", actions: false, renderer: "svg", tooltip: { theme: dark ? "dark" : "light" } };

  // As many panels side by side as there is room for, if need be a little smaller; below one another, entries of a
  // legend stand so, too.
  function fit(spec, width, room) {
    const columns = Math.max(1, Math.min(spec.columns, Math.floor((1.15 * room * spec.columns) / width)));
    const legend = { ...spec.config.legend, ...(columns === 1 ? { columns } : {}) };
    return { ...spec, columns, config: { ...spec.config, legend } };
  }

  async function enliven(figure) {
    const live = document.createElement("div"), chart = figure.querySelector(".chart");
    const still = chart.querySelector("svg"), spec = read(figure);
    figure.dataset.width ??= still.viewBox.baseVal.width;
    await vegaEmbed(live, fit(spec, figure.dataset.width, chart.clientWidth), options);
    // One picture with the name of its place: its single marks have no words of their own.
    for (const name of ["role", "aria-label", "aria-roledescription"]) {
      live.querySelectorAll(`[${name}]`).forEach((part) => part.removeAttribute(name));
    }
    chart.replaceChildren(live);
    // What is far too wide for a phone scrolls there: its letters stay legible.
    const drawn = live.querySelector("svg"), least = 0.65 * drawn.viewBox.baseVal.width;
    const scrolls = least > chart.clientWidth;
    drawn.style.minWidth = scrolls ? `${least}px` : "";
    chart.classList.toggle("scroll", scrolls);
    chart.tabIndex = scrolls ? 0 : -1;
    figure.dataset.live = "";
  }

  const seen = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (!entry.isIntersecting) continue;
      seen.unobserve(entry.target);
      enliven(entry.target);
    }
  });
  const watch = () => document.querySelectorAll("figure").forEach((figure) => seen.observe(figure));
  watch();
  // Drawn anew when they are seen again, where a phone was turned or a window made narrower.
  matchMedia("(max-width: 900px)").addEventListener("change", watch);
  matchMedia("(max-width: 600px)").addEventListener("change", watch);
  addEventListener("beforeprint", () => document.querySelectorAll(".fold").forEach((fold) => (fold.open = true)));
})();
