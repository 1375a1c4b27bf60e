// The page of a run that is over: the same parts as those of a live cluster, fed from the file itself.
import { byId, paints, redraw } from "./dom.js";
import { drawHeader } from "./header.js";
import { drawMatrix, watchMatrix } from "./matrix.js";
import { watchMenu } from "./menu.js";
import { drawOperations, watchOperations } from "./operations.js";
import { drawFaults } from "./panels.js";
import { drawRecords, watchRecords } from "./records.js";
import { drawLegend, drawRing } from "./ring.js";
import { readMoment, state, take } from "./state.js";
import { drawTime, watchTime } from "./timeline.js";

// What no event of a run tells.
for (const id of ["logs-panel", "elections-panel", "leases-panel", "leaders-panel"]) byId(id).remove();
const data = JSON.parse(byId("run-data").textContent);
Object.assign(state, { run: true, measured: data.measured });
for (const news of data.news) take(news);
state.spanSeconds = Math.max(state.picture.t - state.history[0].t, 1);

// What a reader looks for: what went wrong, or else what was broken first.
function firstMoment() {
  const anomaly = data.clients?.anomalies[0], fault = state.records.find((record) => record.kind === "fault");
  if (anomaly) return (anomaly.from + anomaly.to) / 2;
  return fault ? Math.min(fault.t + 0.1, state.picture.t) : null;
}

watchMenu();
watchMatrix();
watchTime();
watchRecords();
watchOperations(data.clients);
paints(drawHeader, drawRing, drawLegend, drawFaults, drawMatrix, drawTime, drawOperations, drawRecords);
state.shownAt = firstMoment();
readMoment();
addEventListener("resize", redraw);
redraw();
