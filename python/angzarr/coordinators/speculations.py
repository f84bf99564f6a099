"""Several commands on a branch that is never stored, or is stored as an edition when all is over
(SPEC-6, SPEC-7)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

from angzarr import wire
from angzarr.coordinators import books, failures, validate
from angzarr.coordinators.options import CommandOptions
from angzarr.cover import MAIN, Cover
from angzarr.errors import (
    AngzarrError,
    CascadeConflict,
    InvalidInput,
    ReactionFailed,
    RemoteError,
    SequenceError,
    TooLarge,
)
from angzarr.ports.components import CallContext


@dataclass(frozen=True, slots=True)
class Moment:
    """A point of all streams: a position of the log, a time, or page `sequence` of `stream`.
    Without any of them: now."""

    position: int | None = None
    until_ns: int | None = None
    stream: Cover | None = None
    sequence: int = 0


NOW = Moment()


class Branch(Protocol):
    """What commands are tried on."""

    async def handle_command(self, request: bytes, context: CallContext) -> bytes:
        """CommandRequest → CommandResponse."""
        ...

    async def rest(self) -> None:
        """Return when what the commands led to is done: notifications of rejections."""
        ...

    def changed(self) -> Sequence[Cover]:
        """The streams that were written to, in the order (domain, edition, root)."""
        ...

    async def state(self, cover: Cover, context: CallContext) -> wire.StateResponse:
        """A stream's state, absent where no handler computes it, and its next sequence."""
        ...

    async def store(self, name: str) -> None:
        """Make an edition of it. Raises what that name, or the store, is wrong about."""
        ...


class Branches(Protocol):
    """Makes branches of what there is."""

    def open(
        self, edition: str, moment: Moment, *, reactions: bool
    ) -> AbstractAsyncContextManager[Branch]:
        """A branch of the edition as of a moment; it is gone when the context ends.

        reactions: whether sagas and process managers are there, for CASCADE requests.
        """
        ...


class Speculations:
    """Answers SpeculationService."""

    def __init__(self, branches: Branches, options: CommandOptions) -> None:
        self._branches = branches
        self._options = options

    async def run(self, request: bytes, context: CallContext) -> bytes:
        """SpeculationRequest → SpeculationResponse.

        Raises InvalidInput, TooLarge, and what storing it as an edition raises; a command's error
        is in the answer.
        """
        asked = books.parse(wire.SpeculationRequest, request)
        edition = asked.edition or MAIN
        validate.edition(asked.edition, "edition")
        validate.edition(asked.store_as, "store_as")
        limit = self._options.max_pages_per_book
        if len(asked.commands) > limit:
            raise TooLarge("commands", f"at most {limit}", len(asked.commands))
        covers = [self._cover(book, edition) for book in asked.commands]
        moment = _moment(asked, covers)
        async with self._branches.open(edition, moment, reactions=asked.reactions) as branch:
            response = wire.SpeculationResponse()
            async for outcome in _outcomes(branch, asked, edition, context):
                response.outcomes.append(outcome)
            for cover in branch.changed():
                response.states.append(await branch.state(cover, context))
            is_whole = len(response.outcomes) == len(asked.commands)
            is_refused = any(outcome.HasField("error") for outcome in response.outcomes)
            if asked.store_as and is_whole and (asked.go_on or not is_refused):
                await branch.store(asked.store_as)
        return response.SerializeToString()

    def _cover(self, book: wire.CommandBook, edition: str) -> Cover:
        cover = validate.command_book(book, self._options)
        given = book.cover.edition
        if given.name and given.name != edition:
            raise InvalidInput("commands.cover.edition", f"unset, or {edition}", given.name)
        if given.divergences:
            found = f"{len(given.divergences)} of them"
            raise InvalidInput("commands.cover.edition.divergences", "none beside a point", found)
        return cover


async def _outcomes(
    branch: Branch, asked: wire.SpeculationRequest, edition: str, context: CallContext
) -> AsyncIterator[wire.SpeculationOutcome]:
    """One after the other, until one is refused unless the rest is wanted all the same."""
    for book in asked.commands:
        command = wire.CommandRequest(command=book)
        command.command.cover.edition.name = edition
        if asked.reactions:
            command.sync_mode = wire.SYNC_MODE_CASCADE
            command.cascade_error_mode = wire.CASCADE_ERROR_CONTINUE
        try:
            data = await branch.handle_command(command.SerializeToString(), context)
            await branch.rest()
        except AngzarrError as error:
            yield wire.SpeculationOutcome(error=encoded(error))
            if not asked.go_on:
                return
        else:
            answer = wire.CommandResponse.FromString(data)
            yield wire.SpeculationOutcome(
                events=answer.events, cascade_errors=answer.cascade_errors
            )


def _moment(asked: wire.SpeculationRequest, covers: Sequence[Cover]) -> Moment:
    point = asked.point
    match point.WhichOneof("point_in_time"):
        case "as_of_position":
            return Moment(position=point.as_of_position)
        case "as_of_time":
            return Moment(until_ns=validate.time_ns(point.as_of_time, "point.as_of_time"))
        case "as_of_sequence":
            streams = {cover.stream for cover in covers}
            if len(streams) != 1:
                what = "a sequence where all commands are for one stream, else a position or a time"
                raise InvalidInput("point", what, f"{len(streams)} streams")
            domain, _, root = streams.pop()
            stream = Cover(domain, root, asked.edition)
            return Moment(stream=stream, sequence=point.as_of_sequence)
        case _:
            return NOW


def encoded(error: AngzarrError) -> wire.ReactionError:
    """A command's error as it travels, with the detail that its RPC would have (WIRE-10)."""
    details = b""
    if isinstance(error, SequenceError | ReactionFailed):
        details = error.book
    elif isinstance(error, RemoteError):
        details = error.details
    elif isinstance(error, CascadeConflict):
        details = wire.CascadeConflictDetail(
            cascade_ids=error.cascade_ids, overlapping_fields=error.fields
        ).SerializeToString()
    return wire.ReactionError(
        code=failures.code_of(error),
        kind=failures.kind_of(error),
        message=str(error).encode("utf-8", "backslashreplace").decode(),
        details=details,
    )
