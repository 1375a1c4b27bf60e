// The feed as one state: the newest picture, those before it, and what has happened. Bounded, however long
// the page is open. Knows nothing of how it arrives or is drawn.
import { redraw } from "./dom.js";
import { divergence } from "./divergence.js";

const HISTORY_MAX = 4000, RECORDS_MAX = 3000, SPANS_MAX = 400, TRUNCATIONS_MAX = 200, LINK_MS = 250;

export const state = {
  picture: null, history: [], records: [], recordsSeen: 0, menu: [], readOnly: true, selected: new Set(),
  spans: new Map(), truncations: [], watchers: [],
  run: false, measured: null, // Of a run of the past: that it is one, and what its clients measured.
  shownAt: null, // Seconds; null: live.
  spanSeconds: 60, connected: false, heardAt: 0, lost: "", missed: 0,
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

// The picture that is shown: the newest, or the last one at the moment that was chosen.
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

const WITHOUT = {
  votes: true, term: 0, vote: 0, leader: 0, commit: 0, applied: 0, last: 0, start: 1, timer: 0, log: [], match: {},
  next: {}, faults: [], restarts: 0, pid: 0, cpu_percent: 0, rss_mb: 0,
};

// Without one the nodes themselves are asked; they tell less, and break and heal nothing.
export const launcherOf = (picture) => Boolean(picture?.run) || state.run;

export const nodesOf = (picture) =>
  Object.values(picture?.nodes ?? {}).map((node) => ({ ...WITHOUT, ...node })).sort((a, b) => a.id - b.id);

export const bounded = (t) => Math.min(Math.max(t, state.history[0]?.t ?? 0), state.picture?.t ?? 0);

// Take a picture or what has changed since the last, and the records since then.
export function take(news) {
  const before = state.picture;
  const picture = news.picture ?? (news.patch ? merged(before ?? {}, news.patch) : before);
  if (before && picture.run !== before.run) forget();
  if (picture && picture !== before) {
    state.picture = picture;
    keep(picture);
    const nodes = nodesOf(picture);
    for (const node of nodes) follow(node, picture.t);
    if (before && before.run === picture.run) noteTruncations(before, picture);
    for (const watch of state.watchers) watch(before, picture);
  }
  state.missed += news.missed ?? 0;
  if (news.records?.length) {
    state.records = kept(state.records.concat(news.records));
    state.recordsSeen += news.records.length;
  }
  redraw();
}

// Lines of logs are many, and go before events do.
function kept(records) {
  let surplus = records.length - RECORDS_MAX;
  if (surplus <= 0) return records;
  return records.filter((record) => record.source !== "log" || surplus-- <= 0).slice(-RECORDS_MAX);
}

// Another launcher, whose time begins anew.
function forget() {
  Object.assign(state, { history: [], records: [], truncations: [], shownAt: null });
  state.selected.clear();
  state.spans.clear();
}

function keep(picture) {
  state.history.push(picture);
  // Of long ago every other moment is enough.
  if (state.history.length > HISTORY_MAX)
    state.history = state.history.filter((_, at) => at > HISTORY_MAX / 2 || at % 2 === 0);
}

// A node's lane: how long it was what.
function follow(node, t) {
  const look = node.cut_off ? `${node.condition} cut-off` : node.condition;
  let spans = state.spans.get(node.id);
  if (!spans) state.spans.set(node.id, (spans = []));
  const last = spans.at(-1);
  if (last) last.to = t;
  if (last && last.look === look && (node.condition !== "leader" || last.term === node.term)) return;
  spans.push({ from: t, to: t, look, condition: node.condition, cutOff: node.cut_off ?? false, term: node.term });
  if (spans.length > SPANS_MAX) spans.splice(0, SPANS_MAX / 2);
}

function noteTruncations(before, after) {
  const gone = divergence(before);
  for (const [id, tail] of gone) {
    const now = after.nodes[id];
    if (!now || divergence(after).has(id) || now.condition !== before.nodes[id].condition) continue;
    state.truncations.push({ t: after.t, node: id, from: tail.from, to: tail.to, term: tail.term });
  }
  if (state.truncations.length > TRUNCATIONS_MAX) state.truncations.splice(0, TRUNCATIONS_MAX / 2);
}

let linking = 0;

// Show the cluster as it was at that moment; null: as it is. The page's address soon links to it.
export function showMoment(t) {
  state.shownAt = t;
  clearTimeout(linking);
  linking = setTimeout(() => history.replaceState(null, "", t === null ? "#" : `#t=${t.toFixed(2)}`), LINK_MS);
  redraw();
}

// A link to a moment.
export function readMoment() {
  const moment = /^#t=([0-9.]+)$/.exec(location.hash);
  if (moment) state.shownAt = Number(moment[1]);
}
