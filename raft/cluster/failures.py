"""What ends a verb other than well, and the exit code that says so to a program.

Owns the exit codes and the exceptions that carry them from where something is found wrong to
the one place where the process exits.
"""

from __future__ import annotations

import enum


class ExitCode(enum.IntEnum):
    """What a launcher process tells its caller."""

    OK = 0
    FAILURE = 1
    USAGE = 2
    NO_LEADER = 3
    UNREACHABLE = 4
    REJECTED = 5
    LEADERSHIP_LOST = 6
    NOT_FOUND = 7
    OUT_OF_SPACE = 8
    VIOLATION = 10
    OUTCOME_UNKNOWN = 11
    TIMED_OUT = 124
    COMMAND_NOT_EXECUTABLE = 126
    COMMAND_NOT_FOUND = 127


class VerbFailed(Exception):
    """A verb could not do what it was asked; the message is for the person who asked."""

    exit_code = ExitCode.FAILURE

    def __init__(self, reason: str, exit_code: ExitCode | None = None) -> None:
        super().__init__(reason)
        if exit_code is not None:
            self.exit_code = exit_code


class BadUsage(VerbFailed):
    """What was typed cannot be meant; nothing was changed."""

    exit_code = ExitCode.USAGE


class NoLeader(VerbFailed):
    """The cluster has no leader now."""

    exit_code = ExitCode.NO_LEADER


class Unreachable(VerbFailed):
    """There is no such cluster, or it does not answer."""

    exit_code = ExitCode.UNREACHABLE
