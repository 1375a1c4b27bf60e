// The last entries of each log, coloured by term: how far they are committed, how far the leader knows them to
// match, which tails the leader does not have, and which have been cut off just now.
import { byId, changed, colourOf, draw, label, tip, unit } from "./dom.js";
import { divergence } from "./divergence.js";
import { nodesOf, shown, state } from "./state.js";

const WINDOW = 32, GHOST_SECONDS = 6, LEFT = 34, RIGHT = 44;

export function drawLogs() {
  const picture = shown(), panel = byId("logs-panel");
  if (!picture || panel.hidden) return;
  const nodes = nodesOf(picture), leader = picture.nodes?.[picture.leader];
  const wide = Math.max((panel.clientWidth - 24) / unit(), 200), tails = divergence(picture);
  const ghosts = state.truncations.filter((one) => picture.t >= one.t && picture.t - one.t < GHOST_SECONDS);
  if (!changed("logs", wide, nodes.map((n) => [n.id, n.last, n.commit, n.start, n.log]), leader?.match, leader?.next,
    ghosts.length)) return;
  const high = Math.max(1, ...nodes.map((node) => node.last), ...ghosts.map((one) => one.to));
  const low = Math.max(1, high - WINDOW + 1), row = nodes.length > 20 ? 14 : nodes.length > 9 ? 22 : 34;
  const step = (wide - LEFT - RIGHT) / (high - low + 1);
  const x = (index) => LEFT + (index - low) * step;
  const scale = { low, high, step, wide, row, bar: row > 30 ? row - 12 : row - 5, x };
  const marks = nodes.flatMap((node, at) => [
    ...bar(node, at * row, scale), ...follows(node, leader, at * row, scale),
    ...tail(tails.get(node.id), at * row, scale),
    ...ghosts.filter((one) => one.node === node.id).flatMap((one) => ghost(one, at * row, scale)),
  ]);
  const logs = byId("logs");
  logs.setAttribute("viewBox", `0 0 ${wide} ${nodes.length * row + 4}`);
  const words = (node) => `n${node.id}: last ${node.last}, commit ${node.commit}`
    + (tails.has(node.id) ? ", a tail that the leader does not have" : "");
  logs.setAttribute("aria-label", nodes.map(words).join("; "));
  logs.replaceChildren(...marks);
}

function bar(node, y, { low, step, wide, row, bar: high, x }) {
  const parts = [
    label(`n${node.id}`, LEFT - 6, y + high * 0.8, { size: 11, anchor: "end" }),
    draw("rect", { class: "track", x: LEFT, y, width: wide - LEFT - RIGHT, height: high, rx: 2 }),
  ];
  if (node.start > low && node.last)
    parts.push(draw("rect", { class: "in-snapshot", x: LEFT, y: y + high * 0.35, height: high * 0.3,
      width: (Math.min(node.start, node.last + 1) - low) * step }, tip(`n${node.id}: up to ${node.start - 1} in a snapshot`)));
  node.log.forEach(([start, term], place) => {
    const from = Math.max(start, low), end = node.log[place + 1]?.[0] ?? node.last + 1, width = (end - from) * step;
    if (end <= low) return;
    const fill = colourOf(term);
    parts.push(draw("rect", { fill, x: x(from), y, width: Math.max(width - 1, 1), height: high, rx: 2 }));
    if (width > 24 && row > 14) parts.push(label(`t${term}`, x(from) + 4, y + high * 0.78, { name: "term-label" }));
  });
  if (node.commit >= low) {
    const at = x(node.commit + 1) - 1;
    parts.push(draw("line", { class: "commit-line", x1: at, x2: at, y1: y - 1, y2: y + high + 2 }));
  }
  parts.push(label(node.last || "–", wide - RIGHT + 6, y + high * 0.8, { size: 11 }));
  return parts;
}

// A triangle: up to here the leader knows the log to match. A hollow one: what it sends next, if that is not the
// entry after it.
function follows(node, leader, y, { low, high, step, bar: tall, x }) {
  const marks = [], match = leader?.match?.[node.id], next = leader?.next?.[node.id];
  const mark = (at, name) => {
    const mx = Math.min(x(at + 1), x(high + 1)) - step / 2 - 1;
    return draw("path", { class: name, d: `M${mx - 3} ${y + tall + 4}h6l-3 -5z` });
  };
  if (match >= low) marks.push(mark(match, "match-mark"));
  if (node.id !== leader?.id && next >= low && next !== match + 1) marks.push(mark(next, "next-mark"));
  return marks;
}

function tail(found, y, { low, step, bar: high, x }) {
  if (!found || found.to < low) return [];
  const from = Math.max(found.from, low), words = `${found.to - found.from + 1} entries that the leader does not have`;
  return [draw("rect", { class: "tail", x: x(from), y: y - 1, width: (found.to + 1 - from) * step, height: high + 2 },
    tip(words))];
}

function ghost(one, y, { low, step, bar: high, x }) {
  const from = Math.max(one.from, low), to = Math.max(one.to, from), width = (to + 1 - from) * step;
  if (one.to < low) return [];
  return [
    draw("rect", { class: "cut-away", x: x(from), y: y - 1, width, height: high + 2 }),
    draw("line", { class: "cut-away", x1: x(from), x2: x(from) + width, y1: y + high / 2, y2: y + high / 2 }),
    label(`−${one.to - one.from + 1} of t${one.term}`, x(from) + 3, y + high + 9, { size: 9, name: "cut-words" }),
  ];
}
