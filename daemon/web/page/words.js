// Numbers, times and sentences.

const whole = new Intl.NumberFormat("en-GB", { maximumFractionDigits: 0 });

export const number = (value) => whole.format(value);

export function figure(value, digits = 2) {
  return value === null || value === undefined ? "–" : value.toFixed(digits).replace("-", "−");
}

// Three digits that count, whatever the size, without an exponent (inference/wording.py writes the same).
export function short(value) {
  if (value === null || value === undefined) return "–";
  if (value === 0) return "0";
  const places = Math.max(0, 2 - Math.floor(Math.log10(Number(Math.abs(value).toExponential(2)))));
  return places ? figure(value, places) : number(value).replace("-", "−");
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

// Colour of each tone of a verdict: good, attention, bad or unknown.
export const MOODS = { good: "good", running: "good", warning: "attention", bad: "bad" };

export function sentence(text) {
  const trimmed = (text ?? "").trim();
  if (!trimmed) return "";
  return trimmed[0].toUpperCase() + trimmed.slice(1) + (/[.!?]$/.test(trimmed) ? "" : ".");
}
