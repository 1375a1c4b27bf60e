"""What it costs to scrape a cluster every second: writes a second with and without, in turn.

Owns the turns (A B B A ...), so that what else the machine does falls on both alike, and the medians. The
exporter is the launcher's (`up --metrics`), asked over HTTP as Prometheus does.
"""

from __future__ import annotations

import argparse
import http.client
import statistics
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from benchmarks.cluster import running
from benchmarks.load import Figures, Load, measure_record
from raft.cluster.spec import ClusterRecord
from raft.exporter.server import listening

PERIOD_SECONDS = 1.0


class Scraper:
    """Asks for /metrics every second, for as long as its block lasts."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.count = 0

    @contextmanager
    def running(self) -> Iterator[None]:
        """Scrape, beginning now."""
        over = threading.Event()
        thread = threading.Thread(target=self._run, args=(over,))
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def scrape(self) -> int:
        """Ask once; the length of the answer in bytes."""
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=10.0)
        try:
            connection.request("GET", "/metrics")
            answer = connection.getresponse()
            text = answer.read()
            if answer.status != 200 or b"\nraft_node_up{" not in text:
                raise RuntimeError(f"the exporter answers {answer.status}: {text[:200]!r}")
        finally:
            connection.close()
        self.count += 1
        return len(text)

    def _run(self, over: threading.Event) -> None:
        while True:
            self.scrape()
            if over.wait(PERIOD_SECONDS):
                return


def median(turns: Sequence[Figures], field: str) -> float:
    """The median of one figure."""
    return float(statistics.median(getattr(turn, field) for turn in turns))


def main(arguments: Sequence[str]) -> int:
    """Measure in turn, print each, then the medians and what scrapes cost."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks scrapes", description=__doc__)
    parser.add_argument("--rounds", type=int, default=8, help="of one turn with scrapes and one without")
    parser.add_argument("--seconds", type=float, default=5.0, help="of each turn")
    parser.add_argument("--callers", type=int, default=64)
    parser.add_argument("--nodes", type=int, default=3)
    options = parser.parse_args(arguments)
    with listening("127.0.0.1", 0) as probe:
        port = probe.getsockname()[1]
    load = Load(callers=options.callers, seconds=options.seconds)
    found: dict[bool, list[Figures]] = {True: [], False: []}
    with running(options.nodes, "--metrics", f"127.0.0.1:{port}") as cluster:
        record, scraper = ClusterRecord.read(cluster.record_path), Scraper(port)
        length = scraper.scrape()
        for number in range(options.rounds):
            for scraped in (True, False) if number % 2 == 0 else (False, True):
                if scraped:
                    with scraper.running():
                        figures = measure_record(record, load)
                else:
                    figures = measure_record(record, load)
                found[scraped].append(figures)
                print(f"{'with   ' if scraped else 'without'} {figures.line()}", flush=True)
    print(f"{scraper.count} scrapes of {length:,} bytes; medians of {options.rounds} turns each:")
    for field, title in (("per_second", "writes a second"), ("servers_microseconds", "us of nodes a write")):
        cost, plain = median(found[True], field), median(found[False], field)
        print(f"{title}: {cost:,.1f} with, {plain:,.1f} without: {cost / plain - 1:+.2%}")
    return 0
