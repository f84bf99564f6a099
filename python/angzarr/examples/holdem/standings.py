"""Who has won how much: a read model in an SQLite file, and the query for it."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from decimal import Decimal

from angzarr import Projector, Sqlite, projects
from angzarr.examples.holdem.hand import Hand
from angzarr.examples.holdem.messages.game import Chips
from angzarr.examples.holdem.messages.hand import HandFinished
from angzarr.readstores import SqliteReader

CENTS = 100
"""A chip's. SQLite adds whole numbers exactly."""

SCHEMA = """
CREATE TABLE IF NOT EXISTS standing (
    player TEXT PRIMARY KEY,
    hands INTEGER NOT NULL,
    won INTEGER NOT NULL,
    net_cents INTEGER NOT NULL,
    biggest_pot_cents INTEGER NOT NULL
)
"""

ADD = """
INSERT INTO standing VALUES (?, 1, ?, ?, ?)
ON CONFLICT DO UPDATE SET
    hands = hands + 1,
    won = won + excluded.won,
    net_cents = net_cents + excluded.net_cents,
    biggest_pot_cents = max(biggest_pot_cents, excluded.biggest_pot_cents)
"""


READ_STORE = Sqlite("standings.sqlite", SCHEMA)


class Standings(Projector, source=Hand, read_store=READ_STORE):
    """Adds up finished hands, each once: rows and position are committed together."""

    @projects
    def finished(self, event: HandFinished, db: sqlite3.Connection) -> None:
        results = zip(event.players, event.payoffs, event.collected, strict=True)
        for player, payoff, pot in results:
            db.execute(ADD, (player, payoff > 0, _cents(payoff), _cents(pot)))


@dataclass(frozen=True, slots=True)
class Standing:
    """One player's. won: hands with more taken out than put in. biggest_pot: the most that was
    taken out of the pots of one hand.
    """

    player: str
    hands: int
    won: int
    net: Chips
    biggest_pot: Chips


def standings(reader: SqliteReader) -> list[Standing]:
    """All players', the greatest winner first. Raises as SqliteReader."""
    rows = reader.rows("SELECT * FROM standing ORDER BY net_cents DESC, player")
    return [
        Standing(
            row["player"],
            row["hands"],
            row["won"],
            net=_chips(row["net_cents"]),
            biggest_pot=_chips(row["biggest_pot_cents"]),
        )
        for row in rows
    ]


def _cents(chips: Chips) -> int:
    return int(chips * CENTS)


def _chips(cents: int) -> Chips:
    return Decimal(cents) / CENTS if cents % CENTS else cents // CENTS
