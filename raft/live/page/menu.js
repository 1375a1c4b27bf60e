// What can be done: menus, each entry with its command line, and the orders that come of them.
import { byId, make } from "./dom.js";
import { launcherOf, state } from "./state.js";

export const commandOf = (action, nodes, to = []) =>
  action.words.replace("{nodes}", nodes.join(",")).replace("{to}", to.join(","));

// What nodes do themselves; the rest is a launcher's.
const OF_NODES = ["transfer", "snapshot"];

export const offered = () => state.readOnly ? [] : launcherOf(state.picture) ? state.menu
  : state.menu.filter((action) => OF_NODES.includes(action.name));

export const actionsOn = (...kinds) => offered().filter((action) => kinds.includes(action.on));

export async function order(action, nodes = [], to = []) {
  const answer = byId("answer");
  const say = (text, failed) => {
    answer.className = failed ? "failed" : "";
    answer.textContent = text;
  };
  say(`raft-actors ${commandOf(action, nodes, to)} …`, false);
  try {
    const response = await fetch("order", {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ action: action.name, nodes, to }),
    });
    const told = await response.json();
    say(response.ok ? [`$ ${told.command}`, ...told.lines].join(" · ") : told.error, !response.ok);
  } catch (error) {
    say(`the page's server does not answer: ${error.message}`, true);
  }
}

export function openMenu(title, facts, items) {
  byId("menu-title").textContent = title;
  byId("menu-facts").replaceChildren(
    ...facts.flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, value)]));
  byId("menu-items").replaceChildren(...items);
  byId("menu").showModal();
}

export const closeMenu = () => byId("menu").close();

export function actionButton(action, nodes, to = []) {
  const run = () => { closeMenu(); order(action, nodes, to); };
  return make("button", { type: "button", onclick: run, "data-action": action.name }, action.label,
    make("code", {}, `raft-actors ${commandOf(action, nodes, to)}`));
}

export const watchMenu = () => byId("menu-close").addEventListener("click", closeMenu);
