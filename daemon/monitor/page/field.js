// The latest field, with what was found in it.

import { classChips } from "./chips.js";
import { classColour } from "./colours.js";
import { byId, choice, draw, make, remember, remembered, setText } from "./dom.js";
import { newest } from "./newest.js";
import { panning } from "./panning.js";
import { called } from "./night_words.js";
import { figure, plural, short } from "./words.js";

const FOLLOW = 0;
const VIEWS = { fused: "Fused", crossed: "Crossed", parallel: "Parallel" };
const hidden = new Set();
let chosenSlide = FOLLOW;
let view = remembered("view", "fused");
let threshold = Number(remembered("threshold", "0.5"));
let known = null;
let boxesOf = null;
let offered = "";

const stage = byId("stage");
const layer = byId("layer");
const image = byId("picture");
const boxes = byId("boxes");
const show = newest(image);
const pan = panning(stage, layer, (scale) => {
  boxes.style.setProperty("--zoom", String(scale));
});

export function field(night, changed) {
  if (!changed.has("overviews") && !changed.has("about")) return;
  known = night;
  offer(night);
  redraw();
}

function offer(night) {
  const slides = [...night.overviews.keys()].sort((a, b) => a - b);
  const views = shown()?.views ?? [];
  const now = `${slides} ${views}`;
  if (now === offered) return;
  offered = now;
  if (chosenSlide !== FOLLOW && !night.overviews.has(chosenSlide)) chosenSlide = FOLLOW;
  choice(byId("field-slides"), [[FOLLOW, "Latest"], ...slides.map((one) => [one, String(one)])], chosenSlide, (slide) => {
    chosenSlide = slide;
    redraw();
  });
  if (!views.includes(view)) view = views[0] ?? view;
  choice(byId("field-views"), views.map((one) => [one, VIEWS[one] ?? one]), view, (one) => {
    view = one;
    remember("view", one);
    redraw();
  });
}

const shown = () => known?.overviews.get(chosenSlide === FOLLOW ? known.latest : chosenSlide) ?? null;

function redraw() {
  const told = shown();
  byId("field-none").hidden = told !== null;
  byId("field-body").hidden = told === null;
  if (told === null) return;
  const at = Math.max(0, told.views.indexOf(view));
  show(`/picture/field/${told.slide}/${told.field}/${at}?attempt=${told.attempt}`);
  image.alt = `Field ${told.field} of mini-slide ${told.slide}, ${VIEWS[told.views[at]] ?? told.views[at]} view`;
  stage.style.aspectRatio = `${told.frame_px[1]} / ${told.frame_px[0]}`;
  drawBoxes(told);
  const counted = told.objects.filter((one) => one.counted).length;
  const below = told.objects.filter((one) => one.below_threshold).length;
  const again = told.objects.length - counted - below;
  setText(byId("field-title"), `Mini-slide ${told.slide}, ${told.sample}, field ${told.field}: ${plural(counted, "object")}, ${again} seen again in a neighbour's tile, ${below} below the threshold`);
}

const isShown = (one) => one.score >= threshold && !hidden.has(one.class_name);

function drawBoxes(told) {
  const [height, width] = told.frame_px;
  boxes.setAttribute("viewBox", `0 0 ${width} ${height}`);
  boxes.style.setProperty("--unit", String(width / Math.max(stage.clientWidth, 1)));
  const objects = told.objects.filter(isShown);
  boxes.replaceChildren(...objects.map((one) => {
    const [x0, y0, x1, y1] = one.box;
    const kind = one.counted ? "counted" : one.below_threshold ? "below" : "neighbour";
    const box = draw("g", { class: kind, stroke: classColour(one.class_name), fill: classColour(one.class_name) },
      draw("rect", { x: x0, y: y0, width: x1 - x0, height: y1 - y0, rx: 3 }),
      draw("text", { x: x0, y: y0, dy: "-0.35em" }, figure(one.score)));
    box.addEventListener("pointerenter", () => say(one));
    box.addEventListener("click", () => say(one));
    return box;
  }));
  if (boxesOf !== told) {
    boxesOf = told;
    say(null);
  }
  classChips("field-classes", [...new Set(told.objects.map((one) => one.class_name))].sort(), hidden, redraw);
  table(objects);
}

function say(one) {
  if (one === null) {
    setText(byId("field-object"), "Point at a box to read what it is.");
    return;
  }
  const size = one.length_um === null ? "" : `, ${short(one.length_um)} µm long`;
  const mass = one.mass_pg === null ? "" : `, ${short(one.mass_pg)} pg`;
  const why = one.counted ? "" : one.below_threshold ? "; below the threshold, kept but not counted" : "; not counted here: it lies in a neighbour's tile";
  const name = one.taxon === null ? "" : `${called(known, one)}, `;
  setText(byId("field-object"), `${name}${one.class_name}, score ${figure(one.score)}${size}${mass}${why}`);
}

function table(objects) {
  const rows = objects.map((one) => make("tr", {},
    ...[called(known, one), figure(one.score), short(one.length_um), short(one.mass_pg), one.counted ? "yes" : "no"].map((cell) => make("td", {}, cell))));
  byId("field-table").replaceChildren(...rows);
}

byId("threshold").value = String(threshold);
byId("threshold").addEventListener("input", (event) => {
  threshold = Number(event.target.value);
  remember("threshold", event.target.value);
  sayThreshold();
  redraw();
});
function sayThreshold() {
  setText(byId("threshold-told"), figure(threshold));
}
sayThreshold();

const contrast = byId("contrast");
contrast.addEventListener("input", () => {
  const value = Number(contrast.value);
  image.style.filter = value === 1 ? "" : `contrast(${value}) brightness(${1 + (value - 1) * 0.12})`;
  setText(byId("contrast-told"), `${figure(value, 1)}×`);
});
byId("zoom-in").addEventListener("click", pan.zoomIn);
byId("zoom-out").addEventListener("click", pan.zoomOut);
byId("zoom-all").addEventListener("click", pan.reset);
byId("boxes-shown").addEventListener("change", (event) => boxes.classList.toggle("off", !event.target.checked));
new ResizeObserver(() => {
  const told = shown();
  if (told) boxes.style.setProperty("--unit", String(told.frame_px[1] / Math.max(stage.clientWidth, 1)));
}).observe(stage);
