"""The sampler: it costs nothing without viewers, and no viewer sees a gap without being told."""

from __future__ import annotations

import threading

import pytest

from raft.cluster.failures import VerbFailed
from raft.live.feed import merged
from raft.live.sampler import RECORDS_KEPT, Look, Place, Record, Sampler
from tests.live.pictures import picture_of, three


class Source:
    """Looks that are let through one at a time."""

    def __init__(self, records: int = 0) -> None:
        self.allowed = threading.Semaphore(0)
        self.news = threading.Semaphore(0)
        self.looks, self.closed = 0, 0
        self.records = records
        self.fails = False

    def look(self) -> Look:
        assert self.allowed.acquire(timeout=120)
        self.looks += 1
        if self.fails:
            raise VerbFailed("the launcher does not answer")
        told = [Record(1.0, "event", "x", [], f"{self.looks}.{at}") for at in range(self.records)]
        return Look(picture_of(three(), t=float(self.looks)), told)

    def has_news(self) -> bool:
        return self.news.acquire(blocking=False)

    def close(self) -> None:
        self.closed += 1


class Watched:
    """A sampler whose looks can be waited for."""

    def __init__(self, records: int = 0) -> None:
        self.source = Source(records)
        self._looked = threading.Semaphore(0)
        self.sampler = Sampler(self.source, self._looked.release)

    def look(self) -> None:
        self.source.allowed.release()
        assert self._looked.acquire(timeout=120)


def test_without_a_viewer_the_cluster_is_not_asked() -> None:
    watched = Watched()
    assert not watched.sampler.looks
    with watched.sampler.viewer():
        assert watched.sampler.looks
        watched.look()
    assert not watched.sampler.looks
    watched.source.allowed.release(5)
    for thread in threading.enumerate():
        if thread.name == "sampler":
            thread.join(30)
    assert watched.source.looks <= 2 and watched.source.closed == 1


def test_two_viewers_share_one_look_and_each_is_told_all() -> None:
    watched = Watched(records=2)
    sampler = watched.sampler
    with sampler.viewer() as one, sampler.viewer() as other:
        watched.look()
        first = sampler.news(one)
        watched.look()
        second, late = sampler.news(one), sampler.news(other)
    assert merged(first["picture"], second["patch"]) == late["picture"]
    assert [record.text for record in first["records"] + second["records"]] == ["1.0", "1.1", "2.0", "2.1"]
    assert late["records"] == first["records"] + second["records"]


def test_a_viewer_that_falls_behind_is_told_what_it_has_missed() -> None:
    watched = Watched(records=RECORDS_KEPT - 1)
    sampler = watched.sampler
    with sampler.viewer() as place:
        watched.look()
        assert "missed" not in sampler.news(place)
        watched.look()
        watched.look()
        news = sampler.news(place)
    assert len(news["records"]) == RECORDS_KEPT
    assert news["missed"] == 2 * (RECORDS_KEPT - 1) - RECORDS_KEPT


def test_a_cluster_in_which_nothing_happens_is_told_of_once_a_second_only() -> None:
    watched = Watched()
    sampler = watched.sampler
    with sampler.viewer() as place:
        watched.look()
        sampler.news(place)
        assert sampler.news(place) == {}
        watched.look()
        assert sampler.news(place) == {"patch": {"t": 2.0}}
        assert sampler.news(Place(dict(place.picture, t=1.5), place.number)) == {}


def test_after_a_look_that_failed_the_picture_stays_and_is_marked() -> None:
    watched = Watched()
    sampler = watched.sampler
    with sampler.viewer() as place:
        watched.look()
        sampler.news(place)
        watched.source.fails = True
        watched.look()
        patch = sampler.news(place)["patch"]
        assert patch.keys() == {"incomplete"} and "does not answer" in patch["incomplete"]
        watched.source.fails = False
        watched.look()
        assert sampler.news(place)["patch"]["incomplete"] is None
    assert watched.source.closed >= 1


def test_an_event_brings_the_next_look_before_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("raft.live.sampler.INTERVAL_SECONDS_MIN", 3_600.0)
    watched = Watched()
    with watched.sampler.viewer():
        watched.look()
        watched.source.news.release()
        watched.look()
    assert watched.source.looks == 2
