"""Explored branches: played as a coordinator would have, the same whatever else is played."""

from __future__ import annotations

import datetime
import random
from collections.abc import Sequence

import numpy as np
import pytest

from angzarr import App, data
from angzarr.caller_sync import SyncCaller
from angzarr.codec import Payload
from angzarr.errors import (
    CommandRejected,
    HandlerFailed,
    InvalidDivergence,
    InvalidInput,
    SequenceConflict,
)

from .conftest import Account, Deposit, Deposited, Open, Withdraw

Answer = Payload | Sequence[Payload] | None


def one_deposit(state: Account, rng: random.Random, branch: data.Branch) -> Answer:
    return None if branch.step else Deposit(rng.randrange(1_000))


def until_broke(state: Account, rng: random.Random, branch: data.Branch) -> Answer:
    return Withdraw(rng.randrange(100))


def both(calls: SyncCaller, **more: object) -> tuple[data.Batch, data.Batch]:
    """The two tables of eight branches."""
    options = {"branches": 8, "batch": 8, "fields": ["cents"]} | more
    points = [data.Point("a0", 1), data.Point("a1", 2)]
    (found,) = data.explore(calls, Account, points, one_deposit, **options)  # type: ignore[arg-type]
    return found.branches, found.events


@pytest.mark.spec("DATA-20")
def test_points_take_turns(shop: SyncCaller) -> None:
    branches, _ = both(shop)

    assert branches["branch"].tolist() == list(range(8))
    assert branches["point"].tolist() == [0, 1] * 4


@pytest.mark.spec("DATA-20")
def test_a_branch_begins_with_the_state_below_its_sequence(shop: SyncCaller) -> None:
    seen: list[int] = []

    def look(state: Account, rng: random.Random, branch: data.Branch) -> Answer:
        seen.append(state.balance)
        return None

    points = [data.Point("a0", sequence) for sequence in (0, 1, 2, 3)]
    list(data.explore(shop, Account, points, look, branches=4))

    assert seen == [0, 0, 300, 250]


@pytest.mark.spec("DATA-20")
def test_a_point_without_a_sequence_is_the_streams_end(shop: SyncCaller) -> None:
    points = [data.Point("a0"), data.Point("a0", edition="what-if")]
    observe = {"observe": lambda state: {"balance": state.balance}}
    (found,) = data.explore(shop, Account, points, lambda *_: None, branches=2, **observe)

    assert found.branches["balance"].tolist() == [250, 220]


@pytest.mark.spec("DATA-20")
def test_weights_choose_points(shop: SyncCaller) -> None:
    points = [data.Point("a0", 1, weight=0), data.Point("a1", 1, weight=3)]

    (found,) = data.explore(shop, Account, points, one_deposit, branches=50)

    assert set(found.branches["point"].tolist()) == {1}


def test_a_point_beyond_its_streams_end_is_refused(shop: SyncCaller) -> None:
    with pytest.raises(InvalidDivergence):
        list(data.explore(shop, Account, [data.Point("a0", 9)], one_deposit))


@pytest.mark.spec("DATA-21")
def test_a_branch_ends_where_the_policy_says_none(shop: SyncCaller) -> None:
    branches, events = both(shop)

    assert branches.text("outcome").tolist() == ["finished"] * 8
    assert branches["steps"].tolist() == branches["events"].tolist() == [1] * 8
    assert events["branch"].tolist() == list(range(8))


@pytest.mark.spec("DATA-21")
def test_a_rejection_ends_a_branch_with_the_events_before_it(shop: SyncCaller) -> None:
    (found,) = data.explore(shop, Account, [data.Point("a0", 2)], until_broke, branches=3)

    assert found.branches.text("outcome").tolist() == ["refused"] * 3
    assert found.branches["reason"].tolist() == ["insufficient"] * 3
    assert found.branches["events"].tolist() == found.branches["steps"].tolist()
    assert found.branches["events"].min() >= 3


@pytest.mark.spec("DATA-21")
def test_a_branch_ends_after_max_steps(shop: SyncCaller) -> None:
    def forever(state: Account, rng: random.Random, branch: data.Branch) -> Answer:
        return Deposit(1)

    (found,) = data.explore(shop, Account, [data.Point("a0")], forever, branches=2, max_steps=5)

    assert found.branches.text("outcome").tolist() == ["steps_out"] * 2
    assert found.branches["events"].tolist() == [5, 5]


@pytest.mark.spec("DATA-21")
def test_commands_together_are_all_decided_or_none(shop: SyncCaller) -> None:
    def greedy(state: Account, rng: random.Random, branch: data.Branch) -> Answer:
        return Deposit(1) if branch.step == 0 else [Deposit(2), Withdraw(10_000)]

    options = {"observe": lambda state: {"balance": state.balance}, "fields": ["cents"]}
    (found,) = data.explore(shop, Account, [data.Point("a0", 0)], greedy, branches=1, **options)  # type: ignore[arg-type]

    assert found.branches.text("outcome").tolist() == ["refused"]
    assert found.events["cents"].tolist() == [1]
    assert found.branches["balance"].tolist() == [1]


def test_a_policys_exception_is_told_with_its_branch(shop: SyncCaller) -> None:
    def broken(state: Account, rng: random.Random, branch: data.Branch) -> Answer:
        raise ValueError("no idea")

    with pytest.raises(HandlerFailed, match="step 0 of branch 0: ValueError: no idea"):
        list(data.explore(shop, Account, [data.Point("a0")], broken))


def test_a_command_of_another_aggregate_is_refused(shop: SyncCaller) -> None:
    with pytest.raises(InvalidInput, match=r"account\.Deposit"):
        list(data.explore(shop, Account, [data.Point("a0")], lambda *_: Open("me")))


@pytest.mark.spec("DATA-22")
def test_a_branch_is_the_same_whatever_is_played_beside_it(shop: SyncCaller) -> None:
    _, whole = both(shop, branches=40, batch=40)
    _, part = both(shop, branches=8, first=16, seed=0)
    other = both(shop, seed=1)[1]

    assert part["cents"].tolist() == whole["cents"][16:24].tolist()
    assert other["cents"].tolist() != whole["cents"][:8].tolist()


@pytest.mark.spec("DATA-23")
def test_events_are_numbered_and_dated_behind_the_point(shop: SyncCaller) -> None:
    _, events = both(shop)

    assert events["sequence"].tolist() == [1, 2] * 4
    assert (np.diff(events["time"].astype(np.int64)) >= 0).all()
    assert events.text("type").tolist() == ["account.Deposited"] * 8


@pytest.mark.spec("DATA-21", "DATA-23")
def test_a_branchs_events_are_those_that_the_coordinator_stores(shop: SyncCaller) -> None:
    """Played once, then sent command by command to a branch at the same point."""
    commands: list[Payload] = [Deposit(7, "n"), Withdraw(3), Deposit(1), Withdraw(9_999)]

    def follow(state: Account, rng: random.Random, branch: data.Branch) -> Answer:
        return commands[branch.step]

    points = [data.Point("a0", 1)]
    (found,) = data.explore(shop, Account, points, follow, branches=1, payloads=True)

    sent = shop.domain(Account).on("sent", divergence=1)
    for command in commands[:-1]:
        sent.send("a0", command)
    with pytest.raises(CommandRejected, match=found.branches["reason"][0]):
        sent.send("a0", commands[-1])
    stored = data.read(shop, editions="sent", payloads=True)
    assert found.events["sequence"].tolist() == stored["sequence"].tolist()
    assert found.events.text("type").tolist() == stored.text("type").tolist()
    assert list(found.events.payloads or ()) == list(stored.payloads or ())


@pytest.mark.spec("DATA-24")
def test_nothing_is_stored_unless_it_is_asked_for(shop: SyncCaller, app: App) -> None:
    before = data.read(shop, editions="*").position

    both(shop)

    assert data.read(shop, editions="*").position == before


@pytest.mark.spec("DATA-24")
def test_a_stored_branch_is_an_edition_that_reads_as_it_was_played(shop: SyncCaller) -> None:
    branches, events = both(shop, store_as="try-{n}", observe=lambda s: {"balance": s.balance})

    for branch in range(8):
        root = ["a0", "a1"][branch % 2]
        stream = shop.domain(Account).on(f"try-{branch}")
        state = stream.state(root)
        assert state.balance == branches["balance"][branch]
        assert list(stream.events(root))[-1].payload.cents == events["cents"][branch]


@pytest.mark.spec("DATA-24")
def test_a_stored_branch_goes_on_like_any_other(shop: SyncCaller) -> None:
    both(shop, store_as="try")

    sent = shop.domain(Account).on("try-3").send("a1", Deposit(5))

    assert sent.next_sequence == 4
    assert len(list(shop.domain(Account).events("a1"))) == 3


@pytest.mark.spec("DATA-24")
def test_branches_of_an_edition_are_its_children(shop: SyncCaller, app: App) -> None:
    points = [data.Point("a0", 4, edition="what-if")]

    list(data.explore(shop, Account, points, one_deposit, branches=2, store_as="kid-{n}"))

    rows = data.read(shop, editions="kid-1", inherited=True, fields=["cents"])
    assert rows["sequence"].tolist() == [0, 1, 2, 3, 4]
    assert rows["inherited"].tolist() == [True] * 4 + [False]
    assert rows["cents"][:4].tolist() == [0, 300, 50, 10]


@pytest.mark.spec("DATA-24")
def test_editions_live_as_long_as_they_are_given(shop: SyncCaller, app: App) -> None:
    both(shop, store_as="try", ttl=datetime.timedelta(days=1))

    thread = shop.transport.thread  # type: ignore[attr-defined]
    record = thread.run(app.stores.editions.get("try-1"))
    assert record.expires_at_ns > record.created_at_ns


@pytest.mark.spec("DATA-24")
def test_an_edition_that_exists_is_not_written_again(shop: SyncCaller) -> None:
    both(shop, store_as="try")

    with pytest.raises(SequenceConflict):
        both(shop, store_as="try")


@pytest.mark.spec("DATA-25")
def test_observations_are_columns_of_one_kind(shop: SyncCaller) -> None:
    def observe(state: Account) -> dict[str, object]:
        broke = state.balance < 500
        return {"balance": state.balance, "is_low": broke, "name": "x", "share": None}

    branches, _ = both(shop, observe=observe)

    kinds = {name: branches[name].dtype.kind for name in ("balance", "is_low", "name", "share")}
    assert kinds == {"balance": "i", "is_low": "b", "name": "O", "share": "f"}
    assert not branches.valid["share"].any()


@pytest.mark.spec("DATA-25")
def test_an_observation_of_another_kind_later_is_refused(shop: SyncCaller) -> None:
    def observe(state: Account) -> dict[str, object]:
        return {"balance": state.balance if state.balance < 1_000 else "a lot"}

    with pytest.raises(InvalidInput, match=r"observe\.balance"):
        list(data.explore(shop, Account, [data.Point("a0")], one_deposit, batch=1, observe=observe))


@pytest.mark.spec("DATA-20")
def test_a_clone_hook_copies_the_states(shop: SyncCaller) -> None:
    made: list[Account] = []

    def clone(state: Account) -> Account:
        made.append(Account(state.balance))
        return made[-1]

    both(shop, clone=clone)

    assert len(made) == 2 + 8
    assert made[0].balance == 0


async def test_an_app_is_explored_in_its_own_loop(app: App) -> None:
    async with app:
        await app.domain(Account).send("a", Deposit(5))

        found = data.explore(app, Account, [data.Point("a")], one_deposit, branches=3, batch=2)
        counts = [len(part.branches) async for part in found]

    assert counts == [2, 1]


@pytest.mark.spec("DATA-21")
async def test_commands_are_decided_by_async_methods_too() -> None:
    from angzarr import Aggregate, applies, command

    class Slow(Aggregate, domain="slow"):
        total: int = 0

        @command
        async def deposit(self, cmd: Deposit) -> Deposited:
            return Deposited(cmd.cents)

        @applies
        def deposited(self, event: Deposited) -> None:
            self.total += event.cents

    async with App(Slow, store="memory://") as app:
        await app.domain(Slow).send("s", Deposit(5))
        points = [data.Point("s")]
        found = [
            part
            async for part in data.explore(
                app,
                Slow,
                points,
                one_deposit,
                branches=1,
                fields=["cents"],
                observe=lambda state: {"total": state.total},
            )
        ]

    assert found[0].branches["total"].tolist() == (5 + found[0].events["cents"]).tolist()
