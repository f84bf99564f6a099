"""Where two editions differ: streams, from which sequence on, pages, states (EDN-26)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from itertools import zip_longest
from typing import Final

from google.protobuf.any_pb2 import Any

from angzarr import wire
from angzarr.coordinators import books, merge
from angzarr.coordinators.lineage import Lineage
from angzarr.coordinators.merge import StateUnknown
from angzarr.coordinators.message_parts import Parts
from angzarr.coordinators.options import EditionOptions
from angzarr.coordinators.pipeline import Call, Loaded, Pipeline, storing
from angzarr.coordinators.slots import Component
from angzarr.cover import Cover
from angzarr.ports.components import CallContext
from angzarr.ports.edition_store import Branch

_NOTHING_APPLIED: Final = "angzarr.NoOp"


class EditionDiff:
    """Compares over a pipeline. components: of the domains whose states can be told here."""

    def __init__(
        self,
        pipeline: Pipeline,
        components: Mapping[str, Component],
        lineage: Lineage,
        options: EditionOptions,
    ) -> None:
        self._pipeline = pipeline
        self._events = pipeline.events
        self._components = components
        self._lineage = lineage
        self._options = options

    async def run(
        self, left: str, right: str, *, domain: str, root: bytes, context: CallContext
    ) -> AsyncIterator[bytes]:
        """StreamDifferences of a domain, roots ascending; root b"" is all. None of a reserved
        domain.

        Streams are compared one after the other, each as it is then.
        """
        if domain.startswith("_"):
            return
        with storing("load events"):
            chains = await self._lineage.chain(left), await self._lineage.chain(right)
        editions = sorted(set(chains[0]) ^ set(chains[1]))
        chain = list(dict.fromkeys((*chains[0], *chains[1])))
        async for found in self._roots(domain, editions, root):
            covers = Cover(domain, found, left), Cover(domain, found, right)
            async for part in self._stream(covers, chain, context):
                yield part

    async def _roots(
        self, domain: str, editions: Sequence[str], root: bytes
    ) -> AsyncIterator[bytes]:
        """Roots that may differ, ascending: with pages on an edition that one of the two reads
        through and the other one does not; main's pages are in both unless they left it.
        """
        if root:
            yield root
            return
        walks = [aiter(self._lineage.branches(domain, edition)) for edition in editions]
        heads: list[Branch | None] = [await anext(walk, None) for walk in walks]
        while present := [head.root for head in heads if head is not None]:
            lowest = min(present)
            yield lowest
            for index, head in enumerate(heads):
                if head is not None and head.root == lowest:
                    heads[index] = await anext(walks[index], None)

    async def _stream(
        self, covers: tuple[Cover, Cover], chain: Sequence[str], context: CallContext
    ) -> AsyncIterator[bytes]:
        left, right = covers
        with storing("load events"):
            start = await self._lineage.first_pin(chain, left.domain, left.root)
            if start is None:
                return  # both follow main
            ends = await self._events.next_sequence(left), await self._events.next_sequence(right)
            first = await self._first_difference(covers, start, ends, context)
            if first is None:
                return
            states, fields, ends = await self._states(covers, ends, context)
        head = wire.StreamDifference(
            first_sequence=first, left_next_sequence=ends[0], right_next_sequence=ends[1]
        )
        head.cover.domain, head.cover.root.value = left.domain, left.root
        parts = Parts(
            head,
            items_max=self._options.query_result_limit,
            bytes_max=self._options.message_size_bytes // 2,
        )
        for field, cover, end in zip(("left", "right"), covers, ends, strict=True):
            with storing("load events"):
                async for page in self._pages(cover, first, end, context):
                    for part in parts.add(field, page):
                        yield part
        for field, state in zip(("left_state", "right_state"), states, strict=True):
            if state:
                for part in parts.add(field, Any.FromString(state)):
                    yield part
        for name in sorted(fields):
            for part in parts.add("fields", name):
                yield part
        yield parts.last()

    async def _first_difference(
        self,
        covers: tuple[Cover, Cover],
        start: int,
        ends: tuple[int, int],
        context: CallContext,
    ) -> int | None:
        step = self._options.query_result_limit
        while start < max(ends):
            left, right = [
                await self._chunk(cover, start, min(start + step, end), context)
                for cover, end in zip(covers, ends, strict=True)
            ]
            for sequence, (ours, theirs) in enumerate(zip_longest(left, right), start):
                if ours is None or theirs is None or not is_equal(ours, theirs):
                    return sequence
            start += step
        return None

    async def _pages(
        self, cover: Cover, start: int, end: int, context: CallContext
    ) -> AsyncIterator[wire.EventPage]:
        while start < end:
            stop = min(start + self._options.query_result_limit, end)
            for page in await self._chunk(cover, start, stop, context):
                yield page
            start = stop

    async def _chunk(
        self, cover: Cover, start: int, stop: int, context: CallContext
    ) -> Sequence[wire.EventPage]:
        """Pages [start, stop) as readers see them."""
        if start >= stop:
            return ()
        book = await self._events.load(cover, start=start, stop=stop)
        return (await self._pipeline.views.of(book, cover, context)).message.pages

    async def _states(
        self, covers: tuple[Cover, Cover], ends: tuple[int, int], context: CallContext
    ) -> tuple[tuple[bytes, bytes], frozenset[str], tuple[int, int]]:
        """Both encoded states, the fields that differ, and the ends of the streams that the states
        are of. b"" is an empty stream's, and an unknown one.
        """
        component = self._components.get(covers[0].domain)
        if component is None:
            return (b"", b""), merge.WHOLE, ends
        call = Call(
            cover=covers[0], component=component, command=wire.CommandBook(), context=context
        )
        try:
            left, right = [await self._state(replace(call, cover=cover)) for cover in covers]
        except StateUnknown:
            return (b"", b""), merge.WHOLE, ends
        differing = component.handler.diff(left[0], right[0])
        return (left[0], right[0]), differing, (left[1], right[1])

    async def _state(self, call: Call) -> tuple[bytes, int]:
        """The encoded state of a stream, and where the stream ends that it is of."""

        async def state(loaded: Loaded) -> tuple[bytes, int]:
            message = loaded.view.message
            base = message.snapshot if message.HasField("snapshot") else None
            encoded = await merge.state(call.component, message.pages, base, call.context)
            return encoded, loaded.view.next_sequence

        return await self._pipeline.loaded(call, state)


def is_equal(left: wire.EventPage, right: wire.EventPage) -> bool:
    """Whether two visible pages say the same: their type and payload; what is not applied is alike,
    whatever it is.
    """
    return _said(left) == _said(right)


def _said(page: wire.EventPage) -> tuple[str, bytes]:
    if page.HasField("external"):
        return "", page.external.SerializeToString(deterministic=True)
    name = books.full_name(page.event.type_url)
    return name, b"" if name == _NOTHING_APPLIED else page.event.value
