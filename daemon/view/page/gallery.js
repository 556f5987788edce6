// All objects of all nights: chosen, sorted, and only as many of them in the page as a screen shows.

import { objectPath, ofObject } from "./addresses.js";
import { ask } from "./asked.js";
import { classColour } from "./colours.js";
import { choice, make, remember, remembered, setText } from "./dom.js";
import { figure, number, plural, short } from "./words.js";

const AT_ONCE = 200;
const PAGES_KEPT = 30;
const SPARE_ROWS = 2;
const STILL_MS = 60;
const SOON_MS = 400;
const [TAXON, CALLED, SURE, SCORE, LENGTH, MASS, FLAGS, STANDING, SAMPLE, WHO, CLASS] = [6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 5];
const SORTS = { place: "place", taxon: "taxon", class: "class", score: "score", doubt: "doubt", length: "length", mass: "mass" };
const KEPT = { counted: "counted", "seen again": "seen again", "below threshold": "below the threshold", "field not counted": "of fields that are not counted", all: "all" };
const DOUBTS = { "": "any", 0.9: "0.90 or less", 0.7: "0.70 or less", 0.5: "0.50 or less" };
const SCORES = { "": "any", 0.5: "0.50 or more", 0.7: "0.70 or more", 0.9: "0.90 or more", 0.95: "0.95 or more" };

export async function gallery(here) {
  here.title("Objects");
  const [known, told] = await Promise.all([ask("/data/nights"), ask(`/data/choices${nightOf(here.query)}`)]);
  const asked = new URLSearchParams(here.query);
  const key = asked.get("night");
  const only = known.nights.find((one) => one.key === key);
  here.crumbs([only ? `objects of night ${only.night}` : "objects of all nights", null]);
  const list = makeList(here, asked);
  here.onLeave(list.end);
  const count = make("p", { class: "dim", id: "gallery-count", role: "status" }, "Counting …");
  here.main.append(make("header", {}, make("h1", {}, "Objects"), count), filters(here, asked, known, told), list.element);
  here.main.addEventListener("shown", () => list.begin(count));
}

const nightOf = (query) => {
  const night = new URLSearchParams(query).get("night");
  return night ? `?night=${encodeURIComponent(night)}` : "";
};

function filters(here, asked, known, told) {
  const change = (name, value) => {
    if (value === "" || value === null) asked.delete(name);
    else asked.set(name, value);
    const query = asked.toString();
    history.replaceState({ scroll: 0 }, "", `/objects${query ? `?${query}` : ""}`);
    void here.again();
  };
  const select = (words, name, options) => make("label", {}, make("span", {}, words),
    make("select", { name, onchange: (event) => change(name, event.target.value) },
      ...options.map(([value, text]) => make("option", { value, selected: (asked.get(name) ?? "") === value }, text))));
  const facet = (what) => [["", "any"], ...(told[what] ?? []).map(([value, words, count]) => [value, `${words} (${number(count)})`])];
  const views = make("div", { class: "choice", role: "group", "aria-label": "Polarization of the tiles" });
  const states = told.polarizations.map((one, at) => [String(at), one[0].toUpperCase() + one.slice(1)]);
  choice(views, [["both", "Both"], ...states], remembered("view-tile", "both"), (one) => {
    remember("view-tile", one);
    void here.again();
  });
  const down = make("input", { type: "checkbox", checked: asked.get("down") === "true", onchange: () => change("down", down.checked ? "true" : "") });
  const more = ["sample", "flag", "score", "sure", "kept"].some((name) => asked.has(name));
  return make("form", { class: "filters", "aria-label": "Which objects, and in which order", onsubmit: (event) => event.preventDefault() },
    make("div", { class: "line" },
      select("Taxon", "taxon", facet("taxon")), select("Class", "of_class", facet("class_name")),
      select("Sorted by", "sort", Object.entries(SORTS).map(([value, text]) => [value === "place" ? "" : value, text])),
      make("label", { class: "check" }, down, " largest first"), views),
    make("details", { open: more }, make("summary", {}, "More"),
      make("div", { class: "line" },
        known.nights.length > 1 ? select("Night", "night", [["", "all"], ...known.nights.map((one) => [one.key, one.night])]) : null,
        select("Sample", "sample", facet("sample")), select("Flag", "flag", facet("flag")),
        select("Probability", "sure", Object.entries(DOUBTS)), select("Score", "score", Object.entries(SCORES)),
        select("Shown", "kept", Object.entries(KEPT).map(([value, text]) => [value === "counted" ? "" : value, text])))));
}

function makeList(here, asked) {
  const grid = make("div", { class: "tiles", role: "list", "aria-label": "Objects" });
  const view = remembered("view-tile", "both");
  const query = asked.toString() ? `?${asked}` : "";
  const shown = new Map();
  const pages = new Map();
  let [total, columns, size, ended, still, count, waiting] = [0, 1, [1, 1], false, null, null, null];

  const page = async (at) => {
    if (pages.has(at)) return;
    pages.set(at, null);
    if (pages.size > PAGES_KEPT) pages.delete([...pages.keys()].find((one) => Math.abs(one - at) > 3) ?? -1);
    const given = new URLSearchParams(asked);
    given.set("first", String(at * AT_ONCE));
    given.set("count", String(AT_ONCE));
    let told;
    try {
      told = await ask(`/data/objects?${given}`);
    } catch (error) {
      pages.delete(at);
      if (count) setText(count, error.message);
      return;
    }
    if (ended) return;
    pages.set(at, told.objects);
    if (told.total !== total) {
      total = told.total;
      layOut();
    }
    if (count) {
      setText(count, told.reading ? `${plural(total, "object")} so far; more are being read …` : total ? plural(total, "object") : "No object is like that.");
      count.classList.toggle("reading", told.reading);
    }
    if (told.reading && waiting === null) waiting = setTimeout(wait, SOON_MS);
    render();
  };
  // Whoever opens the gallery while nights are read sees their objects come.
  const wait = async () => {
    let told;
    try {
      told = await ask(`/data/objects?${new URLSearchParams([...asked, ["count", "0"]])}`);
    } catch (error) {
      if (count) setText(count, error.message);
      return;
    }
    if (ended) return;
    if (told.reading && told.total === total) {
      waiting = setTimeout(wait, SOON_MS);
      return;
    }
    history.replaceState({ ...history.state, scroll: scrollY }, "");
    void here.again();
  };
  const at = (index) => pages.get(Math.floor(index / AT_ONCE))?.[index % AT_ONCE];

  function layOut() {
    const style = getComputedStyle(grid);
    const [least, gap, label] = ["--tile", "--gap", "--label"].map((name) => parseFloat(style.getPropertyValue(name)));
    const width = grid.clientWidth;
    columns = Math.max(1, Math.floor((width + gap) / (least + gap)));
    const side = (width - gap * (columns - 1)) / columns;
    size = [side + gap, side + label + gap];
    grid.style.height = `${Math.ceil(total / columns) * size[1]}px`;
    for (const tile of shown.values()) tile.remove();
    shown.clear();
  }

  function render() {
    if (ended || !total) return;
    const top = grid.getBoundingClientRect().top;
    const first = Math.max(0, (Math.floor(-top / size[1]) - SPARE_ROWS) * columns);
    const last = Math.min(total, (Math.ceil((innerHeight - top) / size[1]) + SPARE_ROWS) * columns);
    for (const [index, tile] of shown) {
      if ((index < first || index >= last) && !tile.contains(document.activeElement)) {
        tile.querySelector("img")?.removeAttribute("src");
        tile.remove();
        shown.delete(index);
      }
    }
    for (let index = first; index < last; index += 1) {
      if (shown.has(index)) continue;
      const one = at(index);
      if (one === undefined || one === null) {
        void page(Math.floor(index / AT_ONCE));
        continue;
      }
      const tile = makeTile(one, index);
      shown.set(index, tile);
      grid.append(tile);
    }
    clearTimeout(still);
    // Pictures that fly by are not asked for.
    still = setTimeout(look, STILL_MS);
  }

  function look() {
    for (const tile of shown.values()) {
      const image = tile.querySelector("img[data-src]");
      if (!image) continue;
      image.src = image.dataset.src;
      delete image.dataset.src;
    }
  }

  function makeTile(one, index) {
    const dot = make("span", { class: "dot" });
    dot.style.background = classColour(one[CLASS]);
    const image = make("img", { alt: "", "data-src": `/picture/object/${objectPath(one)}/${view}`, draggable: "false", onerror: () => image.classList.add("gone") });
    const figures = [one[SURE] === null ? one[WHO] : figure(one[SURE]), one[LENGTH] === null ? "" : `${short(one[LENGTH])} µm`].filter(Boolean).join(" · ") || figure(one[SCORE]);
    const words = `${one[CALLED]}, ${one[CLASS]} ${figure(one[SCORE])}, ${one[SAMPLE]}${one[MASS] === null ? "" : `, ${short(one[MASS])} pg`}${one[FLAGS].length ? `; ${one[FLAGS].join(", ")}` : ""}${one[STANDING] === "counted" ? "" : `; ${one[STANDING]}`}`;
    const tile = make("div", { role: "listitem", class: "tile", "aria-setsize": total, "aria-posinset": index + 1 },
      make("a", { href: ofObject(one, query), title: words, "data-index": index }, make("span", { class: "well" }, image),
        make("span", { class: "name" }, dot, one[TAXON] ? one[CALLED] : one[CLASS]), make("span", { class: "figures-of" }, figures)));
    tile.style.transform = `translate(${(index % columns) * size[0]}px, ${Math.floor(index / columns) * size[1]}px)`;
    tile.style.width = `${size[0] - parseFloat(getComputedStyle(grid).getPropertyValue("--gap"))}px`;
    return tile;
  }

  function walk(event) {
    const from = Number(event.target.closest("a")?.dataset.index ?? NaN);
    const step = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns, ArrowUp: -columns }[event.key];
    if (Number.isNaN(from) || step === undefined) return;
    event.preventDefault();
    const to = Math.min(Math.max(from + step, 0), total - 1);
    const tile = shown.get(to);
    if (!tile) return;
    tile.querySelector("a").focus({ preventScroll: true });
    tile.scrollIntoView({ block: "nearest" });
  }

  let queued = false;
  const onScroll = () => {
    if (queued) return;
    queued = true;
    requestAnimationFrame(() => {
      queued = false;
      render();
    });
  };
  const resized = new ResizeObserver(() => {
    layOut();
    render();
  });
  grid.addEventListener("keydown", walk);
  addEventListener("scroll", onScroll, { passive: true });
  return {
    element: grid,
    begin: async (told) => {
      count = told;
      const from = history.state?.scroll ?? 0;
      await page(0);
      layOut();
      scrollTo(0, from);
      render();
      resized.observe(grid);
    },
    end: () => {
      ended = true;
      clearTimeout(still);
      clearTimeout(waiting);
      resized.disconnect();
      removeEventListener("scroll", onScroll);
    },
  };
}
