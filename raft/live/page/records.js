// Events and lines of logs, with filters; the newest first.
import { byId, changed, make, redraw } from "./dom.js";
import { nodesOf, shown, state } from "./state.js";

const RECORDS_SHOWN = 300, PAUSE_MS = 250;
const WANTED = {
  "": () => true,
  event: (record) => record.source === "event",
  node: (record) => record.source === "node",
  log: (record) => record.source === "log",
  lead: (record) => record.kind.startsWith("leader-") || ["cluster-ready", "violation"].includes(record.kind),
  fault: (record) => record.kind.startsWith("fault") || record.kind.startsWith("node-"),
};
const TONES = {
  "leader-elected": "green", "fault-cleared": "green", "leader-lost": "red", fault: "red", "node-exited": "red",
  "node-gave-up": "red", "vote-granted": "green", "vote-refused": "red", violation: "red",
  ERROR: "red", CRITICAL: "red", WARNING: "red", INFO: "soft", DEBUG: "soft",
};
let drawnAt = 0;

export function drawRecords() {
  drawFilter();
  const kind = byId("filter-kind").value, node = Number(byId("filter-node").value);
  const text = byId("filter-text").value.toLowerCase();
  if (performance.now() - drawnAt < PAUSE_MS) return void setTimeout(redraw, PAUSE_MS);
  const { recordsSeen, records, shownAt, picture } = state;
  if (!changed("records", recordsSeen, records.length, shownAt, kind, node, text, picture?.run)) return;
  drawnAt = performance.now();
  const found = state.records.filter((record) => WANTED[kind](record) && (!node || record.nodes.includes(node))
    && (!text || record.text.toLowerCase().includes(text)) && (state.shownAt === null || record.t <= state.shownAt));
  found.sort((a, b) => a.t - b.t); // Nodes tell of the same moment in any order.
  byId("records").replaceChildren(...found.slice(-RECORDS_SHOWN).reverse().map(line));
}

function line(record) {
  const of = record.source === "log" ? `${record.nodes.map((id) => `n${id}`).join(" ")} ${record.kind} ` : "";
  return make("li", { class: TONES[record.kind] ?? "" }, `${record.t.toFixed(2).padStart(8)}  ${of}${record.text}`);
}

function drawFilter() {
  const filter = byId("filter-node"), known = nodesOf(shown()).map((node) => node.id);
  if (!changed("filter", known)) return;
  const chosen = filter.value;
  filter.replaceChildren(make("option", { value: "" }, "all"),
    ...known.map((id) => make("option", { value: id }, `n${id}`)));
  filter.value = known.includes(Number(chosen)) ? chosen : "";
}

export function watchRecords() {
  for (const id of ["filter-kind", "filter-node", "filter-text"]) byId(id).addEventListener("input", redraw);
  byId("filters").addEventListener("submit", (event) => event.preventDefault());
}
