"""What of a store is read as batches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from angzarr.coordinators import subscriptions
from angzarr.data.columns import CATEGORIES_MAX
from angzarr.data.fields import EventType, Fields
from angzarr.parts import Definition

BATCH_ROWS: Final = 262_144
"""The engine reads a window of the log in the order of its streams: larger ones are denser. With
a few fields two batches take 50 MiB."""
EVERYTHING: Final = "*"

Progress = Callable[[int, int], None]
"""Told (done, in all)."""
Told = Callable[[int, int, int], None]
"""Told (log position, done, in all)."""


@dataclass(frozen=True, slots=True)
class Selection:
    """What is read; see `batches`."""

    editions: str | Sequence[str] = "main"
    domains: str | Sequence[str] | None = None
    types: Sequence[EventType] | None = None
    fields: Fields = ()
    payloads: bool = False
    inherited: bool = False
    after: int = 0
    until: int | None = None
    batch_rows: int = BATCH_ROWS
    categories_max: int = CATEGORIES_MAX
    definitions: Sequence[Definition] = ()
    progress: Progress | None = None

    def editions_asked(self) -> list[str] | None:
        """Names as a store takes them; None is all."""
        names = [self.editions] if isinstance(self.editions, str) else list(self.editions)
        if EVERYTHING in names:
            return None
        return [name for one in names for name in subscriptions.editions_of([one]) or ()]

    def domains_asked(self) -> list[str] | None:
        """As `editions_asked`."""
        if self.domains is None:
            return None
        return [self.domains] if isinstance(self.domains, str) else list(self.domains)
