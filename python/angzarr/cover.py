"""The address of a stream, and of what caused a command: value objects without I/O."""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Final

MAIN: Final = "angzarr"
"""Name of the main timeline; unset and "" mean the same on input (WIRE-7)."""

ROOT_BYTES: Final = 16
NAMESPACE: Final = uuid.uuid5(uuid.NAMESPACE_DNS, "angzarr.dev")

COMMAND, REJECTION, COMPENSATE, FACT = range(4)
"""Kinds of provenance; the numbers of `ProvenanceKind`."""
SETTLED, TRIGGER = 4, 5
"""Kinds that only keys have, never a message: an output that is done with at its source (COMP-3),
and a trigger that a process manager has reacted to (PM-6)."""
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


@dataclass(frozen=True)
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

    @cached_property
    def key(self) -> bytes:
        """Canonical bytes of the idempotency key; the correlation id is not part of it."""
        texts = (self.component, self.source.edition, self.source.domain)
        parts = [bytes([self.kind])]
        parts += [len(t.encode()).to_bytes(2, "big") + t.encode() for t in texts]
        parts += [self.source.root, self.source_seq.to_bytes(4, "big")]
        parts.append(self.index if isinstance(self.index, bytes) else self.index.to_bytes(4, "big"))
        parts.append(self.occasion)  # its length is fixed, so no two keys have the same bytes
        return b"".join(parts)


_UUID_TEXT = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


def root_of(name: str | bytes | uuid.UUID) -> bytes:
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
