// What happened, newest first.

import { byId, choice, make, setText } from "./dom.js";
import { moment, plural, sentence } from "./words.js";

const SIGNS = { error: "■", critical: "■", warning: "▲", info: "·" };
const FAULTS = ["warning", "error", "critical"];
let level = "all";
let words = "";
let known = null;
let now = 0;

export function events(night, changed, utc) {
  if (!changed.has("events")) return;
  known = night;
  now = utc;
  redraw();
}

function redraw() {
  if (known === null) return;
  const all = [...known.events, ...known.notes.map((one) => ({ ...one, of: "monitor" }))].reverse().sort((a, b) => b.utc - a.utc);
  const asked = words.toLowerCase();
  const shown = all.filter((one) => (level === "all" || FAULTS.includes(one.level))
    && (!asked || `${one.title} ${one.message} ${one.slide ?? ""}`.toLowerCase().includes(asked)));
  byId("event-list").replaceChildren(...shown.map(line));
  setText(byId("event-count"), shown.length === all.length ? plural(all.length, "event") : `${shown.length} of ${plural(all.length, "event")}`);
}

function line(one) {
  const where = one.slide === null || one.slide === undefined ? "" : one.field ? `mini-slide ${one.slide}, field ${one.field}` : `mini-slide ${one.slide}`;
  return make("li", { class: one.level },
    make("time", {}, moment(one.utc, now)), make("span", { class: "sign", role: "img", "aria-label": one.level }, SIGNS[one.level] ?? "·"),
    make("div", {}, make("p", {}, make("b", {}, one.title), one.of ? make("small", {}, "of this monitor") : null, where ? make("small", {}, where) : null),
      make("p", { class: "dim" }, sentence(one.message))));
}

choice(byId("event-levels"), [["all", "All"], ["faults", "Warnings and errors"]], level, (one) => {
  level = one;
  redraw();
});
byId("event-words").addEventListener("input", (event) => {
  words = event.target.value;
  redraw();
});
