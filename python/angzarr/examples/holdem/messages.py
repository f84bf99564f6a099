"""Commands and events of a poker hand.

Players are counted from 1 in the order of the blinds, as in poker hand histories. Cards are their
two letters, `Ah3s`; `??` is a card that nobody showed. Chips are whole, or decimals where a site
deals in cents.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

Chips = int | Decimal


@dataclass(frozen=True)
class Setup:
    """What is agreed before the first card.

    variant: pokerkit's code, such as NT for no-limit Texas hold'em. Of the blinds, the bring-in
    and the bets those are None that the variant does not have.
    """

    variant: str
    players: tuple[str, ...]
    starting_stacks: tuple[Chips, ...]
    antes: tuple[Chips, ...]
    blinds_or_straddles: tuple[Chips, ...] | None = None
    bring_in: Chips | None = None
    small_bet: Chips | None = None
    big_bet: Chips | None = None
    min_bet: Chips | None = None
    is_ante_trimmed: bool = False


@dataclass(frozen=True)
class StartHand:
    title: str
    setup: Setup


@dataclass(frozen=True)
class DealHole:
    player: int
    cards: str


@dataclass(frozen=True)
class DealBoard:
    cards: str


@dataclass(frozen=True)
class PostBringIn:
    player: int


@dataclass(frozen=True)
class Fold:
    player: int


@dataclass(frozen=True)
class CheckOrCall:
    player: int


@dataclass(frozen=True)
class BetOrRaise:
    """to: all that the player has then put in on this street."""

    player: int
    to: Chips


@dataclass(frozen=True)
class Draw:
    """cards: those thrown away; "" stands pat."""

    player: int
    cards: str


@dataclass(frozen=True)
class ShowOrMuck:
    """cards: those shown; "" mucks."""

    player: int
    cards: str


@dataclass(frozen=True)
class HandStarted:
    title: str
    setup: Setup


@dataclass(frozen=True)
class HoleDealt:
    player: int
    cards: str


@dataclass(frozen=True)
class BoardDealt:
    cards: str


@dataclass(frozen=True)
class BringInPosted:
    player: int


@dataclass(frozen=True)
class Folded:
    player: int


@dataclass(frozen=True)
class CheckedOrCalled:
    """amount: what was called; 0 is a check."""

    player: int
    amount: Chips


@dataclass(frozen=True)
class BetOrRaised:
    player: int
    to: Chips


@dataclass(frozen=True)
class Drew:
    player: int
    cards: str


@dataclass(frozen=True)
class ShownOrMucked:
    player: int
    cards: str


@dataclass(frozen=True)
class HandFinished:
    """stacks: after the pots were paid. payoffs: won, or lost below zero, by each player."""

    stacks: tuple[Chips, ...]
    payoffs: tuple[Chips, ...]


Command = (
    StartHand
    | DealHole
    | DealBoard
    | PostBringIn
    | Fold
    | CheckOrCall
    | BetOrRaise
    | Draw
    | ShowOrMuck
)
