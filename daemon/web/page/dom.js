// Making elements. Whatever comes from a night becomes text, never markup.

export const byId = (id) => document.getElementById(id);

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.flat().filter((one) => one !== null && one !== undefined));
  return element;
}

export const make = (tag, attributes = {}, ...children) => fill(document.createElement(tag), attributes, children);

export const draw = (tag, attributes = {}, ...children) =>
  fill(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);

export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

// A row of buttons of which one is pressed; returns a function that presses another one without telling.
export function choice(group, values, chosen, tell) {
  const buttons = values.map(([value, words]) => {
    const press = () => {
      mark(value);
      tell(value);
    };
    return [value, make("button", { type: "button", "aria-pressed": value === chosen, onclick: press }, words)];
  });
  const mark = (value) => {
    for (const [one, button] of buttons) button.setAttribute("aria-pressed", String(one === value));
  };
  group.replaceChildren(...buttons.map(([, button]) => button));
  mark(chosen);
  return mark;
}

// What someone chose, kept in the browser; it works without where nothing can be kept.
export function remembered(name, otherwise) {
  try {
    return localStorage.getItem(`lamelle-${name}`) ?? otherwise;
  } catch {
    return otherwise;
  }
}

export function remember(name, value) {
  try {
    localStorage.setItem(`lamelle-${name}`, value);
  } catch {
    return;
  }
}
