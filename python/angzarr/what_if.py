"""What if: a branch of a running app's history in memory, called like the app itself.

async with app.what_if(at=3, of=(Hand, "h1")) as branch:
    await branch.domain(Hand).send("h1", Fold(2))
    print(await branch.domain(Hand).state("h1"))
    await branch.store("fold-at-3")                   # or nothing is left of it
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import datetime

from angzarr import calls, points
from angzarr.branches import Branch, Branches
from angzarr.caller import Caller
from angzarr.coordinators import validate
from angzarr.coordinators.speculations import NOW, Moment
from angzarr.cover import MAIN, Cover, Root, root_of
from angzarr.handlers.aggregate import Aggregate
from angzarr.local_transport import Calls, LocalTransport
from angzarr.points import At, Position

Stream = tuple[str | type[Aggregate], Root]
"""One stream: its domain, by the class or by name, and its root."""


class WhatIf(Caller):
    """A branch in memory, called as a server is."""

    def __init__(self, branch: Branch, aggregates: Iterable[type[Aggregate]]) -> None:
        table = _calls(branch)
        super().__init__(LocalTransport(lambda: table), aggregates, edition=branch.edition)
        self._branch = branch

    @property
    def edition(self) -> str:
        """The edition that it is a branch of, under whose name it goes."""
        return self._branch.edition

    def what_if(
        self,
        *,
        at: At | None = None,
        of: Stream | None = None,
        reactions: bool = True,
    ) -> AbstractAsyncContextManager[WhatIf]:
        """A branch of this branch, as it is now or was, as of `App.what_if`."""
        return what_if(
            self._branch.branches,
            self._aggregates.values(),
            edition=self.edition,
            at=at,
            of=of,
            reactions=reactions,
        )

    def changed(self) -> list[Cover]:
        """The streams that were written to, in the order (domain, edition, root)."""
        return list(self._branch.changed())

    async def settled(self) -> None:
        """As `App.settled`, on the branch: sagas and process managers have reacted to all of it."""
        await self._branch.rest()

    async def store(self, edition: str) -> None:
        """Make an edition of it, that is declared for that: the same events, on streams that
        diverge where the branch left them (SPEC-7). What is written here later is not in it.

        Sagas and process managers that reacted here do not react to them again; otherwise the
        edition is one like any other. Raises MainProtected, InvalidInput for a name that has pages
        and for a branch with cascades or writes to other editions, EditionConflict, EditionGone,
        and SequenceConflict if the edition that it is a branch of has gone another way meanwhile.
        """
        await self._branch.store(edition)


@asynccontextmanager
async def what_if(
    branches: Branches,
    aggregates: Iterable[type[Aggregate]],
    *,
    edition: str,
    at: At | None,
    of: Stream | None,
    reactions: bool,
) -> AsyncGenerator[WhatIf, None]:
    """As `App.what_if`."""
    validate.edition(edition, "edition")
    moment = moment_of(at, edition or MAIN, of)
    async with branches.open(edition or MAIN, moment, reactions=reactions) as branch:
        await branch.follow()
        yield WhatIf(branch, aggregates)


def moment_of(at: At | None, edition: str, of: Stream | None) -> Moment:
    """The point of all streams. Raises ValueError for a sequence without the stream that it is of,
    and as `points.temporal`."""
    if at is None:
        return NOW
    wanted = points.temporal(at)  # checked
    if isinstance(at, Position):
        return Moment(position=at.number)
    if isinstance(at, datetime):
        return Moment(until_ns=validate.time_ns(wanted.as_of_time, "at"))
    if of is None:
        raise ValueError(f"at={at} is a sequence: of which stream? of=(Hand, 'h1')")
    target, root = of
    domain = target if isinstance(target, str) else target.table().domain
    return Moment(stream=Cover(domain, root_of(root), edition), sequence=at)


def _calls(branch: Branch) -> Calls:
    """What a branch answers; nobody can subscribe to it, as nothing of it is published."""
    commands, queries = branch.commands, branch.queries
    return Calls(
        {
            calls.HANDLE_COMMAND: commands.handle_command,
            calls.HANDLE_EVENT: commands.handle_event,
            calls.HANDLE_SPECULATIVE: commands.handle_speculative,
            calls.HANDLE_COMPENSATION: commands.handle_compensation,
            calls.GET_EVENT_BOOK: queries.get_event_book,
            calls.GET_STATE: branch.coordinator.get_state,
            calls.GET_POSITION: branch.coordinator.get_position,
            calls.SPECULATE: branch.speculations.run,
        },
        {
            calls.GET_EVENTS: queries.get_events,
            calls.GET_AGGREGATE_ROOTS: lambda _, context: queries.get_aggregate_roots(context),
        },
    )
