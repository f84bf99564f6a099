"""The standings add up what hands have come to."""

from __future__ import annotations

import sqlite3
from decimal import Decimal
from pathlib import Path

import pytest

from angzarr.errors import ReadStoreUnavailable
from angzarr.examples.holdem.messages.hand import HandFinished
from angzarr.examples.holdem.standings import READ_STORE, Standing, Standings, standings
from angzarr.testing import given

ROWS = "SELECT * FROM standing ORDER BY player"
FIRST = HandFinished("green", "hand-1", ("alice", "bob"), (180, 0), (80, -80), (160, 0))
SECOND = HandFinished("green", "hand-2", ("bob", "alice"), (90, 170), (10, -10), (20, 0))


def test_a_hand_counts_for_those_who_played_it():
    given(Standings).when(FIRST).then_rows(
        ROWS, ("alice", 1, 1, 80_00, 160_00), ("bob", 1, 0, -80_00, 0)
    )


def test_hands_are_added_up():
    given(Standings, FIRST).when(SECOND, root="hand-2").then_rows(
        ROWS, ("alice", 2, 1, 70_00, 160_00), ("bob", 2, 1, -70_00, 20_00)
    )


def test_who_collects_no_more_than_was_put_in_has_not_won():
    split = HandFinished("green", "hand-1", ("alice", "bob"), (100, 100), (0, 0), (50, 50))

    given(Standings).when(split).then_rows(ROWS, ("alice", 1, 0, 0, 50_00), ("bob", 1, 0, 0, 50_00))


def test_cents_are_added_up_exactly():
    cents = (Decimal("0.1"), Decimal("-0.1"))
    hand = HandFinished("green", "hand-1", ("alice", "bob"), (1, 1), cents, (Decimal("0.2"), 0))

    given(Standings, hand, hand).when(hand, root="hand-3").then_rows(
        "SELECT net_cents FROM standing ORDER BY player", (30,), (-30,)
    )


def test_the_greatest_winner_stands_first(tmp_path: Path):
    path = tmp_path / "standings.sqlite"
    with sqlite3.connect(path) as db:
        db.execute(READ_STORE.schema)
        db.execute("INSERT INTO standing VALUES ('bob', 2, 1, -7025, 2000)")
        db.execute("INSERT INTO standing VALUES ('alice', 2, 1, 7025, 16000)")
    db.close()
    reader = READ_STORE.at(path).reader()

    found = standings(reader)

    reader.close()
    assert found == [
        Standing("alice", 2, 1, Decimal("70.25"), 160),
        Standing("bob", 2, 1, Decimal("-70.25"), 20),
    ]


def test_there_are_no_standings_before_the_projector_has_run(tmp_path: Path):
    reader = READ_STORE.at(tmp_path / "standings.sqlite").reader()

    with pytest.raises(ReadStoreUnavailable):
        standings(reader)
