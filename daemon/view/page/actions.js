// What a person may do about a field or an object: a button each, which asks first where the action wants it.

import { post } from "./asked.js";
import { make } from "./dom.js";

export function actionButtons(actions, target, again, ...more) {
  if (!actions.length) return null;
  return make("div", { class: "buttons" }, ...actions.map((action) =>
    make("button", { type: "button", onclick: () => askFirst(action, target, again) }, action.words)), ...more);
}

const about = (action, { slide, fields, number }) =>
  `Mini-slide ${slide}, ${/^\d+$/.test(fields) ? "field" : "fields"} ${fields}${action.of === "object" ? `, object ${number}` : ""}`;

function askFirst(action, target, again) {
  const typed = action.asks ? make("input", { type: "text", maxlength: "200", required: true }) : null;
  const answer = make("p", { class: "answer", role: "status" });
  const dialog = make("dialog", { "aria-labelledby": "action-head" },
    make("h2", { id: "action-head" }, action.words), make("p", { class: "dim" }, about(action, target)),
    make("form", { method: "dialog", onsubmit: (event) => act(event, action, target, typed, answer, again) },
      typed && make("label", { class: "typed" }, action.asks, typed), answer,
      make("div", { class: "buttons" }, make("button", { class: "main" }, action.words),
        make("button", { type: "button", onclick: () => dialog.close() }, "Cancel"))));
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
}

async function act(event, action, target, typed, answer, again) {
  event.preventDefault();
  const told = await post(`/act/${action.name}`, { ...target, typed: typed?.value ?? "" });
  answer.textContent = told.message;
  if (told.done) {
    event.target.closest("dialog").close();
    again(told.message);
  }
}
