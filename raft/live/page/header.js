// The first lines: who leads, since when, why the last one ended; what is broken, who is missing; what must hold.
import { byId, changed, faultWords, make } from "./dom.js";
import { launcherOf, nodesOf, shown, state } from "./state.js";

const named = (nodes) => nodes.map((node) => `n${node.id}`).join(" ");

export function drawHeader() {
  const picture = shown();
  const past = state.shownAt !== null && picture && !state.run ? `At ${picture.t.toFixed(1)} s, not live. ` : "";
  const missed = state.missed ? `${state.missed} events or log lines were left out. ` : "";
  const words = [state.lost, picture?.incomplete ?? "", past + missed].filter(Boolean).join(" — ").trim();
  if (changed("banner", words)) {
    byId("banner").textContent = words;
    byId("banner").hidden = !words;
  }
  if (!picture) return;
  const summary = summaryOf(picture);
  if (!changed("header", picture.headline, picture.cluster, picture.invariants, picture.reachable, picture.voters,
    picture.can_lose, summary)) return;
  byId("headline").textContent = picture.headline;
  if (!state.run) document.title = `${picture.leader ? `n${picture.leader}` : "no leader"} · ${picture.cluster || "raft-actors"}`;
  byId("cluster").textContent = picture.voters
    ? `${picture.cluster ? `cluster ${picture.cluster}: ` : ""}${picture.reachable ?? 0} of ${picture.voters} voters hear each other, ` +
      `${picture.needed} needed, can lose ${picture.can_lose ?? 0}`
    : "";
  byId("summary").replaceChildren(...summary.map(([name, value]) =>
    make("li", { class: name }, make("b", {}, name), ` ${value}`)));
  byId("invariants").replaceChildren(...(picture.invariants ?? []).map((one) =>
    make("li", { class: one.holds ? "holds" : "broken", title: one.text },
      `${one.holds ? "✓" : "✗ BROKEN:"} ${one.name}${one.holds ? "" : `: ${one.text}`}`)));
}

function summaryOf(picture) {
  const nodes = nodesOf(picture), faults = (picture.faults ?? []).map(faultWords);
  const groups = [
    ["broken", faults.slice(0, 4).join("; ") + (faults.length > 4 ? `; and ${faults.length - 4} more` : "")],
    ["dead", named(nodes.filter((node) => ["dead", "gave-up"].includes(node.condition)))],
    ["paused", named(nodes.filter((node) => node.condition === "paused"))],
    ["silent", named(nodes.filter((node) => node.silent || node.condition === "unreachable"))],
    ["cut off", named(nodes.filter((node) => node.cut_off))],
    ["hear each other only", (picture.groups ?? []).map((group) => group.map((id) => `n${id}`).join(" ")).join(" | ")],
  ].filter(([, value]) => value);
  return groups.length ? groups : [["nothing", launcherOf(picture) ? "is broken" : "is seen to be broken"]];
}

// What a screen reader says of its own accord.
export function announce(before, after) {
  if (before?.leader !== after.leader || before?.term !== after.term) byId("said").textContent = after.headline;
}
