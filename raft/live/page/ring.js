// The ring of nodes: a role has a colour and a shape; dead, paused and cut off are told apart by both.
import { actionButton, actionsOn, byId, closeMenu, draw, make, nodesOf, openMenu, order, redraw, state } from "./page.js";

const RADIUS = 98, INNER = 74, WAYS_MAX = 300;
const polygon = (corners, r, turn = -Math.PI / 2) =>
  Array.from({ length: corners }, (_, at) => turn + (2 * Math.PI * at) / corners)
    .map((angle) => `${(r * Math.cos(angle)).toFixed(2)},${(r * Math.sin(angle)).toFixed(2)}`).join(" ");

function shapeOf(condition, r) {
  const common = { class: "shape" };
  if (condition === "leader") return draw("polygon", { ...common, points: polygon(6, r * 1.2) });
  if (condition === "candidate" || condition === "pre-candidate") return draw("polygon", { ...common, points: polygon(4, r * 1.25) });
  if (condition === "learner") return draw("rect", { ...common, x: -r * 0.85, y: -r * 0.85, width: r * 1.7, height: r * 1.7 });
  return draw("circle", { ...common, r });
}

function marksOf(node, r) {
  const marks = [], c = node.condition;
  if (c === "dead" || c === "gave-up")
    marks.push(draw("path", { class: "mark", d: `M${-r * 0.7} ${-r * 0.7}L${r * 0.7} ${r * 0.7}M${r * 0.7} ${-r * 0.7}L${-r * 0.7} ${r * 0.7}` }));
  if (c === "paused")
    for (const x of [-0.55, 0.25]) marks.push(draw("rect", { class: "mark", x: r * x, y: r * 1.15, width: r * 0.3, height: r * 0.7 }));
  if (node.cut_off) marks.push(draw("circle", { class: "fence", r: r * 1.5 }));
  return marks;
}

const classOf = (node) => `node ${node.condition}${node.cut_off ? " cut-off" : ""}${state.selected.has(node.id) ? " selected" : ""}`;

export function wordsOf(node) {
  const parts = [`n${node.id}`, node.condition];
  if (node.cut_off) parts.push("cut off");
  if (node.silent) parts.push("does not answer");
  if (node.term) parts.push(`term ${node.term}`, `commit ${node.commit}`);
  if (node.faults.length) parts.push(`${node.faults.length} fault${node.faults.length > 1 ? "s" : ""}`);
  return parts.join(", ");
}

let drawn = "";
export function drawRing(picture) {
  const nodes = nodesOf(picture), ring = byId("ring");
  const key = JSON.stringify([nodes.map((node) => [wordsOf(node), state.selected.has(node.id)]), picture.links, state.commitRises && nodes.length <= 12, state.readOnly]);
  if (key === drawn) return;
  drawn = key;
  const focused = document.activeElement?.closest?.(".node")?.dataset.node;
  // Many nodes stand in two rings, in turn, so that each has room for its number.
  const rings = nodes.length > 24 ? 2 : 1;
  const r = Math.max(4, Math.min(15, ((rings > 1 ? INNER : RADIUS) * Math.PI * rings) / Math.max(nodes.length, 1) * 0.78));
  const slots = nodes.length + (rings > 1 ? nodes.length % 2 : 0);
  ring.setAttribute("class", rings > 1 ? "many" : "");
  const places = new Map(nodes.map((node, at) => {
    const angle = -Math.PI / 2 + (2 * Math.PI * at) / slots;
    const radius = nodes.length === 1 ? 0 : rings > 1 && at % 2 ? INNER : RADIUS;
    return [node.id, [radius * Math.cos(angle), radius * Math.sin(angle)]];
  }));
  ring.replaceChildren(...waysOf(picture, places, nodes.length), ...nodes.map((node) => nodeMark(node, places.get(node.id), r)));
  if (focused) ring.querySelector(`[data-node="${CSS.escape(focused)}"]`)?.focus();
  drawSelection(nodes);
}

function waysOf(picture, places, count) {
  const ways = [];
  for (const [way, how] of Object.entries(picture.links ?? {})) {
    const [from, to] = way.split(">").map(Number);
    const [a, b] = [places.get(from), places.get(to)];
    if (!a || !b || ways.length >= WAYS_MAX) continue;
    const leads = how === "heard" && from === picture.leader;
    if (how === "heard" && !leads) continue;
    const flow = leads && state.commitRises && count <= 12;
    // Each direction has a side of its own.
    const [dx, dy] = [b[0] - a[0], b[1] - a[1]], length = Math.hypot(dx, dy) || 1, off = leads ? 0 : 2.5;
    const [ox, oy] = [(-dy / length) * off, (dx / length) * off];
    ways.push(draw("line", { class: `way ${leads ? "lead-way" : how}${flow ? " flow" : ""}`,
      x1: a[0] + ox, y1: a[1] + oy, x2: b[0] + ox, y2: b[1] + oy }));
  }
  return ways;
}

function nodeMark(node, [x, y], r) {
  const open = (event) => {
    if (event.shiftKey || event.ctrlKey || event.metaKey) return toggle(node.id);
    openNode(node);
  };
  return draw("g", {
    class: classOf(node), transform: `translate(${x.toFixed(2)} ${y.toFixed(2)})`, role: "button", tabindex: 0,
    "data-node": node.id, "aria-label": wordsOf(node), onclick: open,
    onkeydown: (event) => {
      if (event.key === "Enter" || event.key === " ") { event.preventDefault(); event.stopPropagation(); open(event); }
      else if (event.key === "x") toggle(node.id);
    },
  }, draw("circle", { class: "halo", r: r * 1.75 }), shapeOf(node.condition, r), ...marksOf(node, r),
  draw("text", { "text-anchor": "middle", y: r * 0.36, "font-size": r * (node.id > 9 ? 0.92 : 1.05) }, `${r > 8 ? "n" : ""}${node.id}`),
  draw("title", {}, wordsOf(node)));
}

function toggle(id) {
  if (!state.selected.delete(id)) state.selected.add(id);
  redraw();
}

function openNode(node) {
  const others = nodesOf(state.picture).filter((other) => other.id !== node.id);
  const facts = [["state", wordsOf(node)], ["log", `last ${node.last}, commit ${node.commit}, applied ${node.applied}`],
    ["vote", node.vote ? `n${node.vote}` : "none"], ["process", `pid ${node.pid ?? "–"}, ${node.cpu_percent ?? 0} % CPU, ${node.rss_mb ?? 0} MB, ${node.restarts} restarts`]];
  const items = actionsOn("node", "one").map((action) => actionButton(action, [node.id]));
  if (items.length) {
    const pick = make("button", { type: "button", onclick: () => { closeMenu(); toggle(node.id); } },
      state.selected.has(node.id) ? "Take out of the selection" : "Select", make("code", {}, "shift-click, or x"));
    items.push(pick);
  }
  if (items.length && others.length) {
    const target = make("select", { "aria-label": `Way from n${node.id} to` }, ...others.map((other) => make("option", { value: other.id }, `to n${other.id}`)));
    items.push(make("div", {}, `Way from n${node.id} `, target,
      make("button", { type: "button", onclick: () => { const to = Number(target.value); closeMenu(); openLink(node.id, to); } }, "Break …")));
  }
  openMenu(`n${node.id}`, facts, items);
}

export function openLink(from, to) {
  const how = state.picture.links?.[`${from}>${to}`] ?? "quiet";
  openMenu(`From n${from} to n${to}`, [["now", how]], actionsOn("link").map((action) => actionButton(action, [from], [to])));
}

function drawSelection(nodes) {
  const chosen = nodes.map((node) => node.id).filter((id) => state.selected.has(id)), bar = byId("selection");
  bar.hidden = !chosen.length;
  const wanted = actionsOn("nodes", "node").filter((action) => ["partition", "kill", "pause", "resume", "start", "isolate"].includes(action.name));
  bar.replaceChildren(chosen.map((id) => `n${id}`).join(" "), ...wanted.map((action) =>
    make("button", { type: "button", "data-action": action.name, title: `raft-actors ${action.words.replace("{nodes}", chosen.join(","))}`,
      onclick: () => { order(action, chosen); state.selected.clear(); redraw(); } }, action.label)),
  make("button", { type: "button", onclick: () => { state.selected.clear(); redraw(); } }, "Select none"));
}

const LEGEND = [["leader", {}], ["follower", {}], ["candidate", {}], ["learner", {}], ["paused", {}], ["dead", {}], ["cut off", { condition: "follower", cut_off: true }]];
let legend = false;
export function drawLegend() {
  if (legend) return;
  legend = true;
  byId("legend").replaceChildren(...LEGEND.map(([name, look]) => {
    const node = { condition: name, ...look };
    return make("li", {}, draw("svg", { viewBox: "-12 -11 24 24", "aria-hidden": "true" },
      draw("g", { class: classOf(node) }, shapeOf(node.condition, 6), ...marksOf(node, 6))), name);
  }));
}
