"""How a client's errors end a verb: the exit code, and what the user is advised to do."""

from __future__ import annotations

import pytest

from raft.cli.connection import LOOK_FIRST, verb_failed
from raft.client import errors
from raft.cluster.failures import ExitCode


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.LeadershipLost("lost"), ExitCode.LEADERSHIP_LOST),
        (errors.NotAllowed("no"), ExitCode.NOT_ALLOWED),
        (errors.CommandRefused("no"), ExitCode.FAILURE),
        (errors.NoLeader("none"), ExitCode.NO_LEADER),
        (errors.Unreachable("none"), ExitCode.UNREACHABLE),
        (errors.OutOfSpace("full"), ExitCode.OUT_OF_SPACE),
    ],
)
def test_an_error_ends_a_verb_with_its_code_and_its_own_words(
    error: errors.ClientError, code: ExitCode
) -> None:
    failed = verb_failed(error)
    assert (str(failed), failed.exit_code) == (str(error), code)


def test_an_unknown_outcome_advises_to_look_before_a_repetition() -> None:
    failed = verb_failed(errors.OutcomeUnknown("leadership was lost"))
    assert failed.exit_code is ExitCode.OUTCOME_UNKNOWN
    assert str(failed) == f"leadership was lost; {LOOK_FIRST}"
