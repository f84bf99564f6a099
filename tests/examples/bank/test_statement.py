"""Statements: the rows that events make, and what the query service answers of them."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import AsyncIterator
from datetime import date
from pathlib import Path

import grpc
import grpc.aio
import pytest

from angzarr.config import load
from angzarr.cover import root_of
from angzarr.examples.bank import statement_pb2 as pb
from angzarr.examples.bank.full import (
    Closed,
    Deposited,
    Opened,
    TransferDelayed,
    TransferReceived,
    TransferReturned,
    TransferSent,
    TransferSettled,
    Withdrawn,
)
from angzarr.examples.bank.statement import Statement
from angzarr.examples.bank.statement_pb2_grpc import StatementServiceStub
from angzarr.projectors import query_rpcs
from angzarr.rpc.server import Server, ServerOptions
from angzarr.testing import given
from angzarr.testing.reactions import START

OPENED = Opened("Alice", 0)
SENT = TransferSent("rent", "bob", 70, "Alice")
LINES = "SELECT number, text, reference, amount_cents, balance_cents FROM line"
ACCOUNT = "SELECT owner, balance_cents, in_transit_cents, is_closed FROM account"


def test_each_movement_is_a_line_with_the_balance_after_it():
    given(Statement, OPENED, Deposited(500)).when(Withdrawn(200)).then_rows(
        LINES,
        (0, "Opened for Alice", "", 0, 0),
        (1, "Deposit", "", 500, 500),
        (2, "Withdrawal", "", -200, 300),
    )


def test_lines_of_two_accounts_are_apart():
    statement = given(Statement).when(OPENED, Deposited(5), root="alice")

    statement.when(Opened("Bob", 0), Deposited(7), root="bob").then_rows(
        "SELECT owner, balance_cents FROM account ORDER BY owner", ("Alice", 5), ("Bob", 7)
    )


def test_what_is_in_transit_is_not_on_the_account():
    given(Statement, OPENED, Deposited(500)).when(SENT).then_rows(ACCOUNT, ("Alice", 430, 70, 0))


def test_a_settled_transfer_is_in_transit_no_more():
    given(Statement, OPENED, SENT).when(TransferSettled("rent", 70)).then_rows(
        ACCOUNT, ("Alice", -70, 0, 0)
    )


def test_a_settled_transfer_has_the_line_of_its_sending():
    given(Statement, OPENED).when(SENT, TransferSettled("rent", 70)).then_rows(
        f"{LINES} WHERE reference = 'rent'", (1, "Transfer to bob", "rent", -70, -70)
    )


def test_a_transfer_that_is_given_back_has_a_line_for_that():
    given(Statement, OPENED, SENT).when(TransferReturned("rent", 70, "no such account")).then_rows(
        f"{LINES} WHERE number = 2", (2, "Given back: no such account", "rent", 70, 0)
    ).then_rows(ACCOUNT, ("Alice", 0, 0, 0))


def test_a_delay_is_a_line_without_an_amount():
    given(Statement, OPENED, SENT).when(TransferDelayed("rent")).then_rows(
        f"{LINES} WHERE number = 2", (2, "Transfer is late", "rent", 0, -70)
    )


def test_a_transfer_that_is_received_names_who_sent_it():
    given(Statement, OPENED).when(TransferReceived("pay", root_of("bob"), "Bob", 9)).then_rows(
        f"{LINES} WHERE number = 1", (1, "Transfer from Bob", "pay", 9, 9)
    )


def test_a_closed_account_is_told_apart():
    given(Statement, OPENED).when(Closed(date(2024, 2, 29))).then_rows(ACCOUNT, ("Alice", 0, 0, 1))


class Bank:
    """A read model in a file, and its query service behind a port."""

    def __init__(self, path: Path, stub: StatementServiceStub) -> None:
        db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._projecting = given(Statement).with_db(db)
        self.stub = stub

    def project(self, *events: object, root: str) -> None:
        self._projecting.when(*events, root=root)

    async def statement(self, account: str, size: int = 0, token: str = "") -> pb.StatementPage:
        request = pb.StatementRequest(account=account, page_size=size, page_token=token)
        return await self.stub.GetStatement(request)

    async def balances(self, size: int = 0, token: str = "") -> pb.BalancesPage:
        return await self.stub.ListBalances(pb.BalancesRequest(page_size=size, page_token=token))

    def close(self) -> None:
        assert isinstance(self._projecting.db, sqlite3.Connection)
        self._projecting.db.close()


@pytest.fixture
async def bank(tmp_path: Path) -> AsyncIterator[Bank]:
    path = tmp_path / "statement.sqlite"
    store = Statement.projector_table().read_store.at(path)
    await (await store.open("statement")).close()
    config = load(code={"projection.projectors.statement.read_store": f"sqlite://{path}"})
    server = Server(rpcs=query_rpcs(Statement, config), options=ServerOptions(port=0, grace_s=0))
    [address] = await server.start()
    async with grpc.aio.insecure_channel(address) as channel:
        made = Bank(path, StatementServiceStub(channel))
        with contextlib.closing(made):
            yield made
    await server.stop()


@pytest.mark.spec("DEP-7")
async def test_a_statement_is_served_on_the_port(bank: Bank):
    bank.project(OPENED, Deposited(500), root="alice")

    page = await bank.statement("alice")

    assert page.balance == pb.Balance(
        account=root_of("alice"), owner="Alice", balance_cents=500, in_transit_cents=0
    )
    opened, deposit = (
        pb.Line(number=0, text="Opened for Alice"),
        pb.Line(number=1, text="Deposit", amount_cents=500, balance_cents=500),
    )
    for line in opened, deposit:
        line.booked_at.FromDatetime(START)
    assert list(page.lines) == [deposit, opened]
    assert page.next_page_token == ""


async def test_an_account_that_nobody_opened_has_no_statement(bank: Bank):
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await bank.statement("nobody")

    assert caught.value.code() is grpc.StatusCode.NOT_FOUND
    assert caught.value.details() == "no account nobody"


@pytest.mark.parametrize("size", [1, 2, 3, 100])
async def test_pages_of_a_statement_join_to_all_of_it(bank: Bank, size: int):
    bank.project(OPENED, *map(Deposited, range(1, 7)), root="alice")

    lines, token = [], "first"
    while token:
        page = await bank.statement("alice", size, "" if token == "first" else token)
        assert 0 < len(page.lines) <= size
        lines += page.lines
        token = page.next_page_token

    assert [line.number for line in lines] == [6, 5, 4, 3, 2, 1, 0]


@pytest.mark.parametrize(("asked", "given_"), [(0, 20), (101, 100)])
async def test_a_page_has_a_limit(bank: Bank, asked: int, given_: int):
    bank.project(OPENED, *map(Deposited, range(1, 121)), root="alice")

    page = await bank.statement("alice", asked)

    assert len(page.lines) == given_


@pytest.mark.parametrize("size", [1, 2, 3, 100])
async def test_pages_of_balances_join_to_all_of_them(bank: Bank, size: int):
    for root, owner in ("a", "Carol"), ("b", "Bob"), ("c", "Bob"), ("d", "B/d"):
        bank.project(Opened(owner, 0), root=root)

    owners, token = [], "first"
    while token:
        page = await bank.balances(size, "" if token == "first" else token)
        assert 0 < len(page.balances) <= size
        owners += [balance.owner for balance in page.balances]
        token = page.next_page_token

    assert owners == ["B/d", "Bob", "Bob", "Carol"]


@pytest.mark.parametrize("token", ["alice", "-1", "1.5"])
async def test_a_token_of_nobodys_is_wrong_for_a_statement(bank: Bank, token: str):
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await bank.statement("alice", token=token)

    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_a_token_of_nobodys_is_wrong_for_balances(bank: Bank):
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await bank.balances(token="Alice/xyz")

    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
