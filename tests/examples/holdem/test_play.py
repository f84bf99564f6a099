"""Hands played through a caller, resumed wherever their streams stand."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from angzarr import App
from angzarr.examples.holdem.app import app as room
from angzarr.examples.holdem.hands import published_hands
from angzarr.examples.holdem.messages.table import SeatGivenUp
from angzarr.examples.holdem.play import play
from angzarr.examples.holdem.results import (
    bankrolls,
    player_results,
    results,
    standings_when_complete,
)
from angzarr.examples.holdem.standings import READ_STORE
from angzarr.examples.holdem.table import Table

HANDS = published_hands()[:7]
"""The four tables with a single hand, and three hands of another one."""

BREAK = HANDS[4:]
"""Stacks differ between the second and the third hand."""


class Died(Exception):
    """The end of a caller."""


@pytest.fixture
def standings_file(tmp_path: Path) -> Path:
    return tmp_path / "standings.sqlite"


@pytest.fixture
async def app(standings_file: Path) -> AsyncIterator[App]:
    config = {"projection.projectors.standings.read_store": f"sqlite://{standings_file}"}
    async with App(*room.definitions, store="memory://", config=config) as app:
        yield app


async def test_played_hands_pay_out_as_published(app: App):
    await play(app, HANDS)

    assert all(result.is_as_published for result in await results(app, HANDS))


async def test_players_stand_as_published(app: App, standings_file: Path):
    await play(app, HANDS)

    reader = READ_STORE.at(standings_file).reader()
    standings = await standings_when_complete(reader, HANDS)
    reader.close()
    found = player_results(HANDS, standings, await bankrolls(app, HANDS))
    assert all(result.is_as_published for result in found)


async def test_nothing_is_left_at_the_tables(app: App):
    await play(app, HANDS)

    money = await bankrolls(app, HANDS)
    assert sum(of.bankroll for of in money.values()) == sum(of.deposited for of in money.values())
    assert not any(of.at_tables for of in money.values())


async def test_an_unfinished_hand_is_not_as_published(app: App):
    assert not any(result.is_as_published for result in await results(app, HANDS))


@pytest.mark.parametrize("command_count", [1, 2, 9, 30, 50, 75])
async def test_a_table_is_resumed_where_its_streams_stand(app: App, command_count: int):
    """The caller dies while players arrive, in a hand, or between two."""
    heard_count = 0

    def heard(*_: object) -> None:
        nonlocal heard_count
        heard_count += 1
        if heard_count == command_count:
            raise Died

    with pytest.raises(ExceptionGroup):
        await play(app, BREAK, heard)

    await play(app, BREAK)

    assert all(result.is_as_published for result in await results(app, BREAK))
    money = (await bankrolls(app, BREAK)).values()
    assert sum(of.bankroll for of in money) == sum(of.deposited for of in money)


async def test_who_can_not_pay_for_the_seat_after_a_break_deposits_what_is_missing(app: App):
    """Between the second and the third hand three of the players come to more chips."""
    await play(app, BREAK)

    events = [event.payload async for event in app.domain(Table).events(BREAK[0].table)]
    refused = [event.player for event in events if isinstance(event, SeatGivenUp)]
    assert sorted(refused) == [f"{BREAK[0].table} seat {seat}" for seat in (2, 4, 5)]
    money = await bankrolls(app, BREAK)
    assert [money[player].deposited for player in sorted(refused)] == [
        2_500_000 + 15_000,
        10_170_000 + 10_000,
        4_545_000 + 5_000,
    ]


async def test_playing_again_changes_nothing(app: App):
    await play(app, HANDS)
    before = [event async for event in app.domain(Table).events(HANDS[-1].table)]

    await play(app, HANDS)

    assert [event async for event in app.domain(Table).events(HANDS[-1].table)] == before
