// Which page an address is of, and how one gets from one to the next without loading everything again.

import { Refusal } from "./asked.js";
import { byId, make } from "./dom.js";
import { field } from "./field.js";
import { gallery } from "./gallery.js";
import { night, nights } from "./nights.js";
import { object } from "./object.js";
import { followRunning } from "./running.js";

const PAGES = [
  [/^\/(?:nights)?$/, () => nights],
  [/^\/objects$/, () => gallery],
  [/^\/night\/([^/]+)$/, () => night],
  [/^\/field\/([^/]+)\/(\d+)\/(\d+)(?:\/(\d+))?$/, () => field],
  [/^\/object\/([^/]+)\/(\d+)\/(\d+)\/(\d+)\/(\d+)$/, () => object],
];
const OURS = /^\/(nights$|objects$|night\/|field\/|object\/)/;

let leave = null;
let turn = 0;

// A page is drawn into a fresh main element; it may give back what is to be done when it is left.
async function open() {
  const mine = (turn += 1);
  leave?.();
  leave = null;
  const found = PAGES.map(([form, page]) => [location.pathname.match(form), page]).find(([match]) => match);
  const main = make("main", { id: "main", tabindex: "-1" });
  const here = {
    main,
    parts: found ? found[0].slice(1).map((one) => (one === undefined ? null : decodeURIComponent(one))) : [],
    query: location.search,
    go,
    again: open,
    current: () => mine === turn,
    crumbs: (...links) => crumbs(links),
    title: (words) => (document.title = words ? `${words} – lamelle` : "lamelle"),
    mood: (mood) => (document.body.dataset.mood = mood),
    onLeave: (end) => (mine === turn ? (leave = end) : end()),
  };
  document.body.dataset.mood = "unknown";
  try {
    if (!found) throw new Refusal("there is nothing here");
    await found[1]()(here);
  } catch (error) {
    if (!(error instanceof Refusal)) reportError(error);
    main.replaceChildren(make("section", { class: "full" }, make("h1", {}, "This cannot be shown"), make("p", { class: "trouble" }, error.message),
      make("p", {}, make("a", { href: "/nights" }, "All nights"))));
  }
  if (mine !== turn) return;
  byId("main").replaceWith(main);
  for (const link of byId("pages").children) {
    if (link.pathname === location.pathname) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  scrollTo(0, history.state?.scroll ?? 0);
  main.dispatchEvent(new Event("shown"));
}

function crumbs(links) {
  byId("crumbs").replaceChildren(...links.map(([words, address]) => (address ? make("a", { href: address }, words) : make("span", { "aria-current": "page" }, words))));
  byId("crumbs").scrollLeft = byId("crumbs").scrollWidth;
}

function keepScroll() {
  history.replaceState({ ...history.state, scroll: scrollY }, "");
}

export function go(address, replace = false) {
  if (replace) history.replaceState(history.state, "", address);
  else {
    keepScroll();
    history.pushState({ scroll: 0 }, "", address);
  }
  return open();
}

document.addEventListener("click", (event) => {
  const link = event.target.closest("a");
  if (!link || event.defaultPrevented || event.button !== 0 || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
  // Of a link in a drawing the properties of an address are not those of others.
  const to = new URL(link.getAttribute("href"), location.href);
  if (link.getAttribute("target") || to.origin !== location.origin || !OURS.test(to.pathname) || to.hash) return;
  event.preventDefault();
  void go(to.pathname + to.search).then(() => byId("main").focus({ preventScroll: true }));
});
// Keys that mean the same on every page: n and p lead to the next and the one before, u to what it is part of.
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, select, textarea, dialog")) return;
  const name = { n: "next", p: "before", u: "up" }[event.key];
  const link = name && document.querySelector(`a[data-way="${name}"]`);
  if (!link) return;
  event.preventDefault();
  link.click();
});
history.scrollRestoration = "manual";
addEventListener("popstate", open);
addEventListener("pagehide", keepScroll);
void open();
void followRunning();
