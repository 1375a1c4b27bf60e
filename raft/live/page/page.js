// The feed in the browser: pictures and patches in, one state out, drawn at most once a frame.
// Text from the cluster reaches the page as text nodes only.
import { drawRing, drawLegend } from "./ring.js";
import { drawFaults, drawHeader, drawLeaders, drawLogs, drawMatrix, drawRecords, watchMatrix } from "./panels.js";
import { drawTime, watchTime } from "./timeline.js";

const HISTORY_MAX = 4000, RECORDS_MAX = 3000, AGAIN_MS = 2000, STALE_MS = 3500;

export const byId = (id) => document.getElementById(id);

export function make(name, attributes = {}, ...children) {
  return filled(document.createElement(name), attributes, children);
}

export function draw(name, attributes = {}, ...children) {
  return filled(document.createElementNS("http://www.w3.org/2000/svg", name), attributes, children);
}

function filled(element, attributes, children) {
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (value !== false && value !== undefined) element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children.map((child) => (child instanceof Node ? child : String(child))));
  return element;
}

export const state = {
  picture: null, history: [], records: [], menu: [], readOnly: true, selected: new Set(),
  shownAt: null, // Seconds; null: live.
  spanSeconds: 60, connected: false, heardAt: 0, lost: "", missed: 0, commitRises: false,
};

// RFC 7396, without changing what the history holds.
export function merged(before, patch) {
  const after = { ...before };
  for (const [key, value] of Object.entries(patch)) {
    if (value === null) delete after[key];
    else if (typeof value === "object" && !Array.isArray(value)) after[key] = merged(after[key] ?? {}, value);
    else after[key] = value;
  }
  return after;
}

// The picture that is shown: the latest, or the last one at the moment that was chosen.
export function shown() {
  if (state.shownAt === null || !state.history.length) return state.picture;
  let low = 0, high = state.history.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (state.history[middle].t <= state.shownAt) low = middle;
    else high = middle - 1;
  }
  return state.history[low];
}

export const nodesOf = (picture) =>
  Object.values(picture?.nodes ?? {}).map((node) => ({ votes: true, term: 0, commit: 0, applied: 0, last: 0,
    log: [], match: {}, faults: [], restarts: 0, ...node })).sort((a, b) => a.id - b.id);

function take(news) {
  const before = state.picture;
  const picture = news.picture ?? (news.patch ? merged(before ?? {}, news.patch) : before);
  if (before && picture.run !== before.run) {
    state.history = []; state.records = []; state.shownAt = null; state.selected.clear();
  }
  if (picture !== before) {
    const highest = (of) => Math.max(0, ...Object.values(of?.nodes ?? {}).map((node) => node.commit ?? 0));
    state.commitRises = highest(picture) > highest(before);
    announce(before, picture);
    state.picture = picture;
    state.history.push(picture);
    // Of long ago every other moment is enough.
    if (state.history.length > HISTORY_MAX)
      state.history = state.history.filter((_, at) => at > HISTORY_MAX / 2 || at % 2 === 0);
  }
  if (news.missed) state.missed += news.missed;
  if (news.records) {
    state.records = state.records.concat(news.records).slice(-RECORDS_MAX);
    dirty.records = true;
  }
  redraw();
}

function announce(before, after) {
  if (before?.leader !== after.leader || before?.term !== after.term) byId("said").textContent = after.headline;
}

let source = null;
function connect() {
  source?.close();
  source = new EventSource("feed");
  source.addEventListener("hello", (event) => {
    const hello = JSON.parse(event.data);
    state.menu = hello.menu; state.readOnly = hello.read_only ?? false;
    state.connected = true; state.heardAt = performance.now(); state.lost = "";
    state.records = []; // All that is kept comes again.
  });
  source.addEventListener("news", (event) => {
    state.heardAt = performance.now(); state.connected = true;
    take(JSON.parse(event.data));
  });
  source.onerror = () => {
    state.connected = false;
    if (source.readyState === EventSource.CLOSED) setTimeout(connect, AGAIN_MS);
    redraw();
  };
}

export async function order(action, nodes = [], to = []) {
  const answer = byId("answer");
  answer.className = ""; answer.textContent = `raft-actors ${commandOf(action, nodes, to)} …`;
  try {
    const response = await fetch("order", {
      method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify({ action: action.name, nodes, to }),
    });
    const told = await response.json();
    answer.className = response.ok ? "" : "failed";
    answer.textContent = response.ok ? [`$ ${told.command}`, ...told.lines].join(" · ") : told.error;
  } catch (error) {
    answer.className = "failed"; answer.textContent = `the page's server does not answer: ${error.message}`;
  }
}

export const commandOf = (action, nodes, to = []) =>
  action.words.replace("{nodes}", nodes.join(",")).replace("{to}", to.join(","));

export const actionsOn = (...kinds) => (state.readOnly ? [] : state.menu.filter((action) => kinds.includes(action.on)));

export function openMenu(title, facts, items) {
  byId("menu-title").textContent = title;
  byId("menu-facts").replaceChildren(...facts.flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, value)]));
  byId("menu-items").replaceChildren(...items);
  byId("menu").showModal();
}

export const closeMenu = () => byId("menu").close();

export function actionButton(action, nodes, to = []) {
  const run = () => { closeMenu(); order(action, nodes, to); };
  return make("button", { type: "button", onclick: run, "data-action": action.name }, action.label,
    make("code", {}, `raft-actors ${commandOf(action, nodes, to)}`));
}

const dirty = { records: true };
let waiting = false, recordsDrawnAt = 0;
export function redraw() {
  if (waiting || document.hidden) return;
  waiting = true;
  requestAnimationFrame((now) => {
    waiting = false;
    const picture = shown();
    drawHeader(picture);
    if (!picture) return;
    drawRing(picture); drawLegend(picture); drawFaults(picture); drawMatrix(picture); drawLogs(picture);
    drawLeaders(picture); drawTime();
    if (dirty.records || dirty.moment !== state.shownAt) {
      if (now - recordsDrawnAt < 250) return void setTimeout(redraw, 250);
      drawRecords(); dirty.records = false; dirty.moment = state.shownAt; recordsDrawnAt = now;
    }
  });
}

export function showMoment(t) {
  state.shownAt = t;
  history.replaceState(null, "", t === null ? "#" : `#t=${t.toFixed(1)}`);
  redraw();
}

setInterval(() => {
  const silent = performance.now() - state.heardAt;
  const lost = !state.connected || silent > STALE_MS
    ? `no word from the page's server${state.heardAt ? ` for ${Math.round(silent / 1000)} s` : ""}: what you see is old; trying again` : "";
  if (lost !== state.lost) { state.lost = lost; redraw(); }
}, 500);

for (const id of ["filter-kind", "filter-node", "filter-text"])
  byId(id).addEventListener("input", () => { dirty.records = true; redraw(); });
byId("filters").addEventListener("submit", (event) => event.preventDefault());
byId("menu-close").addEventListener("click", closeMenu);
document.addEventListener("visibilitychange", redraw);
addEventListener("resize", redraw);
watchMatrix(); watchTime();
const moment = /^#t=([0-9.]+)$/.exec(location.hash);
if (moment) state.shownAt = Number(moment[1]);
connect();
