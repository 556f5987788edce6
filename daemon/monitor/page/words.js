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

// What counts: above the threshold, and in no other field's tile.
export const counted = (night) => [...night.counts.values()].reduce((sum, one) => sum + one.objects, 0);

const RECENT_S = 1800;
const NEARLY = 0.85;

// The night in one sentence, whether it needs anybody, and one colour: good, attention, bad or unknown.
export function headline(night, now) {
  const { link, state, counters } = night;
  if (!link) return { mood: "unknown", title: "Connecting", detail: "The monitor is being asked." };
  if (!night.about) return { mood: "unknown", title: "No night is heard yet", detail: sentence(link.trouble) };
  const doing = activity(night, now);
  if (!link.joined && !link.ended) {
    const since = link.heard_utc ? ` since ${moment(link.heard_utc, now)} (${duration(now - link.heard_utc)})` : "";
    const detail = `${sentence(link.trouble)} The night may go on unheard, or may have ended: look at its computer. `
      + `What is shown here is what was last known: ${lower(doing)}.`;
    return { mood: "bad", title: `The night is not heard${since}`, detail };
  }
  const needs = wants(night, now);
  const bad = state?.by === "fault" || state?.state === "refused";
  const mood = bad ? "bad" : needs.length ? "attention" : "good";
  return { mood, title: doing, detail: needs.length ? needs.join(" ") : calm(night, counters) };
}

function activity(night, now) {
  const { state, counters } = night;
  const name = state?.state ?? "starting";
  const done = counters ? counters.secured + counters.skipped : 0;
  const fields = counters ? `${number(done)} of ${number(counters.planned)} fields` : "no field yet";
  const skipped = counters?.skipped ? `, ${number(counters.skipped)} skipped` : "";
  const reason = state?.reason ? `: ${state.reason}` : "";
  switch (name) {
    case "scanning": {
      const end = counters?.seconds_left ? `, done about ${moment(now + counters.seconds_left, now)}` : "";
      const where = counters?.slide ? ` ${slideWords(night, counters.slide)}` : "";
      return `Scanning${where}: ${fields}${end}`;
    }
    case "paused":
      return `Paused${reason}`;
    case "delivering":
      return `All is exposed; the rest goes to the recorder${reason}`;
    case "complete":
      return `Complete: ${fields}${skipped}, ${plural(counted(night), "object")}`;
    case "not delivered":
      return `Ended, but not all was delivered${reason}`;
    case "stopped":
      return `Stopped by a fault after ${fields}${reason}`;
    case "interrupted":
      return `Interrupted by a person after ${fields}`;
    case "terminated":
      return `Ended by the system after ${fields}`;
    case "refused":
      return `Could not begin${reason}`;
    case "starting":
      return "Starting";
    default:
      return `${name}${reason}`;
  }
}

function wants(night, now) {
  const { state, counters, events } = night;
  const told = [];
  const name = state?.state;
  if (name === "paused") told.push("It goes on by itself once the reason has gone.");
  if (name === "stopped") told.push("A person is needed; the last faults are listed below.");
  if (name === "refused") told.push("Put that right, then go on with --resume.");
  if (name === "not delivered") told.push("Deliver the rest with --resume.");
  if (name === "interrupted" || name === "terminated") told.push("Go on with --resume.");
  const errors = events.filter((one) => one.level === "error" && now - one.utc < RECENT_S);
  if (errors.length) {
    const last = errors[errors.length - 1];
    told.push(`At ${clock(last.utc)}: ${last.title}: ${sentence(last.message)}`);
  }
  if (counters && name === "scanning") {
    const left = counters.seconds_left;
    if (counters.disk_hours !== null && left && counters.disk_hours * 3600 < left) {
      told.push(`The disk is full in ${duration(counters.disk_hours * 3600)}, before the night ends.`);
    }
    if (counters.spool_bytes > NEARLY * counters.spool_limit_bytes) {
      told.push("The spool is nearly full: is the recorder away?");
    }
  }
  return told;
}

function calm(night, counters) {
  const errors = night.events.filter((one) => one.level === "error").length;
  const told = errors ? `Nothing needs you now; ${plural(errors, "error")} earlier, told below` : "Nothing needs you";
  if (night.link.ended || !counters) return `${told}.`;
  const disk = counters.disk_hours === null ? "" : ` The disk lasts ${duration(counters.disk_hours * 3600)} at this pace.`;
  return `${told}.${disk}`;
}

export function sentence(text) {
  const trimmed = (text ?? "").trim();
  if (!trimmed) return "";
  return trimmed[0].toUpperCase() + trimmed.slice(1) + (/[.!?]$/.test(trimmed) ? "" : ".");
}

const lower = (text) => text[0].toLowerCase() + text.slice(1);
