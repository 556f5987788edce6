// Numbers, times and the state of a night in words.

const whole = new Intl.NumberFormat("en-GB", { maximumFractionDigits: 0 });

export const number = (value) => whole.format(value);

export function figure(value, digits = 2) {
  return value === null || value === undefined ? "–" : value.toFixed(digits).replace("-", "−");
}

// Three digits that count, whatever the size.
export function short(value) {
  if (value === null || value === undefined) return "–";
  const size = Math.abs(value);
  return size >= 100 ? number(value) : figure(value, size >= 10 ? 1 : 2);
}

export function clock(utc, withSeconds = false) {
  const options = { hour: "2-digit", minute: "2-digit", ...(withSeconds ? { second: "2-digit" } : {}) };
  return new Date(utc * 1000).toLocaleTimeString("en-GB", options);
}

const HALF_A_DAY_S = 43_200;

// Time of the day, with the day where that is not this night's.
export function moment(utc, now) {
  const day = new Date(utc * 1000).toLocaleDateString("en-GB", { weekday: "short" });
  return Math.abs(utc - now) < HALF_A_DAY_S ? clock(utc) : `${day} ${clock(utc)}`;
}

export function duration(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  if (seconds < 90) return `${Math.max(0, Math.round(seconds))} s`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  return hours < 48 ? `${hours} h ${String(minutes % 60).padStart(2, "0")} min` : `${Math.round(hours / 24)} days`;
}

export function bytes(value) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let at = 0;
  let left = value;
  while (left >= 1000 && at < units.length - 1) {
    left /= 1000;
    at += 1;
  }
  return `${left >= 100 || at === 0 ? left.toFixed(0) : left.toFixed(1)} ${units[at]}`;
}

export const plural = (count, one, many = `${one}s`) => `${number(count)} ${count === 1 ? one : many}`;

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

const MOODS = { good: "good", running: "good", warning: "attention", bad: "bad" };

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

export function sentence(text) {
  const trimmed = (text ?? "").trim();
  if (!trimmed) return "";
  return trimmed[0].toUpperCase() + trimmed.slice(1) + (/[.!?]$/.test(trimmed) ? "" : ".");
}

