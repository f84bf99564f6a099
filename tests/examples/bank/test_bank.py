"""The whole bank in one process: transfers arrive or come back, late ones are told, owners read."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from datetime import date
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from angzarr import App
from angzarr.examples.bank import statement_pb2 as pb
from angzarr.examples.bank.bank import app as whole
from angzarr.examples.bank.full import (
    Account,
    Close,
    Deposit,
    Open,
    Transfer,
    TransferDelayed,
    TransferReceived,
    TransferReturned,
    TransferSent,
    TransferSettled,
)
from angzarr.examples.bank.statement_pb2_grpc import StatementServiceStub
from angzarr.examples.bank.watch import PROMISED
from angzarr.testing import ManualClock

RENT = Transfer("rent", "bob", 70)
LATE_S = PROMISED.total_seconds()


class Bank:
    """A bank with an account of Alice's, 100 on it, and one of Bob's."""

    def __init__(self, app: App, clock: ManualClock) -> None:
        self.app = app
        self.clock = clock
        self.accounts = app.domain(Account)

    async def transfer(self, to: str = "bob", **options: Any) -> None:
        """Alice pays, and everything follows that is going to."""
        command = Transfer("rent", to, 70)
        await self.accounts.send("alice", command, correlation_id="rent", **options)
        await self.app.settled()

    async def pass_s(self, seconds: float) -> None:
        """Let time pass, and what is due be done."""
        self.clock.advance(seconds)
        await self.app.settled()

    async def happened(self, account: str) -> list[type]:
        """The classes of an account's events after its first two."""
        return [type(event.payload) async for event in self.accounts.events(account, first=2)]

    async def balances(self) -> tuple[int, int]:
        """Cents of Alice and of Bob."""
        states: list[Any] = [await self.accounts.state(name) for name in ("alice", "bob")]
        return states[0].balance_cents, states[1].balance_cents


@pytest.fixture
def made(tmp_path: Path) -> Callable[..., Bank]:
    """Makes a bank of the selected components."""

    def make(select: str = "*") -> Bank:
        path = tmp_path / "statement.sqlite"
        clock = ManualClock()
        app = App(
            *whole.definitions,
            store="memory://",
            config={"projection.projectors.statement.read_store": f"sqlite://{path}"},
            select=select,
            clock=clock,
        )
        return Bank(app, clock)

    return make


async def opened(bank: Bank) -> None:
    for name in "alice", "bob":
        await bank.accounts.send(name, Open(name.capitalize()))
        await bank.accounts.send(name, Deposit(100))


@pytest.fixture
async def bank(made: Callable[..., Bank]) -> AsyncIterator[Bank]:
    bank = made()
    async with bank.app:
        await opened(bank)
        yield bank


@pytest.fixture
async def slow_bank(made: Callable[..., Bank]) -> AsyncIterator[Bank]:
    """One in which nobody carries transfers."""
    bank = made("*,-saga:transfers")
    async with bank.app:
        await opened(bank)
        yield bank


@pytest.mark.spec("SAGA-2", "DEP-6")
async def test_a_transfer_arrives(bank: Bank):
    await bank.transfer()

    assert await bank.balances() == (30, 170)
    assert await bank.happened("alice") == [TransferSent, TransferSettled]
    assert await bank.happened("bob") == [TransferReceived]


@pytest.mark.spec("SYNC-1")
async def test_a_sender_may_wait_until_it_has_arrived(bank: Bank):
    await bank.accounts.send("alice", RENT, sync_mode="cascade")

    assert await bank.happened("alice") == [TransferSent, TransferSettled]


@pytest.mark.spec("COMP-1", "COMP-7")
async def test_a_transfer_to_nobody_comes_back(bank: Bank):
    await bank.transfer(to="nobody")

    assert await bank.balances() == (100, 100)
    assert await bank.happened("alice") == [TransferSent, TransferReturned]


async def test_a_transfer_to_a_closed_account_comes_back(bank: Bank):
    await bank.accounts.send("bob", Close(date(2024, 2, 29)))

    await bank.transfer()

    assert await bank.happened("alice") == [TransferSent, TransferReturned]


async def test_a_transfer_that_is_sent_twice_with_one_key_is_one(bank: Bank):
    await bank.transfer(idempotency="rent")

    await bank.transfer(idempotency="rent")

    assert await bank.balances() == (30, 170)


@pytest.mark.spec("TIMER-4")
async def test_the_sender_of_a_late_transfer_is_told_once(slow_bank: Bank):
    await slow_bank.transfer()

    await slow_bank.pass_s(LATE_S)
    await slow_bank.pass_s(LATE_S)

    assert await slow_bank.happened("alice") == [TransferSent, TransferDelayed]


async def test_nobody_is_told_before_the_promised_time(slow_bank: Bank):
    await slow_bank.transfer()

    await slow_bank.pass_s(LATE_S - 1)

    assert await slow_bank.happened("alice") == [TransferSent]


@pytest.mark.spec("TIMER-3")
@pytest.mark.parametrize("to", ["bob", "nobody"])
async def test_nobody_is_told_of_a_transfer_that_has_ended(bank: Bank, to: str):
    await bank.transfer(to)

    await bank.pass_s(LATE_S)

    assert TransferDelayed not in await bank.happened("alice")


@pytest.mark.spec("DEP-7")
async def test_the_statement_is_read_over_grpc_on_the_bank_s_port(bank: Bank):
    await bank.transfer()
    server = await bank.app.serve(port=0)

    async with grpc.aio.insecure_channel(server.addresses[0]) as channel:
        page = await StatementServiceStub(channel).GetStatement(
            pb.StatementRequest(account="alice")
        )
    await server.stop()

    assert [(line.text, line.amount_cents, line.balance_cents) for line in page.lines] == [
        ("Transfer to bob", -70, 30),
        ("Deposit", 100, 100),
        ("Opened for Alice", 0, 0),
    ]
    assert (page.balance.balance_cents, page.balance.in_transit_cents) == (30, 0)


@pytest.mark.spec("PROJ-16")
async def test_who_waits_for_it_reads_what_was_just_booked(bank: Bank):
    server = await bank.app.serve(port=0)

    async with grpc.aio.insecure_channel(server.addresses[0]) as channel:
        await bank.accounts.send("alice", Deposit(5), sync_mode="simple")
        page = await StatementServiceStub(channel).GetStatement(
            pb.StatementRequest(account="alice")
        )
    await server.stop()

    assert page.balance.balance_cents == 105


def test_the_bank_has_all_its_parts():
    assert set(whole.components()) >= {
        "aggregate:account",
        "saga:transfers",
        "process_manager:watch",
        "projector:statement",
        "query:statement",
    }
