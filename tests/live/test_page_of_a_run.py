"""The page of a run in a real browser, from its file alone: moments, and the operations of an anomaly."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from raft.lab.checkers.verdict import Anomaly
from raft.lab.reports.report import page
from tests.live.browser import MISSING, Browser
from tests.live.test_page_parts import serious
from tests.reports.runs import a_legal_run, an_illegal_run

pytestmark = pytest.mark.skipif(bool(MISSING), reason=MISSING)


@pytest.fixture
def opened(browser: Browser, tmp_path: Path):
    def open_(run: Any, moment: str = "") -> None:
        (tmp_path / "report.html").write_text(page(run))
        browser.size(1300)
        browser.driver.get("about:blank")
        browser.complaints()
        browser.driver.get(f"file://{tmp_path}/report.html{moment}")
        browser.until(lambda: browser.text("#ring .node title"))

    return open_


def lead(browser: Browser) -> str:
    return browser.text("#headline")


def scrub(browser: Browser, thousandths: int) -> None:
    move = "const s = document.getElementById('scrub'); s.value = arguments[0];"
    browser.js(f"{move} s.dispatchEvent(new Event('input'))", thousandths)


def test_each_moment_of_a_run_is_shown_as_it_was_without_asking_any_host(browser: Browser, opened) -> None:
    opened(a_legal_run())
    assert browser.complaints() == []
    scrub(browser, 1000)
    browser.until(lambda: browser.text("#moment") == "the end")
    browser.until(lambda: lead(browser).startswith("n2 leads term 3 for"))
    opened(a_legal_run(), "#t=4.05")
    browser.until(lambda: lead(browser) == "no leader for 0.0 s; n1 ended: its process died")
    assert browser.text("#ring [data-node='1'] title").startswith("n1, dead")
    scrub(browser, 100)
    browser.until(lambda: lead(browser).startswith("n1 leads term 2"))
    opened(a_legal_run(), "#t=7.5")
    browser.until(lambda: browser.js("return document.querySelectorAll('#matrix .cut-cell').length") == 4)
    assert "n1 | n2 n3 <&>" in browser.text("#faults"), "and it is no markup"
    assert browser.text("#summary").endswith("cut off n1")
    asked = browser.js("return performance.getEntriesByType('resource').map((one) => one.name)")
    assert asked == [] and browser.complaints() == []


def test_a_run_is_played_from_the_moment_that_is_shown(browser: Browser, opened) -> None:
    opened(a_legal_run(), "#t=9.9")
    browser.until(lambda: browser.text("#moment") == "at 9.9 s")
    browser.click("#pause")
    browser.until(lambda: browser.text("#moment") == "the end")
    browser.until(lambda: browser.text("#pause") == "Play")


def test_an_anomaly_leads_to_the_operations_that_prove_it(browser: Browser, opened) -> None:
    opened(an_illegal_run())
    browser.until(
        lambda: browser.js("return document.querySelectorAll('#operations .operation').length") == 4
    )
    assert browser.js("return document.querySelectorAll('#operations .proof').length") >= 2
    assert "get k" in browser.text("#operations .proof.reads title")
    browser.click("#anomalies button")
    browser.until(lambda: browser.js("return document.getElementById('operations-key').value") == "k")
    browser.until(lambda: browser.js("return document.querySelectorAll('#operations .now-line').length") == 1)


def test_axe_reports_nothing_serious_in_the_page_of_a_run(browser: Browser, opened) -> None:
    for dark in (False, True):
        opened(an_illegal_run())
        browser.size(1300, dark=dark)
        assert serious(browser) == []


def test_what_a_run_holds_cannot_end_the_script_that_holds_it(browser: Browser, opened) -> None:
    run = an_illegal_run()
    hostile = "</script><img src=x onerror=\"document.body.dataset.bad='1'\">"
    run.history.records[0].value = hostile
    found = run.summary.judgement.anomalies[0]
    run.summary.judgement = type(run.summary.judgement)(
        ruling=run.summary.judgement.ruling, workload="register", operations=4, unknown=0, keys=1,
        anomalies=(Anomaly(name=hostile, key=hostile, text=hostile, operations=found.operations),),
    )  # fmt: skip
    opened(run)
    assert browser.js("return document.querySelectorAll('img').length") == 0
    assert hostile in browser.text("#operations title")
    assert browser.js("return document.body.dataset.bad") is None
