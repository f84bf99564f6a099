"""The published hands in `hands/`, each as the commands that play it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources

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
)

from angzarr.examples.holdem.messages import (
    BetOrRaise,
    CheckOrCall,
    Chips,
    Command,
    DealBoard,
    DealHole,
    Draw,
    Fold,
    PostBringIn,
    Setup,
    ShowOrMuck,
    StartHand,
)


@dataclass(frozen=True, slots=True)
class PublishedHand:
    """A hand that was really played.

    root: the name of its stream. commands: in order; the first is StartHand. starting_stacks,
    finishing_stacks: as published, in the order of the players.
    """

    root: str
    title: str
    variant: str
    players: tuple[str, ...]
    commands: tuple[Command, ...]
    starting_stacks: tuple[Chips, ...]
    finishing_stacks: tuple[Chips, ...]

    @property
    def payoffs(self) -> tuple[Chips, ...]:
        """Published wins and losses."""
        stacks = zip(self.finishing_stacks, self.starting_stacks, strict=True)
        return tuple(finishing - starting for finishing, starting in stacks)


def published_hands() -> list[PublishedHand]:
    """All hands, by file name and number."""
    folder = resources.files("angzarr.examples.holdem") / "hands"
    hands: list[PublishedHand] = []
    for file in sorted(folder.iterdir(), key=lambda file: file.name):
        if file.name.endswith(".phhs"):
            histories = list(HandHistory.loads_all(file.read_text("utf-8")))
        elif file.name.endswith(".phh"):
            histories = [HandHistory.loads(file.read_text("utf-8"))]
        else:
            continue
        name = file.name.partition(".")[0]
        for number, history in enumerate(histories, 1):
            root = name if len(histories) == 1 else f"{name}-{number:02}"
            hands.append(_hand(root, history))
    return hands


def _hand(root: str, history: HandHistory) -> PublishedHand:
    count = len(history.starting_stacks)
    players = tuple(history.players or (f"Player {number}" for number in range(1, count + 1)))
    year = f" {history.year}" if history.year else ""
    title = (
        str(history.event or " – ".join(players)) + year
        if not history.hand
        else (f"{history.event}, hand {root.rpartition('-')[2]}")
    )
    setup = Setup(
        variant=history.variant,
        players=players,
        starting_stacks=_chips(history.starting_stacks),
        antes=_chips(history.antes),
        blinds_or_straddles=_chips(history.blinds_or_straddles),
        bring_in=history.bring_in,
        small_bet=history.small_bet,
        big_bet=history.big_bet,
        min_bet=history.min_bet,
        is_ante_trimmed=history.ante_trimming_status,
    )
    return PublishedHand(
        root=root,
        title=title,
        variant=history.variant,
        players=players,
        commands=(StartHand(title, setup), *_commands(history)),
        starting_stacks=setup.starting_stacks,
        finishing_stacks=_chips(history.finishing_stacks),
    )


def _commands(history: HandHistory) -> Iterator[Command]:
    """What players and dealer did; what follows by the rules alone, the aggregate does itself."""
    done = 0
    for state in history:
        for operation in state.operations[done:]:
            command = _command(operation)
            if command is not None:
                yield command
        done = len(state.operations)


def _command(operation: Operation) -> Command | None:
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
