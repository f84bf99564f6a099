"""Branches as they read: each stream with the events that it inherits (DATA-8)."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from dataclasses import replace
from typing import Final

from angzarr import wire
from angzarr.coordinators.views import Views
from angzarr.cover import Cover
from angzarr.data.batch import Batch
from angzarr.data.columns import Reader
from angzarr.data.selection import Selection, Told
from angzarr.data.sources import Opened
from angzarr.ports.components import CallContext
from angzarr.ports.edition_store import Branch
from angzarr.stores._scanning import Rows  # pyright: ignore[reportPrivateUsage]

PAGES_MAX: Final = 10_000
"""Pages of one read of a stream."""
STREAMS_MAX: Final = 1_000
"""Streams of one listing."""
_INHERITED: Final = 1 << 63
"""From here on positions stand for inherited pages, while a batch is made."""


async def batches(
    source: Opened, selection: Selection, reader: Reader, told: Told
) -> AsyncGenerator[Batch]:
    """The composite streams that have events of their own, in the order (edition as given, domain,
    root, sequence), as they were when the log's head was at `until`."""
    events = source.stores.events
    head = await events.log_head()
    until = head if selection.until is None else min(selection.until, head)
    places = await _places(source, selection)
    views = Views(events, source.upcasters)
    made = _Making(reader)
    for index, (edition, domain) in enumerate(places):
        async for branch in _branches(source, domain, edition):
            cover = Cover(domain, branch.root, edition)
            stop = await events.length_at(cover, until)
            for start in range(0, stop, PAGES_MAX):
                end = min(start + PAGES_MAX, stop)
                book = await events.load(cover, start=start, stop=end)
                view = await views.of(book, cover, CallContext())
                made.add(cover, view.message.pages, branch.divergence)
                if made.count >= selection.batch_rows:
                    yield made.batch(until)
        told(until, index + 1, len(places))
    if made.count:
        yield made.batch(until)


def marked(batch: Batch) -> Batch:
    """The batch with the column `inherited` in place of `position`, which pages of streams don't
    have."""
    columns = dict(batch.columns)
    inherited = columns.pop("position") >= _INHERITED
    return replace(batch, columns={**columns, "inherited": inherited})


class _Making:
    """A batch in the making. count: of its pages."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._rows = Rows(reader.specs())
        self.count = 0

    def add(self, cover: Cover, pages: Sequence[wire.EventPage], divergence: int) -> None:
        """Add a part of a stream. What it inherits gets positions that no page has."""
        own = next((i for i, page in enumerate(pages) if page.header.sequence >= divergence), None)
        inherited = pages[:own]
        self._rows.add(cover.stream, _INHERITED, inherited)
        self._rows.add(cover.stream, 1, pages[len(inherited) :])
        self.count += len(pages)

    def batch(self, position: int) -> Batch:
        """What was added since the last one."""
        found = self._reader.batch(self._rows.columns(position))
        self._rows = Rows(self._reader.specs())
        self.count = 0
        return marked(self._reader.wanted(found))


async def _places(source: Opened, selection: Selection) -> list[tuple[str, str]]:
    """(edition, domain) of all that is read, the editions as they were given."""
    events = source.stores.events
    domains = selection.domains_asked()
    if domains is None:
        domains = await events.domains()
    editions = selection.editions_asked()
    if editions is None:
        found = {name for domain in domains for name in await events.editions(domain)}
        editions = sorted(found)
    return [(edition, domain) for edition in editions for domain in domains]


async def _branches(source: Opened, domain: str, edition: str) -> AsyncIterator[Branch]:
    after = b""
    while True:
        found = await source.stores.editions.branches(
            domain, edition, after=after, limit=STREAMS_MAX
        )
        for branch in found:
            yield branch
        if len(found) < STREAMS_MAX:
            return
        after = found[-1].root
