"""The address of a stream, and of what caused a command: value objects without I/O."""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final

MAIN: Final = "angzarr"
"""Name of the main timeline; unset and "" mean the same on input (WIRE-7)."""

ROOT_BYTES: Final = 16
NAMESPACE: Final = uuid.uuid5(uuid.NAMESPACE_DNS, "angzarr.dev")

Root = str | bytes | uuid.UUID
"""What names a root: see `root_of`."""

COMMAND, REJECTION, COMPENSATE, FACT = range(4)
"""Kinds of provenance; the numbers of `ProvenanceKind`."""
REFUSED, SCHEDULED, TRIGGER = 4, 5, 6
"""Kinds that only keys have, never a message: at its source a command that was rejected for good
(COMP-3), and a timer that was carried out (TIMER-2); a trigger that a process manager has reacted
to (PM-6)."""
OCCASION_BYTES: Final = 16


@dataclass(frozen=True, slots=True)
class Cover:
    """Where a book belongs: one stream, and the correlation id that runs through it.

    root: 16 bytes. edition: "" is turned into the main timeline's name.
    """

    domain: str
    root: bytes
    edition: str = MAIN
    correlation_id: str = ""

    def __post_init__(self) -> None:
        if not self.edition:
            object.__setattr__(self, "edition", MAIN)

    @classmethod
    def of(cls, domain: str, root: Root) -> Cover:
        """The stream of a root on main, the root named as callers name it."""
        return Cover(domain, root_of(root))

    @property
    def stream(self) -> tuple[str, str, bytes]:
        """The stream's key: domain, edition, root."""
        return self.domain, self.edition, self.root

    @property
    def is_main(self) -> bool:
        return self.edition == MAIN

    def on(self, edition: str) -> Cover:
        """The same stream on another edition."""
        return replace(self, edition=edition)

    def __str__(self) -> str:
        root = str(uuid.UUID(bytes=self.root)) if len(self.root) == ROOT_BYTES else self.root.hex()
        return f"{self.domain}/{root}" + ("" if self.is_main else f"@{self.edition}")


@dataclass(frozen=True, slots=True)
class Provenance:
    """Which output of which reaction a command, fact or notification is (CMD-26).

    kind: COMMAND, REJECTION, COMPENSATE or FACT. index: the output's number, or the SHA-256 of
    type name and command bytes where a 0.3 client gives none. occasion: b"", or OCCASION_BYTES that
    tell reactions with the same source and source_seq apart.
    """

    source: Cover
    source_seq: int
    component: str = ""
    index: int | bytes = 0
    kind: int = COMMAND
    occasion: bytes = b""

    @property
    def key(self) -> bytes:
        """Canonical bytes of the idempotency key; the correlation id is not part of it."""
        source, index = self.source, self.index
        return b"".join(
            (
                self.kind.to_bytes(1, "big"),
                _framed(self.component, source.edition, source.domain),
                source.root,
                self.source_seq.to_bytes(4, "big"),
                index if isinstance(index, bytes) else index.to_bytes(4, "big"),
                self.occasion,  # its length is fixed, so no two keys have the same bytes
            )
        )


@lru_cache(maxsize=1024)
def _framed(*texts: str) -> bytes:
    """The texts' bytes, each behind its length."""
    return b"".join(len(t.encode()).to_bytes(2, "big") + t.encode() for t in texts)


_UUID_TEXT = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


def root_of(name: Root) -> bytes:
    """The 16-byte root for a name: a UUID, its text or its bytes as they are, other text as its
    UUIDv5.

    The namespace is UUIDv5(DNS, "angzarr.dev"), the one of PM-2, so a workflow's root follows from
    its id.
    """
    if isinstance(name, uuid.UUID):
        return name.bytes
    if isinstance(name, bytes):
        return name
    if _UUID_TEXT.fullmatch(name):
        return uuid.UUID(name).bytes
    return uuid.uuid5(NAMESPACE, name).bytes
