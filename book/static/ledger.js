// The ledger's table: a click on a heading sorts by it, a second one the other way round; rows
// without one of the words, or with another verdict, are hidden. Without scripts it is a table.
"use strict";

document.addEventListener("DOMContentLoaded", () => {
  const table = document.querySelector("table.ledger");
  if (!table) return;
  const body = table.tBodies[0];
  const rows = [...body.rows];
  const heads = [...table.tHead.rows[0].cells];
  const form = document.querySelector("form.ledger-controls");
  const { words, verdict } = form.elements;
  const shown = form.querySelector("output");

  const value = (row, column) => {
    const cell = row.cells[column];
    return cell.dataset.value ?? cell.textContent;
  };

  // Numbers by size, other texts by the alphabet, and what is empty always last.
  const compare = (a, b, direction) => {
    if (a === "" || b === "") return (a === "") - (b === "");
    const difference = Number(a) - Number(b);
    return direction * (Number.isNaN(difference) ? a.localeCompare(b, "en", { numeric: true }) : difference);
  };

  const sort = (column) => {
    const direction = heads[column].ariaSort === "ascending" ? -1 : 1;
    heads.forEach((head) => head.removeAttribute("aria-sort"));
    heads[column].ariaSort = direction > 0 ? "ascending" : "descending";
    body.append(...rows.sort((a, b) => compare(value(a, column), value(b, column), direction)));
  };

  const filter = () => {
    const wanted = words.value.toLowerCase().split(/\s+/).filter(Boolean);
    for (const row of rows) {
      const text = row.textContent.toLowerCase();
      const fits = !verdict.value || row.dataset.verdict === verdict.value;
      row.hidden = !(fits && wanted.every((word) => text.includes(word)));
    }
    shown.textContent = `${rows.filter((row) => !row.hidden).length} of ${rows.length}`;
  };

  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    button.addEventListener("click", () => sort(column));
    head.append(button);
  });
  const verdicts = new Set(rows.map((row) => row.dataset.verdict));
  verdict.append(...[...verdicts].map((name) => new Option(name, name)));
  words.addEventListener("input", filter);
  verdict.addEventListener("change", filter);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.hidden = false;
  filter();
});
