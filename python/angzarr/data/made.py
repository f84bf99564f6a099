"""Events that a branch made: as the rows of a table, and as the pages of a stream."""

from __future__ import annotations

from functools import lru_cache
from typing import Final, NamedTuple

from angzarr import wire
from angzarr.coordinators.books import NS_PER_S, TAG_1, TAG_2, TAG_3, frame, varint

_COMMITTED: Final = b"\x30\x01"
_FIRST_NUMBER, _SECOND_NUMBER = b"\x08", b"\x10"


class Made(NamedTuple):
    """A new event. time_ns: since the epoch."""

    sequence: int
    time_ns: int
    type_url: str
    payload: bytes

    def encoded(self) -> bytes:
        """The EventPage, committed, as protobuf writes it: by hand in a third of the time."""
        seconds, nanos = divmod(self.time_ns, NS_PER_S)
        time = (_FIRST_NUMBER + varint(seconds) if seconds else b"") + (
            _SECOND_NUMBER + varint(nanos) if nanos else b""
        )
        event = _named(self.type_url) + (frame(TAG_2, self.payload) if self.payload else b"")
        return b"".join(
            (
                frame(TAG_1, _FIRST_NUMBER + varint(self.sequence)),
                frame(TAG_2, time),
                frame(TAG_3, event),
                _COMMITTED,
            )
        )

    def page(self) -> wire.EventPage:
        """The page as a message."""
        return wire.EventPage.FromString(self.encoded())


@lru_cache(maxsize=1024)
def _named(type_url: str) -> bytes:
    return frame(TAG_1, type_url.encode())
