"""The engine's columns as the port has them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from angzarr.cover import MAIN
from angzarr.ports.columns import Columns, FieldColumn, FieldSpec
from angzarr.stores._rocksdb_engine import Engine
from angzarr.stores._scanning import check_scan

POSITION_MAX: Final = 2**64 - 1


async def scan(
    engine: Engine,
    after: int,
    limit: int,
    editions: Sequence[str] | None,
    domains: Sequence[str] | None,
    fields: Sequence[FieldSpec],
) -> Columns:
    """As EventStore.scan."""
    check_scan(limit, fields)
    if editions is not None:
        editions = [edition or MAIN for edition in editions]
    count, last, rows, names, columns = await engine.in_thread(
        engine.native.scan,
        min(max(after, 0), POSITION_MAX),
        min(limit, POSITION_MAX),
        editions,
        domains,
        [(field.kind, _paths(field)) for field in fields],
    )
    return Columns(
        count,
        max(last, after),
        *rows,
        *names,
        [
            FieldColumn(field.name, field.kind, *column)
            for field, column in zip(fields, columns, strict=True)
        ],
    )


def _paths(field: FieldSpec) -> list[tuple[str, tuple[str, ...], tuple[int, ...], str]]:
    return [(path.type_name, path.keys, path.numbers, path.encoding) for path in field.paths]
