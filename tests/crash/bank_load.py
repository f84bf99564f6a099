"""Clients of the bank: they open accounts and move money, and ask again until they are answered."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from itertools import count
from typing import Final

from bank_app import ALL, NONE, SOME, Account, Open, Transfer
from bank_cluster import Cluster
from bank_history import Wanted, WantedAccount, WantedTransfer, correlation_of

from angzarr.caller import Domain
from angzarr.calls import Sync
from angzarr.errors import AngzarrError, CommandRejected, RemoteError, StoreUnavailable

CLIENT_COUNT: Final = 4
SYNCS: Final[tuple[Sync, ...]] = ("async", "async", "simple", "cascade")
NOBODY: Final = "nobody"
"""An account that is never opened."""


class Load:
    """What clients ask of one store. answer_count: of the running round."""

    def __init__(self, cluster: Cluster, chance: random.Random) -> None:
        self.wanted = Wanted()
        self.answer_count = 0
        self._cluster = cluster
        self._chance = chance
        self._numbers = count()
        self._answered = asyncio.Condition()
        self._is_done = asyncio.Event()

    async def run(self, transfer_count: int) -> None:
        """Open accounts, then make transfers, by several clients at once."""
        self.answer_count = 0
        self._is_done.clear()
        await self._open_accounts()
        left = iter(range(transfer_count))

        async def client() -> None:
            for _ in left:
                await self._transfer(self._new_transfer())

        async with asyncio.TaskGroup() as group:
            for _ in range(CLIENT_COUNT):
                group.create_task(client())
        self._is_done.set()

    async def done(self) -> None:
        """Wait until this round's requests are answered."""
        await self._is_done.wait()

    async def reached(self, answer_count: int) -> None:
        """Wait until so many requests of this round are answered."""
        async with self._answered:
            await self._answered.wait_for(lambda: self.answer_count >= answer_count)

    async def _open_accounts(self) -> None:
        """One that takes all money, one that takes none, one that takes some and is not audited."""
        async with asyncio.TaskGroup() as group:
            for takes in (ALL, NONE, SOME):
                account = WantedAccount(
                    f"account-{len(self.wanted.accounts)}",
                    cents=1_000 + self._chance.randrange(1_000),
                    takes=takes,
                    is_audited=takes != SOME,
                )
                self.wanted.accounts[account.name] = account
                group.create_task(self._open(account))

    def _new_transfer(self) -> WantedTransfer:
        names = list(self.wanted.accounts)
        source, to = self._chance.sample(names, 2)
        if self._chance.random() < 0.05:
            to = NOBODY
        transfer = WantedTransfer(
            next(self._numbers), source, to, cents=1 + self._chance.randrange(300)
        )
        self.wanted.transfers[transfer.number] = transfer
        return transfer

    async def _open(self, account: WantedAccount) -> None:
        command = Open(account.cents, account.takes, account.is_audited)

        async def ask(domain: Domain) -> bool:
            sent = await domain.send(account.name, command, idempotency=account.name)
            return bool(sent.events)

        assert await self._answer(ask), account

    async def _transfer(self, transfer: WantedTransfer) -> None:
        command = Transfer(transfer.number, transfer.to, transfer.cents)
        correlation_id = correlation_of(transfer.number)
        sync_mode = self._chance.choice(SYNCS)

        async def ask(domain: Domain) -> bool:
            try:
                await domain.send(
                    transfer.source,
                    command,
                    idempotency=correlation_id,
                    correlation_id=correlation_id,
                    sync_mode=sync_mode,
                )
            except CommandRejected:
                return False  # for want of money
            return True

        transfer.is_answered = await self._answer(ask)

    async def _answer(self, ask: Callable[[Domain], Awaitable[bool]]) -> bool:
        """Ask until there is an answer, as clients with a key may; whether it has happened."""
        life = 0
        while True:
            connection = await self._cluster.connection(after=life)
            try:
                has_happened = await ask(connection.caller.domain(Account))
            except AngzarrError as error:
                if is_reaction_failed(error):
                    has_happened = True
                elif is_away(error):
                    life = connection.number
                    continue
                else:
                    raise
            async with self._answered:
                self.answer_count += 1
                self._answered.notify_all()
            return has_happened


def is_reaction_failed(error: AngzarrError) -> bool:
    """The command was executed, and what followed from it in its request was not (SYNC-6)."""
    return error.kind == "reaction_failed"


def is_away(error: AngzarrError) -> bool:
    """The server is gone, or was when it was asked."""
    return isinstance(error, StoreUnavailable) or (
        isinstance(error, RemoteError) and error.code in ("UNAVAILABLE", "CANCELLED")
    )
