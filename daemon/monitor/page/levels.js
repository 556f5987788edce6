// What may fill up, against its bound; the hardware; what the night was begun with.

import { byId, make, setText } from "./dom.js";
import { bytes, clock, duration, figure, moment, number } from "./words.js";

const NEARLY = 0.85;

export function levels(night, changed, utc) {
  if (!["counters", "hardware", "about", "state", "time"].some((key) => changed.has(key))) return;
  bars(night.counters);
  lines("hardware-facts", hardware(night));
  lines("about-facts", about(night, utc));
}

function bars(counters) {
  const told = counters ? [
    ["Ring", counters.ring_used, counters.ring_stacks, `${counters.ring_used} of ${counters.ring_stacks} stacks are being exposed or analysed`, 2],
    ["Spool", counters.spool_bytes, counters.spool_limit_bytes, `${bytes(counters.spool_bytes)} of ${bytes(counters.spool_limit_bytes)} wait for the recorder; full, the night pauses`, NEARLY],
    ["Recorder", counters.acknowledged, counters.acknowledged + counters.backlog, `${number(counters.acknowledged)} records held, ${number(counters.backlog)} on their way`, 2],
    ["Disk", ...diskOf(counters), 2],
  ] : [];
  const list = byId("bars");
  if (list.children.length !== told.length) {
    list.replaceChildren(...told.map(([name]) => make("div", { class: "level" }, make("dt", {}, name),
      make("dd", {}, make("div", { class: "bar", role: "meter", "aria-label": name, "aria-valuemin": "0" }, make("div")), make("p", { class: "dim" })))));
  }
  told.forEach(([, value, most, words, alarm], at) => {
    const [bar, line] = list.children[at].children[1].children;
    const share = most > 0 ? Math.min(1, value / most) : 0;
    bar.firstChild.style.width = `${100 * share}%`;
    bar.classList.toggle("full", share > alarm);
    bar.setAttribute("aria-valuenow", String(value));
    bar.setAttribute("aria-valuemax", String(most));
    bar.setAttribute("aria-valuetext", words);
    setText(line, words);
  });
}

// How much of the disk's time the rest of the night will take.
function diskOf(counters) {
  const free = `${bytes(counters.disk_free_bytes)} free`;
  if (counters.disk_hours === null) return [0, 1, free];
  const lasts = counters.disk_hours * 3600;
  if (!counters.seconds_left) return [0, 1, `${free}, lasts ${duration(lasts)} at this pace`];
  return [counters.seconds_left, lasts, `${free}, lasts ${duration(lasts)}; the night needs ${duration(counters.seconds_left)}`];
}

function hardware({ hardware: told, state }) {
  if (!told) return [["State", state?.state ?? "not known yet"]];
  return [
    ["State", state?.reason ? `${state.state}: ${state.reason}` : state?.state ?? "–"],
    ["Light", told.light === null ? "not known" : told.light ? "on" : "off"],
    ["Stage x, y", told.x_um === null ? "–" : `${figure(told.x_um, 1)}, ${figure(told.y_um, 1)} µm`],
    ["Focus z", told.z_um === null ? "–" : `${figure(told.z_um)} µm`],
    ["Microscope", told.microscope || "–"], ["Analysis", told.analysis || "–"], ["Recorder", told.recorder || "–"],
  ];
}

function about({ about: told, link }, utc) {
  if (!told) return [];
  return [
    ["Night", told.night], ["Began", moment(told.began_utc, utc)],
    ["Last word", link?.heard_utc ? clock(link.heard_utc, true) : "–"],
    ["Stacks", `${told.polarizations.join(", ")}; ${told.planes} planes, ${figure(told.step_um)} µm apart`],
    ["Calibrations", told.calibrations.join(", ") || "none"], ["Weights", told.weights_sha256.slice(0, 12)],
    ["Version", told.version],
  ];
}

function lines(id, told) {
  const list = byId(id);
  const now = told.map(([name]) => name).join();
  if (list.dataset.now !== now) {
    list.dataset.now = now;
    list.replaceChildren(...told.map(([name]) => make("div", {}, make("dt", {}, name), make("dd"))));
  }
  told.forEach(([, value], at) => setText(list.children[at].children[1], value));
}
