"""What an overlay has of its base: pages that are read when they are asked for.

The memory store's code runs on these as on its own. It looks things up while it holds its lock, and
can't wait there; so what is not here yet is `Missing`: the overlay reads it, and calls again.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from angzarr.cover import Cover
from angzarr.stores import _pages
from angzarr.stores._memory_streams import Stream, StreamKey, Stretch
from angzarr.stores._pages import Page

T = TypeVar("T")


class Missing(Exception):
    """Something of the base is needed; `fetch` brings it."""

    def __init__(self, fetch: Callable[[], Awaitable[None]]) -> None:
        self.fetch = fetch
        super().__init__("not read from the base yet")


async def lending(call: Callable[[], Awaitable[T]]) -> T:
    """The answer of `call`, which is begun again after each thing that it misses."""
    while True:
        try:
            return await call()
        except Missing as missing:
            await missing.fetch()


class LentPage(Page):
    """A page as stored, whose time is read only if somebody asks."""

    __slots__ = ()

    @property
    def created_at_ns(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]
        return _pages.known_page(self.data).created_at_ns


class LentPages(list[Page]):
    """Pages of a stream from sequence `base` on: the first `missing` are not here yet, and stand
    for none in the list itself."""

    __slots__ = ("base", "fetch", "missing")

    def __init__(self, base: int, count: int) -> None:
        super().__init__()
        self.base = base
        self.missing = count
        self.fetch: Callable[[int], Awaitable[None]] | None = None

    def __len__(self) -> int:
        return self.missing + super().__len__()

    def __iter__(self) -> Iterator[Page]:
        self._need(0)
        return super().__iter__()

    def __getitem__(self, index: Any) -> Any:
        """Slices alone are asked for."""
        assert isinstance(index, slice)
        start, stop, _ = index.indices(len(self))
        if start >= stop:
            return []
        self._need(start)
        return super().__getitem__(slice(start - self.missing, stop - self.missing))

    def fill(self, pages: Sequence[Page]) -> None:
        """Put the last of the missing pages in their places."""
        self.missing -= len(pages)
        self[:0] = pages

    def _need(self, start: int) -> None:
        if start < self.missing:
            fetch, sequence = self.fetch, self.base + start
            assert fetch is not None
            raise Missing(lambda: fetch(sequence))


@dataclass(frozen=True, slots=True)
class End:
    """The end of a lent stream: its newest usable snapshot, encoded, and the framed pages after it,
    from sequence `start` on. is_plain: as of a Book."""

    snapshot: bytes | None
    start: int
    frames: bytes
    is_plain: bool


@dataclass(slots=True)
class LentStream(Stream):
    """A stream of the base as of the overlay's point, with what is written on it.

    cover: in the base. end: the sequence after its last lent page. head: the base's log as the
    overlay saw it, with all that is lent. last: its end, if that was read. counted_bytes: of its
    lent pages, if they are in the usage of the edition. lengths: by position below the head.
    """

    cover: Cover = field(default_factory=lambda: Cover("", b""))
    end: int = 0
    head: int = 0
    last: End | None = None
    counted_bytes: int = 0
    lengths: dict[int, int] = field(default_factory=dict[int, int])
    fetch_length: Callable[[int], Awaitable[None]] | None = None

    def published_at(self, position: int) -> int:
        if position >= self.head:
            return max(self.end, Stream.published_at(self, position))
        if position not in self.lengths:
            fetch = self.fetch_length
            assert fetch is not None
            raise Missing(lambda: fetch(position))
        return self.lengths[position]

    @property
    def parts(self) -> list[LentPages]:
        """What comes from the base, ascending."""
        parts = [*(stretch.stream.pages for stretch in self.inherited), self.pages]
        return [part for part in parts if isinstance(part, LentPages)]

    @property
    def read_from(self) -> int:
        """The first sequence of the base's pages that is here."""
        missing = [part.base + part.missing for part in self.parts if part.missing]
        return missing[-1] if missing else 0

    def put(self, first: int, pages: Sequence[Page]) -> None:
        """Take in the base's pages from sequence `first` up to those that are here already."""
        pages = pages[: max(self.read_from - first, 0)]
        for part in reversed(self.parts):
            if taken := min(part.missing, len(pages)):
                part.fill(pages[-taken:])
                pages = pages[:-taken]


@dataclass(slots=True)
class _Inherited(Stream):
    """What a lent branch has inherited, as one stream, whatever it was put together of."""

    heir: LentStream | None = None

    def published_at(self, position: int) -> int:
        assert self.heir is not None
        return self.heir.published_at(position)


def lent_stream(cover: Cover, divergence: int, end: int, head: int) -> LentStream:
    """A stream of the base with pages below `end`, those from `divergence` on its own; nothing of
    it is read."""
    pages = LentPages(divergence, end - divergence)
    stream = LentStream(divergence, pages=pages, cover=cover, end=end, head=head)
    if divergence:
        below = _Inherited(0, pages=LentPages(0, divergence), heir=stream)
        stream.inherited = [Stretch(inherited_key(cover.stream), below, divergence)]
    return stream


def inherited_key(key: StreamKey) -> StreamKey:
    """What the part of a lent branch goes by that it has inherited, unless it is known whose that
    is; no stream is called so."""
    domain, edition, root = key
    return domain, f"{edition}/", root


def is_made_up(key: StreamKey) -> bool:
    """Whether it is one of `inherited_key`."""
    return key[1].endswith("/")
