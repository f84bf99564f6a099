"""Thousands of futures of real history: branches played by a policy, as arrays (DATA-20 to 25)."""

from __future__ import annotations

import asyncio
import datetime
import random
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any as Untyped
from typing import Final

from angzarr.coordinators import validate
from angzarr.data._duals import Dual
from angzarr.data.batch import Batch
from angzarr.data.columns import CATEGORIES_MAX, Reader
from angzarr.data.fields import Catalog, Fields
from angzarr.data.files import Format, Writer, writer
from angzarr.data.outcomes import Tables
from angzarr.data.playing import Played, Player, Policy
from angzarr.data.points import Point, starts_of
from angzarr.data.selection import Progress
from angzarr.data.sources import Opened, Source, definitions_of, opened, thread_of
from angzarr.data.storing import Keeper
from angzarr.errors import InvalidInput
from angzarr.handlers.aggregate import Aggregate
from angzarr.parts import Definition
from angzarr.sync_bridge import LoopThread

BRANCHES: Final = 10_000
BATCH: Final = 1_000
STEPS_MAX: Final = 1_000
TURN: Final = 32
"""Branches that are played before others of the event loop get their turn."""
NUMBER: Final = "{n}"
SECOND_NS: Final = 1_000_000_000

Observe = Callable[[Untyped], Mapping[str, Untyped]]
"""A branch's last state → scalars by name, the same names for every branch."""


@dataclass(frozen=True, slots=True)
class Explored:
    """Some branches, and their events.

    branches: a row a branch: branch, point, outcome, reason, steps, events, and what was observed.
    events: a row an event that a branch made: branch, point, step, sequence, time, type, fields.
    """

    branches: Batch
    events: Batch


@dataclass(frozen=True, slots=True)
class Plan:
    """What is explored; see `explore`."""

    aggregate: type[Aggregate]
    points: Sequence[Point]
    policy: Policy
    branches: int
    fields: Fields
    payloads: bool
    observe: Observe | None
    clone: Callable[[Untyped], Untyped] | None
    batch: int
    max_steps: int
    store_as: str
    ttl: datetime.timedelta | None
    seed: int
    first: int
    categories_max: int
    definitions: Sequence[Definition]
    progress: Progress | None


class Exploration(Dual[Explored]):
    """What `explore` gives: for `for` and `async for`. Each iteration plays everything anew."""

    def __init__(self, source: Source, plan: Plan) -> None:
        self._source = source
        self._plan = plan
        for name, value in (("branches", plan.branches), ("first", plan.first)):
            if value < 0:
                raise InvalidInput(name, "0 or more", value)
        for name, value in (("batch", plan.batch), ("max_steps", plan.max_steps)):
            if value < 1:
                raise InvalidInput(name, "at least 1", value)
        if not plan.points:
            raise InvalidInput("points", "at least one", 0)
        if plan.store_as:
            validate.edition(self.edition(plan.first + plan.branches), "store_as")
        elif plan.ttl is not None:
            raise InvalidInput("ttl", "given with store_as", plan.ttl)
        definitions = (plan.aggregate, *definitions_of(source, plan.definitions))
        self._fields = Catalog(definitions, [plan.aggregate.table().domain]).plans(plan.fields)

    def edition(self, branch: int) -> str:
        """The edition that a branch is stored as; "" where they are not stored."""
        name = self._plan.store_as
        if not name:
            return ""
        return name.replace(NUMBER, str(branch)) if NUMBER in name else f"{name}-{branch}"

    def save(
        self, folder: str | Path, format: Format = "parquet", *, overwrite: bool = False
    ) -> tuple[Writer, Writer]:
        """Write both tables into a folder, made if missing: `branches` and `events`, with the
        format's suffix. Raises as `writer` and an iteration do; then there is neither.
        """
        folder = Path(folder)
        folder.mkdir(exist_ok=True)
        with (
            writer(folder / f"branches.{format}", format, overwrite=overwrite) as branches,
            writer(folder / f"events.{format}", format, overwrite=overwrite) as events,
        ):
            for part in self:
                branches.write(part.branches)
                events.write(part.events)
        return branches, events

    def _thread(self) -> LoopThread | None:
        return thread_of(self._source)

    def _is_bound(self) -> bool:
        return not isinstance(self._source, str | Path)

    async def _items(self) -> AsyncGenerator[Explored]:
        plan = self._plan
        async with opened(self._source, plan.definitions) as source:
            starts = await starts_of(source, plan.aggregate.table(), plan.points, plan.clone)
            player = Player(
                plan.aggregate.table(),
                starts,
                plan.policy,
                seed=plan.seed,
                max_steps=plan.max_steps,
                clock=source.clock,
                edition=self.edition,
            )
            reader = Reader(
                self._fields, has_payloads=plan.payloads, categories_max=plan.categories_max
            )
            tables = Tables(reader, plan.observe)
            keeper = self._keeper(source)
            try:
                for done in range(0, plan.branches, plan.batch):
                    count = min(plan.batch, plan.branches - done)
                    played = await self._played(player, keeper, plan.first + done, count)
                    explored = Explored(tables.branches(played), tables.events(played))
                    if keeper is not None:
                        await keeper.settled()
                    if plan.progress is not None:
                        plan.progress(done + count, plan.branches)
                    yield explored
            finally:
                if keeper is not None:
                    await keeper.abandon()

    async def _played(
        self, player: Player, keeper: Keeper | None, first: int, count: int
    ) -> list[Played]:
        """Branches `first` to `first + count`, played and on their way to the store."""
        found: list[Played] = []
        for index in range(first, first + count):
            played = await player.play(index)
            found.append(played)
            if keeper is not None:
                await keeper.keep(played)
            if index % TURN == 0:
                await asyncio.sleep(0)
        return found

    def _keeper(self, source: Opened) -> Keeper | None:
        plan = self._plan
        if not plan.store_as:
            return None
        expires_at_ns = 0
        if plan.ttl is not None:
            expires_at_ns = source.clock.now_ns() + int(plan.ttl.total_seconds() * SECOND_NS)
        return Keeper(source.stores, self.edition, expires_at_ns)


def explore(
    source: Source,
    aggregate: type[Aggregate],
    points: Sequence[Point],
    policy: Policy,
    *,
    branches: int = BRANCHES,
    fields: Fields = (),
    payloads: bool = False,
    observe: Observe | None = None,
    clone: Callable[[Untyped], Untyped] | None = None,
    batch: int = BATCH,
    max_steps: int = STEPS_MAX,
    store_as: str = "",
    ttl: datetime.timedelta | None = None,
    seed: int | None = 0,
    first: int = 0,
    categories_max: int = CATEGORIES_MAX,
    definitions: Sequence[Definition] = (),
    progress: Progress | None = None,
) -> Exploration:
    """Branches of real history, played by a policy in this process, as numpy arrays by the batch.

    source: where history is; an app or a store of this process is explored with `async for` in its
        event loop, everything else with `for` as well.
    aggregate: decides, by its own methods, on a copy of the state at the branch's point.
    points: where branches start, in turns or by their weights. policy: see `Policy`; a branch ends
        when it says None ("finished"), when the aggregate rejects ("refused"; the events before
        that stay), or after `max_steps` ("steps_out").
    branches: how many, numbered from `first` on. batch: how many come together.
    fields, payloads, categories_max, definitions: of the events, as for `batches`.
    observe: makes columns of a branch's last state. clone: copies a state; needed where fields that
        start with `_` matter to the policy or are dear to make.
    store_as: makes each branch an edition of its own: a name with {n} for the branch's number, or
        what stands before it. They are stored when their batch comes, and what is subscribed to all
        editions reacts to them. ttl: how long the editions live.
    seed: of the random numbers; a branch's depend on it and on the branch's number alone. None is
        another one each time.
    progress: told (branches done, in all).

    Raises InvalidInput at once for what doesn't fit together, InvalidDivergence for a point beyond
    its stream's end, HandlerFailed for an exception of the policy's or the aggregate's, what
    folding and storing raise: an edition that exists already is a DivergenceConflict or a
    SequenceConflict.
    """
    plan = Plan(
        aggregate=aggregate,
        points=list(points),
        policy=policy,
        branches=branches,
        fields=fields,
        payloads=payloads,
        observe=observe,
        clone=clone,
        batch=batch,
        max_steps=max_steps,
        store_as=store_as,
        ttl=ttl,
        seed=random.getrandbits(64) if seed is None else seed,
        first=first,
        categories_max=categories_max,
        definitions=definitions,
        progress=progress,
    )
    return Exploration(source, plan)
