"""The log as a stream of batches (DATA-1 to DATA-9)."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final, TypedDict, Unpack

from angzarr.data import composites
from angzarr.data._duals import Dual
from angzarr.data.batch import Batch, concatenated
from angzarr.data.columns import CATEGORIES_MAX, Reader
from angzarr.data.fields import Catalog, EventType, Fields
from angzarr.data.files import Format, Writer, writer
from angzarr.data.selection import BATCH_ROWS, Progress, Selection, Told
from angzarr.data.sources import Opened, Source, definitions_of, opened, thread_of
from angzarr.data.upcasting import lifted
from angzarr.errors import InvalidInput, TooLarge
from angzarr.parts import Definition
from angzarr.ports.columns import Columns
from angzarr.ports.components import Upcaster
from angzarr.stores._scanning import Rows  # pyright: ignore[reportPrivateUsage]
from angzarr.sync_bridge import LoopThread

ROWS_MAX: Final = 10_000_000
"""Rows that `read` puts together; more are for `batches`."""


class Batches(Dual[Batch]):
    """What `batches` gives: for `for` and `async for`, each time from the beginning."""

    def __init__(self, source: Source, selection: Selection) -> None:
        if selection.batch_rows < 1:
            raise InvalidInput("batch_rows", "at least 1", selection.batch_rows)
        self._source = source
        self._selection = selection
        self.position = selection.after
        """Of the log, up to which the last iteration has come; where another one can go on."""
        definitions = definitions_of(source, selection.definitions)
        catalog = Catalog(definitions, selection.domains_asked())
        self._plans = catalog.plans(selection.fields)
        self._types: frozenset[str] | None = None
        if selection.types is not None:
            self._types = frozenset(
                name for one in selection.types for name in catalog.names(one, "types")
            )

    def _thread(self) -> LoopThread | None:
        return thread_of(self._source)

    def _is_bound(self) -> bool:
        return not isinstance(self._source, str | Path)

    def nothing(self) -> Batch:
        """A batch without rows, with all columns."""
        reader = self._reader()
        rows = Rows(reader.specs())
        batch = reader.batch(rows.columns(self.position))
        return composites.marked(batch) if self._selection.inherited else batch

    def save(
        self, path: str | Path, format: Format | None = None, *, overwrite: bool = False
    ) -> Writer:
        """Write all rows to a file, as `data.writer` does; its figures.

        Raises as `writer` and an iteration do; then there is no file.
        """
        with writer(path, format, overwrite=overwrite) as file:
            for batch in self:
                file.write(batch)
            if not file.row_count:
                file.write(self.nothing())
        return file

    async def _items(self) -> AsyncGenerator[Batch]:
        selection, reader = self._selection, self._reader()

        def told(position: int, done_count: int, total_count: int) -> None:
            self.position = position
            if selection.progress is not None:
                selection.progress(done_count, total_count)

        read = composites.batches if selection.inherited else _scanned
        async with (
            opened(self._source, selection.definitions) as source,
            contextlib.aclosing(read(source, selection, reader, told)) as found,
        ):
            async for batch in found:
                yield batch

    def _reader(self) -> Reader:
        return Reader(
            self._plans,
            has_payloads=self._selection.payloads,
            types=self._types,
            categories_max=self._selection.categories_max,
        )


def batches(
    source: Source,
    *,
    editions: str | Sequence[str] = "main",
    domains: str | Sequence[str] | None = None,
    types: Sequence[EventType] | None = None,
    fields: Fields = (),
    payloads: bool = False,
    inherited: bool = False,
    after: int = 0,
    until: int | None = None,
    batch_rows: int = BATCH_ROWS,
    categories_max: int = CATEGORIES_MAX,
    definitions: Sequence[Definition] = (),
    progress: Progress | None = None,
) -> Batches:
    """The visible events of the log in its order, as numpy arrays, batch by batch.

    source: what is read; see `Source`. An app or a store of this process is read with `async for`
        in its event loop; everything else with `for` as well.
    editions, domains, types: those that are read: one, several, or "*" for all editions. Types are
        event classes or their names, as they are after upcasting.
    fields: payload fields that become columns; see `angzarr.data.fields`. payloads: whole payloads.
    inherited: each stream of the editions as it reads, with what it inherits; see `composites`.
    after, until: log positions, the first excluded, the last included; None is where the log ends
        when the reading begins. batch_rows: log positions that are looked at for one batch, and so
        its rows at most, but for a commit that has more; batches without rows are left out.
    categories_max: distinct strings that one column of codes may have.
    definitions: Aggregate, ProcessManager and Upcaster classes, beside those of an app.
    progress: told (positions done, positions in all) after each batch.

    Memory: two batches, their strings, and the categories. Raises InvalidInput at once for what
    doesn't fit together, TooLarge for too many categories, UpcasterFailed, and what stores raise.
    """
    selection = Selection(
        editions=editions,
        domains=domains,
        types=types,
        fields=fields,
        payloads=payloads,
        inherited=inherited,
        after=after,
        until=until,
        batch_rows=batch_rows,
        categories_max=categories_max,
        definitions=definitions,
        progress=progress,
    )
    return Batches(source, selection)


class Options(TypedDict, total=False):
    """The options of `batches`, for `read`."""

    editions: str | Sequence[str]
    domains: str | Sequence[str] | None
    types: Sequence[EventType] | None
    fields: Fields
    payloads: bool
    inherited: bool
    after: int
    until: int | None
    batch_rows: int
    categories_max: int
    definitions: Sequence[Definition]
    progress: Progress | None


def read(source: Source, *, max_rows: int = ROWS_MAX, **options: Unpack[Options]) -> Batch:
    """All rows as one batch; the options are those of `batches`.

    It takes 60 bytes a row and 9 for each field, twice that while it is put together. Raises
    TooLarge above max_rows, and as `batches` does; in a running loop use `read_async`.
    """
    found = batches(source, **options)
    parts: list[Batch] = []
    for batch in found:
        _add(parts, batch, max_rows)
    return _whole(parts, found)


async def read_async(
    source: Source, *, max_rows: int = ROWS_MAX, **options: Unpack[Options]
) -> Batch:
    """As `read`, in the running event loop."""
    found = batches(source, **options)
    parts: list[Batch] = []
    async for batch in found:
        _add(parts, batch, max_rows)
    return _whole(parts, found)


def _add(parts: list[Batch], batch: Batch, max_rows: int) -> None:
    count = sum(map(len, parts)) + len(batch)
    if count > max_rows:
        raise TooLarge("max_rows", f"at most {max_rows} rows; `batches` has no limit", count)
    parts.append(batch)


def _whole(parts: list[Batch], found: Batches) -> Batch:
    whole = concatenated(parts) if parts else found.nothing()
    return replace(whole, position=found.position)


async def _scanned(
    source: Opened, selection: Selection, reader: Reader, told: Told
) -> AsyncGenerator[Batch]:
    """The log's batches; the next answer is on its way while one is used."""
    events, after = source.stores.events, selection.after
    head = await events.log_head()
    until = head if selection.until is None else min(selection.until, head)
    upcasters = _concerned(source.upcasters, selection.domains_asked())
    specs = reader.specs(with_payloads=bool(upcasters))

    async def scan(position: int) -> Columns:
        return await events.scan(
            position,
            limit=max(1, min(selection.batch_rows, until - position)),
            editions=selection.editions_asked(),
            domains=selection.domains_asked(),
            fields=specs,
        )

    def ask(position: int) -> asyncio.Task[Columns]:
        return asyncio.create_task(scan(position))

    asked = ask(after) if after < until else None
    try:
        while asked is not None:
            found = await asked
            asked = ask(found.last) if after < found.last < until else None
            batch = reader.batch(found)
            if upcasters:
                batch = await lifted(reader, batch, upcasters)
            batch = reader.wanted(batch, until)
            after = min(found.last, until)
            told(after, after - selection.after, until - selection.after)
            if len(batch):
                yield replace(batch, position=after)
    finally:
        if asked is not None:
            asked.cancel()
            await asyncio.gather(asked, return_exceptions=True)


def _concerned(
    upcasters: Mapping[str, Upcaster], domains: Sequence[str] | None
) -> dict[str, Upcaster]:
    return {d: one for d, one in upcasters.items() if domains is None or d in domains}
