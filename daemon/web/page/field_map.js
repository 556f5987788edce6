// A mini-slide as a map of its fields, drawn where the stage took them.

const LEAST_PX = 3;

// Draws a map; gives the middle of each field in px of the canvas. `places` are x, y in um; a place without any is left
// out. `mark` gives the colour of a field by its place in the list, null of one that was skipped.
export function paintMap(canvas, places, frameUm, mark, rings = []) {
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
  const bad = getComputedStyle(document.documentElement).getPropertyValue("--bad");
  const spots = places.map(([x, y], at) => {
    if (x === null) return [NaN, NaN];
    const [px, py] = [offX + scale * (x - left), offY + scale * (top - y)];
    const colour = mark(at);
    if (colour === null) cross(pen, px, py, Math.max(w, 5), bad);
    else {
      pen.fillStyle = colour;
      pen.fillRect(px - w / 2, py - h / 2, w, h);
    }
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
