// A scale bar over a picture: 1, 2 or 5 times a power of ten µm.

import { make } from "./dom.js";

const LENGTHS_UM = [0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500];

// Of a picture that is so many µm wide, at most a share of it long; none where its width is not known.
export function scaleBar(widthUm, share = 0.45) {
  if (!widthUm) return null;
  const length = LENGTHS_UM.filter((um) => um <= widthUm * share).pop() ?? LENGTHS_UM[0];
  const bar = make("div", { class: "scale" }, `${length} µm`);
  bar.style.width = `${(100 * length) / widthUm}%`;
  return bar;
}
