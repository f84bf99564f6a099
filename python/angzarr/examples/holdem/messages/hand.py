"""A hand: what the dealer and the players do in it.

Players are counted from 1 in the order in which they are dealt in, as in poker hand histories.
Cards are their two letters, `Ah3s`; `??` is a card that nobody showed.
"""

from __future__ import annotations

from dataclasses import dataclass

from angzarr.examples.holdem.messages.game import Chips, Setup


@dataclass(frozen=True)
class StartHand:
    table: str
    hand: str
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
    table: str
    hand: str
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
    """stacks: after the pots were paid. payoffs: won, or lost below zero, by each player.
    collected: what was pushed to each player out of the pots.
    """

    table: str
    hand: str
    players: tuple[str, ...]
    stacks: tuple[Chips, ...]
    payoffs: tuple[Chips, ...]
    collected: tuple[Chips, ...]


Action = DealHole | DealBoard | PostBringIn | Fold | CheckOrCall | BetOrRaise | Draw | ShowOrMuck
"""What is done in a hand that has started."""
