// The address of everything: whoever keeps one finds the same field or object there tomorrow.

export const ofNight = (key) => `/night/${encodeURIComponent(key)}`;
export const fieldPath = (key, slide, field, attempt = null) =>
  `${encodeURIComponent(key)}/${slide}/${field}${attempt === null ? "" : `/${attempt}`}`;
export const objectPath = ([key, slide, field, attempt, number]) => `${encodeURIComponent(key)}/${slide}/${field}/${attempt}/${number}`;
export const ofField = (key, slide, field, attempt = null) => `/field/${fieldPath(key, slide, field, attempt)}`;
export const ofObject = (place, query = "") => `/object/${objectPath(place)}${query}`;
