"""Which reaction a request came from: its idempotency key, from metadata and headers (CMD-24 to
CMD-26).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Final

from angzarr import wire
from angzarr.coordinators import books, validate
from angzarr.cover import ROOT_BYTES, Provenance
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
    return _of(source.source, source.source_seq, named.component, named.index, kind)


def kind_of_metadata(context: CallContext, default: int) -> int:
    """REJECTION or COMPENSATE where the metadata says so, else `default` (CMD-41)."""
    encoded = context.metadata.get(METADATA)
    if not encoded:
        return default
    data = encoded.encode("latin-1") if isinstance(encoded, str) else encoded
    kind = int(books.parse(wire.Provenance, data).kind)
    return kind if kind in (wire.REJECTION, wire.COMPENSATE) else default


def _of(
    source: wire.Cover, source_seq: int, component: str, index: int | bytes, kind: int
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
    if not root or not source.domain:
        return None
    return Provenance(books.cover_of(source), source_seq, component, index, kind)


def _digest(pages: Pages) -> bytes:
    digest = hashlib.sha256()
    for page in pages:
        payload = page.command if isinstance(page, wire.CommandPage) else page.event
        digest.update(books.full_name(payload.type_url).encode())
        digest.update(payload.value)
        if page.HasField("external"):
            digest.update(page.external.SerializeToString(deterministic=True))
    return digest.digest()
