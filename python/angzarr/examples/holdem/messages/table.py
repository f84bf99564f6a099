"""A table: seats, buy-ins, and the hand that is played at it.

A seat is reserved first, and taken when the player's funds are there.
"""

from __future__ import annotations

from dataclasses import dataclass

from angzarr.examples.holdem.messages.game import Chips, Game, Setup


@dataclass(frozen=True)
class OpenTable:
    name: str


@dataclass(frozen=True)
class Join:
    player: str
    seat: int
    buy_in: Chips


@dataclass(frozen=True)
class SeatPlayer:
    """The player's funds have been reserved; these are the chips for them."""

    table: str
    player: str
    stack: Chips


@dataclass(frozen=True)
class Leave:
    player: str


@dataclass(frozen=True)
class OpenHand:
    """first_seat: where the dealing begins; seats without chips are passed over."""

    hand: str
    game: Game
    first_seat: int


@dataclass(frozen=True)
class SettleHand:
    """stacks: what the players have after the hand, in their order."""

    hand: str
    players: tuple[str, ...]
    stacks: tuple[Chips, ...]


@dataclass(frozen=True)
class TableOpened:
    name: str


@dataclass(frozen=True)
class SeatReserved:
    table: str
    player: str
    seat: int
    buy_in: Chips


@dataclass(frozen=True)
class SeatGivenUp:
    player: str
    reason: str


@dataclass(frozen=True)
class PlayerSeated:
    player: str
    stack: Chips


@dataclass(frozen=True)
class PlayerLeft:
    table: str
    player: str
    stack: Chips


@dataclass(frozen=True)
class HandOpened:
    table: str
    hand: str
    setup: Setup


@dataclass(frozen=True)
class HandCalledOff:
    hand: str
    reason: str


@dataclass(frozen=True)
class HandSettled:
    hand: str
    players: tuple[str, ...]
    stacks: tuple[Chips, ...]
