"""Protected resources: a file and an SQL row that reject writes with an older fencing token.

Owns the check that the resource itself must make. A lease alone can't protect it: a paused holder may wake
up, and write, long after another client has taken its place. Needs no cluster and no connection; the token
is a number that grows with every leadership. (M. Kleppmann, "How to do distributed locking", 2016.)
"""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import count, repeat
from pathlib import Path
from typing import Any, Protocol
from zlib import crc32

from actors.processes.private_files import replace_file, sync_directory

Statement = tuple[str, Sequence[object]]

_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)?")


class StaleToken(Exception):
    """Nothing was written: a newer leadership has written already, so that of `token` is over."""

    def __init__(self, token: int, newest: int) -> None:
        super().__init__(f"the fencing token {token} is stale: token {newest} was used already")
        self.token = token
        self.newest = newest


class DamagedToken(Exception):
    """Nothing was written: the file that keeps the newest token is damaged and must not be trusted."""

    def __init__(self, path: Path) -> None:
        super().__init__(
            f"{path} is damaged, so the newest leadership is unknown: write the newest token of the "
            f"election into it as a number, and nothing else"
        )
        self.path = path


class FencedFile:
    """A file that is replaced as a whole, and only by the newest leadership that has used it.

    The newest token is kept beside it, in `NAME.token`, which is also the lock between processes. Both are
    durable when `write` returns. Protects only against writers that use this class, on one machine.
    The token is kept with a checksum; all methods raise DamagedToken if that does not match.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.token_path = self.path.with_name(self.path.name + ".token")

    def write(self, token: int, data: bytes) -> None:
        """Replace the contents; StaleToken if a greater token was used by `write` or `guard`."""
        with self._held() as descriptor:
            self._pass(descriptor, token)
            replace_file(self.path, data, private=False)

    @contextmanager
    def guard(self, token: int) -> Iterator[None]:
        """Lock the file for longer than a single `write`; StaleToken as there."""
        with self._held() as descriptor:
            self._pass(descriptor, token)
            yield

    def newest_token(self) -> int:
        """The greatest token used so far; 0 before the first one."""
        with self._held() as descriptor:
            return self._read(descriptor)

    def _read(self, descriptor: int) -> int:
        words = os.pread(descriptor, 64, 0).decode(errors="replace").split()
        if not words:
            return 0
        if not words[0].isdecimal() or words[1:] not in ([], [_checksum(words[0])]):
            raise DamagedToken(self.token_path)
        return int(words[0])

    @contextmanager
    def _held(self) -> Iterator[int]:
        descriptor = os.open(self.token_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield descriptor
        finally:
            os.close(descriptor)

    def _pass(self, descriptor: int, token: int) -> None:
        check_token(token)
        newest = self._read(descriptor)
        if token < newest:
            raise StaleToken(token, newest)
        if token > newest:
            # The token is stored before the data: a crash in between leaves it too high for the old holder,
            # never too low. A fixed width is overwritten in one write.
            number = f"{token:020d}"
            os.pwrite(descriptor, f"{number} {_checksum(number)}\n".encode(), 0)
            os.fsync(descriptor)
            sync_directory(self.path.parent)


class Cursor(Protocol):
    """The part of a DB-API 2.0 cursor that is used here."""

    @property
    def rowcount(self) -> int:
        """How many rows the last statement affected."""
        ...

    def execute(self, statement: str, parameters: Any, /) -> Any:
        """Execute a statement."""
        ...

    def fetchone(self) -> Any:
        """The next row of the result, None if there is none."""
        ...


class AsyncConnection(Protocol):
    """The part of an asyncio connection that is used here: aiosqlite, psycopg or, with `$1`, asyncpg."""

    async def execute(self, statement: str, /, *parameters: Any) -> Any:
        """Execute a statement."""
        ...


class FencedRow:
    """Rows of a table with a column for the newest token, written by one statement that also checks it.

    The column is an integer, and 0 or NULL before the first write. `placeholder` is `?` (sqlite3, aiosqlite),
    `%s` (psycopg) or `$1` (asyncpg), as the driver requires. The names of the table and of its columns come
    from the program, never from a user. The transaction is the caller's: nothing is durable before its
    commit.

    Before reading what is to be changed, store the new token by an update with no values: an older holder may
    write until then.
    """

    def __init__(self, table: str, *, key: str, token: str = "fencing_token", placeholder: str = "?") -> None:
        if placeholder not in ("?", "%s", "$1"):
            raise ValueError(f"a placeholder is ?, %s or $1, not {placeholder!r}")
        self._table = _identifier(table)
        self._key = _identifier(key)
        self._token = _identifier(token)
        self._placeholder = placeholder

    def update(self, cursor: Cursor, key: object, token: int, values: Mapping[str, object]) -> None:
        """Set columns of the row.

        Raises StaleToken if a greater token was stored, LookupError if it is missing.
        """
        self._write(cursor, self.statement(key, token, values), key, token)

    def insert(self, cursor: Cursor, key: object, token: int, values: Mapping[str, object]) -> None:
        """Add the row, or set its columns if it exists; StaleToken if a greater token was stored.

        `key` must be unique in the table. For SQLite and PostgreSQL, which have ON CONFLICT.
        """
        self._write(cursor, self.insertion(key, token, values), key, token)

    async def update_async(
        self, connection: AsyncConnection, key: object, token: int, values: Mapping[str, object]
    ) -> None:
        """`update` with an asyncio driver."""
        await self._write_async(connection, self.statement(key, token, values), key, token)

    async def insert_async(
        self, connection: AsyncConnection, key: object, token: int, values: Mapping[str, object]
    ) -> None:
        """`insert` with an asyncio driver."""
        await self._write_async(connection, self.insertion(key, token, values), key, token)

    def statement(self, key: object, token: int, values: Mapping[str, object]) -> Statement:
        """The update and its parameters, for other drivers; if it affects no row, it was rejected."""
        check_token(token)
        names = [_identifier(name) for name in (*values, self._token)]
        marks = self._marks()
        sets = ", ".join(f"{name} = {next(marks)}" for name in names)
        statement = (
            f"UPDATE {self._table} SET {sets} WHERE {self._key} = {next(marks)} "
            f"AND COALESCE({self._token}, 0) <= {next(marks)}"
        )
        return statement, (*values.values(), token, key, token)

    def insertion(self, key: object, token: int, values: Mapping[str, object]) -> Statement:
        """The insert-or-update and its parameters, for other drivers."""
        check_token(token)
        names = [_identifier(name) for name in (*values, self._token)]
        marks = self._marks()
        places = ", ".join(next(marks) for _ in range(len(names) + 1))
        sets = ", ".join(f"{name} = excluded.{name}" for name in names)
        statement = (
            f"INSERT INTO {self._table} AS held ({', '.join((self._key, *names))}) VALUES ({places}) "
            f"ON CONFLICT ({self._key}) DO UPDATE SET {sets} "
            f"WHERE COALESCE(held.{self._token}, 0) <= excluded.{self._token}"
        )
        return statement, (key, *values.values(), token)

    def _write(self, cursor: Cursor, statement: Statement, key: object, token: int) -> None:
        cursor.execute(*statement)
        if cursor.rowcount <= 0:
            cursor.execute(self._question(), (key,))
            self._judge(cursor.fetchone(), key, token)

    async def _write_async(
        self, connection: AsyncConnection, statement: Statement, key: object, token: int
    ) -> None:
        text, parameters = statement
        if self._placeholder == "$1":
            status: str = await connection.execute(text, *parameters)  # "UPDATE 1" or "INSERT 0 1"
            if status.endswith(" 0"):
                fetching: Any = connection
                self._judge(await fetching.fetchrow(self._question(), key), key, token)
            return
        cursor = await connection.execute(text, parameters)
        if cursor.rowcount <= 0:
            asked = await connection.execute(self._question(), (key,))
            self._judge(await asked.fetchone(), key, token)

    def _question(self) -> str:
        return f"SELECT {self._token} FROM {self._table} WHERE {self._key} = {next(self._marks())}"

    def _judge(self, row: Any, key: object, token: int) -> None:
        """Find out why no row was affected; some databases do not count a row set to equal values."""
        if row is None:
            raise LookupError(f"{self._table} has no row whose {self._key} is {key!r}")
        if (newest := row[0] or 0) > token:
            raise StaleToken(token, newest)

    def _marks(self) -> Iterator[str]:
        if self._placeholder == "$1":
            return (f"${number}" for number in count(1))
        return repeat(self._placeholder)


def check_token(token: int) -> None:
    """ValueError for a number that is no fencing token; those begin with 1."""
    if token < 1:
        raise ValueError(f"a fencing token is a positive number, not {token}")


def _checksum(number: str) -> str:
    return f"crc32:{crc32(number.encode()):08x}"


def _identifier(name: str) -> str:
    if not _IDENTIFIER.fullmatch(name):
        raise ValueError(f"{name!r} is not a valid name of a table or a column")
    return name
