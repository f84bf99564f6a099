"""One branch after the other: a policy asks for commands, the aggregate decides on them."""

from __future__ import annotations

import inspect
import random
from bisect import bisect
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any as Untyped
from typing import Final, Literal, cast

from angzarr.codec import Payload
from angzarr.data.made import Made
from angzarr.data.points import Point, Start
from angzarr.errors import AngzarrError, CommandRejected, HandlerFailed, InvalidInput
from angzarr.handlers.table import CommandMethod, HandlerTable
from angzarr.ports.clock import Clock

SEED_BITS: Final = 64

Outcome = Literal["finished", "refused", "steps_out"]
OUTCOMES: Final[tuple[Outcome, ...]] = ("finished", "refused", "steps_out")
FINISHED, REFUSED, STEPS_OUT = range(3)


@dataclass(slots=True)
class Branch:
    """A branch as its policy sees it; `sequence` is its next, `events` are its own so far.

    index: its number. edition: where it will be stored, "" if it is not. memory: for the policy's
    own use.
    """

    index: int
    point: Point
    edition: str
    sequence: int
    step: int = 0
    events: list[Untyped] = field(default_factory=list[Untyped])
    memory: dict[str, Untyped] = field(default_factory=dict[str, Untyped])


Policy = Callable[[Untyped, random.Random, Branch], Payload | Sequence[Payload] | None]
"""(state, random numbers, branch) → the next command, several that are decided on together, or
None where the branch ends. The state is the branch's own, not to be changed."""


@dataclass(slots=True)
class Played:
    """A branch at its end. point: the index of its start. steps: for each event the step that
    made it. time_ns: of its last event. reason: of a refusal."""

    index: int
    point: int
    start: Start
    outcome: int
    step_count: int
    state: Untyped
    events: list[Made]
    steps: list[int]
    time_ns: int
    reason: str | None = None


class Player:
    """Plays branches, each the same whatever others are played with it.

    max_steps: commands, or groups of them, in one branch. edition: names where branch n is stored.
    """

    def __init__(
        self,
        table: HandlerTable,
        starts: Sequence[Start],
        policy: Policy,
        *,
        seed: int,
        max_steps: int,
        clock: Clock,
        edition: Callable[[int], str],
    ) -> None:
        self._table = table
        self._starts = starts
        self._policy = policy
        self._seed = seed << SEED_BITS
        self._max_steps = max_steps
        self._now_ns = clock.now_ns
        self._edition = edition
        self._random = random.Random()
        self._weights = _weights([start.point for start in starts])
        self._methods: dict[type, CommandMethod] = {
            method.payload.cls: method for method in table.commands.values()
        }
        self._events = frozenset(table.event_types())

    async def play(self, index: int) -> Played:
        """Branch `index` from its start to its end.

        Raises InvalidInput for a command that the aggregate does not have, HandlerFailed for any
        exception of the policy's or the aggregate's.
        """
        self._random.seed(self._seed + index)
        point = self._choose(index)
        start = self._starts[point]
        branch = Branch(index, start.point, self._edition(index), start.sequence)
        played = Played(index, point, start, STEPS_OUT, 0, start.copy(), [], [], start.time_ns)
        while played.step_count < self._max_steps:
            branch.step = played.step_count
            wanted = self._ask(played.state, branch)
            if wanted is None:
                played.outcome = FINISHED
                break
            try:
                await self._decide(played, branch, wanted)
            except CommandRejected as rejected:
                played.outcome, played.reason = REFUSED, str(rejected)
                break
            played.step_count += 1
        return played

    def _choose(self, index: int) -> int:
        if self._weights is None:
            return index % len(self._starts)
        last = len(self._weights) - 1
        return min(bisect(self._weights, self._random.random() * self._weights[-1]), last)

    def _ask(self, state: Untyped, branch: Branch) -> Payload | Sequence[Payload] | None:
        try:
            return self._policy(state, self._random, branch)
        except Exception as error:
            what = f"step {branch.step} of branch {branch.index}: {type(error).__name__}: {error}"
            raise HandlerFailed("policy", what) from error

    async def _decide(
        self, played: Played, branch: Branch, wanted: Payload | Sequence[Payload]
    ) -> None:
        """Decide on one command, or on several as on the pages of one book: all are, or none."""
        if not isinstance(wanted, list | tuple):
            await self._command(played, branch, cast("Payload", wanted))
            return
        commands = cast("Sequence[Payload]", wanted)
        event_count = len(played.events)
        try:
            for command in commands:
                await self._command(played, branch, command)
        except CommandRejected:
            if len(played.events) > event_count:
                self._take_back(played, branch, event_count)
            raise

    async def _command(self, played: Played, branch: Branch, command: Payload) -> None:
        method = self._methods.get(type(command))
        if method is None:
            known = ", ".join(sorted(self._table.commands)) or "none"
            name = type(command).__qualname__
            raise InvalidInput("policy", f"a command of {self._table.domain}: {known}", name)
        try:
            answer = method.function(played.state, command)
            if type(answer) not in self._events and inspect.isawaitable(answer):
                answer = await cast("Awaitable[object]", answer)
        except AngzarrError:
            raise
        except Exception as error:
            raise self._table.failed(method.name, error) from error
        if answer is None:
            return
        several = isinstance(answer, list | tuple)
        for event in cast("Iterable[Payload]", answer if several else (answer,)):
            self._record(played, branch, event)

    def _record(self, played: Played, branch: Branch, event: Payload) -> None:
        """Number and date an event as the coordinator does (CMD-30, CMD-33)."""
        type_url, payload = self._table.record(played.state, event)
        played.time_ns = max(played.time_ns, self._now_ns())
        played.events.append(Made(branch.sequence, played.time_ns, type_url, payload))
        branch.sequence += 1
        branch.events.append(event)
        played.steps.append(branch.step)

    def _take_back(self, played: Played, branch: Branch, event_count: int) -> None:
        """Forget events whose group was refused, and make the state anew without them."""
        del played.events[event_count:], played.steps[event_count:], branch.events[event_count:]
        branch.sequence = played.start.sequence + event_count
        pages = [made.page() for made in played.events]
        played.state = self._table.fold(played.start.copy(), pages)


def _weights(points: Sequence[Point]) -> list[float] | None:
    """Running sums of the weights; None if all are equal. Raises InvalidInput."""
    weights = [point.weight for point in points]
    for weight in weights:
        if not 0 <= weight < float("inf"):
            raise InvalidInput("points.weight", "a number from 0 on", weight)
    if len(set(weights)) == 1 and weights[0] > 0:
        return None
    sums = list(accumulate(weights))
    if not sums or sums[-1] <= 0:
        raise InvalidInput("points.weight", "above 0 for some point", 0)
    return sums
