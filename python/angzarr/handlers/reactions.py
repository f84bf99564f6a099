"""What sagas and process managers share: their tables, and the walk over the pages of a book."""

from __future__ import annotations

import inspect
from collections.abc import (
    AsyncGenerator,
    Awaitable,
    Callable,
    Generator,
    Iterable,
    Iterator,
    Mapping,
    Sized,
)
from contextlib import aclosing, closing
from dataclasses import dataclass
from functools import partial
from typing import Any as Untyped
from typing import Final, cast

from google.protobuf.message import DecodeError

from angzarr import codec, wire
from angzarr.codec import PayloadType
from angzarr.errors import AngzarrError, CorruptData, HandlerFailed, InvalidInput
from angzarr.handlers.annotations import Handler, classes_in, named_type, twice
from angzarr.handlers.outputs import domain_of
from angzarr.handlers.rejections import RejectionMethods
from angzarr.handlers.sources import EventMethods, Method, Source, method_of
from angzarr.handlers.table import FRAMEWORK_NAME
from angzarr.handlers.targets import Targets
from angzarr.handlers.trigger import Trigger, trigger_of
from angzarr.ports.components import Subscription

RESULTS_MAX: Final = 65_535
"""Outputs and own events of one reaction: a rejected output's index has 16 bits (COMP-13)."""

TIMER_FIRED: Final = wire.TimerFired.DESCRIPTOR.full_name

Domains = Iterable[str | type] | str | type
"""Names or classes of domains, or one of them."""

Find = Callable[[str, wire.EventPage], tuple[Method, object] | None]
"""The method for a page of a domain's stream, and what it is given."""


@dataclass(frozen=True, slots=True)
class Handled:
    """The event that a method is called with. who: the method's name."""

    who: str
    payload: object
    type_url: str
    trigger: Trigger


class ReactionTable:
    """What a saga or process manager class does with which event; filled when it is made.

    component: `saga:shipping`. domain: that the payloads of its timers are named in.
    subscriptions: what has to be delivered.
    """

    def __init__(
        self,
        cls: type,
        component: str,
        domain: str,
        sources: tuple[Source, ...],
        targets: Targets,
    ) -> None:
        self.cls = cls
        self.component = component
        self.domain = domain
        self.sources = sources
        self.targets = targets
        self.handles = self.event_methods()
        self.wakes: dict[str, tuple[Method, PayloadType[Untyped]]] = {}
        self.rejections = RejectionMethods()
        self.subscriptions: tuple[Subscription, ...] = ()

    def event_methods(self) -> EventMethods:
        """Room for the methods of one role."""
        return EventMethods(self.sources, self.cls.__name__)

    def add_wakes(self, handler: Handler) -> None:
        """Enter a `@wakes` method. Raises TypeError for a mistake or a second one of a type."""
        method = method_of(handler)
        for cls in classes_in(handler.parameter, handler.name):
            kind = named_type(cls, self.domain, handler.name)
            if FRAMEWORK_NAME.fullmatch(kind.name):
                raise TypeError(f"{handler.name}: {kind.name} is a name of the framework's events")
            if kind.name in self.wakes:
                other = self.wakes[kind.name][0].name
                raise TypeError(twice(handler.name, other, f"the timer's payload {kind.name}"))
            self.wakes[kind.name] = (method, kind)

    def require_handled(self, methods: EventMethods) -> None:
        """Raise TypeError if `methods` has one for an event that no `@handles` method takes."""
        for name, method in methods.beside(self.handles):
            raise TypeError(f"{method.name} takes {name}, which no @handles method takes")

    def reaction_to(self, domain: str, page: wire.EventPage) -> tuple[Method, object] | None:
        """The method for a page of a stream of `domain`, and the decoded payload.

        None for NoOps, framework pages and types that nothing is said about. Raises CorruptData
        for a payload that does not parse, InvalidInput for a timer that nothing takes.
        """
        if codec.full_name(page.event.type_url) == TIMER_FIRED:
            return self._woken(domain, page)
        return decoded(self.handles, domain, page)

    async def run(
        self, who: str, method: Callable[[], object], take: Callable[[object], None]
    ) -> None:
        """Call the user's `method` and give what it answers to `take`, one by one.

        Raises HandlerFailed, naming `who`, for an exception of the user's code; an AngzarrError of
        it passes.
        """
        try:
            await drain(method(), take)
        except AngzarrError:
            raise
        except Exception as error:
            raise self.failed(who, error) from error

    def failed(self, what: str, error: BaseException) -> HandlerFailed:
        """The error for an exception of the user's code."""
        return HandlerFailed(self.component, f"{what}: {type(error).__name__}: {error}")

    def _woken(self, domain: str, page: wire.EventPage) -> tuple[Method, object]:
        try:
            fired = wire.TimerFired.FromString(page.event.value)
        except DecodeError as error:
            raise codec.unreadable(TIMER_FIRED, _at(domain, page), error) from error
        name = codec.full_name(fired.payload.type_url)
        if name not in self.wakes:
            known = ", ".join(self.wakes) or "none"
            raise InvalidInput(
                "timer.payload",
                f"one of {known}",
                name,
                f"{self.component} is woken by the timer {fired.name!r} with "
                f"{name or 'no payload'}, which no @wakes method takes: {known}",
            )
        method, kind = self.wakes[name]
        return method, kind.read_event(fired.payload.value, f"the timer {fired.name!r}")


def domains(given: Domains) -> tuple[str | type, ...]:
    """One name or class, or several, as a tuple."""
    return (given,) if isinstance(given, str | type) else tuple(given)


def source_of(handler: Handler) -> str | None:
    """The domain that `@handles(source=…)` names. Raises TypeError for a class without one."""
    named = handler.mark.domain
    return None if named is None else domain_of(named)


def decoded(
    methods: EventMethods, domain: str, page: wire.EventPage
) -> tuple[Method, object] | None:
    """The method for a page of a stream of `domain`, and the decoded event; None without one."""
    if page.HasField("external"):
        raise CorruptData(_at(domain, page), "a reference", "the payload itself")
    found = methods.find(domain, page.event.type_url)
    if found is None:
        return None
    method, kind = found
    return method, kind.read_event(page.event.value, _at(domain, page))


async def walk(
    table: ReactionTable,
    find: Find,
    me: object,
    book: wire.EventBook,
    next_sequences: Mapping[str, int],
    take: Callable[[Handled, object], None],
) -> None:
    """Call the method that `find` has for each page of `book`, in order, on `me`.

    take: is given each thing that a method answers, as soon as it is there. Raises as
    ReactionTable.run does.
    """
    domain = book.cover.domain
    for page in book.pages:
        found = find(domain, page)
        if found is None:
            continue
        method, payload = found
        trigger = trigger_of(book.cover, page, next_sequences)
        handled = Handled(method.name, payload, page.event.type_url, trigger)
        call = partial(method, me, payload, trigger)
        await table.run(method.name, call, partial(take, handled))


async def drain(answer: object, take: Callable[[object], None]) -> None:
    """Give each thing that a method answered to `take`, as soon as it is there.

    answer: one thing or None, a list, a tuple, a generator, or an awaitable of one of them.
    """
    if inspect.isawaitable(answer):
        answer = await cast("Awaitable[object]", answer)
    if isinstance(answer, AsyncGenerator):
        async with aclosing(cast("AsyncGenerator[object]", answer)) as items:
            async for item in items:
                take(item)
    elif isinstance(answer, Generator):
        with closing(cast("Generator[object]", answer)) as items:
            for item in items:
                take(item)
    elif isinstance(answer, list | tuple | Iterator):
        for item in cast("Iterable[object]", answer):
            take(item)
    elif answer is not None:
        take(answer)


def require_room(results: Sized, who: str) -> None:
    """Raise InvalidInput if a method goes on giving without an end."""
    if len(results) >= RESULTS_MAX:
        message = f"{who} returned more than {RESULTS_MAX} outputs and events"
        raise InvalidInput("output", f"at most {RESULTS_MAX}", len(results) + 1, message)


def wrong_result(who: str, item: object, wanted: str) -> InvalidInput:
    """The error for what a method should not have answered. wanted: what it may."""
    found = type(item).__name__
    return InvalidInput("output", wanted, found, f"{who} returned {found}; it returns {wanted}")


def _at(domain: str, page: wire.EventPage) -> str:
    return f"page {page.header.sequence} of a stream of {domain}"
