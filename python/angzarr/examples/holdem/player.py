"""A player's money: the bankroll, and what is at the tables."""

from __future__ import annotations

from angzarr import Aggregate, Rejection, applies, command, reject, rejected
from angzarr.examples.holdem.messages.game import Chips
from angzarr.examples.holdem.messages.player import (
    Deposit,
    Deposited,
    FundsReleased,
    FundsReserved,
    Register,
    Registered,
    ReleaseFunds,
    ReserveFunds,
)
from angzarr.examples.holdem.messages.table import SeatPlayer


class Player(Aggregate, domain="player"):
    """name: "" until the player is registered. at_tables: the buy-ins by table, from the moment
    they are reserved until the player is paid out.
    """

    name: str = ""
    bankroll: Chips = 0
    at_tables: dict[str, Chips] = {}

    @command
    def register(self, cmd: Register) -> Registered:
        if self.name:
            reject(f"{self.name} is registered")
        if not cmd.name:
            reject("a player needs a name")
        return Registered(cmd.name)

    @command
    def deposit(self, cmd: Deposit) -> Deposited:
        self._require_registered()
        if cmd.amount <= 0:
            reject("a deposit is more than zero")
        return Deposited(cmd.amount)

    @command
    def reserve(self, cmd: ReserveFunds) -> FundsReserved:
        self._require_registered()
        if cmd.table in self.at_tables:
            reject(f"{self.name} has chips at {cmd.table}")
        if self.bankroll < cmd.amount:
            reject(f"{self.name} has {self.bankroll}, which is not enough")
        return FundsReserved(cmd.player, cmd.table, cmd.amount)

    @command
    def release(self, cmd: ReleaseFunds) -> FundsReleased:
        if cmd.table not in self.at_tables:
            reject(f"{self.name} has no chips at {cmd.table}")
        return FundsReleased(cmd.table, cmd.amount)

    @rejected
    def not_seated(self, rejection: Rejection[SeatPlayer]) -> FundsReleased:
        """The seat was given up while the funds were on their way: they come back as they are."""
        return FundsReleased(rejection.command.table, rejection.command.stack)

    @applies
    def registered(self, event: Registered) -> None:
        self.name = event.name

    @applies
    def deposited(self, event: Deposited) -> None:
        self.bankroll += event.amount

    @applies
    def funds_reserved(self, event: FundsReserved) -> None:
        self.bankroll -= event.amount
        self.at_tables[event.table] = event.amount

    @applies
    def funds_released(self, event: FundsReleased) -> None:
        self.bankroll += event.amount
        self.at_tables.pop(event.table, None)

    def _require_registered(self) -> None:
        if not self.name:
            reject("nobody is registered under this name")
