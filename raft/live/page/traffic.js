// Messages as moving dots: entries that followers have acknowledged, votes asked, given and refused.
// Some are drawn, all are counted. Nothing moves while a moment of the past is shown, or if motion is unwanted.
import { byId, changed, draw } from "./dom.js";
import { placeOf } from "./ring.js";
import { state } from "./state.js";

const DOTS_MAX = 24, MOVE_MS = 600, COUNT_SECONDS = 2;
const still = matchMedia("(prefers-reduced-motion: reduce)");
let counted = [], dots = 0, storiesSeen = "";

// What has travelled between two pictures.
export function watchTraffic(before, after) {
  if (!before || before.run !== after.run) return;
  const moved = [...entries(before, after), ...votes(after)];
  counted = counted.filter((one) => after.t - one.t < COUNT_SECONDS);
  counted.push(...moved.filter((one) => one.count).map((one) => ({ t: after.t, way: one.to, count: one.count })));
  if (state.shownAt !== null || document.hidden || still.matches) return;
  for (const one of moved.slice(0, DOTS_MAX - dots)) send(one);
}

function entries(before, after) {
  const leader = after.nodes?.[after.leader], old = before.nodes?.[after.leader];
  if (!leader?.match || !old?.match) return [];
  return Object.entries(leader.match)
    .map(([peer, match]) => ({ from: after.leader, to: Number(peer), count: match - (old.match[peer] ?? match), kind: "entries" }))
    .filter((one) => one.to !== one.from && one.count > 0);
}

function votes(after) {
  const newest = after.elections?.at(-1), key = JSON.stringify(newest ?? "");
  if (key === storiesSeen) return [];
  const first = storiesSeen === "";
  storiesSeen = key;
  if (first || !newest || after.t - newest.t > 5) return [];
  return [
    ...newest.asked.map((voter) => ({ from: newest.candidate, to: voter, kind: "asked" })),
    ...newest.answers.map((one) => ({ from: one.voter, to: newest.candidate, kind: one.granted ? "given" : "refused" })),
  ];
}

function send({ from, to, count, kind }) {
  const [a, b] = [placeOf(from), placeOf(to)];
  if (!a || !b) return;
  const dot = draw("g", { class: `dot ${kind}` }, draw("circle", { r: kind === "entries" ? 3 : 4 }));
  if (count > 1) dot.append(draw("text", { y: -5, "text-anchor": "middle", "font-size": 8 }, count));
  byId("traffic").append(dot);
  dots += 1;
  const at = ([x, y]) => ({ transform: `translate(${x}px, ${y}px)` });
  const done = () => { dot.remove(); dots -= 1; };
  const moving = dot.animate([at(a), at(b)], { duration: MOVE_MS, easing: "ease-in-out" });
  moving.onfinish = done;
  moving.oncancel = done;
}

export function drawTraffic() {
  const recent = counted.filter((one) => (state.picture?.t ?? 0) - one.t < COUNT_SECONDS);
  const total = recent.reduce((sum, one) => sum + one.count, 0), ways = new Set(recent.map((one) => one.way)).size;
  const words = state.shownAt !== null ? "" : total
    ? `${Math.round(total / COUNT_SECONDS)} entries a second acknowledged by ${ways} follower${ways > 1 ? "s" : ""}; some are drawn`
    : "no entries on their way";
  if (changed("traffic", words)) byId("traffic-words").textContent = words;
}
