// The mini-slides as maps of their fields.

import { CIVIDIS, colourOf, VIRIDIS } from "./colours.js";
import { byId, choice, make, remember, remembered, setText } from "./dom.js";
import { nearest, paintMap, paintRamp, rangeOf } from "./field_map.js";
import { clock, figure, number, plural } from "./words.js";

const [NUMBER, UTC, OBJECTS, FOCUS, SECONDS, , REASON] = [0, 1, 2, 3, 4, 5, 6];
const COLOURS = {
  objects: { words: "Objects", unit: "objects a field", map: VIRIDIS, of: (row) => row[OBJECTS], digits: 0 },
  focus: { words: "Focus", unit: "µm from the mini-slide's middle height", map: CIVIDIS, of: (row, middle) => (row[FOCUS] === null ? null : row[FOCUS] - middle), digits: 1 },
  seconds: { words: "Duration", unit: "s of the microscope", map: VIRIDIS, of: (row) => row[SECONDS], digits: 1 },
};
let by = remembered("colour", "objects");
let known = null;
let currentSlide;
const cards = new Map();

export function slides(night, changed) {
  const moved = night.counters?.slide !== currentSlide;
  if (!moved && !["about", "fields", "counts", "state"].some((key) => changed.has(key))) return;
  currentSlide = night.counters?.slide;
  known = night;
  if (!night.about) return;
  build(night.about);
  redraw();
}

function build(about) {
  const now = about.slides.map((one) => `${one.position}${one.sample}`).join() + about.night;
  const list = byId("maps");
  if (list.dataset.now === now) return;
  list.dataset.now = now;
  cards.clear();
  list.replaceChildren(...about.slides.map((slide) => {
    const canvas = make("canvas", { role: "img", tabindex: "0" });
    const card = { slide, canvas, state: make("span", { class: "state" }), line: make("p", { class: "dim" }), spots: [], at: -1 };
    canvas.addEventListener("pointermove", (event) => point(card, event));
    canvas.addEventListener("pointerdown", (event) => point(card, event));
    canvas.addEventListener("keydown", (event) => walk(card, event));
    card.element = make("article", {},
      make("h3", {}, make("span", { class: "number" }, String(slide.position)), make("span", { class: "sample" }, slide.sample), card.state),
      canvas, card.line);
    cards.set(slide.position, card);
    return card.element;
  }));
  choice(byId("map-colours"), Object.entries(COLOURS).map(([name, one]) => [name, one.words]), by, (name) => {
    by = name;
    remember("colour", name);
    redraw();
  });
}

const rowsOf = (slide) => [...(known.fields.get(slide)?.values() ?? [])];

function middleOf(rows) {
  const heights = rows.map((row) => row[FOCUS]).filter((one) => one !== null).sort((a, b) => a - b);
  return heights.length ? heights[Math.floor(heights.length / 2)] : 0;
}

function redraw() {
  const colour = COLOURS[by];
  const valued = new Map();
  for (const slide of cards.keys()) {
    const rows = rowsOf(slide);
    const middle = middleOf(rows);
    valued.set(slide, new Map(rows.map((row) => [row[NUMBER], [row, row[REASON] === null ? colour.of(row, middle) : null]])));
  }
  const values = [...valued.values()].flatMap((fields) => [...fields.values()].map(([, value]) => value)).filter((one) => one !== null);
  const [low, high] = rangeOf(values, colour === COLOURS.objects);
  legend(colour, low, high, values.length > 0);
  const running = ["scanning", "paused"].includes(known.state?.state);
  for (const [slide, card] of cards) paint(card, valued.get(slide), colour, low, high, running && known.counters?.slide === slide);
}

function paint(card, fields, colour, low, high, current) {
  const { slide, canvas } = card;
  const total = slide.places.length;
  const skipped = [...fields.values()].filter(([row]) => row[REASON] !== null).length;
  const done = fields.size;
  const under = current && done < total;
  const state = done >= total ? "done" : current ? known.state.state : done === 0 ? "waiting" : "left off";
  card.element.classList.toggle("current", under);
  const objects = known.counts.get(slide.position)?.objects ?? 0;
  setText(card.state, skipped ? `${state}, ${number(skipped)} skipped` : state);
  setText(card.line, done ? `${plural(objects, "object")} in ${number(done - skipped)} of ${plural(total, "field")}` : plural(total, "field"));
  canvas.setAttribute("aria-label", `Map of mini-slide ${slide.position}, ${slide.sample}: ${card.state.textContent}, ${card.line.textContent}`);

  const style = getComputedStyle(document.documentElement);
  const rowAt = (at) => fields.get(at + 1) ?? [null, null];
  const mark = (at) => {
    const [row, value] = rowAt(at);
    if (row === null) return style.getPropertyValue("--empty");
    if (row[REASON] !== null) return null;
    return value === null ? style.getPropertyValue("--dim") : colourOf(colour.map, (value - low) / (high - low));
  };
  const next = under ? Math.max(0, ...fields.keys()) + 1 : 0;
  const rings = [[next - 1, "--accent"], [card.at, "--text"]].map(([at, name]) => [at, style.getPropertyValue(name)]);
  const spots = paintMap(canvas, slide.places, known.about.frame_um, mark, rings);
  card.spots = spots.map(([x, y], at) => [x, y, rowAt(at)[0]]);
}

function legend(colour, low, high, any) {
  paintRamp(byId("ramp"), (share) => colourOf(colour.map, share));
  setText(byId("ramp-low"), any ? figure(low, colour.digits) : "");
  setText(byId("ramp-high"), any ? `${figure(high, colour.digits)} ${colour.unit}` : colour.unit);
}

function point(card, event) {
  const best = nearest(card.spots, event.offsetX, event.offsetY);
  if (best >= 0) say(card, best);
}

function walk(card, event) {
  const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
  if (step === undefined) return;
  event.preventDefault();
  say(card, Math.min(Math.max(card.at + step, 0), card.spots.length - 1));
}

function say(card, at) {
  for (const one of cards.values()) if (one !== card) one.at = -1;
  card.at = at;
  const row = card.spots[at][2];
  const where = `Mini-slide ${card.slide.position}, field ${at + 1}`;
  const told = row === null ? "not yet" : row[REASON] !== null ? `skipped at ${clock(row[UTC])}: ${row[REASON]}`
    : `${plural(row[OBJECTS], "object")}, focus ${figure(row[FOCUS])} µm, ${figure(row[SECONDS], 1)} s, at ${clock(row[UTC])}`;
  setText(byId("map-field"), `${where}: ${told}`);
  redraw();
}

new ResizeObserver(() => known?.about && cards.size && redraw()).observe(byId("maps"));
