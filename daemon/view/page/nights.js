// All nights, and one of them: how it stands and what needs a person, in the report's words; its mini-slides as maps.

import { ofField, ofNight } from "./addresses.js";
import { ask } from "./asked.js";
import { CIVIDIS, colourOf, VIRIDIS } from "./colours.js";
import { choice, make, remember, remembered, setText } from "./dom.js";
import { nearest, paintMap, paintRamp, rangeOf } from "./field_map.js";
import { figure, MOODS, number, plural } from "./words.js";

const [FIELD, STATE, X, Y, OBJECTS, FOCUS] = [0, 1, 2, 3, 4, 5];
const COLOURS = {
  objects: { words: "Objects", unit: "objects a field", map: VIRIDIS, of: (row) => row[OBJECTS], digits: 0 },
  focus: { words: "Focus", unit: "µm from the mini-slide's middle height", map: CIVIDIS, of: (row, middle) => (row[FOCUS] === null ? null : row[FOCUS] - middle), digits: 1 },
};
const SOON_MS = 250;
const LATER_MS = 10_000;
const MARKS = { good: "●", attention: "▲", bad: "■", unknown: "○" };
const WORST = ["bad", "attention", "good", "unknown"];

const moodOf = (told) => (told.trouble ? "bad" : told.verdict ? MOODS[told.verdict.tone] : "unknown");

function verdictOf(told, heading, link) {
  const mood = moodOf(told);
  const words = told.trouble ? "This night cannot be read." : told.verdict?.headline ?? "Reading …";
  const needs = told.trouble ? [told.trouble] : told.verdict?.needs ?? [];
  const nothing = told.verdict && !told.trouble && !needs.length;
  return make("div", { class: "verdict", "data-mood": mood },
    make(heading, {}, make("span", { class: "mark", "aria-hidden": "true" }, MARKS[mood]), " ", link ? make("a", { href: link }, words) : words),
    needs.length ? make("ul", { class: "needs" }, ...needs.map((one) => make("li", {}, one))) : null,
    nothing ? make("p", { class: "dim" }, told.read ? "Nothing needs you." : "Nothing in its records needs you; its files are being checked.") : null);
}

const factsOf = (told) => (told.facts ? make("dl", { class: "figures" }, ...told.facts.map(([name, value]) => make("div", {}, make("dt", {}, name), make("dd", {}, value)))) : null);

// Asks again as long as the page is shown: soon while something is being read, else now and then.
function follow(here, path, reading, draw) {
  let timer = null;
  let before = "";
  const look = async () => {
    let told;
    try {
      told = await ask(path);
    } catch (error) {
      if (before === "") throw error;
      timer = setTimeout(look, LATER_MS);
      return;
    }
    if (!here.current()) return;
    const now = JSON.stringify(told);
    if (now !== before) draw(told);
    before = now;
    timer = setTimeout(look, reading(told) ? SOON_MS : LATER_MS);
  };
  here.onLeave(() => clearTimeout(timer));
  return look();
}

export async function nights(here) {
  here.crumbs();
  here.title("");
  let only = null;
  await follow(here, "/data/nights", (told) => told.reading, (told) => {
    here.mood(WORST.find((mood) => told.nights.some((one) => moodOf(one) === mood)) ?? "unknown");
    if (told.nights.length === 1) only = told.nights[0].key;
    here.main.replaceChildren(
      make("h1", { class: "unseen" }, "Nights"),
      ...told.notes.map((note) => make("p", { class: "trouble" }, note)),
      ...told.nights.map((one) => make("section", { class: "full night" },
        make("p", { class: "dim over" }, `Night ${one.night}`, one.heading ? `, ${one.heading}` : ""),
        verdictOf(one, "h2", ofNight(one.key)), factsOf(one),
        one.samples ? make("p", { class: "dim" }, `Samples: ${one.samples.slice(0, 12).map(([, sample]) => sample).join(", ")}${one.samples.length > 12 ? " …" : ""}`) : null)));
  });
  // One night is shown as it is: a list of one says nothing.
  if (only !== null && here.current()) await here.go(ofNight(only), true);
}

export async function night(here) {
  const [key] = here.parts;
  let maps = null;
  await follow(here, `/data/night/${encodeURIComponent(key)}`, (told) => !told.read && !told.trouble, (told) => {
    here.title(`Night ${told.night}`);
    here.mood(moodOf(told));
    here.crumbs([`night ${told.night}`, null]);
    maps ??= makeMaps();
    maps.tell(told);
    const { said } = told;
    const links = [told.report ? ["Report", `/report/${encodeURIComponent(key)}`] : null, told.paper ? ["Report on paper (PDF)", `/paper/${encodeURIComponent(key)}`] : null].filter(Boolean);
    here.main.replaceChildren(
      make("header", {}, make("p", { class: "dim over" }, `Night ${told.night}`, told.heading ? `, ${told.heading}` : ""), verdictOf(told, "h1"), factsOf(told),
        make("p", { class: "ways" }, make("a", { class: "button", href: `/objects?night=${encodeURIComponent(key)}` }, "All objects"),
          ...links.map(([words, address]) => make("a", { class: "button quiet", href: address, target: "_blank" }, words)))),
      maps.element,
      said ? tableSection("Samples", said.samples, [said.counted, said.unlike]) : waiting("Samples"),
      said?.taxa.rows.length ? tableSection("Taxa", said.taxa) : null,
      said ? tableSection("Classes", said.kinds) : null,
      said?.skipped.rows.length ? tableSection("Fields skipped, kept raw, or taken again", said.skipped) : null,
      said?.events.rows.length ? tableSection("Events", said.events) : null,
      make("section", { class: "full" }, make("h2", {}, "Files"), make("p", { class: "path" }, told.folder)));
    maps.redraw();
  });
  here.main.addEventListener("shown", () => maps?.redraw());
  new ResizeObserver(() => maps?.redraw()).observe(here.main);
}

const waiting = (title) => make("section", { class: "full" }, make("h2", {}, title), make("p", { class: "dim reading" }, "Counting …"));

function tableSection(title, table, notes = []) {
  const id = `table-${title.toLowerCase().replaceAll(/[^a-z]+/g, "-")}`;
  const cell = (tag, at, text, more = {}) => make(tag, { class: at < table.left ? "text" : null, ...more }, text);
  return make("section", { class: "full" }, make("h2", { id }, title),
    make("div", { class: "wide", tabindex: "0", role: "region", "aria-labelledby": id }, make("table", {},
      make("thead", {}, make("tr", {}, ...table.head.map((text, at) => (text ? cell("th", at, text, { scope: "col" }) : make("td"))))),
      make("tbody", {}, ...table.rows.map((row) => make("tr", {}, ...row.map((text, at) => (at === 0 ? cell("th", at, text, { scope: "row" }) : cell("td", at, text)))))))),
    table.more ? make("p", { class: "dim" }, table.more) : null,
    ...notes.filter(Boolean).map((note) => make("p", { class: "dim note" }, note)));
}

// The mini-slides of a night as maps, each field of which leads to its page.
function makeMaps() {
  let told = null;
  let by = remembered("view-colour", "objects");
  const cards = new Map();
  const list = make("div", { class: "maps" });
  const line = make("p", { class: "dim told", role: "status" }, "Point at a field to read what came of it; click it, or press Enter, to open it.");
  const ramp = make("canvas", { width: "160", height: "10", role: "img", "aria-label": "Colours from low to high" });
  const [low, high] = [make("span"), make("span")];
  const colours = make("div", { class: "choice", role: "group", "aria-label": "Colour" });
  if (!(by in COLOURS)) by = "objects";
  choice(colours, Object.entries(COLOURS).map(([name, one]) => [name, one.words]), by, (name) => {
    by = name;
    remember("view-colour", name);
    redraw();
  });
  const element = make("section", { class: "full", "aria-labelledby": "maps-head" }, make("h2", { id: "maps-head" }, "Mini-slides"),
    make("div", { class: "controls" }, colours, make("div", { class: "legend" }, low, ramp, high,
      make("span", { class: "key" }, make("span", { class: "crossed", "aria-hidden": "true" }, "×"), " skipped"))),
    list, line);

  function tell(night) {
    told = night;
    for (const slide of night.slides ?? []) {
      if (!cards.has(slide.slide)) cards.set(slide.slide, makeCard(slide));
      const card = cards.get(slide.slide);
      card.slide = slide;
      const done = slide.fields.filter((row) => row[STATE] !== "open");
      const skipped = slide.fields.filter((row) => row[STATE] === "skipped").length;
      const objects = slide.fields.reduce((sum, row) => sum + row[OBJECTS], 0);
      setText(card.state, `${plural(objects, "object")} in ${number(done.length - skipped)} of ${plural(slide.planned, "field")}${skipped ? `, ${skipped} skipped` : ""}`);
      card.canvas.setAttribute("aria-label", `Map of mini-slide ${slide.slide}, ${slide.sample}: ${card.state.textContent}. Arrow keys go from field to field, Enter opens one.`);
    }
  }

  function makeCard(slide) {
    const card = { slide, at: -1, spots: [], state: make("span", { class: "state" }) };
    card.canvas = make("canvas", {
      role: "application", tabindex: "0",
      onpointermove: (event) => point(card, event),
      onpointerdown: (event) => point(card, event),
      onclick: () => enter(card),
      onkeydown: (event) => walk(card, event),
    });
    const fields = make("details", { ontoggle: () => listFields(card, fields) }, make("summary", {}, "As a list"), make("p", { class: "fields" }));
    card.element = make("article", {},
      make("h3", {}, make("span", { class: "number" }, String(slide.slide)), make("span", { class: "sample", title: slide.sample }, slide.sample), card.state), card.canvas, fields);
    list.append(card.element);
    return card;
  }

  function listFields(card, fields) {
    if (!fields.open) return;
    fields.querySelector(".fields").replaceChildren(...card.slide.fields.filter((row) => row[STATE] !== "open").flatMap((row) =>
      [make("a", { href: ofField(told.key, card.slide.slide, row[FIELD]), title: sayField(card, row) }, String(row[FIELD])), " "]));
  }

  function redraw() {
    if (!told?.slides) return;
    const colour = COLOURS[by];
    const valued = new Map(told.slides.map((slide) => {
      const heights = slide.fields.map((row) => row[FOCUS]).filter((one) => one !== null).sort((a, b) => a - b);
      const middle = heights[Math.floor(heights.length / 2)] ?? 0;
      return [slide.slide, slide.fields.map((row) => (row[STATE] === "recorded" ? colour.of(row, middle) : null))];
    }));
    const values = [...valued.values()].flat().filter((one) => one !== null);
    const [from, to] = rangeOf(values, by === "objects");
    paintRamp(ramp, (share) => colourOf(colour.map, share));
    setText(low, values.length ? figure(from, colour.digits) : "");
    setText(high, values.length ? `${figure(to, colour.digits)} ${colour.unit}` : "");
    const style = getComputedStyle(document.documentElement);
    const [empty, dim, text] = ["--empty", "--dim", "--text"].map((name) => style.getPropertyValue(name));
    for (const card of cards.values()) {
      if (!card.canvas.clientWidth) continue;
      const { fields, slide } = card.slide;
      const frame = told.frame_um ?? guessFrame(fields);
      card.spots = paintMap(card.canvas, fields.map((row) => [row[X], row[Y]]), frame, (at) => {
        const state = fields[at][STATE];
        if (state === "skipped") return null;
        if (state === "open") return empty;
        const value = valued.get(slide)[at];
        return value === null ? dim : colourOf(colour.map, (value - from) / (to - from));
      }, [[card.at, text]]);
    }
  }

  function point(card, event) {
    const at = nearest(card.spots, event.offsetX, event.offsetY);
    if (at >= 0 && at !== card.at) show(card, at);
  }

  function walk(card, event) {
    if (event.key === "Enter") enter(card);
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (step === undefined) return;
    event.preventDefault();
    show(card, Math.min(Math.max(card.at + step, 0), card.spots.length - 1));
  }

  function show(card, at) {
    for (const one of cards.values()) if (one !== card) one.at = -1;
    card.at = at;
    setText(line, sayField(card, card.slide.fields[at]));
    redraw();
  }

  function sayField(card, row) {
    const where = `Mini-slide ${card.slide.slide}, ${card.slide.sample}, field ${row[FIELD]}`;
    if (row[STATE] === "open") return `${where}: not taken`;
    if (row[STATE] === "skipped") return `${where}: skipped`;
    return `${where}: ${row[STATE] === "recorded" ? plural(row[OBJECTS], "object") : "not analysed yet"}${row[FOCUS] === null ? "" : `, focus ${figure(row[FOCUS])} µm`}`;
  }

  function enter(card) {
    const row = card.slide.fields[card.at];
    if (!row || row[STATE] === "open") return;
    const link = make("a", { href: ofField(told.key, card.slide.slide, row[FIELD]), hidden: true });
    card.element.append(link);
    link.click();
    link.remove();
  }
  return { element, tell, redraw };
}

// Before anything tells the size of a frame: the least way between two fields.
function guessFrame(fields) {
  const known = fields.filter((row) => row[X] !== null);
  let least = Infinity;
  for (let at = 1; at < known.length; at += 1) least = Math.min(least, Math.hypot(known[at][X] - known[at - 1][X], known[at][Y] - known[at - 1][Y]) || Infinity);
  return Number.isFinite(least) ? [least, least] : [120, 120];
}
