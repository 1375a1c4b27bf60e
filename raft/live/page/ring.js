// The ring of nodes: a role has a colour and a shape; dead, paused and cut off are told apart by both.
// Around each that waits for a leader an arc shows how much of its election timeout is over.
import { byId, changed, draw, make, redraw } from "./dom.js";
import { actionButton, actionsOn, closeMenu, openMenu, order } from "./menu.js";
import { nodesOf, shown, state } from "./state.js";

const RADIUS = 98, INNER = 74, WAYS_MAX = 300, MANY = 24;
const places = new Map(), marks = new Map();

export const placeOf = (id) => places.get(id);

const polygon = (corners, r) =>
  Array.from({ length: corners }, (_, at) => -Math.PI / 2 + (2 * Math.PI * at) / corners)
    .map((angle) => `${(r * Math.cos(angle)).toFixed(2)},${(r * Math.sin(angle)).toFixed(2)}`).join(" ");

function shapeOf(condition, r) {
  const common = { class: "shape" };
  if (condition === "leader") return draw("polygon", { ...common, points: polygon(6, r * 1.2) });
  if (condition === "candidate" || condition === "pre-candidate")
    return draw("polygon", { ...common, points: polygon(4, r * 1.25) });
  if (condition === "learner")
    return draw("rect", { ...common, x: -r * 0.85, y: -r * 0.85, width: r * 1.7, height: r * 1.7 });
  return draw("circle", { ...common, r });
}

function marksOf(node, r) {
  const found = [], c = node.condition, d = r * 0.7;
  if (c === "dead" || c === "gave-up")
    found.push(draw("path", { class: "mark", d: `M${-d} ${-d}L${d} ${d}M${d} ${-d}L${-d} ${d}` }));
  if (c === "paused")
    for (const x of [-0.55, 0.25])
      found.push(draw("rect", { class: "mark", x: r * x, y: r * 1.15, width: r * 0.3, height: r * 0.7 }));
  if (node.cut_off) found.push(draw("circle", { class: "fence", r: r * 1.5 }));
  return found;
}

const classOf = (node) =>
  `node ${node.condition}${node.cut_off ? " cut-off" : ""}${state.selected.has(node.id) ? " selected" : ""}`;

export function wordsOf(node) {
  const parts = [`n${node.id}`, node.condition];
  if (node.cut_off) parts.push("cut off");
  if (node.silent) parts.push("does not answer");
  if (node.term) parts.push(`term ${node.term}`, `commit ${node.commit}`);
  if (node.faults.length) parts.push(`${node.faults.length} fault${node.faults.length > 1 ? "s" : ""}`);
  return parts.join(", ");
}

export function drawRing() {
  const picture = shown();
  if (!picture) return;
  const nodes = nodesOf(picture);
  const r = arrange(nodes);
  if (changed("ways", nodes.map((node) => node.id), picture.links, picture.leader))
    byId("ways").replaceChildren(...waysOf(picture));
  for (const node of nodes) drawNode(node, r);
  drawSelection(nodes);
}

// Where each node stands. Many stand in two rings, in turn, so that each has room for its number.
function arrange(nodes) {
  const rings = nodes.length > MANY ? 2 : 1;
  const room = ((rings > 1 ? INNER : RADIUS) * Math.PI * rings) / Math.max(nodes.length, 1);
  const r = Math.max(4, Math.min(15, room * 0.78));
  if (!changed("places", nodes.map((node) => node.id))) return r;
  places.clear();
  const slots = nodes.length + (rings > 1 ? nodes.length % 2 : 0);
  nodes.forEach((node, at) => {
    const angle = -Math.PI / 2 + (2 * Math.PI * at) / slots;
    const radius = nodes.length === 1 ? 0 : rings > 1 && at % 2 ? INNER : RADIUS;
    places.set(node.id, [radius * Math.cos(angle), radius * Math.sin(angle)]);
  });
  byId("ring").setAttribute("class", rings > 1 ? "many" : "");
  marks.clear();
  byId("nodes").replaceChildren();
  return r;
}

function waysOf(picture) {
  const ways = [];
  for (const [way, how] of Object.entries(picture.links ?? {})) {
    const [from, to] = way.split(">").map(Number), [a, b] = [places.get(from), places.get(to)];
    const leads = how === "heard" && from === picture.leader, both = picture.links[`${to}>${from}`] === "heard";
    // What is heard both ways is drawn once, from the leader or else from the lower number.
    const once = leads || !both || (to !== picture.leader && from < to);
    if (!a || !b || ways.length >= WAYS_MAX || (how === "heard" && !once)) continue;
    // Each direction has a side of its own.
    const [dx, dy] = [b[0] - a[0], b[1] - a[1]], length = Math.hypot(dx, dy) || 1, off = how === "heard" ? 0 : 2.5;
    const [ox, oy] = [(-dy / length) * off, (dx / length) * off];
    ways.push(draw("line", {
      class: `way ${leads ? "lead-way" : how}`, x1: a[0] + ox, y1: a[1] + oy, x2: b[0] + ox, y2: b[1] + oy,
    }));
  }
  return ways;
}

// A node's mark stays the same element, so that it keeps the focus; only what has changed is drawn anew.
function drawNode(node, r) {
  let mark = marks.get(node.id);
  if (!mark) marks.set(node.id, (mark = newMark(node.id, r)));
  mark.node = node;
  const { group, arc } = mark, words = wordsOf(node), looks = `${classOf(node)} ${r}`;
  if (mark.timer !== node.timer) {
    mark.timer = node.timer;
    arc.setAttribute("stroke-dasharray", `${node.timer} 1`);
  }
  if (mark.words !== words) {
    mark.words = words;
    group.setAttribute("aria-label", words);
    group.querySelector("title").textContent = words;
  }
  if (mark.looks === looks) return;
  mark.looks = looks;
  group.setAttribute("class", classOf(node));
  group.querySelector(".look").replaceChildren(shapeOf(node.condition, r), ...marksOf(node, r),
    draw("text", { "text-anchor": "middle", y: r * 0.36, "font-size": r * (node.id > 9 ? 0.92 : 1.05) },
      `${r > 8 ? "n" : ""}${node.id}`));
}

function newMark(id, r) {
  const [x, y] = places.get(id);
  const open = (event) => {
    if (event.shiftKey || event.ctrlKey || event.metaKey) toggle(id);
    else openNode(marks.get(id).node);
  };
  const arc = draw("circle", { class: "timer", r: r * 1.3, pathLength: 1, transform: "rotate(-90)" });
  const group = draw("g", {
    transform: `translate(${x.toFixed(2)} ${y.toFixed(2)})`, role: "button", tabindex: 0, "data-node": id, onclick: open,
    onkeydown: (event) => {
      if (event.key === "x") toggle(id);
      if (event.key !== "Enter" && event.key !== " ") return;
      event.preventDefault();
      event.stopPropagation();
      open(event);
    },
  }, draw("title"), draw("circle", { class: "halo", r: r * 1.75 }), arc, draw("g", { class: "look" }));
  byId("nodes").append(group);
  return { group, arc };
}

function toggle(id) {
  if (!state.selected.delete(id)) state.selected.add(id);
  redraw();
}

function openNode(node) {
  const others = nodesOf(state.picture).filter((other) => other.id !== node.id);
  const facts = [
    ["state", wordsOf(node)],
    ["log", `from ${node.start} to ${node.last}, commit ${node.commit}, applied ${node.applied}`],
    ["vote", node.vote ? `n${node.vote}` : "none"],
    ["process", `pid ${node.pid || "–"}, ${node.cpu_percent} % CPU, ${node.rss_mb} MB, ${node.restarts} restarts`],
  ];
  if (node.timer) facts.push(["timeout", `${100 * node.timer} % of its election timeout are over`]);
  const items = actionsOn("node", "one").map((action) => actionButton(action, [node.id]));
  if (items.length)
    items.push(make("button", { type: "button", onclick: () => { closeMenu(); toggle(node.id); } },
      state.selected.has(node.id) ? "Take out of the selection" : "Select", make("code", {}, "shift-click, or x")));
  if (items.length && others.length) items.push(wayChoice(node, others));
  openMenu(`n${node.id}`, facts, items);
}

function wayChoice(node, others) {
  const target = make("select", { "aria-label": `Way from n${node.id} to` },
    ...others.map((other) => make("option", { value: other.id }, `to n${other.id}`)));
  const go = () => { closeMenu(); openLink(node.id, Number(target.value)); };
  return make("div", {}, `Way from n${node.id} `, target, make("button", { type: "button", onclick: go }, "Break …"));
}

export function openLink(from, to) {
  const how = state.picture.links?.[`${from}>${to}`] ?? "quiet";
  openMenu(`From n${from} to n${to}`, [["now", how]],
    actionsOn("link").map((action) => actionButton(action, [from], [to])));
}

const OF_SELECTIONS = ["partition", "kill", "pause", "resume", "start", "isolate"];

function drawSelection(nodes) {
  const chosen = nodes.map((node) => node.id).filter((id) => state.selected.has(id)), bar = byId("selection");
  if (!changed("selection", chosen, state.menu.length)) return;
  const clear = () => { state.selected.clear(); redraw(); };
  bar.hidden = !chosen.length;
  bar.replaceChildren(chosen.map((id) => `n${id}`).join(" "),
    ...actionsOn("nodes", "node").filter((action) => OF_SELECTIONS.includes(action.name)).map((action) =>
      make("button", {
        type: "button", "data-action": action.name,
        title: `raft-actors ${action.words.replace("{nodes}", chosen.join(","))}`,
        onclick: () => { order(action, chosen); clear(); },
      }, action.label)),
    make("button", { type: "button", onclick: clear }, "Select none"));
}

const LEGEND = ["leader", "follower", "candidate", "learner", "paused", "dead"].map((name) => [name, { condition: name }]);
LEGEND.splice(3, 0, ["asks for pre-votes", { condition: "pre-candidate" }]);
LEGEND.push(["does not answer", { condition: "unreachable" }]);
LEGEND.push(["cut off", { condition: "follower", cut_off: true }]);

export function drawLegend() {
  if (!changed("legend", LEGEND)) return;
  byId("legend").replaceChildren(...LEGEND.map(([name, look]) =>
    make("li", {}, draw("svg", { viewBox: "-12 -11 24 24", "aria-hidden": "true" },
      draw("g", { class: classOf(look) }, shapeOf(look.condition, 6), ...marksOf(look, 6))), name)));
}
