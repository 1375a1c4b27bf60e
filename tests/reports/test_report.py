"""The report opens in a browser, complains of nothing, and shows what it is about."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import xml.etree.ElementTree as ElementTree

import pytest

from raft.cluster.records.events import FaultInjected, LeaderElected, LeaderLost, encode_event
from raft.lab.reports.perfetto import trace
from raft.lab.reports.report import page, picture, write_report
from raft.lab.reports.run import Run
from tests.checkers.histories import history, put
from tests.reports.runs import EVENTS, a_legal_run, an_illegal_run

DOTS = ("done", "refused", "unknown")
BROWSER = shutil.which("chromium") or shutil.which("google-chrome") or ""


def browsed(html, tmp_path):
    """What a browser makes of the page once its script has run, and what it complained of."""
    if not BROWSER:
        pytest.skip("no Chromium here: apt-get install chromium")
    (tmp_path / "page.html").write_text(html)
    done = subprocess.run(
        [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}/profile",
         "--enable-logging=stderr", "--dump-dom", f"file://{tmp_path}/page.html"],
        capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line]


def test_a_legal_run_is_shown_without_complaint(tmp_path):
    dom, complaints = browsed(page(a_legal_run()), tmp_path)
    assert not complaints
    assert "The history is legal" in dom
    for name in ('id="verdict"', 'id="timeline"', 'id="all-leaders"', 'id="all-faults"', "leader, term 3"):
        assert name in dom
    assert 'data-tip="n2 won term 3' in dom, "the script of the page has run"


def test_an_illegal_run_shows_the_operations_that_prove_it(tmp_path):
    dom, complaints = browsed(page(an_illegal_run()), tmp_path)
    assert not complaints
    assert "The history is illegal" in dom
    assert dom.count('class="proof"') == 1
    assert "get k  →  a" in dom


def elected(t, node, term, reason):
    return LeaderElected(
        t=t, node=node, term=term, previous=0, votes=2, voters=3, took_ms=5, reason=reason
    )  # fmt: skip


def test_the_page_begins_with_who_leads_and_why_the_one_before_does_not():
    html = page(Run(events=list(EVENTS)))
    assert "n2 leads term 3, since 4.10 s of 9.00 s. Before it n1 led term 2, until its process died" in html
    over = [*EVENTS, LeaderLost(t=9.5, node=2, term=3, reason="no-quorum")]
    assert "no node led: n2 had led term 3 until 9.50 s" in page(Run(events=over))
    assert "no leader" in page(Run(events=[]))


def test_latencies_are_dots_by_outcome_and_what_failed_is_never_left_out():
    records = [put(f"v{n}", n / 1000, n / 1000 + 0.01) for n in range(9000)]
    records += [put("lost", 1.0, None), put("no", 2.0, 2.1, outcome="refused")]
    html = page(Run(events=list(EVENTS), history=history("register", *records)))
    dots = {outcome: html.split(f'class="dots {outcome}"')[0].rsplit('d="', 1)[1] for outcome in DOTS}
    assert dots["unknown"].count("h0") == dots["refused"].count("h0") == 1
    assert 2000 < dots["done"].count("h0") <= 3001


def test_labels_stay_at_the_edge_of_what_is_seen():
    html = page(Run(events=list(EVENTS)))
    assert re.search(r'class="label strong stays"[^>]*>n1<', html)
    assert 'id="zoom"' in html


def test_terms_that_no_node_won_are_listed():
    html = page(Run(events=[*EVENTS, elected(9.5, 3, 6, "timeout")]))
    assert "no node was elected: 4, 5." in html
    assert 'id="leaderless"' not in page(Run(events=list(EVENTS)))


def test_a_cluster_that_starts_again_has_not_started_at_first():
    html = page(Run(events=[*EVENTS, elected(9.5, 3, 4, "startup")]))
    assert html.count("<td>the cluster started</td>") == 1
    assert "no node knew of a leader any longer" in html


def test_a_disk_made_ready_for_a_power_cut_is_no_fault_of_the_whole_run():
    text = "n1 n2 n3  unsynced writes are lost in a power cut"
    ready = FaultInjected(t=0.1, id=9, kind="disk", nodes=[1, 2, 3], text=text)
    assert page(Run(events=[ready, *EVENTS])).count("in a power cut") == 0
    slow = FaultInjected(t=0.1, id=9, kind="disk", nodes=[1, 2, 3], text="n1 n2 n3  fsync +10ms")
    assert "fsync +10ms" in page(Run(events=[slow, *EVENTS]))


def test_the_legend_names_each_kind_of_fault_that_is_drawn():
    legend = page(Run(events=list(EVENTS))).split('class="legend"')[1].split("</ul>")[0]
    for kind in ("kill", "partition", "pause"):
        assert f"</svg>{kind}</li>" in legend
    assert "link" not in legend


def test_versions_and_the_load_of_the_host_are_told():
    run = a_legal_run()
    run.summary.host_load = [0.5, 2.25]
    run.history.header.versions = {"raft-actors": "9.9", "python": "3"}
    html = page(run)
    assert "0.5 before, 2.2 after the run" in html
    assert "raft-actors 9.9" in html


@pytest.mark.parametrize("run", [a_legal_run(), an_illegal_run(), Run(events=list(EVENTS)), Run(events=[])])
def test_a_page_needs_nothing_from_elsewhere(run):
    html = page(run)
    assert not re.findall(r"""(?:src|href)=["'](?!data:)""", html)
    assert "url(http" not in html
    assert "@import" not in html


def test_what_was_recorded_is_never_taken_for_markup():
    assert "n1 | n2 n3 <&>" not in page(a_legal_run())
    assert "n1 | n2 n3 &lt;&amp;&gt;" in page(a_legal_run())


def test_a_drawing_stands_alone_and_is_well_formed():
    root = ElementTree.fromstring(picture(a_legal_run()))
    assert root.tag.endswith("svg")
    assert "prefers-color-scheme" in "".join(root.itertext())


def test_a_trace_has_a_track_for_each_node_and_spans_for_leaders_and_faults():
    rows = json.loads(trace(a_legal_run()))["traceEvents"]
    names = {row["args"]["name"] for row in rows if row["ph"] == "M"}
    assert {"n1", "n2", "n3", "kill 1", "partition 2", "pause 3"} <= names
    led = [(row["ts"], row["dur"]) for row in rows if row["name"] == "leads term 2"]
    assert led == [(300_000.0, 3_700_000.0)]


def test_a_directory_with_events_alone_gets_a_report(tmp_path):
    (tmp_path / "events.jsonl").write_bytes(b"".join(encode_event(event) + b"\n" for event in EVENTS))
    html = write_report(tmp_path).read_text()
    assert "A cluster's timeline" in html.replace("&#39;", "'")
    assert "its process died" in html
