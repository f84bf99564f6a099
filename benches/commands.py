"""Benches of handlers and the command path in process, against `eventsourcing` on SQLite."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Literal

from eventsourcing.application import Application
from eventsourcing.domain import Aggregate as PeerAggregate
from eventsourcing.domain import event

from angzarr import App
from angzarr.examples.bank.app import Account, Deposit
from benches.harness import OURS, Bench, Run, Target, rate, scratch
from benches.stores import IN_FLIGHT, Loop

EVENTS = 100
REBUILDS = 200
EACH = 50
"""Commands to one account, in every contender."""
COMMANDS = EACH * IN_FLIGHT


class PeerAccount(PeerAggregate):
    """The same account, the peer's way."""

    @event("Opened")
    def __init__(self) -> None:
        self.balance_cents = 0

    @event("Deposited")
    def deposit(self, amount_cents: int) -> None:
        self.balance_cents += amount_cents


class PeerBank(Application):
    """Load, decide, save."""

    def open(self) -> uuid.UUID:
        account = PeerAccount()
        self.save(account)
        return account.id

    def deposit(self, account_id: uuid.UUID, amount_cents: int) -> None:
        account = self.repository.get(account_id)
        account.deposit(amount_cents)
        self.save(account)


@contextlib.contextmanager
def apps() -> Iterator[tuple[Loop, App, PeerBank]]:
    """Ours on RocksDB, the peer on a SQLite file, both on the disk under test."""
    with scratch() as folder, contextlib.closing(Loop()) as loop:
        app = App(Account, store=f"rocksdb://{folder / 'ours'}")
        loop(app.__aenter__())
        environment = {
            "PERSISTENCE_MODULE": "eventsourcing.sqlite",
            "SQLITE_DBNAME": str(folder / "peer.db"),
            "SQLITE_LOCK_TIMEOUT": "60",
        }
        peer = PeerBank(env=environment)
        try:
            yield loop, app, peer
        finally:
            peer.close()
            loop(app.__aexit__(None, None, None))


@contextlib.contextmanager
def rebuild100() -> Iterator[dict[str, Run]]:
    with apps() as (loop, app, peer):
        accounts = app.domain(Account)

        async def prepare() -> None:
            for _ in range(EVENTS):
                await accounts.send("rebuilt", Deposit(1))

        loop(prepare())
        account_id = peer.open()
        for _ in range(EVENTS - 1):
            peer.deposit(account_id, 1)

        async def rebuild() -> None:
            for _ in range(REBUILDS):
                state = await accounts.state("rebuilt")
                assert state.balance_cents == EVENTS

        def rebuild_peer() -> None:
            for _ in range(REBUILDS // 10):
                assert peer.repository.get(account_id).balance_cents == EVENTS - 1

        yield {
            OURS: lambda: rate(REBUILDS, lambda: loop(rebuild())),
            "eventsourcing": lambda: rate(REBUILDS // 10, rebuild_peer),
        }


@contextlib.contextmanager
def command64() -> Iterator[dict[str, Run]]:
    """Load, decide, durable append, on fresh accounts each round: streams stay short for both.

    Ours checks the sequence as the peer does, by `merge="aggregate_handles"`; a plain send, which
    also keeps an idempotency key, is shown beside it. The peer runs on one thread and on 64.
    """
    with apps() as (loop, app, peer):
        accounts = app.domain(Account)

        async def commands(merge: Literal["aggregate_handles"] | None) -> None:
            async def work() -> None:
                root = uuid.uuid4()
                for _ in range(EACH):
                    await accounts.send(root, Deposit(1), merge=merge)

            await asyncio.gather(*(work() for _ in range(IN_FLIGHT)))

        def peer_work(accounts: int) -> None:
            for _ in range(accounts):
                account_id = peer.open()
                for _ in range(EACH):
                    peer.deposit(account_id, 1)

        def peer_threads() -> None:
            with ThreadPoolExecutor(IN_FLIGHT) as pool:
                for done in [pool.submit(peer_work, 1) for _ in range(IN_FLIGHT)]:
                    done.result()

        yield {
            OURS: lambda: rate(COMMANDS, lambda: loop(commands("aggregate_handles"))),
            "angzarr, plain send": lambda: rate(COMMANDS, lambda: loop(commands(None))),
            "eventsourcing": lambda: rate(6 * EACH, lambda: peer_work(6)),
            "eventsourcing 64 threads": lambda: rate(COMMANDS, peer_threads),
        }


BENCHES = [
    Bench(
        "rebuild100",
        "100-event aggregate rebuilt through Python handlers",
        "rebuilds/s",
        "commands",
        rebuild100,
        (Target("eventsourcing", 20),),
    ),
    Bench(
        "command64",
        "command in process, 64 concurrent",
        "commands/s",
        "commands",
        command64,
        (Target("eventsourcing|eventsourcing 64 threads", 5),),
    ),
]
