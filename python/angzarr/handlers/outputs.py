"""What sagas and process managers want done: values without books, headers or stamps.

Send(Ship("Elm St 1"))                                 a command to the declared target
Record(Paid(500), domain="ledger", root="2026")        a fact: recorded, not decided
Schedule("remind", Remind(), after=timedelta(hours=1)) a wake-up of this component
Schedule("cancel", Send(Cancel()), at=midnight)        a command that is sent later
Cancel("remind")                                       no wake-up after all
"""

from __future__ import annotations

import dataclasses
import re
import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from google.protobuf.message import Message

from angzarr.codec import Payload
from angzarr.cover import ROOT_BYTES, Root, root_of
from angzarr.handlers.decorators import MERGES, Merge
from angzarr.handlers.table import table_of

if TYPE_CHECKING:
    from angzarr.handlers.aggregate import Aggregate

TIMER_NAME: Final = re.compile(r"[A-Za-z0-9_:.-]{1,128}")
"""TIMER-1."""


@dataclass(frozen=True, slots=True, init=False, repr=False)
class Send:
    """A command for another stream.

    domain: a name or an Aggregate class; may be left out where only one declared target takes the
    command. root: as callers name it; left out in a saga it is where `@routes` says, else the root
    of the event's own stream. merge: the strategy; None is that of the target's `@command`, else
    commutative. at_head: append wherever the stream is by then, whatever has happened there.

    Raises TypeError for a command that is no payload, ValueError for a wrong root or strategy.
    """

    command: Payload
    domain: str
    root: bytes | None
    merge: Merge | None
    at_head: bool

    def __init__(
        self,
        command: Payload,
        *,
        domain: str | type[Aggregate] = "",
        root: Root | None = None,
        merge: Merge | None = None,
        at_head: bool = False,
    ) -> None:
        if merge is not None and merge not in MERGES:
            raise ValueError(f"merge must be one of {', '.join(MERGES)}, got {merge!r}")
        _set(self, "command", _payload(command, "Send"))
        _set(self, "domain", domain_of(domain))
        _set(self, "root", root_bytes(root))
        _set(self, "merge", merge)
        _set(self, "at_head", at_head)

    def __repr__(self) -> str:
        return _shown(self, repr(self.command), ("domain", "root", "merge", "at_head"))


@dataclass(frozen=True, slots=True, init=False, repr=False)
class Record:
    """A fact for another stream: an event that is recorded there without asking anyone.

    domain, root: as Send's. external_id: what the outside calls it; a stream records each id once.
    Without one the fact is recorded once for the event that caused it.

    Raises TypeError for an event that is no payload, ValueError for a wrong root.
    """

    event: Payload
    domain: str
    root: bytes | None
    external_id: str

    def __init__(
        self,
        event: Payload,
        *,
        domain: str | type[Aggregate] = "",
        root: Root | None = None,
        external_id: str = "",
    ) -> None:
        _set(self, "event", _payload(event, "Record"))
        _set(self, "domain", domain_of(domain))
        _set(self, "root", root_bytes(root))
        _set(self, "external_id", external_id)

    def __repr__(self) -> str:
        return _shown(self, repr(self.event), ("domain", "root", "external_id"))


@dataclass(frozen=True, slots=True, init=False, repr=False)
class Schedule:
    """A timer of the stream that the event belongs to, or of the process manager's own.

    name: 1 to 128 of `A-Z a-z 0-9 _ - : .`; scheduling it again replaces the earlier timer. what: a
    Send, which is sent then without asking the component again; or a payload, with which its
    `@wakes` method is called. When: either `after` the event was created, or `at` a time with a
    zone; what is past is due at once.

    Raises TypeError or ValueError for what is none of that.
    """

    name: str
    what: Payload | Send
    after: timedelta | None
    at: datetime | None

    def __init__(
        self,
        name: str,
        what: Payload | Send,
        *,
        after: timedelta | None = None,
        at: datetime | None = None,
    ) -> None:
        if (after is None) == (at is None):
            raise TypeError(f"Schedule({name!r}) needs either after or at")
        if at is not None and at.utcoffset() is None:
            raise ValueError(f"Schedule({name!r}): at needs a time zone, as datetime.now(UTC) has")
        _set(self, "name", _timer_name(name))
        _set(self, "what", what if isinstance(what, Send) else _payload(what, "Schedule"))
        _set(self, "after", after)
        _set(self, "at", at)

    def __repr__(self) -> str:
        return _shown(self, f"{self.name!r}, {self.what!r}", ("after", "at"))


@dataclass(frozen=True, slots=True)
class Cancel:
    """The end of a timer of the same stream; an unknown name is no mistake."""

    name: str

    def __post_init__(self) -> None:
        _timer_name(self.name)


Output = Send | Record | Schedule | Cancel
"""What methods of sagas and process managers return or yield, beside a process's own events."""

OUTPUTS: Final = (Send, Record, Schedule, Cancel)


def domain_of(target: str | type) -> str:
    """The domain of a name or of a class that has one. Raises TypeError for another class."""
    if isinstance(target, str):
        return target
    table = table_of(target)
    if table is None:
        raise TypeError(f"{target!r} is neither a domain nor an Aggregate class")
    return table.domain


def root_bytes(root: Root | None) -> bytes | None:
    """The root as bytes. Raises ValueError for another length than 16."""
    if root is None:
        return None
    found = root_of(root)
    if len(found) != ROOT_BYTES:
        raise ValueError(f"root must be {ROOT_BYTES} bytes, got {len(found)}")
    return found


def _set(output: object, name: str, value: object) -> None:
    object.__setattr__(output, name, value)


def _payload(value: Payload, owner: str) -> Payload:
    found: object = value
    if isinstance(found, type) or not (
        dataclasses.is_dataclass(found) or isinstance(found, Message)
    ):
        raise TypeError(f"{owner} takes a dataclass instance or a protobuf message, not {found!r}")
    if isinstance(found, OUTPUTS):
        raise TypeError(f"{owner} takes a payload, not {found!r}")
    return value


def _timer_name(name: str) -> str:
    if not TIMER_NAME.fullmatch(name):
        raise ValueError(f"a timer's name is 1-128 of A-Z a-z 0-9 _ - : ., got {name!r}")
    return name


def _shown(output: object, first: str, names: tuple[str, ...]) -> str:
    """The output as one would write it, what was left out left out."""
    said = {name: getattr(output, name) for name in names}
    if isinstance(said.get("root"), bytes):
        said["root"] = str(uuid.UUID(bytes=said["root"]))
    options = [f", {name}={value!r}" for name, value in said.items() if value not in (None, "", 0)]
    return f"{type(output).__name__}({first}{''.join(options)})"
