"""An account whose deposits wait: until a test that saw one begin lets it end."""

import asyncio
import os
from dataclasses import dataclass
from pathlib import Path

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
        gate = Path(os.environ["GATE"])
        (gate / "begun").touch()
        while not (gate / "open").exists():
            await asyncio.sleep(0.005)
        return Deposited(cmd.amount_cents)

    @applies
    def deposited(self, event: Deposited) -> None:
        self.balance_cents += event.amount_cents
