// Keeps what is known of the night, as the monitor tells it, and has each part of the page drawn when it changed.

import { afterwards } from "./afterwards.js";
import { byId, remember, remembered } from "./dom.js";
import { counts } from "./counts.js";
import { drift } from "./drift.js";
import { events } from "./events.js";
import { field } from "./field.js";
import { gallery } from "./gallery.js";
import { levels } from "./levels.js";
import { now } from "./now.js";
import { orders } from "./orders.js";
import { sizes } from "./sizes.js";
import { slides } from "./slides.js";

const SPECIMENS_KEPT = 60;
const EVENTS_KEPT = 100;
const SILENCE_MS = 12_000;
const AGAIN_MS = 2_000;

const night = {
  link: null, about: null, state: null, verdict: null, counters: null, hardware: null, latest: null,
  fields: new Map(), counts: new Map(), overviews: new Map(), specimens: [], events: [], notes: [],
  lengthEdges: [], massEdges: [], skewS: 0, deafSince: null,
};
const parts = [now, orders, afterwards, field, gallery, slides, counts, sizes, drift, levels, events];
const changed = new Set();
let queued = false;
let heardMs = performance.now();
let source = null;

export const utcNow = () => Date.now() / 1000 + night.skewS;

function touch(...keys) {
  for (const key of keys) changed.add(key);
  if (queued) return;
  queued = true;
  requestAnimationFrame(() => {
    queued = false;
    const keysNow = new Set(changed);
    changed.clear();
    for (const part of parts) part(night, keysNow, utcNow());
  });
}

// The specimens of a field one by one, each with what they have in common.
const singly = ({ specimens, ...field }) => specimens.map((one) => ({ ...field, ...one }));
const nameOf = (one) => `${one.utc} ${one.title} ${one.message}`;

function addAll(list, added, key, kept) {
  const present = new Set(list.map(key));
  return [...list, ...added.filter((one) => !present.has(key(one)))].slice(-kept);
}

const takers = {
  whole(told) {
    night.skewS = told.utc - Date.now() / 1000;
    Object.assign(night, {
      link: told.link, about: told.about, state: told.state, verdict: told.verdict, counters: told.counters, hardware: told.hardware,
      latest: told.latest, lengthEdges: told.length_edges, massEdges: told.mass_edges,
      specimens: told.specimens.flatMap(singly).slice(-SPECIMENS_KEPT),
      events: told.events, notes: told.notes,
      fields: new Map(Object.entries(told.fields).map(([slide, rows]) => [+slide, new Map(rows.map((r) => [r[0], r]))])),
      counts: new Map(told.counts.map((one) => [one.slide, one])),
      overviews: new Map(told.overviews.map((one) => [one.slide, one])),
    });
    touch("link", "about", "state", "verdict", "counters", "hardware", "fields", "counts", "overviews", "specimens", "events");
  },
  alive(link) {
    night.link = link;
    touch("link");
  },
  field({ slide, row }) {
    if (!night.fields.has(slide)) night.fields.set(slide, new Map());
    night.fields.get(slide).set(row[0], row);
    touch("fields");
  },
  counts(told) {
    night.counts.set(told.slide, told);
    touch("counts");
  },
  overview(told) {
    night.overviews.set(told.slide, told);
    night.latest = told.slide;
    touch("overviews");
  },
  specimens(told) {
    const others = night.specimens.filter((one) => one.slide !== told.slide || one.field !== told.field);
    night.specimens = [...others, ...singly(told)].slice(-SPECIMENS_KEPT);
    touch("specimens");
  },
  told(told) {
    night.events = addAll(night.events, [told], nameOf, EVENTS_KEPT);
    touch("events");
  },
  counters(told) {
    night.counters = told;
    touch("counters");
  },
  hardware(told) {
    night.hardware = told;
    touch("hardware");
  },
  state(told) {
    night.state = told;
    touch("state");
  },
  verdict(told) {
    night.verdict = told;
    touch("verdict");
  },
};

function listen() {
  source = new EventSource("/stream");
  for (const [name, take] of Object.entries(takers)) {
    source.addEventListener(name, (event) => {
      heardMs = performance.now();
      night.deafSince = null;
      take(JSON.parse(event.data));
    });
  }
  source.addEventListener("error", () => {
    source.close();
    deaf();
    setTimeout(again, AGAIN_MS);
  });
}

function deaf() {
  if (night.deafSince === null) night.deafSince = Date.now() / 1000;
  touch("link");
}

async function again() {
  try {
    const answer = await fetch("/live/icon.svg", { cache: "no-store" });
    if (answer.status === 401) location.assign("/login");
  } catch {
    setTimeout(again, AGAIN_MS);
    return;
  }
  listen();
}

function look() {
  const silent = performance.now() - heardMs > SILENCE_MS;
  if (silent && source.readyState === EventSource.OPEN) {
    source.close();
    heardMs = performance.now();
    deaf();
    setTimeout(again, AGAIN_MS);
  }
  touch("time");
}

function shade(theme) {
  document.documentElement.dataset.theme = theme;
  byId("theme").textContent = theme === "dark" ? "Light" : "Dark";
  remember("theme", theme);
  touch("fields", "counts");
}

byId("theme").addEventListener("click", () => shade(document.documentElement.dataset.theme === "dark" ? "light" : "dark"));
shade(remembered("theme", "dark"));
listen();
setInterval(look, 1000);
