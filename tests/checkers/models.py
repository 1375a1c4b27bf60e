"""Legal histories, made by small models: clients that take turns, delays, lost answers, leases that end.

Each operation takes effect at one moment between its call and its return, in one log. So whatever the dice
say, what comes of it is legal.
"""

from __future__ import annotations

from collections.abc import Generator
from heapq import heappop, heappush
from itertools import count
from random import Random

from raft.lab.checkers.records import Header, Record, RecordedHistory

Process = Generator[float, None, None]  # Yields how many seconds it waits.
END_SECONDS = 7.0
LOST_SHARE = 0.04  # Of answers.
TTL_SECONDS = 1.0


class World:
    """Time, the log's indices, and what was recorded."""

    def __init__(self, workload: str, seed: int) -> None:
        self.workload = workload
        self.dice = Random(f"{workload}/{seed}")
        self.now = 0.0
        self.index = 1
        self.records: list[Record] = []
        self._serial = count(1)
        self._queue: list[tuple[float, int, Process]] = []

    def start(self, process: Process, seconds: float = 0.0) -> None:
        heappush(self._queue, (self.now + seconds, next(self._serial), process))

    def run(self) -> RecordedHistory:
        while self._queue:
            self.now, _, process = heappop(self._queue)
            self.now = max(self.now, 0.0)
            for seconds in process:
                self.start(process, seconds)
                break
        self.records.sort(key=lambda record: record.call)
        return RecordedHistory(header=Header(workload=self.workload), records=self.records)

    def called(self, client, op, key, value=None, expected=None) -> Record:
        record = Record(client=client, op=op, key=key, value=value, expected=expected, call=self.tick())
        self.records.append(record)
        return record

    def done(self, record, result=None, index=0) -> None:
        record.returned, record.outcome = self.tick(), "done"
        record.result, record.index = result, index

    def noted(self, client, op, key, result, value=None, expected=None) -> None:
        record = self.called(client, op, key, value, expected)
        self.done(record, result)
        record.returned = record.call

    def tick(self) -> float:
        """No two things happen at one moment."""
        self.now += 1e-6
        return self.now

    def next_index(self) -> int:
        self.index += 1
        return self.index

    def pause(self, most=0.02) -> float:
        return self.dice.uniform(0.001, most)


class Names:
    """A client's name, another one after each operation of unknown outcome."""

    def __init__(self, number: int) -> None:
        self.number, self.incarnations = number, 0

    def __str__(self) -> str:
        return f"c{self.number}" if not self.incarnations else f"c{self.number}x{self.incarnations}"


# -- registers, lists, sets and counters -----------------------------------------------------------


def registers(seed: int, watched: bool = False) -> RecordedHistory:
    world = World("watch" if watched else "register", seed)
    log: list[tuple[int, str, str | None]] = []
    state: dict[str, str | None] = {}

    def client(number: int) -> Process:
        name, serial = Names(number), count()
        while world.now < END_SECONDS:
            yield world.pause(world.dice.choice((0.02, 0.6)))
            key, draw = f"r{world.dice.randrange(2)}", world.dice.random()
            value = f"{number}.{next(serial)}"
            if draw < 0.4:
                record = world.called(str(name), "get", key)
                yield world.pause()
                found, index = state.get(key), world.index
                yield world.pause()
                world.done(record, found, index)
                continue
            expected = state.get(key) if world.dice.random() < 0.6 else f"old{number}"
            if draw > 0.9 and state.get(key) is not None:
                value = None
            op = "put" if draw < 0.7 else "cas"
            record = world.called(str(name), op, key, value if op == "cas" else value or "x", expected)
            if op == "put":
                record.value, record.expected = f"{number}.{next(serial)}p", None
            yield from write(world, name, record, state, log)

    for number in range(5):
        world.start(client(number))
    if watched:
        for number in range(3):
            world.start(watcher(world, f"w{number}", log))
    return world.run()


def write(world, name, record, state, log) -> Process:
    lost = world.dice.random() < LOST_SHARE
    yield world.pause(2.0 if lost else 0.02)
    if lost and world.dice.random() < 0.5:
        name.incarnations += 1
        return
    swaps = record.op == "put" or state.get(record.key) == record.expected
    index = world.next_index()
    if swaps:
        state[record.key] = record.value
        log.append((index, record.key, record.value))
    found = state.get(record.key)
    yield world.pause()
    if lost:
        name.incarnations += 1
    elif record.op == "put":
        world.done(record, None, index)
    else:
        world.done(record, {"swapped": swaps, "found": found}, index if swaps else 0)


def watcher(world, stem, log) -> Process:
    """Catches up now and then, and begins a new incarnation now and then."""
    incarnation, seen = 0, 0
    while True:
        name, first = f"{stem}.{incarnation}", seen + 1
        record = world.called(name, "watch", "r")
        over = world.now + world.dice.uniform(1.0, 3.0)
        while world.now < min(over, END_SECONDS + 3):
            yield world.pause(0.3)
            for index, key, value in log:
                if index > seen:
                    world.noted(name, "event", key, {"revision": index}, value)
                    seen = index
        last = world.index if world.now >= END_SECONDS + 3 else seen
        world.done(record, {"first": first, "last": last})
        if world.now >= END_SECONDS + 3:
            return
        incarnation += 1


def growing(workload: str, seed: int) -> RecordedHistory:
    world = World(workload, seed)
    elements: list[str] = []
    numbers: list[int] = []

    def client(number: int) -> Process:
        name, serial = Names(number), count()
        while world.now < END_SECONDS:
            yield world.pause(world.dice.choice((0.02, 1.0)))
            if world.dice.random() < 0.3:
                record = world.called(str(name), "read", "k")
                yield world.pause()
                found, index = sum(numbers) if workload == "counter" else list(elements), world.index
                yield world.pause()
                world.done(record, found, index)
                continue
            verb = "append" if workload == "append" else "add"
            value = world.dice.randint(1, 1_000_000) if workload == "counter" else f"{number}.{next(serial)}"
            record = world.called(str(name), verb, "k", value)
            lost = world.dice.random() < LOST_SHARE
            yield world.pause()
            index = 0
            if not lost or world.dice.random() < 0.5:
                index = world.next_index()
                (numbers if workload == "counter" else elements).append(value)
            yield world.pause()
            if lost:
                name.incarnations += 1
            else:
                world.done(record, None, index)

    for number in range(4):
        world.start(client(number))
    return world.run()


# -- locks ---------------------------------------------------------------------------------------


class LockState:
    """A lock's queue and seats; leases end on time."""

    def __init__(self, world: World, seats: int) -> None:
        self.world, self.seats = world, seats
        self.queue: list[int] = []
        self.deadlines: dict[int, float] = {}
        self.value: str | None = None

    def join(self) -> int:
        token = self.world.next_index()
        self.queue.append(token)
        self.keep(token)
        return token

    def keep(self, token: int) -> None:
        self.deadlines[token] = self.world.now + TTL_SECONDS

    def holders(self) -> list[int]:
        self.queue = [token for token in self.queue if self.deadlines[token] > self.world.now]
        return self.queue[: self.seats]

    def leave(self, token: int) -> bool:
        held = token in self.holders()
        self.queue = [other for other in self.queue if other != token]
        return held


def locks(seed: int, seats: int = 1) -> RecordedHistory:
    world = World("lock", seed)
    office = LockState(world, seats)

    def write(name: Names, token: int, value: str) -> Process:
        record = world.called(str(name), "fenced-put", "guarded", value, token)
        lost = world.dice.random() < LOST_SHARE
        yield world.pause()
        accepted, index = False, 0
        if (not lost or world.dice.random() < 0.5) and token in office.holders():
            accepted, index, office.value = True, world.next_index(), value
        yield world.pause()
        if lost:
            name.incarnations += 1
        else:
            world.done(record, {"accepted": accepted}, index)

    def turn(name: Names, serial: Generator[int]) -> Process:
        record = world.called(str(name), "acquire", "lock", seats if seats > 1 else None)
        yield world.pause()
        token = office.join()
        while token not in office.holders():
            sent = world.now
            office.keep(token)
            yield world.pause(0.05)
        sent = world.now
        office.keep(token)
        yield world.pause()
        world.done(record, {"token": token, "until": sent + 0.9 * TTL_SECONDS})
        for _ in range(world.dice.randint(1, 3)):
            yield from write(name, token, f"{name}.{next(serial)}")
        if world.dice.random() < 0.1:
            name.incarnations += 1
            return  # It vanishes, and its lease ends.
        if world.dice.random() < 0.3:
            sent = world.now
            if token in office.holders():
                office.keep(token)
                until = sent + 0.9 * TTL_SECONDS
                yield world.pause()
                world.noted(str(name), "keep", "lock", {"until": until}, expected=token)
            yield world.dice.uniform(0.0, 1.5)
        yield from release(name, token)
        if world.dice.random() < 0.3:
            yield from write(name, token, f"{name}.{next(serial)}")

    def release(name: Names, token: int) -> Process:
        record = world.called(str(name), "release", "lock", None, token)
        lost = world.dice.random() < LOST_SHARE
        yield world.pause()
        held = (not lost or world.dice.random() < 0.5) and office.leave(token)
        yield world.pause()
        if lost:
            name.incarnations += 1
        else:
            world.done(record, {"held": held})

    def client(number: int) -> Process:
        name, serial = Names(number), count()
        while world.now < END_SECONDS:
            yield world.pause(0.3)
            if world.dice.random() < 0.6:
                record = world.called(str(name), "read", "guarded")
                yield world.pause()
                found, index = office.value, world.index
                yield world.pause()
                world.done(record, found, index)
            else:
                yield from turn(name, serial)

    def observer() -> Process:
        seen: list[int] = []
        while world.now < END_SECONDS:
            yield world.pause(0.05)
            holders = office.holders()
            for token in holders:
                if token not in seen:
                    world.noted("observer", "led", "lock", {"token": token})
            for token in seen:
                if token not in holders:
                    world.noted("observer", "left", "lock", {"token": token})
            seen = holders

    for number in range(4):
        world.start(client(number))
    world.start(observer())
    return world.run()


MODELS = {
    "register": registers,
    "watch": lambda seed: registers(seed, watched=True),
    "append": lambda seed: growing("append", seed),
    "set": lambda seed: growing("set", seed),
    "counter": lambda seed: growing("counter", seed),
    "lock": locks,
    "semaphore": lambda seed: locks(seed, seats=2),
}
