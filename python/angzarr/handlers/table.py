"""The dispatch table of an aggregate class: full type name → method. Pure, built once a class."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import dataclass
from typing import Any as Untyped
from typing import Final, cast

from angzarr import codec, wire
from angzarr.codec import PayloadType
from angzarr.errors import CorruptData, HandlerFailed, SnapshotUnreadable
from angzarr.handlers.annotations import (
    UNSAID,
    Handler,
    classes_in,
    handlers_of,
    named_type,
    returned_classes,
    shown,
    twice,
)
from angzarr.handlers.decorators import Role
from angzarr.handlers.notifications import Compensation, Revocation
from angzarr.handlers.rejections import RejectionMethods
from angzarr.handlers.state import StateCodec, read_state, state_codec

SEEN_TYPE_URLS_MAX: Final = 1024
"""Type URLs remembered a table; facts of a peer may carry any number of them."""

DOMAIN: Final = re.compile(r"[a-z][a-z0-9_-]{0,63}")
"""A domain that a user may own: CMD-2 without the reserved ones, which start with `_` (CMD-5)."""

FRAMEWORK_NAME: Final = re.compile(r"angzarr\.[^.]+")

_SKIP: Final = (None, None, "")
_Applier = tuple[Callable[[bytes], object], Callable[[Untyped, object], None], str]


@dataclass(frozen=True, slots=True)
class CommandMethod:
    """One `@command` method for one command type. merge: the callers' default, None if not said."""

    name: str
    payload: PayloadType[Untyped]
    function: Callable[[Untyped, object], Untyped]
    merge: wire.MergeStrategy | None


class HandlerTable:
    """What an aggregate class does with which type; built by `build_table`.

    Process managers have one, too, of the methods that concern their state. component: the name in
    errors, `aggregate:<domain>` unless it is said.
    """

    def __init__(self, cls: type, domain: str, states: StateCodec, component: str = "") -> None:
        self.cls = cls
        self.domain = domain
        self.states = states
        self.component = component or f"aggregate:{domain}"
        self.commands: dict[str, CommandMethod] = {}
        self.rejections = RejectionMethods()
        self.compensation: Callable[[Untyped, object], Untyped] | None = None
        self.events: dict[str, PayloadType[Untyped]] = {}
        self._appliers: dict[str, _Applier] = {}
        self._by_url: dict[str, _Applier | tuple[None, None, str]] = {}

    def event_types(self) -> tuple[type[Untyped], ...]:
        """The event classes that the class applies."""
        return tuple(kind.cls for kind in self.events.values())

    def command_types(self) -> tuple[type[Untyped], ...]:
        """The command classes that the class decides on."""
        return tuple(method.payload.cls for method in self.commands.values())

    def command_named(self, type_url: str) -> CommandMethod | None:
        """The method for a command of this type; the URL's prefix is not compared."""
        return self.commands.get(codec.full_name(type_url))

    def initial(self) -> Untyped:
        """The state of an empty stream."""
        return self.cls()

    def load(self, snapshot: wire.Snapshot | None, pages: Iterable[wire.EventPage]) -> Untyped:
        """The state after `pages`, those that the snapshot holds left out.

        Raises SnapshotUnreadable for a snapshot of another class, or of this one as it was before
        its fields changed, CorruptData for a payload that does not parse, HandlerFailed if an
        `@applies` method raises.
        """
        if snapshot is None:
            return self.fold(self.initial(), pages)
        state = self._read(snapshot)
        return self.fold(state, [p for p in pages if p.header.sequence > snapshot.sequence])

    def _read(self, snapshot: wire.Snapshot) -> Untyped:
        where = f"the snapshot at {snapshot.sequence} of a stream of {self.domain}"
        try:
            return read_state(self.states, snapshot.state, where)
        except CorruptData as error:
            raise SnapshotUnreadable(error.where, error.found, error.wanted) from error
        except Exception as error:  # the class's own, of its __post_init__
            why = f"a state that the class refuses ({error})"
            raise SnapshotUnreadable(where, why, self.states.name) from error

    def fold(self, state: Untyped, pages: Iterable[wire.EventPage]) -> Untyped:
        """`state` changed by `pages` in order; types that the class does not apply are skipped.

        Framework events and NoOps are such types.
        """
        by_url = self._by_url
        name = ""
        try:
            for page in pages:
                event = page.event
                url = event.type_url
                decode, apply, name = by_url.get(url) or self._look_up(url)
                if decode is None or apply is None:
                    if page.HasField("external"):
                        raise CorruptData(_at(self, page), "a reference", "the payload itself")
                    continue
                try:
                    payload = decode(event.value)
                except codec.DECODE_ERRORS as error:
                    raise codec.unreadable(name, _at(self, page), error) from error
                apply(state, payload)
        except CorruptData:
            raise
        except Exception as error:
            raise self.failed(f"applying {name}", error) from error
        return state

    def record(self, state: Untyped, event: object) -> tuple[str, bytes]:
        """Type URL and bytes of a new event, after `state` was changed by what they decode to.

        So a stored event is one that can be loaded: what does not decode again, has no `@applies`
        method or makes it raise is refused here. Raises HandlerFailed.
        """
        applier = self._applier_of(event)
        name = applier[2]
        kind = self.events[name]
        try:
            value = kind.encode(event)
            applier[1](state, kind.decode(value))
        except codec.DECODE_ERRORS as error:
            raise self.failed(f"event {event!r} can't be read back", error) from error
        except Exception as error:
            raise self.failed(f"applying {name}", error) from error
        return kind.type_url, value

    def failed(self, what: str, error: BaseException) -> HandlerFailed:
        """The error for an exception of the user's code."""
        return HandlerFailed(self.component, f"{what}: {type(error).__name__}: {error}")

    def _look_up(self, type_url: str) -> _Applier | tuple[None, None, str]:
        found = self._appliers.get(codec.full_name(type_url), _SKIP)
        if len(self._by_url) < SEEN_TYPE_URLS_MAX:
            self._by_url[type_url] = found
        return found

    def _applier_of(self, event: object) -> _Applier:
        try:
            kind: PayloadType[Untyped] = codec.payload_type(type(event), self.domain)  # type: ignore[type-var]
        except TypeError as error:
            raise self.failed("a method returned no event", error) from error
        applier = self._appliers.get(kind.name)
        if applier is None or self.events[kind.name].cls is not type(event):
            wanted = ", ".join(sorted(self.events)) or "none"
            raise HandlerFailed(
                self.component,
                f"{kind.name} was returned and has no @applies method; those there are: {wanted}",
            )
        return applier

    def add(self, handler: Handler) -> None:
        """Enter a marked method. Raises TypeError for a mistake, or a second method of a type."""
        match handler.mark.role:
            case Role.COMMAND:
                self._add_command(handler)
            case Role.APPLIES:
                self._add_applier(handler)
            case Role.REJECTED:
                self.rejections.add(handler, self.domain)
            case Role.COMPENSATES:
                if handler.parameter is not Compensation:
                    raise TypeError(f"{handler.name} must take a Compensation")
                if self.compensation is not None:
                    raise TypeError(twice(handler.name, self.compensation.__name__, "@compensates"))
                self.compensation = handler.function
            case Role.UPCASTS:
                raise TypeError(f"{handler.name}: @upcasts methods belong to an Upcaster")
            case Role.HANDLES | Role.WAKES | Role.PREPARES | Role.ROUTES:
                what = f"{handler.mark.role.value} methods belong to a Saga or ProcessManager"
                raise TypeError(f"{handler.name}: {what}")
            case Role.PROJECTS:
                raise TypeError(f"{handler.name}: @projects methods belong to a Projector")

    def _add_command(self, handler: Handler) -> None:
        for cls in classes_in(handler.parameter, handler.name):
            kind = named_type(cls, self.domain, handler.name)
            other = self.commands.get(kind.name)
            if other is not None:
                raise TypeError(twice(handler.name, other.name, f"command {kind.name}"))
            self.commands[kind.name] = CommandMethod(
                handler.name, kind, handler.function, handler.mark.merge
            )

    def _add_applier(self, handler: Handler) -> None:
        if inspect.iscoroutinefunction(handler.function):
            raise TypeError(f"{handler.name} is async; @applies methods only change the state")
        if handler.returned not in (None, type(None), UNSAID):
            raise TypeError(f"{handler.name} must return None, not {shown(handler.returned)}")
        for cls in classes_in(handler.parameter, handler.name):
            kind = named_type(cls, self.domain, handler.name)
            if FRAMEWORK_NAME.fullmatch(kind.name):
                raise TypeError(f"{handler.name}: {kind.name} is a name of the framework's events")
            other = self._appliers.get(kind.name)
            if other is not None:
                raise TypeError(twice(handler.name, other[1].__name__, f"event {kind.name}"))
            self.events[kind.name] = kind
            self._appliers[kind.name] = (kind.decode, _untyped(handler.function), kind.name)


def build_table(
    cls: type, domain: str, hints: Mapping[str, object], names: Mapping[str, object]
) -> HandlerTable:
    """The table of `cls`.

    hints: its state's fields. names: what its string annotations may name. Raises TypeError for
    every mistake that can be seen in the class, with the names of class and method.
    """
    if not DOMAIN.fullmatch(domain):
        raise TypeError(
            f"{cls.__name__}: domain {domain!r} must be 1-64 of a-z 0-9 _ - and start with a letter"
        )
    table = HandlerTable(cls, domain, state_codec(cls, domain, hints))
    handlers = list(handlers_of(cls, names))
    for handler in handlers:
        table.add(handler)
    for handler in handlers:
        if handler.mark.role is not Role.APPLIES:
            check_returned(table, handler)
    return table


def check_returned(table: HandlerTable, handler: Handler, *, others: Container[type] = ()) -> None:
    """Raise TypeError if `handler` says that it returns what the class does not apply.

    others: classes that it may return beside events.
    """
    if handler.returned is UNSAID:
        return
    if handler.mark.role in (Role.REJECTED, Role.COMPENSATES):
        others = (Revocation,)
    for cls in returned_classes(handler.returned, handler.name):
        if cls in others:
            continue
        kind = named_type(cls, table.domain, handler.name)
        if kind.name not in table.events:
            raise TypeError(
                f"{handler.name} returns {cls.__name__}, which no @applies method of "
                f"{table.cls.__name__} takes"
            )


def _at(table: HandlerTable, page: wire.EventPage) -> str:
    return f"page {page.header.sequence} of a stream of {table.domain}"


def _untyped(function: Callable[..., object]) -> Callable[[Untyped, object], None]:
    return cast("Callable[[Untyped, object], None]", function)


def table_of(cls: object) -> HandlerTable | None:
    """The table of a class that has a domain; None for anything else."""
    found: object = getattr(cls, "__angzarr_table__", None)
    return found if isinstance(found, HandlerTable) else None
