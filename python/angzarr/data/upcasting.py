"""Old events of a batch lifted to current types before their fields are read (DATA-6)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

import numpy as np
from google.protobuf.message import DecodeError

from angzarr import codec, wire
from angzarr.data.batch import Array, Batch, Payloads
from angzarr.data.columns import Reader
from angzarr.errors import AngzarrError, UpcasterFailed
from angzarr.ports.components import CallContext, Upcaster
from angzarr.stores._scanning import Rows  # pyright: ignore[reportPrivateUsage]

NS_PER_S: Final = 1_000_000_000
PAGES_MAX: Final = 8_192
"""Rows that are pages at one time, which are much larger."""
_NO_ROOT: Final = bytes(16)


async def lifted(reader: Reader, batch: Batch, upcasters: Mapping[str, Upcaster]) -> Batch:
    """The batch, which has payloads, with the rows of domains with an upcaster as it makes them.

    Raises UpcasterFailed.
    """
    domains = reader.categories["domain"]
    for domain, upcaster in upcasters.items():
        if domain not in domains:
            continue
        rows = np.flatnonzero(batch["domain"] == domains.index(domain))
        if len(rows):
            batch = await _lifted(reader, batch, rows, domain, upcaster)
    return batch if reader.has_payloads else replace(batch, payloads=None)


async def upcast(
    upcaster: Upcaster, domain: str, pages: list[wire.EventPage]
) -> list[wire.EventPage]:
    """The pages as the upcaster makes them. Raises UpcasterFailed (UPC-4)."""
    request = wire.UpcastRequest(domain=domain, events=pages).SerializeToString()
    try:
        answer = await upcaster.upcast(request, CallContext())
        found = list(wire.UpcastResponse.FromString(answer).events)
    except (AngzarrError, DecodeError) as error:
        raise UpcasterFailed(domain, str(error)) from error
    if len(found) != len(pages):
        raise UpcasterFailed(domain, f"sent {len(pages)} pages, got {len(found)}")
    return found


def _pages(batch: Batch, rows: Array, reader: Reader) -> list[wire.EventPage]:
    """The rows as pages again."""
    payloads, names = batch.payloads, reader.categories["type"]
    assert payloads is not None
    pages: list[wire.EventPage] = []
    for row, time_ns in zip(
        rows.tolist(), batch["time"][rows].view(np.int64).tolist(), strict=True
    ):
        value = payloads[int(row)]
        # No message begins as an object does: 0x7b would be the start of a group, field 15.
        prefix = codec.JSON_PREFIX if value[:1] == b"{" else codec.PROTOBUF_PREFIX
        page = wire.EventPage(committed=True)
        page.header.sequence = int(batch["sequence"][row])
        page.created_at.seconds, page.created_at.nanos = divmod(time_ns, NS_PER_S)
        page.event.type_url = prefix + names[int(batch["type"][row])]
        page.event.value = value
        pages.append(page)
    return pages


async def _lifted(
    reader: Reader, batch: Batch, rows: Array, domain: str, upcaster: Upcaster
) -> Batch:
    """The batch with types, fields and payloads of these rows as the upcaster makes them."""
    names = ("type", *(plan.name for plan in reader.plans))
    columns = {**batch.columns, **{name: batch[name].copy() for name in names}}
    valid = {name: mask.copy() for name, mask in batch.valid.items()}
    payloads = batch.payloads[:] if reader.has_payloads and batch.payloads is not None else []
    for first in range(0, len(rows), PAGES_MAX):
        some = rows[first : first + PAGES_MAX]
        made = Rows(reader.specs(with_payloads=True))
        pages = await upcast(upcaster, domain, _pages(batch, some, reader))
        made.add((domain, "", _NO_ROOT), 1, pages)
        part = reader.batch(made.columns(0))
        if len(part) != len(some):
            raise UpcasterFailed(domain, "an event of a type of the framework came back")
        for name in names:
            columns[name][some] = part[name]
        for name, mask in valid.items():
            mask[some] = part.valid[name]
        if payloads and part.payloads is not None:
            for row, payload in zip(some.tolist(), part.payloads, strict=True):
                payloads[row] = payload
    kept = Payloads.of(payloads) if payloads else batch.payloads
    return replace(batch, columns=columns, valid=valid, payloads=kept)
