// The ledger's table: a click on a heading sorts by it, a second one the other way round; rows
// without one of the words, or of another kind, verdict, source or chapter, are hidden; what is
// found can be saved as it stands in data/ledger.csv. Without scripts it is a table.
"use strict";

document.addEventListener("DOMContentLoaded", () => {
  const table = document.querySelector("table.ledger");
  if (!table) return;
  const body = table.tBodies[0];
  const rows = [...body.rows];
  const heads = [...table.tHead.rows[0].cells];
  const names = heads.map((head) => head.textContent);
  const form = document.querySelector("form.ledger-controls");
  const { words, save } = form.elements;
  const choices = [...form.querySelectorAll("select")];
  const shown = form.querySelector("output");
  const more = document.querySelector("button.ledger-more");
  let [most, found] = [50, rows]; // so many are shown, and with them the row that a link leads to

  const value = (row, column) => {
    const cell = row.cells[column];
    return cell.dataset.value ?? cell.textContent;
  };

  // Numbers by size, other texts by the alphabet, and what is empty always last.
  const compare = (a, b, direction) => {
    if (a === "" || b === "") return (a === "") - (b === "");
    const difference = a === b ? 0 : Number(a) - Number(b);
    return direction * (Number.isNaN(difference) ? a.localeCompare(b, "en", { numeric: true }) : difference);
  };

  const sort = (column) => {
    const direction = heads[column].ariaSort === "ascending" ? -1 : 1;
    heads.forEach((head) => head.removeAttribute("aria-sort"));
    heads[column].ariaSort = direction > 0 ? "ascending" : "descending";
    body.append(...rows.sort((a, b) => compare(value(a, column), value(b, column), direction)));
    filter();
  };

  // A row may be of several chapters, or of none.
  const of = (row, choice) => row.dataset[choice.name].split("|");

  const filter = () => {
    const wanted = words.value.toLowerCase().split(/\s+/).filter(Boolean);
    found = rows.filter((row) => {
      const text = row.textContent.toLowerCase();
      const fits = choices.every((choice) => !choice.value || of(row, choice).includes(choice.value));
      return fits && wanted.every((word) => text.includes(word));
    });
    const first = new Set(found.slice(0, most));
    const linked = decodeURIComponent(location.hash.slice(1));
    for (const row of rows) row.hidden = !first.has(row) && row.id !== linked;
    shown.textContent = `${found.length} of ${rows.length}`;
    more.hidden = found.length <= most;
    more.textContent = `Show all ${found.length}`;
  };

  // The columns of data/ledger.csv, each as it is written there.
  const text = (name) => (row) => row.cells[names.indexOf(name)].textContent;
  const raw = (name) => (row) => value(row, names.indexOf(name));
  const columns = {
    id: (row) => row.id, source: (row) => row.dataset.source, where: text("where"), kind: text("kind"),
    printed: text("printed"), computed: raw("computed"), interval: text("interval"),
    verdict: (row) => row.dataset.verdict, note: raw("note"),
  };
  const quoted = (field) => (/[",\r\n]/.test(field) ? `"${field.replaceAll('"', '""')}"` : field);

  const download = () => {
    const lines = found.map((row) => Object.values(columns).map((of) => of(row)));
    const csv = [Object.keys(columns), ...lines].map((line) => line.map(quoted).join(",") + "\n").join("");
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([csv], { type: "text/csv" }));
    link.download = "ledger.csv";
    link.click();
    URL.revokeObjectURL(link.href);
  };

  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    button.addEventListener("click", () => sort(column));
    head.append(button);
  });
  const marked = new Map(rows.map((row) => [row.dataset.verdict, text("verdict")(row)]));
  for (const choice of choices) {
    const found = new Set(rows.flatMap((row) => of(row, choice)).filter(Boolean));
    choice.append(...[...found].map((name) => new Option(marked.get(name) ?? name, name)));
    choice.addEventListener("change", filter);
  }
  words.addEventListener("input", filter);
  save.addEventListener("click", download);
  more.addEventListener("click", () => { most = Infinity; filter(); });
  form.addEventListener("submit", (event) => event.preventDefault());
  form.hidden = false;
  const reveal = () => { filter(); document.querySelector("tr:target")?.scrollIntoView(); };
  addEventListener("hashchange", reveal);
  reveal();
});
