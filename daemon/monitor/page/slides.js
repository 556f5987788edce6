// The mini-slides as maps of their fields.

import { CIVIDIS, colourOf, VIRIDIS } from "./colours.js";
import { byId, choice, make, remember, remembered, setText } from "./dom.js";
import { clock, figure, number, plural } from "./words.js";

const [NUMBER, UTC, OBJECTS, FOCUS, SECONDS, , REASON] = [0, 1, 2, 3, 4, 5, 6];
const COLOURS = {
  objects: { words: "Objects", unit: "objects a field", map: VIRIDIS, of: (row) => row[OBJECTS], digits: 0 },
  focus: { words: "Focus", unit: "µm from the mini-slide's middle height", map: CIVIDIS, of: (row, middle) => (row[FOCUS] === null ? null : row[FOCUS] - middle), digits: 1 },
  seconds: { words: "Duration", unit: "s of the microscope", map: VIRIDIS, of: (row) => row[SECONDS], digits: 1 },
};
const LEAST_PX = 3;
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
  const [low, high] = rangeOf(values, colour);
  legend(colour, low, high, values.length > 0);
  const running = ["scanning", "paused"].includes(known.state?.state);
  for (const [slide, card] of cards) paint(card, valued.get(slide), colour, low, high, running && known.counters?.slide === slide);
}

// What 98 % of the values lie within, so that one odd field does not flatten the rest.
function rangeOf(values, colour) {
  const sorted = [...values].sort((a, b) => a - b);
  const at = (share) => sorted[Math.round(share * (sorted.length - 1))] ?? 0;
  const [low, high] = colour === COLOURS.objects ? [0, at(0.99)] : [at(0.01), at(0.99)];
  return high > low ? [low, high] : [low - 0.5, low + 0.5];
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

  const side = canvas.clientWidth;
  const ratio = window.devicePixelRatio || 1;
  canvas.width = canvas.height = Math.round(side * ratio);
  const pen = canvas.getContext("2d");
  pen.scale(ratio, ratio);
  const style = getComputedStyle(document.documentElement);
  const [frameX, frameY] = known.about.frame_um;
  const xs = slide.places.map(([x]) => x);
  const ys = slide.places.map(([, y]) => y);
  const [left, right] = [Math.min(...xs) - frameX / 2, Math.max(...xs) + frameX / 2];
  const [bottom, top] = [Math.min(...ys) - frameY / 2, Math.max(...ys) + frameY / 2];
  const scale = (side - 4) / Math.max(right - left, top - bottom, 1e-6);
  const offX = (side - scale * (right - left)) / 2;
  const offY = (side - scale * (top - bottom)) / 2;
  const [w, h] = [Math.max(LEAST_PX, scale * frameX * 0.9), Math.max(LEAST_PX, scale * frameY * 0.9)];
  const next = under ? Math.max(0, ...fields.keys()) + 1 : 0;
  card.spots = slide.places.map(([x, y], at) => {
    const [px, py] = [offX + scale * (x - left), offY + scale * (top - y)];
    const [row, value] = fields.get(at + 1) ?? [null, null];
    if (row === null) {
      pen.fillStyle = style.getPropertyValue("--empty");
      pen.fillRect(px - w / 2, py - h / 2, w, h);
    } else if (row[REASON] !== null) {
      cross(pen, px, py, Math.max(w, 5), style.getPropertyValue("--bad"));
    } else {
      pen.fillStyle = value === null ? style.getPropertyValue("--dim") : colourOf(colour.map, (value - low) / (high - low));
      pen.fillRect(px - w / 2, py - h / 2, w, h);
    }
    return [px, py, row];
  });
  for (const [at, name] of [[next - 1, "--accent"], [card.at, "--text"]]) {
    if (!(at in card.spots)) continue;
    const [px, py] = card.spots[at];
    pen.strokeStyle = style.getPropertyValue(name);
    pen.lineWidth = 2;
    pen.strokeRect(px - w / 2 - 1, py - h / 2 - 1, w + 2, h + 2);
  }
}

function cross(pen, x, y, size, colour) {
  pen.strokeStyle = colour;
  pen.lineWidth = 1.5;
  pen.beginPath();
  for (const slope of [-1, 1]) {
    pen.moveTo(x - size / 2.6, y - (slope * size) / 2.6);
    pen.lineTo(x + size / 2.6, y + (slope * size) / 2.6);
  }
  pen.stroke();
}

function legend(colour, low, high, any) {
  const ramp = byId("ramp");
  const pen = ramp.getContext("2d");
  for (let x = 0; x < ramp.width; x += 1) {
    pen.fillStyle = colourOf(colour.map, x / (ramp.width - 1));
    pen.fillRect(x, 0, 1, ramp.height);
  }
  setText(byId("ramp-low"), any ? figure(low, colour.digits) : "");
  setText(byId("ramp-high"), any ? `${figure(high, colour.digits)} ${colour.unit}` : colour.unit);
}

function point(card, event) {
  const [x, y] = [event.offsetX, event.offsetY];
  let [best, nearest] = [-1, 24 ** 2];
  card.spots.forEach(([px, py], at) => {
    const away = (px - x) ** 2 + (py - y) ** 2;
    if (away < nearest) [best, nearest] = [at, away];
  });
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
