"""Editions of branches that were in memory (SPEC-7): their appends, done over again in the base."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from angzarr.coordinators import validate
from angzarr.coordinators.attempts import Marks
from angzarr.cover import MAIN, Cover, Provenance
from angzarr.errors import InvalidInput, MainProtected, SequenceConflict
from angzarr.ports.event_store import Duplicate
from angzarr.ports.stores import Stores
from angzarr.stores.overlay import OverlayStores, Written

FIELD = "store_as"


async def keep(
    overlay: OverlayStores, base: Stores, edition: str, name: str, consumers: Sequence[str]
) -> None:
    """Declare `name` as a branch of `edition`, and append there what the overlay has on that.

    Each stream diverges where the overlay left it. consumers: those whose reactions ran on the
    overlay, so that they do not react once more. Snapshots and keys come along, obligations don't.
    Nothing is stored where it is refused; what fails half-way leaves a part, which
    `DeleteEditionEvents` deletes.

    Raises MainProtected, InvalidInput (a name that has pages, writes to other editions, cascades),
    SequenceConflict where the edition has gone another way below a divergence, EditionConflict,
    EditionGone, and what the base raises.
    """
    written = overlay.events.written
    _check(written, edition, name)
    if (await base.editions.usage(name)).page_count:
        raise InvalidInput(FIELD, "the name of an edition without pages", name)
    begun: dict[Cover, int] = {}
    for item in written:
        begun.setdefault(_stream(item), item.first)
    for cover, divergence in begun.items():
        await _check_unmoved(overlay, base, cover, divergence)
    await base.editions.declare(name, parent=edition)
    marks = Marks(base.positions)
    for item in written:
        cover = item.cover.on(name)
        if item.pages:
            for consumer in consumers:
                await marks.put(consumer, cover, item.first + len(item.pages) - 1)
        await _append(base, cover, item, edition, begun.pop(_stream(item), None))


async def _append(
    base: Stores, cover: Cover, item: Written, edition: str, divergence: int | None
) -> None:
    result = await base.events.append(
        cover,
        item.first,
        item.pages,
        divergence=divergence,
        snapshot=item.snapshot,
        provenance=_moved(item.provenance, edition, cover.edition),
        external_id=item.external_id,
        answer=item.answer,
    )
    if isinstance(result, Duplicate):
        raise SequenceConflict(cover, item.first, result.last + 1)


def _check(written: Sequence[Written], edition: str, name: str) -> None:
    if name in ("", MAIN):
        raise MainProtected("")
    validate.edition(name, FIELD)
    for item in written:
        if item.cover.edition != edition:
            raise InvalidInput(FIELD, f"a branch with writes to {edition} alone", item.cover)
        if item.cascade_id:
            raise InvalidInput(FIELD, "a branch without cascades", item.cascade_id)


async def _check_unmoved(
    overlay: OverlayStores, base: Stores, cover: Cover, divergence: int
) -> None:
    """That the base's stream is still what the overlay has below the divergence: an edition that
    had not begun there may have begun meanwhile, and elsewhere."""
    lender = overlay.lender
    await lender.guard(cover)
    length = await base.events.length_at(cover, await lender.position())
    if length < divergence:
        raise SequenceConflict(cover, divergence, length)


def _stream(item: Written) -> Cover:
    return replace(item.cover, correlation_id="")


def _moved(key: Provenance | None, edition: str, name: str) -> Provenance | None:
    """The key of a reaction to the same event of the new edition."""
    if key is None or key.source.edition != edition or key.source.domain.startswith("_"):
        return key
    return replace(key, source=key.source.on(name))
