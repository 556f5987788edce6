// The headline: what the night does, whether it needs anybody, how far it is.

import { byId, make, setText } from "./dom.js";
import { counted, headline } from "./night_words.js";
import { clock, duration, figure, moment, number, plural } from "./words.js";

const MOODS = { good: "●", attention: "▲", bad: "■", unknown: "○" };
let announced = "";

export function now(night, changed, utc) {
  if (!["link", "about", "state", "verdict", "counters", "counts", "events", "time"].some((key) => changed.has(key))) return;
  const told = headline(night, utc);
  document.body.dataset.mood = told.mood;
  setText(byId("mark"), MOODS[told.mood]);
  setWords(byId("headline"), told.title);
  setText(byId("detail"), told.detail);
  setText(byId("night"), night.about ? night.about.night : "");
  deaf(night);
  progress(night.counters);
  facts(night, utc);
  document.title = `${told.mood === "good" ? "" : `${MOODS[told.mood]} `}${told.title} · lamelle`;
  const spoken = `${told.mood} ${night.state?.state ?? ""} ${night.deafSince !== null}`;
  if (spoken !== announced) {
    announced = spoken;
    setText(byId("spoken"), `${told.title}. ${told.detail}`);
  }
}

// Sample ids hold hyphens; they go to the next line whole where they fit there.
function setWords(element, text) {
  if (element.textContent === text) return;
  const words = text.split(" ").flatMap((word) => [" ", word.includes("-") ? make("span", { class: "together" }, word) : word]);
  element.replaceChildren(...words.slice(1));
}

function deaf(night) {
  const banner = byId("deaf");
  banner.hidden = night.deafSince === null;
  if (night.deafSince === null) return;
  const ago = duration(Date.now() / 1000 - night.deafSince);
  setText(
    banner,
    `This page has lost the monitor since ${clock(night.deafSince, true)} (${ago}). It tries again by itself; what you `
      + "see is as old. The night does not depend on it.",
  );
}

function progress(counters) {
  const bar = byId("progress");
  bar.hidden = counters === null;
  if (counters === null) return;
  const share = (count) => `${(100 * count) / Math.max(1, counters.planned)}%`;
  bar.children[0].style.width = share(counters.secured);
  bar.children[1].style.width = share(counters.skipped);
  const done = counters.secured + counters.skipped;
  bar.setAttribute("aria-valuenow", String(done));
  bar.setAttribute("aria-valuemax", String(counters.planned));
  bar.setAttribute("aria-valuetext", `${number(done)} of ${number(counters.planned)} fields, ${counters.skipped} skipped`);
}

function facts(night, utc) {
  const { counters } = night;
  const again = counters ? counters.again_ordered - counters.again_made : 0;
  const left = counters ? counters.planned - counters.secured - counters.skipped + again : 0;
  const ended = night.link?.ended;
  const paused = night.state?.state === "paused";
  const told = counters
    ? [
        ["Objects", number(counted(night)), ended ? "counted" : "counted so far"],
        ["Pace", `${figure(counters.fields_per_s * 60, 1)}`, "fields a minute"],
        ["Left", ended ? "–" : duration(counters.seconds_left), plural(left, "field")],
        ...(ended ? [] : [["End", paused || counters.seconds_left === null ? "–" : moment(utc + counters.seconds_left, utc), paused ? "not known while it pauses" : "at this pace"]]),
        ["Skipped", number(counters.skipped), counters.skipped === 1 ? "field" : "fields"],
        ...(counters.again_ordered ? [["Again", number(counters.again_made), `of ${plural(counters.again_ordered, "field")} taken again`]] : []),
        ...(ended ? [] : [["Disk", counters.disk_hours === null ? "–" : duration(counters.disk_hours * 3600), "until it is full"]]),
      ]
    : [];
  const list = byId("facts");
  if (list.children.length !== told.length) {
    list.replaceChildren(...told.map(() => make("div", {}, make("dt"), make("dd"), make("dd", { class: "dim" }))));
  }
  told.forEach(([name, value, words], at) => {
    setText(list.children[at].children[0], name);
    setText(list.children[at].children[1], value);
    setText(list.children[at].children[2], words);
  });
}
