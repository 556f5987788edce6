// All nights, and one of them: how it stands and what needs a person, in the report's words; its mini-slides as maps.

import { ofNight } from "./addresses.js";
import { ask } from "./asked.js";
import { make } from "./dom.js";
import { makeMaps } from "./maps.js";
import { MOODS } from "./words.js";

const SOON_MS = 250;
const LATER_MS = 10_000;
const MARKS = { good: "●", attention: "▲", bad: "■", unknown: "○" };
const WORST = ["bad", "attention", "good", "unknown"];

const moodOf = (told) => (told.trouble ? "bad" : told.verdict ? MOODS[told.verdict.tone] : "unknown");

function verdictOf(told, heading, link) {
  const mood = moodOf(told);
  const words = told.trouble ? "This night cannot be read." : told.verdict?.headline ?? "Reading …";
  const needs = told.trouble ? [told.trouble] : told.verdict?.needs ?? [];
  const nothing = told.verdict && !told.trouble && !needs.length;
  return make("div", { class: "verdict", "data-mood": mood },
    make(heading, {}, make("span", { class: "mark", "aria-hidden": "true" }, MARKS[mood]), " ", link ? make("a", { href: link }, words) : words),
    needs.length ? make("ul", { class: "needs" }, ...needs.map((one) => make("li", {}, one))) : null,
    nothing ? make("p", { class: "dim" }, told.read ? "Nothing needs you." : "Nothing in its records needs you; its files are being checked.") : null);
}

const factsOf = (told) => (told.facts ? make("dl", { class: "figures" }, ...told.facts.map(([name, value]) => make("div", {}, make("dt", {}, name), make("dd", {}, value)))) : null);

// Asks again as long as the page is shown: soon while something is being read, else now and then. Gives what asks at once.
function follower(here, path, reading, draw) {
  let timer = null;
  let before = "";
  const look = async () => {
    clearTimeout(timer);
    let told;
    try {
      told = await ask(path);
    } catch (error) {
      if (before === "") throw error;
      timer = setTimeout(look, LATER_MS);
      return;
    }
    if (!here.current()) return;
    const now = JSON.stringify(told);
    if (now !== before) draw(told);
    before = now;
    timer = setTimeout(look, reading(told) ? SOON_MS : LATER_MS);
  };
  here.onLeave(() => clearTimeout(timer));
  return look;
}

export async function nights(here) {
  here.crumbs();
  here.title("");
  let only = null;
  const look = follower(here, "/data/nights", (told) => told.reading, (told) => {
    here.mood(WORST.find((mood) => told.nights.some((one) => moodOf(one) === mood)) ?? "unknown");
    if (told.nights.length === 1) only = told.nights[0].key;
    here.main.replaceChildren(
      make("h1", { class: "unseen" }, "Nights"),
      ...told.notes.map((note) => make("p", { class: "trouble" }, note)),
      ...told.nights.map((one) => make("section", { class: "full night" },
        make("p", { class: "dim over" }, `Night ${one.night}`, one.heading ? `, ${one.heading}` : ""),
        verdictOf(one, "h2", ofNight(one.key)), factsOf(one),
        one.samples ? make("p", { class: "dim" }, `Samples: ${one.samples.slice(0, 12).map(([, sample]) => sample).join(", ")}${one.samples.length > 12 ? " …" : ""}`) : null)));
  });
  await look();
  // One night is shown as it is: a list of one says nothing.
  if (only !== null && here.current()) await here.go(ofNight(only), true);
}

export async function night(here) {
  const [key] = here.parts;
  let maps = null;
  const look = follower(here, `/data/night/${encodeURIComponent(key)}`, (told) => told.reading || (!told.read && !told.trouble), (told) => {
    here.title(`Night ${told.night}`);
    here.mood(moodOf(told));
    here.crumbs([`night ${told.night}`, null]);
    if (maps === null) {
      maps = makeMaps(look);
      here.main.append(maps.element);
    }
    maps.tell(told);
    const { said } = told;
    const links = [told.report ? ["Report", `/report/${encodeURIComponent(key)}`] : null, told.paper ? ["Report on paper (PDF)", `/paper/${encodeURIComponent(key)}`] : null].filter(Boolean);
    // The maps stay where they are: who is about to click one, or goes over it by keys, is not thrown out.
    for (const one of [...here.main.children]) if (one !== maps.element) one.remove();
    maps.element.before(
      make("header", {}, make("p", { class: "dim over" }, `Night ${told.night}`, told.heading ? `, ${told.heading}` : ""), verdictOf(told, "h1"), factsOf(told),
        told.read && told.reading ? make("p", { class: "dim reading", role: "status" }, "Counting again …") : null,
        make("p", { class: "ways" }, make("a", { class: "button", href: `/objects?night=${encodeURIComponent(key)}` }, "All objects"),
          ...links.map(([words, address]) => make("a", { class: "button quiet", href: address, target: "_blank" }, words)))));
    maps.element.after(...[
      said ? tableSection("Samples", said.samples, [said.counted, said.unlike]) : waiting("Samples"),
      said?.taxa.rows.length ? tableSection("Taxa", said.taxa) : null,
      said ? tableSection("Classes", said.kinds) : null,
      said?.excluded.rows.length ? tableSection(said.titles.excluded, said.excluded, [said.flags]) : null,
      said?.skipped.rows.length ? tableSection(said.titles.skipped, said.skipped) : null,
      said?.events.rows.length ? tableSection("Events", said.events) : null,
      make("section", { class: "full" }, make("h2", {}, "Files"), make("p", { class: "path" }, told.folder)),
    ].filter((one) => one !== null && one !== undefined));
    maps.redraw();
  });
  await look();
  here.main.addEventListener("shown", () => maps?.redraw());
  new ResizeObserver(() => maps?.redraw()).observe(here.main);
}

const waiting = (title) => make("section", { class: "full" }, make("h2", {}, title), make("p", { class: "dim reading" }, "Counting …"));

function tableSection(title, table, notes = []) {
  const id = `table-${title.toLowerCase().replaceAll(/[^a-z]+/g, "-")}`;
  const cell = (tag, at, text, more = {}) => make(tag, { class: at < table.left ? "text" : null, ...more }, text);
  return make("section", { class: "full" }, make("h2", { id }, title),
    make("div", { class: "wide", tabindex: "0", role: "region", "aria-labelledby": id }, make("table", {},
      make("thead", {}, make("tr", {}, ...table.head.map((text, at) => (text ? cell("th", at, text, { scope: "col" }) : make("td"))))),
      make("tbody", {}, ...table.rows.map((row) => make("tr", {}, ...row.map((text, at) => (at === 0 ? cell("th", at, text, { scope: "row" }) : cell("td", at, text)))))))),
    table.more ? make("p", { class: "dim" }, table.more) : null,
    ...notes.filter(Boolean).map((note) => make("p", { class: "dim note" }, note)));
}
