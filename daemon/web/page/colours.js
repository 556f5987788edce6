// Colours of numbers, of classes, and how a number becomes a colour. Both maps can be told apart by the colour-blind.

export const VIRIDIS = [
  "#440154", "#48186a", "#472d7b", "#424086", "#3b528b", "#33638d", "#2c728e", "#26828e", "#21918c", "#1fa088",
  "#28ae80", "#3fbc73", "#5ec962", "#84d44b", "#addc30", "#d8e219", "#fde725"
];
export const CIVIDIS = [
  "#00224e", "#002e6a", "#1a386f", "#32436d", "#434e6c", "#535a6d", "#61656f", "#6f7073", "#7d7c78", "#8c8878",
  "#9b9476", "#aba072", "#bcae6c", "#cdbb63", "#dec958", "#f0d846", "#fee838"
];

// Of classes, in the order they are met; base.css says which they are on its ground.
const CLASSES = 8;
const known = new Map();

export function classColour(name) {
  if (!known.has(name)) known.set(name, (known.size % CLASSES) + 1);
  return `var(--series-${known.get(name)})`;
}

const parts = (hex) => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));

// Colour of a share between 0 and 1.
export function colourOf(map, share) {
  const at = Math.min(Math.max(share, 0), 1) * (map.length - 1);
  const low = Math.min(Math.floor(at), map.length - 2);
  const [a, b] = [parts(map[low]), parts(map[low + 1])];
  return `rgb(${a.map((one, k) => Math.round(one + (b[k] - one) * (at - low))).join(" ")})`;
}
