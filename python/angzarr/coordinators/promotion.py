"""Chosen events of a branch as facts on main, after a report of what they conflict with (EDN-27).

A stream is judged by CMD-20's test, the place where the branch left main in the part of the stamp.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from angzarr import wire
from angzarr.coordinators import books, merge, numbering, selection
from angzarr.coordinators.conflicts import Conflicts
from angzarr.coordinators.lineage import Lineage
from angzarr.coordinators.merge import StateUnknown
from angzarr.coordinators.message_parts import Parts
from angzarr.coordinators.options import EditionOptions
from angzarr.coordinators.pipeline import Call, Loaded, Pipeline, storing
from angzarr.coordinators.slots import Component
from angzarr.coordinators.visibility import UNCOMMITTED
from angzarr.cover import FACT, MAIN, OCCASION_BYTES, Cover, Provenance
from angzarr.errors import InvalidInput, TooLarge, UnknownDomain
from angzarr.ports.components import CallContext

COMPONENT: Final = "promotion"

_NONE: Final = frozenset[str]()


@dataclass(frozen=True, slots=True)
class Choice:
    """A stream of the branch, and the sequences of its own events that are chosen; none is all.

    is_named: False where it is only one of all streams, which need not have events.
    """

    cover: Cover
    sequences: tuple[int, ...] = ()
    is_named: bool = True


@dataclass(frozen=True, slots=True)
class _Chosen:
    """The chosen events, visible as they are on the branch, under the key of their promotion."""

    choice: Choice
    pin: int
    events: Sequence[wire.EventPage]
    key: Provenance

    @property
    def sequences(self) -> list[int]:
        return [page.header.sequence for page in self.events]


@dataclass(frozen=True, slots=True)
class _Append:
    """The append of a judged stream: numbered pages for the end of `loaded`."""

    call: Call
    loaded: Loaded
    pages: Sequence[wire.EventPage]
    time_ns: int


@dataclass(frozen=True, slots=True)
class _Judged:
    """What would come of it. judgement: unspecified where it was promoted before. recorded: encoded
    pages on main, once they are there. append: what they take to be appended; None once they are.
    """

    chosen: _Chosen
    left_main: int
    main_next_sequence: int
    judgement: wire.PromotionJudgement
    theirs: frozenset[str] = _NONE
    mine: frozenset[str] = _NONE
    overlap: frozenset[str] = _NONE
    append: _Append | None = None
    recorded: Sequence[bytes] = ()
    is_repeated: bool = False

    @property
    def is_conflict(self) -> bool:
        return self.judgement == wire.PROMOTION_CONFLICT


class Promotion:
    """Judges and records over a pipeline. components: of the domains that facts can go to."""

    def __init__(
        self,
        pipeline: Pipeline,
        components: Mapping[str, Component],
        lineage: Lineage,
        options: EditionOptions,
    ) -> None:
        self._pipeline = pipeline
        self._events = pipeline.events
        self._conflicts = Conflicts(pipeline)
        self._components = components
        self._lineage = lineage
        self._options = options

    async def run(
        self,
        choices: Sequence[Choice],
        *,
        is_dry: bool,
        accepts_conflicts: bool,
        correlation_id: str,
        context: CallContext,
    ) -> AsyncIterator[bytes]:
        """StreamPromotions in the order of the choices, which are of different streams.

        Nothing is recorded on a dry run, nor where any stream is in conflict unless that is
        accepted. Then each stream is judged again where it is recorded: one that main has come into
        conflict with meanwhile stays out. Raises InvalidInput for what can't be chosen,
        UnknownDomain, TooLarge; in each case before anything is recorded.
        """
        for choice in choices:
            if choice.cover.domain not in self._components:
                raise UnknownDomain(choice.cover.domain)
        reports: list[_Judged | None] = []
        if is_dry or len(choices) > 1:
            for choice in choices:
                judged = await self._judge(choice, correlation_id, context)
                reports.append(replace(judged, append=None) if judged else None)
        is_refused = not accepts_conflicts and any(found and found.is_conflict for found in reports)
        for index, choice in enumerate(choices):
            if is_dry or is_refused:
                judged = reports[index]
            else:
                judged = await self._record(choice, accepts_conflicts, correlation_id, context)
            for part in self._parts(judged) if judged else ():
                yield part

    async def _record(
        self, choice: Choice, accepts_conflicts: bool, correlation_id: str, context: CallContext
    ) -> _Judged | None:
        async def attempt() -> _Judged | None:
            judged = await self._judge(choice, correlation_id, context)
            if judged is None or judged.append is None:
                return judged
            if judged.is_conflict and not accepts_conflicts:
                return judged
            append = judged.append
            encoded = books.encoded(append.pages)
            await self._pipeline.append(append.call, append.loaded, encoded)
            self._pipeline.times.dated(append.call.cover, append.time_ns)
            return replace(judged, recorded=encoded)

        return await self._pipeline.attempts(context, attempt)

    async def _judge(
        self, choice: Choice, correlation_id: str, context: CallContext
    ) -> _Judged | None:
        """What the choice leads to on main as it is now; None where it is nothing."""
        with storing("load events"):
            chosen = await self._chosen(choice, context)
            if chosen is None:
                return None
            left_main = await self._lineage.left_main(choice.cover, chosen.pin)
        cover = replace(choice.cover, edition=MAIN, correlation_id=correlation_id)
        call = Call(
            cover=cover,
            component=self._components[cover.domain],
            command=wire.CommandBook(),
            context=context,
            is_deferred=True,
            provenance=chosen.key,
        )
        if (accepted := await self._pipeline.accepted(call)) is not None:
            following = wire.EventPage.FromString(accepted.pages[0]).header.sequence
            return _Judged(
                chosen,
                left_main,
                following,
                wire.PROMOTION_UNSPECIFIED,
                recorded=accepted.pages,
                is_repeated=True,
            )

        async def judged(loaded: Loaded) -> _Judged:
            return await self._judged(chosen, left_main, call, loaded)

        return await self._pipeline.loaded(call, judged)

    async def _judged(self, chosen: _Chosen, left_main: int, call: Call, loaded: Loaded) -> _Judged:
        view = loaded.view
        pages = [_fact(page) for page in chosen.events]
        time_ns = self._pipeline.times.next_ns(call.cover, view)
        numbering.number(pages, view.next_sequence, cover=call.cover, time_ns=time_ns)
        has_grown = view.next_sequence > left_main
        try:
            theirs, mine = await self._conflicts.changes(call, view, pages, left_main)
        except StateUnknown:
            theirs, mine = merge.WHOLE, merge.WHOLE
        if has_grown:
            overlap = merge.overlap(theirs, mine)
            judgement = wire.PROMOTION_CONFLICT if overlap else wire.PROMOTION_DISJOINT
        else:
            theirs, overlap, judgement = _NONE, _NONE, wire.PROMOTION_CLEAN
        append = _Append(call, loaded, pages, time_ns)
        return _Judged(
            chosen, left_main, view.next_sequence, judgement, theirs, mine, overlap, append
        )

    async def _chosen(self, choice: Choice, context: CallContext) -> _Chosen | None:
        cover = choice.cover
        pin = await self._events.divergence(cover)
        if pin is None:
            raise InvalidInput("choices", f"streams of edition {cover.edition}", cover)
        following = await self._events.next_sequence(cover)
        sequences = choice.sequences
        for sequence in sequences:
            if not pin <= sequence < following:
                limit = f"own pages of {cover}: {pin} to {following - 1}"
                raise InvalidInput("choices.sequences", limit, sequence)
        count = len(sequences) or following - pin
        if count > self._options.promoted_pages:
            limit = f"at most {self._options.promoted_pages} pages of a stream"
            raise TooLarge("choices.sequences", limit, count)
        stored: list[wire.EventPage] = []
        events: list[wire.EventPage] = []
        stretches = selection.stretches(sequences) if sequences else [(pin, following)]
        wanted = set(sequences)
        for start, stop in stretches:
            book = await self._events.load(cover, start=start, stop=stop)
            view = await self._pipeline.views.of(book, cover, context)
            pages = view.message.pages
            for raw, page in zip(wire.EventBook.FromString(book.data).pages, pages, strict=True):
                is_named = page.header.sequence in wanted
                if (is_named or not wanted) and _is_event(page, cover, is_named=is_named):
                    stored.append(raw)
                    events.append(page)
        if not events and not choice.is_named:
            return None
        if not events:
            raise InvalidInput("choices", f"streams with events of edition {cover.edition}", cover)
        return _Chosen(choice, pin, events, _key(cover, stored))

    def _parts(self, judged: _Judged) -> list[bytes]:
        chosen = judged.chosen
        cover = chosen.choice.cover
        head = wire.StreamPromotion(
            judgement=judged.judgement,
            divergence=judged.left_main,
            main_next_sequence=judged.main_next_sequence,
            is_repeated=judged.is_repeated,
        )
        head.cover.domain, head.cover.root.value = cover.domain, cover.root
        parts = Parts(
            head,
            items_max=self._options.query_result_limit,
            bytes_max=self._options.message_size_bytes // 2,
        )
        made: list[bytes] = []
        for field in ("theirs", "mine", "overlap"):
            for name in sorted(getattr(judged, field)):
                made += parts.add(field, name)
        for sequence in chosen.sequences:
            made += parts.add("sequences", sequence)
        for page in judged.recorded:
            made += parts.add("recorded", wire.EventPage.FromString(page))
        return [*made, parts.last()]


def _is_event(page: wire.EventPage, cover: Cover, *, is_named: bool) -> bool:
    """Whether the visible page is an event that counts. Raises InvalidInput for one that is
    pending, and for a named one that is no event, or is revoked.
    """
    if not books.is_framework(page.event.type_url):
        return True
    hidden = wire.NoOp.FromString(page.event.value)
    if is_named or hidden.reason == UNCOMMITTED:
        of_cascade = f" of cascade {hidden.cascade_id}" if hidden.cascade_id else ""
        sequence = page.header.sequence
        raise InvalidInput(
            "choices.sequences",
            "visible events of the branch",
            sequence,
            f"page {sequence} of {cover} can't be promoted: it is {hidden.reason}{of_cascade}",
        )
    return False


def _fact(page: wire.EventPage) -> wire.EventPage:
    """What is recorded of an event: what it says; its place, time and cascade are the branch's."""
    fact = wire.EventPage()
    if page.HasField("external"):
        fact.external.CopyFrom(page.external)
    else:
        fact.event.CopyFrom(page.event)
    return fact


def _key(cover: Cover, stored: Sequence[wire.EventPage]) -> Provenance:
    """The key under which these very pages are promoted once: a branch that is deleted and begun
    anew has others."""
    digest = hashlib.sha256()
    for page in stored:
        data = page.SerializeToString(deterministic=True)
        digest.update(len(data).to_bytes(4, "big"))
        digest.update(data)
    return Provenance(
        source=Cover(cover.domain, cover.root, cover.edition),
        source_seq=stored[-1].header.sequence,
        component=COMPONENT,
        kind=FACT,
        occasion=digest.digest()[:OCCASION_BYTES],
    )
