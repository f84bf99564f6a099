"""Dead letters administered: listed, read, replayed, redelivered, deleted (DLQ-7 to DLQ-11)."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Mapping
from typing import Final, Protocol

from google.protobuf.message import DecodeError

from angzarr import wire
from angzarr.coordinators import books, letter_filter, letter_replays
from angzarr.cover import Cover
from angzarr.errors import (
    CommandRejected,
    CorruptData,
    DeadLetterRefused,
    ReplayRunning,
    UnknownDeadLetter,
)
from angzarr.ports.components import CallContext
from angzarr.ports.dead_letters import DeadLetter, DeadLetterQueue, rejection_type_of
from angzarr.routing import Commands

PAGE_SIZE: Final = 50
PAGE_SIZE_MAX: Final = 500
SCAN_COUNT: Final = 50
"""Letters read at a time; one may have megabytes."""

MESSAGE_BYTES: Final = 10 * 1024 * 1024
_MARGIN_BYTES: Final = 1024
"""What the page token, and the framing of an entry, may need beside the entries."""


Redelivered = Callable[[bytes, CallContext], Awaitable[bytes]]
"""RedeliverDeadLetterRequest → RedeliverDeadLetterResponse."""

_NOWHERE: Final[Mapping[str, Redelivered]] = {}


class Sequences(Protocol):
    """Where streams are; an event store is one."""

    async def next_sequence(self, cover: Cover, *, divergence: int | None = None) -> int:
        """First free sequence of the stream."""
        ...


class Redelivery(Protocol):
    """Gives dead events to their component once more."""

    async def redeliver(self, component: str, book: bytes) -> None:
        """Deliver an encoded EventBook to a component such as `saga:shipping`; returns when that is
        done with it. Raises what the delivery failed of, DeadLetterRefused for a component that
        is not here.
        """
        ...


class DlqAdmin:
    """Answers DlqAdminService: encoded messages in and out.

    commands: where replayed commands go; None where this process has none. sequences: tells the
    stamps of FRESH_SEQUENCE. redelivery: takes dead events; None where nothing runs that would.
    elsewhere: the same request to other processes, by the component that is redelivered to there.
    message_bytes_max: of an answer; a list's page ends before it is longer.

    Every method raises DeadLetterRefused where no configured target can be read.
    """

    def __init__(
        self,
        letters: DeadLetterQueue,
        *,
        commands: Commands | None,
        sequences: Sequences,
        redelivery: Redelivery | None = None,
        elsewhere: Mapping[str, Redelivered] = _NOWHERE,
        message_bytes_max: int = MESSAGE_BYTES,
    ) -> None:
        self._letters = letters
        self._commands = commands
        self._sequences = sequences
        self._redelivery = redelivery
        self._elsewhere = elsewhere
        self._room_bytes = message_bytes_max - _MARGIN_BYTES
        self._running: set[str] = set()

    async def list_letters(self, request: bytes, context: CallContext) -> bytes:
        """ListDeadLettersRequest → ListDeadLettersResponse, newest first.

        A letter that is too long for any answer is listed without its payload. Raises InvalidInput
        for a filter that is wrong.
        """
        asked = books.parse(wire.ListDeadLettersRequest, request)
        wanted = letter_filter.parse(asked.filter)
        count = min(asked.page_size or PAGE_SIZE, PAGE_SIZE_MAX)
        answer = wire.ListDeadLettersResponse()
        room_bytes = self._room_bytes
        async with contextlib.aclosing(self._from(asked.page_token)) as letters:
            async for stored in letters:
                entry = _entry(stored)
                if not wanted.matches(entry):
                    continue
                if entry.ByteSize() > self._room_bytes:
                    entry.letter.ClearField("payload")
                room_bytes -= entry.ByteSize() + 8
                if len(answer.entries) == count or (answer.entries and room_bytes < 0):
                    answer.next_page_token = answer.entries[-1].id
                    break
                answer.entries.append(entry)
        return answer.SerializeToString()

    async def get_letter(self, request: bytes, context: CallContext) -> bytes:
        """GetDeadLetterRequest → DeadLetterEntry. Raises UnknownDeadLetter."""
        asked = books.parse(wire.GetDeadLetterRequest, request)
        return (await self._found(asked.id)).SerializeToString()

    async def delete_letter(self, request: bytes, context: CallContext) -> bytes:
        """DeleteDeadLetterRequest → DeleteDeadLetterResponse; deleting twice is fine."""
        asked = books.parse(wire.DeleteDeadLetterRequest, request)
        existed = await self._letters.delete(asked.id)
        return wire.DeleteDeadLetterResponse(existed=existed).SerializeToString()

    async def replay(self, request: bytes, context: CallContext) -> bytes:
        """ReplayDeadLetterRequest → ReplayDeadLetterResponse, when the command is executed.

        Raises UnknownDeadLetter, DeadLetterRefused for a letter of events, ReplayRunning,
        InvalidInput for payloads that are not one a page, and what the command is answered with.
        """
        asked = books.parse(wire.ReplayDeadLetterRequest, request)
        with self._alone(asked.id):
            entry = await self._found(asked.id)
            if not entry.letter.HasField("rejected_command"):
                raise _no_command(entry)
            if self._commands is None:
                raise DeadLetterRefused("no commands are handled in this process")
            replayed = letter_replays.replay_of(entry.letter, asked.payloads)
            if asked.mode != wire.REPLAY_AS_IS and not replayed.is_notification:
                await self._stamp(replayed.command)
            await self._count(asked.id)
            response = await self._send(self._commands, replayed, context)
        return wire.ReplayDeadLetterResponse(
            response=response, new_correlation_id=replayed.correlation_id
        ).SerializeToString()

    async def redeliver(self, request: bytes, context: CallContext) -> bytes:
        """RedeliverDeadLetterRequest → RedeliverDeadLetterResponse, when the component is done.

        Raises UnknownDeadLetter, DeadLetterRefused for a letter without events or a component that
        is not here, ReplayRunning, and what the delivery failed of.
        """
        asked = books.parse(wire.RedeliverDeadLetterRequest, request)
        with self._alone(asked.id):
            entry = await self._found(asked.id)
            component = entry.letter.source_component
            if not entry.letter.HasField("rejected_events"):
                raise DeadLetterRefused(f"{entry.id} holds no events; replay it")
            if component in self._elsewhere:
                return await self._elsewhere[component](request, context)
            if self._redelivery is None:
                raise DeadLetterRefused(f"{component} of {entry.id} does not run in this process")
            await self._count(asked.id)
            events = entry.letter.rejected_events
            await self._redelivery.redeliver(component, events.SerializeToString())
        return wire.RedeliverDeadLetterResponse(component=component).SerializeToString()

    async def _from(self, token: str) -> AsyncGenerator[DeadLetter]:
        """Letters below `token`, newest first; all without one."""
        before = token or None
        while True:
            batch = await self._letters.list(before=before, limit=SCAN_COUNT)
            for stored in batch:
                yield stored
            if len(batch) < SCAN_COUNT:
                return
            before = batch[-1].id
            await asyncio.sleep(0)  # many letters that no filter lets pass must not hold up others

    async def _found(self, letter_id: str) -> wire.DeadLetterEntry:
        stored = await self._letters.get(letter_id)
        if stored is None:
            raise UnknownDeadLetter(letter_id)
        return _entry(stored)

    async def _count(self, letter_id: str) -> None:
        """Before the letter is sent, so that what was sent is counted whatever becomes of it."""
        if await self._letters.count_replay(letter_id) is None:
            raise UnknownDeadLetter(letter_id)

    @contextlib.contextmanager
    def _alone(self, letter_id: str) -> Generator[None]:
        if letter_id in self._running:
            raise ReplayRunning(letter_id)
        self._running.add(letter_id)
        try:
            yield
        finally:
            self._running.remove(letter_id)

    async def _stamp(self, command: wire.CommandBook) -> None:
        cover, divergence = letter_replays.stream_of(command)
        if cover is None:
            return
        first = await self._sequences.next_sequence(cover, divergence=divergence)
        for index, page in enumerate(command.pages):
            page.header.sequence = first + index

    async def _send(
        self, commands: Commands, replayed: letter_replays.Replay, context: CallContext
    ) -> wire.CommandResponse:
        request = wire.CommandRequest(command=replayed.command).SerializeToString()
        sent = CallContext(context.deadline_ns, replayed.metadata(context))
        if not replayed.is_notification:
            answer = await commands.handle_command(request, sent)
            return wire.CommandResponse.FromString(answer)
        answer = await commands.handle_compensation(request, sent)
        given = wire.BusinessResponse.FromString(answer)
        if given.HasField("revocation"):
            raise CommandRejected(f"Compensation declined: {given.revocation.reason}")
        return wire.CommandResponse(events=given.events)


def _entry(stored: DeadLetter) -> wire.DeadLetterEntry:
    try:
        letter = wire.AngzarrDeadLetter.FromString(stored.letter)
    except DecodeError as error:
        found = f"{len(stored.letter)} bytes that do not parse"
        where = f"dead letter {stored.id}"
        raise CorruptData(where, found, "an AngzarrDeadLetter; delete it") from error
    return wire.DeadLetterEntry(
        id=stored.id,
        letter=letter,
        rejection_type=rejection_type_of(letter),
        created_at=books.timestamp(stored.created_at_ns),
        replay_count=stored.replay_count,
    )


def _no_command(entry: wire.DeadLetterEntry) -> DeadLetterRefused:
    if entry.letter.HasField("rejected_events"):
        component = entry.letter.source_component
        return DeadLetterRefused(
            f"{entry.id} holds events, not a command; Redeliver gives them to {component} again"
        )
    return DeadLetterRefused(f"{entry.id} holds no command")
