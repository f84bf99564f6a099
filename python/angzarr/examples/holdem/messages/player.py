"""A player's bankroll: what is paid in, and what is at which table."""

from __future__ import annotations

from dataclasses import dataclass

from angzarr.examples.holdem.messages.game import Chips


@dataclass(frozen=True)
class Register:
    name: str


@dataclass(frozen=True)
class Deposit:
    amount: Chips


@dataclass(frozen=True)
class ReserveFunds:
    """Set the buy-in for a seat at a table aside."""

    player: str
    table: str
    amount: Chips


@dataclass(frozen=True)
class ReleaseFunds:
    """amount: what comes back from the table; it need not be what went there."""

    table: str
    amount: Chips


@dataclass(frozen=True)
class Registered:
    name: str


@dataclass(frozen=True)
class Deposited:
    amount: Chips


@dataclass(frozen=True)
class FundsReserved:
    player: str
    table: str
    amount: Chips


@dataclass(frozen=True)
class FundsReleased:
    table: str
    amount: Chips
