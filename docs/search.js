// The thesis comes before other sources, and a heading with the words that were asked for first:
// "table 4.3" finds it among the printed tables.
"use strict";

const inWords = (text) => ` ${text.toLowerCase().replace(/[^\p{L}\p{N}]+/gu, " ").trim()} `;
var ASKED = inWords(new URLSearchParams(location.search).get("q") ?? "");

// Where a heading of the page has the words as they were asked for: its text and its anchor.
function asHeading(page) {
  const at = Search._index.docnames.indexOf(page);
  const found = Object.entries(Search._index.alltitles).flatMap(([title, places]) => {
    const place = places.find(([file]) => file === at);
    const fits = ASKED.trim() && place && place[1] !== null && inWords(title).includes(ASKED);
    return fits ? [[title, place[1]]] : [];
  });
  return found.find(([title]) => title.startsWith("thesis")) ?? found[0] ?? null;
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
