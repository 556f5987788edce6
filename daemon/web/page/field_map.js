// A mini-slide as a map of its fields, drawn where the stage took them.

const LEAST_PX = 3;

// Draws a map; gives the middle of each field in px of the canvas. `places` are x, y in um; a place without any is left
// out. `mark` gives the colour of a field by its place in the list, null of one that was skipped; `signs` what is drawn
// onto it, so that it is told from others by more than its colour: `hatched`, `cornered`, `framed`, `dotted`.
export function paintMap(canvas, places, frameUm, mark, rings = [], signs = () => null) {
  const side = canvas.clientWidth;
  const ratio = window.devicePixelRatio || 1;
  canvas.width = canvas.height = Math.round(side * ratio);
  const pen = canvas.getContext("2d");
  pen.scale(ratio, ratio);
  const [frameX, frameY] = frameUm;
  const known = places.filter(([x]) => x !== null);
  const [xs, ys] = [known.map(([x]) => x), known.map(([, y]) => y)];
  const [left, right] = [Math.min(...xs) - frameX / 2, Math.max(...xs) + frameX / 2];
  const [bottom, top] = [Math.min(...ys) - frameY / 2, Math.max(...ys) + frameY / 2];
  const scale = (side - 4) / Math.max(right - left, top - bottom, 1e-6);
  const offX = (side - scale * (right - left)) / 2;
  const offY = (side - scale * (top - bottom)) / 2;
  const [w, h] = [Math.max(LEAST_PX, scale * frameX * 0.9), Math.max(LEAST_PX, scale * frameY * 0.9)];
  const ink = inks();
  const spots = places.map(([x, y], at) => {
    if (x === null) return [NaN, NaN];
    const [px, py] = [offX + scale * (x - left), offY + scale * (top - y)];
    const colour = mark(at);
    if (colour === null) cross(pen, px, py, Math.max(w, 5), ink.bad);
    else paintField(pen, [px - w / 2, py - h / 2, w, h], colour, signs(at), ink);
    return [px, py];
  });
  for (const [at, colour] of rings) {
    if (!(at in spots)) continue;
    const [px, py] = spots[at];
    pen.strokeStyle = colour;
    pen.lineWidth = 2;
    pen.strokeRect(px - w / 2 - 1, py - h / 2 - 1, w + 2, h + 2);
  }
  return spots;
}

function inks() {
  const style = getComputedStyle(document.documentElement);
  return Object.fromEntries(["bad", "panel", "empty", "text"].map((name) => [name, style.getPropertyValue(`--${name}`)]));
}

function paintField(pen, box, colour, sign, ink) {
  const [x, y, w, h] = box;
  pen.fillStyle = sign?.hatched ? ink.empty : colour;
  pen.fillRect(...box);
  if (!sign) return;
  pen.save();
  pen.beginPath();
  pen.rect(...box);
  pen.clip();
  if (sign.hatched) {
    const step = Math.min(Math.max(3.2, Math.min(w, h) / 3), 7);
    pen.strokeStyle = ink.bad;
    pen.lineWidth = step / 3;
    pen.beginPath();
    for (let at = step / 2; at < w + h; at += step) {
      pen.moveTo(x + at, y);
      pen.lineTo(x + at - h, y + h);
    }
    pen.stroke();
  }
  if (sign.cornered) {
    const side = Math.max(2.5, Math.min(w, h) * 0.45);
    pen.fillStyle = ink.panel;
    pen.beginPath();
    pen.moveTo(x + w - side, y);
    pen.lineTo(x + w, y);
    pen.lineTo(x + w, y + side);
    pen.fill();
  }
  if (sign.framed) {
    pen.strokeStyle = ink.text;
    pen.lineWidth = Math.min(Math.max(2, Math.min(w, h) / 5), 6);
    pen.strokeRect(...box);
  }
  pen.restore();
  if (sign.dotted) {
    pen.fillStyle = ink.text;
    pen.strokeStyle = ink.panel;
    pen.lineWidth = 1;
    pen.beginPath();
    pen.arc(x + w / 2, y + h / 2, Math.min(Math.max(1.8, Math.min(w, h) / 4.5), 6), 0, 2 * Math.PI);
    pen.fill();
    pen.stroke();
  }
}

// One field with a sign, for a legend.
export function paintSign(canvas, sign, colour) {
  const ratio = window.devicePixelRatio || 1;
  const side = 14;
  canvas.width = canvas.height = side * ratio;
  const pen = canvas.getContext("2d");
  pen.scale(ratio, ratio);
  paintField(pen, [1, 1, side - 2, side - 2], colour, sign, inks());
}

function cross(pen, x, y, size, colour) {
  pen.strokeStyle = colour;
  pen.lineWidth = 1.5;
  pen.beginPath();
  for (const slope of [-1, 1]) {
    pen.moveTo(x - size / 2.6, y - (slope * size) / 2.6);
    pen.lineTo(x + size / 2.6, y + (slope * size) / 2.6);
  }
  pen.stroke();
}

// The field that a person points at; -1 where none is near.
export function nearest(spots, x, y) {
  let [best, least] = [-1, 24 ** 2];
  spots.forEach(([px, py], at) => {
    const away = (px - x) ** 2 + (py - y) ** 2;
    if (away < least) [best, least] = [at, away];
  });
  return best;
}

// Colours from low to high.
export function paintRamp(canvas, colourAt) {
  const pen = canvas.getContext("2d");
  for (let x = 0; x < canvas.width; x += 1) {
    pen.fillStyle = colourAt(x / (canvas.width - 1));
    pen.fillRect(x, 0, 1, canvas.height);
  }
}

// What 98 % of the values lie within, so that one odd field does not flatten the rest.
export function rangeOf(values, fromZero) {
  const sorted = [...values].sort((a, b) => a - b);
  const at = (share) => sorted[Math.round(share * (sorted.length - 1))] ?? 0;
  const [low, high] = fromZero ? [0, at(0.99)] : [at(0.01), at(0.99)];
  return high > low ? [low, high] : [low - 0.5, low + 0.5];
}
