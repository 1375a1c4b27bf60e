"""Random runs of a cluster of pure cores; the safety properties are checked after each step.

`python -m tests.core.explorer SEED...` replays runs by their seeds; equal seeds give equal runs.

Owns the choice of what happens next. Messages are lost, duplicated, reordered and cut off; servers stop and
start from what their disks hold; members come and go.
"""

import sys
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from random import Random

from raft.core.changes import ConfChangeKind, ConfChangeSingle, ConfChangeV2, Transition
from raft.core.config import Config, ReadOnlyOption
from raft.core.errors import ConfChangeRefused, ProposalDropped, StepRefused
from raft.core.invariants import check_cluster
from raft.core.messages import Message
from raft.core.types import NO_NODE, ConfState, NodeId, Role, Snapshot
from tests.core.safety import SafetyRecord
from tests.core.servers import Server

STEPS = 1500
CLUSTER_CHECK_STEPS = 25
HEALING_ROUNDS_MAX = 600
WIRE_MESSAGES_MAX = 400


class Explorer:
    """One run. All that is random comes from its seed, the options of the cores included."""

    def __init__(self, seed: int) -> None:
        self.random = random = Random(seed)
        self.record = SafetyRecord()
        self.wire: list[Message] = []
        self.cut: set[tuple[NodeId, NodeId]] = set()
        self.proposed = 0
        self.read_floors: dict[bytes, int] = {}
        self.membership_changes = random.random() < 0.5
        voters = tuple(range(1, random.choice((1, 2, 3, 3, 3, 4, 5)) + 1))
        self.start = Snapshot(2, 1, ConfState(voters=voters))
        self.options = self._options()
        self.clocks: Counter[NodeId] = Counter()
        self.servers = {each: self._server(each, self.start) for each in voters}
        if self.membership_changes:
            # These two are in no configuration yet; they may be added later.
            for each in (len(voters) + 1, len(voters) + 2):
                self.servers[each] = self._server(each, Snapshot())

    def _options(self) -> dict[str, object]:
        random = self.random
        small = random.random() < 0.5
        check_quorum = random.random() < 0.5
        self.leases = check_quorum and random.random() < 0.5
        return {
            "election_ticks": random.choice((3, 5, 10)),
            "async_storage_writes": random.random() < 0.5,
            "check_quorum": check_quorum,
            "read_only": ReadOnlyOption.LEASE_BASED if self.leases else ReadOnlyOption.SAFE,
            "pre_vote": random.random() < 0.5,
            "max_size_per_msg": random.choice((0, 20, 60)) if small else 2**20,
            "max_committed_size_per_ready": random.choice((1, 30, 90)) if small else 0,
            "max_inflight_msgs": random.choice((1, 2, 16)),
            "max_uncommitted_size": random.choice((0, 0, 100)),
            "step_down_on_removal": random.random() < 0.5,
        }

    def _server(self, node: NodeId, start: Snapshot) -> Server:
        options = dict(self.options)
        if self.random.random() < 0.2:
            options["read_only"] = ReadOnlyOption.SAFE  # Safe in any mixture.
        config = Config(id=node, **options)  # type: ignore[arg-type]
        return Server(config, start, Random(self.random.random()))

    def run(self) -> None:
        """Random steps, then fair weather, in which the cluster must get something done again."""
        actions, weights = zip(*ACTIONS, strict=True)
        for step, action in enumerate(self.random.choices(actions, weights, k=STEPS)):
            action(self, self.random.choice(list(self.servers.values())))
            if step % CLUSTER_CHECK_STEPS == 0:
                self.check_cluster()
        self.heal()
        self.check_cluster()

    def check_cluster(self) -> None:
        check_cluster(server.core for server in self.servers.values())

    def send(self, server: Server, messages: list[Message]) -> None:
        for message in messages:
            self.record.observe_sent(message)
        # An overfull network forgets its oldest messages.
        self.wire = (self.wire + messages)[-WIRE_MESSAGES_MAX:]
        self.look_at(server)

    def look_at(self, server: Server) -> None:
        """Hold safety for a server that has just done something."""
        self.record.observe(server)
        for read in server.reads:
            floor = self.read_floors[read.context]
            assert read.index >= floor, f"a read at {read.index}, though {floor} was committed when it began"
        server.reads.clear()

    def deliver(self, message: Message) -> None:
        server = self.servers.get(message.to)
        if server is None or (message.sender, message.to) in self.cut:
            return
        with suppress(StepRefused, ProposalDropped):
            server.core.step(message)
        self.look_at(server)

    # What may happen

    def tick(self, server: Server) -> None:
        """Let a tick pass. Where there are leases, no clock is more than a tick ahead of another."""
        if self.leases:
            earliest = min(self.clocks[each] for each in self.servers)
            behind = [each for each in self.servers if self.clocks[each] == earliest]
            server = self.servers[self.random.choice(behind)]
            self.clocks[server.id] += 1
        server.core.tick()
        self.look_at(server)

    def deliver_any(self, server: Server) -> None:
        """Take a message out of turn."""
        if self.wire:
            self.deliver(self.wire.pop(self.random.randrange(len(self.wire))))

    def deliver_oldest(self, server: Server) -> None:
        """Deliver the next few in turn."""
        batch, self.wire = self.wire[:8], self.wire[8:]
        for message in batch:
            self.deliver(message)

    def double(self, server: Server) -> None:
        if self.wire:
            self.wire.append(self.random.choice(self.wire))

    def lose(self, server: Server) -> None:
        if self.wire:
            self.wire.pop(self.random.randrange(len(self.wire)))

    def handle_ready(self, server: Server) -> None:
        if not server.core.has_ready():
            return
        unstable = server.core.log.next_unstable()
        self.record.observe_log(server, unstable)
        messages = server.handle_ready()
        self.send(server, messages)

    def write(self, server: Server) -> None:
        self.send(server, server.write())

    def run_machine(self, server: Server) -> None:
        self.send(server, server.run_machine())

    def crash(self, server: Server) -> None:
        """Stop and start; in synchronous mode perhaps between saving and sending."""
        owed = server.core.pledged_to if server.core.pledged else None
        if self.random.random() < 0.5 and server.core.has_ready() and not server.config.async_storage_writes:
            server.handle_ready(crash_after_save=True)
        else:
            server.boot()
        self.record.observe_restart(server)
        if owed is None:
            server.core.release_pledge(NO_NODE)
        elif owed != NO_NODE and self.random.random() < 0.5:
            server.core.resume_pledge(owed, server.config.election_ticks)
        for other in self.servers.values():
            if other is not server and self.random.random() < 0.7:  # The others have no proof.
                other.core.release_pledge(server.id)
                if other.core.leader == server.id:
                    other.core.forget_leader()

    def propose(self, server: Server) -> None:
        self.proposed += 1
        try:
            server.core.propose(b"command %d" % self.proposed)
        except ProposalDropped:
            return
        self.look_at(server)

    def read(self, server: Server) -> None:
        context = b"read %d" % len(self.read_floors)
        self.read_floors[context] = self.record.commit_index()
        server.core.read_index(context)
        self.look_at(server)

    def campaign(self, server: Server) -> None:
        server.core.campaign()
        self.look_at(server)

    def transfer(self, server: Server) -> None:
        server.core.transfer_leader(self.random.choice(list(self.servers)))
        self.look_at(server)

    def forget_leader(self, server: Server) -> None:
        server.core.forget_leader()
        self.look_at(server)

    def report(self, server: Server) -> None:
        peer = self.random.choice(list(self.servers))
        if self.random.random() < 0.5:
            server.core.report_unreachable(peer)
        else:
            server.core.report_snapshot(peer, ok=self.random.random() < 0.5)
        self.look_at(server)

    def compact(self, server: Server) -> None:
        server.compact(keep_entries=self.random.randrange(4))
        self.look_at(server)

    def cut_link(self, server: Server) -> None:
        self.cut.add((server.id, self.random.choice(list(self.servers))))

    def mend_all(self, server: Server) -> None:
        self.cut.clear()

    def change_members(self, server: Server) -> None:
        if not self.membership_changes:
            return
        kinds = (ConfChangeKind.ADD_VOTER, ConfChangeKind.ADD_LEARNER, ConfChangeKind.REMOVE)
        steps = tuple(
            ConfChangeSingle(self.random.choice(kinds), self.random.choice(list(self.servers)))
            for _ in range(self.random.choice((0, 1, 1, 2)))
        )
        transition = self.random.choice(list(Transition)) if steps else Transition.AUTO
        try:
            server.core.propose_conf_change(ConfChangeV2(steps, transition))
        except (ProposalDropped, ConfChangeRefused):
            return
        self.look_at(server)

    # How it ends

    def heal(self) -> None:
        """Nothing is lost any more: a leader must be found, and a new command committed by all it leads."""
        self.cut.clear()
        for _ in range(HEALING_ROUNDS_MAX):
            for server in self.servers.values():
                self._give_up_snapshots(server)
                self._stop_if_removed(server)
                self.tick(server)
            self.settle()
            if self._made_progress():
                return
        roles = {each: (server.core.role.value, server.core.term) for each, server in self.servers.items()}
        raise AssertionError(f"no progress in {HEALING_ROUNDS_MAX} rounds of fair weather: {roles}")

    def _give_up_snapshots(self, server: Server) -> None:
        """A sender of snapshots must report the result: by now the last one was lost, or it was too old.

        A newcomer refuses a snapshot in which it is not yet a member, so the next one must be a fresh one.
        """
        for peer, progress in server.core.status().progress.items():
            if progress.pending_snapshot:
                server.compact(keep_entries=0)
                server.core.report_snapshot(peer, ok=False)

    def _stop_if_removed(self, server: Server) -> None:
        """A leader outside its own configuration leads on unless told otherwise, and takes no proposals."""
        if server.core.role is Role.LEADER and server.id not in server.core.status().progress:
            server.boot()
            self.record.observe_restart(server)

    def settle(self) -> None:
        """Do all work there is and deliver all messages, in order."""
        for _ in range(50):
            for server in self.servers.values():
                while server.core.has_ready() or server.append_work or server.apply_work:
                    self.handle_ready(server)
                    self.write(server)
                    self.run_machine(server)
            if not self.wire:
                return
            batch, self.wire = self.wire, []
            for message in batch:
                self.deliver(message)

    def _made_progress(self) -> bool:
        leaders = [server for server in self.servers.values() if server.core.role is Role.LEADER]
        for leader in leaders:
            before = leader.machine.index
            self.propose(leader)
            self.settle()
            members = leader.machine.conf_state.voters
            if leader.machine.index > before and all(
                self.servers[each].machine.index == leader.machine.index for each in members
            ):
                return True
        return False


ACTIONS: tuple[tuple[Callable[[Explorer, Server], None], float], ...] = (
    (Explorer.tick, 25),
    (Explorer.deliver_any, 20),
    (Explorer.deliver_oldest, 25),
    (Explorer.handle_ready, 40),
    (Explorer.write, 20),
    (Explorer.run_machine, 15),
    (Explorer.double, 4),
    (Explorer.lose, 4),
    (Explorer.propose, 12),
    (Explorer.read, 4),
    (Explorer.crash, 1.5),
    (Explorer.campaign, 1),
    (Explorer.transfer, 1),
    (Explorer.forget_leader, 0.5),
    (Explorer.report, 1),
    (Explorer.compact, 3),
    (Explorer.cut_link, 0.7),
    (Explorer.mend_all, 0.7),
    (Explorer.change_members, 3),
)


def explore(seed: int) -> None:
    """One run; whatever it finds wrong names the seed."""
    try:
        Explorer(seed).run()
    except Exception as error:
        error.add_note(f"replay with: python -m tests.core.explorer {seed}")
        raise


if __name__ == "__main__":
    for argument in sys.argv[1:]:
        explore(int(argument))
        print(f"seed {argument}: nothing found")
