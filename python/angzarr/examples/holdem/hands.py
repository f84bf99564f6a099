"""The published hands in `hands/`: who sits where, and the actions that play each of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import resources
from importlib.resources.abc import Traversable

from pokerkit import (
    BoardDealing,
    BringInPosting,
    CheckingOrCalling,
    CompletionBettingOrRaisingTo,
    Folding,
    HandHistory,
    HoleCardsShowingOrMucking,
    HoleDealing,
    Operation,
    StandingPatOrDiscarding,
    State,
)

from angzarr.examples.holdem import rules
from angzarr.examples.holdem.messages.game import Chips, Game
from angzarr.examples.holdem.messages.hand import (
    Action,
    BetOrRaise,
    CheckOrCall,
    DealBoard,
    DealHole,
    Draw,
    Fold,
    PostBringIn,
    ShowOrMuck,
)


@dataclass(frozen=True, slots=True)
class PublishedHand:
    """A hand that was really played.

    name: that of its stream. seats: where the players sit, in the order in which they are dealt
    in, as are the stacks and what each of them collected from the pots.
    """

    name: str
    table: str
    game: Game
    players: tuple[str, ...]
    seats: tuple[int, ...]
    actions: tuple[Action, ...]
    starting_stacks: tuple[Chips, ...]
    finishing_stacks: tuple[Chips, ...]
    collected: tuple[Chips, ...]

    @property
    def payoffs(self) -> tuple[Chips, ...]:
        """Published wins and losses."""
        stacks = zip(self.finishing_stacks, self.starting_stacks, strict=True)
        return tuple(finishing - starting for finishing, starting in stacks)


def published_hands() -> list[PublishedHand]:
    """All hands, table by table, in the order in which they were played."""
    folder = resources.files("angzarr.examples.holdem") / "hands"
    hands: list[PublishedHand] = []
    for file in sorted(folder.iterdir(), key=lambda file: file.name):
        hands.extend(_at_table(file.name.partition(".")[0], _histories(file)))
    return hands


def _histories(file: Traversable) -> Sequence[HandHistory]:
    if file.name.endswith(".phhs"):
        return list(HandHistory.loads_all(file.read_text("utf-8")))
    if file.name.endswith(".phh"):
        return [HandHistory.loads(file.read_text("utf-8"))]
    return []


def _at_table(table: str, histories: Sequence[HandHistory]) -> Iterator[PublishedHand]:
    """The hands of one file: one table, whose players change places in the dealing only."""
    before: PublishedHand | None = None
    for number, history in enumerate(histories, 1):
        name = table if len(histories) == 1 else f"{table}-{number:02}"
        players, seats = _seated(table, history, before)
        before = _hand(name, table, history, players, seats)
        yield before


def _seated(
    table: str, history: HandHistory, before: PublishedHand | None
) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Who is dealt in, and from which seats.

    The hands of a tournament tell stacks and no names. Those who have chips are dealt in around
    the table, from one seat or another: the one that fits their stacks. Where nothing fits
    exactly a hand or more was not published.
    """
    stacks = _chips(history.starting_stacks)
    if before is None:
        seats = tuple(range(1, len(stacks) + 1))
        named = history.players or [f"{table} seat {seat}" for seat in seats]
        return tuple(named), seats
    left = zip(before.players, before.seats, before.finishing_stacks, strict=True)
    sitting = [(player, seat, stack) for player, seat, stack in left if stack]
    turns = [sitting[first:] + sitting[:first] for first in range(len(sitting))]
    around = min(turns, key=lambda turn: _difference([stack for *_, stack in turn], stacks))
    return tuple(player for player, *_ in around), tuple(seat for _, seat, _ in around)


def _difference(stacks: Sequence[Chips], others: Sequence[Chips]) -> Chips:
    return sum(abs(stack - other) for stack, other in zip(stacks, others, strict=True))


def _hand(
    name: str,
    table: str,
    history: HandHistory,
    players: tuple[str, ...],
    seats: tuple[int, ...],
) -> PublishedHand:
    game = Game(
        variant=history.variant,
        antes=_chips(history.antes),
        blinds_or_straddles=_chips(history.blinds_or_straddles),
        bring_in=history.bring_in,
        small_bet=history.small_bet,
        big_bet=history.big_bet,
        min_bet=history.min_bet,
        is_ante_trimmed=history.ante_trimming_status,
    )
    actions, end = _played(history)
    return PublishedHand(
        name=name,
        table=table,
        game=game,
        players=players,
        seats=seats,
        actions=tuple(actions),
        starting_stacks=_chips(history.starting_stacks),
        finishing_stacks=_chips(history.finishing_stacks),
        collected=rules.collected(end),
    )


def _played(history: HandHistory) -> tuple[list[Action], State]:
    """What players and dealer did, and pokerkit's end of it; what follows by the rules alone, the
    aggregate does itself.
    """
    actions: list[Action] = []
    done = 0
    state = history.create_state()
    for state in history:
        found = map(_action, state.operations[done:])
        actions.extend(action for action in found if action is not None)
        done = len(state.operations)
    return actions, state


def _action(operation: Operation) -> Action | None:
    match operation:
        case HoleDealing(player_index=index, cards=cards):
            return DealHole(index + 1, _text(cards))
        case BoardDealing(cards=cards):
            return DealBoard(_text(cards))
        case BringInPosting(player_index=index):
            return PostBringIn(index + 1)
        case Folding(player_index=index):
            return Fold(index + 1)
        case CheckingOrCalling(player_index=index):
            return CheckOrCall(index + 1)
        case CompletionBettingOrRaisingTo(player_index=index, amount=amount):
            return BetOrRaise(index + 1, amount)
        case StandingPatOrDiscarding(player_index=index, cards=cards):
            return Draw(index + 1, _text(cards))
        case HoleCardsShowingOrMucking(player_index=index, hole_cards=cards):
            return ShowOrMuck(index + 1, _text(cards))
        case _:
            return None


def _text(cards: tuple[object, ...]) -> str:
    return "".join(map(repr, cards))


def _chips(stacks: list[int] | None) -> tuple[Chips, ...]:
    return tuple(stacks or ())
