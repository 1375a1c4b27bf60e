// The time line: leaders by term, faults shaded, commits a second; it scrolls, zooms, and goes back.
import { byId, draw, nodesOf, redraw, showMoment, state } from "./page.js";
import { colourOf } from "./panels.js";

const HEIGHT = 150, LEAD = 16, FAULTS = 44, RATE = 84, SPAN_MIN = 5, SPAN_MAX = 3600;

// What is seen: [from, to] in seconds.
function windowShown() {
  const now = state.picture?.t ?? 0, at = state.shownAt;
  const to = at === null || now - at < state.spanSeconds * 0.9 ? now : at + state.spanSeconds * 0.1;
  return [to - state.spanSeconds, to];
}

function faultSpans(now) {
  const open = new Map(), spans = [];
  for (const record of state.records) {
    const name = /^(?:FAULT|CLEARED) (\S+)/.exec(record.text)?.[1];
    if (record.kind === "fault" && name) open.set(name, record);
    else if (record.kind === "fault-cleared" && open.has(name)) { spans.push([open.get(name).t, record.t, open.get(name).text]); open.delete(name); }
  }
  const standing = new Set((state.picture?.faults ?? []).map((fault) => `${fault.kind}#${fault.id}`));
  for (const [name, record] of open) if (standing.has(name)) spans.push([record.t, now, record.text]);
  return spans;
}

function rates(from, to) {
  const points = [], bin = Math.max((to - from) / 120, 0.5);
  let previous = null;
  for (const picture of state.history) {
    if (picture.t < from - bin || picture.t > to) continue;
    const commit = Math.max(0, ...nodesOf(picture).map((node) => node.commit));
    if (previous === null) previous = [picture.t, commit];
    else if (picture.t - previous[0] >= bin) {
      points.push([picture.t, Math.max(commit - previous[1], 0) / (picture.t - previous[0])]);
      previous = [picture.t, commit];
    }
  }
  return points;
}

let drawnAt = 0;
export function drawTime() {
  const now = state.picture?.t ?? 0, [from, to] = windowShown();
  const moment = state.shownAt === null ? "live" : `at ${state.shownAt.toFixed(1)} s`;
  if (byId("moment").textContent !== moment) byId("moment").textContent = moment;
  byId("pause").textContent = state.shownAt === null ? "Pause" : "Live";
  if (state.shownAt === null) byId("scrub").value = 1000;
  if (state.shownAt === null && performance.now() - drawnAt < 200) return;
  drawnAt = performance.now();
  const svg = byId("time"), wide = Math.max(svg.clientWidth, 200), x = (t) => ((t - from) / (to - from)) * wide;
  const marks = [draw("text", { class: "label", x: 2, y: LEAD - 4, "font-size": 10 }, "leaders by term; shaded: faults")]; // Faults carry their own words.
  const seen = (begin, end) => end > from && begin < to;
  for (const one of state.picture?.leaders ?? []) {
    const end = one.ended ? one.elected_t + one.lasted_s : now;
    if (!seen(one.elected_t, end)) continue;
    const begin = Math.max(x(one.elected_t), 0), width = Math.max(x(end) - begin, 1.5);
    marks.push(draw("rect", { fill: colourOf(one.term), x: begin, y: LEAD, width, height: 16, rx: 2 }, draw("title", {}, `n${one.node}, term ${one.term}`)));
    if (width > 44) marks.push(draw("text", { class: "term-label", x: begin + 4, y: LEAD + 12, "font-size": 11 }, `n${one.node} t${one.term}`));
  }
  faultSpans(now).filter(([begin, end]) => seen(begin, end)).slice(-60).forEach(([begin, end, text]) => {
    marks.push(draw("rect", { class: "fault-span", x: Math.max(x(begin), 0), y: LEAD + 18, width: Math.max(x(end) - Math.max(x(begin), 0), 2), height: HEIGHT - LEAD - 34 }, draw("title", {}, text)));
    const wide = x(end) - Math.max(x(begin), 0), words = text.replace(/^FAULT \S+ +/, "");
    if (wide > words.length * 6) marks.push(draw("text", { class: "label", x: Math.max(x(begin), 0) + 4, y: FAULTS + 8, "font-size": 10 }, words));
  });
  const points = rates(from, to), top = Math.max(1, ...points.map(([, rate]) => rate)), base = HEIGHT - 18;
  marks.push(draw("polyline", { class: "rate", points: points.map(([t, rate]) => `${x(t).toFixed(1)},${(base - (rate / top) * (base - RATE)).toFixed(1)}`).join(" ") }),
    draw("text", { class: "label", x: 2, y: RATE - 4, "font-size": 10 }, `commits a second, to ${Math.round(top)}`));
  const step = [1, 2, 5, 10, 30, 60, 300, 600].find((size) => ((to - from) / size) * 60 < wide) ?? 1200;
  for (let t = Math.max(Math.ceil(from / step) * step, 0); t <= to; t += step)
    marks.push(draw("line", { class: "event-tick", x1: x(t), x2: x(t), y1: HEIGHT - 16, y2: HEIGHT - 12 }), draw("text", { class: "label", x: x(t), y: HEIGHT - 2, "text-anchor": "middle", "font-size": 10 }, `${t} s`));
  if (state.shownAt !== null) marks.push(draw("line", { class: "now-line", x1: x(state.shownAt), x2: x(state.shownAt), y1: 0, y2: HEIGHT - 12 }));
  svg.setAttribute("viewBox", `0 0 ${wide} ${HEIGHT}`);
  svg.replaceChildren(...marks);
}

const bounded = (t) => Math.min(Math.max(t, state.history[0]?.t ?? 0), state.picture?.t ?? 0);
function zoom(factor) { state.spanSeconds = Math.min(Math.max(state.spanSeconds * factor, SPAN_MIN), SPAN_MAX); drawnAt = 0; redraw(); }
const toggle = () => showMoment(state.shownAt === null ? state.picture?.t ?? null : null);
const step = (seconds) => showMoment(bounded((state.shownAt ?? state.picture?.t ?? 0) + seconds));

export function watchTime() {
  const svg = byId("time"), scrub = byId("scrub");
  byId("pause").addEventListener("click", toggle);
  byId("zoom-in").addEventListener("click", () => zoom(0.5));
  byId("zoom-out").addEventListener("click", () => zoom(2));
  scrub.addEventListener("input", () => {
    const first = state.history[0]?.t ?? 0, share = Number(scrub.value) / 1000;
    showMoment(share >= 1 ? null : first + share * ((state.picture?.t ?? 0) - first));
  });
  svg.addEventListener("wheel", (event) => { event.preventDefault(); zoom(event.deltaY > 0 ? 1.25 : 0.8); }, { passive: false });
  const jump = (event) => {
    const [from, to] = windowShown(), box = svg.getBoundingClientRect();
    showMoment(bounded(from + ((event.clientX - box.left) / box.width) * (to - from)));
  };
  svg.addEventListener("pointerdown", (event) => { svg.setPointerCapture(event.pointerId); jump(event); });
  svg.addEventListener("pointermove", (event) => { if (event.buttons) jump(event); });
  document.addEventListener("keydown", (event) => {
    if (event.target.closest("input, select, button, dialog, [role=application], .node")) return;
    const act = { " ": toggle, ArrowLeft: () => step(-1), ArrowRight: () => step(1), End: () => showMoment(null), "+": () => zoom(0.5), "-": () => zoom(2) }[event.key];
    if (act) { event.preventDefault(); act(); }
  });
}
