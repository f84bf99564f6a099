"""An account whose deposits say on stdout that they began, and end at a line on stdin."""

import asyncio
import sys
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
    async def deposit(self, cmd: Deposit) -> Deposited:
        print("begun", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        return Deposited(cmd.amount_cents)

    @applies
    def deposited(self, event: Deposited) -> None:
        self.balance_cents += event.amount_cents
