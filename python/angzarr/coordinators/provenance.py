"""Which reaction a request came from: its idempotency key, from metadata and headers (CMD-24 to
CMD-26), and the metadata that a reaction's requests carry (SAGA-11).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Final

from angzarr import wire
from angzarr.coordinators import books, validate
from angzarr.cover import OCCASION_BYTES, ROOT_BYTES, Cover, Provenance
from angzarr.errors import InvalidInput
from angzarr.ports.components import CallContext

METADATA: Final = "angzarr-provenance-bin"

Pages = Sequence[wire.CommandPage] | Sequence[wire.EventPage]


def provenance_of(
    header: wire.PageHeader, pages: Pages, context: CallContext, *, kind: int
) -> Provenance | None:
    """The request's provenance; None for a direct client's request, and for a source that names no
    stream.

    header: the one that may be `angzarr_deferred`. pages: what is hashed where no metadata counts
    the outputs. Raises InvalidInput for a source root of the wrong length, or fields outside
    CMD-2.
    """
    encoded = context.metadata.get(METADATA)
    is_deferred = header.HasField("angzarr_deferred")
    if encoded is None:
        if not is_deferred:
            return None
        deferred = header.angzarr_deferred
        return _of(deferred.source, deferred.source_seq, "", _digest(pages), kind)
    data = encoded.encode("latin-1") if isinstance(encoded, str) else encoded
    named = books.parse(wire.Provenance, data)
    source = header.angzarr_deferred if is_deferred else named  # WIRE-13
    return _of(source.source, source.source_seq, named.component, named.index, kind, named.occasion)


def kind_of_metadata(context: CallContext, default: int) -> int:
    """REJECTION or COMPENSATE where the metadata says so, else `default` (CMD-41)."""
    encoded = context.metadata.get(METADATA)
    if not encoded:
        return default
    data = encoded.encode("latin-1") if isinstance(encoded, str) else encoded
    kind = int(books.parse(wire.Provenance, data).kind)
    return kind if kind in (wire.REJECTION, wire.COMPENSATE) else default


def occasion_of(*parts: bytes) -> bytes:
    """The occasion that `parts` describe, in OCCASION_BYTES."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(4, "big") + part)
    return digest.digest()[:OCCASION_BYTES]


def source_bytes(source: Cover, source_seq: int, component: str) -> bytes:
    """The part of an encoded Provenance that all outputs of a reaction share."""
    sequence = b"\x10" + books.varint(source_seq) if source_seq else b""
    name = books.frame(books.TAG_3, component.encode())
    return books.frame(books.TAG_1, books.cover_bytes(source)) + sequence + name


def output_bytes(index: int, kind: int, occasion: bytes) -> bytes:
    """The part of an encoded Provenance that is one output's own; after source_bytes()."""
    number = b"\x20" + books.varint(index) if index else b""
    which = b"\x78" + books.varint(kind) if kind else b""
    return number + (books.frame(b"\x2a", occasion) if occasion else b"") + which


def encoded(provenance: Provenance) -> bytes:
    """A numbered output's Provenance as it travels, the source's correlation id included."""
    assert isinstance(provenance.index, int), "outputs of our reactions are numbered"
    shared = source_bytes(provenance.source, provenance.source_seq, provenance.component)
    return shared + output_bytes(provenance.index, provenance.kind, provenance.occasion)


def _of(
    source: wire.Cover,
    source_seq: int,
    component: str,
    index: int | bytes,
    kind: int,
    occasion: bytes = b"",
) -> Provenance | None:
    root = source.root.value
    if root and len(root) != ROOT_BYTES:
        raise InvalidInput(
            "provenance.source.root",
            f"{ROOT_BYTES} bytes",
            f"{len(root)} bytes",
            f"Invalid UUID: the source's root has {len(root)} bytes, not {ROOT_BYTES}",
        )
    if source.domain:
        validate.domain(source.domain, "provenance.source.domain")
    validate.edition(source.edition.name, "provenance.source.edition")
    if component:
        validate.component(component, "provenance.component")
    if occasion and len(occasion) != OCCASION_BYTES:
        raise InvalidInput(
            "provenance.occasion", f"empty or {OCCASION_BYTES} bytes", f"{len(occasion)} bytes"
        )
    if not root or not source.domain:
        return None
    return Provenance(books.cover_of(source), source_seq, component, index, kind, occasion)


def _digest(pages: Pages) -> bytes:
    digest = hashlib.sha256()
    for page in pages:
        payload = page.command if isinstance(page, wire.CommandPage) else page.event
        digest.update(books.full_name(payload.type_url).encode())
        digest.update(payload.value)
        if page.HasField("external"):
            digest.update(page.external.SerializeToString(deterministic=True))
    return digest.digest()
