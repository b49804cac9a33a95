// The notes: the page's data, and the search.
const data = JSON.parse(document.getElementById("data").textContent);
const COUNT = data.ids.length;

// As texts are compared: any form of a letter, without case and accents.
const plain = (text) => text.normalize("NFKD").replace(/\p{M}/gu, "").toLowerCase().replace(/\u03c2/g, "\u03c3");

const searched = data.ids.map((id, i) =>
  plain([data.titles[i], id, data.topics[i].join(" "), data.texts[i]].join("\n")));
const titles = data.titles.map(plain);

// Rows of the notes that have all words of a question, those with all of them in their title first.
function search(question) {
  const words = plain(question).split(/\s+/).filter(Boolean);
  const has = (text) => words.every((word) => text.includes(word));
  const rows = searched.flatMap((text, i) => (has(text) ? [i] : []));
  return rows.filter((i) => has(titles[i])).concat(rows.filter((i) => !has(titles[i])));
}

const titleOf = (i) => data.titles[i].trim() || data.ids[i];
const categoryOf = (i) => data.categories[data.category[i]];

// The nearest notes of a note as a view has them: [row, cosine], nearest first.
function neighboursOf(view, note) {
  const found = [];
  for (let at = note * data.k; at < (note + 1) * data.k; at++) {
    if (view.neighbours[at] >= 0) found.push([view.neighbours[at], view.cosines[at] / 10000]);
  }
  return found;
}
