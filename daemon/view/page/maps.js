// The mini-slides of a night as maps: each field leads to its page, and several can be chosen and judged at once.

import { actionButtons } from "./actions.js";
import { ofField } from "./addresses.js";
import { CIVIDIS, colourOf, VIRIDIS } from "./colours.js";
import { byId, choice, make, remember, remembered, setText } from "./dom.js";
import { nearest, paintMap, paintRamp, paintSign, rangeOf } from "./field_map.js";
import { figure, number, plural } from "./words.js";

const [FIELD, STATE, X, Y, OBJECTS, FOCUS, JUDGED] = [0, 1, 2, 3, 4, 5, 6];
const COLOURS = {
  objects: { words: "Objects", unit: "objects a field", map: VIRIDIS, of: (row) => row[OBJECTS], digits: 0 },
  focus: { words: "Focus", unit: "µm from the mini-slide's middle height", map: CIVIDIS, of: (row, middle) => (row[FOCUS] === null ? null : row[FOCUS] - middle), digits: 1 },
};
const SIGNS = {
  hatched: ["not counted", "▨", (judged) => !judged.counted],
  cornered: ["flagged, counted", "◥", (judged) => judged.flagged && judged.counted],
  framed: ["by a person's word", "▢", (judged) => judged.person],
};
const POINT = "Point at a field to read what came of it; click it, or press Enter, to open it.";
const CHOOSE = "Click fields of a mini-slide, or draw across them; with the keyboard: arrows and Space.";

const taken = (row) => row[STATE] === "recorded" || row[STATE] === "not analysed";
const signsOf = (row) => Object.entries(SIGNS).filter(([, [, , has]]) => row[JUDGED] !== null && has(row[JUDGED])).map(([name]) => name);

// Numbers as people write them: 2, 5-9.
function ranges(numbers) {
  const runs = [];
  for (const one of [...numbers].sort((a, b) => a - b)) {
    if (runs.length && one === runs[runs.length - 1][1] + 1) runs[runs.length - 1][1] = one;
    else runs.push([one, one]);
  }
  return runs.map(([first, last]) => (first === last ? `${first}` : `${first}-${last}`)).join(", ");
}

// `look` asks the server again: what a person said of fields is to be seen at once.
export function makeMaps(look) {
  let told = null;
  let by = remembered("view-colour", "objects");
  let [choosing, drawing] = [false, null];
  const chosen = { card: null, fields: new Set() };
  const cards = new Map();
  const list = make("div", { class: "maps" });
  const line = make("p", { class: "dim told", role: "status" }, POINT);
  const ramp = make("canvas", { width: "160", height: "10", role: "img", "aria-label": "Colours from low to high" });
  const [low, high] = [make("span"), make("span")];
  const colours = make("div", { class: "choice", role: "group", "aria-label": "Colour" });
  if (!(by in COLOURS)) by = "objects";
  choice(colours, Object.entries(COLOURS).map(([name, one]) => [name, one.words]), by, (name) => {
    by = name;
    remember("view-colour", name);
    redraw();
  });
  const keys = Object.entries(SIGNS).map(([name, [words]]) => {
    const canvas = make("canvas", { class: "sign", "aria-hidden": "true" });
    return [name, canvas, make("span", { class: "key", hidden: true }, canvas, ` ${words}`)];
  });
  const several = make("button", { type: "button", class: "several", "aria-pressed": "false", onclick: () => setChoosing(!choosing) }, "Choose fields");
  const bar = make("div", { class: "chosen", role: "group", "aria-label": "Chosen fields", hidden: true });
  const element = make("section", { class: "full", "aria-labelledby": "maps-head" }, make("h2", { id: "maps-head" }, "Mini-slides"),
    make("div", { class: "controls" }, colours, several, make("div", { class: "legend" }, low, ramp, high,
      make("span", { class: "key skipped", hidden: true }, make("span", { class: "crossed", "aria-hidden": "true" }, "×"), " skipped"),
      ...keys.map(([, , key]) => key))),
    list, line, bar);

  function tell(night) {
    told = night;
    several.hidden = !night.actions?.length;
    for (const slide of night.slides ?? []) {
      if (!cards.has(slide.slide)) cards.set(slide.slide, makeCard(slide));
      const card = cards.get(slide.slide);
      card.slide = slide;
      const done = slide.fields.filter(taken);
      const skipped = slide.fields.filter((row) => row[STATE] === "skipped").length;
      const left = done.filter((row) => row[JUDGED] !== null && !row[JUDGED].counted).length;
      const objects = slide.fields.reduce((sum, row) => sum + row[OBJECTS], 0);
      const found = left && left === done.length ? `none of ${plural(slide.planned, "field")} is counted` : `${plural(objects, "object")} in ${number(done.length - left)} of ${plural(slide.planned, "field")}${left ? `, ${left} not counted` : ""}`;
      setText(card.state, `${found}${skipped ? `, ${skipped} skipped` : ""}`);
      card.canvas.setAttribute("aria-label", `Map of mini-slide ${slide.slide}, ${slide.sample}: ${card.state.textContent}. Arrow keys go from field to field, Enter opens one${several.hidden ? "" : ", Space chooses it"}.`);
      listFields(card);
    }
    list.classList.toggle("few", cards.size < 5);
    const rows = (night.slides ?? []).flatMap((slide) => slide.fields);
    const shown = new Set(rows.flatMap(signsOf));
    for (const [name, , key] of keys) key.hidden = !shown.has(name);
    element.querySelector(".key.skipped").hidden = !rows.some((row) => row[STATE] === "skipped");
  }

  function makeCard(slide) {
    const card = { slide, at: -1, spots: [], state: make("span", { class: "state" }), fields: make("p", { class: "fields" }) };
    card.canvas = make("canvas", {
      role: "application", tabindex: "0",
      onpointermove: (event) => point(card, event),
      onpointerdown: (event) => press(card, event),
      onpointerup: () => (drawing = null),
      onpointercancel: () => (drawing = null),
      onclick: (event) => choosing || event.ctrlKey || event.metaKey || event.shiftKey || enter(card),
      onkeydown: (event) => walk(card, event),
    });
    card.all = make("button", { type: "button", class: "quiet all", hidden: true, "aria-label": `Choose all fields of mini-slide ${slide.slide}`, onclick: () => chooseAll(card) }, "All");
    card.list = make("details", { ontoggle: () => listFields(card) }, make("summary", {}, "As a list"), card.fields);
    card.element = make("article", {},
      make("h3", {}, make("span", { class: "number" }, String(slide.slide)), make("span", { class: "sample", title: slide.sample }, slide.sample), card.state), card.canvas, card.all, card.list);
    list.append(card.element);
    return card;
  }

  function listFields(card) {
    if (!card.list.open) return;
    card.fields.replaceChildren(...card.slide.fields.filter((row) => row[STATE] !== "open").flatMap((row) => {
      const marks = row[STATE] === "skipped" ? "×" : signsOf(row).map((name) => SIGNS[name][1]).join("");
      const words = sayField(card, row);
      return [make("a", { href: ofField(told.key, card.slide.slide, row[FIELD]), title: words, "aria-label": words }, String(row[FIELD]), marks ? make("span", { class: "marks" }, ` ${marks}`) : null), " "];
    }));
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
    for (const [name, canvas] of keys) paintSign(canvas, { [name]: true }, colourOf(colour.map, 0.6));
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
      }, [[card.at, text]], (at) => {
        const signs = Object.fromEntries(signsOf(fields[at]).map((name) => [name, true]));
        if (isChosen(card, fields[at])) signs.dotted = true;
        return signs;
      });
    }
  }

  const isChosen = (card, row) => chosen.card === card && chosen.fields.has(row[FIELD]);

  function point(card, event) {
    const at = nearest(card.spots, event.offsetX, event.offsetY);
    if (at < 0) return;
    if (drawing !== null && event.buttons) choose(card, [card.slide.fields[at]], drawing);
    if (at !== card.at) show(card, at);
  }

  function press(card, event) {
    point(card, event);
    const row = card.slide.fields[card.at];
    if (!row || several.hidden || event.button !== 0) return;
    const from = chosen.card === card ? chosen.last : undefined;
    if (event.shiftKey && from !== undefined) choose(card, between(card, from, card.at), true);
    else if (choosing || event.ctrlKey || event.metaKey || event.shiftKey) {
      drawing = !isChosen(card, row);
      choose(card, [row], drawing);
    }
    chosen.last = card.at;
  }

  function walk(card, event) {
    const row = card.slide.fields[card.at];
    if (event.key === "Enter") enter(card);
    if (event.key === " " && !several.hidden) {
      event.preventDefault();
      if (row) choose(card, [row], !isChosen(card, row));
    }
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (step === undefined) return;
    event.preventDefault();
    const to = Math.min(Math.max(card.at + step, 0), card.spots.length - 1);
    if (event.shiftKey && row && !several.hidden) choose(card, between(card, card.at, to), true);
    show(card, to);
  }

  const between = (card, one, other) => card.slide.fields.slice(Math.min(one, other), Math.max(one, other) + 1);

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
    const judged = row[JUDGED];
    const parts = [row[STATE] !== "recorded" ? "not analysed yet" : judged === null || judged.counted ? plural(row[OBJECTS], "object") : "", judged?.says ?? "", row[FOCUS] === null ? "" : `focus ${figure(row[FOCUS])} µm`];
    return `${where}: ${parts.filter(Boolean).join("; ")}${isChosen(card, row) ? " (chosen)" : ""}`;
  }

  function enter(card) {
    const row = card.slide.fields[card.at];
    if (!row || row[STATE] === "open") return;
    const link = make("a", { href: ofField(told.key, card.slide.slide, row[FIELD]), hidden: true });
    card.element.append(link);
    link.click();
    link.remove();
  }

  function setChoosing(on) {
    choosing = on;
    several.setAttribute("aria-pressed", String(on));
    list.classList.toggle("choosing", on);
    for (const card of cards.values()) card.all.hidden = !on;
    setText(line, on ? CHOOSE : POINT);
    if (!on) chosen.fields.clear();
    tellChosen();
  }

  // What is said of fields is said of one mini-slide: choosing on another one begins anew.
  function choose(card, rows, on) {
    if (chosen.card !== card) chosen.fields.clear();
    chosen.card = card;
    for (const row of rows.filter(taken)) chosen.fields[on ? "add" : "delete"](row[FIELD]);
    tellChosen();
  }

  function chooseAll(card) {
    choose(card, card.slide.fields, true);
    bar.querySelector("button")?.focus({ preventScroll: true });
  }

  function tellChosen() {
    const { card, fields } = chosen;
    bar.hidden = !fields.size;
    bar.replaceChildren();
    if (fields.size) {
      const which = ranges(fields);
      const target = { night: told.key, slide: card.slide.slide, fields: which };
      bar.append(make("p", { role: "status" }, `Mini-slide ${card.slide.slide}, ${card.slide.sample}: ${plural(fields.size, "field")} chosen (${which})`),
        actionButtons(told.actions, target, (message) => {
          setChoosing(false);
          setText(byId("spoken"), message);
          void look();
        }, make("button", { type: "button", class: "quiet", onclick: () => setChoosing(false) }, "Choose none")));
    }
    redraw();
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
