"""What sagas and process managers promised and the worker of obligations keeps: how often it is
tried, and the dead letter when it is given up on (DLQ-2, DLQ-3).
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from angzarr import wire
from angzarr.coordinators import letters
from angzarr.coordinators.delivery import is_transient
from angzarr.coordinators.duty import Permanent
from angzarr.errors import AngzarrError

if TYPE_CHECKING:
    from angzarr.coordinators.options import Backoff
    from angzarr.coordinators.reaction import Means
    from angzarr.ports.event_store import Obligation


@dataclass(frozen=True, slots=True)
class Identity:
    """A component under its names.

    name: `saga:shipping`, `process_manager:fulfilment`; in logs, errors and dead letters.
    component: `saga:shipping`, `pm:fulfilment`; in provenance. component_type: of DLQ-2.
    """

    name: str
    component: str
    component_type: str


class ReactionDuty:
    """What the duties of one component have in common. kind: of its obligations."""

    def __init__(self, means: Means, identity: Identity, kind: str) -> None:
        self._means = means
        self._identity = identity
        self.kind = kind

    @property
    def backoff(self) -> Backoff:
        """Delays after failures."""
        return self._means.options.duties

    @property
    def max_attempts(self) -> int:
        """Then it is a dead letter."""
        return self._means.options.duties.tries

    @contextmanager
    def judged(self) -> Generator[None]:
        """Raise Permanent for a failure in the block that no further attempt can mend."""
        try:
            yield
        except AngzarrError as error:
            if is_transient(error):
                raise
            raise Permanent(error) from error

    def letter(
        self, message: wire.EventBook | wire.CommandBook, error: Exception, obligation: Obligation
    ) -> bytes:
        """The dead letter for what the obligation was about."""
        by, text = self._identity, str(error)
        attempts = max(obligation.attempts, 1)
        now_ns = self._means.clock.now_ns()
        if isinstance(message, wire.CommandBook):
            return letters.command_letter(
                message,
                letters.given_up(text, attempts),
                error=text,
                attempts=attempts,
                is_transient=is_transient(error),
                component=by.name,
                component_type=by.component_type,
                now_ns=now_ns,
            )
        return letters.delivery_letter(
            message.SerializeToString(),
            text,
            attempts=attempts,
            is_transient=is_transient(error),
            component=by.name,
            component_type=by.component_type,
            now_ns=now_ns,
        )
