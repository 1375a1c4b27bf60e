"""CURVE keys as files, and the door that only their owners pass.

Owns the key files, the list of those who are let in, and the ZAP handler that asks it. A key
belongs to a name: a process speaks as that name, or as a name under it ("alice" as "alice.7f3").
Knows nothing of frames.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec
import zmq
from zmq.utils import z85

from actors.address import check_process_name
from actors.errors import TransportError

ALLOWED_FILE: Final = "allowed.toml"
DOMAIN: Final = b"actors"
_ENDPOINT: Final = "inproc://zeromq.zap.01"
_KEY_CHARACTERS: Final = 40


class KeysError(TransportError):
    """Keys that cannot be made, read or trusted; the message says what to do."""


class Keys(msgspec.Struct, frozen=True):
    """One process's key pair, and the public keys of all whom it knows, by name."""

    name: str
    public: bytes
    secret: bytes
    allowed: Mapping[str, bytes]

    def __repr__(self) -> str:  # Never the secret: it would end in a log.
        return f"Keys({self.name!r}, {len(self.allowed)} allowed)"

    def find(self, process: str) -> bytes | None:
        """The key that `process` must prove to have, if there is one."""
        return self.allowed.get(process) or self.allowed.get(process.rpartition(".")[0])

    def public_key_of(self, process: str) -> bytes:
        """The key that `process` must prove to have: its own, or that of the name it is under.

        Raises KeysError for a stranger.
        """
        key = self.find(process)
        if key is None:
            raise KeysError(f"{ALLOWED_FILE} has no public key of {process}: make one, and add it everywhere")
        return key


def generate(directory: Path, names: Sequence[str]) -> list[Path]:
    """Make a key file NAME.toml for each name, and enter them all in the list of those allowed.

    Files have mode 0600 in a directory of mode 0700. A process needs its own key file and, beside it, the
    list; no other process's key file. Names that are in the list already stay. Raises KeysError, before
    anything is written, when a name has a key already.
    """
    for name in names:
        _check_name(name)
        if (directory / f"{name}.toml").exists():
            raise KeysError(
                f"{directory / name}.toml is there already: remove it first if {name} needs a new key"
            )
    if len(set(names)) < len(names):
        raise KeysError(f"a name occurs twice among {', '.join(names)}")
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise KeysError(f"{directory} cannot be made: {error.strerror}") from error
    _check_private(directory)
    allowed = dict(_read_allowed(directory)) if (directory / ALLOWED_FILE).exists() else {}
    paths = []
    for name in names:
        public, secret = zmq.curve_keypair()
        allowed[name] = public
        paths.append(directory / f"{name}.toml")
        _write_private(
            paths[-1],
            f'# Whoever has this file speaks as {name}: give it to nobody else.\nname = "{name}"\n'
            f'public = "{public.decode()}"\nsecret = "{secret.decode()}"\n',
        )
    lines = "".join(f'"{name}" = "{key.decode()}"\n' for name, key in sorted(allowed.items()))
    _write_private(
        directory / ALLOWED_FILE, f"# Who is let in, by public key. Every machine has this list.\n{lines}"
    )
    return paths


def load(path: Path) -> Keys:
    """Read a key file, and the list of those allowed beside it. Raises KeysError."""
    _check_private(path)
    fields = _read_toml(path)
    name = fields.get("name", "")
    public, secret = _key(path, fields.get("public")), _key(path, fields.get("secret"))
    if zmq.curve_public(secret) != public:
        raise KeysError(f"the public and the secret key in {path} do not belong together")
    return Keys(_check_name(name), public, secret, _read_allowed(path.parent))


class Doorkeeper:
    """Answers libzmq's question, at each handshake, whether that key may come in (ZAP, RFC 27).

    Without one, libzmq lets every key in. It listens inside one zmq context, and has to be there before
    the first peer is.
    """

    def __init__(
        self, context: zmq.Context[zmq.Socket[bytes]], keys: Keys, on_stranger: Callable[[], None]
    ) -> None:
        self._keys = keys
        self.allow(keys.allowed)
        self._on_stranger = on_stranger
        self.socket = context.socket(zmq.REP)
        self.socket.bind(_ENDPOINT)

    def allow(self, allowed: Mapping[str, bytes]) -> None:
        """Let in the owners of these keys from now on, and no others."""
        self._owners = {key: name for name, key in allowed.items()}

    def guard(self, inbox: zmq.Socket[bytes]) -> None:
        """Make `inbox` ask at the door; before it is bound."""
        inbox.setsockopt(zmq.CURVE_SERVER, 1)
        inbox.setsockopt(zmq.CURVE_SECRETKEY, self._keys.secret)
        inbox.setsockopt(zmq.ZAP_DOMAIN, DOMAIN)
        inbox.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)

    def answer(self) -> None:
        """Answer whoever waits at the door, without waiting for more."""
        with suppress(zmq.Again):
            while True:
                self.socket.send_multipart(self._verdict(self.socket.recv_multipart(zmq.DONTWAIT)))

    def _verdict(self, question: list[bytes]) -> list[bytes]:
        version, number, domain, _address, _routing_id, mechanism, *credentials = question
        owner = None
        if domain == DOMAIN and mechanism == b"CURVE" and len(credentials) == 1:
            owner = self._owners.get(z85.encode(credentials[0]))
        if owner is None:
            self._on_stranger()
            return [version, number, b"400", b"not among those allowed", b"", b""]
        return [version, number, b"200", b"OK", owner.encode(), b""]


def identify(peer: zmq.Socket[bytes], keys: Keys, public_key: bytes) -> None:
    """Make a connecting socket prove who it is, and ask the same of the one it finds; before it connects."""
    peer.setsockopt(zmq.CURVE_SERVERKEY, public_key)
    peer.setsockopt(zmq.CURVE_PUBLICKEY, keys.public)
    peer.setsockopt(zmq.CURVE_SECRETKEY, keys.secret)


def _check_name(name: object) -> str:
    if not isinstance(name, str) or any(character in name for character in '"\\'):
        raise KeysError(f"{name!r} cannot be a process's name")
    return check_process_name(name)


def _check_private(path: Path) -> None:
    """Only this user, or root, can change the file and the way to it, and only this user can read it."""
    _check_trusted(path)
    mode = _stat(path)[0]
    if mode & 0o077:
        raise KeysError(f"{path} can be read by others (mode {mode:o}): chmod go= {path}")


def _check_trusted(path: Path) -> None:
    """No other user can change the file, or put another one in its place: as ssh checks its own files.

    A directory that all may write to counts only if entries in it are their owners' (sticky, as /tmp).
    """
    full = path.resolve() if path.exists() else path.absolute()
    for place in (full, *full.parents):
        mode, owner = _stat(place)
        if owner not in (os.geteuid(), 0):
            raise KeysError(
                f"{place} belongs to another user (uid {owner}), who could change {path.name}:"
                f" chown it to uid {os.geteuid()}, or keep the keys elsewhere"
            )
        shared = mode & 0o022
        if shared and not (place != full and mode & stat.S_ISVTX):
            raise KeysError(f"{place} can be changed by others (mode {mode:o}): chmod go-w {place}")


def _stat(path: Path) -> tuple[int, int]:
    try:
        found = path.stat()
    except OSError as error:
        raise KeysError(f"{path} cannot be read: {error.strerror}") from error
    return stat.S_IMODE(found.st_mode), found.st_uid


def _read_toml(path: Path) -> dict[str, object]:
    import tomllib  # Only who has keys pays for it.

    try:
        return tomllib.loads(path.read_text())
    except OSError as error:
        raise KeysError(f"{path} cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise KeysError(f"{path} is no key file: {error}") from error


def _read_allowed(directory: Path) -> dict[str, bytes]:
    path = directory / ALLOWED_FILE
    _check_trusted(path)
    allowed = {_check_name(name): _key(path, key) for name, key in _read_toml(path).items()}
    if len(set(allowed.values())) < len(allowed):
        raise KeysError(f"two names have the same key in {path}")
    return allowed


def _key(path: Path, text: object) -> bytes:
    if not isinstance(text, str) or not text.isascii() or len(text) != _KEY_CHARACTERS:
        raise KeysError(f"{path} lacks a key of {_KEY_CHARACTERS} characters")
    try:
        z85.decode(text.encode())
    except (KeyError, ValueError) as error:
        raise KeysError(f"{path} has a key with characters that keys do not have") from error
    return text.encode()


def _write_private(path: Path, text: str) -> None:
    """Put a whole file in its place, never half of it, and never for others to read."""
    half = path.with_name(path.name + ".new")
    with suppress(FileNotFoundError):
        half.unlink()
    try:
        fd = os.open(half, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(fd, "w") as file:
            file.write(text)
        half.replace(path)
    except OSError as error:
        raise KeysError(f"{path} cannot be written: {error.strerror}") from error
