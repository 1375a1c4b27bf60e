// The time line: leaders by term, a lane for each node, faults, rates and latencies. It zooms and goes back.
import { byId, colourOf, draw, faultWords, label, redraw, tip, unit } from "./dom.js";
import { bounded, nodesOf, showMoment, state } from "./state.js";

const SPAN_MIN = 1, SPAN_MAX = 7200, PAUSE_MS = 200, FAULT_ROWS = 4;
const LEFT = 34, LEADERS = 20, FAULT = 13, RATE = 46, AXIS = 16; // Pixels.
const VOTES = { "vote-granted": "given", "vote-refused": "refused", "votes-asked": "asked" };
let drawnAt = 0, playing = 0, rightEdge = null; // It stays where it is while a moment in view is chosen.

// What is seen: [from, to] in seconds.
export function windowShown() {
  const now = state.picture?.t ?? 0, at = state.shownAt, span = state.spanSeconds;
  if (at === null) rightEdge = null;
  else if (rightEdge === null || at > rightEdge || at < rightEdge - span)
    rightEdge = now - at < span ? now : at + span * 0.5;
  const to = rightEdge ?? now;
  return [to - span, to];
}

export function faultSpans() {
  const now = state.picture?.t ?? 0, open = new Map(), spans = [];
  for (const record of state.records) {
    const name = /^(?:FAULT|CLEARED) (\S+)/.exec(record.text)?.[1];
    if (record.kind === "fault" && name) open.set(name, record);
    else if (record.kind === "fault-cleared" && open.has(name)) {
      spans.push({ from: open.get(name).t, to: record.t, ...spoken(open.get(name)) });
      open.delete(name);
    }
  }
  const standing = new Set((state.picture?.faults ?? []).map((fault) => `${fault.kind}#${fault.id}`));
  for (const [name, record] of open) if (standing.has(name)) spans.push({ from: record.t, to: now, ...spoken(record) });
  return spans.sort((a, b) => a.from - b.from);
}

const spoken = (record) => {
  const [, kind, text] = /^FAULT (\S+)#\S+ +(.*)$/.exec(record.text) ?? [null, "", record.text];
  return { nodes: record.nodes, text: faultWords({ kind, text }) };
};

export function drawTime() {
  const live = state.shownAt === null, newest = state.run ? "the end" : "live";
  const moment = live ? newest : `at ${state.shownAt.toFixed(1)} s`;
  drawControls(live, moment);
  if (live && performance.now() - drawnAt < PAUSE_MS) return;
  drawnAt = performance.now();
  const [from, to] = windowShown(), svg = byId("time"), scale = unit(), wide = Math.max(svg.clientWidth / scale, 200);
  const x = (t) => LEFT + ((t - from) / (to - from)) * (wide - LEFT);
  const view = { from, to, wide, x, left: (t) => Math.max(x(t), LEFT), seen: (a, b) => b >= from && a <= to };
  const faults = faultSpans().filter((one) => view.seen(one.from, one.to)).slice(-60);
  const marks = [...leaders(view)];
  let y = LEADERS;
  y = faultRows(marks, faults, y, view);
  y = lanes(marks, faults, y, view);
  y = rates(marks, y, view);
  marks.push(...axis(y, view));
  if (!live) marks.push(draw("line", { class: "now-line", x1: x(state.shownAt), x2: x(state.shownAt), y1: 0, y2: y }));
  svg.setAttribute("viewBox", `0 0 ${wide} ${y + AXIS}`);
  svg.setAttribute("height", (y + AXIS) * scale);
  svg.replaceChildren(...marks);
}

function drawControls(live, moment) {
  if (byId("moment").textContent !== moment) byId("moment").textContent = moment;
  const label = playing ? "Stop" : state.run ? "Play" : live ? "Pause" : "Live";
  if (byId("pause").textContent !== label) byId("pause").textContent = label;
  const first = state.history[0]?.t ?? 0, all = (state.picture?.t ?? 0) - first;
  byId("scrub").value = live || !all ? 1000 : (1000 * (state.shownAt - first)) / all;
}

function leaders({ left, x, seen, to }) {
  const marks = [], now = state.picture?.t ?? 0;
  for (const one of state.picture?.leaders ?? []) {
    const end = one.ended ? one.elected_t + one.lasted_s : now;
    if (!seen(one.elected_t, end)) continue;
    const begin = left(one.elected_t), width = Math.max(x(Math.min(end, to)) - begin, 1.5);
    marks.push(draw("rect", { fill: colourOf(one.term), x: begin, y: 2, width, height: 15, rx: 2 },
      tip(`n${one.node} led term ${one.term}${one.ended ? `; ended: ${one.ended}` : ""}`)));
    if (width > 44) marks.push(label(`n${one.node} t${one.term}`, begin + 4, 14, { size: 11, name: "term-label" }));
  }
  return marks;
}

// Each fault from when to when, in as few rows as hold them.
function faultRows(marks, faults, y, { left, x, to }) {
  const ends = [];
  for (const fault of faults) {
    const begin = left(fault.from), width = Math.max(x(Math.min(fault.to, to)) - begin, 2);
    let row = ends.findIndex((end) => end <= begin);
    if (row < 0) row = Math.min(ends.length, FAULT_ROWS - 1);
    const room = Math.floor(width / 5.6), top = y + row * FAULT;
    const words = fault.text.length > room ? `${fault.text.slice(0, Math.max(room - 1, 0))}…` : fault.text;
    ends[row] = begin + width;
    marks.push(draw("rect", { class: "fault-span", x: begin, y: top, width, height: FAULT - 2, rx: 2 }, tip(fault.text)));
    if (room > 3) marks.push(label(words, begin + 3, top + 9, { size: 9, name: "fault-words" }));
  }
  return y + ends.length * FAULT + 4;
}

// A lane for each node: what it was, and its votes.
function lanes(marks, faults, y, view) {
  const { left, x, seen, from, to, wide } = view, nodes = nodesOf(state.picture), few = nodes.length <= 12;
  const row = few ? 15 : 5, high = few ? 9 : 4, lane = new Map(nodes.map((node, at) => [node.id, y + at * row]));
  for (const node of nodes) {
    const top = lane.get(node.id);
    if (few) marks.push(label(`n${node.id}`, LEFT - 6, top + 8, { anchor: "end" }));
    marks.push(draw("line", { class: "lane", x1: LEFT, x2: wide, y1: top + high / 2, y2: top + high / 2 }));
    for (const span of state.spans.get(node.id) ?? []) {
      if (!seen(span.from, span.to)) continue;
      const begin = left(span.from), width = Math.max(x(Math.min(span.to, to)) - begin, 1);
      const fill = span.condition === "leader" ? colourOf(span.term) : undefined;
      marks.push(draw("rect", { class: `span ${span.condition}`, x: begin, y: top, width, height: high, rx: 1, fill },
        tip(`n${node.id} ${span.look}`)));
      if (span.cutOff)
        marks.push(draw("rect", { class: "cut-span", x: begin, y: top + high, width: width + 0.5, height: 2 }));
    }
  }
  for (const fault of faults) for (const node of fault.nodes) if (lane.has(node) && few)
    marks.push(draw("rect", { class: "fault-shade", x: left(fault.from), y: lane.get(node) - 2,
      width: Math.max(x(Math.min(fault.to, to)) - left(fault.from), 2), height: high + 4 }));
  for (const record of few ? state.records : []) {
    if (record.t < from || record.t > to || !record.nodes.length || !lane.has(record.nodes[0])) continue;
    marks.push(...mark(record, x(record.t), lane.get(record.nodes[0]) + high / 2));
  }
  return y + nodes.length * row + 6;
}

function mark(record, x, y) {
  const said = tip(record.text), vote = VOTES[record.kind];
  if (record.kind === "node-exited")
    return [draw("path", { class: "exit-mark", d: `M${x - 3} ${y - 4}l6 8m0 -8l-6 8` }, said)];
  if (record.kind === "leader-elected") return [draw("circle", { class: "won-mark", cx: x, cy: y, r: 3.5 }, said)];
  return vote ? [draw("circle", { class: `vote-mark ${vote}`, cx: x, cy: y, r: 2 }, said)] : [];
}

// Commits a second, as the logs tell; and how long commits took, where it was measured.
function rates(marks, y, view) {
  if (state.run && !state.measured) return y;
  const { from, to, x } = view;
  const found = state.measured ? measuredRates(state.measured, from, to) : pictureRates(from, to);
  const base = y + RATE, top = Math.max(1, ...found.rate.map(([, rate]) => rate));
  const slowest = Math.max(1, ...found.latency.map(([, ms]) => ms));
  const scaled = (value, most) => base - (value / most) * (RATE - 14);
  const line = (points, most, name) => draw("polyline", { class: name,
    points: points.map(([t, value]) => `${x(t).toFixed(1)},${scaled(value, most).toFixed(1)}`).join(" ") });
  marks.push(line(found.rate, top, "rate"),
    label(`${found.words}, to ${Math.round(top)}`, LEFT, y + 8, { name: "rate-words" }));
  const worst = `latency p99, to ${slowest.toFixed(slowest < 10 ? 1 : 0)} ms`;
  if (found.latency.length)
    marks.push(line(found.latency, slowest, "latency"), label(worst, LEFT + 190, y + 8, { name: "latency-words" }));
  return base + 4;
}

function pictureRates(from, to) {
  const rate = [], latency = [], bin = Math.max((to - from) / 120, 0.5);
  let previous = null;
  for (const picture of state.history) {
    if (picture.t < from - bin || picture.t > to) continue;
    let commit = 0;
    for (const id in picture.nodes) commit = Math.max(commit, picture.nodes[id].commit ?? 0);
    if (previous === null) previous = [picture.t, commit];
    else if (picture.t - previous[0] >= bin) {
      rate.push([picture.t, Math.max(commit - previous[1], 0) / (picture.t - previous[0])]);
      if (picture.load?.p99_ms) latency.push([picture.t, picture.load.p99_ms]);
      previous = [picture.t, commit];
    }
  }
  return { rate, latency, words: "commits a second" };
}

function measuredRates(measured, from, to) {
  const inside = measured.filter((bin) => bin.t >= from && bin.t <= to);
  return { rate: inside.map((bin) => [bin.t, bin.per_second]), words: "operations a second",
    latency: inside.filter((bin) => bin.p99_ms).map((bin) => [bin.t, bin.p99_ms]) };
}

function axis(y, { from, to, x, wide }) {
  const marks = [], steps = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 300, 600];
  const step = steps.find((size) => ((to - from) / size) * 60 < wide) ?? 1200;
  for (let at = Math.max(Math.ceil(from / step), 0); at * step <= to; at += 1) {
    const t = at * step, words = `${step < 1 ? t.toFixed(step < 0.01 ? 3 : 2) : t} s`;
    marks.push(draw("line", { class: "event-tick", x1: x(t), x2: x(t), y1: y, y2: y + 4 }),
      label(words, x(t), y + 13, { anchor: x(t) > wide - 20 ? "end" : "middle" }));
  }
  return marks;
}

export function zoomTo(seconds) {
  const before = state.spanSeconds;
  state.spanSeconds = Math.min(Math.max(seconds, state.run ? SPAN_MIN / 100 : SPAN_MIN), SPAN_MAX);
  if (rightEdge !== null) rightEdge = state.shownAt + ((rightEdge - state.shownAt) * state.spanSeconds) / before;
  drawnAt = 0;
  redraw();
}

const zoom = (factor) => zoomTo(state.spanSeconds * factor);
const step = (seconds) => showMoment(bounded((state.shownAt ?? state.picture?.t ?? 0) + seconds));

function toggle() {
  if (playing) return stop();
  if (!state.run) return showMoment(state.shownAt === null ? state.picture?.t ?? null : null);
  play();
}

// A run of the past goes on from the moment that is shown, as quickly as it did.
function play() {
  const end = state.picture?.t ?? 0, first = state.history[0]?.t ?? 0;
  const begin = state.shownAt === null || state.shownAt >= end ? first : state.shownAt;
  const started = performance.now();
  const next = (now) => {
    const t = begin + (now - started) / 1000;
    playing = t < end ? requestAnimationFrame(next) : 0;
    showMoment(t < end ? t : null);
  };
  playing = requestAnimationFrame(next);
}

function stop() {
  cancelAnimationFrame(playing);
  playing = 0;
  redraw();
}

export function watchTime() {
  const svg = byId("time"), scrub = byId("scrub");
  byId("pause").addEventListener("click", toggle);
  byId("zoom-in").addEventListener("click", () => zoom(0.5));
  byId("zoom-out").addEventListener("click", () => zoom(2));
  scrub.addEventListener("input", () => {
    const first = state.history[0]?.t ?? 0, share = Number(scrub.value) / 1000;
    showMoment(share >= 1 ? null : first + share * ((state.picture?.t ?? 0) - first));
  });
  svg.addEventListener("wheel", (event) => {
    if (state.run && !event.ctrlKey) return; // A report is scrolled.
    event.preventDefault();
    if (Math.abs(event.deltaX) > Math.abs(event.deltaY) || event.shiftKey)
      step(((event.deltaX || event.deltaY) / 600) * state.spanSeconds);
    else zoom(event.deltaY > 0 ? 1.25 : 0.8);
  }, { passive: false });
  const jump = (event) => {
    const [from, to] = windowShown(), box = svg.getBoundingClientRect();
    const share = Math.max(event.clientX - box.left - LEFT * unit(), 0) / (box.width - LEFT * unit());
    showMoment(bounded(from + share * (to - from)));
  };
  svg.addEventListener("pointerdown", (event) => { svg.setPointerCapture(event.pointerId); jump(event); });
  svg.addEventListener("pointermove", (event) => { if (event.buttons) jump(event); });
  document.addEventListener("keydown", (event) => {
    if (event.target.closest("input, select, button, dialog, [role=application], .node")) return;
    const act = { " ": toggle, ArrowLeft: () => step(-1), ArrowRight: () => step(1), End: () => showMoment(null),
      "+": () => zoom(0.5), "-": () => zoom(2) }[event.key];
    if (!act || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    act();
  });
}
