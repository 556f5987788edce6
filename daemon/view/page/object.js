// One object through focus: each polarization side by side in the same plane, its measures, names and flags.

import { actionButtons } from "./actions.js";
import { objectPath, ofField, ofNight, ofObject } from "./addresses.js";
import { ask, why } from "./asked.js";
import { make, setText } from "./dom.js";
import { scaleBar } from "./scale_bar.js";
import { figure, number } from "./words.js";

const STEP_MS = 160;
const STANDING = { counted: "counted", "seen again": "not counted here: it lies in a neighbour's tile", "below threshold": "below the threshold: kept, not counted", "field not counted": "not counted, as its field is not" };

export async function object(here) {
  const [key, ...rest] = here.parts;
  const place = [key, ...rest.map(Number)];
  const told = await ask(`/data/object/${objectPath(place)}${here.query}`);
  const name = told.called.name;
  here.title(`${name}, object ${told.number} of field ${told.field}`);
  here.crumbs([`night ${told.night}`, ofNight(key)], [`mini-slide ${told.slide}, ${told.sample}`, ofNight(key)],
    [`field ${told.field}`, `${ofField(key, told.slide, told.field, told.attempt)}?object=${told.number}`], [`object ${told.number}`, null]);
  const bench = makeBench(told, place);
  here.onLeave(bench.end);
  here.main.append(
    make("header", { class: "with-ways" },
      make("div", {}, make("p", { class: "dim over" }, `${told.class_name} ${figure(told.score)}, ${STANDING[told.standing]}`), make("h1", {}, name, sureness(told)),
        told.flags.length ? make("ul", { class: "flags", "aria-label": "Flags" }, ...told.flags.map((one) => make("li", {}, one))) : null),
      ways(told, here)),
    make("section", { class: "picture" }, ...bench.elements),
    make("section", { class: "beside" }, ...namesOf(told), ...measuresOf(told), actionButtons(told.actions, { night: key, slide: told.slide, fields: String(told.field), attempt: told.attempt, number: told.number }, () => here.again())));
  bench.begin();
}

function sureness(told) {
  const { probability, who } = told.called;
  if (who) return make("small", { class: "sure" }, ` said by ${who}`);
  return probability === null ? null : make("small", { class: "sure" }, ` ${figure(probability)}`);
}

function ways(told, here) {
  const { before, after, at, of } = told.order;
  const up = here.query ? `/objects${here.query}` : `${ofField(told.key, told.slide, told.field, told.attempt)}?object=${told.number}`;
  const way = (place, name, words) => (place === null ? null : make("a", { class: "button", "data-way": name, href: ofObject(place, here.query) }, words));
  return make("p", { class: "ways" }, way(before, "before", "‹ Before"), way(after, "next", "Next ›"), make("a", { class: "button quiet", "data-way": "up", href: up }, here.query ? "Gallery" : "Field"),
    at === null ? null : make("span", { class: "dim" }, `${number(at)} of ${number(of)}`));
}

function namesOf(told) {
  const rows = [["name", told.name], ["sample", told.sample]];
  if (told.runner_up && !told.called.who) rows.push(["next best name", told.runner_up]);
  if (told.fault) rows.push(["could not be measured", told.fault]);
  return [make("dl", { class: "facts" }, ...rows.map(([what, value]) => make("div", { class: what === "name" ? "long" : null }, make("dt", {}, what), make("dd", {}, value))))];
}

function measuresOf(told) {
  if (!told.measures.length) return [make("p", { class: "dim" }, "Nobody has measured it yet.")];
  return told.measures.map(([title, rows]) => make("div", {}, make("h2", {}, title), make("dl", { class: "facts" }, ...rows.map(([what, value]) =>
    make("div", {}, make("dt", {}, what), make("dd", {}, value))))));
}

function makeBench(told, place) {
  const [width, height] = told.crop_px;
  const { planes, polarizations: states } = told;
  const best = Math.min(Math.max(Math.round(told.best_plane), 0), planes - 1);
  const wells = states.map((state, channel) => makeWell(told, place, state, channel, width, height));
  const slider = make("input", { type: "range", id: "plane", min: "0", max: String(planes - 1), step: "1", value: String(best), "aria-label": "Plane" });
  const line = make("p", { class: "dim told", role: "status" });
  const pictures = make("div", { class: "wells", tabindex: "0", role: "group", "aria-label": "The object in each polarization; arrow keys move through the planes" }, ...wells.map((one) => one.element));
  let [plane, timer, from] = [best, null, null];

  const show = (at) => {
    plane = Math.min(Math.max(at, 0), planes - 1);
    slider.value = String(plane);
    for (const well of wells) well.show(plane);
    const off = (plane - told.best_plane) * told.step_um;
    const words = Math.abs(plane - told.best_plane) <= 0.5 ? "sharpest" : `${figure(Math.abs(off), 1)} µm ${off < 0 ? "below" : "above"} the sharpest`;
    setText(line, `Plane ${plane + 1} of ${planes}, ${words}; z ${figure(told.first_z_um + plane * told.step_um)} µm`);
    slider.setAttribute("aria-valuetext", line.textContent);
  };
  const halt = () => {
    clearInterval(timer);
    timer = null;
    setText(play, "Play");
  };
  const play = make("button", { type: "button", onclick: () => (timer === null ? run() : halt()) }, "Play");
  const run = () => {
    let way = plane >= planes - 1 ? -1 : 1;
    setText(play, "Pause");
    timer = setInterval(() => {
      if (plane + way < 0 || plane + way >= planes) way = -way;
      show(plane + way);
    }, STEP_MS);
  };
  const touch = (at) => {
    halt();
    show(at);
  };
  slider.addEventListener("input", () => touch(Number(slider.value)));
  pictures.addEventListener("wheel", (event) => {
    event.preventDefault();
    touch(plane + Math.sign(event.deltaY));
  }, { passive: false });
  pictures.addEventListener("pointerdown", (event) => {
    from = [event.clientX, plane];
    pictures.setPointerCapture(event.pointerId);
  });
  pictures.addEventListener("pointermove", (event) => {
    if (from !== null) touch(from[1] + Math.round(((event.clientX - from[0]) / pictures.clientWidth) * planes * 1.5));
  });
  for (const name of ["pointerup", "pointercancel"]) pictures.addEventListener(name, () => (from = null));
  const keys = (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, select, textarea, dialog, .wide")) return;
    const to = { ArrowLeft: plane - 1, ArrowRight: plane + 1, Home: 0, End: planes - 1, b: best }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    touch(to);
  };
  document.addEventListener("keydown", keys);
  return {
    elements: [pictures, make("div", { class: "focus" }, play, slider), line,
      make("p", { class: "dim note" }, "Arrow keys move through the planes, b goes to the sharpest, n and p to the next object and the one before. All planes have one grey scale in each polarization.")],
    begin: () => show(best),
    end: () => {
      halt();
      document.removeEventListener("keydown", keys);
    },
  };
}

// A polarization: all planes are fetched at once, the sharpest first, so that moving through them waits for nothing.
function makeWell(told, place, state, channel, width, height) {
  const path = (plane) => `/picture/plane/${objectPath(place)}/${channel}/${plane}`;
  const canvas = make("canvas", { width: String(width), height: String(height), role: "img" });
  const frame = make("div", { class: "frame" }, canvas, scaleBar(told.pixel_um && width * told.pixel_um));
  frame.style.aspectRatio = `${width} / ${height}`;
  frame.style.maxWidth = `calc(min(60vh, 34rem) * ${Math.max(width / height, 0.4)})`;
  const trouble = make("p", { class: "trouble", hidden: true });
  const images = [];
  let [wanted, told_] = [0, false];
  const paint = () => {
    const image = images[wanted];
    if (!image?.complete || !image.naturalWidth) return;
    canvas.getContext("2d").drawImage(image, 0, 0, width, height);
    canvas.dataset.plane = String(wanted);
  };
  const load = (plane) => {
    if (images[plane] || plane < 0 || plane >= told.planes) return;
    const image = (images[plane] = new Image());
    image.addEventListener("load", () => plane === wanted && paint());
    image.addEventListener("error", async () => {
      if (told_) return;
      told_ = true;
      trouble.textContent = `The planes cannot be shown: ${await why(path(plane))}`;
      trouble.hidden = false;
      frame.hidden = true;
    });
    image.src = path(plane);
  };
  return {
    element: make("figure", {}, frame, trouble, make("figcaption", {}, state)),
    show: (plane) => {
      wanted = plane;
      canvas.setAttribute("aria-label", `${told.called.name}, ${state}, plane ${plane + 1} of ${told.planes}`);
      for (let away = 0; away < told.planes; away += 1) {
        load(plane - away);
        load(plane + away);
      }
      paint();
    },
  };
}
