"""Names and groups of a system: who is called what, and who belongs to what, known in all its processes.

Owns the directory, one actor in one process of the system, and the way to it. A name has one holder; a
group any number of members. What is gone for good, or whose process cannot be reached, holds and
belongs to nothing any more, and registers anew in its next incarnation. When the same incarnation of a
process is heard again, as after a cut between hosts, its actors are in their groups and monitor what they
did, and have their names back that are still free. Watchers are told what is so, now and after each change.

OTP's words are `global` and `pg`. The directory is lost with its process; what has to outlive that, or
hold while the network is cut, needs agreement, which is not had here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from actors.actor import Actor
from actors.address import Address
from actors.asks import Pending
from actors.envelope import (
    GroupChanged,
    Join,
    Leave,
    Members,
    MonitorGroup,
    MonitorName,
    NameChanged,
    ProcessDown,
    ProcessUp,
    Register,
    Terminated,
    Unregister,
    WhereIs,
)
from actors.handlers import handles
from actors.retry import Attempts

if TYPE_CHECKING:
    from actors.context import Context

DIRECTORY: Final = "directory"
DIRECTORY_SECONDS_MAX: Final = 5.0
PARTED_MAX: Final = 4096
"""Processes of which it is known which incarnation they are in, and what their actors had."""
ENTRIES_MAX: Final = 100_000
"""Names, memberships and watchers together; more are refused."""

Monitors = dict[str, dict[Address, None]]
_Claim = Register | Join | MonitorName | MonitorGroup


class Directory(Actor):
    """The names and groups of a system; its own process's name and `directory` are its address."""

    def __init__(self) -> None:
        self._names: dict[str, Address] = {}
        self._groups: dict[str, dict[Address, None]] = {}
        self._name_monitors: Monitors = {}
        self._group_monitors: Monitors = {}
        self._entries: dict[Address, int] = {}
        self._incarnations: dict[str, int] = {}
        # What actors had that are gone, as each of them would ask for it again: in this turn, and of
        # processes that cannot be heard.
        self._gone: dict[str, list[_Claim]] = {}
        self._parted: dict[str, list[_Claim]] = {}

    def on_turn_end(self) -> None:
        """What is gone while its process can be heard is gone for good."""
        self._gone.clear()

    @handles(Register)
    def register(self, register: Register) -> None:
        """Give a free name to an actor; the holder may register again."""
        holder = self._checked(register.holder)
        if holder is None:
            return
        present = self._names.get(register.name)
        if present is not None and present != holder:
            self.context.refuse(f"the name {register.name!r} is taken by {present}")
            return
        if present is None:
            self._set_holder(register.name, holder)
        self.context.reply(NameChanged(register.name, holder))

    @handles(Unregister)
    def unregister(self, unregister: Unregister) -> None:
        """Free a name that the asker holds."""
        holder = self._checked(unregister.holder)
        if holder is None:
            return
        if self._names.get(unregister.name) == holder:
            del self._names[unregister.name]
            self._let_go(holder)
            self._name_changed(unregister.name)
        self.context.reply(NameChanged(unregister.name, self._names.get(unregister.name)))

    @handles(WhereIs)
    def where_is(self, where_is: WhereIs) -> None:
        """Tell who holds a name."""
        self.context.reply(NameChanged(where_is.name, self._names.get(where_is.name)))

    @handles(MonitorName)
    def monitor_name(self, monitor: MonitorName) -> None:
        """Tell who holds a name, and again whenever that changes."""
        watcher = self._checked(monitor.watcher)
        if watcher is not None:
            self._monitor(self._name_monitors, monitor.name, watcher)
            self.context.reply(self._holder(monitor.name))
            self.context.tell(watcher, self._holder(monitor.name))

    @handles(Join)
    def join(self, join: Join) -> None:
        """Make an actor a member of a group; idempotent."""
        member = self._checked(join.member)
        if member is None:
            return
        self._add_member(join.group, member)
        self.context.reply(self._members(join.group))

    @handles(Leave)
    def leave(self, leave: Leave) -> None:
        """End a membership; idempotent."""
        member = self._checked(leave.member)
        if member is None:
            return
        self._drop_member(leave.group, member)
        self.context.reply(self._members(leave.group))

    @handles(Members)
    def members(self, members: Members) -> None:
        """Tell who is in a group."""
        self.context.reply(self._members(members.group))

    @handles(MonitorGroup)
    def monitor_group(self, monitor: MonitorGroup) -> None:
        """Tell who is in a group, and again whenever that changes."""
        watcher = self._checked(monitor.watcher)
        if watcher is not None:
            self._monitor(self._group_monitors, monitor.group, watcher)
            self.context.reply(self._members(monitor.group))
            self.context.tell(watcher, self._members(monitor.group))

    @handles(Terminated)
    def on_terminated(self, terminated: Terminated) -> None:
        """What is gone holds nothing, belongs to nothing and is told nothing."""
        gone = terminated.address
        claims = self._gone.setdefault(gone.process, [])
        self._entries.pop(gone, None)
        for monitors, claim in ((self._name_monitors, MonitorName), (self._group_monitors, MonitorGroup)):
            for what in [what for what, watchers in monitors.items() if gone in watchers]:
                claims.append(claim(what, gone))
                monitors[what].pop(gone)
                if not monitors[what]:
                    del monitors[what]
        for name in [name for name, holder in self._names.items() if holder == gone]:
            claims.append(Register(name, gone))
            del self._names[name]
            self._name_changed(name)
        for group in [group for group, members in self._groups.items() if gone in members]:
            claims.append(Join(group, gone))
            self._drop_member(group, gone)

    @handles(ProcessDown)
    def on_process_down(self, down: ProcessDown) -> None:
        """Keep what its actors had, as it may be heard again."""
        claims = self._gone.pop(down.process, [])
        if claims:
            self._parted[down.process] = claims
        if len(self._parted) > PARTED_MAX:
            del self._parted[next(iter(self._parted))]

    @handles(ProcessUp)
    def on_process_up(self, up: ProcessUp) -> None:
        """Give the actors of the same incarnation what they had; those that have ended lose it at once."""
        before, self._incarnations[up.process] = self._incarnations.get(up.process), up.incarnation
        claims = self._parted.pop(up.process, [])
        if before != up.incarnation:
            return
        for claim in claims:
            if isinstance(claim, Join):
                self._add_member(claim.group, claim.member)
            elif isinstance(claim, Register):
                if claim.name not in self._names:
                    self._set_holder(claim.name, claim.holder)
            elif isinstance(claim, MonitorName):
                self._monitor(self._name_monitors, claim.name, claim.watcher)
                self.context.tell(claim.watcher, self._holder(claim.name))
            else:
                self._monitor(self._group_monitors, claim.group, claim.watcher)
                self.context.tell(claim.watcher, self._members(claim.group))

    def _checked(self, named: Address) -> Address | None:
        """Whom a request is about: an actor of the asker's process. Else the asker is told why not."""
        sender = self.context.sender
        if sender is not None and named.process != sender.process:
            self.context.refuse(f"{named} is not an actor of {sender.process}, which asks on its behalf")
            return None
        if sum(self._entries.values()) >= ENTRIES_MAX:
            self.context.refuse(
                f"the directory is full: it has {ENTRIES_MAX} names, memberships and watchers"
            )
            return None
        return named

    def _set_holder(self, name: str, holder: Address) -> None:
        self._names[name] = holder
        self._keep(holder)
        self._name_changed(name)

    def _add_member(self, group: str, member: Address) -> None:
        members = self._groups.setdefault(group, {})
        if member not in members:
            members[member] = None
            self._keep(member)
            self._group_changed(group)

    def _keep(self, address: Address) -> None:
        self._entries[address] = self._entries.get(address, 0) + 1
        self.context.watch(address)
        if address.process not in self._incarnations and address.process != self.context.address.process:
            if len(self._incarnations) >= PARTED_MAX:
                self._forget_process(next(iter(self._incarnations)))
            self._incarnations[address.process] = 0
            self.context.watch_process(address.process)

    def _forget_process(self, process: str) -> None:
        del self._incarnations[process]
        self._parted.pop(process, None)
        self.context.unwatch_process(process)

    def _let_go(self, address: Address) -> None:
        left = self._entries.get(address, 1) - 1
        if left:
            self._entries[address] = left
        else:
            self._entries.pop(address, None)
            self.context.unwatch(address)

    def _monitor(self, monitors: Monitors, what: str, watcher: Address) -> None:
        watchers = monitors.setdefault(what, {})
        if watcher not in watchers:
            watchers[watcher] = None
            self._keep(watcher)

    def _drop_member(self, group: str, member: Address) -> None:
        members = self._groups.get(group, {})
        if member in members:
            del members[member]
            if not members:
                del self._groups[group]
            self._let_go(member)
            self._group_changed(group)

    def _holder(self, name: str) -> NameChanged:
        return NameChanged(name, self._names.get(name))

    def _members(self, group: str) -> GroupChanged:
        return GroupChanged(group, tuple(self._groups.get(group, ())))

    def _name_changed(self, name: str) -> None:
        for watcher in self._name_monitors.get(name, ()):
            self.context.tell(watcher, self._holder(name))

    def _group_changed(self, group: str) -> None:
        for watcher in self._group_monitors.get(group, ()):
            self.context.tell(watcher, self._members(group))


class DirectoryClient:
    """An actor's way to the directory of its system. What it asks is asked until the directory is reached.

    Each method returns a Pending, which ends with what is so then: a NameChanged, or a GroupChanged.
    """

    def __init__(self, context: Context, directory: Address) -> None:
        self._context = context
        self._directory = directory

    @property
    def address(self) -> Address:
        """Where the directory is, for those that watch it."""
        return self._directory

    def register(self, name: str) -> Pending[NameChanged]:
        """Hold a name; fails with AskRefused if another one does."""
        return self._ask(Register(name, self._context.address))

    def unregister(self, name: str) -> Pending[NameChanged]:
        """Hold a name no more."""
        return self._ask(Unregister(name, self._context.address))

    def where_is(self, name: str) -> Pending[NameChanged]:
        """Who holds a name, if anyone does."""
        return self._ask(WhereIs(name))

    def monitor_name(self, name: str) -> Pending[NameChanged]:
        """Be told NameChanged, now and whenever the holder changes, for as long as this actor is there."""
        return self._ask(MonitorName(name, self._context.address))

    def join(self, group: str) -> Pending[GroupChanged]:
        """Be a member of a group."""
        return self._ask(Join(group, self._context.address))

    def leave(self, group: str) -> Pending[GroupChanged]:
        """Be a member no more."""
        return self._ask(Leave(group, self._context.address))

    def members(self, group: str) -> Pending[GroupChanged]:
        """Who is in a group."""
        return self._ask(Members(group))

    def monitor_group(self, group: str) -> Pending[GroupChanged]:
        """Be told GroupChanged, now and whenever the members change."""
        return self._ask(MonitorGroup(group, self._context.address))

    def tell_all(self, group: str, message: object) -> Pending[GroupChanged]:
        """Tell each member; ends with who they were. An empty group is no error."""
        pending = self._ask(Members(group))
        pending.before(self._teller(message))
        return pending

    def _teller(self, message: object) -> Callable[[GroupChanged], None]:
        def tell(changed: GroupChanged) -> None:
            for member in changed.members:
                self._context.tell(member, message)

        return tell

    def _ask(self, message: object) -> Pending[Any]:
        asker = self._context.asker()
        return Attempts(asker, message, DIRECTORY_SECONDS_MAX, choose=lambda: self._directory).pending
