"""What the live page costs, and how quickly it shows a killed leader, in a real browser.

    python -m benchmarks live_page kill|cost|open [NODES]

kill: from the moment at which the launcher has seen a killed leader's process end until the page shows it.
cost: the processors' time of nodes, launcher, page's server and browser, with a viewer and without.
open: the browser's heap, minute by minute, of a page that is left open for ten minutes while clients write.

Needs what the extras `web` and `browser` bring, chromium and chromium-driver. All times depend on what else
runs on this machine, so its load is printed.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import partial

import psutil

from raft.cluster.records.events import NodeExited, NodeStarted
from tests.live.browser import Browser, chromium
from tests.processes.clusters import Cluster, running

ROUNDS = 10
COST_SECONDS = 15.0
SETTLE_SECONDS = 5.0  # In which nodes of a busy machine may be started again.
OPEN_MINUTES = 10
SLOW = ("--heartbeat", "200ms", "--election-timeout", "1s-2s")  # For many nodes on few processors.
WATCH = """
window.seen = {};
new MutationObserver(() => {
  for (const node of document.querySelectorAll('#ring .node.dead'))
    window.seen[node.dataset.node] ??= Date.now();
}).observe(document.getElementById('nodes'), { subtree: true, attributes: true, childList: true });
"""


def main(words: list[str]) -> None:
    """One of the measurements."""
    kinds: dict[str, Callable[[int], None]] = {"kill": kill, "cost": cost, "open": left_open}
    if not words or words[0] not in kinds:
        sys.exit(__doc__)
    kinds[words[0]](int(words[1]) if len(words) > 1 else 5)
    print(f"load of the machine: {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors")


@contextmanager
def page_of(cluster: Cluster) -> Iterator[tuple[str, psutil.Process]]:
    """The page's address, and the process that serves it."""
    command = [sys.executable, "launcher.py", "web", "--cluster", cluster.name]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            yield server.stdout.readline().strip(), psutil.Process(server.pid)
        finally:
            server.terminate()


def opened(browser: Browser, url: str) -> None:
    """Open the page, and wait for its first picture."""
    browser.size(1400)
    browser.driver.get(url)
    browser.until(lambda: "leads" in browser.text("#headline"))


def kill(nodes: int) -> None:
    """How long a killed leader is not shown as dead."""
    took: list[float] = []
    with running(nodes) as cluster, page_of(cluster) as (url, _), chromium() as browser:
        opened(browser, url)
        for _ in range(ROUNDS):
            browser.js(WATCH)
            after = len(cluster.read_events())
            cluster.verb("kill", "leader")
            ended = cluster.await_event(NodeExited, after=after)
            shown = browser.until(partial(browser.js, f"return window.seen[{ended.node}]"))
            took.append(shown - 1000 * datetime.fromisoformat(ended.wall).timestamp())
            cluster.verb("start", "all")
            browser.until(lambda: not browser.js("return document.querySelector('#ring .node.dead')"))
    median = statistics.median(took)
    print(f"a killed leader is shown after {median:.0f} ms (median of {ROUNDS}), {max(took):.0f} ms at most")


def cost(nodes: int) -> None:
    """The share of one processor that each process takes, with a viewer and without, in turn."""
    with running(nodes, *(SLOW if nodes > 9 else ())) as cluster, page_of(cluster) as (url, server):
        pause(SETTLE_SECONDS)
        pids = {event.node: event.pid for event in cluster.read_events() if isinstance(event, NodeStarted)}
        known = {
            "a node": [psutil.Process(pid) for pid in pids.values()],
            "the launcher": [psutil.Process(cluster.process.pid)],
            "the page's server": [server],
        }
        with chromium() as browser:
            shares: dict[tuple[str, bool], list[float]] = {}
            for watched in (False, True) * 2:
                browser.driver.get("about:blank")
                if watched:
                    opened(browser, url)
                pause(2.0)
                for name, share in measured(known, browser).items():
                    shares.setdefault((name, watched), []).append(share)
    for name in dict.fromkeys(name for name, _ in shares):
        without, with_viewer = (statistics.mean(shares[name, watched]) for watched in (False, True))
        print(f"{name:18} {without:6.2f} % without a viewer, {with_viewer:6.2f} % with one")


def measured(known: dict[str, list[psutil.Process]], browser: Browser) -> dict[str, float]:
    """The mean share of one processor, in per cent, by name; of the browser all of its processes together."""
    chrome = psutil.Process(browser.driver.service.process.pid).children(recursive=True)
    groups = {**known, "the browser": chrome}
    before = {name: used(group) for name, group in groups.items()}
    begun = time.monotonic()
    pause(COST_SECONDS)
    seconds = time.monotonic() - begun
    return {
        name: 100 * (used(group) - before[name]) / seconds / (1 if name == "the browser" else len(group))
        for name, group in groups.items()
    }


def used(group: list[psutil.Process]) -> float:
    """Seconds of processor time so far."""
    return sum(sum(process.cpu_times()[:2]) for process in group)


def left_open(nodes: int) -> None:
    """The heap and the elements of a page that stays open."""
    with running(nodes) as cluster, page_of(cluster) as (url, _), chromium() as browser:
        opened(browser, url)
        for minute in range(OPEN_MINUTES + 1):
            browser.driver.execute_cdp_cmd("HeapProfiler.collectGarbage", {})
            heap = browser.driver.execute_cdp_cmd("Runtime.getHeapUsage", {})["usedSize"]
            elements = browser.js("return document.querySelectorAll('*').length")
            print(f"{minute:3} min  {heap / 1e6:6.1f} MB  {elements} elements", flush=True)
            until, number = time.monotonic() + 60.0, 0
            while minute < OPEN_MINUTES and time.monotonic() < until:
                number += 1
                cluster.verb("put", f"key{number % 50}", "value")
                pause(0.5)


def pause(seconds: float) -> None:
    """Let something go on for a while."""
    time.sleep(seconds)


if __name__ == "__main__":
    main(sys.argv[1:])
