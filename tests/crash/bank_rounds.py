"""Rounds of the bank: clients move money, a process is killed and started again, all comes to rest,
and what is there then is checked.
"""

from __future__ import annotations

import asyncio
import random
import traceback
from collections.abc import Coroutine, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from bank_cluster import LEASE_S, Cluster
from bank_found import found, settled, unsettled
from bank_history import problems
from bank_load import Load
from bank_points import Point

TRANSFER_COUNT: Final = 8
"""Of one round."""
LATER_S: Final = 0.03
"""A kill at any moment is up to so much later than an answer: what follows from it takes that."""
SLEEP_S: Final = 4 * LEASE_S
STORM_S: Final = 0.1
"""The longest that a process lives in a storm, from when it is ready."""
ROUND_S_MAX: Final = 60.0
"""How long a round may take; a hundred times what it needs."""


@dataclass(frozen=True, slots=True)
class Kill:
    """role: whose process. point: where it kills itself; None: it is killed from outside at any
    moment. failpoint: instead, one of its engine (rust/core/src/failpoint.rs). starts: whether the
    steps count from its start, which is part of the round then.
    """

    role: str
    point: Point | None = None
    failpoint: str = ""
    starts: bool = False

    def __str__(self) -> str:
        where = self.failpoint or self.point or "at random"
        return f"{self.role} {where}{' from its start' if self.starts else ''}"


class Rounds:
    """Rounds with one cluster. name: what failures call them, so that they can be played again.

    missed: kills whose point was not reached; their process was killed at the round's end.
    """

    def __init__(self, cluster: Cluster, chance: random.Random, name: str) -> None:
        self.missed: list[Kill] = []
        self._cluster = cluster
        self._chance = chance
        self._name = name
        self._load = Load(cluster, chance)

    async def play(self, rounds: Iterable[Sequence[Kill]]) -> None:
        """A round for each, with kills of different processes, and one in which all processes are
        killed at once.
        """
        for number, kills in enumerate(rounds):
            what = f"round {number}, {' and '.join(map(str, kills))}"
            await self._checked(what, self._round(kills))
        await self._checked("all killed at once", self._all_at_once())

    async def storm(self, kills: Sequence[Kill]) -> None:
        """All of them in one round, without a rest in between."""
        names = ", ".join(map(str, kills))
        await self._checked(f"a storm of {names}", self._storm(kills))

    async def sleep(self, role: str) -> None:
        """One process is paused until others have its leases, and then goes on with what it was
        at.
        """
        await self._checked(f"{role} sleeps", self._sleep(role))

    async def _checked(self, what: str, work: Coroutine[object, object, None]) -> None:
        """Let it run to its end, and see what is there then."""
        try:
            async with asyncio.timeout(ROUND_S_MAX):
                await work
                await settled(self._cluster)
            wrong = problems(await found(self._cluster), self._load.wanted)
        except TimeoutError:
            wrong = [f"it does not come to rest: {await unsettled(self._cluster)}"]
        except Exception:
            wrong = [traceback.format_exc()]
        if wrong:
            lines = "\n".join(wrong)
            raise AssertionError(f"{self._name}, {what}:\n{lines}\n{self._cluster.logs()}")

    async def _round(self, kills: Sequence[Kill]) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._load.run(TRANSFER_COUNT))
            for kill in kills:
                group.create_task(self._kill(kill))

    async def _kill(self, kill: Kill) -> None:
        """Let it happen, and start the process again."""
        role, point = kill.role, kill.point
        if kill.failpoint or kill.starts:
            await self._cluster.stop(role)
            await self._cluster.start(role, failpoints=kill.failpoint, point=point)
        elif point:
            self._cluster.processes[role].arm(point)
        if kill.failpoint or point:
            await self._die_by_itself(kill)
        else:
            await self._sometime()
            await self._cluster.stop(role)
        await self._cluster.start(role)

    async def _die_by_itself(self, kill: Kill) -> None:
        """Wait until it has killed itself, or kill it when nothing is left to do."""
        process = self._cluster.processes[kill.role]
        death = asyncio.create_task(process.ended())
        rest = asyncio.create_task(self._at_rest())
        await asyncio.wait((death, rest), return_when=asyncio.FIRST_COMPLETED)
        if not death.done():
            process.kill()
            self.missed.append(kill)
        rest.cancel()
        await asyncio.gather(death, rest, return_exceptions=True)
        death.result()

    async def _at_rest(self) -> None:
        await self._load.done()
        await settled(self._cluster)

    async def _storm(self, kills: Sequence[Kill]) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._load.run(TRANSFER_COUNT * 2))
            await self._load.reached(1)
            for kill in kills:
                if kill.point:
                    self._cluster.processes[kill.role].arm(kill.point)
                await asyncio.sleep(self._chance.random() * STORM_S)
                await self._cluster.stop(kill.role)
                await self._cluster.start(kill.role)

    async def _sleep(self, role: str) -> None:
        process = self._cluster.processes[role]
        async with asyncio.TaskGroup() as group:
            group.create_task(self._load.run(TRANSFER_COUNT))
            await self._sometime()
            process.pause()
            await asyncio.sleep(SLEEP_S)  # not until all is done: it may have the read model's lock
        process.go_on()

    async def _sometime(self) -> None:
        """Until somewhere in the round's work."""
        await self._load.reached(self._chance.randrange(TRANSFER_COUNT))
        await asyncio.sleep(self._chance.random() * LATER_S)

    async def _all_at_once(self) -> None:
        roles = list(self._cluster.roles)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._load.run(TRANSFER_COUNT))
            await self._sometime()
            for role in roles:
                await self._cluster.stop(role)
            for role in roles:
                await self._cluster.start(role)
