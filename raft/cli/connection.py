"""A verb's own connection to the nodes, without the launcher, and the exit codes of a client's errors.

Owns which client error ends a verb with which code. Knows nothing of the requests.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from actors.errors import TransportError
from raft.cli import options
from raft.cli.app import session_of
from raft.cli.terminal import completion
from raft.cluster.failures import BadUsage, ExitCode, NoLeader, Unreachable, VerbFailed
from raft.cluster.selectors import SelectionScope, select

if TYPE_CHECKING:
    from raft.cli.remote import Target
    from raft.client.client import Client
    from raft.client.errors import ClientError

Timeout = Annotated[
    float,
    options.duration_option(envvar="RAFT_TIMEOUT", help="Try for this long.", shown="5s"),
]
Via = Annotated[
    str,
    typer.Option(
        metavar="SELECTOR",
        parser=options.selector,
        autocompletion=completion.selectors,
        help="Connect to these nodes, by id.",
    ),
]
TIMEOUT_SECONDS = 5.0
LOOK_FIRST = "it may have been carried out: look before you repeat it"


@contextlib.contextmanager
def connected(
    context: typer.Context, cluster: str | None, via: str, timeout_seconds: float
) -> Iterator[Client]:
    """A client of the selected cluster; its errors end the verb."""
    target = session_of(context).target(cluster)
    from raft.client import client, errors  # Here, since few verbs need them.

    everyone = tuple(target.endpoints)
    try:
        known = select(via, SelectionScope(everyone, everyone), random.Random())
    except NoLeader:
        raise BadUsage(f"--via {via}: name nodes by their ids; a client learns by itself who leads") from None
    try:
        with client.Client(
            {node: target.endpoints[node] for node in known},
            cluster=target.cluster,
            keys=target.keys,
            timeout_seconds=timeout_seconds,
        ) as connection:
            yield connection
    except errors.Unreachable as error:
        hint = f". {target.hint}" if session_of(context).is_remote(cluster) else ""
        raise Unreachable(f"{error}{hint}") from error
    except errors.ClientError as error:
        raise verb_failed(error) from error
    except TransportError as error:
        raise BadUsage(str(error)) from error


def everyone(context: typer.Context, cluster: str | None) -> Target:
    """All nodes of the cluster that is meant; of one without a launcher, as far as one of them answers."""
    session = session_of(context)
    target = session.target(cluster)
    if not session.is_remote(cluster):
        return target
    from raft.cli.remote import RemoteCluster

    with contextlib.suppress(Unreachable):
        return msgspec.structs.replace(target, endpoints=RemoteCluster(target, verb_failed).members())
    return target


def verb_failed(error: ClientError) -> VerbFailed:
    """The VerbFailed for a client's error."""
    from raft.client import errors

    codes: list[tuple[type[ClientError], ExitCode]] = [
        (errors.LeadershipLost, ExitCode.LEADERSHIP_LOST),
        (errors.Taken, ExitCode.REJECTED),
        (errors.FenceRejected, ExitCode.REJECTED),
        (errors.LeaseEnded, ExitCode.NOT_FOUND),
        (errors.NotAllowed, ExitCode.NOT_ALLOWED),
        (errors.NoLeader, ExitCode.NO_LEADER),
        (errors.Unreachable, ExitCode.UNREACHABLE),
        (errors.OutOfSpace, ExitCode.OUT_OF_SPACE),
        (errors.Rejected, ExitCode.TIMED_OUT),
        (errors.OutcomeUnknown, ExitCode.OUTCOME_UNKNOWN),
        (errors.ClientError, ExitCode.FAILURE),
    ]
    code = next(code for kind, code in codes if isinstance(error, kind))
    advice = f"; {LOOK_FIRST}" if code is ExitCode.OUTCOME_UNKNOWN else ""
    return VerbFailed(f"{error}{advice}", code)
