"""Which adapter a target of `dlq.targets` names; each is imported when first used."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from angzarr.deadletters.chain import Chain, Target
from angzarr.ports.clock import Clock
from angzarr.ports.dead_letters import DeadLetterQueue
from angzarr.ports.edition_store import EditionStore
from angzarr.ports.event_store import EventStore
from angzarr.ports.obligations import ObligationStore
from angzarr.ports.position_store import PositionStore
from angzarr.ports.snapshot_store import SnapshotStore
from angzarr.ports.stores import StoreFacts, Stores

STORE: Final = "store"


class Named(Protocol):
    """A target as configured. path, max_files: of `filesystem` alone."""

    @property
    def type(self) -> str: ...
    @property
    def path(self) -> str: ...
    @property
    def max_files(self) -> int: ...


def redirected(stores: Stores, targets: Sequence[Named], clock: Clock) -> Stores:
    """`stores`, with dead letters going to `targets`; as they are where that is the store alone.

    The configuration has checked the types. Raises StoreUnavailable for a directory that can't be
    used.
    """
    if all(target.type == STORE for target in targets):
        return stores
    chain = Chain([ADAPTERS[target.type](target, stores, clock) for target in targets])
    return _Redirected(stores, chain)


def _store(named: Named, stores: Stores, _clock: Clock) -> Target:
    return Target(named.type, stores.dead_letters, stores.dead_letters)


def _filesystem(named: Named, _stores: Stores, clock: Clock) -> Target:
    from angzarr.deadletters.filesystem import FilesystemDeadLetters

    made = FilesystemDeadLetters(Path(named.path), clock, max_files=named.max_files)
    return Target(named.type, made, made)


def _logging(named: Named, _stores: Stores, clock: Clock) -> Target:
    from angzarr.deadletters.log import LoggedDeadLetters

    return Target(named.type, LoggedDeadLetters(clock))


def _channel(named: Named, _stores: Stores, _clock: Clock) -> Target:
    from angzarr.deadletters.channel import ChannelDeadLetters

    return Target(named.type, ChannelDeadLetters())


ADAPTERS: Final[Mapping[str, Callable[[Named, Stores, Clock], Target]]] = {
    "channel": _channel,
    "filesystem": _filesystem,
    "logging": _logging,
    STORE: _store,
}


@dataclass(frozen=True, slots=True)
class _Redirected:
    """Stores whose dead letters are elsewhere."""

    _stores: Stores
    dead_letters: DeadLetterQueue

    @property
    def events(self) -> EventStore:
        return self._stores.events

    @property
    def snapshots(self) -> SnapshotStore:
        return self._stores.snapshots

    @property
    def positions(self) -> PositionStore:
        return self._stores.positions

    @property
    def obligations(self) -> ObligationStore:
        return self._stores.obligations

    @property
    def editions(self) -> EditionStore:
        return self._stores.editions

    def facts(self) -> StoreFacts:
        return self._stores.facts()

    async def backup(
        self, target: Path, progress: Callable[[int, int], None] | None = None
    ) -> None:
        await self._stores.backup(target, progress)

    async def close(self) -> None:
        await self._stores.close()
