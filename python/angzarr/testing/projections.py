"""given … when … then for projectors; `scenario.given` begins it.

given(Statement).when(Deposited(500), root="alice").then_rows("SELECT cents FROM line", (500,))
given(Statement, Deposited(500)).when(Withdrawn(200)).then(Balance(300))
"""

from __future__ import annotations

import sqlite3
import weakref
from datetime import UTC, datetime
from typing import Any as Untyped
from typing import Final, Self, TypedDict, Unpack

from google.protobuf.any_pb2 import Any

from angzarr import codec, wire
from angzarr.codec import Payload
from angzarr.cover import MAIN, root_of
from angzarr.handlers import Aggregate, LocalProjector, Projector
from angzarr.readstores import Sqlite
from angzarr.readstores._sqlite import statements
from angzarr.testing.clock import NS_PER_S, START_NS
from angzarr.testing.comparing import difference, run

START: Final = datetime.fromtimestamp(START_NS // NS_PER_S, UTC)
"""When events are created unless it is said: ManualClock's first moment."""


class At(TypedDict, total=False):
    """Where events are, for `when`; each may be left out.

    source: domain or class; needed where several sources have such events. root: as callers name
    it, "root". edition: main. correlation_id: "workflow". sequence: the first event's; it goes on
    from the events before of that root. created_at: START.
    """

    source: str | type[Aggregate]
    root: str | bytes
    edition: str
    correlation_id: str
    sequence: int
    created_at: datetime


class GivenProjector:
    """A projector and its read model: an SQLite database in memory with the read store's schema.

    projection: what the last event led to, packed; None for nothing. db: the read model.
    """

    def __init__(self, projector: type[Projector], events: tuple[Payload, ...]) -> None:
        self._table = projector.projector_table()
        self._local = LocalProjector(projector)
        self._next: dict[tuple[str, bytes, str], int] = {}
        self.projection: Any | None = None
        self.db: object = self._in_memory()
        self._before = events

    def with_db(self, db: object) -> Self:
        """Give handlers `db`, as the read store would, in place of the database in memory."""
        self.db = db
        return self

    def when(self, *events: Payload, **at: Unpack[At]) -> Self:
        """Project `events`, as the pages of one book; async methods run to their end.

        Raises what a wrong test raises: TypeError for an event that no method takes, HandlerFailed,
        CorruptData.
        """
        before, self._before = self._before, ()
        if before:
            self._project(before, {})
        self._project(events, at)
        return self

    def then(self, projection: Payload) -> Self:
        """Assert that this is the projection: what the last method to return something returned."""
        __tracebackhide__ = True
        found = self._unpacked(type(projection))
        if found != projection:
            raise AssertionError(
                f"another projection than expected:\n{difference((projection,), (found,))}"
            )
        return self

    def then_nothing(self) -> Self:
        """Assert that there is no projection."""
        __tracebackhide__ = True
        if self.projection is not None:
            raise AssertionError(f"expected no projection, got {self.projection.type_url}")
        return self

    def then_rows(self, sql: str, *rows: tuple[object, ...]) -> Self:
        """Assert that the query finds exactly these rows, in this order. For SQLite."""
        __tracebackhide__ = True
        assert isinstance(self.db, sqlite3.Connection), "then_rows asks an SQLite database"
        found = tuple(tuple(row) for row in self.db.execute(sql))
        if found != rows:
            raise AssertionError(f"other rows than expected:\n{difference(rows, found)}")
        return self

    def _in_memory(self) -> sqlite3.Connection | None:
        if not isinstance(self._table.read_store, Sqlite):
            return None
        db = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        weakref.finalize(self, db.close)
        for statement in statements(self._table.read_store.schema):
            db.execute(statement)
        return db

    def _project(self, events: tuple[Payload, ...], at: At) -> None:
        book = wire.EventBook()
        cover = book.cover
        cover.domain = self._domain(events, at)
        cover.root.value = root_of(at.get("root", "root"))
        cover.edition.name = at.get("edition", MAIN)
        cover.correlation_id = at.get("correlation_id", "workflow")
        stream = (cover.domain, cover.root.value, cover.edition.name)
        first = at.get("sequence", self._next.get(stream, 0))
        for sequence, event in enumerate(events, first):
            page = book.pages.add(event=codec.pack(event, cover.domain), committed=True)
            page.header.sequence = sequence
            page.created_at.FromDatetime(at.get("created_at", START))
        book.next_sequence = self._next[stream] = first + len(events)
        self.projection = run(self._local.apply(book, self.db))

    def _domain(self, events: tuple[Payload, ...], at: At) -> str:
        """The one source that has all of the events, if it is not said."""
        said = at.get("source", "")
        if not isinstance(said, str):
            return said.table().domain
        known = self._table.sources
        fitting = [said] if said else [s for s in known if self._has_all(s, events)]
        if len(fitting) == 1 and not fitting[0].endswith("*"):
            return fitting[0]
        names = ", ".join(type(event).__name__ for event in events)
        who = self._table.cls.__name__
        if not fitting:
            raise TypeError(f"{who} has no source with methods for {names}")
        raise TypeError(f"say where {names} come from: when(…, source=…); {', '.join(fitting)}")

    def _has_all(self, source: str, events: tuple[Payload, ...]) -> bool:
        methods = self._table.of_domain("any" if source.endswith("*") else source)
        classes = {kind.cls for kind, _ in methods.values()}
        return all(type(event) in classes for event in events)

    def _unpacked(self, cls: type[Untyped]) -> object:
        if self.projection is None:
            return None
        return codec.unpack(self.projection, cls, self._table.name)
