"""given … when … then for projectors."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest

from angzarr import Aggregate, Projector, Sqlite, Trigger, applies, projects
from angzarr.cover import root_of
from angzarr.errors import CorruptData, HandlerFailed
from angzarr.testing import given
from angzarr.testing.projections import START


@dataclass(frozen=True)
class Deposited:
    cents: int


@dataclass(frozen=True)
class Withdrawn:
    cents: int


@dataclass(frozen=True)
class Balance:
    cents: int


class Account(Aggregate, domain="account"):
    @applies
    def deposited(self, event: Deposited) -> None: ...


class Statement(
    Projector,
    source="account",
    read_store=Sqlite("rows.sqlite", "CREATE TABLE IF NOT EXISTS line (place TEXT, cents INTEGER)"),
):
    @projects
    async def deposited(self, event: Deposited, at: Trigger, db: sqlite3.Connection) -> Balance:
        if event.cents < 0:
            raise ValueError("less than nothing")
        db.execute("INSERT INTO line VALUES (?, ?)", (f"{at.sequence}", event.cents))
        return Balance(db.execute("SELECT sum(cents) FROM line").fetchone()[0])

    @projects
    def withdrawn(self, event: Withdrawn, db: sqlite3.Connection) -> None:
        db.execute("INSERT INTO line VALUES ('out', ?)", (-event.cents,))


ROWS = "SELECT place, cents FROM line ORDER BY rowid"


def test_rows_are_asked_for_by_sql() -> None:
    given(Statement).when(Deposited(5), Withdrawn(2)).then_rows(ROWS, ("0", 5), ("out", -2))


def test_events_before_are_projected_first() -> None:
    given(Statement, Deposited(5)).when(Deposited(3)).then_rows(ROWS, ("0", 5), ("1", 3))


def test_when_goes_on() -> None:
    outcome = given(Statement).when(Deposited(1)).when(Deposited(2), root="bob")

    outcome.when(Deposited(3)).then_rows(ROWS, ("0", 1), ("0", 2), ("1", 3))


def test_the_projection_is_what_was_returned_last() -> None:
    given(Statement, Deposited(5)).when(Deposited(3), Withdrawn(1)).then(Balance(8))


def test_no_projection_is_told_apart() -> None:
    given(Statement).when(Withdrawn(1)).then_nothing()

    with pytest.raises(AssertionError, match="expected no projection"):
        given(Statement).when(Deposited(1)).then_nothing()


def test_other_rows_are_shown() -> None:
    with pytest.raises(AssertionError, match=r"- \('0', 6\)\n\+ \('0', 5\)"):
        given(Statement).when(Deposited(5)).then_rows(ROWS, ("0", 6))


def test_another_projection_is_shown() -> None:
    with pytest.raises(AssertionError, match=r"- Balance\(cents=6\)\n.*\+ Balance\(cents=5\)"):
        given(Statement).when(Deposited(5)).then(Balance(6))
    with pytest.raises(AssertionError, match="another projection"):
        given(Statement).when(Withdrawn(5)).then(Balance(6))
    with pytest.raises(CorruptData, match="Balance"):
        given(Statement).when(Deposited(5)).then(Withdrawn(5))


def test_where_events_are_can_be_said() -> None:
    seen: list[Trigger] = []

    class Noted(Projector, sources=[Account, "order"], name="noted"):
        @projects
        def deposited(self, event: Deposited, at: Trigger) -> None:
            seen.append(at)

    moment = datetime(2026, 5, 1, tzinfo=UTC)
    given(Noted).when(Deposited(1), source=Account)
    given(Noted).when(
        Deposited(1),
        source="order",
        root="o-1",
        edition="whatif",
        correlation_id="c-1",
        sequence=7,
        created_at=moment,
    )

    assert seen == [
        Trigger(
            "account",
            root_of("root"),
            correlation_id="workflow",
            sequence=0,
            created_at=START,
        ),
        Trigger("order", root_of("o-1"), "whatif", "c-1", sequence=7, created_at=moment),
    ]
    with pytest.raises(TypeError, match=r"say where Deposited come from.*account, order"):
        given(Noted).when(Deposited(1))


def test_an_event_that_no_method_takes_is_a_mistake_of_the_test() -> None:
    with pytest.raises(TypeError, match="Statement has no source with methods for Balance"):
        given(Statement).when(Balance(1))


def test_a_handlers_error_is_raised() -> None:
    with pytest.raises(HandlerFailed, match="less than nothing"):
        given(Statement).when(Deposited(-1))


def test_another_db_is_given_to_handlers() -> None:
    class Fake:
        def __init__(self) -> None:
            self.said: list[str] = []

    class Elsewhere(Projector, source="account", read_store=Sqlite("unused.sqlite")):
        @projects
        def deposited(self, event: Deposited, db: Fake) -> None:
            db.said.append(f"+{event.cents}")

    fake = Fake()
    given(Elsewhere).with_db(fake).when(Deposited(5))

    assert fake.said == ["+5"]
