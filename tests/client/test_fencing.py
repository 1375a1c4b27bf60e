"""Protected resources: writes with an older token than the newest one are rejected."""

from __future__ import annotations

import asyncio
import os
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.processes.private_files import replace_file
from raft.client import fencing
from raft.client.fencing import DamagedToken, FencedFile, FencedRow, StaleToken


def test_a_file_takes_the_same_token_and_greater_ones_only(tmp_path: Path) -> None:
    file = FencedFile(tmp_path / "report")
    file.write(3, b"three")
    file.write(3, b"three again")
    file.write(5, b"five")
    with pytest.raises(StaleToken, match="3 is stale: token 5") as caught:
        file.write(3, b"late")
    assert (caught.value.token, caught.value.newest) == (3, 5)
    assert file.path.read_bytes() == b"five"
    assert FencedFile(tmp_path / "report").newest_token() == 5
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report", "report.token"]


def test_a_token_is_remembered_even_if_nothing_was_written_with_it(tmp_path: Path) -> None:
    file = FencedFile(tmp_path / "report")
    file.write(1, b"one")
    with (
        patch("raft.client.fencing.replace_file", side_effect=OSError("no space")),
        pytest.raises(OSError),
    ):
        file.write(2, b"two")
    with pytest.raises(StaleToken):
        file.write(1, b"one again")
    with file.guard(2):
        assert file.path.read_bytes() == b"one"


def test_one_holder_at_a_time_is_inside(tmp_path: Path) -> None:
    import fcntl

    file = FencedFile(tmp_path / "report")
    with file.guard(1), file.token_path.open("rb+") as other, pytest.raises(BlockingIOError):
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    with file.token_path.open("rb+") as other:
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)


@pytest.mark.parametrize("token", [0, -1])
def test_what_is_no_token_opens_nothing(tmp_path: Path, token: int) -> None:
    with pytest.raises(ValueError, match="positive"):
        FencedFile(tmp_path / "report").write(token, b"")
    with pytest.raises(ValueError, match="positive"):
        FencedRow("jobs", key="name").statement("a", token, {})
    assert not os.path.exists(tmp_path / "report")  # noqa: PTH110


@pytest.fixture
def database() -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute("CREATE TABLE jobs (name TEXT PRIMARY KEY, state TEXT, fencing_token INTEGER)")
        connection.execute("INSERT INTO jobs (name) VALUES ('nightly')")
        yield connection


def test_a_row_takes_the_same_token_and_greater_ones_only(database: sqlite3.Connection) -> None:
    row, cursor = FencedRow("jobs", key="name"), database.cursor()
    row.update(cursor, "nightly", 3, {"state": "begun"})
    row.update(cursor, "nightly", 3, {"state": "half"})
    row.update(cursor, "nightly", 7, {"state": "mine"})
    with pytest.raises(StaleToken, match="3 is stale: token 7"):
        row.update(cursor, "nightly", 3, {"state": "done"})
    assert list(cursor.execute("SELECT * FROM jobs")) == [("nightly", "mine", 7)]


def test_a_token_that_was_only_shown_keeps_older_ones_out(database: sqlite3.Connection) -> None:
    row, cursor = FencedRow("jobs", key="name"), database.cursor()
    row.update(cursor, "nightly", 3, {"state": "begun"})
    row.update(cursor, "nightly", 7, {})
    with pytest.raises(StaleToken, match="3 is stale: token 7"):
        row.update(cursor, "nightly", 3, {"state": "late"})
    assert list(cursor.execute("SELECT * FROM jobs")) == [("nightly", "begun", 7)]


def test_a_row_that_is_not_there_is_no_stale_token(database: sqlite3.Connection) -> None:
    with pytest.raises(LookupError, match="no row"):
        FencedRow("jobs", key="name").update(database.cursor(), "weekly", 3, {"state": "begun"})


def test_a_database_that_does_not_count_equal_values_causes_no_stale_token(
    database: sqlite3.Connection,
) -> None:
    class Picky:
        """As MySQL's drivers count: a row that is set to what it held is not touched."""

        rowcount = 0

        def __init__(self) -> None:
            self.inner = database.cursor()

        def execute(self, statement: str, parameters: object) -> None:
            self.inner.execute(statement, parameters)  # type: ignore[arg-type]

        def fetchone(self) -> object:
            return self.inner.fetchone()

    FencedRow("jobs", key="name").update(Picky(), "nightly", 3, {"state": "begun"})


def test_names_are_names_and_placeholders_are_known() -> None:
    for name in ("jobs; DROP TABLE jobs", "", "1a", "a.b.c", 'a"'):
        with pytest.raises(ValueError, match="not a valid name"):
            FencedRow(name, key="name")
        with pytest.raises(ValueError, match="not a valid name"):
            FencedRow("jobs", key="name").statement("a", 1, {name: 1})
    with pytest.raises(ValueError, match="placeholder"):
        FencedRow("jobs", key="name", placeholder=":1")
    statement, parameters = FencedRow("s.jobs", key="id", token="t", placeholder="%s").statement(
        9, 2, {"x": 1}
    )
    assert statement == "UPDATE s.jobs SET x = %s, t = %s WHERE id = %s AND COALESCE(t, 0) <= %s"
    assert parameters == (1, 2, 9, 2)


@given(st.lists(st.integers(1, 9), max_size=12))
def test_tokens_that_were_let_in_never_go_back(tokens: list[int]) -> None:
    with closing(sqlite3.connect(":memory:")) as database:
        database.execute("CREATE TABLE jobs (name TEXT, fencing_token INTEGER DEFAULT 0)")
        database.execute("INSERT INTO jobs (name) VALUES ('nightly')")
        row, let_in = FencedRow("jobs", key="name"), [0]
        for token in tokens:
            try:
                row.update(database.cursor(), "nightly", token, {})
            except StaleToken:
                assert token < let_in[-1]
            else:
                let_in.append(token)
        assert let_in == sorted(let_in)


def test_a_token_damaged_by_the_disk_rejects_all_writes(tmp_path: Path) -> None:
    file = FencedFile(tmp_path / "report")
    file.write(5, b"five")
    sound = file.token_path.read_bytes()
    for bit in range(8 * len(sound.rstrip(b"\n"))):
        damaged = bytearray(sound)
        damaged[bit // 8] ^= 1 << bit % 8
        file.token_path.write_bytes(damaged)
        try:
            file.write(4, b"stale")
        except (DamagedToken, StaleToken):
            continue
        raise AssertionError(f"bit {bit}: the bar is lower than it was")
    assert file.path.read_bytes() == b"five"
    file.token_path.write_bytes(b"5\n")
    file.write(5, b"five again")


def test_a_token_is_durable_before_anything_is_written_with_it(tmp_path: Path) -> None:
    file = FencedFile(tmp_path / "report")
    steps: list[str] = []
    real_fsync, real_replace = os.fsync, replace_file

    def fsync(descriptor: int) -> None:
        steps.append(f"sync {Path(f'/proc/self/fd/{descriptor}').readlink().name}")
        real_fsync(descriptor)

    def replace(path: Path, data: bytes, *, private: bool) -> None:
        steps.append(f"replace {path.name}")
        real_replace(path, data, private=private)

    with patch("os.fsync", fsync), patch.object(fencing, "replace_file", replace):
        file.write(3, b"three")
    assert steps[:3] == ["sync report.token", f"sync {tmp_path.name}", "replace report"]
    steps.clear()
    with patch("os.fsync", fsync), file.guard(4):
        assert steps == ["sync report.token", f"sync {tmp_path.name}"]


# -- inserting, and asyncio drivers -----------------------------------------------------------------


def test_a_row_is_inserted_or_set_and_never_by_an_older_token(database: sqlite3.Connection) -> None:
    row, cursor = FencedRow("main.jobs", key="name"), database.cursor()
    row.insert(cursor, "weekly", 3, {"state": "begun"})
    row.insert(cursor, "weekly", 3, {"state": "half"})
    row.insert(cursor, "weekly", 5, {"state": "mine"})
    row.insert(cursor, "nightly", 2, {"state": "there was no token"})
    with pytest.raises(StaleToken, match="3 is stale: token 5"):
        row.insert(cursor, "weekly", 3, {"state": "late"})
    assert list(cursor.execute("SELECT * FROM jobs ORDER BY name")) == [
        ("nightly", "there was no token", 2), ("weekly", "mine", 5),
    ]  # fmt: skip


class LikeAiosqlite:
    """As aiosqlite and psycopg: `await execute` gives a cursor, whose `fetchone` is awaited."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self.database = database

    async def execute(self, statement: str, parameters: Any) -> Any:
        cursor = self.database.execute(statement, parameters)

        class Cursor:
            rowcount = cursor.rowcount

            async def fetchone(self) -> Any:
                return cursor.fetchone()

        return Cursor()


class LikeAsyncpg:
    """As asyncpg: numbered places, parameters one by one, and a status that counts the rows."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self.database = database

    def _run(self, statement: str, parameters: tuple[Any, ...]) -> sqlite3.Cursor:
        return self.database.execute(re.sub(r"\$(\d+)", r"?\1", statement), parameters)

    async def execute(self, statement: str, *parameters: Any) -> str:
        words = "INSERT 0" if statement.startswith("INSERT") else "UPDATE"
        return f"{words} {self._run(statement, parameters).rowcount}"

    async def fetchrow(self, statement: str, *parameters: Any) -> Any:
        return self._run(statement, parameters).fetchone()


@pytest.mark.parametrize(("placeholder", "driver"), [("?", LikeAiosqlite), ("$1", LikeAsyncpg)])
def test_asyncio_drivers_are_fenced_as_well(
    database: sqlite3.Connection, placeholder: str, driver: type[Any]
) -> None:
    async def body() -> None:
        row, connection = FencedRow("jobs", key="name", placeholder=placeholder), driver(database)
        await row.update_async(connection, "nightly", 7, {"state": "mine"})
        with pytest.raises(StaleToken, match="3 is stale: token 7"):
            await row.update_async(connection, "nightly", 3, {"state": "late"})
        with pytest.raises(LookupError, match="no row"):
            await row.update_async(connection, "weekly", 3, {})
        await row.insert_async(connection, "weekly", 5, {"state": "begun"})
        with pytest.raises(StaleToken, match="4 is stale: token 5"):
            await row.insert_async(connection, "weekly", 4, {"state": "late"})
        assert list(database.execute("SELECT * FROM jobs ORDER BY name")) == [
            ("nightly", "mine", 7), ("weekly", "begun", 5),
        ]  # fmt: skip

    asyncio.run(body())


def test_numbered_places_are_numbered() -> None:
    row = FencedRow("jobs", key="id", token="t", placeholder="$1")
    assert row.statement(9, 2, {"x": 1}) == (
        "UPDATE jobs SET x = $1, t = $2 WHERE id = $3 AND COALESCE(t, 0) <= $4", (1, 2, 9, 2),
    )  # fmt: skip
    assert row.insertion(9, 2, {"x": 1})[0].startswith(
        "INSERT INTO jobs AS held (id, x, t) VALUES ($1, $2, $3)"
    )
