"""What a projector is given and what it gives, as messages: pure (PROJ-3, PROJ-10, PROJ-11)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from angzarr import wire
from angzarr.coordinators import books, validate, visibility

NO_OP: Final = wire.NoOp.DESCRIPTOR.full_name
DELETED: Final = wire.EditionEventsDeleted.DESCRIPTOR.full_name
OUTPUT: Final = "_projection"
"""Domain of published projections: `_projection.<projector>.<source domain>`."""


def trim(book: wire.EventBook, position: int | None) -> bool:
    """Leave out pages up to `position`, in place; whether any page is left."""
    pages = book.pages
    if not pages or position is None or pages[0].header.sequence > position:
        return bool(pages)
    if pages[-1].header.sequence <= position:
        return False
    count = next(index for index, page in enumerate(pages) if page.header.sequence > position)
    del pages[:count]
    return True


def cut_pending(pages: Sequence[wire.EventPage]) -> int:
    """How many leading pages are visible for good: up to the first that waits for the decision of a
    cascade, as stored or as the visibility transform shows it."""
    for index, page in enumerate(pages):
        if page.cascade_id and not page.committed:
            return index
        if is_no_op(page):
            event = wire.NoOp.FromString(page.event.value)
            if event.reason == visibility.UNCOMMITTED:
                return index
    return len(pages)


def is_no_op(page: wire.EventPage) -> bool:
    """Whether the page stands for one that is not to be applied (CAS-7)."""
    return books.full_name(page.event.type_url) == NO_OP


def parts(
    pages: Sequence[wire.EventPage], *, count_max: int, bytes_max: int
) -> Iterator[list[wire.EventPage]]:
    """The pages in order, in as few parts within both bounds as there can be; a page that is larger
    than bytes_max is a part of its own."""
    taken: list[wire.EventPage] = []
    size = 0
    for page in pages:
        page_bytes = page.ByteSize()
        if taken and (len(taken) == count_max or size + page_bytes > bytes_max):
            yield taken
            taken, size = [], 0
        taken.append(page)
        size += page_bytes
    if taken:
        yield taken


def book_of(
    cover: wire.Cover, pages: Sequence[wire.EventPage], following: int | None = None
) -> wire.EventBook:
    """A book of the pages. following: its next_sequence, by WIRE-9 unless given."""
    if following is None:
        following = pages[-1].header.sequence + 1
    return wire.EventBook(cover=cover, pages=pages, next_sequence=following & books.UINT32_MASK)


def deleted_editions(book: wire.EventBook) -> list[wire.EditionEventsDeleted]:
    """The deletions that a book of `_angzarr` tells of; none for other books (EDN-14)."""
    if book.cover.domain != validate.SYSTEM:
        return []
    return [
        books.parse(wire.EditionEventsDeleted, page.event.value)
        for page in book.pages
        if books.full_name(page.event.type_url) == DELETED
    ]


def finish(
    projection: wire.Projection, cover: wire.Cover, projector: str, last: int
) -> wire.Projection:
    """Fill in what the handler left empty (PROJ-10). last: sequence of the last page applied."""
    if not projection.HasField("cover"):
        projection.cover.CopyFrom(cover)
    if not projection.projector:
        projection.projector = projector
    if not projection.sequence:
        projection.sequence = last
    return projection


def output_book(
    projection: wire.Projection, cover: wire.Cover, projector: str, time_ns: int
) -> bytes:
    """The published book of a finished projection of a book of `cover` (PROJ-11)."""
    page = wire.EventPage(committed=True, created_at=books.timestamp(time_ns))
    page.header.sequence = projection.sequence
    books.pack_framework(page, projection)
    target = wire.Cover(
        domain=f"{OUTPUT}.{projector}.{cover.domain}",
        root=cover.root,
        correlation_id=cover.correlation_id,
        edition=wire.Edition(name=cover.edition.name),
    )
    return book_of(target, [page]).SerializeToString(deterministic=True)
