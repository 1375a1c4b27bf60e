"""What is broken on purpose in this process: ways to peers, the disk, the clock, and where it dies.

Owns the names of the faults and what each stands for below. Knows nothing of how a frame is dropped or
an fsync delayed.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterable

from actors.clock import ScaledClock
from actors.transport.faults import Fault, FaultyTransport
from raft.protocol.admin import AT_ONCE, ArmCrash, SetClock, SetDisk, SetLink
from raft.protocol.registry import process_of
from raft.storage.device import CRASH_POINTS
from raft.storage.faulty import FaultyFiles
from raft.storage.unsynced import Unsynced

AT_ONCE_SECONDS = 0.01  # For the order to be confirmed.
CLOCK_RATE_MIN, CLOCK_RATE_MAX = 0.1, 10.0


def die(files: FaultyFiles) -> None:
    """Kill this process; with what it has not synced, if that is to be lost."""
    if files.unsynced is not None:
        files.unsynced.lose()
    os.kill(os.getpid(), signal.SIGKILL)


class Trap:
    """A crash point that is fatal once it has been armed; called by any thread that passes one."""

    def __init__(self, kill: Callable[[], None]) -> None:
        self.armed: dict[int, str] = {}
        self._kill = kill

    def spring(self) -> None:
        """Die, in a moment."""
        threading.Timer(AT_ONCE_SECONDS, self._kill).start()

    def __call__(self, name: str) -> None:
        """A step of a write is passed."""
        if self.armed and name in self.armed.values():
            self._kill()


class ProcessFaults:
    """Faults by the supervisor's number; setting one again replaces it."""

    def __init__(
        self, transport: FaultyTransport, files: FaultyFiles, trap: Trap, clock: ScaledClock
    ) -> None:
        self._transport = transport
        self._files = files
        self._trap = trap
        self._clock = clock
        self._clocks: dict[int, SetClock] = {}
        self._links: dict[int, tuple[SetLink, list[int]]] = {}
        self._disks: dict[int, SetDisk] = {}

    def set_link(self, fault: SetLink) -> None:
        """Break the ways to some peers; ValueError for what cannot be."""
        rules = [
            Fault(
                to=process_of(peer),
                cut=fault.cut,
                drop=fault.drop,
                duplicate=fault.duplicate,
                delay_seconds=fault.delay_seconds,
                jitter_seconds=fault.jitter_seconds,
                reorder=fault.reorder,
            )
            for peer in fault.to
        ]
        self._mend_link(fault.fault)
        self._links[fault.fault] = (fault, [self._transport.add(rule) for rule in rules])

    def set_disk(self, fault: SetDisk) -> None:
        """Break the disk; ValueError for what cannot be."""
        if not 0 <= fault.fsync_delay_seconds < 3600:
            raise ValueError(f"an fsync takes 0s to an hour longer, not {fault.fsync_delay_seconds}s")
        self._disks[fault.fault] = fault
        self._break_disk()

    def set_clock(self, fault: SetClock) -> None:
        """Let the clock run faster or slower; ValueError for what cannot be."""
        if not CLOCK_RATE_MIN <= fault.rate <= CLOCK_RATE_MAX:
            raise ValueError(
                f"a clock runs at {CLOCK_RATE_MIN:g} to {CLOCK_RATE_MAX:g} times its rate, not {fault.rate:g}"
            )
        self._clocks[fault.fault] = fault
        self._scale_clock()

    def arm_crash(self, fault: ArmCrash) -> None:
        """Die at the next passing of a crash point; ValueError for one that there is not."""
        if fault.point == AT_ONCE:
            self._trap.spring()
            return
        if fault.point not in CRASH_POINTS:
            raise ValueError(
                f"there is no crash point {fault.point!r}: it is one of {', '.join(CRASH_POINTS)}"
            )
        self._trap.armed = {**self._trap.armed, fault.fault: fault.point}

    def clear(self, fault: int) -> None:
        """End one fault, or all of them (0); one that is not there has ended already."""
        for number in [*self._links] if fault == 0 else [fault]:
            self._mend_link(number)
        if fault == 0:
            self._disks.clear()
            self._clocks.clear()
        self._disks.pop(fault, None)
        self._clocks.pop(fault, None)
        armed = self._trap.armed
        self._trap.armed = {} if fault == 0 else {key: armed[key] for key in armed if key != fault}
        self._break_disk()
        self._scale_clock()

    def describe(self) -> list[str]:
        """What is broken now, in words."""
        return [
            *map(describe_link, self._link_faults()),
            *map(describe_disk, self._disks.values()),
            *(f"clock at {fault.rate:g} times its rate" for fault in self._clocks.values()),
            *(f"dies at {point}" for point in self._trap.armed.values()),
        ]

    def _link_faults(self) -> Iterable[SetLink]:
        return (fault for fault, _ in self._links.values())

    def _mend_link(self, number: int) -> None:
        _, rules = self._links.pop(number, (None, []))
        for rule in rules:
            self._transport.clear(rule)

    def _break_disk(self) -> None:
        faults, files = self._disks.values(), self._files
        files.sync_delay_seconds = max((fault.fsync_delay_seconds for fault in faults), default=0.0)
        files.full = any(fault.full for fault in faults)
        files.fail_sync = any(fault.fail_fsync for fault in faults)
        loses = any(fault.lose_unsynced for fault in faults)
        files.unsynced = (files.unsynced or Unsynced()) if loses else None

    def _scale_clock(self) -> None:
        """The last order counts."""
        rate = next((fault.rate for fault in reversed(self._clocks.values())), 1.0)
        self._clock.rate = self._transport.pace = rate


def describe_link(fault: SetLink) -> str:
    """One line about a broken way."""
    names = ",".join(process_of(peer) for peer in fault.to)
    spoilt = {
        "delay": f"{fault.delay_seconds * 1000:g}ms" if fault.delay_seconds else "",
        "jitter": f"{fault.jitter_seconds * 1000:g}ms" if fault.jitter_seconds else "",
        "drop": f"{fault.drop:.0%}" if fault.drop else "",
        "duplicate": f"{fault.duplicate:.0%}" if fault.duplicate else "",
        "reorder": f"{fault.reorder:.0%}" if fault.reorder else "",
    }
    words = ["cut"] if fault.cut else [f"{name} {much}" for name, much in spoilt.items() if much]
    return f"link to {names}: {', '.join(words)}"


def describe_disk(fault: SetDisk) -> str:
    """One line about a broken disk."""
    words = [f"fsync +{fault.fsync_delay_seconds * 1000:g}ms"] if fault.fsync_delay_seconds else []
    words += ["full"] if fault.full else []
    words += ["fsync fails"] if fault.fail_fsync else []
    words += ["loses what is not synced"] if fault.lose_unsynced else []
    return f"disk: {', '.join(words)}"
