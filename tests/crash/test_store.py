"""The owner of a store is killed at random moments and at each point of a commit (STO-47)."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness import ROUNDS, Acknowledged, Child, check, run_and_kill, run_to_failpoint

from angzarr.stores.backup import restore

pytestmark = [pytest.mark.crash, pytest.mark.timeout(max(120, ROUNDS))]

ROUNDS_PER_STORE = 10
FAILPOINTS = ("group.before_write", "group.after_write", "group.before_ack", "group.after_ack")


@pytest.fixture
def children() -> Iterator[Iterator[Child]]:
    """Children that are imported while their predecessors are at work and are checked."""
    warm = [Child(), Child()]

    def ready() -> Iterator[Child]:
        while True:
            warm.append(Child())
            yield warm.pop(0)

    yield ready()
    for child in warm:
        child.kill()


@pytest.mark.spec("STO-47", "STO-2", "STO-3", "STO-11")
@pytest.mark.parametrize("part", range(3))
async def test_killed_at_random_nothing_acknowledged_is_lost_and_nothing_is_half(
    tmp_path: Path, children: Iterator[Child], part: int
) -> None:
    chance = random.Random(part)
    acknowledged = Acknowledged()

    for round_number in range(max(1, ROUNDS // 2 // 3)):
        if round_number % ROUNDS_PER_STORE == 0:
            path, acknowledged = tmp_path / f"store-{round_number}", Acknowledged()
        child = next(children)
        child.start(path, round_number, is_sync=chance.random() < 0.7)
        run_and_kill(child, chance, acknowledged)

        await check(path, acknowledged)


@pytest.mark.spec("STO-47", "STO-2", "STO-3", "STO-13")
@pytest.mark.parametrize("name", FAILPOINTS)
async def test_killed_within_a_commit_nothing_acknowledged_is_lost_and_nothing_is_half(
    tmp_path: Path, children: Iterator[Child], name: str
) -> None:
    chance = random.Random(name)
    acknowledged = Acknowledged()

    for round_number in range(max(1, ROUNDS // 2 // len(FAILPOINTS))):
        if round_number % ROUNDS_PER_STORE == 0:
            path, acknowledged = tmp_path / f"store-{round_number}", Acknowledged()
        child = next(children)
        hit = chance.choice((1, 2, chance.randrange(3, 200)))
        child.start(path, round_number, failpoints=f"{name}=kill@{hit}")
        run_to_failpoint(child, acknowledged)

        await check(path, acknowledged)


@pytest.mark.spec("STO-47", "STO-2")
async def test_killed_while_it_recovers_the_next_opening_recovers(
    tmp_path: Path, children: Iterator[Child]
) -> None:
    acknowledged, chance = Acknowledged(), random.Random(1)

    for round_number in range(max(1, ROUNDS // 20)):
        child = next(children)
        child.start(tmp_path / "store", 2 * round_number)
        run_and_kill(child, chance, acknowledged)
        child = next(children)
        child.start(tmp_path / "store", 2 * round_number + 1, failpoints="open.after_recover=kill")
        run_to_failpoint(child, acknowledged)

        await check(tmp_path / "store", acknowledged)


@pytest.mark.spec("STO-3", "STO-2")
async def test_killed_while_it_backs_up_the_store_is_whole_and_the_leftover_is_removed(
    tmp_path: Path, children: Iterator[Child]
) -> None:
    acknowledged = Acknowledged()
    child = next(children)
    child.start(
        tmp_path / "store", 0, failpoints="checkpoint=kill", backup=str(tmp_path / "backup")
    )

    run_to_failpoint(child, acknowledged)

    await check(tmp_path / "store", acknowledged)
    assert not list((tmp_path / "store").glob("*.checkpoint*"))


@pytest.mark.spec("STO-47")
async def test_a_backup_that_was_acknowledged_before_the_kill_is_whole(
    tmp_path: Path, children: Iterator[Child]
) -> None:
    acknowledged, backup = Acknowledged(), tmp_path / "backup"
    child = next(children)
    child.start(tmp_path / "store", 0, backup=str(backup))

    for line in child.read_lines(lambda _: (backup / "manifest.json").exists()) + child.kill():
        acknowledged.add(line)

    await check(tmp_path / "store", acknowledged)
    assert restore(backup, tmp_path / "restored").position > 200
