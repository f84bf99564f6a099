"""The caller's face: the same over gRPC and in process.

    async with connect("127.0.0.1:1310") as client:
        account = client.domain(Account)                       # or domain("account") sent = await
        account.send("alice", Deposit(500)) async for event in account.events("alice"):
            print(event.sequence, event.payload)

`caller_sync.py` is generated from this file: the same names, without `await`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Any as Untyped
from typing import Generic, Protocol, Self, TypeVar, overload

from google.protobuf.empty_pb2 import Empty

from angzarr import calls, wire
from angzarr.calls import At, Book, Event, Merge, OnFailure, Root, Sent, Sync
from angzarr.codec import Payload
from angzarr.cover import Cover
from angzarr.edition_caller import Editions
from angzarr.errors import TooLarge
from angzarr.handlers.aggregate import Aggregate
from angzarr.points import Position
from angzarr.speculated import Plan, Planned, Speculated

A = TypeVar("A", bound=Aggregate)
S = TypeVar("S")


class Transport(Protocol):
    """Bytes there and back. `method` is a gRPC path; errors are those of `angzarr.errors`."""

    async def unary(
        self,
        method: str,
        request: bytes,
        *,
        timeout_s: float | None = None,
        metadata: Mapping[str, str | bytes] = {},
    ) -> bytes:
        """One request, one answer. timeout_s: None waits as long as it takes."""
        ...

    def stream(
        self,
        method: str,
        request: bytes,
        *,
        timeout_s: float | None = None,
        metadata: Mapping[str, str | bytes] = {},
    ) -> AsyncIterator[bytes]:
        """One request, many answers; ending the iteration early cancels the call."""
        ...

    async def close(self) -> None:
        """Let go of connections; idempotent."""
        ...


class Caller:
    """A client of one server, or of the app in this process; a context manager.

    aggregates: the classes of domains that are given by name. edition: where `domain` and
    `speculate` go unless they are told; main without it.
    """

    def __init__(
        self,
        transport: Transport,
        aggregates: Iterable[type[Aggregate]] = (),
        *,
        edition: str = "",
    ) -> None:
        self._transport = transport
        self._aggregates = {cls.table().domain: cls for cls in aggregates}
        self._edition = edition

    @property
    def transport(self) -> Transport:
        """What carries its calls."""
        return self._transport

    @property
    def editions(self) -> Editions:
        """Branches of history, by name."""
        return Editions(self._transport, self._aggregates)

    @overload
    def domain(
        self,
        target: type[A],
        *,
        edition: str = "",
        divergence: int | None = None,
        types: Iterable[type[Payload]] = (),
    ) -> Domain[A]: ...
    @overload
    def domain(
        self,
        target: str,
        *,
        edition: str = "",
        divergence: int | None = None,
        types: Iterable[type[Payload]] = (),
    ) -> Domain[Untyped]: ...
    def domain(
        self,
        target: str | type[Aggregate],
        *,
        edition: str = "",
        divergence: int | None = None,
        types: Iterable[type[Payload]] = (),
    ) -> Domain[Untyped]:
        """Calls to one domain, given by its Aggregate class, or by name: of an app's definitions,
        and of the classes that the client was given, the class is found by that.

        edition, divergence: the branch that all its calls go to, and where that branch starts.
        types: event classes to decode to, beside those that the Aggregate class names.
        """
        if isinstance(target, str):
            target = self._aggregates.get(target, target)
        edition = edition or self._edition
        return Domain(self._transport, calls.Target.of(target, edition, divergence, types))

    async def correlated(
        self,
        correlation_id: str,
        *,
        domain: str = "",
        types: Iterable[type[Payload]] = (),
        timeout_s: float | None = None,
    ) -> AsyncIterator[Event]:
        """Past events that carry the id, stream by stream in the order (domain, edition, root)."""
        cover = wire.Cover(domain=domain, correlation_id=correlation_id)
        decode = calls.decoder(types)
        request = calls.query(cover)
        async for data in self._transport.stream(calls.GET_EVENTS, request, timeout_s=timeout_s):
            for event in calls.events_of(wire.EventBook.FromString(data), decode):
                yield event

    async def follow(
        self,
        correlation_id: str,
        *,
        types: Iterable[type[Payload]] = (),
        timeout_s: float | None = None,
    ) -> AsyncIterator[Event]:
        """Events that carry the id, of any domain, from now on and until the iteration is left
        (QRY-20).

        Raises Overloaded when the reader falls more than 32 books behind (QRY-22).
        """
        decode = calls.decoder(types)
        request = wire.EventStreamFilter(correlation_id=correlation_id).SerializeToString()
        async for data in self._transport.stream(calls.SUBSCRIBE, request, timeout_s=timeout_s):
            for event in calls.events_of(wire.EventBook.FromString(data), decode):
                yield event

    async def position(self, *, timeout_s: float | None = None) -> Position:
        """Where the log ends now: one moment of all streams, that `at` can be given later.

        What was stored before the call is at or below it (QRY-18).
        """
        request = wire.GetPositionRequest().SerializeToString()
        answer = await self._transport.unary(calls.GET_POSITION, request, timeout_s=timeout_s)
        return Position(wire.LogPosition.FromString(answer).position)

    async def speculate(
        self,
        commands: Iterable[Planned],
        *,
        edition: str = "",
        at: At | None = None,
        reactions: bool = False,
        go_on: bool = False,
        store_as: str = "",
        correlation_id: str = "",
        timeout_s: float | None = None,
    ) -> Speculated:
        """What a list of commands would come to, decided one after the other on a branch that is
        never stored: `[(Hand, "h1", Fold(2)), (Hand, "h1", Deal())]` (SPEC-6).

        edition, at: where it starts from; a sequence where all commands are for one stream.
        reactions: sagas and process managers of the server's process react, on the branch; process
            managers need a correlation_id.
        go_on: whether what follows a refused command is tried.
        store_as: the edition to make of it, of the same events (SPEC-7); nothing is stored where a
            command was refused, unless told to go on.

        A refused command is no exception here; its outcome has the error. Raises InvalidInput for a
        point that never was, TooLarge for more commands than `limits.max_pages_per_book`.
        """
        edition = edition or self._edition
        plan = Plan(commands, self._aggregates, edition=edition, correlation_id=correlation_id)
        request = plan.request(at=at, reactions=reactions, go_on=go_on, store_as=store_as)
        answer = await self._transport.unary(calls.SPECULATE, request, timeout_s=timeout_s)
        return plan.read(answer)

    async def roots(
        self, domain: str = "", *, timeout_s: float | None = None
    ) -> AsyncIterator[Cover]:
        """Every stream on main, by domain then root; of one domain only where it is named."""
        request = Empty().SerializeToString()
        stream = self._transport.stream(calls.GET_AGGREGATE_ROOTS, request, timeout_s=timeout_s)
        async for data in stream:
            root = wire.AggregateRoot.FromString(data)
            if not domain or root.domain == domain:
                yield Cover(root.domain, root.root.value)

    async def close(self) -> None:
        """End the transport; calls that run are cancelled. Idempotent."""
        await self._transport.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


class Domain(Generic[S]):
    """Calls to one domain, whose state is an S. A root is a name, a UUID, or its 16 bytes
    (`cover.root_of`)."""

    def __init__(self, transport: Transport, target: calls.Target) -> None:
        self._transport = transport
        self._target = target

    @property
    def name(self) -> str:
        """The domain's name."""
        return self._target.domain

    def on(self, edition: str, *, divergence: int | None = None) -> Domain[S]:
        """The same domain on a branch that starts at `divergence`, or wherever its first write
        comes."""
        return Domain(self._transport, self._target.on(edition, divergence))

    async def send(
        self,
        root: Root,
        command: Payload,
        *,
        correlation_id: str = "",
        expected_sequence: int | None = None,
        merge: Merge | None = None,
        idempotency: str = "",
        sync_mode: Sync = "async",
        on_failure: OnFailure = "fail_fast",
        cascade_id: str = "",
        timeout_s: float | None = None,
    ) -> Sent:
        """Have a command decided and its events stored; they are durable on return.

        Without options the command is decided on the stream as it is when it arrives, whatever
        happened since you last looked, and it is executed once, however often the transport
        delivers it: on the wire it is a deferred command (CMD-24) whose idempotency key is made up
        for this call (CMD-26). A call that failed without an answer (the server is away, the
        deadline passed) may have been executed; to send it again safely give `idempotency`.

        idempotency: your own key, such as an order number. A repeated send of the same command to
            the same root with the same key is answered with the events of its first acceptance.
        expected_sequence: the stream's next_sequence as you saw it (a stamp); the command is
            refused or merged if the stream is elsewhere.
        merge: what then happens; without it what `@command(merge=…)` of the class says, else
            "commutative": accepted if other fields of the state changed; "strict": refused;
            "manual": parked in the dead letter queue; "aggregate_handles": the stamp is not
            checked, and none is needed. Then there is no made-up key either: repeated, the
            command runs again.
        sync_mode: "async" answers after the append, "simple" after synchronous projectors,
            "cascade" after reactions.
        on_failure: what a failed reaction of a "cascade" means: "fail_fast": the call fails, and
            what is not begun is left to the log; "continue": all run, and `cascade_errors` has what
            failed; "compensate": the call fails, and commands of reactions that were executed are
            compensated; "dead_letter": all run, and what failed is a dead letter. What was stored
            stays stored in every case (SYNC-6).
        cascade_id: the events stay pending until that cascade is decided.
        timeout_s: deadline of the call, over the wire too.

        Raises CommandRejected when the domain refuses, SequenceMismatch for a stamp, InvalidInput,
        UnknownDomain, Overloaded, StoreUnavailable, ReactionFailed; RemoteError for anything else.
        """
        request, metadata = calls.command_request(
            self._target.cover(root, correlation_id),
            command,
            expected_sequence=expected_sequence,
            merge=merge or (None if expected_sequence is None else self._target.merge_of(command)),
            idempotency=idempotency,
            sync_mode=sync_mode,
            on_failure=on_failure,
            cascade_id=cascade_id,
        )
        answer = await self._transport.unary(
            calls.HANDLE_COMMAND, request, timeout_s=timeout_s, metadata=metadata
        )
        return calls.sent(answer, self._target.decode)

    async def speculate(
        self,
        root: Root,
        command: Payload,
        *,
        at: At | None = None,
        timeout_s: float | None = None,
    ) -> Sent:
        """The events that a command would produce; nothing is stored (SPEC-1).

        at: decide on the state as it was then: after the page of that sequence, by that time, or
        when the log ended at that Position; the latest without. A sequence above the head is
        InvalidInput.
        """
        request = calls.speculation_request(self._target.cover(root), command, at=at)
        answer = await self._transport.unary(calls.HANDLE_SPECULATIVE, request, timeout_s=timeout_s)
        return calls.sent(answer, self._target.decode)

    async def record(
        self,
        root: Root,
        *events: Payload,
        external_id: str = "",
        correlation_id: str = "",
        sync_mode: Sync = "async",
        timeout_s: float | None = None,
    ) -> Sent:
        """Store facts: events that happened elsewhere and are not decided on.

        external_id: what the other side calls it; recording the same id on the same root again
        changes nothing and answers with the first events and `is_duplicate`. Without one the facts
        are always appended.
        """
        request = calls.fact_request(
            self._target.cover(root, correlation_id),
            events,
            external_id=external_id,
            sync_mode=sync_mode,
        )
        metadata = {calls.CORRELATION_KEY: correlation_id} if correlation_id else {}
        answer = await self._transport.unary(
            calls.HANDLE_EVENT, request, timeout_s=timeout_s, metadata=metadata
        )
        return calls.recorded(answer, self._target.decode)

    async def events(
        self,
        root: Root,
        *,
        first: int | None = None,
        last: int | None = None,
        sequences: Iterable[int] | None = None,
        at: At | None = None,
        correlation_id: str = "",
        timeout_s: float | None = None,
    ) -> AsyncIterator[Event]:
        """The stream's events in order, however many: they come in parts. None for an unknown root.

        first, last: sequences, both included. sequences: exactly these. at: as it was then: pages
        up to that sequence, or created by that time, or in the log when it ended at that Position.
        correlation_id: only those that carry it. Raises ValueError for two selections at once.
        """
        request = calls.query(
            self._target.cover(root, correlation_id),
            first=first,
            last=last,
            sequences=sequences,
            at=at,
        )
        async for data in self._transport.stream(calls.GET_EVENTS, request, timeout_s=timeout_s):
            for event in calls.events_of(wire.EventBook.FromString(data), self._target.decode):
                yield event

    async def book(
        self,
        root: Root,
        *,
        first: int | None = None,
        last: int | None = None,
        sequences: Iterable[int] | None = None,
        at: At | None = None,
        timeout_s: float | None = None,
    ) -> Book:
        """As `events`, in one message; TooLarge for a stream above the message limit (QRY-10)."""
        request = calls.query(
            self._target.cover(root),
            first=first,
            last=last,
            sequences=sequences,
            at=at,
        )
        answer = await self._transport.unary(calls.GET_EVENT_BOOK, request, timeout_s=timeout_s)
        return calls.book(answer, self._target.decode)

    async def follow(
        self, root: Root, *, first: int = 0, poll_s: float = 0.2
    ) -> AsyncIterator[Event]:
        """The stream's events from `first` on, then each new one, until the iteration is left.

        poll_s: how often it asks for new ones; nothing is missed between two questions.
        """
        while True:
            async for event in self.events(root, first=first):
                yield event
                first = event.sequence + 1
            await asyncio.sleep(poll_s)

    async def state(
        self,
        root: Root,
        *,
        at: At | None = None,
        timeout_s: float | None = None,
    ) -> S:
        """The aggregate, rebuilt here from its events: an instance of the domain's class.

        Where only a name is known, the state that the server's class has, as it travels: JSON of a
        dataclass as a dict, a message, or its bytes; None for a stream without events.
        at: as it was after the page of that sequence, by that time, or when the log ended at that
        Position.
        """
        request = calls.query(self._target.cover(root), at=at)
        if self._target.aggregate is None:
            answer = await self._transport.unary(calls.GET_STATE, request, timeout_s=timeout_s)
            return calls.state(answer)
        transport = self._transport
        try:
            data = await transport.unary(calls.GET_EVENT_BOOK, request, timeout_s=timeout_s)
        except TooLarge:
            pages: list[wire.EventPage] = []
            async for part in transport.stream(calls.GET_EVENTS, request, timeout_s=timeout_s):
                pages.extend(wire.EventBook.FromString(part).pages)
            return self._target.rebuild(pages)
        return self._target.rebuild(wire.EventBook.FromString(data).pages)

    async def roots(self, *, timeout_s: float | None = None) -> AsyncIterator[bytes]:
        """The domain's roots on main, ascending."""
        async for cover in Caller(self._transport).roots(self.name, timeout_s=timeout_s):
            yield cover.root
