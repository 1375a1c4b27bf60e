"""The guided tour: eight short scenes, each with its words and the commands that are carried out.

Owns the script, as data: how a command is carried out and shown is its verb's (raft.cli.verbs.observe.tour).
"""

from __future__ import annotations

from msgspec import Struct

NODES = 5


class Step(Struct, frozen=True):
    """A command as it is typed, and how it ends; `look` says what to see in its output.

    A step whose output is to hold `says` may take a moment to show it, and is repeated until it does.
    TOKEN in a command is the fencing token that an earlier step has printed.
    """

    command: str
    look: str = ""
    codes: tuple[int, ...] = (0,)
    says: str = ""  # Part of the output, once it shows what it should.


class Scene(Struct, frozen=True):
    """A title, a few sentences, and the steps."""

    title: str
    words: str
    steps: tuple[Step, ...]


SCENES: tuple[Scene, ...] = (
    Scene(
        "Election",
        "Five processes have just started. None was told to lead. The first whose patience ended "
        "asked the others for their votes, and a majority, three of five, made it leader of a new "
        "term.",
        (
            Step(
                "status",
                "One node has the role leader; all nodes name it, in the same term.",
                says="quorum 5/5",
            ),
            Step("report", "Who has led, elected with how many votes, and how quickly."),
        ),
    ),
    Scene(
        "Replication",
        "A write goes to the leader, which sends it to all. As soon as a majority has it on disk it "
        "is committed, and only then acknowledged.",
        (
            Step("put colour blue"),
            Step("get colour", says="blue"),
            Step("status", "COMMIT has risen on each node; LAG is 0."),
        ),
    ),
    Scene(
        "The leader dies",
        "SIGKILL, without a word of farewell. The others notice within their election timeout, and "
        "elect another. Nothing that was acknowledged is lost.",
        (
            Step("kill leader"),
            Step("leader --wait 10s", "The id of the new leader."),
            Step("get colour", "The value is still there.", says="blue"),
            Step("report", "Why the first one ended, and how long there was no leader."),
            Step("start all"),
        ),
    ),
    Scene(
        "A partition",
        "Node 1 leads, and is cut off together with node 2. Two of five are no majority: it cannot "
        "commit, so it steps down. The other three elect a leader of their own, and go on.",
        (
            Step("transfer 1", codes=(0, 1)),
            Step("partition 1,2 3,4,5"),
            Step(
                "get colour --timeout 10s",
                "Three nodes are enough, also to be sure that this is the newest value.",
                says="blue",
            ),
            Step("put colour green --timeout 10s", "The majority goes on."),
            Step(
                "get colour --via 1,2 --timeout 1s",
                "The minority refuses, rather than answer with something old.",
                codes=(3, 4, 11, 124),
            ),
            Step("status", "n1 and n2 are cut off, though running."),
        ),
    ),
    Scene(
        "Healing",
        "The network is whole again. What the minority has in its logs and the majority does not, was "
        "never acknowledged: it is cut off, and replaced by what the leader has.",
        (
            Step("heal"),
            Step("status", "One leader, one term, and soon no lag.", says="quorum 5/5"),
            Step("get colour", "What the majority has decided.", says="green"),
        ),
    ),
    Scene(
        "A stale leader",
        "A process can stop for a while (garbage collection, a suspended machine) and believe that it "
        "still leads. Raft refuses its writes. Systems outside of the cluster must do so as well: "
        "each election gives a token, greater than all before, and a write under an older token is "
        "refused.",
        (
            Step("pause leader"),
            Step("leader --wait 10s", "Another one leads; the first does not know yet."),
            Step(
                "lock billing -- true", "The lock was held with a token, and given back.", says="with token"
            ),
            Step("put invoice paid --fence TOKEN", "Who held it is late, and is refused.", codes=(5,)),
            Step("resume all"),
            Step("status", "The former leader has heard of the newer term, and follows.", says="quorum 5/5"),
        ),
    ),
    Scene(
        "Membership",
        "A cluster changes its members while it works. A new node learns without a vote until it has "
        "caught up; then it is promoted. The change is an entry in the log like any other.",
        (
            Step("member add --learner"),
            Step("member promote 6", "Six voters: four are a majority now."),
            Step("member remove 2"),
            Step("member list", "Node 6 has a vote, node 2 is gone.", says="n6"),
        ),
    ),
    Scene(
        "A snapshot",
        "A log that only grows would fill the disk. A snapshot is the state at one index; what is "
        "before it in the log can go. A node that has been away for too long is sent the snapshot.",
        (
            Step("snapshot all", says="has a snapshot"),
            Step("status"),
            Step("report", "All that you have seen. No safety violation.", says="0 safety violations"),
        ),
    ),
)
