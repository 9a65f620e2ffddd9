// The thesis comes before other sources, and a heading with the words that were asked for first.
"use strict";

var ASKED = (new URLSearchParams(location.search).get("q") ?? "").toLowerCase().trim();

// Where a heading of the page has the words as they were asked for: its text and its anchor.
function asHeading(page) {
  const at = Search._index.docnames.indexOf(page);
  for (const [title, places] of Object.entries(Search._index.alltitles)) {
    const words = ` ${title.toLowerCase().replace(/[^\p{L}\p{N}]+/gu, " ")} `;
    const place = places.find(([file]) => file === at);
    if (ASKED && place && place[1] !== null && words.includes(` ${ASKED} `)) return [title, place[1]];
  }
  return null;
}

// Sphinx looks for this name.
var Scorer = {
  score: (result) => {
    const heading = asHeading(result[0]);
    if (heading && !result[2]) [result[1], result[2]] = [heading[0], `#${heading[1]}`];
    const thesis = /^notebooks\/0[3-5]-/.test(result[0]);
    return result[4] + (heading ? 100 : 0) + (thesis ? 50 : 0);
  },
  objNameMatch: 11,
  objPartialMatch: 6,
  objPrio: { 0: 15, 1: 5, 2: -5 },
  objPrioDefault: 0,
  title: 15,
  partialTitle: 7,
  term: 5,
  partialTerm: 2,
};
