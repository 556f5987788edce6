// Lengths and masses, as they grow: bins even in the logarithm, a colour a class.

import { classChips } from "./chips.js";
import { classColour } from "./colours.js";
import { classesOf } from "./counts.js";
import { byId, choice, draw, make } from "./dom.js";
import { number } from "./words.js";

const [HEIGHT, LEFT, BOTTOM, TOP] = [220, 44, 26, 8];
const ALL = 0;
const hidden = new Set();
let slide = ALL;
let known = null;
let offered = "";

export function sizes(night, changed) {
  if (!["counts", "about"].some((key) => changed.has(key)) || !night.about) return;
  known = night;
  const now = night.about.slides.map((one) => one.position).join();
  if (now !== offered) {
    offered = now;
    choice(byId("size-slides"), [[ALL, "All"], ...night.about.slides.map((one) => [one.position, String(one.position)])], slide, (one) => {
      slide = one;
      redraw();
    });
  }
  redraw();
}

function redraw() {
  const classes = classesOf(known);
  const chosen = [...known.counts.values()].filter((one) => slide === ALL || one.slide === slide).flatMap((one) => one.classes);
  classChips("size-classes", classes, hidden, redraw);
  const shown = classes.filter((name) => !hidden.has(name));
  histogram("lengths", "length", "µm", known.lengthEdges, stacks(chosen, shown, "lengths"), shown);
  histogram("masses", "mass", "pg", known.massEdges, stacks(chosen, shown, "masses"), shown);
}

new ResizeObserver(() => known && redraw()).observe(byId("lengths"));

// For each bin the counts of the classes shown.
function stacks(rows, classes, of) {
  const bins = rows[0]?.[of].length ?? 0;
  return Array.from({ length: bins }, (_, bin) =>
    classes.map((name) => rows.filter((one) => one.class_name === name).reduce((sum, one) => sum + one[of][bin], 0)));
}

function histogram(id, what, unit, edges, bins, classes) {
  const sums = bins.map((counts) => counts.reduce((a, b) => a + b, 0));
  const total = sums.reduce((a, b) => a + b, 0);
  const place = byId(id);
  if (total === 0) {
    place.replaceChildren(make("p", { class: "dim" }, `No ${what} was measured yet.`));
    return;
  }
  const width = Math.max(240, place.clientWidth);
  const first = Math.max(0, sums.findIndex((one) => one > 0) - 1);
  const last = Math.min(sums.length, sums.length - [...sums].reverse().findIndex((one) => one > 0) + 1);
  const [low, high] = [Math.log(edges[first]), Math.log(edges[last])];
  const x = (value) => LEFT + ((Math.log(value) - low) / (high - low)) * (width - LEFT - 6);
  const most = Math.max(...sums);
  const y = (count) => HEIGHT - BOTTOM - (count / most) * (HEIGHT - BOTTOM - TOP);
  const bars = [];
  for (let bin = first; bin < last; bin += 1) {
    let below = 0;
    bins[bin].forEach((count, at) => {
      if (!count) return;
      const [x0, x1] = [x(edges[bin]), x(edges[bin + 1])];
      bars.push(draw("rect", { x: x0 + 0.6, width: Math.max(0.5, x1 - x0 - 1.2), y: y(below + count), height: y(below) - y(below + count), fill: classColour(classes[at]) }));
      below += count;
    });
  }
  const labels = decades(edges[first], edges[last]).map((value) => [
    draw("line", { class: "tick", x1: x(value), x2: x(value), y1: HEIGHT - BOTTOM, y2: HEIGHT - BOTTOM + 4 }),
    draw("text", { x: x(value), y: HEIGHT - 6, "text-anchor": "middle" }, value >= 1000 ? number(value) : String(value)),
  ]);
  const lines = ticks(most).map((value) => [
    draw("line", { class: "grid", x1: LEFT, x2: width - 6, y1: y(value), y2: y(value) }),
    draw("text", { x: LEFT - 6, y: y(value) + 4, "text-anchor": "end" }, number(value)),
  ]);
  const words = `${number(total)} objects by ${what}, most of them near ${edges[sums.indexOf(most)].toPrecision(2)} ${unit}`;
  place.replaceChildren(draw("svg", { width, height: HEIGHT, role: "img", "aria-label": words },
    ...lines.flat(), ...bars, ...labels.flat(), draw("line", { class: "axis", x1: LEFT, x2: width - 6, y1: HEIGHT - BOTTOM, y2: HEIGHT - BOTTOM })));
}

// 1, 2 and 5 of every power of ten between two values; fewer where there are many.
function decades(low, high) {
  const found = [];
  for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power += 1) {
    for (const digit of [1, 2, 5]) {
      const value = Number((digit * 10 ** power).toPrecision(3));
      if (value >= low && value <= high) found.push(value);
    }
  }
  return found.length > 9 ? found.filter((value) => /^0*\.?0*1/.test(String(value))) : found;
}

export function ticks(most) {
  const raw = most / 3;
  const power = 10 ** Math.floor(Math.log10(Math.max(raw, 1)));
  const step = [1, 2, 5, 10].map((digit) => digit * power).find((one) => one >= raw) ?? 1;
  return Array.from({ length: Math.floor(most / step) + 1 }, (_, at) => at * step);
}
