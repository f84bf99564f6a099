"""An account in fifteen lines. Run it with `angzarr serve app.py`."""

from dataclasses import dataclass

from angzarr import Aggregate, applies, command


@dataclass(frozen=True)
class Deposit:
    amount_cents: int


@dataclass(frozen=True)
class Deposited:
    amount_cents: int


class Account(Aggregate, domain="account"):
    balance_cents: int = 0

    @command
    def deposit(self, cmd: Deposit) -> Deposited:
        return Deposited(cmd.amount_cents)

    @applies
    def deposited(self, event: Deposited) -> None:
        self.balance_cents += event.amount_cents
