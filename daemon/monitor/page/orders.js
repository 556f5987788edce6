// Buttons that steer the night. Each asks first, and says what will happen.

import { byId, make } from "./dom.js";
import { slideWords } from "./night_words.js";

const ORDERS = {
  pause: ["Pause", "The night finishes the field it is at, then waits with the light off and the objective in oil until someone resumes it, however long that takes. Hands off until its state is “paused”."],
  resume: ["Resume", "The night goes on with the next field."],
  skip: ["Skip this slide", "The fields that are left on this mini-slide count as skipped; nothing that was recorded is lost. It cannot be taken back."],
  stop: ["Stop", "The night finishes the field it is at and ends, with shutter closed and objective withdrawn. Go on later with --resume, at its computer."],
};
let latest = null;

export function orders(night, changed) {
  if (!["link", "state", "counters"].some((key) => changed.has(key))) return;
  latest = night;
  const row = byId("orders");
  row.hidden = !night.link?.orders;
  if (row.hidden) return;
  if (!row.children.length) {
    row.append(...Object.entries(ORDERS).map(([name, [words]]) => make("button", { type: "button", "data-order": name, onclick: () => ask(name) }, words)));
  }
  const paused = night.state?.state === "paused";
  for (const button of row.children) {
    const name = button.dataset.order;
    button.hidden = name === "pause" ? paused : name === "resume" ? !paused : false;
    button.disabled = name === "skip" && !night.counters?.slide;
  }
}

function ask(name) {
  const slide = name === "skip" ? latest.counters.slide : null;
  const [words, meaning] = ORDERS[name];
  const answer = make("p", { role: "status", class: "answer" });
  const cancel = make("button", { type: "button", onclick: () => dialog.close() }, "Cancel");
  const sure = make("button", { type: "button", class: "main", onclick: () => give() }, words);
  const title = slide === null ? `${words} the night?` : `Skip ${slideWords(latest, slide)}?`;
  const dialog = make("dialog", { "aria-labelledby": "asked", onclose: () => dialog.remove() },
    make("h2", { id: "asked" }, title), make("p", {}, meaning), answer, make("div", { class: "buttons" }, cancel, sure));
  const give = async () => {
    sure.disabled = true;
    answer.textContent = "Asking the night…";
    const told = await send({ name, slide });
    answer.textContent = told.accepted ? `Accepted: ${told.message}` : `Not accepted: ${told.message}`;
    if (told.accepted) sure.remove();
    else sure.disabled = false;
    cancel.textContent = "Close";
    cancel.focus();
  };
  document.body.append(dialog);
  dialog.showModal();
  cancel.focus();
}

async function send(order) {
  try {
    const answer = await fetch("/order", { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(order) });
    if (answer.headers.get("content-type")?.startsWith("application/json")) return await answer.json();
    return { accepted: false, message: await answer.text() };
  } catch {
    return { accepted: false, message: "the monitor did not answer; whether the order arrived is not known" };
  }
}
