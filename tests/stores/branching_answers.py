"""What stores answer, as the model of branching has it."""

from __future__ import annotations

from typing import Any

from angzarr import wire
from angzarr.cover import Cover
from angzarr.errors import RemoteError
from angzarr.ports.components import CallContext
from angzarr.ports.event_store import Book
from angzarr.testing.pages import parse_page

from .branching_model import Key, Page, Record


class NoReplay:
    """A handler somewhere else that can't tell states."""

    is_local = False

    def __init__(self, domain: str) -> None:
        self.name = f"aggregate:{domain}"

    async def handle(self, request: bytes, context: CallContext) -> bytes:
        raise AssertionError("nothing is decided here")

    async def replay(self, request: bytes, context: CallContext) -> bytes:
        raise RemoteError("UNIMPLEMENTED", "no Replay")

    def diff(self, before: bytes, after: bytes) -> frozenset[str]:
        return frozenset("*")


def cover_of(key: Key, correlation_id: str = "") -> Cover:
    domain, edition, root = key
    return Cover(domain, root, edition, correlation_id)


def plain(answer: Any) -> Any:
    """An answer of a port as the model has it."""
    match answer:
        case list():
            return [plain(each) for each in answer]
        case bytes() if len(answer) != 16:
            return wire.Snapshot.FromString(answer).sequence
        case Book():
            book = wire.EventBook.FromString(answer.data)
            based_on = book.snapshot.sequence if book.HasField("snapshot") else None
            return pages_of(book), based_on, answer.next_sequence
    match type(answer).__name__:
        case "Appended" | "Duplicate":
            return answer.first, answer.last
        case "Accepted":
            return list(answer.pages)
        case "LogEntry":
            pages = pages_of(wire.EventBook.FromString(answer.book))
            return answer.position, answer.first_position, pages
        case "Usage":
            return answer.page_count, answer.byte_count
        case "Branch":
            return answer.root, answer.divergence, answer.next_sequence
        case "EditionRecord":
            limits = answer.max_pages, answer.max_bytes
            return Record(answer.parent, answer.expires_at_ns, *limits)
    return answer


def payload(page: Page) -> bytes:
    return parse_page(page.data).event.value


def pages_of(book: wire.EventBook) -> list[bytes]:
    return [each.SerializeToString(deterministic=True) for each in book.pages]
