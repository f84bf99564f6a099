"""The room as a whole: what players, tables and hands make of each other's events."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from angzarr import App
from angzarr.examples.holdem.app import app as room
from angzarr.examples.holdem.hand import Hand
from angzarr.examples.holdem.messages.game import Game
from angzarr.examples.holdem.messages.hand import BetOrRaise, DealHole, Fold
from angzarr.examples.holdem.messages.player import Deposit, Register
from angzarr.examples.holdem.messages.table import (
    HandCalledOff,
    Join,
    Leave,
    OpenHand,
    OpenTable,
    SeatGivenUp,
)
from angzarr.examples.holdem.play import Room
from angzarr.examples.holdem.player import Player
from angzarr.examples.holdem.table import Seat, Table

GAME = Game(variant="NT", antes=(0, 0), blinds_or_straddles=(1, 2), min_bet=2)


def a_room(folder: Path, store: str = "memory://", select: str = "*") -> App:
    read_store = {"projection.projectors.standings.read_store": f"sqlite://{folder / 'standings'}"}
    return App(*room.definitions, store=store, config=read_store, select=select)


@pytest.fixture
async def app(tmp_path: Path) -> AsyncIterator[App]:
    async with a_room(tmp_path) as app:
        yield app


async def open_with(app: App, **deposits: int) -> None:
    """A table `green`, and players with money."""
    await app.domain(Table).send("green", OpenTable("green"))
    for player, deposit in deposits.items():
        await app.domain(Player).send(player, Register(player))
        await app.domain(Player).send(player, Deposit(deposit))


async def seated(app: App, *joins: Join) -> Table:
    """The table when it is decided who has a seat."""
    for join in joins:
        await app.domain(Table).send("green", join)
    for join in joins:
        await Room(app).until_seated("green", join.player)
    return await Room(app).state(Table, "green")


async def test_who_can_pay_is_seated(app: App):
    await open_with(app, alice=100)

    table = await seated(app, Join("alice", 1, 80))

    assert table.seats == {"alice": Seat(1, 80, stack=80)}
    alice = await Room(app).state(Player, "alice")
    assert (alice.bankroll, alice.at_tables) == (20, {"green": 80})


@pytest.mark.spec("COMP-2", "COMP-7")
async def test_who_can_not_pay_is_not_seated(app: App):
    await open_with(app, alice=70)

    table = await seated(app, Join("alice", 1, 80), Join("stranger", 2, 80))

    assert table.seats == {}
    events = [event.payload async for event in app.domain(Table).events("green")]
    assert {e.player: e.reason for e in events if isinstance(e, SeatGivenUp)} == {
        "alice": "alice has 70, which is not enough",
        "stranger": "nobody is registered under this name",
    }


async def test_a_hand_is_dealt_and_settled_at_its_table(app: App):
    await open_with(app, alice=100, bob=100)
    await seated(app, Join("alice", 1, 100), Join("bob", 2, 100))

    await app.domain(Table).send("green", OpenHand("hand-1", GAME, first_seat=1))
    await Room(app).until(Hand, "hand-1", lambda hand: hand.setup is not None)
    for action in (DealHole(1, "AhAs"), DealHole(2, "KhKs"), BetOrRaise(2, 10), Fold(1)):
        await app.domain(Hand).send("hand-1", action)
    table = await Room(app).until(Table, "green", lambda table: not table.hand)

    assert {player: seat.stack for player, seat in table.seats.items()} == {"alice": 98, "bob": 102}


@pytest.mark.spec("COMP-2", "COMP-7")
async def test_a_hand_that_can_not_be_played_leaves_the_table_free(app: App):
    await open_with(app, alice=100, bob=100)
    await seated(app, Join("alice", 1, 100), Join("bob", 2, 100))

    await app.domain(Table).send("green", OpenHand("hand-1", Game("XX", (0, 0)), first_seat=1))
    await Room(app).until(Table, "green", lambda table: not table.hand)

    events = [event.payload async for event in app.domain(Table).events("green")]
    assert isinstance(events[-1], HandCalledOff)
    assert "variant 'XX'" in events[-1].reason


@pytest.mark.spec("DEP-10", "SAGA-2", "COMP-2")
async def test_who_leaves_before_the_chips_come_has_them_back(tmp_path: Path):
    """The usher is away; back again, it brings chips to a seat that is gone."""
    store = f"rocksdb://{tmp_path / 'data'}"
    async with a_room(tmp_path, store, select="*,-saga:usher") as app:
        await open_with(app, alice=100)
        await app.domain(Table).send("green", Join("alice", 1, 80))
        await Room(app).until(Player, "alice", lambda player: player.bankroll == 20)
        await app.domain(Table).send("green", Leave("alice"))

    async with a_room(tmp_path, store) as app:
        alice = await Room(app).until(Player, "alice", lambda player: not player.at_tables)

    assert alice.bankroll == 100


async def test_who_leaves_is_paid_out(app: App):
    await open_with(app, alice=100)
    await seated(app, Join("alice", 1, 80))

    await app.domain(Table).send("green", Leave("alice"))

    alice = await Room(app).until(Player, "alice", lambda player: not player.at_tables)
    assert alice.bankroll == 100
