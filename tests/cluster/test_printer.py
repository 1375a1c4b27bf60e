"""Printing that never holds up its caller."""

from __future__ import annotations

import errno
import os
import threading

from raft.cli.terminal.printer import LINES_MAX, Printer, write_line


class Reader:
    """Takes lines only while it may."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.may_read = threading.Event()
        self.stuck = threading.Event()

    def write(self, line: str) -> None:
        if not self.may_read.is_set():
            self.stuck.set()
            self.may_read.wait()
        self.seen.append(line)


def test_lines_are_printed_in_order() -> None:
    reader = Reader()
    reader.may_read.set()
    printer = Printer(reader.write)
    for number in range(100):
        printer.print(str(number))
    assert printer.close()
    assert reader.seen == [str(number) for number in range(100)]


def test_a_reader_that_stands_still_costs_lines_and_is_told_how_many() -> None:
    reader = Reader()
    printer = Printer(reader.write)
    printer.print("first")
    assert reader.stuck.wait(60)
    for number in range(LINES_MAX + 5):
        printer.print(str(number))
    assert printer.left_out == 5
    reader.may_read.set()
    while len(reader.seen) < LINES_MAX + 1:
        os.sched_yield()
    printer.print("again")
    assert not printer.close()
    assert reader.seen[-2:] == ["(omitted, since they could not be printed: 5)", "again"]


def test_a_reader_that_never_reads_does_not_hold_up_the_end() -> None:
    reader = Reader()
    printer = Printer(reader.write)
    printer.print("taken, and never printed")
    assert reader.stuck.wait(60)
    printer.print("queued")
    assert not printer.close(timeout_seconds=0.01)
    assert printer.left_out == 1
    reader.may_read.set()


def test_after_its_reader_has_gone_nothing_more_is_written() -> None:
    tries = []

    def write(line: str) -> None:
        tries.append(line)
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")

    printer = Printer(write)
    printer.print("one")
    while not printer.left_out:
        os.sched_yield()
    printer.print("two")
    assert not printer.close()
    assert tries == ["one"]
    assert printer.left_out == 2


def test_a_full_disk_costs_the_lines_that_it_has_no_room_for() -> None:
    seen: list[str] = []
    full = True

    def write(line: str) -> None:
        if full:
            raise OSError(errno.ENOSPC, "No space left on device")
        seen.append(line)

    printer = Printer(write)
    printer.print("one")
    while not printer.left_out:
        os.sched_yield()
    full = False
    printer.print("two")
    assert not printer.close()
    assert seen == ["(omitted, since they could not be printed: 1)", "two"]


def test_a_line_goes_whole_through_a_pipe_that_would_block() -> None:
    read_fd, write_fd = os.pipe()
    os.set_blocking(write_fd, False)
    line = "x" * 300_000
    received = bytearray()

    def read() -> None:
        while chunk := os.read(read_fd, 65536):
            received.extend(chunk)

    reader = threading.Thread(target=read)
    reader.start()
    write_line(write_fd, line)
    os.close(write_fd)
    reader.join()
    os.close(read_fd)
    assert received.decode() == line + "\n"
