"""A process in which things can be broken on purpose, by its supervisor alone.

Owns the faulty parts that take the places of the real ones, and the orders that break and mend them. Loaded
only where a node was started for it, so that elsewhere there is nothing that could be called.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from random import Random
from typing import Any, Final

from actors.clock import MonotonicClock, ScaledClock
from actors.transport.base import Transport
from actors.transport.faults import FaultyTransport
from raft.node.process.faults import ProcessFaults, Trap, die
from raft.protocol.admin import ArmCrash, CannotDo, ClearFault, Done, SetClock, SetDisk, SetLink
from raft.storage.faulty import FaultyFiles
from raft.storage.files import RealFiles

_CLONE_NEWNET: Final = 0x40000000


def enter_network_namespace(path: str) -> None:
    """Have all sockets of this process in that namespace; before there is one, or another thread."""
    with Path(path).open("rb") as namespace:
        if ctypes.CDLL(None, use_errno=True).setns(namespace.fileno(), _CLONE_NEWNET):
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), path)


class Injection:
    """The faulty parts of one process. Each is faultless until its supervisor breaks it."""

    def __init__(self) -> None:
        self.files = FaultyFiles(RealFiles())
        self.trap = Trap(partial(die, self.files))
        self.clock = ScaledClock(MonotonicClock())

    def around(self, transport: Transport, random: Random, links: tuple[SetLink, ...]) -> Transport:
        """The transport with faults before it; the network begins as `links` say."""
        faulty = FaultyTransport(transport, random=random, clock=self.clock)
        self.faults = ProcessFaults(faulty, self.files, self.trap, self.clock)
        for link in links:
            self.faults.set_link(link)
        return faulty

    @property
    def clock_rate(self) -> float:
        """How many seconds this process's clock counts in one."""
        return self.clock.rate

    def describe(self) -> list[str]:
        """What is broken now, in words."""
        return self.faults.describe()

    def orders(self) -> Mapping[type, Callable[[Any], Done | CannotDo]]:
        """What a supervisor may order, and who carries it out."""
        faults = self.faults
        return {
            SetLink: lambda order: attempt(partial(faults.set_link, order)),
            SetDisk: lambda order: attempt(partial(faults.set_disk, order)),
            SetClock: lambda order: attempt(partial(faults.set_clock, order)),
            ArmCrash: lambda order: attempt(partial(faults.arm_crash, order)),
            ClearFault: lambda order: attempt(partial(faults.clear, order.fault)),
        }


def attempt(action: Callable[[], None]) -> Done | CannotDo:
    """Do it, or say why it makes no sense."""
    try:
        action()
    except ValueError as error:
        return CannotDo(str(error))
    return Done()
