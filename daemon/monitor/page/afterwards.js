// What comes after the night: that it is over, and the way to what it recorded.

import { byId, setText } from "./dom.js";

export function afterwards({ link }, changed) {
  if (!changed.has("link") && !changed.has("state")) return;
  const place = byId("afterwards");
  const [words, way] = place.children;
  place.hidden = !link?.morning && !link?.afterwards;
  if (place.hidden) return;
  setText(words, link.afterwards);
  words.hidden = !link.afterwards;
  way.hidden = !link.morning;
  way.classList.toggle("main", link.ended);
  setText(way, link.joined && !link.ended ? "What it found so far" : "Look at what it found");
}
