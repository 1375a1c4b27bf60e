// Leaders so far, faults in force with what ends each, and the leases of the leader.
import { byId, changed, draw, faultWords, make, spell } from "./dom.js";
import { commandOf, offered, order } from "./menu.js";
import { launcherOf, shown, state } from "./state.js";

const row = (...cells) => make("tr", {}, ...cells.map((cell) => make("td", {}, cell)));

export function drawLeaders() {
  const picture = shown();
  if (!picture || !changed("leaders", picture.leaders)) return;
  byId("leaders").replaceChildren(...[...(picture.leaders ?? [])].reverse().map((one) =>
    row(one.term, `n${one.node}`, one.ended ? spell(one.lasted_s) : "leads", one.votes || "–",
      one.votes ? `${one.reason}, in ${Math.round(one.took_ms)} ms` : one.reason, one.ended ?? "")));
}

const NOTHING = "nothing. Click a node, or a way in the matrix, to break it.";
const NOTHING_TOLD = "nothing of which the nodes tell. Only a launcher knows all that is broken on purpose, and can break or heal it.";

export function drawFaults() {
  const picture = shown();
  if (!picture || !changed("faults", picture.faults, picture.run, state.readOnly, state.menu.length)) return;
  const faults = picture.faults ?? [], named = (name) => offered().find((action) => action.name === name);
  const heal = (action, ids, label) => !action ? [] : [make("button", {
    type: "button", "data-action": action.name, title: `raft-actors ${commandOf(action, ids)}`,
    onclick: () => order(action, ids),
  }, label)];
  const items = faults.map((fault) => make("li", {},
    make("span", { class: "what" }, faultWords(fault)),
    ...(fault.heal && !state.run ? [make("code", {}, fault.heal)] : []), ...heal(named("clear"), [fault.id], "Heal")));
  if (!faults.length) items.push(make("li", { class: "none" }, !launcherOf(picture) ? NOTHING_TOLD : state.readOnly ? "nothing" : NOTHING));
  if (faults.length > 1) items.push(make("li", {}, ...heal(named("clear-all"), [], "Heal everything")));
  byId("faults").replaceChildren(...items);
}

export function drawLeases() {
  const picture = shown();
  if (!picture || !changed("leases", picture.leases, picture.leases_count)) return;
  const leases = picture.leases ?? [], more = (picture.leases_count ?? 0) - leases.length;
  byId("leases").replaceChildren(...leases.map((one) => row(one.id, left(one),
    one.attached.join(", ") + (one.count > one.attached.length ? ` and ${one.count - one.attached.length} more` : "") || "–")));
  byId("leases-words").textContent = more > 0 ? `and ${more} more` : leases.length ? "" : "none";
}

function left(lease) {
  const bar = draw("svg", { class: "left", viewBox: "0 0 60 8", "aria-hidden": "true" },
    draw("rect", { class: "track", width: 60, height: 8, rx: 2 }),
    draw("rect", { class: "rest", width: 60 * Math.min(lease.left / Math.max(lease.ttl, 0.001), 1), height: 8, rx: 2 }));
  return make("span", { class: "with-bar" }, bar, `${spell(lease.left)} of ${spell(lease.ttl)}`);
}

export function drawClients() {
  const load = shown()?.load;
  if (!changed("clients", load ?? null)) return;
  const took = load?.p50_ms ? `; a commit takes ${load.p50_ms.toFixed(1)} ms (p50), ${load.p99_ms.toFixed(1)} ms (p99)` : "";
  byId("clients").textContent = load
    ? `clients: ${load.writes_per_second.toFixed(0)} writes and ${load.reads_per_second.toFixed(0)} reads a second${took}` : "";
}
