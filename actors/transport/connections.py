"""Who is connected to a process's inbox, and how much that may cost: descriptors and memory.

Owns the book of accepted connections. libzmq reads whatever arrives into memory, and can neither limit that
safely nor close one connection; but it tells which descriptor each has, and shutting that down makes it do
the rest. So a connection is cut off that is one too many, that has sent far more than came out of it as
frames (a message that never ends, frames faster than they are handled), or that leaves its answers unread.
Places are kept free for newcomers, so that a member that comes back is heard. Knows nothing of what is said.
"""

from __future__ import annotations

import array
import fcntl
import io
import os
import resource
import socket
import struct
import termios
import time
from collections import Counter
from collections.abc import Callable, Collection
from contextlib import suppress
from typing import Final

import msgspec

from actors.transport.log import Log

SILENT_SHARE: Final = 4  # One in so many connections may not have said yet who it is.
RESERVE_MIN, RESERVE_MAX = 64, 1024  # Descriptors for everything that is no connection.
LOOK_SECONDS: Final = 0.1
QUIET_LOOK_SECONDS: Final = 0.5  # While nothing is held, a process is not woken more often for this.
MEASURED_BYTES: Final = 1024 * 1024  # Below that, what is held or unread is not worth a closer look.
# What the protocol adds to a frame at most, and what its heartbeats bring that are no frames.
FRAME_OVERHEAD_BYTES: Final = 64
UNSEEN_BYTES_PER_SECOND: Final = 640
# What a process may make of each byte that it is told before its growth is laid at a sender's door.
GROWTH_PER_BYTE: Final = 4
_BYTES_ACKED_AND_RECEIVED: Final = struct.Struct("=QQ")
_BYTES_ACKED_AT: Final = 120  # In Linux's struct tcp_info, as of 4.1.
_STATM: Final = "/proc/self/statm"
_STATM_BYTES: Final = 256  # No line of it is longer.
_PAGE_BYTES: Final = resource.getpagesize()


class Connection(msgspec.Struct, eq=False):
    """One connection that was accepted."""

    fd: int
    route: bytes | None = None
    process: str = ""  # Whose it says it is, once it has said so.
    key: str = ""  # Which it has shown.
    taken: int = 0  # Bytes that came out of it as frames,
    held: int = 0  # and how many more libzmq seems to hold.
    told: int = 0  # Bytes of answers in all,
    unread: int = 0  # and those since it was last seen to read.
    waiting: int = 0  # What of them was in the system's buffer then.
    member: bool = False
    cut: bool = False
    local: bool = False  # An ipc connection, found out when it is looked at: the system counts nothing of it.


class Connections:
    """The book; `cuts` counts by reason who was cut off."""

    def __init__(
        self,
        cuts: Counter[str],
        log: Log,
        *,
        connections_max: int,
        held_bytes_max: int,
        unread_bytes_max: int,
        held_all_bytes_max: int,
        unread_all_bytes_max: int,
    ) -> None:
        self.is_stranger: Callable[[int], bool] | None = None
        """Given a descriptor: is it that of another user, whom nothing else keeps out?"""
        # Of connections that have gone while frames of theirs may be unread yet: whose it was, or nothing.
        self._gone_known: dict[bytes, Connection] = {}
        self._gone_silent: set[int] = set()
        self.some_have_gone = False
        self._cuts = cuts
        self._log = log
        self._held_bytes_max = held_bytes_max
        self._unread_bytes_max = unread_bytes_max
        self._held_all_bytes_max = held_all_bytes_max
        self._unread_all_bytes_max = unread_all_bytes_max
        self._unread_all = 0  # No less than all of them have not read; who has read meanwhile is not known.
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        limit = soft if soft != resource.RLIM_INFINITY else 2**20
        room = min(connections_max, limit - min(max(limit // 4, RESERVE_MIN), RESERVE_MAX))
        self.silent_max = max(room // SILENT_SHARE, 8)
        self.known_max = max(room - self.silent_max, 8)
        self._by_fd: dict[int, Connection] = {}
        self._by_route: dict[bytes, Connection] = {}
        self._silent: dict[int, None] = {}
        self._known: set[int] = set()
        self._looked_at = time.monotonic()
        self._quiet = True
        self._logged: dict[str, float] = {}
        self._memory: _Memory | None = None

    def __len__(self) -> int:
        return len(self._by_fd)

    # -- coming and going --------------------------------------------------------------------------

    def accepted(self, fd: int) -> None:
        """A connection was accepted; of many that say nothing the oldest makes way for it."""
        self.gone(fd)
        if self._memory is None:
            self._memory = _Memory()
        self._by_fd[fd] = Connection(fd)
        self._silent[fd] = None
        self._quiet = False
        if len(self._silent) > self.silent_max:
            self.cut(self._by_fd[next(iter(self._silent))], "too many connections that say nothing")
        if self.is_stranger is not None and self.is_stranger(fd):
            self.cut(self._by_fd[fd], "another user's, who needs a key to be heard")

    def gone(self, fd: int) -> None:
        """A connection is closed."""
        connection = self._by_fd.pop(fd, None)
        if connection is not None:
            self._forget(connection)
            if self.is_stranger is not None:
                self._note_gone(connection)

    def of(self, route: bytes) -> Connection | None:
        """The connection by libzmq's name for it, if a frame has come from there before."""
        return self._by_route.get(route) or self._gone_known.get(route)

    def nothing_is_unread(self) -> None:
        """All frames have been read of those who have gone."""
        self._gone_known.clear()
        self._gone_silent.clear()
        self.some_have_gone = False

    def _note_gone(self, connection: Connection) -> None:
        self.some_have_gone = True
        if connection.route is None:
            self._gone_silent.add(connection.fd)
        else:
            self._gone_known[connection.route] = connection

    def meet(self, route: bytes, fd: int, key: str) -> Connection:
        """The first frame has come from a connection."""
        connection = self._by_fd.get(fd)
        if connection is not None and fd in self._gone_silent:
            self.cut(connection, "not to be told from one that had the same descriptor")
            connection = None
        if connection is None or connection.route is not None:
            # What was left of one that is closed. Whose it was cannot be found out any more.
            return Connection(-1, route, cut=self.is_stranger is not None)
        connection.route, connection.key = route, key
        self._by_route[route] = connection
        return connection

    def introduced(self, connection: Connection, process: str, *, member: bool) -> None:
        """It has said whose it is. Members always find a place, others as long as there is one."""
        fd = connection.fd
        if fd < 0 or connection.cut or connection.process:
            return
        connection.process, connection.member = process, member
        self._silent.pop(fd, None)
        if member:
            return
        self._known.add(fd)
        if len(self._known) > self.known_max:
            self.cut(connection, "too many connections")

    def _forget(self, connection: Connection) -> None:
        self._set_unread(connection, 0)
        self._silent.pop(connection.fd, None)
        self._known.discard(connection.fd)
        if connection.route is not None:
            self._by_route.pop(connection.route, None)

    def took(self, connection: Connection, size: int) -> None:
        """A frame of so many bytes has come out of a connection."""
        connection.taken += size + FRAME_OVERHEAD_BYTES

    def close(self) -> None:
        """Release what it looks with."""
        if self._memory is not None:
            self._memory.close()

    # -- what it costs -----------------------------------------------------------------------------

    def may_send(self, route: bytes, size: int) -> bool:
        """Count an answer; False, and the connection is cut off, if too many lie unread."""
        connection = self._by_route.get(route)
        if connection is None:
            return True
        connection.told += size
        connection.unread += size
        self._unread_all += size
        if connection.unread > MEASURED_BYTES:
            self._measure_unread(connection, size)
            if connection.unread > self._unread_bytes_max:
                self.cut(connection, "answers not read")
        if self._unread_all > self._unread_all_bytes_max:
            self._relieve_of_answers(connection, size)
        return not connection.cut

    def _relieve_of_answers(self, connection: Connection, size: int) -> None:
        """All together leave too much unread: look at each, and cut off those that leave the most."""
        for each in self._by_fd.values():
            self._measure_unread(each, size if each is connection else 0)
        while self._unread_all > self._unread_all_bytes_max:
            worst = max(self._by_fd.values(), key=_unread_of)
            self.cut(worst, "answers not read, the most of all connections")
            self._set_unread(worst, 0)

    def _measure_unread(self, connection: Connection, size: int) -> None:
        counts = _bytes_acked_and_received(connection)
        if counts is not None:
            connection.told = max(connection.told, counts[0])
            self._set_unread(connection, max(size, connection.told - counts[0]))
            return
        # Of an ipc connection there is only what waits in the buffer: that changes while the peer reads.
        waiting = _unsent_bytes(connection.fd)
        if waiting == 0 or waiting != connection.waiting:
            connection.waiting = waiting
            self._set_unread(connection, size)

    def _set_unread(self, connection: Connection, size: int) -> None:
        self._unread_all += size - connection.unread
        connection.unread = size

    def due_seconds(self) -> float | None:
        """How long one may wait until `look` is called; None while there is nothing to look at."""
        if not self._by_fd:
            return None
        period_seconds = QUIET_LOOK_SECONDS if self._quiet else LOOK_SECONDS
        return max(0.0, self._looked_at + period_seconds - time.monotonic())

    def look(self) -> None:
        """Cut off who has sent far more than has come out as frames.

        To be called whenever the process is awake: it looks ten times a second at most.
        """
        now = time.monotonic()
        if now < self._looked_at + LOOK_SECONDS:
            return
        unseen = int(UNSEEN_BYTES_PER_SECOND * (now - self._looked_at))
        self._looked_at, self._quiet = now, True
        taken = sum(each.taken for each in self._by_fd.values())
        growth = 0 if self._memory is None else self._memory.growth(taken)
        for connection in [*self._by_fd.values()]:
            if connection.cut:
                continue
            counts = _bytes_acked_and_received(connection)
            if counts is not None:
                connection.taken = min(connection.taken + unseen, counts[1])
                connection.held = counts[1] - connection.taken
            elif growth <= 0:
                connection.held = max(0, connection.held + growth)
            elif not connection.member and (not connection.process or _arriving_bytes(connection.fd)):
                # Of an ipc connection the system counts nothing: a client that sends while memory grows is
                # suspected. One that is cut off wrongly connects again.
                connection.held += growth
            self._quiet = self._quiet and connection.held < MEASURED_BYTES
            if connection.held > self._held_bytes_max:
                self.cut(connection, "sent more than can be handled")
        self._relieve_of_held()

    def _relieve_of_held(self) -> None:
        """All together hold too much: cut off those that hold the most."""
        held = [each for each in self._by_fd.values() if not each.cut and each.held > 0]
        total = sum(each.held for each in held)
        for worst in sorted(held, key=_held_of, reverse=True):
            if total <= self._held_all_bytes_max:
                return
            total -= worst.held
            self.cut(worst, "sent more than can be handled, the most of all connections")

    def cut(self, connection: Connection, reason: str) -> None:
        """Close a connection; libzmq will tell that it is gone."""
        if connection.cut or connection.fd < 0:
            return
        connection.cut = True
        self._cuts[f"cut off: {reason}"] += 1
        self._say_why(connection, reason)
        self._silent.pop(connection.fd, None)
        self._known.discard(connection.fd)
        with suppress(OSError):
            _shut_down(connection.fd)

    def cut_keys(self, keys: Collection[str]) -> list[str]:
        """Close the connections that were made by some keys; the processes that have spoken by them."""
        cut = [each for each in self._by_fd.values() if each.key in keys]
        for connection in cut:
            self.cut(connection, "its key was removed")
        return [each.process for each in cut if each.process]

    def _say_why(self, connection: Connection, reason: str) -> None:
        now = time.monotonic()
        if now < self._logged.get(reason, 0.0):
            return  # One line a second for each reason will do; the counter has them all.
        self._logged[reason] = now + 1.0
        name = connection.process or "one that has not said who it is"
        text = f"cut off {name}, {_whereabouts(connection.fd)}: {reason}"
        self._log("WARNING", "cut-off", text, process=connection.process)


class _Memory:
    """How this process grows, apart from what it was told in frames."""

    def __init__(self) -> None:
        self._file: io.FileIO | None = None
        with suppress(OSError):  # No descriptor is left, or it is not Linux.
            self._file = io.FileIO(_STATM)  # Kept open, since it is read ten times a second.
        self._bytes = self._resident_bytes()
        self._taken = 0

    def growth(self, taken: int) -> int:
        """Since the last call, in bytes; negative if it has shrunk. `taken` has come in frames in all."""
        now, before = self._resident_bytes(), self._bytes
        told = max(0, taken - self._taken)
        self._bytes, self._taken = now, taken
        return now - before - GROWTH_PER_BYTE * told

    def close(self) -> None:
        """No more of it."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _resident_bytes(self) -> int:
        if self._file is None:
            return 0
        return int(os.pread(self._file.fileno(), _STATM_BYTES, 0).split()[1]) * _PAGE_BYTES


def _unread_of(connection: Connection) -> int:
    return connection.unread


def _held_of(connection: Connection) -> int:
    return connection.held


def _socket_of(fd: int) -> socket.socket:
    return socket.socket(fileno=fd)


def _shut_down(fd: int) -> None:
    # The descriptor is libzmq's to close. If it has been closed and is another's by now, that other one is a
    # socket that connects again, or no socket at all, which is an error here and nothing more.
    shut = _socket_of(fd)
    try:
        shut.shutdown(socket.SHUT_RDWR)
    finally:
        shut.detach()


def _bytes_acked_and_received(connection: Connection) -> tuple[int, int] | None:
    """What has arrived there and here since the connection began; None where the system does not say."""
    if connection.local:
        return None
    try:
        asked = _socket_of(connection.fd)
    except OSError:
        return None
    try:
        if asked.family == socket.AF_UNIX:
            connection.local = True
            return None
        info = asked.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
        acked, received = _BYTES_ACKED_AND_RECEIVED.unpack_from(info, _BYTES_ACKED_AT)
        return acked, received
    except (OSError, struct.error):
        return None
    finally:
        asked.detach()


def _queued(fd: int, request: int) -> int:
    answer = array.array("i", [0])
    try:
        fcntl.ioctl(fd, request, answer)
    except OSError:
        return 0
    return answer[0]


def _arriving_bytes(fd: int) -> int:
    return _queued(fd, termios.FIONREAD)


def _unsent_bytes(fd: int) -> int:
    return _queued(fd, termios.TIOCOUTQ)


def _whereabouts(fd: int) -> str:
    """Where a connection comes from, in words."""
    try:
        asked = _socket_of(fd)
    except OSError:
        return "which is gone already"
    try:
        if asked.family == socket.AF_UNIX:
            pid, uid, _ = struct.unpack("3i", asked.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
            return f"process {pid} of user {uid}"
        return "from {}:{}".format(*asked.getpeername()[:2])
    except OSError:
        return "which is gone already"
    finally:
        asked.detach()
