"""Scrape a cluster with a real Prometheus while it is broken; check alerts and dashboard, and draw it.

    python docs/pictures/dashboard.py [FILE]

Needs Debian's package prometheus. Fails if an expression of the dashboard has no data, or if RaftNoLeader
does not fire and clear. Owns the story and the drawing; the faults are the launcher's verbs.
"""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from raft.client import Client
from raft.cluster.rundir import find
from raft.cluster.spec import ClusterRecord
from raft.engines.alerts import alert_rules
from raft.engines.dashboard import PANELS
from raft.lab.reports.svg import Scale, element, line, polyline, text

HERE = Path(__file__).resolve().parent
LAUNCHER = HERE.parent.parent / "launcher.py"
NAME = "dashboard"
SCRAPE_SECONDS = 1
PAUSE_SECONDS = 40.0
WIDTH, HEIGHT, COLUMNS = 300, 120, 3
COLOURS = ("#3366cc", "#dc3912", "#109618", "#ff9900", "#990099", "#0099c6", "#dd4477", "#66aa00", "#888888")


def free_port() -> int:
    """A port that nothing listens at now."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


def verb(*words: str) -> None:
    """One verb of the launcher."""
    command = [sys.executable, str(LAUNCHER), *words, "--cluster", NAME, "--quiet"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    print(f"{' '.join(words)}{': ' if done.stderr else ''}{done.stderr.strip()}", flush=True)


class Prometheus:
    """One that scrapes a single target, until it is closed."""

    def __init__(self, directory: Path, target: int) -> None:
        self._port = free_port()
        (directory / "raft.rules.yml").write_text(alert_rules())
        (directory / "prometheus.yml").write_text(
            f"global: {{scrape_interval: {SCRAPE_SECONDS}s, evaluation_interval: 1s}}\n"
            "rule_files: [raft.rules.yml]\n"
            f"scrape_configs: [{{job_name: raft, static_configs: [{{targets: ['127.0.0.1:{target}']}}]}}]\n"
        )
        command = [
            "prometheus", f"--config.file={directory}/prometheus.yml",
            f"--storage.tsdb.path={directory}/data", f"--web.listen-address=127.0.0.1:{self._port}",
            "--log.level=error",
        ]  # fmt: skip
        self._process = subprocess.Popen(command)

    def close(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.wait()

    def get(self, path: str, **query: str) -> Any:
        """The data of its answer; None while it does not listen yet."""
        url = f"http://127.0.0.1:{self._port}/api/v1/{path}?{urllib.parse.urlencode(query)}"
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(url) as answer:
                return json.load(answer)["data"]
        except OSError:
            return None

    def firing(self) -> set[str]:
        """The alerts that fire now."""
        alerts = (self.get("alerts") or {"alerts": []})["alerts"]
        return {alert["labels"]["alertname"] for alert in alerts if alert["state"] == "firing"}

    def until(self, alert: str, *, fires: bool, seconds: float = 90.0) -> float:
        """Wait until an alert fires, or does not any more; how long it took."""
        begun = time.monotonic()
        while (alert in self.firing()) is not fires:
            assert time.monotonic() - begun < seconds, f"{alert}: not within {seconds} s"
            time.sleep(0.2)
        return time.monotonic() - begun


class Load:
    """Commands, reads, leases and a watch at an even pace, whatever happens to them."""

    def __init__(self) -> None:
        record = ClusterRecord.read(find(NAME).record)
        self._endpoints = {node.id: node.endpoint for node in record.nodes}
        self._cluster = record.cluster
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(number,)) for number in range(4)]
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """Stop."""
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _run(self, number: int) -> None:
        count = 0
        with Client(self._endpoints, cluster=self._cluster, timeout_seconds=2.0) as client:
            while not self._over.wait(0.01):
                count += 1
                with contextlib.suppress(Exception):
                    client.put(b"key%d-%d" % (number, count % 500), b"v" * 100)
                    if count % 4 == 0:
                        client.get(b"key%d-%d" % (number, count % 500))
                    if count % 200 == 1:
                        client.get(b"key", stale=True)
                        client.grant(5.0)


def main(arguments: list[str]) -> None:
    """Go through the story, check, and draw."""
    picture = Path(arguments[0]) if arguments else HERE / "dashboard.svg"
    port = free_port()
    verb_up = ["up", "--nodes", "3", "--name", NAME, "--detach", "--metrics", f"127.0.0.1:{port}"]
    subprocess.run([sys.executable, str(LAUNCHER), *verb_up], check=True)
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        stack.callback(verb, "down")
        prometheus = stack.enter_context(contextlib.closing(Prometheus(Path(name), port)))
        load = Load()
        stack.callback(load.close)
        begun = time.time_ns() / 1e9
        tell(prometheus)
        ended = time.time_ns() / 1e9
        without = [expression for expression in series_of(prometheus, begun, ended) if not expression[2]]
        assert not without, without
        print(f"{sum(len(panel.series) for panel in PANELS)} expressions, each with data")
        picture.write_text(drawn(prometheus, begun, ended), encoding="utf-8")
        load.close()


def tell(prometheus: Prometheus) -> None:
    """What happens, and which alerts that has to raise."""
    time.sleep(15)
    verb("kill", "leader", "--restart-after", "5s")
    time.sleep(15)
    verb("partition", "leader", "followers")
    time.sleep(10)
    verb("heal")
    verb("disk", "leader", "--fsync-delay", "150ms")
    time.sleep(10)
    verb("disk", "all", "--clear")
    time.sleep(5)
    verb("pause", "random:2")
    seconds = prometheus.until("RaftNoLeader", fires=True)
    print(f"RaftNoLeader fires {seconds:.1f} s after two of three nodes were paused", flush=True)
    verb("resume", "all")
    seconds = prometheus.until("RaftNoLeader", fires=False)
    print(f"RaftNoLeader clears {seconds:.1f} s after they went on", flush=True)
    time.sleep(15)


def series_of(prometheus: Prometheus, begun: float, ended: float) -> Iterator[tuple[str, str, list[Any]]]:
    """The panels' expressions as Grafana would ask them, each with its panel and its results."""
    for panel in PANELS:
        for expression, _ in panel.series:
            asked = expression.replace("$cluster", ".*").replace("$__rate_interval", "5s")
            data = prometheus.get(
                "query_range", query=asked, start=f"{begun:.3f}", end=f"{ended:.3f}", step="1"
            )
            yield panel.title, expression, data["result"]


def drawn(prometheus: Prometheus, begun: float, ended: float) -> str:
    """All panels, as one picture."""
    by_panel: dict[str, list[Any]] = {panel.title: [] for panel in PANELS}
    for title, _, results in series_of(prometheus, begun, ended):
        by_panel[title] += results
    x = Scale(begun, ended, 44, WIDTH - 10)
    parts = []
    for number, panel in enumerate(PANELS):
        at = f"translate({number % COLUMNS * WIDTH},{number // COLUMNS * HEIGHT})"
        parts.append(element("g", "".join(plotted(panel.title, by_panel[panel.title], x)), transform=at))
    style = (
        "<style>text{font:10px sans-serif;fill:#333}.title{font-weight:bold}.grid{stroke:#ddd}"
        "polyline{fill:none;stroke-width:1.2}</style><rect width='100%' height='100%' fill='#fff'/>"
    )
    rows = -(-len(PANELS) // COLUMNS)
    size = {"width": COLUMNS * WIDTH, "height": rows * HEIGHT}
    return element("svg", style + "".join(parts), xmlns="http://www.w3.org/2000/svg", **size) + "\n"


def plotted(title: str, results: list[Any], x: Scale) -> Iterator[str]:
    """One panel."""
    points = [
        [(float(at), float(value)) for at, value in result["values"] if value != "NaN"] for result in results
    ]
    high = max((value for series in points for _, value in series), default=1.0) or 1.0
    y = Scale(0.0, high, HEIGHT - 14, 22)
    yield text(8, 14, title, "title")
    for tick in y.ticks(3):
        yield line(x.begin, y(tick), x.end, y(tick), "grid") + text(
            40, y(tick) + 3, f"{tick:g}", anchor="end"
        )
    for number, series in enumerate(points):
        plot = polyline([(x(at), y(value)) for at, value in series], "")
        yield plot.replace("<polyline", f'<polyline stroke="{COLOURS[number % len(COLOURS)]}"')


if __name__ == "__main__":
    main(sys.argv[1:])
