// Elements, and when to draw them. Text from the cluster reaches the page as text nodes only.

export const byId = (id) => document.getElementById(id);

export const make = (name, attributes = {}, ...children) =>
  filled(document.createElement(name), attributes, children);

export const draw = (name, attributes = {}, ...children) =>
  filled(document.createElementNS("http://www.w3.org/2000/svg", name), attributes, children);

function filled(element, attributes, children) {
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (value !== false && value !== undefined && value !== null)
      element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children.map((child) => (child instanceof Node ? child : String(child))));
  return element;
}

// Words in a drawing.
export const label = (words, x, y, { size = 10, name = "label", anchor = null } = {}) =>
  draw("text", { class: name, x, y, "font-size": size, "text-anchor": anchor }, words);

// What is said of a part of a drawing when it is pointed at.
export const tip = (words) => draw("title", {}, words);

const seen = new Map();

// Is this what that part was drawn from the last time?
export function changed(part, ...values) {
  const key = JSON.stringify(values);
  if (seen.get(part) === key) return false;
  seen.set(part, key);
  return true;
}

const painters = [];
let waiting = false;

// Functions that draw the page from the state; each decides whether it has to.
export const paints = (...found) => painters.push(...found);

// Draw at the next frame, once, and not while the page is hidden.
export function redraw() {
  if (waiting || document.hidden) return;
  waiting = true;
  requestAnimationFrame(() => {
    waiting = false;
    for (const paint of painters) paint();
  });
}

export function spell(seconds) {
  if (seconds < 120) return `${seconds.toFixed(seconds < 10 ? 1 : 0)} s`;
  const minutes = Math.floor(seconds / 60);
  return minutes < 120 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

// Neighbouring terms get hues far apart.
export const colourOf = (term) => `hsl(${(term * 137.5) % 360} 60% 66%)`;

// Drawings that fill their panel are drawn in units that grow with the page's letters.
export const unit = () => parseFloat(getComputedStyle(document.documentElement).fontSize) / 15;

export const faultWords = (fault) =>
  fault.text.startsWith(fault.kind) ? fault.text : `${fault.kind} ${fault.text}`;
