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
            pages = await upcast(upcaster, domain, _pages(batch, rows, reader))
            batch = _replaced(reader, batch, rows, domain, pages)
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


def _replaced(
    reader: Reader, batch: Batch, rows: Array, domain: str, pages: list[wire.EventPage]
) -> Batch:
    """The batch with types and fields of these rows as they are in `pages`."""
    made = Rows(reader.specs(with_payloads=True))
    made.add((domain, "", _NO_ROOT), 1, pages)
    part = reader.batch(made.columns(0))
    if len(part) != len(rows):
        raise UpcasterFailed(domain, "an event of a type of the framework came back")
    columns, valid = dict(batch.columns), dict(batch.valid)
    for name in ("type", *(plan.name for plan in reader.plans)):
        columns[name] = _with(columns[name], rows, part[name])
    for name in valid:
        valid[name] = _with(valid[name], rows, part.valid[name])
    payloads = batch.payloads
    if reader.has_payloads and payloads is not None and part.payloads is not None:
        all_payloads = payloads[:]
        for row, payload in zip(rows.tolist(), part.payloads, strict=True):
            all_payloads[row] = payload
        payloads = Payloads.of(all_payloads)
    return replace(batch, columns=columns, valid=valid, payloads=payloads)


def _with(column: Array, rows: Array, values: Array) -> Array:
    changed = column.copy()
    changed[rows] = values
    return changed
