// Focus and lamp over the night, mini-slide by mini-slide.

import { byId, draw, make } from "./dom.js";
import { clock, figure } from "./words.js";

const [HEIGHT, LEFT, BOTTOM, TOP, RIGHT] = [210, 46, 26, 20, 10];
const [FAR, FEW_FAR] = [4, 0.05];
const POINTS = 1500;
const FEW = 250;
const STROKES = ["var(--accent)", "var(--second)", "var(--dim)"];

let known = null;

export function drift(night, changed) {
  if (!["fields", "about"].some((key) => changed.has(key)) || !night.about) return;
  known = night;
  redraw(night);
}

new ResizeObserver(() => known && redraw(known)).observe(byId("drift-focus"));

function redraw(night) {
  const slides = night.about.slides.map(({ position }) => ({
    position, rows: [...(night.fields.get(position)?.values() ?? [])].filter((row) => row[6] === null).sort((a, b) => a[1] - b[1]),
  })).filter(({ rows }) => rows.length);
  const focus = slides.map(({ position, rows }) => {
    const first = rows.find((row) => row[3] !== null)?.[3] ?? 0;
    return { position, points: rows.filter((row) => row[3] !== null).map((row) => [row[1], row[3] - first]) };
  });
  chart("drift-focus", [{ name: "focus", slides: focus }], "µm", 1, "No focus is known yet.");
  const lamp = night.about.polarizations.map((name, at) => {
    const first = slides.flatMap(({ rows }) => rows).find((row) => row[5][at] > 0)?.[5][at];
    return { name, slides: slides.map(({ position, rows }) => ({ position, points: first ? rows.filter((row) => row[5].length > at).map((row) => [row[1], (100 * row[5][at]) / first]) : [] })) };
  });
  chart("drift-lamp", lamp, "%", 1, "No background is known yet.");
}

function chart(id, series, unit, digits, none) {
  const place = byId(id);
  const points = series.flatMap((one) => one.slides.flatMap((slide) => slide.points));
  if (points.length < 2) {
    place.replaceChildren(make("p", { class: "dim" }, none));
    return;
  }
  const width = Math.max(240, place.clientWidth);
  const times = points.map(([utc]) => utc);
  const values = points.map(([, value]) => value);
  const [from, until] = [Math.min(...times), Math.max(...times)];
  const [least, greatest] = within(values, series.length);
  const [low, high] = widened(least, greatest);
  const x = (utc) => LEFT + ((utc - from) / Math.max(until - from, 1)) * (width - LEFT - RIGHT);
  const y = (value) => HEIGHT - BOTTOM - ((Math.min(Math.max(value, low), high) - low) / (high - low)) * (HEIGHT - BOTTOM - TOP);
  const every = Math.max(1, Math.ceil(points.length / POINTS));
  const lines = steps(low, high).map((value) => [
    draw("line", { class: "grid", x1: LEFT, x2: width - RIGHT, y1: y(value), y2: y(value) }),
    draw("text", { x: LEFT - 6, y: y(value) + 4, "text-anchor": "end" }, figure(value, digits)),
  ]);
  const marks = series[0].slides.filter((slide) => slide.points.length).map((slide) => {
    const at = x(slide.points[0][0]);
    return [draw("line", { class: "slide", x1: at, x2: at, y1: TOP - 6, y2: HEIGHT - BOTTOM }), draw("text", { x: at + 4, y: TOP - 6, class: "slide" }, String(slide.position))];
  });
  const isFar = (value) => value < least || value > greatest;
  const far = points.filter(([, value]) => isFar(value));
  const dots = series.map((one, at) => {
    const path = one.slides.flatMap((slide) => slide.points).filter(([, value], n) => n % every === 0 && !isFar(value))
      .map(([utc, value]) => `M${x(utc).toFixed(1)} ${y(value).toFixed(1)}h0`).join("");
    const made = draw("path", { class: "dots", d: path });
    if (points.length < FEW) made.style.strokeWidth = "5";
    made.style.stroke = STROKES[Math.min(at, STROKES.length - 1)];
    return made;
  });
  const beyond = far.map(([utc, value]) => draw("path", { class: "beyond", d: `M${(x(utc) - 4).toFixed(1)} ${y(value) + (value < least ? -7 : 7)}h8l-4 ${value < least ? 7 : -7}z` }));
  const hours = clocks(from, until).map((utc) => draw("text", { x: x(utc), y: HEIGHT - 6, "text-anchor": "middle" }, clock(utc)));
  const last = series.map((one) => `${one.name} now ${figure(one.slides.filter((slide) => slide.points.length).at(-1)?.points.at(-1)[1] ?? null, digits)} ${unit}`);
  const key = series.length < 2 ? [] : [make("p", { class: "key" }, ...series.flatMap((one, at) => {
    const dot = make("span", { class: "dot" });
    dot.style.background = STROKES[Math.min(at, STROKES.length - 1)];
    return [dot, one.name];
  }))];
  place.replaceChildren(draw("svg", { width, height: HEIGHT, role: "img", "aria-label": last.join(", ") },
    ...lines.flat(), ...marks.flat(), ...dots, ...beyond, ...hours), ...key, ...(far.length ? [make("p", { class: "key" }, farWords(far, unit, digits))] : []));
}

// What the values lie within, but for a few that lie far from all others: one bubble must not squeeze the rest to a line.
function within(values, aField) {
  const sorted = [...values].sort((a, b) => a - b);
  const at = (share) => sorted[Math.round(share * (sorted.length - 1))];
  const spread = FAR * Math.max(at(0.75) - at(0.25), 0.1);
  const near = sorted.filter((value) => value >= at(0.25) - spread && value <= at(0.75) + spread);
  const few = sorted.length - near.length <= Math.max(aField, FEW_FAR * sorted.length);
  const shown = few && near.length ? near : sorted;
  return [shown[0], shown.at(-1)];
}

function farWords(far, unit, digits) {
  const values = far.map(([, value]) => value).sort((a, b) => a - b);
  const fields = new Set(far.map(([utc]) => utc)).size;
  const told = fields === 1 ? "1 field lies" : `${fields} fields lie`;
  const where = values[0] === values.at(-1) ? figure(values[0], digits) : `${figure(values[0], digits)} to ${figure(values.at(-1), digits)}`;
  return `${told} beyond the chart: ${where} ${unit}`;
}

function widened(low, high) {
  const spare = Math.max(0.08 * (high - low), 0.25);
  return [low - spare, high + spare];
}

function steps(low, high) {
  const raw = (high - low) / 4;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((digit) => digit * power).find((one) => one >= raw);
  const found = [];
  for (let value = Math.ceil(low / step) * step; value <= high; value += step) found.push(value);
  return found;
}

// Round times of the day, a handful of them.
function clocks(from, until) {
  const step = [60, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200, 86_400].find((one) => (until - from) / one <= 6) ?? 86_400;
  const shift = new Date(from * 1000).getTimezoneOffset() * 60;
  const found = [];
  for (let utc = Math.ceil((from - shift) / step) * step + shift; utc <= until; utc += step) found.push(utc);
  return found;
}
