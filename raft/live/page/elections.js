// The stories of the elections: who asked whom, in which term, who gave its vote, who refused and why.
import { byId, changed, make } from "./dom.js";
import { shown } from "./state.js";

const SHOWN = 12;

export function drawElections() {
  const picture = shown();
  if (!picture || !changed("elections", picture.elections)) return;
  const stories = (picture.elections ?? []).slice(-SHOWN).reverse();
  byId("elections").replaceChildren(...stories.map(story));
  byId("elections-words").hidden = stories.length > 0;
}

function story(one) {
  const what = one.pre ? "asks before it campaigns (pre-vote)" : "asks for votes";
  const silent = one.asked.filter((voter) => !one.answers.some((answer) => answer.voter === voter));
  const items = one.answers.map((answer) => answer.granted
    ? make("li", { class: "given" }, `✓ n${answer.voter} gives it`)
    : make("li", { class: "refused" }, `✗ n${answer.voter} refuses${answer.reason ? `: ${answer.reason}` : ""}`));
  if (silent.length) items.push(make("li", { class: "soft" }, `no answer known of ${silent.map((id) => `n${id}`).join(" ")}`));
  return make("li", {},
    make("p", {}, make("b", {}, `n${one.candidate}`), ` ${what} in term ${one.term}, at ${one.t.toFixed(2)} s${one.times > 1 ? `, ${one.times} times` : ""}`,
      one.won ? make("b", { class: "given" }, one.pre ? " → it may" : " → it leads") : ""),
    make("ul", {}, ...items));
}
