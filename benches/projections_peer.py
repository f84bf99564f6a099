"""The statement of `projections.py` the way of `eventsourcing` 9.5: its own projection runner.

Its SQLite recorder can't be subscribed to, so the application's events are in its in-memory
recorder, and the view is a SQLite tracking recorder, which commits rows and position together.
"""

from __future__ import annotations

import pathlib
import sqlite3
from abc import abstractmethod
from uuid import UUID

from eventsourcing.application import Application
from eventsourcing.dispatch import singledispatchmethod
from eventsourcing.domain import Aggregate, event
from eventsourcing.persistence import ApplicationRecorder, Tracking, TrackingRecorder
from eventsourcing.projection import Projection, ProjectionRunner
from eventsourcing.sqlite import SQLiteConnection, SQLiteDatastore, SQLiteTrackingRecorder

SCHEMA = (
    "CREATE TABLE IF NOT EXISTS line (account BLOB, sequence INTEGER, cents INTEGER)",
    "CREATE TABLE IF NOT EXISTS balance (account BLOB PRIMARY KEY, cents INTEGER)",
)
LINE = "INSERT INTO line VALUES (?, ?, ?)"
BALANCE = (
    "INSERT INTO balance VALUES (?, ?) "
    "ON CONFLICT (account) DO UPDATE SET cents = cents + excluded.cents"
)
WAIT_S = 120.0


class Account(Aggregate):
    @event("Opened")
    def __init__(self) -> None:
        self.balance_cents = 0

    @event("Deposited")
    def deposit(self, amount_cents: int) -> None:
        self.balance_cents += amount_cents


def filled(accounts: int, each: int) -> ApplicationRecorder:
    """So many accounts with so many deposits each, mixed in its log."""
    bank: Application[UUID] = Application()
    made = [Account() for _ in range(accounts)]
    bank.save(*made)
    for _ in range(each):
        for account in made:
            account.deposit(5)
        bank.save(*made)
    return bank.recorder


class View(TrackingRecorder):
    @abstractmethod
    def add(self, account: UUID, version: int, amount_cents: int, tracking: Tracking) -> None: ...


class SqliteView(SQLiteTrackingRecorder, View):
    """As it comes: each transaction is flushed."""

    def construct_create_table_statements(self) -> list[str]:
        return [*super().construct_create_table_statements(), *SCHEMA]

    def add(self, account: UUID, version: int, amount_cents: int, tracking: Tracking) -> None:
        with self.datastore.transaction(commit=True) as cursor:
            cursor.execute(LINE, (account.bytes, version, amount_cents))
            cursor.execute(BALANCE, (account.bytes, amount_cents))
            self._insert_tracking(cursor, tracking)


class UnflushedView(SqliteView):
    """With SQLite set as ours is: the write-ahead log is flushed by checkpoints."""

    def __init__(self, datastore: SQLiteDatastore, **options: object) -> None:
        connect = datastore.pool._create_connection

        def connected() -> SQLiteConnection:
            made = connect()
            made._sqlite_conn.execute("PRAGMA synchronous = NORMAL")
            return made

        datastore.pool._create_connection = connected
        super().__init__(datastore, **options)


class Statement(Projection[View]):
    name = "statement"

    @singledispatchmethod
    def process_event(self, domain_event: object, tracking: Tracking) -> None:
        self.view.insert_tracking(tracking)

    @process_event.register
    def _(self, domain_event: Account.Deposited, tracking: Tracking) -> None:  # type: ignore[name-defined]
        self.view.add(
            domain_event.originator_id,
            domain_event.originator_version,
            domain_event.amount_cents,
            tracking,
        )


def project(
    recorder: ApplicationRecorder, view: type[View], model: pathlib.Path, count: int
) -> int:
    """Run the projection into a new file until it has come to notification `count`; lines in it."""

    class Bank(Application[UUID]):
        def construct_recorder(self) -> ApplicationRecorder:
            return recorder

    environment = {
        "STATEMENT_PERSISTENCE_MODULE": "eventsourcing.sqlite",
        "STATEMENT_SQLITE_DBNAME": str(model),
    }
    with ProjectionRunner(
        application_class=Bank, projection_class=Statement, view_class=view, env=environment
    ) as runner:
        runner.wait(count, timeout=WAIT_S)
        with sqlite3.connect(model) as db:
            return db.execute("SELECT count(*) FROM line").fetchone()[0]
