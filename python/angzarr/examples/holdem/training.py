"""A training set: thousands of ways in which a hand could have gone on from each decision."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, Final, Self

from pokerkit import State

from angzarr import data
from angzarr.examples.holdem.folding import Decision
from angzarr.examples.holdem.hand import Hand
from angzarr.examples.holdem.hands import PublishedHand
from angzarr.examples.holdem.messages.hand import (
    Action,
    BetOrRaise,
    BetOrRaised,
    CheckOrCall,
    Fold,
    PostBringIn,
)
from angzarr.examples.holdem.playing_on import PlayingOn
from angzarr.examples.holdem.rules import burnt

if TYPE_CHECKING:
    from angzarr.data import Batch, Branch, Explored
    from angzarr.data.sources import Source

FILES: Final = ("branches.parquet", "events.parquet")
BRANCHES: Final = 10_000
WEIGHTS: Final = {"fold": 2, "check or call": 6, "bet or raise": 2, "bring in": 6}
"""How often players do what, of what they may do. The first decision is any of them alike."""

FIRST: Final = {"Folded": "fold", "CheckedOrCalled": "check or call", "BetOrRaised": "bet or raise"}


@dataclass(frozen=True, slots=True)
class Learnt:
    """What a way to begin came to, over its branches. mean: of the player's payoffs."""

    decision: Decision
    first: str
    count: int
    mean: float
    won_share: float


def policy(state: Hand, random: Random, branch: Branch) -> Action | None:
    """Plays on at random, with cards that were not dealt yet dealt anew; None when it is over."""
    going_on = branch.memory.setdefault("going on", PlayingOn((), random))
    now = burnt(state.state)
    return going_on.dealt(now) or _bet(now, random, is_first=branch.step == 0)


def _bet(state: State, random: Random, *, is_first: bool) -> Action | None:
    if state.actor_index is None:
        return None
    player = state.actor_index + 1
    kinds = ["check or call"]
    if is_first or state.checking_or_calling_amount:
        kinds.append("fold")
    if state.can_complete_bet_or_raise_to():
        kinds.append("bet or raise")
    if state.can_post_bring_in():
        kinds = ["bring in", "bet or raise"]
    weights = None if is_first else [WEIGHTS[kind] for kind in kinds]
    match random.choices(kinds, weights)[0]:
        case "fold":
            return Fold(player)
        case "bet or raise":
            return BetOrRaise(player, random.choice(_raises(state)))
        case "bring in":
            return PostBringIn(player)
        case _:
            return CheckOrCall(player)


def _raises(state: State) -> Sequence[Any]:
    """The least raise, that of the pot, and all in, as far as the rules allow them."""
    least = state.min_completion_betting_or_raising_to_amount
    most = state.max_completion_betting_or_raising_to_amount
    pot = state.pot_completion_betting_or_raising_to_amount
    assert least is not None
    assert most is not None
    return least, min(max(pot or least, least), most), most


async def write(
    source: Source,
    hand: PublishedHand,
    decisions: Sequence[Decision],
    folder: Path,
    *,
    branches: int = BRANCHES,
    progress: Callable[[int, int], None] | None = None,
) -> list[Learnt]:
    """Play `branches` of the hand, from each of the decisions in turns, and write them to `folder`:
    branches.parquet has a row a branch, events.parquet a row an event. The store is only read.

    Returns what each way to begin came to. Raises MissingExtra without the extra `data`, and as
    `angzarr.data.explore` does.
    """
    player = decisions[0].player - 1
    explored = data.explore(
        source,
        Hand,
        [data.Point(hand.name, decision.sequence) for decision in decisions],
        policy,
        branches=branches,
        fields={"to": data.Field(BetOrRaised, "to", kind="float")},
        observe=lambda state: {"payoff": float(state.payoffs[player])},
        clone=Hand.copied,
        progress=progress,
    )
    tallies: dict[tuple[int, str], Tally] = {}
    with ExitStack() as stack:
        files = [stack.enter_context(ParquetFile(folder / name)) for name in FILES]
        async for found in explored:
            for file, rows in zip(files, (found.branches, found.events), strict=True):
                file.write(rows)
            for begun, payoff in _begun(found):
                tallies.setdefault(begun, Tally()).add(payoff)
    return [
        Learnt(
            decisions[point], first, tally.count, tally.sum / tally.count, tally.won / tally.count
        )
        for (point, first), tally in sorted(tallies.items())
    ]


@dataclass(slots=True)
class Tally:
    """Payoffs, added up. won: how many are above zero."""

    count: int = 0
    sum: float = 0.0
    won: int = 0

    def add(self, payoff: float) -> None:
        self.count += 1
        self.sum += payoff
        self.won += payoff > 0


class ParquetFile:
    """Batches of rows, written one after the other to one file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._writer: Any = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._writer:
            self._writer.close()

    def write(self, rows: Batch) -> None:
        """Add the rows; the first ones say which columns there are."""
        from pyarrow.parquet import ParquetWriter  # beside the extra `data`, nobody needs it

        made = rows.to_arrow()
        if self._writer is None:
            self._writer = ParquetWriter(self._path, made.schema)
        self._writer.write_batch(made)


def _begun(found: Explored) -> Iterator[tuple[tuple[int, str], float]]:
    """Of each branch its point and how it began, and its payoff."""
    branches, events = found.branches, found.events
    firsts: dict[int, str] = {}
    for branch, name in zip(events["branch"].tolist(), events.text("type"), strict=True):
        firsts.setdefault(branch, name.rpartition(".")[2])
    columns = (branches[name].tolist() for name in ("branch", "point", "payoff"))
    for branch, point, payoff in zip(*columns, strict=True):
        yield (point, FIRST[firsts[branch]]), payoff
