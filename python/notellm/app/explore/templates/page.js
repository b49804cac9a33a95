// What is shown: the question, the category and the note that are chosen, on both maps and in the lists.
const LISTED = 50;
const byId = (id) => document.getElementById(id);
const colourOf = (row) => Math.min(data.category[row], COLOURED);
const dotOf = (colour) => (colour < COLOURED && data.categories[colour] ? `--c${colour}` : "--rest");
const rowsByColour = Array.from({ length: COLOURED + 1 }, () => []);
for (let row = 0; row < COUNT; row++) rowsByColour[colourOf(row)].push(row);

const state = { selected: -1, found: null, colour: -1 };

const scene = () => ({
  selected: state.selected,
  isFiltered: state.found !== null || state.colour >= 0,
  isShown: (row) => (state.found === null || state.found.has(row)) && (state.colour < 0 || colourOf(row) === state.colour),
});

const readOn = () => byId("title").focus();

const maps = [...document.querySelectorAll(".map")].map((figure) => new NoteMap(figure, scene, (row) => choose(row)));
maps.forEach((map) => map.more.addEventListener("click", readOn));
const redraw = () => maps.forEach((map) => map.draw());
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);

// Texts of notes go into the page as text, never as markup.
function element(tag, { text = "", kind = "", on = null, ...attributes } = {}, ...children) {
  const made = document.createElement(tag);
  if (kind) made.className = kind;
  if (on) made.addEventListener("click", on);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...(text ? [text] : []), ...children);
  return made;
}

const chip = (row) => (categoryOf(row) ? [" ", element("span", { kind: "chip", text: categoryOf(row), dir: "auto" })] : []);

const noteButton = (row) => element("button", { type: "button", on: () => choose(row, { isAsked: true }), dir: "auto" },
  element("bdi", { text: titleOf(row) }));

// --- search ---

function find(question) {
  const rows = question.trim() ? search(question) : null;
  state.found = rows && new Set(rows);
  const more = rows && rows.length > LISTED ? `, the first ${LISTED} are listed` : "";
  byId("count").textContent = rows ? `${rows.length} ${rows.length === 1 ? "note" : "notes"}${more}` : "";
  byId("results").replaceChildren(...(rows || []).slice(0, LISTED).map((row) => {
    const button = noteButton(row);
    button.append(...chip(row));
    return element("li", {}, button);
  }));
  redraw();
}

byId("search").addEventListener("input", (event) => find(event.target.value));
byId("search").addEventListener("keydown", (event) => {
  const first = byId("results").querySelector("button");
  if (event.key === "ArrowDown" && first) { event.preventDefault(); first.focus(); }
  if (event.key === "Enter" && first) first.click();
});
byId("results").addEventListener("keydown", (event) => {
  const item = event.target.closest("li");
  const to = { ArrowDown: item?.nextElementSibling, ArrowUp: item?.previousElementSibling }[event.key];
  if (event.key !== "ArrowDown" && event.key !== "ArrowUp") return;
  event.preventDefault();
  if (to) to.firstElementChild.focus();
  else if (event.key === "ArrowUp") byId("search").focus();
});

// --- categories ---

function legend() {
  const named = data.categories.slice(0, COLOURED);
  const entries = named.map((name, i) => [i, name || "no category", data.counts[i]]);
  const rest = rowsByColour[COLOURED].length;
  if (rest) entries.push([COLOURED, "others", rest]);
  byId("legend").replaceChildren(...entries.map(([colour, name, count]) => {
    const button = element("button", { type: "button", "aria-pressed": "false", style: `--dot: var(${dotOf(colour)})`,
      on: () => chooseColour(colour === state.colour ? -1 : colour) }, element("bdi", { text: name }), ` ${count}`);
    button.dataset.colour = colour;
    return button;
  }));
}

function chooseColour(colour) {
  state.colour = colour;
  for (const button of byId("legend").children) {
    button.setAttribute("aria-pressed", String(Number(button.dataset.colour) === colour));
  }
  redraw();
}

// --- the chosen note ---

function choose(row, { isAsked = false } = {}) {
  state.selected = row;
  redraw();
  if (row < 0) return;
  history.replaceState(null, "", `#note=${encodeURIComponent(data.ids[row])}`);
  byId("note").hidden = false;
  byId("title").textContent = titleOf(row);
  byId("facts").replaceChildren(element("bdi", { text: data.ids[row] }), ...chip(row),
    ...data.topics[row].flatMap((topic) => [" ", element("span", { kind: "chip", text: `#${topic}`, dir: "auto" })]));
  byId("text").textContent = data.texts[row];
  const related = data.related[row];
  byId("related").replaceChildren(...(related.length ? ["Related, by the mined pairs: "] : []), ...related.map(noteButton));
  showLists(row);
  // Who asked by a button or the search reads on here; a click on a map leaves the map in sight.
  if (isAsked) readOn();
}

function showLists(row) {
  const lists = maps.map((map) => neighboursOf(map.view, row));
  const isOne = maps.every((map) => map.view === maps[0].view);
  byId("lists").replaceChildren(...maps.slice(0, isOne ? 1 : 2).map((map, side) => {
    const other = isOne ? null : new Set(lists[1 - side].map(([near]) => near));
    return list(map.name, row, lists[side], other);
  }));
}

function list(name, row, near, other) {
  const related = new Set(data.related[row]);
  const has = (test) => near.filter(([note]) => test(note)).length;
  const said = [`${has((note) => data.category[note] === data.category[row])} of ${near.length} in the same category`];
  if (related.size) said.push(`${has((note) => related.has(note))} of ${related.size} related`);
  if (other) said.push(`${has((note) => other.has(note))} in both lists`);
  const items = near.map(([note, cosine], i) => {
    const what = element("div", {}, noteButton(note), ...chip(note));
    if (related.has(note)) what.append(element("span", { kind: "badge", text: "related" }));
    if (other && !other.has(note)) what.append(element("span", { kind: "badge only", text: "only here" }));
    return element("li", {}, element("span", { kind: "rank", text: String(i + 1) }), what,
      element("span", { kind: "cosine", text: cosine.toFixed(3), "aria-label": `cosine ${cosine.toFixed(3)}` }));
  });
  return element("section", { kind: "found", "aria-label": `Nearest notes, ${name}` },
    element("h3", { text: `Nearest notes, ${name}` }), element("p", { text: said.join(" \u00b7 ") }), element("ol", {}, ...items));
}

legend();
const linked = data.ids.indexOf(new URLSearchParams(location.hash.slice(1)).get("note"));
if (linked >= 0) choose(linked);
