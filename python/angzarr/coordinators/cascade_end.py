"""The end of a root CASCADE request with a cascade id: its cascade is committed or rolled back
(CAS-12, CAS-13, CAS-16, CAS-25).
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from angzarr.coordinators.resolution import Resolved, resolve
from angzarr.errors import AngzarrError, CascadeRolledBack, CascadeUndecided
from angzarr.ports.event_store import COMMIT, ROLLBACK, Decision, EventStore, Participant

_log = logging.getLogger(__name__)


class CascadeEnd:
    """Decides one cascade over an event store."""

    def __init__(self, events: EventStore, cascade_id: str, correlation_id: str) -> None:
        self._events = events
        self._cascade_id = cascade_id
        self._correlation_id = correlation_id

    async def participants(self) -> list[Participant]:
        """Streams with undecided pages of it; CascadeUndecided if they can't be told."""
        try:
            return await self._events.query_cascade_participants(self._cascade_id)
        except AngzarrError as error:
            raise CascadeUndecided(self._cascade_id) from error

    async def commit(self) -> Sequence[Resolved]:
        """Commit it; the markers that were written. Markers that could not be, the reaper writes:
        readers follow the decision.

        Raises CascadeRolledBack if somebody else has rolled it back, CascadeUndecided.
        """
        decision = await self._decide(COMMIT, "")
        resolved = await self._resolve()
        if decision.outcome == ROLLBACK:
            raise CascadeRolledBack(self._cascade_id, decision.reason)
        return resolved

    async def roll_back(self, reason: str) -> None:
        """Roll it back. A decision for the other outcome stands, and the request fails anyway.

        Raises CascadeRolledBack if somebody else has rolled it back before, CascadeUndecided.
        """
        decision = await self._decide(ROLLBACK, reason)
        await self._resolve()
        if decision.outcome == ROLLBACK and decision.reason != reason:
            raise CascadeRolledBack(self._cascade_id, decision.reason)

    async def _decide(self, outcome: str, reason: str) -> Decision:
        try:
            return await self._events.decide_cascade(self._cascade_id, outcome, reason)
        except AngzarrError as error:
            raise CascadeUndecided(self._cascade_id) from error

    async def _resolve(self) -> Sequence[Resolved]:
        try:
            return await resolve(self._events, self._cascade_id, self._correlation_id)
        except AngzarrError as error:
            _log.warning("cascade %s is decided, markers are missing: %s", self._cascade_id, error)
            return ()
