"""The decorators that mark methods as handlers; the class's table is built from the marks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from types import FunctionType
from typing import Final, Literal, TypeVar, overload

from angzarr import wire

F = TypeVar("F", bound=Callable[..., object])

Merge = Literal["commutative", "strict", "aggregate_handles", "manual"]
"""What happens to a command whose stamp is not the stream's next sequence (CMD-14 to CMD-18)."""

MERGES: Final[Mapping[str, wire.MergeStrategy]] = {
    "commutative": wire.MERGE_COMMUTATIVE,
    "strict": wire.MERGE_STRICT,
    "aggregate_handles": wire.MERGE_AGGREGATE_HANDLES,
    "manual": wire.MERGE_MANUAL,
}

_ATTRIBUTE: Final = "__angzarr_mark__"


class Role(Enum):
    """What a marked method is for; the value is its decorator."""

    COMMAND = "@command"
    APPLIES = "@applies"
    REJECTED = "@rejected"
    COMPENSATES = "@compensates"
    UPCASTS = "@upcasts"
    HANDLES = "@handles"
    WAKES = "@wakes"
    PREPARES = "@prepares"
    ROUTES = "@routes"
    PROJECTS = "@projects"


@dataclass(frozen=True, slots=True)
class Mark:
    """What a decorator says of a method.

    merge: for commands, None where nothing is said. domain: a name or an Aggregate class, the
    source that `@handles` and `@projects` name or the target that `@routes` does; None for all of
    them.
    """

    role: Role
    merge: wire.MergeStrategy | None = None
    domain: str | type | None = None


@overload
def command(method: F, /) -> F: ...
@overload
def command(*, merge: Merge) -> Callable[[F], F]: ...
def command(method: F | None = None, /, *, merge: Merge | None = None) -> F | Callable[[F], F]:
    """Mark a method that decides on one type of command: that of its parameter's annotation.

    It returns an event, a list or tuple of events, or None; it may be async. To refuse, it calls
    `reject(reason)`. It must not change the state: that is what `@applies` methods do.

    merge: the strategy that callers in this process send the command with by default; the wire's
    page carries it, and a caller may choose another. Raises ValueError for an unknown one.
    """
    if merge is not None and merge not in MERGES:
        raise ValueError(f"merge must be one of {', '.join(MERGES)}, got {merge!r}")
    mark = Mark(Role.COMMAND, None if merge is None else MERGES[merge])
    if method is not None:
        return _marked(method, mark)
    return lambda method: _marked(method, mark)


def applies(method: F, /) -> F:
    """Mark a method that changes the state by one type of event, that of its parameter.

    It returns None and is not async. It must accept every event that was ever stored: it never
    refuses.
    """
    return _marked(method, Mark(Role.APPLIES))


@overload
def handles(method: F, /) -> F: ...
@overload
def handles(*, source: str | type) -> Callable[[F], F]: ...
def handles(
    method: F | None = None, /, *, source: str | type | None = None
) -> F | Callable[[F], F]:
    """Mark a method of a saga or process manager that reacts to one type of event, that of its
    first parameter.

    A second parameter, if there is one, is given the `Trigger`: where the event is. It returns a
    Send, Record, Schedule or Cancel, several in a list or tuple, or None; or it yields them. In a
    process manager events of its own are among them. It may be async.

    source: the domain, or aggregate class, that the event comes from, where several sources have
    events of that name.
    """
    mark = Mark(Role.HANDLES, domain=source)
    if method is not None:
        return _marked(method, mark)
    return lambda method: _marked(method, mark)


def wakes(method: F, /) -> F:
    """Mark a method that is called when a timer is due, by the type of the payload that
    `Schedule` gave it. It takes and answers what a `@handles` method does.
    """
    return _marked(method, Mark(Role.WAKES))


def prepares(method: F, /) -> F:
    """Mark a method of a process manager that names, by an event, the streams that it is going to
    send to, so that their next sequences are there when the event is handled.

    It returns a Cover, several in a list or tuple, or None; or it yields them.
    """
    return _marked(method, Mark(Role.PREPARES))


@overload
def routes(method: F, /) -> F: ...
@overload
def routes(*, domain: str | type) -> Callable[[F], F]: ...
def routes(method: F | None = None, /, *, domain: str | type | None = None) -> F | Callable[[F], F]:
    """Mark a method of a saga that says to which root an event leads, in place of its own root.

    It is pure, and returns a root as callers name it, or None for the event's own. domain: the
    target that it is for; without one it is for all of them.
    """
    mark = Mark(Role.ROUTES, domain=domain)
    if method is not None:
        return _marked(method, mark)
    return lambda method: _marked(method, mark)


def rejected(method: F, /) -> F:
    """Mark a method that hears that a command was refused.

    Its parameter is `Rejection[Reserve]` for refused commands of type Reserve, or `Rejection` for
    all others. In an aggregate the command is one that a saga sent because of its events; in a
    process manager one that it sent itself. Both answer with events that undo or compensate, a
    Revocation, or None; None is an empty answer, on which the configured fallback runs. In a saga
    it is one of the saga's own, and the answer what makes up for it: a Send, a Record, or several;
    None leaves it to the source.
    """
    return _marked(method, Mark(Role.REJECTED))


def compensates(method: F, /) -> F:
    """Mark a method that hears that a cascade failed which this aggregate's events are part of.

    Its parameter is `Compensation`. It answers as a `@rejected` method does.
    """
    return _marked(method, Mark(Role.COMPENSATES))


def upcasts(method: F, /) -> F:
    """Mark a method that turns an event of an old type into one of a newer type."""
    return _marked(method, Mark(Role.UPCASTS))


@overload
def projects(method: F, /) -> F: ...
@overload
def projects(*, source: str | type) -> Callable[[F], F]: ...
def projects(
    method: F | None = None, /, *, source: str | type | None = None
) -> F | Callable[[F], F]:
    """Mark a method of a projector that is called with each event of one type, that of its first
    parameter.

    After the event it may take a `Trigger`, which says where the event is and is found by its
    annotation, and what the read store gives, such as an SQLite connection. What it returns, a
    payload or None, is the projection that synchronous requests are answered with; of a book with
    several events the last one counts. It may be async.

    source: the domain, or aggregate class, that the event comes from, where several sources have
    events of that name.
    """
    mark = Mark(Role.PROJECTS, domain=source)
    if method is not None:
        return _marked(method, mark)
    return lambda method: _marked(method, mark)


def mark_of(attribute: object) -> Mark | None:
    """The mark of a method, None for anything else."""
    return getattr(attribute, _ATTRIBUTE, None) if isinstance(attribute, FunctionType) else None


def _marked(method: F, mark: Mark) -> F:
    function: object = method
    if not isinstance(function, FunctionType):
        raise TypeError(f"{mark.role.value} marks methods, not {function!r}")
    earlier = mark_of(function)
    if earlier is not None:
        raise TypeError(
            f"{function.__qualname__} has {earlier.role.value} and {mark.role.value}; one is enough"
        )
    setattr(function, _ATTRIBUTE, mark)
    return method
