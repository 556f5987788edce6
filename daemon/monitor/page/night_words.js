// What is known of a night in words.

import { duration, figure, moment, MOODS, sentence } from "./words.js";

export function slideWords(night, slide) {
  const slides = night.about?.slides ?? [];
  const at = slides.findIndex((one) => one.position === slide);
  if (at < 0) return `mini-slide ${slide}`;
  const sample = slides[at].sample;
  return slides[at].position === at + 1
    ? `mini-slide ${slide} of ${slides.length}, ${sample}`
    : `mini-slide ${slide} (${at + 1} of ${slides.length}), ${sample}`;
}

export const taxonName = (night, taxon) => night.about?.taxa?.[taxon] ?? taxon;

// What an object is called: its taxon and how probable that is, or where nobody named it its class.
export function called(night, one) {
  if (one.taxon === null || one.taxon === undefined) return one.class_name;
  const sure = one.taxon_probability === null ? "" : ` ${figure(one.taxon_probability)}`;
  return `${taxonName(night, one.taxon)}${sure}`;
}

// What counts: above the threshold, and in no other field's tile.
export const counted = (night) => [...night.counts.values()].reduce((sum, one) => sum + one.objects, 0);

// The night in one sentence, what needs a person, and one colour: good, attention, bad or unknown. Sentence and needs are
// the night's own; the page only adds whether it is heard.
export function headline(night, now) {
  const { link, verdict } = night;
  if (!link) return { mood: "unknown", title: "Connecting", detail: "The monitor is being asked." };
  if (!night.about) return { mood: "unknown", title: "No night is heard yet", detail: sentence(link.trouble) };
  const title = verdict?.headline ?? "Starting.";
  if (!link.joined && !link.ended) {
    const since = link.heard_utc ? ` since ${moment(link.heard_utc, now)} (${duration(now - link.heard_utc)})` : "";
    const detail = `${sentence(link.trouble)} The night may go on unheard, or may have ended: look at its computer. `
      + `What is shown here is what was last known: ${title}`;
    return { mood: "bad", title: `The night is not heard${since}`, detail };
  }
  return { mood: MOODS[verdict?.tone ?? "running"], title, detail: verdict?.detail ?? "" };
}
