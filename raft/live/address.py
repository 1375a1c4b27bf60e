"""Where a page is served: the socket, and the secret in its address.

Owns both, and keeping them in a file, so that a page that is still open finds the next server of the same
cluster. Loads nothing that only serving needs.
"""

from __future__ import annotations

import contextlib
import socket
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from actors.processes.private_files import write_private
from raft.cluster.failures import VerbFailed

SECRET_BYTES = 18


class Kept(Struct, frozen=True):
    """What a file keeps of an address."""

    port: Annotated[int, Meta(ge=1, le=65535)]
    token: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{20,100}$")]


class Address(Struct, frozen=True):
    """A socket that listens, and the secret without which nothing is answered there."""

    listener: socket.socket
    token: str

    @property
    def url(self) -> str:
        """To open in a browser."""
        return f"http://{self._shown}:{self.port}/{self.token}/"

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self.listener.getsockname()[1])

    @property
    def hosts(self) -> frozenset[str]:
        """The Host headers under which it may be asked; `*`: any that is an address."""
        names = {self._shown, "127.0.0.1", "localhost", "[::1]"}
        return frozenset({f"{name}:{self.port}" for name in names} | ({"*"} if self._is_open else set()))

    @property
    def _host(self) -> str:
        return str(self.listener.getsockname()[0])

    @property
    def _is_open(self) -> bool:
        return self._host in ("0.0.0.0", "::")

    @property
    def _shown(self) -> str:
        if self._is_open:
            return socket.gethostname()
        return f"[{self._host}]" if ":" in self._host else self._host


def bind(host: str, port: int) -> socket.socket:
    """A socket that listens there. Raises VerbFailed where that cannot be."""
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family)
    except (OSError, OverflowError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise VerbFailed(f"the page cannot be served at {host}:{port}: {why}") from error


def address_at(place: str, kept_in: Path | None = None) -> Address:
    """An address at HOST:PORT (port 0: any that is free), bound.

    The secret, and the port that was found, are those that the file keeps, if it does and the port is free;
    else the file keeps the new ones. Raises VerbFailed if nothing can be bound.
    """
    host, _, port = place.rpartition(":")
    host = host.strip("[]")
    before = _read(kept_in)
    from secrets import token_urlsafe  # Here, since every verb may load this module.

    token = token_urlsafe(SECRET_BYTES) if before is None else before.token
    listener = None
    if before is not None and int(port) == 0:
        with contextlib.suppress(VerbFailed):
            listener = bind(host, before.port)
    address = Address(listener or bind(host, int(port)), token)
    if kept_in is not None:
        with contextlib.suppress(OSError):  # Next time the address is another one.
            write_private(kept_in, msgspec.json.encode(Kept(address.port, token)))
    return address


def _read(path: Path | None) -> Kept | None:
    if path is None:
        return None
    try:
        return msgspec.json.decode(path.read_bytes(), type=Kept)
    except (OSError, msgspec.DecodeError):
        return None
