"""One grammar of durations, whether a program or a person writes them."""

from __future__ import annotations

import argparse
import math
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raft.cluster.failures import BadUsage
from raft.cluster.quantities import DurationRange, parse_duration, parse_duration_range
from raft.durations import range_of, seconds_of, timeout_of, ttl_ms_of
from raft.node.process.command_line import duration, duration_range

WRITTEN = {
    "250us": 0.00025, "500ms": 0.5, ".5s": 0.5, "5s": 5, "1.5m": 90, "1m30s": 90, "2h": 7200, "1d": 86400,
    " 5s ": 5, "0s": 0,
}  # fmt: skip
WRONG = ["", "s", "5", "5x", "-5s", "5 s", "5s!", "٥s", "1e3s", "inf", "nan"]


@pytest.mark.parametrize(("text", "seconds"), WRITTEN.items())
def test_clients_nodes_and_command_lines_read_a_duration_alike(text: str, seconds: float) -> None:
    assert seconds_of(text) == pytest.approx(seconds)
    assert parse_duration(text) == duration(text) == seconds_of(text)


@pytest.mark.parametrize("text", WRONG)
def test_they_refuse_the_same_and_in_the_same_words(text: str) -> None:
    with pytest.raises(ValueError) as refusal:
        seconds_of(text)
    for parse, kind in ((parse_duration, BadUsage), (duration, argparse.ArgumentTypeError)):
        with pytest.raises(kind) as same:
            parse(text)
        assert str(same.value) == str(refusal.value) and "write" in str(same.value)


@given(st.floats(0, 1e9))
def test_numbers_are_seconds_and_timedeltas_are_what_they_are(seconds: float) -> None:
    assert seconds_of(seconds) == seconds
    assert seconds_of(timedelta(seconds=seconds)) == pytest.approx(seconds, abs=1e-6)


@pytest.mark.parametrize("wrong", [-1, -0.5, math.inf, math.nan, timedelta(seconds=-1)])
def test_no_duration_is_negative_or_endless(wrong: Any) -> None:
    with pytest.raises(ValueError, match="0 or more"):
        seconds_of(wrong)


@pytest.mark.parametrize("wrong", [None, True, b"5s", [5]])
def test_what_is_no_time_at_all_is_a_wrong_type(wrong: Any) -> None:
    with pytest.raises(TypeError, match="a duration is"):
        seconds_of(wrong)


@pytest.mark.parametrize(
    "written", ["250ms-500ms", "250ms", ("250ms", 0.5), (timedelta(seconds=0.25), "500ms")]
)
def test_a_range_is_a_pair_or_a_text_and_one_end_alone_is_doubled(written: Any) -> None:
    assert range_of(written) == (0.25, 0.5)
    if isinstance(written, str):
        assert parse_duration_range(written) == DurationRange(0.25, 0.5) and duration_range(written) == (
            0.25,
            0.5,
        )


@pytest.mark.parametrize("wrong", ["500ms-250ms", "1s-1s", "0s-1s", "1s-", "-1s", (1, 1), (0, 1), "soon"])
def test_a_range_has_room_to_draw_from(wrong: Any) -> None:
    with pytest.raises(ValueError):
        range_of(wrong)


def test_a_time_out_is_more_than_nothing_and_a_ttl_counts_milliseconds() -> None:
    assert timeout_of("250ms") == 0.25 and ttl_ms_of(timedelta(seconds=1.5)) == 1500
    with pytest.raises(ValueError, match="more than 0"):
        timeout_of("0s")
