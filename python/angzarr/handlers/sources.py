"""Where a reaction's events come from, and its methods by source and type.

A dataclass event is named `<domain>.<ClassName>`, so which type a method takes depends on the
source: with classes for sources it is looked up in them, with names it is looked for in all.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any as Untyped
from typing import Final

from angzarr import codec
from angzarr.codec import PayloadType
from angzarr.cover import Cover
from angzarr.handlers.annotations import Handler, classes_in, named_type, shown, twice
from angzarr.handlers.table import FRAMEWORK_NAME, SEEN_TYPE_URLS_MAX, HandlerTable, table_of
from angzarr.handlers.trigger import Trigger
from angzarr.ports.components import Subscription

PATTERN: Final = re.compile(r"\*|[a-z_][a-z0-9_-]{0,63}(\.\*)?")
"""A source: a domain, `*` for every one, or `prefix.*`."""

ANY_DOMAIN: Final = ("any", "other")
"""Domains that stand for those a pattern matches, to see which names depend on the domain."""


@dataclass(frozen=True, slots=True)
class Source:
    """One input. table: that of its class; None where only a name is known."""

    pattern: str
    table: HandlerTable | None = field(default=None, compare=False)

    @property
    def is_pattern(self) -> bool:
        return self.pattern.endswith("*")

    def matches(self, domain: str) -> bool:
        """Whether events of `domain` come from here."""
        if self.is_pattern:
            return bool(domain) and domain.startswith(self.pattern[:-1])
        return domain == self.pattern

    def applies(self, event: type) -> bool:
        """Whether its class is known to apply the event."""
        return self.table is not None and event in self.table.event_types()


@dataclass(frozen=True, slots=True)
class Method:
    """A marked method and what it takes.

    name: `Shipping.on`. takes_trigger: whether it has a second parameter.
    """

    name: str
    function: Callable[..., Untyped]
    takes_trigger: bool

    def __call__(self, me: object, payload: object, trigger: Trigger) -> Untyped:
        """What it answers, an awaitable or a generator included."""
        if self.takes_trigger:
            return self.function(me, payload, trigger)
        return self.function(me, payload)


def method_of(handler: Handler) -> Method:
    """The method of a marked function. Raises TypeError for another second parameter."""
    if handler.place not in (None, Trigger, Cover):
        raise TypeError(
            f"{handler.name}: the second parameter is the Trigger, not {shown(handler.place)}"
        )
    return Method(handler.name, handler.function, handler.place is not None)


def sources_of(given: Iterable[str | type], owner: str) -> tuple[Source, ...]:
    """The sources that a class declares. Raises TypeError for wrong or repeated ones, or none."""
    found: dict[str, Source] = {}
    for item in given:
        table = None if isinstance(item, str) else table_of(item)
        if table is None and not isinstance(item, str):
            raise TypeError(f"{owner}: {shown(item)} is neither a domain nor an Aggregate class")
        pattern = item if isinstance(item, str) else table.domain if table else ""
        if not PATTERN.fullmatch(pattern):
            raise TypeError(f"{owner}: source {pattern!r} must be a domain, * or prefix.*")
        if pattern in found:
            raise TypeError(f"{owner} names the source {pattern} twice")
        found[pattern] = Source(pattern, table)
    if not found:
        raise TypeError(f'{owner} needs a source: source="order", or sources=["order", …]')
    return tuple(found.values())


class EventMethods:
    """The methods of one role, by source and event type."""

    def __init__(self, sources: tuple[Source, ...], owner: str) -> None:
        self._sources = sources
        self._owner = owner
        self._methods: dict[tuple[Source, type], Method] = {}
        self._names: dict[tuple[str, str], Method] = {}
        self._seen: dict[tuple[str, str], tuple[Method, PayloadType[Untyped]] | None] = {}

    def __bool__(self) -> bool:
        return bool(self._methods)

    def add(self, handler: Handler, source: str | None = None) -> None:
        """Enter a method for the events of its annotation.

        source: the only source that it is for. Raises TypeError for a mistake, or a second method
        of a type.
        """
        method = method_of(handler)
        for cls in classes_in(handler.parameter, handler.name):
            for origin in self._origins(cls, handler.name, source):
                name = named_type(cls, _domain(origin), handler.name).name
                if FRAMEWORK_NAME.fullmatch(name):
                    raise TypeError(f"{handler.name}: {name} is a name of the framework's events")
                other = self._names.get((origin.pattern, name))
                if other is not None:
                    what = f"event {_wanted(cls, origin)}"
                    raise TypeError(twice(handler.name, other.name, what))
                self._names[origin.pattern, name] = method
                self._methods[origin, cls] = method

    def find(self, domain: str, type_url: str) -> tuple[Method, PayloadType[Untyped]] | None:
        """The method for an event of a stream of `domain`, and how the event is read."""
        key = domain, type_url
        if key in self._seen:
            return self._seen[key]
        found = self._look_up(domain, codec.full_name(type_url))
        if len(self._seen) < SEEN_TYPE_URLS_MAX:
            self._seen[key] = found
        return found

    def subscriptions(self) -> tuple[Subscription, ...]:
        """What has to be delivered. Raises TypeError for a source that no method has events of."""
        found: list[Subscription] = []
        for source in self._sources:
            types = [_wanted(cls, source) for origin, cls in self._methods if origin == source]
            if not types:
                raise TypeError(
                    f"{self._owner} has the source {source.pattern}, but no @handles method for it"
                )
            found.append(Subscription(source.pattern, tuple(dict.fromkeys(types))))
        return tuple(found)

    def sources_for(self, cls: type) -> tuple[str, ...]:
        """The sources that a method takes events of this class from."""
        return tuple(origin.pattern for origin, event in self._methods if event is cls)

    def beside(self, other: EventMethods) -> list[tuple[str, Method]]:
        """Types that these have a method for and `other` does not, with the methods.

        Of one source is enough: `@handles` may name the source that it is for, which others can't.
        """
        keys = list(zip(self._methods.items(), self._names, strict=True))
        known = {cls for ((_, cls), _), key in keys if key in other._names}
        return [(key[1], method) for ((_, cls), method), key in keys if cls not in known]

    def _origins(self, cls: type, name: str, source: str | None) -> tuple[Source, ...]:
        if source is not None:
            named = tuple(origin for origin in self._sources if origin.pattern == source)
            if not named:
                raise TypeError(f"{name} names the source {source}, which {self._owner} has not")
            return named
        known = tuple(origin for origin in self._sources if origin.applies(cls))
        found = known or tuple(origin for origin in self._sources if origin.table is None)
        if not found:
            among = ", ".join(origin.pattern for origin in self._sources)
            raise TypeError(f"{name} takes {cls.__name__}, which no source applies: {among}")
        return found

    def _look_up(self, domain: str, name: str) -> tuple[Method, PayloadType[Untyped]] | None:
        """The most exact source goes first: a domain before a pattern, a longer prefix before a
        shorter one.
        """
        fitting = [entry for entry in self._methods.items() if entry[0][0].matches(domain)]
        fitting.sort(key=lambda entry: (entry[0][0].is_pattern, -len(entry[0][0].pattern)))
        for (_, cls), method in fitting:
            kind: PayloadType[Untyped] = codec.payload_type(cls, domain)
            if kind.name == name:
                return method, kind
        return None


def _domain(source: Source) -> str:
    return ANY_DOMAIN[0] if source.is_pattern else source.pattern


def _wanted(cls: type, source: Source) -> str:
    """The type's name in a subscription: its last part where the full name hangs on the domain."""
    names = {codec.payload_type(cls, domain).name for domain in ANY_DOMAIN}
    if source.is_pattern and len(names) > 1:
        return cls.__name__
    return codec.payload_type(cls, _domain(source)).name
