"""The disk of one simulated node, which outlives the node's processes.

Owns its present faults, the duration of writes, and the crash point of a write. Knows nothing of processes,
or of what is written.
"""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from random import Random

from msgspec import Struct

from raft.lab.simulation.hosts.disk import SimulatedFiles
from raft.lab.simulation.run_log import RunLog
from raft.lab.simulation.setting import DATA_DIR, Setting
from raft.node.worker import Job
from raft.storage.errors import StoreError
from raft.storage.segment import sequence_of
from raft.storage.snapshots import index_of

DIRECTORY = Path(DATA_DIR)
POINTS_MAX = 4  # A write passes hardly more before it is durable.


class SimulatedCrash(BaseException):
    """The process ends here, in the middle of a write. No handler may catch it."""


class DiskFault(Struct, frozen=True):
    """A fault of a disk."""

    slower_seconds: float = 0.0
    full: bool = False
    fails: bool = False


class Drive:
    """`files` is the disk as the store sees it; `pass_point` is called at each point of a write."""

    def __init__(self, name: str, *, setting: Setting, run_log: RunLog, dice: Random) -> None:
        self.files = SimulatedFiles()
        self.flipped_bits = 0
        self.may_fail = False  # Could this incarnation of the process meet errors?
        self._name = name
        self._setting = setting
        self._run_log = run_log
        self._dice = dice
        self._faults: dict[int, DiskFault] = {}
        self._points_left: int | None = None
        self._armed: tuple[str, bool] | None = None

    # -- faults -------------------------------------------------------------------------------------

    def spoil(self, number: int, fault: DiskFault) -> None:
        """Let a fault take effect."""
        self._faults[number] = fault
        self._set_faults()

    def mend(self, number: int | None = None) -> None:
        """End one fault, or all."""
        if number is None:
            self._faults.clear()
        else:
            self._faults.pop(number, None)
        self._set_faults()

    def begin_incarnation(self) -> None:
        """A process begins, and `may_fail` is set anew."""
        self.may_fail = False
        self._set_faults()

    @property
    def is_slow(self) -> bool:
        """Is it slower than usual?"""
        return any(fault.slower_seconds for fault in self._faults.values())

    def write_seconds(self) -> float:
        """The duration of the next write."""
        slower_seconds = max((fault.slower_seconds for fault in self._faults.values()), default=0.0)
        return (self._setting.write_seconds + slower_seconds) * (0.5 + self._dice.random())

    def flip_bit(self, dice: Random) -> None:
        """Change one bit of a file that holds data."""
        names = [name for name in self.files.names(DIRECTORY) if self.files.read(DIRECTORY / name)]
        if not names:
            return
        path = DIRECTORY / dice.choice(names)
        used = len(self.files.read(path).rstrip(b"\0"))
        bit = dice.randrange(8 * max(1, used))
        self.files.flip_bit(path, bit)
        self.flipped_bits += 1
        self._run_log.count("bits flipped")
        self._run_log.tell(self._name, f"bit {bit} of {path.name} is flipped")

    def lose_last_segment(self) -> None:
        """Remove the newest segment of the log, if there is another one."""
        names = [name for name in self.files.names(DIRECTORY) if sequence_of(name) is not None]
        if len(names) < 2:
            return
        self.files.remove(DIRECTORY / names[-1])
        # Not prevented by a fault of syncs: the disk itself lost it.
        failing, self.files.fail_syncs = self.files.fail_syncs, False
        self.files.sync_directory(DIRECTORY)
        self.files.fail_syncs = failing
        self.flipped_bits += 1
        self._run_log.count("segments lost")
        self._run_log.tell(self._name, f"{names[-1]} is lost")

    def rot_snapshot(self, dice: Random) -> bool:
        """Change a bit in the second half of the newest snapshot's file, if it is large enough."""
        names = [name for name in self.files.names(DIRECTORY) if index_of(name) is not None]
        size = len(self.files.read(DIRECTORY / names[-1])) if names else 0
        if size < 256:
            return False
        bit = dice.randrange(4 * size, 8 * size)
        self.files.flip_bit(DIRECTORY / names[-1], bit)
        self.flipped_bits += 1
        self.may_fail = True  # It may just be being read.
        self._run_log.count("snapshots rotted")
        self._run_log.tell(self._name, f"bit {bit} of {names[-1]} is flipped")
        return True

    def wipe(self) -> None:
        """Lose all files."""
        self.become(SimulatedFiles())

    def copy(self) -> SimulatedFiles:
        """All files as they are now, open or not."""
        return deepcopy(self.files)

    def become(self, files: SimulatedFiles) -> None:
        """Replace all files by these."""
        self.files = files
        self._set_faults()

    # -- the end of a process -----------------------------------------------------------------------

    def end_process(self, *, power: bool) -> None:
        """The process ends; if the power fails, unsynced writes may be lost."""
        if power:
            self.files.power_cut(self._dice)
        else:
            self.files.kill()

    def cut_short(self, job: Job) -> None:
        """Do part of a write, or none of it, at random, while its process dies."""
        if self._dice.random() < 0.3:
            return
        self._points_left = self._dice.randrange(POINTS_MAX)
        try:
            job()
        except SimulatedCrash:
            self._run_log.count("writes cut short")
        except StoreError:
            pass  # The process is dead.
        finally:
            self._points_left = None

    def arm(self, point: str, *, power: bool) -> None:
        """Let the process die when a write next passes that point."""
        self._armed = (point, power)

    def disarm(self) -> tuple[str, bool] | None:
        """Remove the crash point; returns it."""
        armed, self._armed = self._armed, None
        return armed

    def pass_point(self, point: str) -> None:
        """A write passes a point; raises SimulatedCrash if the process dies there."""
        if self._points_left is not None:
            self._points_left -= 1
            if self._points_left < 0:
                raise SimulatedCrash
        elif self._armed is not None and self._armed[0] == point:
            raise SimulatedCrash

    def _set_faults(self) -> None:
        faults = self._faults.values()
        self.files.fail_syncs = any(fault.fails for fault in faults)
        self.files.capacity_bytes = 0 if any(fault.full for fault in faults) else None
        self.may_fail = self.may_fail or self.files.fail_syncs or self.files.capacity_bytes is not None
