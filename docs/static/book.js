// Read from a disk, pages may not be fetched: results of a search then come without excerpts.
"use strict";

if (location.protocol === "file:" && typeof DOCUMENTATION_OPTIONS !== "undefined") {
  DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;
}

// A number breaks nowhere: a table that is then too wide scrolls by itself. Sentences do break.
const SHORT = 32; // letters
document.addEventListener("DOMContentLoaded", () => {
  for (const cell of document.querySelectorAll("article table:not(.ledger) td"))
    if (!cell.querySelector("a, pre, details, .math") && cell.textContent.trim().length <= SHORT)
      cell.classList.add("short");
});
