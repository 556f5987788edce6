// The newest objects, each with its way through focus: one picture holds all its planes.

import { classColour } from "./colours.js";
import { byId, choice, make, remember, remembered, setText } from "./dom.js";
import { called } from "./night_words.js";
import { figure, short } from "./words.js";

// A field that is taken again has other objects and pictures; none of an earlier attempt may come from a cache.
const keyOf = (one) => `${one.slide}/${one.field}/${one.number}?attempt=${one.attempt}`;
const pathOf = (one) => `/picture/object/${keyOf(one)}`;
const bestOf = (one) => Math.min(Math.max(Math.round(one.best_plane), 0), one.planes - 1);

let chosen = null;
let plane = 0;
let row = remembered("polarization", "");
let known = [];
let offered = "";
const tiles = new Map();

const bench = byId("bench");
const slider = byId("plane");

export function gallery(night, changed) {
  if (!changed.has("specimens")) return;
  known = [...night.specimens].reverse().map((one) => ({ ...one, name: called(night, one) }));
  byId("gallery-none").hidden = known.length > 0;
  byId("gallery-body").hidden = known.length === 0;
  if (!known.length) return;
  offer();
  fillTiles();
  const held = chosen && known.find((one) => keyOf(one) === keyOf(chosen));
  if (!held) chosen = null;
  if (!chosen) open(known[0], false);
}

function offer() {
  const polarizations = known[0].polarizations;
  if (String(polarizations) === offered) return;
  offered = String(polarizations);
  if (!polarizations.includes(row)) row = polarizations[polarizations.length - 1];
  choice(byId("gallery-views"), polarizations.map((one) => [one, one[0].toUpperCase() + one.slice(1)]), row, (one) => {
    row = one;
    remember("polarization", one);
    for (const tile of tiles.values()) place(tile.picture, tile.one, tile.plane, rowOf(tile.one));
  });
}

const rowOf = (one) => Math.max(0, one.polarizations.indexOf(row));

// A window onto one plane of a strip.
function frameOf(one) {
  const image = make("img", { alt: "", draggable: "false", src: pathOf(one) });
  image.style.width = `${one.planes * 100}%`;
  image.style.height = `${one.polarizations.length * 100}%`;
  const window_ = make("div", { class: "window" }, image);
  window_.style.aspectRatio = `${one.tile_px[1]} / ${one.tile_px[0]}`;
  return window_;
}

function place(window_, one, at, rowAt) {
  const image = window_.firstChild;
  image.style.left = `${-at * 100}%`;
  image.style.top = `${-rowAt * 100}%`;
}

function fillTiles() {
  const keys = new Set(known.map(keyOf));
  for (const key of [...tiles.keys()].filter((one) => !keys.has(one))) {
    tiles.get(key).button.remove();
    tiles.delete(key);
  }
  const list = byId("tiles");
  for (const one of [...known].reverse()) {
    if (tiles.has(keyOf(one))) continue;
    const tile = makeTile(one);
    tiles.set(keyOf(one), tile);
    list.prepend(tile.button);
  }
}

function makeTile(one) {
  const picture = frameOf(one);
  const tile = { one, picture, plane: bestOf(one), button: null };
  const step = (at) => {
    tile.plane = Math.min(Math.max(at, 0), one.planes - 1);
    place(picture, one, tile.plane, rowOf(one));
  };
  const dot = make("span", { class: "dot" });
  dot.style.background = classColour(one.class_name);
  const size = one.length_um === null ? figure(one.score) : `${short(one.length_um)} µm`;
  tile.button = make("button", {
    type: "button", class: "tile", "data-key": keyOf(one),
    "aria-label": `${one.name}, ${size}, mini-slide ${one.slide}, field ${one.field}`,
    onclick: () => open(one, true),
    onpointermove: (event) => {
      const box = picture.getBoundingClientRect();
      step(Math.floor(((event.clientX - box.left) / box.width) * one.planes));
    },
    onpointerleave: () => step(bestOf(one)),
    onkeydown: (event) => {
      const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (by === undefined) return;
      event.preventDefault();
      step(tile.plane + by);
      open(one, true, tile.plane);
    },
  }, picture, make("span", { class: "label" }, dot, size));
  step(tile.plane);
  return tile;
}

function open(one, pinned, at = bestOf(one)) {
  chosen = pinned ? one : null;
  byId("follow").hidden = !pinned;
  for (const tile of tiles.values()) tile.button.classList.toggle("open", tile.one === one);
  if (bench.dataset.key !== keyOf(one)) {
    bench.dataset.key = keyOf(one);
    byId("bench-pictures").replaceChildren(...one.polarizations.map((name) => {
      const bar = scaleBar(one);
      return make("figure", {}, make("div", { class: "frame" }, frameOf(one), bar), make("figcaption", {}, name));
    }));
    slider.max = String(one.planes - 1);
    setText(byId("bench-class"), one.name);
    const facts = [
      ["score", figure(one.score)], ["length", one.length_um === null ? "–" : `${short(one.length_um)} µm`],
      ["mass", one.mass_pg === null ? "–" : `${short(one.mass_pg)} pg`], ["best plane", figure(one.best_plane + 1, 1)],
      ["sample", one.sample], ["mini-slide, field", `${one.slide}, ${one.field}`],
    ];
    byId("bench-facts").replaceChildren(...facts.map(([name, value]) => make("div", {}, make("dt", {}, name), make("dd", {}, value))));
  }
  bench.one = one;
  toPlane(at);
}

function scaleBar(one) {
  const length = [1, 2, 5, 10, 20, 50].filter((um) => um < one.tile_um * 0.45).pop() ?? 0.5;
  const bar = make("div", { class: "scale" }, `${length} µm`);
  bar.style.width = `${(100 * length) / one.tile_um}%`;
  return bar;
}

function toPlane(at) {
  const one = bench.one;
  plane = Math.min(Math.max(at, 0), one.planes - 1);
  bench.querySelectorAll(".window").forEach((window_, rowAt) => place(window_, one, plane, rowAt));
  slider.value = String(plane);
  const off = (plane - one.best_plane) * one.step_um;
  const words = Math.abs(plane - one.best_plane) <= 0.5 ? "sharpest" : `${figure(Math.abs(off), 1)} µm ${off < 0 ? "below" : "above"} the sharpest`;
  setText(byId("plane-told"), `plane ${plane + 1} of ${one.planes}, ${words}`);
  slider.setAttribute("aria-valuetext", byId("plane-told").textContent);
}

function scrub() {
  const pictures = byId("bench-pictures");
  let from = null;
  pictures.addEventListener("wheel", (event) => {
    event.preventDefault();
    pin();
    toPlane(plane + Math.sign(event.deltaY));
  }, { passive: false });
  pictures.addEventListener("pointerdown", (event) => {
    from = [event.clientX, plane];
    pictures.setPointerCapture(event.pointerId);
  });
  pictures.addEventListener("pointermove", (event) => {
    if (from === null) return;
    pin();
    toPlane(from[1] + Math.round(((event.clientX - from[0]) / pictures.clientWidth) * bench.one.planes * 1.5));
  });
  for (const name of ["pointerup", "pointercancel"]) pictures.addEventListener(name, () => (from = null));
  pictures.addEventListener("keydown", (event) => {
    const by = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: 1, ArrowDown: -1 }[event.key];
    if (by === undefined) return;
    event.preventDefault();
    pin();
    toPlane(plane + by);
  });
  slider.addEventListener("input", () => {
    pin();
    toPlane(Number(slider.value));
  });
}

// Whoever moves through an object keeps it, whatever is found meanwhile.
function pin() {
  chosen = bench.one;
  byId("follow").hidden = false;
}

byId("follow").addEventListener("click", () => open(known[0], false));
scrub();
