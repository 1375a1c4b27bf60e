"""Host names to addresses, looked up beside the loop: a resolver that falls silent holds up nothing.

Owns one thread for each name that is being looked up, and the last answer for every name, which counts for as
long as there is no newer one. libzmq would look names up in the one thread that serves all connections.
Knows nothing of connections, or of when it is time to look again.
"""

from __future__ import annotations

import ipaddress
import os
import socket
import threading
import time
from collections.abc import Callable, Sequence
from typing import Final

from actors.transport.endpoints import split_tcp

LookUp = Callable[[str], Sequence[str]]
"""The addresses of a host, in the order in which to try them. Raises OSError; may take any time."""

SILENT: Final = "the resolver does not answer"
SILENT_SECONDS: Final = 0.25
_LOCALHOST: Final = "127.0.0.1"


def look_up(host: str) -> list[str]:
    """What the system's resolver says: /etc/hosts, DNS, or whatever else it is told to ask."""
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(sockaddr[0]) for *_, sockaddr in found))


def name_in(endpoint: str) -> str:
    """The host of a tcp:// endpoint if it has to be looked up; "" for an address, and for ipc://."""
    if not endpoint.startswith("tcp://"):
        return ""
    host = split_tcp(endpoint)[0]
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return "" if host in ("localhost", "*") else host
    return ""


def at_address(endpoint: str, address: str) -> str:
    """The same endpoint with an address in place of its host."""
    host = f"[{address}]" if ":" in address else address
    return f"tcp://{host}:{split_tcp(endpoint)[1]}"


def by_address(endpoint: str) -> str:
    """An endpoint that names no host that has to be looked up, as libzmq takes it."""
    if endpoint.startswith("tcp://localhost:"):
        return at_address(endpoint, _LOCALHOST)
    return endpoint


class Resolver:
    """Looks up names for one loop: `fileno` is readable when there is something to `take`."""

    def __init__(self, look_up: LookUp) -> None:
        self.addresses: dict[str, tuple[str, ...]] = {}
        """By name, what was said last of it; nothing if nothing was ever said."""
        self.complaints: dict[str, str] = {}
        """By name, why there is no fresh answer; SILENT if the last question has been open for a while."""
        self._look_up = look_up
        self._asked_at: dict[str, float] = {}
        self._answers: list[tuple[str, tuple[str, ...], str]] = []
        self._lock = threading.Lock()
        self._bell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    def fileno(self) -> int:
        """For the loop's wait."""
        return self._bell

    def ask(self, name: str) -> None:
        """Look a name up, unless that is being done; the answer comes by `take`."""
        now = time.monotonic()
        asked_at = self._asked_at.setdefault(name, now)
        if asked_at != now:
            if now - asked_at > SILENT_SECONDS:
                self.complaints[name] = SILENT
            return
        # A daemon: a lookup cannot be cancelled, and must not hold up the end of the process.
        thread = threading.Thread(target=self._run, args=(name,), name=f"resolver of {name}", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:  # The system has no room for another thread.
            self._answer(name, (), str(error))

    def take(self) -> list[str]:
        """The names about which something new was said, be it that they cannot be resolved."""
        with self._lock:
            if self._bell < 0:
                return []
            os.eventfd_read(self._bell)
            answers, self._answers = self._answers, []
        for name, addresses, complaint in answers:
            del self._asked_at[name]
            if addresses:
                self.addresses[name] = addresses
                self.complaints.pop(name, None)
            else:
                self.complaints[name] = complaint
        return [name for name, _, _ in answers]

    def close(self) -> None:
        """Take no more answers; a lookup that still runs ends by itself. Idempotent."""
        with self._lock:
            if self._bell >= 0:
                os.close(self._bell)
                self._bell = -1

    def _run(self, name: str) -> None:
        try:
            addresses, complaint = tuple(self._look_up(name)), "it has no address"
        except (OSError, UnicodeError) as error:  # The second for what cannot be a host's name.
            addresses, complaint = (), getattr(error, "strerror", None) or str(error)
        self._answer(name, addresses, complaint)

    def _answer(self, name: str, addresses: tuple[str, ...], complaint: str) -> None:
        with self._lock:
            if self._bell >= 0:
                self._answers.append((name, addresses, complaint))
                os.eventfd_write(self._bell, 1)
