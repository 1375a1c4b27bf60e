// The scene of a guided tour: its words, its commands as they are carried out, and the way on.
import { byId, changed, make } from "./dom.js";
import { order } from "./menu.js";
import { state } from "./state.js";

export function drawScene() {
  const scene = state.picture?.scene, panel = byId("scene");
  if (!changed("scene", scene ?? null)) return;
  panel.hidden = !scene;
  if (!scene) return;
  const go = make("button", { type: "button", disabled: !scene.waits, "data-action": "go-on",
    onclick: () => order({ name: "go-on", words: "" }) }, scene.waits ? "Go on" : "…");
  panel.replaceChildren(
    make("h2", {}, scene.number ? `Scene ${scene.number} of ${scene.of}: ${scene.title}` : scene.title), make("p", {}, scene.words),
    make("ol", {}, ...scene.steps.map((step) => make("li", {}, make("code", {}, `$ raft-actors ${step.command}`),
      make("pre", {}, step.said), step.look ? make("p", { class: "look-for" }, `→ ${step.look}`) : ""))),
    go);
}
