"""Speculations of several commands: what callers ask, and what they are answered. No I/O.

hand = (Hand, "h1")
tried = await app.speculate([(*hand, Fold(2)), (*hand, Raise(3, 50))], at=7)
tried.outcomes[0].events                                # or .error
tried.state(Hand, "h1").pot                             # as it would be
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any as Untyped
from typing import TypeVar, overload

from angzarr import calls, points, wire
from angzarr.calls import Decode, Event, Target
from angzarr.codec import Payload
from angzarr.cover import MAIN, Cover, Root, root_of
from angzarr.errors import AngzarrError, RemoteError
from angzarr.handlers.aggregate import Aggregate
from angzarr.handlers.state import read_state
from angzarr.points import At
from angzarr.rpc.status_text import Facts, typed

Planned = tuple[str | type[Aggregate], Root, Payload]
"""A command: the domain that it is for, by its class or by name, the root, and the command."""

A = TypeVar("A", bound=Aggregate)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one command came to: its events, or the error that sending it would have raised.

    cascade_errors: of reactions that failed, where those were asked for.
    """

    events: tuple[Event, ...] = ()
    error: AngzarrError | None = None
    cascade_errors: tuple[wire.CascadeError, ...] = ()


@dataclass(frozen=True, slots=True)
class Speculated:
    """What a list of commands came to, and where that left the streams.

    outcomes: of the commands that were tried, in their order. states: by stream, of every stream
    that changed: an instance of the Aggregate class where it is known, else the Any that the server
    computed; None where it has no handler that computes states. next_sequences: of the same ones.
    """

    outcomes: tuple[Outcome, ...]
    states: Mapping[Cover, object]
    next_sequences: Mapping[Cover, int] = field(default_factory=dict[Cover, int])
    edition: str = MAIN

    @property
    def error(self) -> AngzarrError | None:
        """The first error; None if every command was accepted."""
        return next((outcome.error for outcome in self.outcomes if outcome.error), None)

    @overload
    def state(self, target: type[A], root: Root) -> A: ...
    @overload
    def state(self, target: str, root: Root) -> Untyped: ...
    def state(self, target: str | type[Aggregate], root: Root) -> Untyped:
        """The state of one stream. Raises KeyError, naming it, if nothing was written there."""
        domain = target if isinstance(target, str) else target.table().domain
        return self.states[Cover(domain, root_of(root), self.edition)]


class Plan:
    """The request for a list of commands, and how its answer is read.

    known: Aggregate classes by domain, beside those that the commands name.
    """

    def __init__(
        self,
        commands: Iterable[Planned],
        known: Mapping[str, type[Aggregate]],
        *,
        edition: str = "",
        correlation_id: str = "",
    ) -> None:
        self._classes = dict(known)
        self._targets: dict[str, Target] = {}
        self._edition = edition
        self._books: list[wire.CommandBook] = []
        for target, root, command in commands:
            self._add(target, root, command, correlation_id)

    def request(self, *, at: At | None, reactions: bool, go_on: bool, store_as: str) -> bytes:
        """The encoded SpeculationRequest; the errors of `points.temporal`."""
        request = wire.SpeculationRequest(
            edition=self._edition,
            commands=self._books,
            reactions=reactions,
            go_on=go_on,
            store_as=store_as,
        )
        if at is not None:
            request.point.CopyFrom(points.temporal(at))
        return request.SerializeToString()

    def read(self, answer: bytes) -> Speculated:
        """What an encoded SpeculationResponse says. Raises CorruptData for a state that is not one
        of its class."""
        response = wire.SpeculationResponse.FromString(answer)
        states = {calls.cover_of(item.cover): item for item in response.states}
        return Speculated(
            self._outcomes(response.outcomes),
            {cover: self._state(cover, item) for cover, item in states.items()},
            {cover: item.next_sequence for cover, item in states.items()},
            self._edition or MAIN,
        )

    def _add(
        self, target: str | type[Aggregate], root: Root, command: Payload, correlation_id: str
    ) -> None:
        if isinstance(target, str):
            target = self._classes.get(target, target)
        made = Target.of(target, "", None, ())
        if made.aggregate is not None:
            self._classes[made.domain] = made.aggregate
        self._targets.setdefault(made.domain, made)
        book = wire.CommandBook(cover=made.cover(root, correlation_id))
        page = book.pages.add(command=calls.pack(command, made.domain))
        page.header.external_deferred.SetInParent()  # decided where the stream is by then
        self._books.append(book)

    def _outcomes(self, outcomes: Sequence[wire.SpeculationOutcome]) -> tuple[Outcome, ...]:
        return tuple(
            Outcome(error=_error(item.error), cascade_errors=tuple(item.cascade_errors))
            if item.HasField("error")
            else Outcome(
                tuple(calls.events_of(item.events, self._decode(book))),
                None,
                tuple(item.cascade_errors),
            )
            for book, item in zip(self._books, outcomes, strict=False)
        )

    def _decode(self, book: wire.CommandBook) -> Decode:
        return self._targets[book.cover.domain].decode

    def _state(self, cover: Cover, item: wire.StateResponse) -> object:
        cls = self._classes.get(cover.domain)
        if not item.HasField("state"):
            return None
        if cls is None:
            return item.state
        return read_state(cls.table().states, item.state, f"the state of {cover}")


def _error(told: wire.ReactionError) -> AngzarrError:
    """The error of its class, where one describes it, as from a call of its own."""
    from angzarr.coordinators import failures  # much to import for a client that never needs it

    found = typed(Facts(told.code, told.kind, told.message, told.details, "", "", ""))
    if found is None or failures.code_of(found) != told.code:
        return RemoteError(told.code, told.message, error_kind=told.kind, details=told.details)
    found.args = (told.message,)
    return found
