"""What counts as published, and what does not."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from angzarr.examples.holdem import report
from angzarr.examples.holdem.hands import published_hands
from angzarr.examples.holdem.results import (
    Bankroll,
    HandResult,
    PlayerResult,
    player_results,
    published_standings,
)
from angzarr.examples.holdem.standings import Standing

HANDS = published_hands()
ALICE = Standing("alice", hands=3, won=1, net=50, biggest_pot=120)
MONEY = Bankroll(deposited=100, bankroll=150, at_tables=0)
RIGHT = PlayerResult(ALICE, ALICE, MONEY)


def test_a_player_of_two_tables_has_the_hands_of_both():
    assert published_standings(HANDS)["Patrik Antonius"] == Standing(
        "Patrik Antonius",
        hands=2,
        won=1,
        net=Decimal("678473.5") - 2500,
        biggest_pot=Decimal("1356947.0"),
    )


def test_what_some_win_others_lose():
    assert sum(standing.net for standing in published_standings(HANDS).values()) == 0


def test_players_are_told_by_what_they_have_won():
    standings = published_standings(HANDS)

    found = player_results(HANDS, standings, dict.fromkeys(standings, MONEY))

    assert [result.published.net for result in found] == sorted(
        (standing.net for standing in standings.values()), reverse=True
    )


def test_a_player_with_the_published_standing_and_as_much_money_is_as_published():
    assert RIGHT.is_as_published


@pytest.mark.parametrize(
    "wrong",
    [
        replace(RIGHT, standing=replace(ALICE, hands=4)),
        replace(RIGHT, standing=replace(ALICE, net=51)),
        replace(RIGHT, money=replace(MONEY, bankroll=149)),
        replace(RIGHT, money=replace(MONEY, deposited=99, at_tables=1)),
        replace(RIGHT, money=replace(MONEY, at_tables=1)),
    ],
)
def test_another_standing_and_other_money_are_not_as_published(wrong: PlayerResult):
    assert not wrong.is_as_published


def test_a_hand_that_paid_out_otherwise_is_not_as_published():
    hand = HANDS[0]
    right = HandResult(hand, hand.finishing_stacks, hand.payoffs, event_count=5)

    assert right.is_as_published
    assert not replace(right, payoffs=hand.payoffs[::-1]).is_as_published


def test_the_summary_counts_what_is_as_published_and_all_money():
    hand = HANDS[0]
    wrong = HandResult(hand, hand.starting_stacks, hand.payoffs, event_count=5)
    indebted = replace(RIGHT, money=Bankroll(deposited=1000, bankroll=900, at_tables=50))

    assert report.summary([wrong], [RIGHT, indebted]).splitlines() == [
        "0 of 1 hands paid out as published",
        "1 of 2 players stand as published",
        "deposited: 1,100; in bankrolls: 1,050; left at tables: 50",
    ]
