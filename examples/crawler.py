"""Crawl a site with a pool of workers, each fetching several pages at once, while one of them is killed.

    python examples/crawler.py

The crawler pulls: each worker has at most so many pages in its hands, so that neither a mailbox nor the
site is flooded. What a dead worker had is fetched again by another one, since fetching a page twice does
no harm. In place of the site here is a function; put a request of an HTTP library there.
"""

import asyncio
import os
import signal
from collections import deque

import msgspec

from actors import (
    Actor,
    GroupChanged,
    ProcessSystem,
    Request,
    Router,
    Routing,
    answers,
    handles,
)
from actors.errors import AskFailed

PAGES = 200
WORKERS = 3
IN_HAND = 8
START = "/0"


class Page(msgspec.Struct, frozen=True):
    """What was found at a path."""

    path: str
    links: tuple[str, ...]
    pid: int


class Fetch(Request[Page], frozen=True):
    """Asks for the page at a path."""

    path: str


class Progress(msgspec.Struct, frozen=True):
    """How far the crawl is."""

    fetched: int
    lost: int
    workers: int
    done: bool


class GetProgress(Request[Progress], frozen=True):
    """Asks the crawler how far it is."""


async def fetch(path: str) -> tuple[str, ...]:
    """The links of a page, after as long as a site takes to answer."""
    await asyncio.sleep(0.01)
    number = int(path[1:])
    return tuple(f"/{link}" for link in (2 * number + 1, 2 * number + 2, number // 3) if link < PAGES)


class Fetcher(Actor):
    """Fetches several pages at once: while one is waited for, the next is asked for."""

    reentrant = True

    @answers(Fetch)
    async def fetch(self, asked: Fetch) -> Page:
        """Fetch one page."""
        return Page(asked.path, await fetch(asked.path), os.getpid())


class Crawler(Actor):
    """Gives out the paths that were found, each once, as the workers have hands free."""

    def __init__(self, start: str, group: str) -> None:
        self.group = group
        self.todo = deque([start])
        self.seen = {start}
        self.open = 0
        self.fetched = 0
        self.lost = 0
        self.pids: set[int] = set()

    def on_start(self) -> None:
        """Find the workers, now and whenever there are others."""
        self.router = Router(self.context, routing=Routing.LEAST_LOADED, name=self.group)
        self.context.directory.monitor_group(self.group)

    @handles(GroupChanged)
    def on_workers(self, changed: GroupChanged) -> None:
        """A worker has come or gone."""
        self.router.update(changed.members)
        self.give_out()

    def give_out(self) -> None:
        """Ask for what there are hands for."""
        while self.todo and self.open < IN_HAND * len(self.router.members):
            self.open += 1
            fetch = Fetch(self.todo.popleft())
            self.router.ask(fetch, timeout_seconds=10.0, retries=5).then(self.on_page, self.on_failure)

    def on_page(self, page: Page) -> None:
        """Note the links that are new."""
        self.open -= 1
        self.fetched += 1
        self.pids.add(page.pid)
        new = [link for link in page.links if link not in self.seen]
        self.seen.update(new)
        self.todo.extend(new)
        self.give_out()

    def on_failure(self, failure: AskFailed) -> None:
        """A page could not be had, however often it was tried."""
        print(f"lost a page: {failure}")
        self.open -= 1
        self.lost += 1
        self.give_out()

    @answers(GetProgress)
    def tell_progress(self, asked: GetProgress) -> Progress:
        """Tell how far it is."""
        done = not self.todo and not self.open and self.fetched > 0
        return Progress(self.fetched, self.lost, len(self.pids), done)


def main() -> None:
    """Crawl, and kill a worker meanwhile."""
    with ProcessSystem([Page, Fetch, Progress, GetProgress]) as system:
        pool = system.spawn_pool(Fetcher, "fetchers", WORKERS)
        first = pool.ask(Fetch(START))
        crawler = system.spawn_process(
            Crawler,
            "crawler",
            arguments={"start": START, "group": "fetchers"},
            connect=tuple(worker.process for worker in pool.members),
        )
        while system.ask(crawler, GetProgress()).fetched < PAGES // 4:
            pass
        os.kill(first.pid, signal.SIGKILL)
        while not (progress := system.ask(crawler, GetProgress())).done:
            pass
        print(f"{progress.fetched} pages fetched, {progress.lost} lost, by {progress.workers} processes")


if __name__ == "__main__":
    main()
