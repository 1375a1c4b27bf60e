"""The errors of verbs, and their exit codes.

Owns the exit codes, and the exceptions that carry them to the one place where the process exits.
"""

from __future__ import annotations

import enum


class ExitCode(enum.IntEnum):
    """The exit codes of a launcher process."""

    OK = 0
    FAILURE = 1
    USAGE = 2
    NO_LEADER = 3
    UNREACHABLE = 4
    REJECTED = 5
    LEADERSHIP_LOST = 6
    NOT_FOUND = 7
    OUT_OF_SPACE = 8
    NOT_ALLOWED = 9
    VIOLATION = 10
    OUTCOME_UNKNOWN = 11
    TIMED_OUT = 124
    COMMAND_NOT_EXECUTABLE = 126
    COMMAND_NOT_FOUND = 127


class VerbFailed(Exception):
    """A verb could not be carried out; the message is for the user."""

    exit_code = ExitCode.FAILURE

    def __init__(self, reason: str, exit_code: ExitCode | None = None) -> None:
        super().__init__(reason)
        if exit_code is not None:
            self.exit_code = exit_code


class BadUsage(VerbFailed):
    """The arguments make no sense; nothing was changed."""

    exit_code = ExitCode.USAGE


class NoLeader(VerbFailed):
    """The cluster has no leader now."""

    exit_code = ExitCode.NO_LEADER


class Unreachable(VerbFailed):
    """There is no such cluster, or it does not answer."""

    exit_code = ExitCode.UNREACHABLE
