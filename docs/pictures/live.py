"""Draw the pictures of docs/live.md: a real cluster that is broken, on its page and in the terminal view.

    python docs/pictures/live.py

Needs what the extras `web`, `top` and `browser` bring, chromium and chromium-driver. Owns the story and the
size of the pictures. All else is said with the verbs that anybody has.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import sys
import threading
from functools import partial
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent.parent))

from docs.pictures.draw import verb  # noqa: E402
from raft.cli.app import Session  # noqa: E402
from raft.cli.verbs.observe.live import act_on, server_at, source_of  # noqa: E402
from raft.client.client import Client  # noqa: E402
from raft.client.errors import ClientError  # noqa: E402
from raft.live.address import address_at  # noqa: E402
from raft.live.top import Top  # noqa: E402
from tests.live.browser import Browser, chromium  # noqa: E402

CLUSTER = "pictures"
NODES = 5
WRITE_SECONDS = 1.0
SIZES = {"page": (1400, False), "page-dark-narrow": (400, True)}


def main() -> None:
    """Both pictures, of one cluster."""
    verb("up", "--nodes", str(NODES), "--name", CLUSTER, "--seed", "1", "--detach")
    try:
        with (
            chromium() as browser,
            contextlib.closing(
                server_at(address_at("127.0.0.1:0"), Session(), CLUSTER, read_only=False)
            ) as server,
        ):
            server.start()
            browser.size(1400)
            browser.driver.get(server.url)
            browser.until(lambda: "leads" in browser.text("#headline"))
            story()
            browser.until(lambda: "isolate" in browser.text("#faults"))
            pause(2.0)
            for name, (width, dark) in SIZES.items():
                draw_page(browser, name, width, dark=dark)
        asyncio.run(draw_top())
    finally:
        verb("down", "--cluster", CLUSTER)


def story() -> None:
    """A client writes; the leader dies, and comes back; then its successor is cut off, a link gets lossy."""
    on = ("--cluster", CLUSTER)
    done = threading.Event()
    writer = threading.Thread(target=write_until, args=(done,))
    writer.start()
    verb("lease", "grant", "10m", *on)
    pause(2.0)
    verb("kill", "leader", *on)
    verb("leader", "--wait", "5s", *on)
    pause(4.0)
    verb("start", "all", *on)
    pause(4.0)
    verb("isolate", "leader", *on)
    verb("leader", "--wait", "5s", *on)
    pause(3.0)
    verb("link", "2", "3", "--drop", "20%", *on)
    pause(3.0)
    done.set()
    writer.join()


def write_until(done: threading.Event) -> None:
    """A few writes a second, whatever happens."""
    target = Session().target(CLUSTER)
    with Client(target.endpoints, cluster=target.cluster, timeout_seconds=1.0) as client:
        while not done.wait(WRITE_SECONDS):
            with contextlib.suppress(ClientError):
                client.put("key", "value")


def pause(seconds: float) -> None:
    """Let something be seen for a while."""
    threading.Event().wait(seconds)


def draw_page(browser: Browser, name: str, width: int, *, dark: bool) -> None:
    """The whole page at one width."""
    browser.size(width, dark=dark)
    pause(1.0)
    browser.picture(HERE / f"{name}.png")
    print(name)


async def draw_top() -> None:
    """The terminal view, 100 columns wide, without the fonts that textual would fetch from elsewhere."""
    session = Session()
    app = Top(source_of(session, CLUSTER), partial(act_on, session, CLUSTER))
    async with app.run_test(size=(100, 26)) as pilot:
        for _ in range(30):
            await pilot.pause(0.1)
        drawn = app.export_screenshot(title="raft-actors top")
    drawn = re.sub(r"@font-face \{.*?\}\s*", "", drawn, flags=re.DOTALL).replace(
        "Fira Code", "DejaVu Sans Mono"
    )
    (HERE / "top.svg").write_text(drawn, encoding="utf-8")
    print("top")


if __name__ == "__main__":
    main()
