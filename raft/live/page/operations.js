// The operations of a run's clients, a row for each client: when each was asked and answered, and how it ended.
// Those that prove an anomaly are framed; a click on the anomaly leads to them.
import { byId, changed, draw, label, make, tip, unit } from "./dom.js";
import { showMoment, state } from "./state.js";
import { windowShown, zoomTo } from "./timeline.js";

const LEFT = 60, ROW = 20, SINGLE_MAX = 1500, WORDS_MIN = 70, LETTER = 5.2;
let run = null, key = "";

export function drawOperations() {
  if (!run) return;
  const [from, to] = windowShown(), svg = byId("operations"), wide = Math.max(svg.clientWidth / unit(), 200);
  if (!changed("operations", from, to, wide, key, state.shownAt)) return;
  const x = (t) => LEFT + ((t - from) / (to - from)) * (wide - LEFT);
  const seen = run.operations.filter((one) => one.call <= to && (one.end ?? to) >= from && (!key || one.key === key));
  const every = Math.ceil(seen.length / SINGLE_MAX), drawn = seen.filter((one, at) => one.proof || at % every === 0);
  const clients = [...new Set(drawn.map((one) => one.client))].sort(byNumber);
  const rows = new Map(clients.map((name, at) => [name, at * ROW + 2]));
  const marks = clients.map((name) => label(name, LEFT - 6, rows.get(name) + 11, { anchor: "end" }));
  for (const one of drawn)
    marks.push(...box(one, rows.get(one.client), Math.max(x(one.call), LEFT), Math.min(x(one.end ?? to), wide)));
  const height = Math.max(clients.length * ROW, ROW), now = state.shownAt;
  if (now !== null) marks.push(draw("line", { class: "now-line", x1: x(now), x2: x(now), y1: 0, y2: height }));
  svg.setAttribute("viewBox", `0 0 ${wide} ${height}`);
  svg.setAttribute("height", height * unit());
  svg.replaceChildren(...marks);
  byId("operations-words").textContent = wordsOf(seen.length, drawn.length);
}

const byNumber = (a, b) => a.localeCompare(b, "en", { numeric: true });

function box(one, y, begin, end) {
  const width = Math.max(end - begin, 1.5), does = one.reads ? "reads" : "writes";
  const name = `operation ${one.outcome === "done" ? does : one.outcome}${one.proof ? " proof" : ""}`;
  const marks = [draw("rect", { class: name, x: begin, y, width, height: 14, rx: 2 },
    tip(`${one.client}: ${one.text}, at ${one.call.toFixed(4)} s`))];
  if (width > WORDS_MIN)
    marks.push(label(fitted(one.text, width), begin + 4, y + 11, { size: 9.5, name: "operation-words" }));
  return marks;
}

function fitted(text, width) {
  const room = Math.floor(width / LETTER);
  return text.length < room ? text : `${text.slice(0, Math.max(room - 2, 1))}…`;
}

function wordsOf(seen, drawn) {
  const left = run.total - run.operations.length;
  const parts = [`${seen} operations in view`];
  if (drawn < seen) parts.push(`, ${drawn} of them drawn: zoom in to see each`);
  if (left) parts.push(`; ${left} more are not in this file`);
  return parts.join("");
}

// Look at the operations that prove an anomaly, with what went on around them.
function goTo(anomaly) {
  choose(anomaly.key && run.keys.includes(anomaly.key) ? anomaly.key : "");
  const lasted = Math.max(anomaly.to - anomaly.from, 0.01);
  showMoment((anomaly.from + anomaly.to) / 2);
  zoomTo(lasted * 1.6);
}

function choose(wanted) {
  key = wanted;
  byId("operations-key").value = wanted;
}

export function watchOperations(data) {
  byId("operations-panel").hidden = !data;
  if (!data) return;
  const keys = [...new Set(data.operations.map((one) => one.key))].sort(byNumber);
  run = { ...data, keys };
  byId("operations-key").replaceChildren(make("option", { value: "" }, "all"),
    ...keys.map((one) => make("option", { value: one }, one || "(none)")));
  byId("operations-key").addEventListener("input", (event) => { choose(event.target.value); drawOperations(); });
  byId("anomalies").replaceChildren(...data.anomalies.map((one) =>
    make("button", { type: "button", onclick: () => goTo(one) },
      `${one.name}${one.key ? ` on ${one.key}` : ""}, at ${one.from.toFixed(2)} s`)));
}
