"""Durations and shares as they are typed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raft.cluster.failures import BadUsage, ExitCode
from raft.cluster.quantities import (
    DurationRange,
    format_duration,
    format_share,
    parse_duration,
    parse_duration_range,
    parse_positive_duration,
    parse_probability,
)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("500ms", 0.5), ("5s", 5.0), ("2m", 120.0), ("1h", 3600.0), ("1.5s", 1.5), ("1m30s", 90.0), ("0s", 0.0)],
)
def test_a_duration_is_read_with_its_unit(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "s", "5x", "-5s", "5 s", "s5", "5s!", "٥s", "1e3s", "inf", "nan"])
def test_what_is_no_duration_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(BadUsage, match="write one like") as refusal:
        parse_duration(text)
    assert refusal.value.exit_code is ExitCode.USAGE


def test_a_bare_number_is_refused_and_both_likely_meanings_are_named() -> None:
    with pytest.raises(BadUsage, match="5ms or 5s"):
        parse_duration("5")


def test_nothing_is_not_a_positive_duration() -> None:
    with pytest.raises(BadUsage):
        parse_positive_duration("0ms")


def test_a_range_of_durations_has_two_ends_or_doubles_the_one_it_has() -> None:
    assert parse_duration_range("250ms-500ms") == DurationRange(0.25, 0.5)
    assert parse_duration_range("150ms") == DurationRange(0.15, 0.3)


@pytest.mark.parametrize("text", ["500ms-250ms", "1s-1s", "250-500", "0s-1s", "1s-", "-1s"])
def test_a_range_without_room_or_units_is_refused(text: str) -> None:
    with pytest.raises(BadUsage):
        parse_duration_range(text)


@pytest.mark.parametrize(("text", "share"), [("0%", 0.0), ("10%", 0.1), ("0.5%", 0.005), ("100%", 1.0)])
def test_a_share_is_a_percentage(text: str, share: float) -> None:
    assert parse_probability(text) == pytest.approx(share)


@pytest.mark.parametrize("text", ["10", "0.1", "101%", "-1%", "%", "x%", ""])
def test_what_is_no_share_is_refused(text: str) -> None:
    with pytest.raises(BadUsage):
        parse_probability(text)


@given(st.sampled_from([0.0005, 0.0084, 0.02, 0.5, 1.0, 2.5, 59.0, 60.0, 90.0, 3600.0]))
def test_what_is_written_can_be_read_again(seconds: float) -> None:
    assert parse_duration(format_duration(seconds)) == pytest.approx(seconds, rel=0.02)


def test_a_share_is_written_as_it_is_read() -> None:
    assert format_share(parse_probability("12.5%")) == "12.5%"
