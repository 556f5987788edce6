// The night that the same server follows: how it stands, and the way to its page.

import { byId, make } from "./dom.js";
import { MOODS } from "./words.js";

const AGAIN_MS = 2_000;

export async function followRunning() {
  let night;
  try {
    const answer = await fetch("/data/running");
    ({ night } = await answer.json());
  } catch {
    setTimeout(followRunning, AGAIN_MS);
    return;
  }
  const place = byId("running");
  place.hidden = !night;
  if (night) {
    place.dataset.mood = night.running ? MOODS[night.tone] : "unknown";
    const link = make("a", { href: night.address }, night.running ? "Watch the night" : "How the night went");
    place.replaceChildren(link, night.running ? make("span", { class: "dim" }, night.headline) : "");
  }
  setTimeout(followRunning, AGAIN_MS);
}
