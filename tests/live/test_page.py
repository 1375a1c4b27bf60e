"""The page in a real browser: it loads, follows the cluster, breaks it by click, and stays harmless."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

from raft.cli.app import Session
from raft.cli.verbs.observe.live import server_at
from raft.cluster.rpc.messages import ClusterStatus, FaultEntry
from raft.live.actions import Order
from raft.live.address import address_at
from raft.live.sampler import Record
from tests.live.browser import MISSING, Browser
from tests.live.pictures import node, status, three
from tests.live.stage import Stage, labels, show
from tests.processes.clusters import running

pytestmark = [pytest.mark.processes, pytest.mark.skipif(bool(MISSING), reason=MISSING)]

HOSTILE = (
    "<img src=x onerror=\"document.body.dataset.bad='1'\"><script>document.body.dataset.bad='1'</script>"
)


def test_the_page_loads_and_the_browser_complains_of_nothing(browser: Browser, stage: Stage) -> None:
    browser.until(lambda: browser.text("#headline") == "n1 leads term 1")
    assert labels(browser)[0] == "n1, leader, term 1, commit 5"
    assert browser.text("#records").strip() == ""
    assert browser.complaints() == []


def test_dead_paused_and_cut_off_nodes_are_drawn_apart_as_they_become_so(
    browser: Browser, stage: Stage
) -> None:
    changes = {
        2: {"state": "down", "role": None},
        3: {"state": "paused", "role": None},
        4: {"in_quorum": False},
    }
    stage.status = status([node(1, role="leader"), *(node(one, **how) for one, how in changes.items())])
    browser.until(lambda: "n2, dead" in labels(browser)[1])
    script = "return [...document.querySelectorAll('#ring .node')].map((n) => n.getAttribute('class'))"
    assert browser.js(script) == ["node leader", "node dead", "node paused", "node follower cut-off"]


def test_a_click_opens_a_menu_whose_entry_orders_what_its_command_line_says(
    browser: Browser, stage: Stage
) -> None:
    browser.click("#ring [data-node='2']")
    entry = "#menu [data-action='kill']"
    assert browser.text(f"{entry} code") == "raft-actors kill 2"
    browser.click(entry)
    browser.until(lambda: browser.text("#answer") == "$ raft-actors kill 2 · done")
    assert stage.orders == [Order("kill", [2])]


def test_selected_nodes_are_cut_from_the_others_at_once(browser: Browser, stage: Stage) -> None:
    for one in (1, 3):
        browser.js(
            "document.querySelector(arguments[0]).dispatchEvent("
            "new MouseEvent('click', {bubbles: true, shiftKey: true}))",
            f"#ring [data-node='{one}']",
        )
    browser.until(lambda: "n1 n3" in browser.text("#selection"))
    browser.click("#selection [data-action='partition']")
    browser.until(lambda: stage.orders)
    assert stage.orders == [Order("partition", [1, 3])]


def test_a_fault_is_listed_with_its_command_and_healed_by_a_click(browser: Browser, stage: Stage) -> None:
    stage.faults = [FaultEntry(4, "isolate", [2], "isolate n2", {1: [2], 2: [1]}, cut=True)]
    browser.until(lambda: "faults clear 4" in browser.text("#faults"))
    assert browser.js("return document.querySelectorAll('#matrix .cut-cell').length") == 2
    browser.click("#faults [data-action='clear']")
    browser.until(lambda: stage.orders)
    assert stage.orders == [Order("clear", [4])]


def test_everything_can_be_done_by_keys(browser: Browser, stage: Stage) -> None:
    def press(key: str) -> None:
        for kind in ("rawKeyDown", "keyUp"):
            browser.driver.execute_cdp_cmd(
                "Input.dispatchKeyEvent",
                {"type": kind, "key": key, "code": key, "windowsVirtualKeyCode": CODES[key]},
            )

    press("Tab")
    browser.until(lambda: browser.js("return document.activeElement.dataset.node") == "1")
    press("Enter")
    browser.until(lambda: browser.js("return document.getElementById('menu').open"))
    press("Escape")
    browser.until(lambda: not browser.js("return document.getElementById('menu').open"))
    browser.until(lambda: browser.js("return document.activeElement.dataset.node") == "1")
    browser.js("document.getElementById('matrix').focus()")
    press("ArrowDown")
    press("ArrowDown")
    browser.until(lambda: browser.text("#matrix-words").startswith("n3 → n2"))
    press("Enter")
    entry = "#menu [data-action='lossy'] code"
    browser.until(lambda: browser.text(entry) == "raft-actors link 3 2 --drop 20%")


CODES = {"Tab": 9, "Enter": 13, "Escape": 27, "ArrowDown": 40}


def test_no_value_is_ever_read_as_markup(browser: Browser, stage: Stage) -> None:
    stage.status = msgspec.structs.replace(three(), cluster=HOSTILE)
    stage.faults = [FaultEntry(1, HOSTILE, [1], HOSTILE)]
    stage.records = [Record(10.0, kind, HOSTILE, [1], HOSTILE) for kind in ("event", "log")]
    browser.js("const f = document.getElementById('filter-kind'); f.value = '';"
               "f.dispatchEvent(new Event('input'))")  # fmt: skip
    for place in ("#records", "#faults", "#cluster"):
        browser.until(lambda place=place: HOSTILE in browser.text(place))
    assert browser.js("return document.querySelectorAll('img, body script').length") == 0
    assert browser.js("return document.body.dataset.bad") is None
    assert browser.complaints() == []


def test_the_page_says_when_its_view_is_incomplete_and_goes_on_by_itself(
    browser: Browser, stage: Stage
) -> None:
    stage.failure = "the launcher does not answer"
    browser.until(lambda: "the launcher does not answer" in browser.text("#banner"))
    assert browser.text("#headline") == "n1 leads term 1"
    stage.failure = ""
    browser.until(lambda: browser.js("return document.getElementById('banner').hidden"))
    stage.server.close()
    browser.until(lambda: "no word from the page's server" in browser.text("#banner"))
    stage.status = status([node(2, role="leader", leader=2)], leader=2)
    stage.open(stage.port)
    browser.until(lambda: browser.text("#headline") == "n2 leads term 1")


def test_a_moment_that_was_chosen_stays_while_the_cluster_goes_on(browser: Browser, stage: Stage) -> None:
    browser.click("#pause")
    stage.status = status([node(2, role="leader", leader=2)], leader=2)
    browser.until(lambda: "n2" in browser.js("return document.getElementById('said').textContent"))
    browser.until(lambda: "not live" in browser.text("#banner"))
    assert browser.text("#headline") == "n1 leads term 1"
    browser.click("#pause")
    browser.until(lambda: browser.text("#headline") == "n2 leads term 1")


def test_a_page_to_look_at_only_offers_nothing_to_do(browser: Browser, stage: Stage) -> None:
    stage.server.close()
    stage.read_only = True
    stage.open()
    stage.faults = [FaultEntry(1, "pause", [2], "pause n2")]
    show(browser, stage)
    browser.until(lambda: "pause n2" in browser.text("#faults"))
    browser.click("#ring [data-node='2']")
    assert browser.js("return document.querySelectorAll('[data-action]').length") == 0


DIED = re.compile(
    r"ended: (its process died|was killed)"
)  # The second if its heir was quicker than the news.
LEADER = "return document.querySelector('#ring .node.leader')?.dataset.node"
MEASURE = """
const middle = (box) => [box.x + box.width / 2, box.y + box.height / 2, box.width];
const boxes = (what) => [...document.querySelectorAll(what)].map((one) => one.getBoundingClientRect());
const shapes = boxes('#ring .shape').map(middle), heights = boxes('#ring text').map((box) => box.height);
const close = ([x, y, wide], [u, v]) => Math.hypot(x - u, y - v) < wide * 0.9;
const overlaps = shapes.filter((one, at) => shapes.slice(at + 1).some((other) => close(one, other)));
return [Math.min(...heights), overlaps.length];
"""


def fifty_one() -> ClusterStatus:
    heard = dict.fromkeys(range(2, 52), 30.0)
    followers = [node(one, heard_ms={1: 20.0}) for one in range(2, 52)]
    return status([node(1, role="leader", heard_ms=heard), *followers])


@pytest.mark.parametrize("width", [400, 800, 1400])
def test_three_and_fifty_one_nodes_fit_each_width_and_can_be_told_apart(
    browser: Browser, stage: Stage, width: int
) -> None:
    browser.size(width)
    browser.until(lambda: browser.js("return innerWidth") == width)
    for seen, count in ((three(), 3), (fifty_one(), 51)):
        stage.status = seen
        browser.until(lambda count=count: len(labels(browser)) == count)
        assert browser.js("return document.documentElement.scrollWidth <= innerWidth")
        smallest, overlaps = browser.js(MEASURE)
        assert smallest >= 8 and overlaps == 0, (count, smallest, overlaps)


def test_killing_the_leader_of_a_real_cluster_by_click_shows_its_successor(browser: Browser) -> None:
    with running(3, "--election-timeout", "150ms-300ms") as cluster:
        server = server_at(address_at("127.0.0.1:0"), Session(), cluster.name, read_only=False)
        server.start()
        try:
            browser.driver.get(server.url)
            leader = browser.until(lambda: browser.js(LEADER))
            browser.click(f"#ring [data-node='{leader}']")
            browser.click("#menu [data-action='kill']")
            browser.until(lambda: DIED.search(browser.text("#headline")))
            assert f"n{leader} ended" in browser.text("#headline")
            browser.until(lambda: "leads term" in browser.text("#headline"))
            browser.until(lambda: f"EXITED n{leader}" in browser.text("#records"))
            browser.click("#faults [data-action='clear']")
            browser.until(lambda: "nothing" in browser.text("#faults"))
        finally:
            server.close()


def term(browser: Browser) -> str:
    """The one that the headline names; empty without a leader."""
    found = re.search(r"leads term (\d+)", browser.text("#headline"))
    return found[1] if found else ""


def test_an_open_page_goes_on_when_its_launcher_is_started_again(browser: Browser, tmp_path: Path) -> None:
    options = ("--web", "--data-dir", str(tmp_path / "data"), "--election-timeout", "150ms-300ms")
    with running(1, *options) as cluster:
        assert cluster.process.stderr is not None
        browser.driver.get(cluster.process.stderr.readline().split()[1])
        first = browser.until(lambda: term(browser))
    browser.until(lambda: "no word from the page's server" in browser.text("#banner"))
    with running(1, *options):
        browser.until(lambda: browser.js("return document.getElementById('banner').hidden"))
        browser.until(lambda: term(browser) not in ("", first))
        browser.driver.get("about:blank")
    browser.complaints()
