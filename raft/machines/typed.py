"""A typed base class for user machines: commands and queries are msgspec structs, answers plain values.

Owns the way between these and the bytes that a `StateMachine` is given, at the node and at the client alike.
Knows nothing of how either speaks to the other.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import cache
from inspect import isasyncgenfunction, iscoroutinefunction, isgeneratorfunction, signature
from typing import Any, ClassVar, Generic, TypeVar, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Struct
from msgspec.inspect import CustomType, Field, Type, type_info

from raft.machines.machine import VERSION_MAX, MachineError

Answer_co = TypeVar("Answer_co", covariant=True)
State = TypeVar("State")

_SINCE = "since_version"
# Equal values have equal bytes, in any order of insertion.
_encode = msgspec.msgpack.Encoder(order="deterministic").encode


class TypedCommand(Struct, Generic[Answer_co], tag=True):
    """To derive commands from: `class Add(TypedCommand[int])` is one that is answered by an int.

    On the wire a command is known by the name of its class, in a log perhaps for years; `tag="add"` fixes it.
    """

    since_version: ClassVar[int] = 1
    """The first version of the machine that knows this command: none is sent to older ones."""


class TypedQuery(Struct, Generic[Answer_co], tag=True):
    """To derive queries from, likewise."""


class TypedMachine(ABC, Generic[State]):
    """Base class for a `StateMachine`; the annotations of its three methods say what is decoded.

    Deterministic by the same contract. Raises TypeError when it is made if a method or an annotation is
    missing, a method is `async`, or a type is none that msgspec decodes, so that a node with it refuses to
    start.
    """

    version: ClassVar[int] = 1
    """Of this code: 2, 3 and so on after a change of what it carries out, answers or stores."""
    cluster_version: int
    """The lowest version of any member, as agreed in the log: what is new in `version` begins with that."""
    state: State
    """The state: anything that msgspec can encode, dicts in any order."""
    index: int
    """Of the command that is being carried out: no other one has it, so it makes a good id."""

    def __init__(self) -> None:
        for method in (self.empty, self.carry_out, self.answer):
            check_is_plain(method)
        self._commands = _decoder(self.carry_out, _argument_of(self.carry_out))
        self._queries = _decoder(self.answer, _argument_of(self.answer))
        self._states = _decoder(self.empty, _annotation(self.empty, "return"))
        self.index = 0
        self.cluster_version = 1
        self.state = self.empty()

    @abstractmethod
    def empty(self) -> State:
        """The state before the first command."""

    @abstractmethod
    def carry_out(self, command: Any) -> Any:
        """Change the state and answer; raise `MachineError` to refuse the command."""

    def answer(self, query: Any) -> Any:
        """Answer without changing anything; raise `MachineError` to refuse the query."""
        raise MachineError(f"{type(self).__name__} answers no queries, {query!r} among them")

    def cluster_version_is(self, version: int) -> None:
        """See `Versioned`; to be extended by a machine whose state has to change with the version."""
        self.cluster_version = version

    def apply(self, index: int, command: bytes) -> bytes:
        """See `StateMachine`."""
        self.index = index
        return _encode(self.carry_out(self._commands.decode(command)))

    def query(self, query: bytes) -> bytes:
        """See `StateMachine`."""
        return _encode(self.answer(self._queries.decode(query)))

    def snapshot(self) -> bytes:
        """See `StateMachine`."""
        return _encode(self.state)

    def restore(self, data: bytes) -> None:
        """See `StateMachine`."""
        self.state = self._states.decode(data) if data else self.empty()


def body_of(request: TypedCommand[Any] | TypedQuery[Any]) -> bytes:
    """The bytes that a typed machine is sent."""
    return _encode(request)


def since(version: int) -> msgspec.Meta:
    """For a field that a command has only since a version: `note: Annotated[str, since(2)] = ""`.

    A command in which it has another value than its default needs that version; another one does not.
    """
    return msgspec.Meta(extra={_SINCE: version})


def version_needed(command: TypedCommand[Any]) -> int:
    """The version of the machine that knows all that this command says."""
    kind = type(command)
    needed, fields = _since(kind)
    for name, version, default in fields:
        if version > needed and getattr(command, name) != default:
            needed = version
    return needed


@cache
def _since(kind: type[TypedCommand[Any]]) -> tuple[int, tuple[tuple[str, int, Any], ...]]:
    """Since which version there are this command, and its fields, with their defaults."""
    hints = get_type_hints(kind, include_extras=True)
    fields = []
    for field in msgspec.structs.fields(kind):
        for meta in getattr(hints[field.name], "__metadata__", ()):
            version = (getattr(meta, "extra", None) or {}).get(_SINCE)
            if version is not None:
                fields.append((field.name, _checked(kind, version), _default_of(kind, field)))
    return _checked(kind, kind.since_version), tuple(fields)


def _checked(kind: type, version: Any) -> int:
    if type(version) is not int or not 1 <= version <= VERSION_MAX:
        raise TypeError(
            f"{kind.__qualname__}: since_version, and since(...) of a field, is a whole number from 1 to "
            f"{VERSION_MAX}, not {version!r}"
        )
    return version


def _default_of(kind: type, field: msgspec.structs.FieldInfo) -> Any:
    if field.default is not msgspec.NODEFAULT:
        return field.default
    if field.default_factory is not msgspec.NODEFAULT:
        return field.default_factory()
    raise TypeError(f"{kind.__qualname__}.{field.name} needs a default: older commands have no such field")


def answer_to(request: TypedCommand[Answer_co] | TypedQuery[Answer_co], answer: bytes) -> Answer_co:
    """What a typed machine has answered; msgspec.ValidationError if that is another answer than expected."""
    decoded: Answer_co = msgspec.msgpack.decode(answer, type=_answer_type(type(request)))
    return decoded


def _answer_type(kind: type) -> Any:
    for ancestor in kind.__mro__:
        for base in vars(ancestor).get("__orig_bases__", ()):
            if get_origin(base) in {TypedCommand, TypedQuery}:
                return get_args(base)[0]
    raise TypeError(
        f"{kind.__qualname__} does not say what answers it: derive it from TypedCommand[int] or so"
    )


def check_is_plain(method: Callable[..., Any]) -> None:
    """Raise TypeError for a method that is a coroutine or generator: a machine returns its answers."""
    if any(is_kind(method) for is_kind in (iscoroutinefunction, isgeneratorfunction, isasyncgenfunction)):
        raise TypeError(
            f"{method.__qualname__} must be a plain function: a machine carries out one command after "
            "another, and can neither await nor yield"
        )


def _decoder(method: Callable[..., Any], kind: Any) -> msgspec.msgpack.Decoder[Any]:
    foreign = _foreign_type_in(type_info(kind), set())
    if foreign is not None:
        raise TypeError(
            f"{method.__qualname__} names {foreign.__qualname__}, which msgspec cannot decode: derive it "
            "from TypedCommand, TypedQuery or msgspec.Struct, or make it a dataclass"
        )
    return msgspec.msgpack.Decoder(kind)


def _foreign_type_in(kind: Any, seen: set[int]) -> type | None:
    """A type that msgspec can't handle by itself, anywhere in its description of another type."""
    if isinstance(kind, CustomType):
        return kind.cls
    if not isinstance(kind, Type | Field) or id(kind) in seen:
        return None
    seen.add(id(kind))
    for part in (getattr(kind, name) for name in kind.__struct_fields__):
        for inner in part if isinstance(part, tuple) else (part,):
            found = _foreign_type_in(inner, seen)
            if found is not None:
                return found
    return None


def _argument_of(method: Callable[..., Any]) -> Any:
    # Of a bound method, so without `self`.
    names = [name for name in signature(method).parameters if name in method.__annotations__]
    return _annotation(method, names[0] if names else "the argument")


def _annotation(method: Callable[..., Any], name: str) -> Any:
    try:
        return get_type_hints(method)[name]
    except KeyError:
        raise TypeError(
            f"{method.__qualname__} needs an annotation of {name}: it says what is decoded"
        ) from None
