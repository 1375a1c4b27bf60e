// Who hears whom: rows send, columns hear. A cell is chosen by click or by arrow keys, and opens a menu.
import { byId, changed, draw } from "./dom.js";
import { actionsOn } from "./menu.js";
import { openLink } from "./ring.js";
import { nodesOf, shown } from "./state.js";

const CELL = 12, FEW = 20;
const WORDS = {
  heard: "heard of late", quiet: "quiet (followers seldom talk to each other)", cut: "cut", bad: "slow or lossy",
  none: "one of them does not run, or does not answer",
};
const RUNS_NOT = ["dead", "gave-up", "paused", "starting", "unreachable"];
let cursor = [0, 1], ids = [], absent = new Set();

const at = (place) => (place + 1.6) * CELL;

export function drawMatrix() {
  const picture = shown();
  if (!picture) return;
  const matrix = byId("matrix"), focused = document.activeElement === matrix;
  ids = nodesOf(picture).map((node) => node.id);
  absent = new Set(nodesOf(picture).filter((node) => node.silent || RUNS_NOT.includes(node.condition)).map((node) => node.id));
  if (!changed("matrix", ids, picture.links, picture.leader, [...absent], cursor, focused)) return;
  const size = (ids.length + 1.6) * CELL;
  const marks = [...labels(picture.leader), ...cells(picture.links ?? {})];
  if (focused)
    marks.push(draw("rect", { class: "cursor-cell", x: at(cursor[1]), y: at(cursor[0]), width: CELL, height: CELL }));
  matrix.setAttribute("viewBox", `0 0 ${size} ${size}`);
  matrix.setAttribute("aria-label", "Matrix: rows send, columns hear. Arrow keys move, Enter breaks a way.");
  matrix.replaceChildren(...marks);
  sayCell(picture, focused);
}

function labels(leader) {
  const every = ids.length > FEW ? 5 : 1, size = 6 * (every > 1 ? 2.2 : 1);
  return ids.flatMap((id, place) => place % every && id !== leader ? [] : [
    draw("text", { class: "label", x: at(place) + CELL / 2, y: CELL, "text-anchor": "middle", "font-size": size }, id),
    draw("text", { class: "label", x: CELL, y: at(place) + CELL * 0.7, "text-anchor": "end", "font-size": size }, id),
  ]);
}

const passes = (links, from, to) => absent.has(from) || absent.has(to) ? "none" : links?.[`${from}>${to}`] ?? "quiet";

function cells(links) {
  const few = ids.length <= FEW, all = ids.length * CELL, marks = [];
  if (!few) marks.push(draw("rect", { class: "quiet-cell", x: at(0), y: at(0), width: all, height: all }));
  ids.forEach((from, row) => ids.forEach((to, column) => {
    const how = passes(links, from, to);
    if (from !== to && (few || how !== "quiet")) marks.push(cell(how, at(column), at(row)));
  }));
  return marks;
}

function cell(how, x, y) {
  const middle = CELL / 2;
  if (how === "cut") return draw("path", { class: "cut-cell", "stroke-width": 2, d: `M${x + 3} ${y + 3}l6 6m0 -6l-6 6` });
  if (how === "bad") return draw("path", { class: "bad-cell", d: `M${x + middle} ${y + 2}l4 8h-8z` });
  if (how === "none") return draw("path", { class: "none-cell", "stroke-width": 1, d: `M${x + 4} ${y + middle}h4` });
  return draw("circle", { class: `${how}-cell`, cx: x + middle, cy: y + middle, r: how === "heard" ? 4 : 2 });
}

const chosen = () => {
  const [from, to] = [ids[cursor[0]], ids[cursor[1]]];
  return from !== undefined && to !== undefined && from !== to ? [from, to] : null;
};

function sayCell(picture, focused) {
  const way = focused ? chosen() : null;
  const words = way
    ? `n${way[0]} → n${way[1]}: ${WORDS[passes(picture.links, ...way)]}`
    : "rows send, columns hear · ● heard of late, ✕ cut, ▲ slow or lossy, – not running, faint: quiet, as between followers";
  if (changed("cell", words)) byId("matrix-words").textContent = words;
}

export function watchMatrix() {
  const matrix = byId("matrix");
  const open = () => {
    const way = chosen();
    if (way && actionsOn("link").length) openLink(...way);
  };
  matrix.addEventListener("click", (event) => {
    const point = new DOMPoint(event.clientX, event.clientY).matrixTransform(matrix.getScreenCTM().inverse());
    cursor = [Math.floor(point.y / CELL - 1.6), Math.floor(point.x / CELL - 1.6)];
    drawMatrix();
    open();
  });
  matrix.addEventListener("keydown", (event) => {
    const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
    if (event.key === "Enter") open();
    if (!step) return;
    event.preventDefault();
    cursor = cursor.map((place, axis) => Math.min(Math.max(place + step[axis], 0), ids.length - 1));
    drawMatrix();
  });
  matrix.addEventListener("focus", drawMatrix);
  matrix.addEventListener("blur", drawMatrix);
}
