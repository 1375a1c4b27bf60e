"""The verb for conditional transactions: txn.

Owns the notation of conditions and operations, and how the answers are shown. The replicated store carries
them out in one revision.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from raft.cli import options
from raft.cli.app import STORE, app, out, out_json
from raft.cli.connection import TIMEOUT_SECONDS, Timeout, Via, connected
from raft.cli.formats import item_fields
from raft.cli.terminal.output import out_bytes
from raft.cli.verbs.data.store import FencedBy, fence_of
from raft.cluster.failures import BadUsage, ExitCode, VerbFailed

if TYPE_CHECKING:
    from raft.machines.commands import Compare, TransactionPart
    from raft.machines.results import PartDone, TransactionDone

_NUMBER_OF = re.compile(r"(version|created|revision|lease)\(([^)]+)\)(!=|=|<|>)([0-9]{1,19})", re.ASCII)
_FUNCTION = re.compile(r"\w+\(.*\)", re.DOTALL)  # Probably a typing error rather than a key.
_VALUE_OF = re.compile(r"([^=!<>]+)(!=|=|<|>)(.*)", re.DOTALL)
_RELATIONS = {"=": "EQUAL", "!=": "NOT_EQUAL", "<": "LESS", ">": "GREATER"}
_PARTS = {"put": ("put KEY VALUE", 2), "get": ("get KEY", 1), "del": ("del KEY or del --prefix KEY", 1)}

Conditions = Annotated[
    list[str] | None,
    typer.Option(
        "--if",
        metavar="CONDITION",
        help="KEY=VALUE, or with != < >; version(KEY)=0 is a missing key. Repeatable: all must hold.",
        show_default=False,
    ),
]
Then = Annotated[
    list[str] | None,
    typer.Option(
        "--then",
        metavar="OPERATION",
        help="'put KEY VALUE', 'get KEY', 'del KEY' or 'del --prefix KEY'. Repeatable.",
        show_default=False,
    ),
]
Else = Annotated[
    list[str] | None,
    typer.Option(
        "--else", metavar="OPERATION", help="Done if a condition does not hold.", show_default=False
    ),
]


@app.command(
    rich_help_panel=STORE,
    epilog="Example: launcher.py txn --if owner=me --then 'del owner'",
)
def txn(
    context: typer.Context,
    conditions: Conditions = None,
    then: Then = None,
    otherwise: Else = None,
    fence: FencedBy = None,
    timeout: Timeout = TIMEOUT_SECONDS,
    via: Via = "all",
    output: options.Output = options.Format.TABLE,
    cluster: options.Cluster = None,
) -> None:
    """Do all of --then if all conditions hold, otherwise all of --else, atomically; exit 5 in that case.

    Prints a line for each operation: OK for put, the value for get (empty if there is none), the number of
    deleted keys for del. created(KEY), revision(KEY) and lease(KEY) can be compared, too.
    """
    if not then and not otherwise:
        raise BadUsage("no operation was given: --then 'put KEY VALUE', --then 'del KEY' or --then 'get KEY'")
    from raft.machines.commands import Transaction
    from raft.machines.results import TransactionDone

    asked = Transaction(
        tuple(compare(text) for text in conditions or ()),
        tuple(part(text) for text in then or ()),
        tuple(part(text) for text in otherwise or ()),
        fence_of(fence),
    )
    with connected(context, cluster, via, timeout) as client:
        done = client.call(asked)
    assert isinstance(done, TransactionDone), f"unexpected answer to a transaction: {done}"
    _show(done, output)
    if not done.succeeded:
        what = "the operations of --else were done" if otherwise else "nothing was done"
        raise VerbFailed(f"the conditions do not hold: {what}", ExitCode.REJECTED)


def compare(text: str) -> Compare:
    """Parse a condition; raises BadUsage."""
    from raft.machines.commands import CompareNumber, CompareValue, Field, Relation

    if found := _NUMBER_OF.fullmatch(text):
        field, key, relation, number = found.groups()
        return CompareNumber(
            os.fsencode(key), Field[field.upper()], Relation[_RELATIONS[relation]], int(number)
        )
    found = _VALUE_OF.fullmatch(text)
    if found and not _FUNCTION.fullmatch(found[1]):
        key, relation, value = found.groups()
        return CompareValue(os.fsencode(key), Relation[_RELATIONS[relation]], os.fsencode(value))
    raise BadUsage(
        f"--if {text!r:.100} is not a condition: write KEY=VALUE, KEY!=VALUE, KEY<VALUE or KEY>VALUE; "
        "or compare version(KEY), created(KEY), revision(KEY) or lease(KEY) with a number"
    )


def part(text: str) -> TransactionPart:
    """Parse an operation; raises BadUsage."""
    from raft.machines.commands import Delete, DeleteRange, Get, Put
    from raft.machines.keys import prefix_end

    try:
        words = shlex.split(text)
    except ValueError as error:
        raise BadUsage(f"{text!r:.100}: {str(error).lower()}") from None
    if words[:2] == ["del", "--prefix"] and len(words) == 3:
        start = os.fsencode(words[2])
        return DeleteRange(start, prefix_end(start))
    name = words[0] if words else ""
    if name not in _PARTS:
        raise BadUsage(
            f"{text!r:.100} is not an operation: there are " + ", ".join(form for form, _ in _PARTS.values())
        )
    form, arguments = _PARTS[name]
    if len(words) != 1 + arguments or words[1] == "--prefix":
        raise BadUsage(f"{text!r:.100}: write {form}, with quotes around words with spaces")
    kinds: dict[str, Callable[..., TransactionPart]] = {"put": Put, "get": Get, "del": Delete}
    return kinds[name](*map(os.fsencode, words[1:]))


def _show(done: TransactionDone, output: options.Format) -> None:
    if output is options.Format.JSON:
        answers = [_fields(answer) for answer in done.answers]
        out_json(succeeded=done.succeeded, revision=done.revision, answers=answers)
        return
    from raft.machines.results import Deleted, Value

    for answer in done.answers:
        if isinstance(answer, Value):
            out_bytes(b"" if answer.item is None else answer.item.value)
        else:
            out(str(answer.count) if isinstance(answer, Deleted) else "OK")


def _fields(answer: PartDone) -> dict[str, object]:
    from raft.machines.results import Deleted, Value

    if isinstance(answer, Value):
        return {"operation": "get", "item": None if answer.item is None else item_fields(answer.item)}
    if isinstance(answer, Deleted):
        return {"operation": "del", "deleted": answer.count}
    return {"operation": "put"}
