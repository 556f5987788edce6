// One field: its picture with the boxes of its objects, each of which leads to its page.

import { actionButtons } from "./actions.js";
import { fieldPath, ofField, ofNight, ofObject } from "./addresses.js";
import { ask, why } from "./asked.js";
import { classColour } from "./colours.js";
import { choice, draw, make, remember, remembered } from "./dom.js";
import { panning } from "./panning.js";
import { scaleBar } from "./scale_bar.js";
import { figure, plural, short } from "./words.js";

const KINDS = { counted: "counted", "seen again": "neighbour", "below threshold": "below", "field not counted": "below" };
const NOT_COUNTED = { "seen again": "lies in a neighbour's tile and counts there", "below threshold": "below the threshold, kept but not counted", "field not counted": "not counted, as its field is not" };

export async function field(here) {
  const [key, slide, number_, attempt] = here.parts;
  const told = await ask(`/data/field/${fieldPath(key, slide, number_, attempt)}`);
  here.title(`Field ${told.field}, mini-slide ${told.slide}`);
  here.crumbs([`night ${told.night}`, ofNight(key)], [`mini-slide ${told.slide}, ${told.sample}`, ofNight(key)], [`field ${told.field}`, null]);
  const counted = told.objects.filter((one) => one.standing === "counted").length;
  const again = () => here.again();
  here.main.append(
    make("header", { class: "with-ways" },
      make("div", {}, make("p", { class: "dim over" }, `Mini-slide ${told.slide}, ${told.sample}`),
        make("h1", {}, `Field ${told.field}`, told.state === "recorded" ? `: ${plural(counted, "object")}` : ""),
        make("p", { class: "dim" }, saysOf(told))),
      ways(told, key)));
  if (told.state === "skipped") {
    here.main.append(make("section", { class: "full" }, make("p", {}, `Nothing was recorded here: ${told.reason}.`)));
    return;
  }
  const table = tableOf(told, key);
  here.main.append(
    make("section", { class: "picture" }, ...pictureOf(told, key, here)),
    make("section", { class: "beside" },
      make("dl", { class: "facts" }, ...told.facts.map(([name, value]) => make("div", {}, make("dt", {}, name), make("dd", {}, value)))),
      actionButtons(told.actions, { night: key, slide: told.slide, fields: String(told.field) }, again),
      make("details", {}, make("summary", {}, plural(told.files.length, "file")), make("p", { class: "path" }, ...told.files.flatMap((name) => [name, make("br")])))),
    make("section", { class: "full" }, make("h2", { id: "objects-head" }, "Objects"),
      told.objects.length ? table : make("p", { class: "dim" }, told.state === "recorded" ? "Nothing was found in this field." : `Nothing has been looked for yet${told.reason ? `: ${told.reason}` : ""}.`)));
}

function saysOf(told) {
  const parts = [];
  const again = told.objects.filter((one) => one.standing === "seen again").length;
  const below = told.objects.filter((one) => one.standing === "below threshold").length;
  if (again) parts.push(`${again} seen again in a neighbour's tile`);
  if (below) parts.push(`${below} below the threshold`);
  if (told.judged) parts.push(told.judged);
  if (told.state === "not analysed") parts.push("not analysed yet");
  if (told.attempts.length > 1) parts.push(`attempt ${told.attempt} of ${told.attempts.length}${told.counts ? ", which counts" : ", which does not count"}`);
  return parts.join("; ");
}

function ways(told, key) {
  const [before, after] = told.neighbours ?? [null, null];
  const way = (number_, name, words) => (number_ === null ? null : make("a", { class: "button", "data-way": name, href: ofField(key, told.slide, number_) }, words));
  const others = told.attempts.filter((one) => one !== told.attempt);
  return make("p", { class: "ways" }, way(before, "before", "‹ Before"), way(after, "next", "Next ›"),
    make("a", { class: "button quiet", "data-way": "up", href: ofNight(key) }, "Map"),
    ...others.map((one) => make("a", { class: "button quiet", href: ofField(key, told.slide, told.field, one) }, `Attempt ${one}`)));
}

function pictureOf(told, key, here) {
  const [height, width] = told.frame_px;
  const states = told.polarizations;
  const path = `/picture/field/${fieldPath(key, told.slide, told.field, told.attempt)}`;
  let state = remembered("view-state", states[states.length - 1]);
  if (!states.includes(state)) state = states[states.length - 1];
  const image = make("img", { class: "side-by-side", src: path, alt: `Field ${told.field} of mini-slide ${told.slide}`, draggable: "false" });
  image.style.width = `${states.length * 100}%`;
  const boxes = draw("svg", { id: "boxes", viewBox: `0 0 ${width} ${height}`, role: "group", "aria-label": "Objects of the field" });
  const layer = make("div", { id: "layer" }, image, boxes);
  const bar = scaleBar(told.pixel_um && width * told.pixel_um, 0.2);
  const stage = make("div", { id: "stage", tabindex: "0", role: "group", "aria-label": "Picture of the field; plus and minus zoom, arrows move, 0 shows all" }, layer, bar);
  stage.style.aspectRatio = `${width} / ${height}`;
  stage.style.maxWidth = `calc(78vh * ${width / height})`;
  const line = make("p", { class: "dim told", role: "status" }, "Point at a box to read what it is; open it with a click, or with Tab and Enter.");
  const pan = panning(stage, layer, (scale) => {
    boxes.style.setProperty("--zoom", String(scale));
    if (bar) bar.hidden = scale > 1;
  });
  const buttons = make("div", { class: "zoom" },
    make("button", { type: "button", "aria-label": "Zoom in", onclick: pan.zoomIn }, "+"), make("button", { type: "button", "aria-label": "Zoom out", onclick: pan.zoomOut }, "−"),
    make("button", { type: "button", "aria-label": "Show all", onclick: pan.reset }, "▢"));
  stage.append(buttons);
  new ResizeObserver(() => boxes.style.setProperty("--unit", String(width / Math.max(stage.clientWidth, 1)))).observe(stage);
  const at = new URLSearchParams(here.query).get("object");
  boxes.append(...told.objects.map((one) => boxOf(told, key, one, line, String(one.number) === at)));
  const trouble = make("p", { class: "trouble", hidden: true });
  image.addEventListener("error", async () => {
    image.hidden = true;
    trouble.textContent = `The picture cannot be shown: ${await why(path)}`;
    trouble.hidden = false;
  });
  const turn = () => (image.style.left = `${-100 * states.indexOf(state)}%`);
  const views = make("div", { class: "choice", role: "group", "aria-label": "Polarization" });
  choice(views, states.map((one) => [one, one[0].toUpperCase() + one.slice(1)]), state, (one) => {
    state = one;
    remember("view-state", one);
    turn();
  });
  turn();
  const shown = make("input", { type: "checkbox", checked: true, onchange: () => boxes.classList.toggle("off", !shown.checked) });
  const note = told.picture === "kept" ? null : make("p", { class: "dim note" }, told.objects.length
    ? "No picture of the whole field was kept. What is shown is what its objects were cut out of it with; between them nothing is known."
    : "No picture of this field was kept, and it has no objects that could be shown.");
  return [make("div", { class: "controls" }, views, make("label", { class: "check" }, shown, " Boxes")), stage, trouble, line, note];
}

function boxOf(told, key, one, line, chosen) {
  const [x0, y0, x1, y1] = one.box;
  const colour = classColour(one.class_name);
  const words = sayObject(one);
  const link = draw("a", { href: ofObject([key, told.slide, told.field, told.attempt, one.number]), "aria-label": words, class: `${KINDS[one.standing]}${chosen ? " chosen" : ""}` },
    draw("rect", { x: x0, y: y0, width: x1 - x0, height: y1 - y0, rx: 3, stroke: colour, fill: colour }));
  for (const name of ["pointerenter", "focus"]) link.addEventListener(name, () => (line.textContent = words));
  return link;
}

function sayObject(one) {
  const sure = one.called.probability === null ? (one.called.who ? ` (said by ${one.called.who})` : "") : ` ${figure(one.called.probability)}`;
  const size = one.length_um === null ? "" : `, ${short(one.length_um)} µm`;
  return `${one.called.name}${sure}, ${one.class_name} ${figure(one.score)}${size}${NOT_COUNTED[one.standing] ? `; ${NOT_COUNTED[one.standing]}` : ""}`;
}

function tableOf(told, key) {
  const head = ["Object", "Taxon", "Probability", "Class", "Score", "Length, µm", "Mass, pg", "Counted", "Flags"];
  const text = new Set([0, 1, 3, 8]);
  const rows = told.objects.map((one) => [
    make("a", { href: ofObject([key, told.slide, told.field, told.attempt, one.number]) }, String(one.number)), one.called.name,
    one.called.probability === null ? one.called.who || "–" : figure(one.called.probability), one.class_name, figure(one.score), short(one.length_um), short(one.mass_pg),
    one.standing === "counted" ? "yes" : one.standing, one.flags.join(", "),
  ]);
  return make("div", { class: "wide", tabindex: "0", role: "region", "aria-labelledby": "objects-head" }, make("table", {},
    make("thead", {}, make("tr", {}, ...head.map((words, at) => make("th", { scope: "col", class: text.has(at) ? "text" : null }, words)))),
    make("tbody", {}, ...rows.map((row) => make("tr", {}, ...row.map((cell, at) => make(at ? "td" : "th", { class: text.has(at) ? "text" : null, scope: at ? null : "row" }, cell)))))));
}

