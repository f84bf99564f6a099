"""The dispatch table of a projector class: domain and full type name → method. Pure."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import FunctionType
from typing import Any as Untyped
from typing import Final

from angzarr import codec
from angzarr.codec import PayloadType
from angzarr.handlers.aggregate import Aggregate
from angzarr.handlers.annotations import (
    classes_in,
    hints_of,
    marked,
    named_type,
    returned_classes,
    twice,
)
from angzarr.handlers.decorators import Mark, Role
from angzarr.handlers.sources import ANY_DOMAIN, PATTERN
from angzarr.handlers.table import FRAMEWORK_NAME
from angzarr.handlers.trigger import Trigger
from angzarr.ports.components import Subscription
from angzarr.ports.read_store import ReadStore

Source = str | type[Aggregate]
"""A domain by its name or its aggregate class, or a pattern: `*`, `prefix.*`."""

DOMAINS_KEPT: Final = 256
"""Domains whose methods are kept at hand; a pattern may match any number of them."""


@dataclass(frozen=True, slots=True)
class EventMethod:
    """A `@projects` method. name: `Statement.deposited`. wants_place, wants_db: which parameters
    follow the event, in the order that `is_db_first` says. source: the one that it is for, None for
    all that have the event."""

    name: str
    function: Callable[..., Untyped]
    events: tuple[type[Untyped], ...]
    wants_place: bool
    wants_db: bool
    is_db_first: bool
    source: str | None

    def bound(self, projector: object) -> Callable[[object, Trigger | None, object], Untyped]:
        """The method as a function of event, place and db, whatever it takes of them."""
        call = self.function.__get__(projector)
        if self.wants_place and self.wants_db:
            if self.is_db_first:
                return lambda event, place, db: call(event, db, place)
            return call
        if self.wants_place:
            return lambda event, place, _: call(event, place)
        if self.wants_db:
            return lambda event, _, db: call(event, db)
        return lambda event, _, __: call(event)


class ProjectorTable:
    """What a projector class does with which event; built by `build_table`.

    name: bare. sources: domains and patterns, in the order given. editions: as covers or people
    name them, None for every one.
    """

    def __init__(
        self,
        cls: type,
        name: str,
        sources: Sequence[Source],
        *,
        editions: tuple[str, ...] | None,
        is_synchronous: bool,
        read_store: ReadStore[object] | None,
    ) -> None:
        self.cls = cls
        self.name = name
        self.editions = editions
        self.is_synchronous = is_synchronous
        self.read_store = read_store
        self.methods: list[EventMethod] = []
        self.reset: Callable[..., Untyped] | None = None
        self._aggregates = {
            s.table().domain: frozenset(s.table().events) for s in sources if not isinstance(s, str)
        }
        self.sources = tuple(dict.fromkeys(_name_of(source) for source in sources))
        self._by_domain: dict[str, dict[str, tuple[PayloadType[Untyped], EventMethod]]] = {}

    @property
    def component(self) -> str:
        """The component's name, `projector:<name>`."""
        return f"projector:{self.name}"

    def subscriptions(self) -> tuple[Subscription, ...]:
        """One a source: full names where the domain is known, last components for a pattern."""
        return tuple(
            Subscription(source, tuple(sorted(self._types(source)))) for source in self.sources
        )

    def of_domain(self, domain: str) -> Mapping[str, tuple[PayloadType[Untyped], EventMethod]]:
        """Payload types and methods for events of a domain, by full type name.

        Raises TypeError if two methods are for one type, or a type can't be named there.
        """
        found = self._by_domain.get(domain)
        if found is None:
            found = self._methods_of(domain)
            if len(self._by_domain) < DOMAINS_KEPT:
                self._by_domain[domain] = found
        return found

    def events(self) -> dict[type, str]:
        """The event classes, each with a source that has it."""
        found: dict[type, str] = {}
        for method in self.methods:
            for event in method.events:
                for source in self.sources:
                    if self._takes(method, event, source):
                        found.setdefault(event, source)
        return found

    def _types(self, source: str) -> Iterator[str]:
        for method in self.methods:
            for event in method.events:
                if not self._takes(method, event, source):
                    continue
                if not is_pattern(source):
                    yield named_type(event, source, method.name).name
                    continue
                names = {named_type(event, any_, method.name).name for any_ in ANY_DOMAIN}
                yield names.pop() if len(names) == 1 else event.__name__

    def _methods_of(self, domain: str) -> dict[str, tuple[PayloadType[Untyped], EventMethod]]:
        found: dict[str, tuple[PayloadType[Untyped], EventMethod]] = {}
        for method in self.methods:
            for event in method.events:
                if not self._takes(method, event, domain):
                    continue
                kind = named_type(event, domain, method.name)
                if FRAMEWORK_NAME.fullmatch(kind.name):
                    raise TypeError(
                        f"{method.name}: {kind.name} is a name of the framework's events"
                    )
                other = found.get(kind.name)
                if other is not None:
                    what = f"{kind.name} of {domain}"
                    raise TypeError(twice(method.name, other[1].name, what))
                found[kind.name] = (kind, method)
        return found

    def _takes(self, method: EventMethod, event: type, domain: str) -> bool:
        """Whether a method is for this event of a domain. An aggregate says which ones it has."""
        if method.source is not None and not _matches(method.source, domain):
            return False
        known = self._aggregates.get(domain)
        return known is None or codec.payload_type(event, domain).name in known


def build_table(
    cls: type,
    name: str,
    sources: Sequence[Source],
    names: Mapping[str, object],
    *,
    editions: tuple[str, ...] | None,
    is_synchronous: bool,
    read_store: ReadStore[object] | None,
) -> ProjectorTable:
    """The table of `cls`. names: what its string annotations may name.

    Raises TypeError for every mistake that can be seen in the class, with the names of class and
    method.
    """
    for source in sources:
        named = _name_of(source)
        if not PATTERN.fullmatch(named):
            raise TypeError(f"{cls.__name__}: source {named!r} must be a domain, * or prefix.*")
    table = ProjectorTable(
        cls,
        name,
        sources,
        editions=editions,
        is_synchronous=is_synchronous,
        read_store=read_store,
    )
    for function, mark in _marked(cls):
        table.methods.append(_method(table, function, mark, names))
    if not table.methods:
        raise TypeError(f"{cls.__name__} has no @projects method")
    for method in table.methods:
        for event in method.events:
            if event not in table.events():
                raise TypeError(
                    f"{method.name} takes {event.__name__}, which no source of {cls.__name__} has; "
                    f"sources: {', '.join(table.sources)}"
                )
    for source in table.sources:
        table.of_domain(ANY_DOMAIN[0] if is_pattern(source) else source)
    table.reset = _reset(table)
    return table


def is_pattern(source: str) -> bool:
    """Whether a source stands for any number of domains."""
    return source.endswith("*")


def _marked(cls: type) -> Iterator[tuple[FunctionType, Mark]]:
    for function, mark in marked(cls):
        if mark.role is not Role.PROJECTS:
            who = f"{cls.__name__}.{function.__name__}"
            raise TypeError(f"{who}: {mark.role.value} does not belong to a Projector")
        yield function, mark


def _method(
    table: ProjectorTable, function: FunctionType, mark: Mark, names: Mapping[str, object]
) -> EventMethod:
    name = f"{table.cls.__name__}.{function.__name__}"
    hints = hints_of(name, function, names)
    parameters = list(inspect.signature(function).parameters.values())[1:]
    kinds = {inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD}
    if not 1 <= len(parameters) <= 3 or any(p.kind not in kinds for p in parameters):
        raise TypeError(f"{name} must take an event, and at most a Trigger and the read store's db")
    event, *others = parameters
    if event.name not in hints:
        raise TypeError(f"{name} lacks the annotation of parameter {event.name!r}")
    places = [p for p in others if hints.get(p.name) is Trigger]
    dbs = [p for p in others if hints.get(p.name) is not Trigger]
    if len(places) > 1 or len(dbs) > 1:
        raise TypeError(
            f"{name} must take an event, and at most a Trigger and the read store's db; "
            "annotate the Trigger"
        )
    if dbs and table.read_store is None:
        raise TypeError(
            f"{name} takes {dbs[0].name!r}, and {table.cls.__name__} has no read_store to give it"
        )
    for returned in returned_classes(hints.get("return"), name):
        named_type(returned, table.name, name)
    return EventMethod(
        name,
        function,
        classes_in(hints[event.name], name),
        bool(places),
        bool(dbs),
        bool(dbs) and others[0] is dbs[0],
        None if mark.domain is None else _name_of(mark.domain),
    )


def _reset(table: ProjectorTable) -> Callable[..., Untyped] | None:
    found = inspect.getattr_static(table.cls, "reset", None)
    if found is None:
        return None
    wanted = 1 if table.read_store is None else 2
    if not isinstance(found, FunctionType) or len(inspect.signature(found).parameters) != wanted:
        takes = "self" if wanted == 1 else "self and the read store's db"
        raise TypeError(f"{table.cls.__name__}.reset must take {takes}")
    return found


def _name_of(source: object) -> str:
    if isinstance(source, str):
        return source
    if isinstance(source, type) and issubclass(source, Aggregate):
        return source.table().domain
    raise TypeError(f"a source is a domain or an Aggregate class, not {source!r}")


def _matches(source: str, domain: str) -> bool:
    """Whether a source, or a pattern, stands for a domain, or is the same pattern."""
    return source == domain or (is_pattern(source) and domain.startswith(source[:-1]))
