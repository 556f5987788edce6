// Buttons that show or hide the classes of a picture, each with its colour.

import { classColour } from "./colours.js";
import { byId, make } from "./dom.js";

export function classChips(id, names, hidden, redraw) {
  const row = byId(id);
  const now = names.map((name) => `${name}${hidden.has(name)}`).join();
  if (row.dataset.now === now) return;
  row.dataset.now = now;
  row.replaceChildren(...names.map((name) => {
    const dot = make("span", { class: "dot" });
    dot.style.background = classColour(name);
    const toggle = () => {
      if (!hidden.delete(name)) hidden.add(name);
      redraw();
    };
    return make("button", { type: "button", "aria-pressed": !hidden.has(name), onclick: toggle }, dot, name);
  }));
}
