// Read from a disk, pages may not be fetched: results of a search then come without excerpts.
"use strict";

if (location.protocol === "file:" && typeof DOCUMENTATION_OPTIONS !== "undefined") {
  DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;
}

// A link to a printed table opens it, and one to why a number is so.
const open = () => document.querySelector(":target > details.table, details:target")?.setAttribute("open", "");
addEventListener("hashchange", open);
document.addEventListener("DOMContentLoaded", open);

// What is wider than the page fades at its right until it is scrolled to its end; a figure that is
// made smaller for the page is shown at its own size by a click, and by another as before.
document.addEventListener("DOMContentLoaded", () => {
  const wide = document.querySelectorAll(
    "article :is(pre, p, .cell_output, .output, .table-wrapper, .table-scroll, mjx-container)");
  const fade = () => {
    for (const one of wide)
      one.classList.toggle("cut", getComputedStyle(one).overflowX === "auto"
        && one.scrollLeft + one.clientWidth < one.scrollWidth - 2);
  };
  document.addEventListener("scroll", fade, { capture: true, passive: true });
  addEventListener("resize", fade);
  for (const figure of document.querySelectorAll("article img")) {
    const smaller = () => figure.parentElement.classList.toggle("smaller", figure.naturalWidth > figure.clientWidth + 2);
    figure.addEventListener("load", smaller);
    if (figure.complete) smaller();
    figure.addEventListener("click", () => { figure.parentElement.classList.toggle("whole"); fade(); });
  }
  window.MathJax?.startup?.promise ? MathJax.startup.promise.then(fade) : fade();
});

// A number breaks nowhere: a table that is then too wide scrolls by itself. Sentences do break.
const SHORT = 32; // letters
document.addEventListener("DOMContentLoaded", () => {
  for (const cell of document.querySelectorAll("article table:not(.ledger) td"))
    if (!cell.querySelector("a, pre, details, .math") && cell.textContent.trim().length <= SHORT)
      cell.classList.add("short");
});
