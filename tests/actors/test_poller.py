"""One wait over descriptors and sources that speak only once."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator

import pytest

from actors.transport.poller import Watch


class Whisperer:
    """A source whose descriptor tells of news once, and is silent as soon as anything is done with it."""

    def __init__(self) -> None:
        self.near, self.far = socket.socketpair()
        self.near.setblocking(False)
        self.news = 0

    def arrive(self) -> None:
        self.news += 1
        self.far.send(b"!")

    def touch(self) -> None:
        try:
            self.near.recv(100)
        except BlockingIOError:
            return

    def close(self) -> None:
        self.near.close()
        self.far.close()

    def has_input(self) -> bool:
        self.touch()
        return self.news > 0


@pytest.fixture
def watch() -> Iterator[Watch[Whisperer]]:
    made: Watch[Whisperer] = Watch(Whisperer.has_input)
    yield made
    made.close()


@pytest.fixture
def source(watch: Watch[Whisperer]) -> Iterator[Whisperer]:
    made = Whisperer()
    watch.add(made, made.near.fileno())
    assert watch.wait(0.0) == []
    yield made
    made.close()


def test_a_source_with_news_is_found_once(watch: Watch[Whisperer], source: Whisperer) -> None:
    source.arrive()
    assert watch.wait(1.0) == [source]
    source.news = 0
    source.touch()
    assert watch.wait(0.0) == []


def test_news_that_a_touch_has_silenced_is_found_all_the_same(
    watch: Watch[Whisperer], source: Whisperer
) -> None:
    source.arrive()
    source.touch()
    watch.suspect(source)
    assert watch.wait(None) == [source], "it does not wait at all"


def test_a_suspect_without_input_does_not_keep_the_wait_from_waiting(
    watch: Watch[Whisperer], source: Whisperer
) -> None:
    watch.suspect(source)
    assert watch.wait(0.0) == []
    assert watch.wait(0.0) == []


def test_a_source_that_was_added_with_input_is_found(watch: Watch[Whisperer]) -> None:
    late = Whisperer()
    late.arrive()
    late.touch()
    watch.add(late, late.near.fileno())
    assert watch.wait(1.0) == [late]
    late.close()


def test_a_source_that_was_removed_is_never_found(watch: Watch[Whisperer], source: Whisperer) -> None:
    source.arrive()
    watch.suspect(source)
    watch.remove(source, source.near.fileno())
    assert watch.wait(0.0) == []


def test_readers_are_called_while_their_descriptor_is_readable(watch: Watch[Whisperer]) -> None:
    read_fd, write_fd = os.pipe()
    calls: list[int] = []
    watch.add_reader(read_fd, lambda: calls.append(1))
    watch.add_reader(read_fd, lambda: calls.append(2))
    os.write(write_fd, b"x")
    watch.wait(1.0)
    watch.wait(1.0)
    assert calls == [2, 2], "the second registration has replaced the first"
    watch.remove_reader(read_fd)
    watch.remove_reader(read_fd)
    watch.wait(0.0)
    assert calls == [2, 2]
    os.close(read_fd)
    os.close(write_fd)


def test_a_foreign_loop_can_wait_for_one_descriptor_instead(
    watch: Watch[Whisperer], source: Whisperer
) -> None:
    other: Watch[Whisperer] = Watch(Whisperer.has_input)
    calls: list[int] = []
    other.add_reader(watch.fileno(), lambda: calls.append(1))
    other.wait(0.0)
    assert calls == []
    source.arrive()
    other.wait(1.0)
    assert calls == [1]
    other.close()


def test_news_of_a_suspect_are_seen_without_a_wait(watch: Watch[Whisperer], source: Whisperer) -> None:
    assert not watch.has_news()
    watch.suspect(source)
    source.arrive()
    source.touch()
    assert watch.has_news()
    assert watch.wait(0.0) == [source]


def test_a_source_without_news_speaks_up_by_itself_again(watch: Watch[Whisperer], source: Whisperer) -> None:
    watch.suspect(source)
    assert not watch.has_news()
    source.arrive()
    assert watch.wait(0.0) == [source]
