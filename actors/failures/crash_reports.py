"""What is known of a crash.

Owns the report, and what is done with it unless something else is asked for. An exception is the user's: its
text may be endless, may not be text that can be sent, and asking for it may raise. None of that
may become a second crash.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable
from typing import Final

import msgspec

from actors.address import Address

ERROR_CHARACTERS_MAX: Final = 2_000
TRACEBACK_CHARACTERS_MAX: Final = 20_000


class CrashReport(msgspec.Struct, frozen=True):
    """An exception that left an actor's handler or hook.

    Given to the runtime's crash hook, and told to the actor's parent if that has a handler for it.
    """

    address: Address
    doing: str
    """The kind of the message that was being handled, or the name of the hook."""
    error: str
    traceback: str
    consequence: str
    """What its supervisor decided, in words."""

    @classmethod
    def of(cls, address: Address, doing: str, error: BaseException, consequence: str) -> CrashReport:
        """Describe `error`, with its traceback."""
        said = _text(lambda: "".join(traceback.format_exception(error)), TRACEBACK_CHARACTERS_MAX)
        doing, consequence = (clean(text, ERROR_CHARACTERS_MAX) for text in (doing, consequence))
        return cls(address, doing, describe(error), said, consequence)


def describe(error: BaseException) -> str:
    """The kind of an exception and what it says, as text that can be sent and is not too long."""
    kind = clean(type(error).__name__, ERROR_CHARACTERS_MAX)
    return f"{kind}: {_text(lambda: str(error), ERROR_CHARACTERS_MAX)}"


def clean(text: str, characters_max: int) -> str:
    """The text as UTF-8 can hold it, shortened in its middle."""
    if len(text) > characters_max:
        half = characters_max // 2
        text = f"{text[:half]} … {len(text) - 2 * half} characters left out … {text[-half:]}"
    return text.encode("utf-8", "backslashreplace").decode()


def print_crash(report: CrashReport) -> None:
    """Write a report to standard error, if there is one that takes it."""
    header = f"actor {report.address} crashed in {report.doing}; {report.consequence}"
    try:
        sys.stderr.write(f"{header}\n{report.traceback}")
    except (OSError, ValueError, AttributeError):
        return  # Closed, full or not there; the report goes to the parent all the same.


def _text(ask: Callable[[], str], characters_max: int) -> str:
    try:
        return clean(ask(), characters_max)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001 - an exception's own __str__ may raise anything
        return f"(its text cannot be had: asking for it raised {type(error).__name__})"
