"""A bank as a state machine of one's own, while leaders are killed and paused: `python examples/bank.py`.

Four tellers deposit and transfer money, each in a session: it carries every command out exactly once, however
often it has to be sent. A transfer of more than there is is refused. At the end the bank's books are compared
with what the tellers were told.
"""

import asyncio
import os
import signal
import tempfile
from collections.abc import Sequence

from msgspec import Struct

from raft.client import AsyncClient, CommandRefused
from raft.embedding import AsyncNode
from raft.machines import MachineError, TypedCommand, TypedMachine, TypedQuery

TELLERS = ("alice", "bob", "carol", "dave")
DEPOSITS = 48  # By each of them.
DEPOSIT_CENTS, TRANSFER_CENTS = 10, 25  # So that more than half of the transfers are refused.


class Books(Struct):
    """All that the bank knows."""

    balances: dict[str, int] = {}
    deposits: int = 0


class Deposit(TypedCommand[int]):
    """Pay in; answered by the new balance."""

    account: str
    cents: int


class Transfer(TypedCommand[int]):
    """Move money between accounts; answered by what is left. Refused if there is less than that."""

    source: str
    target: str
    cents: int


class Audit(TypedQuery[Books]):
    """Asks for the books."""


class Bank(TypedMachine[Books]):
    """Accounts by name; an account begins with the first cents that come in."""

    def empty(self) -> Books:
        """No accounts."""
        return Books()

    def carry_out(self, command: Deposit | Transfer) -> int:
        """Called once for each command on every node, in the same order everywhere."""
        match command:
            case Deposit(account, cents):
                self.state.deposits += 1
                return self.add(account, cents)
            case Transfer(source, target, cents):
                if (balance := self.state.balances.get(source, 0)) < cents:
                    raise MachineError(f"{source} has only {balance} cents")
                self.add(target, cents)
                return self.add(source, -cents)

    def add(self, account: str, cents: int) -> int:
        """Change a balance; the new one."""
        balances = self.state.balances
        balances[account] = balances.get(account, 0) + cents
        return balances[account]

    def answer(self, query: Audit) -> Books:
        """As of all commands that were answered before."""
        return self.state


async def work(cluster: AsyncClient, account: str) -> tuple[int, int]:
    """Deposit, and try a transfer after each; how many transfers were done and how many refused."""
    balance = done = refused = 0
    async with cluster.session() as session:
        for _ in range(DEPOSITS):
            balance += DEPOSIT_CENTS
            assert await session.execute(Deposit(account, DEPOSIT_CENTS)) == balance, "lost or doubled"
            try:
                balance = await session.execute(Transfer(account, "savings", TRANSFER_CENTS))
                done += 1
            except CommandRefused:
                refused += 1
    return done, refused


async def next_leader(nodes: Sequence[AsyncNode], old: AsyncNode) -> AsyncNode:
    """The node that leads after that one, as soon as another node knows of it."""
    other = next(node for node in nodes if node is not old)
    async for leader in other.observe():
        if leader is not None and leader.node != old.id:
            return nodes[leader.node - 1]
    raise AssertionError("a node tells of leaders until it ends")


async def disturb(nodes: Sequence[AsyncNode], cluster: AsyncClient) -> None:
    """Kill the leader after a quarter of the deposits, and pause the next one after half of them."""

    async def wait_for(deposits: int) -> None:
        while (await cluster.evaluate(Audit())).deposits < deposits:
            await asyncio.sleep(0.01)

    def send(node: AsyncNode, what: signal.Signals) -> None:
        assert node.pid is not None
        os.kill(node.pid, what)

    all_deposits = len(TELLERS) * DEPOSITS
    first = nodes[(await nodes[0].wait_for_leader()).node - 1]
    await wait_for(all_deposits // 4)
    send(first, signal.SIGKILL)
    second = await next_leader(nodes, first)
    print("the leader was killed, and another one leads")
    await wait_for(all_deposits // 2)
    send(second, signal.SIGSTOP)
    await next_leader(nodes, second)
    send(second, signal.SIGCONT)
    print("the leader was paused, and another one leads")


async def main() -> None:
    """Work and disturb, then audit."""
    with tempfile.TemporaryDirectory() as directory:
        hosts = {number: f"ipc://{directory}/host{number}" for number in (1, 2, 3)}
        nodes = [
            AsyncNode(number, listen=listen, peers=hosts, data_dir=f"{directory}/{number}", machine=Bank)
            for number, listen in hosts.items()
        ]
        async with nodes[0], nodes[1], nodes[2], nodes[0].client(timeout_seconds=30) as cluster:
            disturbing = asyncio.create_task(disturb(nodes, cluster))
            results = await asyncio.gather(*(work(cluster, account) for account in TELLERS))
            await disturbing
            books = await cluster.evaluate(Audit())
    done, refused = map(sum, zip(*results, strict=True))
    print(f"{books.deposits} deposits, {done} transfers, {refused} refused")
    print(f"{sum(books.balances.values())} cents in the bank, {books.balances['savings']} in savings")


if __name__ == "__main__":
    asyncio.run(main())
