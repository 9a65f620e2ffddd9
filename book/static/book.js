// Read from a disk, pages may not be fetched: results of a search then come without excerpts.
"use strict";

if (location.protocol === "file:" && typeof DOCUMENTATION_OPTIONS !== "undefined") {
  DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;
}
