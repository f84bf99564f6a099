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
    PROJECTS = "@projects"


@dataclass(frozen=True, slots=True)
class Mark:
    """What a decorator says of a method.

    merge: for commands, None where nothing is said. domain: a name or an Aggregate class, the
    source that `@projects` names; None for all of them.
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


def rejected(method: F, /) -> F:
    """Mark a method that hears that a saga's command, caused by this aggregate, was refused.

    Its parameter is `Rejection[Reserve]` for refused commands of type Reserve, or `Rejection` for
    all others. It returns events that undo or compensate, a Revocation, or None; None is an empty
    answer, on which the configured fallback runs.
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
