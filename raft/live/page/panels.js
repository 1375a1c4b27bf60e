// Headline, matrix of links, logs, leaders, faults, events: each drawn anew only when it has changed.
import { actionsOn, byId, commandOf, draw, make, nodesOf, order, state } from "./page.js";
import { openLink } from "./ring.js";

const RECORDS_SHOWN = 300;
const last = {};

function changed(name, ...values) {
  const key = JSON.stringify(values);
  if (last[name] === key) return false;
  last[name] = key;
  return true;
}

// Neighbouring terms get hues far apart.
export const colourOf = (term) => `hsl(${(term * 137.5) % 360} 60% 66%)`;

export function seconds(value) {
  if (value < 120) return `${value.toFixed(value < 10 ? 1 : 0)} s`;
  const minutes = Math.floor(value / 60);
  return minutes < 120 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

export function drawHeader(picture) {
  const past = state.shownAt !== null && picture ? `At ${picture.t.toFixed(1)} s, not live. ` : "";
  const missed = state.missed ? `${state.missed} events or log lines were left out. ` : "";
  const words = [state.lost, picture?.incomplete ?? "", past + missed].filter(Boolean).join(" — ").trim();
  if (changed("banner", words)) { byId("banner").textContent = words; byId("banner").hidden = !words; }
  if (!picture || !changed("header", picture.headline, picture.cluster, picture.invariants, picture.reachable, picture.voters, picture.can_lose)) return;
  byId("headline").textContent = picture.headline;
  document.title = `${picture.leader ? `n${picture.leader}` : "no leader"} · ${picture.cluster || "raft-actors"}`;
  byId("cluster").textContent = picture.voters ? `cluster ${picture.cluster}: ${picture.reachable ?? 0} of ${picture.voters} voters hear each other, ${picture.needed} needed, can lose ${picture.can_lose ?? 0}` : "";
  byId("invariants").replaceChildren(...(picture.invariants ?? []).map((one) =>
    make("li", { class: one.holds ? "holds" : "broken", title: one.text }, `${one.holds ? "✓" : "✗ BROKEN:"} ${one.name}${one.holds ? "" : `: ${one.text}`}`)));
}

const CELL = 12;
let cursor = [0, 1], ids = [];
export function drawMatrix(picture) {
  const nodes = nodesOf(picture);
  if (!changed("matrix", nodes.map((node) => node.id), picture.links, cursor)) return;
  ids = nodes.map((node) => node.id);
  const size = (ids.length + 1.6) * CELL, at = (place) => (place + 1.6) * CELL, every = ids.length > 20 ? 5 : 1;
  const marks = [];
  ids.forEach((id, place) => {
    if (place % every && id !== picture.leader) return;
    const scale = every > 1 ? 2.2 : 1;
    marks.push(draw("text", { class: "label", x: at(place) + CELL / 2, y: CELL, "text-anchor": "middle", "font-size": 6 * scale }, id));
    marks.push(draw("text", { class: "label", x: CELL, y: at(place) + CELL * 0.7, "text-anchor": "end", "font-size": 6 * scale }, id));
  });
  const few = ids.length <= 20;
  ids.forEach((from, row) => ids.forEach((to, column) => {
    if (from === to) return;
    const how = picture.links?.[`${from}>${to}`] ?? "quiet";
    if (how !== "quiet" || few) marks.push(cell(how, at(column), at(row)));
  }));
  if (!few) marks.unshift(draw("rect", { class: "quiet-cell", x: at(0), y: at(0), width: ids.length * CELL, height: ids.length * CELL }));
  if (document.activeElement === byId("matrix"))
    marks.push(draw("rect", { class: "cursor-cell", x: at(cursor[1]), y: at(cursor[0]), width: CELL, height: CELL }));
  byId("matrix").setAttribute("viewBox", `0 0 ${size} ${size}`);
  byId("matrix").setAttribute("aria-label", "Matrix: rows send, columns hear. Arrow keys move, Enter breaks a way.");
  byId("matrix").replaceChildren(...marks);
  sayCell(picture);
}

function cell(how, x, y) {
  const middle = CELL / 2;
  if (how === "cut") return draw("path", { class: "cut-cell", "stroke-width": 2, d: `M${x + 3} ${y + 3}l6 6m0 -6l-6 6` });
  if (how === "bad") return draw("path", { class: "bad-cell", d: `M${x + middle} ${y + 2}l4 8h-8z` });
  return draw("circle", { class: `${how}-cell`, cx: x + middle, cy: y + middle, r: how === "heard" ? 4 : 2 });
}

const WORDS = { heard: "heard of late", quiet: "quiet (followers seldom talk to each other)", cut: "cut", bad: "slow or lossy" };
function sayCell(picture) {
  const [from, to] = [ids[cursor[0]], ids[cursor[1]]];
  const active = document.activeElement === byId("matrix") && from !== undefined && to !== undefined && from !== to;
  const words = active ? `n${from} → n${to}: ${WORDS[picture.links?.[`${from}>${to}`] ?? "quiet"]}` : "rows send, columns hear · ● heard of late, ✕ cut, ▲ slow or lossy";
  if (changed("cell", words)) byId("matrix-words").textContent = words;
}

export function watchMatrix() {
  const matrix = byId("matrix");
  const open = () => {
    const [from, to] = [ids[cursor[0]], ids[cursor[1]]];
    if (from !== undefined && to !== undefined && from !== to && actionsOn("link").length) openLink(from, to);
  };
  const again = () => { last.matrix = ""; if (state.picture) drawMatrix(state.picture); };
  matrix.addEventListener("click", (event) => {
    const point = new DOMPoint(event.clientX, event.clientY).matrixTransform(matrix.getScreenCTM().inverse());
    cursor = [Math.floor(point.y / CELL - 1.6), Math.floor(point.x / CELL - 1.6)];
    again(); open();
  });
  matrix.addEventListener("keydown", (event) => {
    const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
    if (step) {
      event.preventDefault();
      cursor = cursor.map((place, axis) => Math.min(Math.max(place + step[axis], 0), ids.length - 1));
      again();
    } else if (event.key === "Enter") open();
  });
  matrix.addEventListener("focus", again); matrix.addEventListener("blur", again);
}

const LOG_WINDOW = 32;
export function drawLogs(picture) {
  const nodes = nodesOf(picture), match = picture.nodes?.[picture.leader]?.match ?? {};
  const wide = Math.max(byId("logs-panel").clientWidth - 24, 200), left = 34, right = 44;
  if (!changed("logs", wide, nodes.map((node) => [node.id, node.condition, node.last, node.commit, node.log]), match)) return;
  const high = Math.max(1, ...nodes.map((node) => node.last)), low = Math.max(1, high - LOG_WINDOW + 1);
  const row = nodes.length > 20 ? 14 : nodes.length > 9 ? 22 : 34, step = (wide - left - right) / (high - low + 1), x = (index) => left + (index - low) * step;
  const marks = nodes.flatMap((node, at) => {
    const y = at * row, bar = row > 30 ? row - 12 : row - 5, parts = [draw("text", { class: "label", x: left - 6, y: y + bar * 0.8, "text-anchor": "end", "font-size": 11 }, `n${node.id}`),
      draw("rect", { class: "track", x: left, y, width: wide - left - right, height: bar, rx: 2 })];
    node.log.forEach(([start, term], place) => {
      const from = Math.max(start, low), end = (node.log[place + 1]?.[0] ?? node.last + 1);
      if (end <= low) return;
      parts.push(draw("rect", { fill: colourOf(term), x: x(from), y, width: Math.max((end - from) * step - 1, 1), height: bar, rx: 2 }));
      if ((end - from) * step > 24 && row > 14) parts.push(draw("text", { class: "term-label", x: x(from) + 4, y: y + bar * 0.78, "font-size": 10 }, `t${term}`));
    });
    if (node.commit >= low) parts.push(draw("line", { class: "commit-line", x1: x(node.commit + 1) - 1, x2: x(node.commit + 1) - 1, y1: y - 1, y2: y + bar + 2 }));
    const known = match[node.id];
    if (known >= low) { const mx = x(known + 1) - step / 2 - 1; parts.push(draw("path", { class: "match-mark", d: `M${mx - 3} ${y + bar + 4}h6l-3 -5z` })); }
    parts.push(draw("text", { class: "label", x: wide - right + 6, y: y + bar * 0.8, "font-size": 11 }, node.last || "–"));
    return parts;
  });
  const logs = byId("logs");
  logs.setAttribute("viewBox", `0 0 ${wide} ${nodes.length * row + 4}`);
  logs.setAttribute("aria-label", nodes.map((node) => `n${node.id}: last ${node.last}, commit ${node.commit}`).join("; "));
  logs.replaceChildren(...marks);
}

export function drawLeaders(picture) {
  const leaders = [...(picture.leaders ?? [])].reverse();
  if (!changed("leaders", leaders)) return;
  byId("leaders").replaceChildren(...leaders.map((one) => make("tr", {}, make("td", {}, one.term), make("td", {}, `n${one.node}`),
    make("td", {}, one.ended === null || one.ended === undefined ? "leads" : seconds(one.lasted_s)), make("td", {}, one.votes),
    make("td", {}, `${one.reason}, in ${Math.round(one.took_ms)} ms`), make("td", {}, one.ended ?? ""))));
}

export function drawFaults(picture) {
  const faults = picture.faults ?? [], clear = state.menu.find((action) => action.name === "clear"), all = state.menu.find((action) => action.name === "clear-all");
  if (!changed("faults", faults, state.readOnly, state.menu.length)) return;
  const heal = (action, ids, label) => make("button", { type: "button", "data-action": action.name, title: `raft-actors ${commandOf(action, ids)}`, onclick: () => order(action, ids) }, label);
  const items = faults.map((fault) => make("li", {}, make("span", { class: "what" }, fault.text.startsWith(fault.kind) ? fault.text : `${fault.kind} ${fault.text}`), make("code", {}, fault.heal),
    ...(state.readOnly || !clear ? [] : [heal(clear, [fault.id], "Heal")])));
  if (!faults.length) items.push(make("li", { class: "none" }, state.readOnly ? "nothing" : "nothing. Click a node, or a way in the matrix, to break it."));
  else if (faults.length > 1 && !state.readOnly && all) items.push(make("li", {}, heal(all, [], "Heal everything")));
  byId("faults").replaceChildren(...items);
}

const WANTED = {
  "": () => true, event: (record) => record.source === "event", log: (record) => record.source === "log",
  lead: (record) => record.kind.startsWith("leader-") || record.kind === "cluster-ready" || record.kind === "violation",
  fault: (record) => record.kind.startsWith("fault") || record.kind.startsWith("node-"),
};
const TONES = { "leader-elected": "green", "fault-cleared": "green", "leader-lost": "red", fault: "red", "node-exited": "red", "node-gave-up": "red", violation: "red", ERROR: "red", CRITICAL: "red", WARNING: "red", INFO: "soft", DEBUG: "soft" };

export function drawRecords() {
  const filter = byId("filter-node"), known = nodesOf(state.picture).map((node) => node.id);
  if (changed("filter", known)) {
    const chosen = filter.value;
    filter.replaceChildren(make("option", { value: "" }, "all"), ...known.map((id) => make("option", { value: id }, `n${id}`)));
    filter.value = known.includes(Number(chosen)) ? chosen : "";
  }
  const wants = WANTED[byId("filter-kind").value], node = Number(filter.value), text = byId("filter-text").value.toLowerCase();
  const found = state.records.filter((record) => wants(record) && (!node || record.nodes.includes(node)) && (!text || record.text.toLowerCase().includes(text))
    && (state.shownAt === null || record.t <= state.shownAt));
  found.sort((a, b) => a.t - b.t); // Nodes tell of the same moment in any order.
  byId("records").replaceChildren(...found.slice(-RECORDS_SHOWN).reverse().map((record) => make("li", { class: TONES[record.kind] ?? "" },
    `${record.t.toFixed(2).padStart(8)}  ${record.source === "log" ? `${record.nodes.map((id) => `n${id}`).join(" ")} ${record.kind} ` : ""}${record.text}`)));
}
