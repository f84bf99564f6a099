"""What owners read: a line for each movement of their account, and what is on it.

The projector writes rows, the query service reads them. They share the file and nothing else, so
each may run in a process of its own, and its clients can't tell.
"""

# gRPC's generated code has no types.
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime, timedelta
from typing import Final

import grpc

from angzarr import Projector, Service, Sqlite, Trigger, projects
from angzarr.cover import root_of
from angzarr.errors import InvalidInput
from angzarr.examples.bank import statement_pb2 as pb
from angzarr.examples.bank.full import (
    Account,
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
from angzarr.examples.bank.statement_pb2_grpc import (
    StatementServiceServicer,
    add_StatementServiceServicer_to_server,
)
from angzarr.readstores import SqliteReader

PAGE_SIZE: Final = 20
PAGE_SIZE_MAX: Final = 100
A_TOKEN: Final = "a next_page_token"
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS account (
    root BLOB PRIMARY KEY,
    owner TEXT NOT NULL DEFAULT '',
    balance_cents INTEGER NOT NULL DEFAULT 0,
    in_transit_cents INTEGER NOT NULL DEFAULT 0,
    is_closed INTEGER NOT NULL DEFAULT FALSE
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS account_by_owner ON account (owner, root);
CREATE TABLE IF NOT EXISTS line (
    account BLOB NOT NULL,
    number INTEGER NOT NULL,
    booked_at_us INTEGER NOT NULL,
    text TEXT NOT NULL,
    reference TEXT NOT NULL,
    amount_cents INTEGER NOT NULL,
    balance_cents INTEGER NOT NULL,
    PRIMARY KEY (account, number)
) WITHOUT ROWID;
"""


class StatementQueries(StatementServiceServicer):
    """Answers from the rows alone. Each answer is one state of them."""

    def __init__(self, reader: SqliteReader) -> None:
        self._reader = reader

    def GetStatement(
        self, request: pb.StatementRequest, context: grpc.ServicerContext
    ) -> pb.StatementPage:
        root, size = root_of(request.account), _size(request.page_size)
        before = _number(request.page_token)
        with self._reader.reading() as db:
            account = db.execute("SELECT * FROM account WHERE root = ?", (root,)).fetchone()
            if account is None:
                context.abort(grpc.StatusCode.NOT_FOUND, f"no account {request.account}")
            lines = db.execute(
                "SELECT * FROM line WHERE account = ? AND (? IS NULL OR number < ?) "
                "ORDER BY number DESC LIMIT ?",
                (root, before, before, size + 1),
            ).fetchall()
        page = pb.StatementPage(balance=_balance(account), lines=map(_line, lines[:size]))
        if len(lines) > size:
            page.next_page_token = str(page.lines[-1].number)
        return page

    def ListBalances(
        self, request: pb.BalancesRequest, context: grpc.ServicerContext
    ) -> pb.BalancesPage:
        size = _size(request.page_size)
        found = self._reader.rows(
            "SELECT * FROM account WHERE (owner, root) > (?, ?) ORDER BY owner, root LIMIT ?",
            *(*_owner_and_root(request.page_token), size + 1),
        )
        page = pb.BalancesPage(balances=map(_balance, found[:size]))
        if len(found) > size:
            last = page.balances[-1]
            page.next_page_token = f"{last.owner}/{last.account.hex()}"
        return page


class Statement(
    Projector,
    source=Account,
    read_store=Sqlite("statement.sqlite", SCHEMA),
    query=Service(add_StatementServiceServicer_to_server, StatementQueries),
    synchronous=True,
):
    """Money in transit is on no account; TransferSettled says that another one has it."""

    @projects
    def opened(self, event: Opened, at: Trigger, db: sqlite3.Connection) -> None:
        _book(db, at, f"Opened for {event.owner}")
        db.execute("UPDATE account SET owner = ? WHERE root = ?", (event.owner, at.root))

    @projects
    def deposited(self, event: Deposited, at: Trigger, db: sqlite3.Connection) -> None:
        _book(db, at, "Deposit", amount_cents=event.amount_cents)

    @projects
    def withdrawn(self, event: Withdrawn, at: Trigger, db: sqlite3.Connection) -> None:
        _book(db, at, "Withdrawal", amount_cents=-event.amount_cents)

    @projects
    def sent(self, event: TransferSent, at: Trigger, db: sqlite3.Connection) -> None:
        _move(db, at, in_transit_cents=event.amount_cents)
        _book(db, at, f"Transfer to {event.to}", event.reference, amount_cents=-event.amount_cents)

    @projects
    def received(self, event: TransferReceived, at: Trigger, db: sqlite3.Connection) -> None:
        text = f"Transfer from {event.sender_name}"
        _book(db, at, text, event.reference, amount_cents=event.amount_cents)

    @projects
    def settled(self, event: TransferSettled, at: Trigger, db: sqlite3.Connection) -> None:
        _move(db, at, in_transit_cents=-event.amount_cents)

    @projects
    def returned(self, event: TransferReturned, at: Trigger, db: sqlite3.Connection) -> None:
        _move(db, at, in_transit_cents=-event.amount_cents)
        text = f"Given back: {event.reason}"
        _book(db, at, text, event.reference, amount_cents=event.amount_cents)

    @projects
    def delayed(self, event: TransferDelayed, at: Trigger, db: sqlite3.Connection) -> None:
        _book(db, at, "Transfer is late", event.reference)

    @projects
    def closed(self, event: Closed, at: Trigger, db: sqlite3.Connection) -> None:
        _book(db, at, "Closed")
        db.execute("UPDATE account SET is_closed = TRUE WHERE root = ?", (at.root,))


def _book(
    db: sqlite3.Connection, at: Trigger, text: str, reference: str = "", *, amount_cents: int = 0
) -> None:
    """Change the balance, and write a line of it. `at.sequence` is the line's number."""
    _move(db, at, amount_cents=amount_cents)
    booked_at_us = (at.created_at - EPOCH) // timedelta(microseconds=1)
    db.execute(
        "INSERT INTO line SELECT root, ?, ?, ?, ?, ?, balance_cents FROM account WHERE root = ?",
        (at.sequence, booked_at_us, text, reference, amount_cents, at.root),
    )


def _move(
    db: sqlite3.Connection, at: Trigger, *, amount_cents: int = 0, in_transit_cents: int = 0
) -> None:
    db.execute(
        "INSERT INTO account (root, balance_cents, in_transit_cents) VALUES (?, ?, ?) "
        "ON CONFLICT DO UPDATE SET balance_cents = balance_cents + excluded.balance_cents, "
        "in_transit_cents = in_transit_cents + excluded.in_transit_cents",
        (at.root, amount_cents, in_transit_cents),
    )


def _line(row: sqlite3.Row) -> pb.Line:
    line = pb.Line(
        number=row["number"],
        text=row["text"],
        reference=row["reference"],
        amount_cents=row["amount_cents"],
        balance_cents=row["balance_cents"],
    )
    line.booked_at.FromMicroseconds(row["booked_at_us"])
    return line


def _balance(row: sqlite3.Row) -> pb.Balance:
    return pb.Balance(
        account=row["root"],
        owner=row["owner"],
        balance_cents=row["balance_cents"],
        in_transit_cents=row["in_transit_cents"],
        is_closed=bool(row["is_closed"]),
    )


def _size(asked: int) -> int:
    return min(asked, PAGE_SIZE_MAX) or PAGE_SIZE


def _number(page_token: str) -> int | None:
    """The number of the last line before the page; None for the first page."""
    if page_token and not page_token.isdecimal():
        raise InvalidInput("page_token", A_TOKEN, page_token)
    return int(page_token) if page_token else None


def _owner_and_root(page_token: str) -> tuple[str, bytes]:
    """Of the last account before the page; empty for the first page."""
    owner, _, root = page_token.rpartition("/")
    try:
        return owner, bytes.fromhex(root)
    except ValueError as error:
        raise InvalidInput("page_token", A_TOKEN, page_token) from error
