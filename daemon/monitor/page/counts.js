// Counts of each mini-slide, with what they may be off by.

import { classColour } from "./colours.js";
import { byId, draw, make } from "./dom.js";
import { taxonName } from "./night_words.js";
import { figure, number, short } from "./words.js";

export function counts(night, changed) {
  if (!["about", "counts", "fields"].some((key) => changed.has(key)) || !night.about) return;
  const classes = classesOf(night);
  const rows = night.about.slides.map((slide) => {
    const fields = [...(night.fields.get(slide.position)?.values() ?? [])];
    const skipped = fields.filter((row) => row[6] !== null).length;
    return { slide, secured: fields.length - skipped, skipped, told: night.counts.get(slide.position) };
  });
  const most = Math.max(1e-9, ...rows.map(({ secured, told }) => (told && secured ? told.high / secured : 0)));
  byId("counts-head").replaceChildren(make("tr", {},
    ...["Mini-slide", "Sample", "Objects", "95 % interval", "Per field", "Per field, 95 % interval", "Fields", "Skipped"].map((name, at) => make("th", { scope: "col", class: at === 1 ? "text" : null }, name)),
    ...classes.map((name) => make("th", { scope: "col" }, dot(name), name))));
  byId("counts-body").replaceChildren(...rows.map((row) => line(row, classes, most)));
  taxa(night);
}

// Taxa downwards, as there are many, and mini-slides across.
function taxa(night) {
  const totals = new Map();
  for (const slide of night.counts.values()) {
    for (const one of slide.taxa) totals.set(one.taxon, (totals.get(one.taxon) ?? 0) + one.objects);
  }
  byId("taxa").hidden = totals.size === 0;
  const slides = night.about.slides;
  byId("taxa-head").replaceChildren(make("tr", {},
    ...["Taxon", "Objects", ...slides.map((slide) => String(slide.position))].map((name, at) => make("th", { scope: "col", class: at === 0 ? "text" : null }, name))));
  byId("taxa-body").replaceChildren(...[...totals].sort((a, b) => b[1] - a[1]).map(([taxon, total]) => make("tr", {},
    make("th", { scope: "row", class: "text" }, taxonName(night, taxon)), make("td", {}, number(total)),
    ...slides.map((slide) => {
      const one = night.counts.get(slide.position)?.taxa.find((other) => other.taxon === taxon);
      if (!one) return make("td", {}, "–");
      return make("td", {}, number(one.objects), make("small", {}, range(one.low, one.high)));
    }))));
}

export function classesOf(night) {
  const totals = new Map();
  for (const slide of night.counts.values()) {
    for (const one of slide.classes) totals.set(one.class_name, (totals.get(one.class_name) ?? 0) + one.objects);
  }
  return [...totals].sort((a, b) => b[1] - a[1]).map(([name]) => name);
}

function dot(name) {
  const made = make("span", { class: "dot" });
  made.style.background = classColour(name);
  return made;
}

function line({ slide, secured, skipped, told }, classes, most) {
  const any = told && secured > 0;
  const cells = [told ? number(told.objects) : "–", told ? range(told.low, told.high) : "–", any ? figure(told.objects / secured) : "–"];
  return make("tr", {},
    make("th", { scope: "row" }, String(slide.position)), make("td", { class: "text" }, slide.sample),
    ...cells.map((cell) => make("td", {}, cell)), make("td", { class: "whisker" }, any ? whisker(told, secured, most) : null),
    make("td", {}, number(secured)), make("td", {}, skipped ? number(skipped) : "–"),
    ...classes.map((name) => {
      const one = told?.classes.find((other) => other.class_name === name);
      if (!one) return make("td", {}, "–");
      return make("td", {}, number(one.objects), make("small", {}, range(one.low, one.high)));
    }));
}

const range = (low, high) => `${short(low)} – ${short(high)}`;

function whisker(told, secured, most) {
  const x = (value) => 2 + (116 * value) / secured / most;
  const words = `${figure(told.low / secured)} to ${figure(told.high / secured)} objects per field`;
  return draw("svg", { viewBox: "0 0 120 16", role: "img", "aria-label": words },
    draw("line", { class: "ground", x1: 2, x2: 118, y1: 8, y2: 8 }),
    draw("line", { class: "interval", x1: x(told.low), x2: x(told.high), y1: 8, y2: 8 }),
    draw("circle", { class: "value", cx: x(told.objects), cy: 8, r: 3.2 }));
}
