"""The bank's processes are killed at every durable step, and at any moment, while money moves: at
the end it is all there, and each transfer was done or made good exactly once.
"""

from __future__ import annotations

import random
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import pytest
from bank_cluster import SHAPES, STORE, Cluster
from bank_points import AFTER, BEFORE, Point
from bank_processes import Zygote, zygote
from bank_rounds import Kill, Rounds
from harness import ROUNDS

pytestmark = [pytest.mark.crash, pytest.mark.timeout(max(180, 4 * ROUNDS))]

ROUNDS_PER_STORE: Final = 10
TIMES: Final = max(1, ROUNDS // 80)
"""All is done so many times, each with a seed of its own; once is some 130 rounds."""
MISSED_MAX: Final = 0.1
"""The share of points that a run over all of them may miss: how often a step is taken before all is
at rest is not quite certain.
"""
STORM_KILLS: Final = 6
"""Of one round in which nothing comes to rest."""

AGGREGATES: Final = (
    *("append.Opened", "append.Sent", "append.Received", "append.Returned"),
    *("append.Noted", "append.Booked", "append.Audited"),
)
SAGAS: Final = ("append.key", "dead_letters.put")
WATCH: Final = ("append.Begun", "append.Ended", "append.Closed")
OBLIGATIONS: Final = ("obligations.due", "obligations.close")
CONSUMERS: Final = ("positions.put_cursor", "positions.lease")
VIEWS: Final = ("statement.commit", "feed.put", "positions.put")
MEMORY: Final = Path("/dev/shm")
FAILPOINTS: Final = (
    *("group.before_write", "group.after_write", "group.before_ack", "group.after_ack"),
)

STEPS: Final = {
    "whole": {STORE: (*AGGREGATES, *SAGAS, *WATCH, *OBLIGATIONS, *CONSUMERS, *VIEWS)},
    "split": {
        STORE: (*AGGREGATES, *SAGAS, *WATCH, *OBLIGATIONS, *CONSUMERS, "positions.put"),
        "sagas": (*SAGAS, *OBLIGATIONS, *CONSUMERS, "command.sent"),
        "watch": (*WATCH, *OBLIGATIONS, *CONSUMERS, "command.sent"),
        "views": (*VIEWS, *CONSUMERS),
    },
}
"""The durable steps that each process takes, by shape and role."""


RARE: Final = ("append.Audited", "dead_letters.put")
"""Steps that are taken once or twice a round."""
STARTS: Final = {
    "whole": {STORE: (*CONSUMERS, "obligations.due", "positions.reset")},
    "split": {
        "sagas": ("positions.lease", "obligations.due"),
        "watch": ("positions.lease", "obligations.due"),
        "views": (*CONSUMERS, "positions.reset"),
    },
}
"""Steps that processes take when they begin with what others have left."""


@pytest.fixture(scope="module")
def forks() -> Iterator[Zygote]:
    with zygote() as made:
        yield made


@pytest.fixture
def directory() -> Iterator[Path]:
    """A new one in memory, where there is that: what a process wrote survives its end there as
    well, and nothing waits for a disk. Its path is short, since sockets are in it.
    """
    made = Path(tempfile.mkdtemp(prefix="bank-", dir=MEMORY if MEMORY.is_dir() else None))
    yield made
    shutil.rmtree(made)


def at_steps(shape: str, chance: random.Random) -> list[list[Kill]]:
    """Rounds that have a kill on each side of each step of each process, its n-th after a few.

    Where there are several processes, some die in the same round.
    """
    kills = {role: _at_steps_of(shape, role, chance) for role in STEPS[shape]}
    count = max(map(len, kills.values()))
    columns = [chance.sample([*own, *[None] * (count - len(own))], count) for own in kills.values()]
    return [[kill for kill in row if kill] for row in zip(*columns, strict=True)]


def _at_steps_of(shape: str, role: str, chance: random.Random) -> list[Kill | None]:
    kills: list[Kill | None] = []
    for side in BEFORE, AFTER:
        for step in STEPS[shape][role]:
            hit = 1 if step in RARE else chance.choice((1, 1, 2, 3))
            kills += [Kill(role, Point(step, side, hit))]
        for step in STARTS[shape].get(role, ()):
            kills += [Kill(role, Point(step, side), starts=True)]
    return kills


def at_any_moment(shape: str, chance: random.Random) -> list[list[Kill]]:
    """Rounds with a kill of each process at any moment, and of the engine within its commits."""
    rounds = [[Kill(role)] for role in SHAPES[shape]]
    for name in FAILPOINTS:
        failpoint = f"{name}=kill@{chance.randrange(1, 60)}"
        others = [Kill(role) for role in SHAPES[shape] if role != STORE]
        rounds.append([Kill(STORE, failpoint=failpoint), *chance.sample(others, len(others) // 2)])
    chance.shuffle(rounds)
    return rounds


async def play(
    forks: Zygote, directory: Path, shape: str, rounds: Sequence[list[Kill]], seed: int
) -> list[Kill]:
    """Play them, on a new store after every few; the kills whose points were not reached."""
    missed: list[Kill] = []
    for start in range(0, len(rounds), ROUNDS_PER_STORE):
        place = directory / str(start)
        place.mkdir()
        async with Cluster(forks, place, shape) as cluster:
            name = f"{shape}, seed {seed}, store {start // ROUNDS_PER_STORE}"
            played = Rounds(cluster, random.Random(f"{seed} {start}"), name)
            await played.play(rounds[start : start + ROUNDS_PER_STORE])
            missed += played.missed
        shutil.rmtree(place)
    return missed


RULES: Final = (
    *("SAGA-2", "SAGA-13", "SAGA-18", "PM-6", "PM-8", "TIMER-2", "TIMER-4"),
    *("COMP-3", "COMP-4", "COMP-5", "COMP-13", "PROJ-3", "PROJ-4", "PROJ-6", "DLQ-3"),
    *("STO-23", "STO-26", "SYNC-3", "DEP-11", "DEP-14"),
)


@pytest.mark.spec(*RULES)
@pytest.mark.parametrize("shape", STEPS)
async def test_killed_at_each_durable_step(forks: Zygote, directory: Path, shape: str) -> None:
    for seed in range(TIMES):
        rounds = at_steps(shape, random.Random(seed))

        missed = await play(forks, directory, shape, rounds, seed)

        most = MISSED_MAX * sum(map(len, rounds))
        assert len(missed) <= most, f"these points were not reached: {missed}"


@pytest.mark.spec(*RULES)
@pytest.mark.parametrize("shape", SHAPES)
async def test_killed_at_any_moment(forks: Zygote, directory: Path, shape: str) -> None:
    for seed in range(TIMES):
        await play(forks, directory, shape, at_any_moment(shape, random.Random(seed)), seed)


@pytest.mark.spec(*RULES)
@pytest.mark.parametrize("shape", SHAPES)
async def test_killed_again_while_they_recover(forks: Zygote, directory: Path, shape: str) -> None:
    for seed in range(TIMES):
        chance = random.Random(seed)
        place = directory / str(seed)
        place.mkdir()
        kills = [Kill(chance.choice(list(SHAPES[shape]))) for _ in range(STORM_KILLS)]
        async with Cluster(forks, place, shape) as cluster:
            await Rounds(cluster, chance, f"{shape}, seed {seed}").storm(kills)


@pytest.mark.spec(*RULES)
@pytest.mark.parametrize("role", ["left", "right"])
async def test_a_process_that_slept_while_another_took_over_does_no_harm(
    forks: Zygote, directory: Path, role: str
) -> None:
    async with Cluster(forks, directory, "doubled") as cluster:
        rounds = Rounds(cluster, random.Random(role), f"doubled, {role} sleeps")
        for _ in range(TIMES):
            await rounds.sleep(role)
