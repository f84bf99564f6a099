"""The owner of a store, and a process that uses it from afar, are killed in turn (DEP-11)."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness import ROUNDS, Acknowledged, Child, check, run_and_kill

pytestmark = [pytest.mark.crash, pytest.mark.timeout(max(120, ROUNDS))]

OWNER = (sys.executable, str(Path(__file__).with_name("store_owner.py")))
AFTER_ACK = ("group.before_write", "group.after_write", "group.before_ack")


class Processes:
    """Owners and users, imported while their predecessors are at work."""

    def __init__(self) -> None:
        self._owners, self._users = [Child(OWNER)], [Child()]

    def owner(self, path: Path, round_number: int, failpoints: str = "") -> tuple[Child, str]:
        """A process that has the store open, and the store's URL for others."""
        self._owners.append(Child(OWNER))
        owner = self._owners.pop(0)
        owner.start(path, round_number, failpoints=failpoints)
        [line] = owner.read_lines(lambda count: count > 0)
        return owner, f"grpc://{line.removeprefix('at ')}"

    def user(self, path: Path, round_number: int, url: str) -> Child:
        """A process that writes to the store at `url`."""
        self._users.append(Child())
        user = self._users.pop(0)
        user.start(path, round_number, url=url)
        return user

    def close(self) -> None:
        for child in (*self._owners, *self._users):
            child.kill()


@pytest.fixture
def processes() -> Iterator[Processes]:
    made = Processes()
    yield made
    made.close()


@pytest.mark.spec("DEP-11", "STO-47", "STO-2", "STO-3", "STO-23")
async def test_killed_owners_lose_nothing_that_a_process_elsewhere_was_told(
    tmp_path: Path, processes: Processes
) -> None:
    chance, acknowledged = random.Random(5), Acknowledged()

    for round_number in range(max(2, ROUNDS // 12)):
        failpoints = ""
        if round_number % 2:
            failpoints = f"{chance.choice(AFTER_ACK)}=kill@{chance.randrange(1, 300)}"
        owner, url = processes.owner(tmp_path / "store", round_number, failpoints)
        user = processes.user(tmp_path / "store", round_number, url)
        wanted = chance.randrange(400)
        lines = user.read_lines(lambda count, wanted=wanted: count >= wanted)
        owner.kill()
        for line in lines + user.drain():
            acknowledged.add(line)

        assert user.process.returncode == 3, "it ends when its store is gone"
        await check(tmp_path / "store", acknowledged)


@pytest.mark.spec("DEP-11", "STO-47", "STO-3", "STO-23")
async def test_killed_users_leave_nothing_half_in_the_store_elsewhere(
    tmp_path: Path, processes: Processes
) -> None:
    chance, acknowledged = random.Random(6), Acknowledged()
    owner, url = processes.owner(tmp_path / "store", 0)

    for round_number in range(max(2, ROUNDS // 12)):
        user = processes.user(tmp_path / "store", round_number, url)
        run_and_kill(user, chance, acknowledged)

    owner.kill()
    await check(tmp_path / "store", acknowledged)
