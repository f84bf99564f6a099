"""One stream's answer, cut into messages of bounded size (QRY-11)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any as Untyped
from typing import Final, Generic, Protocol, TypeVar, cast

from google.protobuf.message import Message

FRAME_BYTES: Final = 8
"""More than the tag and length of an item take, and a sequence as a whole."""


class Part(Protocol):
    """A message with `is_last`."""

    is_last: bool

    def ByteSize(self) -> int: ...
    def SerializeToString(self) -> bytes: ...


M = TypeVar("M", bound=Message)


class Parts(Generic[M]):
    """Builds the messages. Each begins as a copy of `head`; the last one has `is_last` set.

    items_max: repeated items of one message. bytes_max: of one message, unless a single item is
    larger.
    """

    def __init__(self, head: M, *, items_max: int, bytes_max: int) -> None:
        self._head = head
        self._items_max = items_max
        self._bytes_max = bytes_max
        self._begin()

    def add(self, field: str, item: Message | str | int) -> Iterator[bytes]:
        """Put an item into a field, repeated or not; the message before it, if it is full."""
        size = (item.ByteSize() if isinstance(item, Message) else len(str(item).encode())) + (
            FRAME_BYTES
        )
        if self._count and (self._count == self._items_max or self._size + size > self._bytes_max):
            yield self._part.SerializeToString()
            self._begin()
        self._count += 1
        self._size += size
        target: Untyped = getattr(self._part, field)
        if isinstance(item, Message) and isinstance(target, Message):
            target.CopyFrom(item)
        else:
            target.append(item)

    def last(self) -> bytes:
        """The last message."""
        cast("Part", self._part).is_last = True
        return self._part.SerializeToString()

    def _begin(self) -> None:
        self._part = type(self._head)()
        self._part.CopyFrom(self._head)
        self._count = 0
        self._size = self._head.ByteSize()
