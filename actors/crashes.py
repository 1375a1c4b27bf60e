"""What is known of a crash.

Owns the report, and what is done with it when nobody says otherwise.
"""

from __future__ import annotations

import sys
import traceback

import msgspec

from actors.address import Address


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
    def of(cls, address: Address, doing: str, error: Exception, consequence: str) -> CrashReport:
        """Describe `error`, with its traceback."""
        text = "".join(traceback.format_exception(error))
        return cls(address, doing, f"{type(error).__name__}: {error}", text, consequence)


def print_crash(report: CrashReport) -> None:
    """Write a report to standard error."""
    header = f"actor {report.address} crashed in {report.doing}; {report.consequence}"
    sys.stderr.write(f"{header}\n{report.traceback}")
