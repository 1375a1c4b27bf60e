// The page of a cluster that runs: the feed arrives as server-sent events, and the page draws what it says.
import { byId, paints, redraw } from "./dom.js";
import { drawElections } from "./elections.js";
import { announce, drawHeader } from "./header.js";
import { drawLogs } from "./logs.js";
import { drawMatrix, watchMatrix } from "./matrix.js";
import { watchMenu } from "./menu.js";
import { drawClients, drawFaults, drawLeaders, drawLeases } from "./panels.js";
import { drawRecords, watchRecords } from "./records.js";
import { drawLegend, drawRing } from "./ring.js";
import { drawScene } from "./scene.js";
import { readMoment, state, take } from "./state.js";
import { drawTime, watchTime } from "./timeline.js";
import { drawTraffic, watchTraffic } from "./traffic.js";

const AGAIN_MS = 2000, STALE_MS = 3500;
const EXPIRED = "this address is no longer valid: the page was started anew with another secret. "
  + "Open the address that it has printed";
let source = null, expired = false;

function connect() {
  source?.close();
  source = new EventSource("feed");
  source.addEventListener("hello", (event) => {
    const hello = JSON.parse(event.data);
    Object.assign(state, { menu: hello.menu, readOnly: hello.read_only ?? false, records: [] }); // All comes again.
    heard();
  });
  source.addEventListener("news", (event) => {
    heard();
    take(JSON.parse(event.data));
  });
  source.onerror = () => {
    state.connected = false;
    if (source.readyState === EventSource.CLOSED) refused();
    redraw();
  };
}

function heard() {
  Object.assign(state, { connected: true, heardAt: performance.now() });
  expired = false;
}

// A server that was started anew may have another secret, which only the user can find out.
async function refused() {
  try {
    expired = (await fetch("page.css", { cache: "no-store" })).status === 403;
  } catch {
    expired = false; // Nothing answers at all.
  }
  setTimeout(connect, AGAIN_MS);
}

setInterval(() => {
  const silent = performance.now() - state.heardAt, since = state.heardAt ? ` for ${Math.round(silent / 1000)} s` : "";
  let lost = "";
  if (!state.connected || silent > STALE_MS)
    lost = expired ? EXPIRED : `no word from the page's server${since}: what you see is old; trying again`;
  if (lost === state.lost) return;
  state.lost = lost;
  redraw();
}, 500);

state.watchers.push(announce, watchTraffic);
paints(drawHeader, drawClients, drawScene, drawRing, drawLegend, drawTraffic, drawFaults, drawMatrix, drawLogs,
  drawTime, drawElections, drawLeaders, drawLeases, drawRecords);
watchMenu();
watchMatrix();
watchTime();
watchRecords();
document.addEventListener("visibilitychange", redraw);
addEventListener("resize", redraw);
readMoment();
connect();
