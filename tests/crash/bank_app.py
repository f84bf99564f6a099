"""The bank that transfer tests kill: money moves between accounts over a saga, a process manager
watches each transfer, and two projectors tell of them.

No handler looks whether it has seen a transfer before: that each is executed once is the package's
promise, and it shows in the events if it is broken.
"""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import ClassVar, Final

from angzarr import (
    Aggregate,
    App,
    Cancel,
    ProcessManager,
    Projector,
    Record,
    Rejection,
    Saga,
    Schedule,
    Send,
    Sqlite,
    Trigger,
    applies,
    command,
    handles,
    projects,
    reject,
    rejected,
    routes,
    wakes,
)

LEDGER_COUNT: Final = 3
"""Ledgers that all transfers share, so that their commands meet at one stream."""
LATE_EVERY: Final = 3
"""Every third transfer is noted by a command that the saga schedules."""
LATE: Final = timedelta(milliseconds=15)
NAG: Final = timedelta(milliseconds=25)
CLOSE: Final = timedelta(milliseconds=5)
ALL: Final = "all"
NONE: Final = "none"
SOME: Final = "some"
"""What accounts take. One that takes some says at random, so it may change its mind when it is
asked again."""
STATEMENT_FILE: Final = Path("statement.sqlite")
FEED_FILE: Final = Path("feed.sqlite")


@dataclass(frozen=True)
class Open:
    cents: int
    takes: str
    is_audited: bool


@dataclass(frozen=True)
class Transfer:
    transfer: int
    to: str
    cents: int


@dataclass(frozen=True)
class Receive:
    transfer: int
    cents: int


@dataclass(frozen=True)
class Refund:
    transfer: int
    cents: int


@dataclass(frozen=True)
class Note:
    transfer: int
    word: str


@dataclass(frozen=True)
class Opened:
    cents: int
    takes: str
    is_audited: bool


@dataclass(frozen=True)
class Sent:
    transfer: int
    to: str
    cents: int


@dataclass(frozen=True)
class Received:
    transfer: int
    cents: int


@dataclass(frozen=True)
class Returned:
    """by: who made up for it, the saga or the account itself."""

    transfer: int
    cents: int
    by: str


@dataclass(frozen=True)
class Booked:
    transfer: int


@dataclass(frozen=True)
class Noted:
    transfer: int
    word: str


@dataclass(frozen=True)
class Audited:
    cents: int


@dataclass(frozen=True)
class Begun:
    transfer: int


@dataclass(frozen=True)
class Ended:
    transfer: int
    outcome: str


@dataclass(frozen=True)
class Nagged:
    transfer: int


@dataclass(frozen=True)
class Closed:
    transfer: int


@dataclass(frozen=True)
class Nag:
    transfer: int


@dataclass(frozen=True)
class Close:
    transfer: int


EVENTS: Final = {
    "account": (Opened, Sent, Received, Returned),
    "ledger": (Booked, Noted, Audited),
    "watch": (Begun, Ended, Nagged, Closed),
}
"""Event classes by domain."""


def ledger_of(transfer: int) -> str:
    """The ledger that a transfer is noted in."""
    return f"ledger-{transfer % LEDGER_COUNT}"


def is_noted_late(transfer: int) -> bool:
    """Whether the saga schedules a note for the transfer."""
    return transfer % LATE_EVERY == 0


class Transfers(Saga, source="account", targets=["account", "ledger"]):
    """Every second refused transfer is refunded by the saga, the others by the account itself."""

    @handles
    def on_sent(self, event: Sent) -> Iterator[Send | Record | Schedule]:
        ledger = ledger_of(event.transfer)
        yield Send(Receive(event.transfer, event.cents), domain="account")
        yield Record(Booked(event.transfer), domain="ledger", root=ledger)
        if is_noted_late(event.transfer):
            note = Send(Note(event.transfer, "late"), domain="ledger", root=ledger)
            yield Schedule(f"late-{event.transfer}", note, after=LATE)

    @routes(domain="account")
    def to_receiver(self, event: Sent) -> str:
        return event.to

    @rejected
    def refused(self, rejection: Rejection[Receive]) -> Send | None:
        refused = rejection.command
        if refused.transfer % 2:
            return None
        return Send(Refund(refused.transfer, refused.cents), domain="account")


class Audit(Saga, source="account", targets=["ledger"]):
    """It fails for good on accounts that are not audited, so that there are dead letters."""

    @handles
    def on_opened(self, event: Opened, at: Trigger) -> Record:
        if not event.is_audited:
            reject("nobody has looked at it")
        return Record(Audited(event.cents), domain="ledger", root=at.root)


class Account(Aggregate, domain="account", sagas=[Transfers, Audit]):
    """takes: which money it takes from others, ALL, SOME or NONE; "" until it is opened."""

    takes: str = ""
    balance_cents: int = 0

    @command
    def open(self, cmd: Open) -> Opened:
        if self.takes:
            reject("it is open")
        return Opened(cmd.cents, cmd.takes, cmd.is_audited)

    @command
    def transfer(self, cmd: Transfer) -> Sent:
        if cmd.cents > self.balance_cents:
            reject(f"there are {self.balance_cents} cents only")
        return Sent(cmd.transfer, cmd.to, cmd.cents)

    @command
    def receive(self, cmd: Receive) -> Received:
        if self.takes not in (ALL, SOME) or (self.takes == SOME and random.random() < 0.5):
            reject("it takes no money")
        return Received(cmd.transfer, cmd.cents)

    @command
    def refund(self, cmd: Refund) -> Returned:
        return Returned(cmd.transfer, cmd.cents, "saga")

    @rejected
    def refused(self, rejection: Rejection[Receive]) -> Returned:
        return Returned(rejection.command.transfer, rejection.command.cents, "account")

    @applies
    def opened(self, event: Opened) -> None:
        self.takes = event.takes
        self.balance_cents += event.cents

    @applies
    def sent(self, event: Sent) -> None:
        self.balance_cents -= event.cents

    @applies
    def received(self, event: Received) -> None:
        self.balance_cents += event.cents

    @applies
    def returned(self, event: Returned) -> None:
        self.balance_cents += event.cents


class Ledger(Aggregate, domain="ledger"):
    """What was noted of transfers. count: of all its events."""

    count: int = 0

    @command
    def note(self, cmd: Note) -> Noted:
        return Noted(cmd.transfer, cmd.word)

    @applies
    def noted(self, event: Noted) -> None:
        self.count += 1

    @applies
    def booked(self, event: Booked) -> None:
        self.count += 1

    @applies
    def audited(self, event: Audited) -> None:
        self.count += 1


class Watch(ProcessManager, domain="watch", source="account", targets=["ledger"]):
    """One workflow a transfer, whichever of its events comes first. It nags while the money is on
    its way, and closes the transfer when it has arrived, both by timers.
    """

    is_begun: bool = False
    is_ended: bool = False

    @handles
    def on_sent(self, event: Sent) -> Iterator[Begun | Schedule]:
        yield Begun(event.transfer)
        if self.is_ended:
            yield Schedule("close", Close(event.transfer), after=CLOSE)
        else:
            yield Schedule("nag", Nag(event.transfer), after=NAG)

    @handles
    def on_received(self, event: Received) -> Iterator[Ended | Schedule | Cancel]:
        yield from self._end(event.transfer, "received")

    @handles
    def on_returned(self, event: Returned) -> Iterator[Ended | Schedule | Cancel]:
        yield from self._end(event.transfer, "returned")

    @wakes
    def nag(self, payload: Nag) -> Nagged | None:
        return None if self.is_ended else Nagged(payload.transfer)

    @wakes
    def close(self, payload: Close) -> Iterator[Closed | Send]:
        yield Closed(payload.transfer)
        note = Note(payload.transfer, "closed")
        yield Send(note, domain="ledger", root=ledger_of(payload.transfer))

    @applies
    def begun(self, event: Begun) -> None:
        self.is_begun = True

    @applies
    def ended(self, event: Ended) -> None:
        self.is_ended = True

    @applies
    def nagged(self, event: Nagged) -> None: ...

    @applies
    def closed(self, event: Closed) -> None: ...

    def _end(self, transfer: int, outcome: str) -> Iterator[Ended | Schedule | Cancel]:
        yield Ended(transfer, outcome)
        yield Cancel("nag")
        if self.is_begun:
            yield Schedule("close", Close(transfer), after=CLOSE)


@dataclass(frozen=True)
class Balance:
    cents: int


class Statement(
    Projector,
    source="account",
    synchronous=True,
    read_store=Sqlite(
        STATEMENT_FILE,
        "CREATE TABLE IF NOT EXISTS balance (root BLOB PRIMARY KEY, cents INTEGER NOT NULL);"
        "CREATE TABLE IF NOT EXISTS line (root BLOB, sequence INTEGER, cents INTEGER);",
    ),
):
    """Balances and movements. Neither is idempotent: an event that comes twice shows."""

    @projects
    def opened(self, event: Opened, at: Trigger, db: sqlite3.Connection) -> Balance:
        return self._move(at, event.cents, db)

    @projects
    def sent(self, event: Sent, at: Trigger, db: sqlite3.Connection) -> Balance:
        return self._move(at, -event.cents, db)

    @projects
    def received(self, event: Received, at: Trigger, db: sqlite3.Connection) -> Balance:
        return self._move(at, event.cents, db)

    @projects
    def returned(self, event: Returned, at: Trigger, db: sqlite3.Connection) -> Balance:
        return self._move(at, event.cents, db)

    def _move(self, at: Trigger, cents: int, db: sqlite3.Connection) -> Balance:
        db.execute("INSERT INTO line VALUES (?, ?, ?)", (at.root, at.sequence, cents))
        db.execute(
            "INSERT INTO balance VALUES (?, ?) "
            "ON CONFLICT DO UPDATE SET cents = cents + excluded.cents",
            (at.root, cents),
        )
        [balance] = db.execute("SELECT cents FROM balance WHERE root = ?", (at.root,)).fetchone()
        return Balance(balance)


class Feed(Projector, sources=["account", "ledger", "watch"]):
    """All that happened, in a database of its own that knows of no positions: an event may come
    again, and then is the same row.

    path: of the database. db: that of the last projector made.
    """

    path: ClassVar[Path | str] = FEED_FILE
    db: ClassVar[sqlite3.Connection]

    def __init__(self) -> None:
        db = Feed.db = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = NORMAL")
        db.execute(
            "CREATE TABLE IF NOT EXISTS happened "
            "(domain TEXT, root BLOB, sequence INTEGER, what TEXT, "
            "PRIMARY KEY (domain, root, sequence))"
        )

    @projects
    def account(self, event: Opened | Sent | Received | Returned, at: Trigger) -> None:
        self._put(event, at)

    @projects
    def ledger(self, event: Booked | Noted | Audited, at: Trigger) -> None:
        self._put(event, at)

    @projects
    def watch(self, event: Begun | Ended | Nagged | Closed, at: Trigger) -> None:
        self._put(event, at)

    def _put(self, event: object, at: Trigger) -> None:
        row = at.domain, at.root, at.sequence, repr(event)
        self.db.execute("INSERT OR REPLACE INTO happened VALUES (?, ?, ?, ?)", row)


DEFINITIONS: Final = (Account, Ledger, Watch, Statement, Feed)


def make_app() -> App:
    """The bank, whole; `configure` says what of it runs, and on which store."""
    return App(*DEFINITIONS)
