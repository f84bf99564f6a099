"""What if the loser had folded?"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pyarrow.parquet as parquet
import pytest

from angzarr import App
from angzarr.examples.holdem import folding, plots, report, training, what_if
from angzarr.examples.holdem.folding import Alternative, Decision
from angzarr.examples.holdem.hand import Hand
from angzarr.examples.holdem.hands import published_hands
from angzarr.examples.holdem.messages.hand import BetOrRaised, CheckedOrCalled
from angzarr.examples.holdem.play import play

HANDS = {hand.name: hand for hand in published_hands()}
DWAN_IVEY = HANDS[what_if.HAND]
IVEY = 1


@pytest.fixture
async def app() -> AsyncIterator[App]:
    """A room in which the hand has been played."""
    async with App(*what_if.ROOM, store="memory://") as app:
        await play(app, [DWAN_IVEY])
        yield app


@pytest.fixture
async def alternatives(app: App) -> list[Alternative]:
    return await folding.alternatives(app, DWAN_IVEY)


def test_the_loser_is_who_lost_most() -> None:
    assert folding.loser_of(DWAN_IVEY) == IVEY


def test_decisions_are_where_the_player_stayed_in() -> None:
    found = folding.decisions(DWAN_IVEY, IVEY)

    assert found == [Decision(sequence, IVEY) for sequence in (5, 9, 12, 14)]


async def test_folding_costs_what_was_put_in_before(alternatives: list[Alternative]) -> None:
    assert [each.payoff for each in alternatives] == [-553_500] * 4
    assert [each.payoff_folded for each in alternatives] == [-1_500, -23_500, -58_500, -148_500]


async def test_what_the_player_did_not_lose_nobody_won(alternatives: list[Alternative]) -> None:
    assert all(sum(each.payoffs_folded) == 0 for each in alternatives)


async def test_each_alternative_is_an_edition_that_leaves_history_at_the_decision(
    app: App, alternatives: list[Alternative]
) -> None:
    for each in alternatives:
        branches = [b async for b in app.editions.branches(each.edition, domain=Hand)]

        assert [branch.divergence for branch in branches] == [each.decision.sequence]
        assert (await app.editions.get(each.edition)).record is not None


async def test_history_is_as_it_was(app: App) -> None:
    before = await app.domain(Hand).book(DWAN_IVEY.name)

    await folding.alternatives(app, DWAN_IVEY)

    assert await app.domain(Hand).book(DWAN_IVEY.name) == before
    assert (await app.domain(Hand).state(DWAN_IVEY.name)).payoffs == DWAN_IVEY.payoffs


async def test_asked_again_the_answer_is_the_same(
    app: App, alternatives: list[Alternative]
) -> None:
    again = await folding.alternatives(app, DWAN_IVEY)

    assert [each.payoffs_folded for each in again] == [e.payoffs_folded for e in alternatives]


def test_a_decision_is_told_in_words() -> None:
    assert report.decided(BetOrRaised(1, 23_000)) == "raises to 23k"
    assert report.decided(CheckedOrCalled(1, 500)) == "calls 500"
    assert report.decided(CheckedOrCalled(1, 0)) == "checks"


async def test_a_picture_is_drawn(tmp_path: Path, alternatives: list[Alternative]) -> None:
    plots.draw(DWAN_IVEY, alternatives, tmp_path / "plot.svg")

    assert "<svg" in (tmp_path / "plot.svg").read_text()


async def test_a_training_set_has_a_row_for_each_branch_and_each_event(
    app: App, tmp_path: Path
) -> None:
    decisions = folding.decisions(DWAN_IVEY, IVEY)

    learnt = await training.write(app, DWAN_IVEY, decisions, tmp_path, branches=60)

    branches = parquet.read_table(tmp_path / "branches.parquet")
    events = parquet.read_table(tmp_path / "events.parquet")
    assert branches["branch"].to_pylist() == list(range(60))
    assert set(branches["outcome"].to_pylist()) == {"finished"}
    assert sum(branches["events"].to_pylist()) == events.num_rows
    assert sum(each.count for each in learnt) == 60


async def test_folding_at_once_is_worth_the_same_in_every_branch(app: App, tmp_path: Path) -> None:
    decisions = folding.decisions(DWAN_IVEY, IVEY)

    learnt = await training.write(app, DWAN_IVEY, decisions, tmp_path, branches=60)

    worth = {each.decision.sequence: each.mean for each in learnt if each.first == "fold"}
    assert worth == {5: -1_500, 9: -23_500, 12: -58_500, 14: -148_500}


async def test_a_training_set_leaves_the_store_as_it_is(app: App, tmp_path: Path) -> None:
    before = await app.stores.events.log_head()

    await training.write(app, DWAN_IVEY, folding.decisions(DWAN_IVEY, IVEY), tmp_path, branches=20)

    assert await app.stores.events.log_head() == before


@pytest.mark.parametrize(
    "name", ["arieh-yockey-2019", "antonius-blom-2009", "wsop-2023-43-day-5-06"]
)
async def test_other_games_have_training_sets_too(name: str, tmp_path: Path) -> None:
    """Draws, four hole cards, stud: with bring-ins, discards, and cards dealt one by one."""
    hand = HANDS[name]
    async with App(*what_if.ROOM, store="memory://") as app:
        await play(app, [hand])
        decisions = folding.decisions(hand, folding.loser_of(hand))

        learnt = await training.write(app, hand, decisions, tmp_path, branches=20)

    assert sum(each.count for each in learnt) == 20


def test_the_program_prints_plots_and_writes(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "angzarr.examples.holdem.what_if", "--branches", "20"]
    command += ["--out", str(tmp_path)]

    done = subprocess.run(command, capture_output=True, text=True, timeout=25, check=False)

    assert done.returncode == 0, done.stdout + done.stderr
    assert "dwan-ivey-2009-fold-at-14" in done.stdout
    assert "folds at 14 ███████████ -148,500" in done.stdout
    assert "20 branches of dwan-ivey-2009" in done.stdout
    assert {path.name for path in tmp_path.iterdir()} >= {"branches.parquet", "events.parquet"}
