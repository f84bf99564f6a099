"""The read store port: a projector's rows and its positions, committed together (PROJ-4).

`readstores/sqlite.py` is the page to read before you write one for your own database;
`readstores/tables.py` keeps the positions in two tables of any SQL database, and
`angzarr.testing.contracts.ReadStoreContract` is the suite that it has to pass.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol, TypeVar

from google.protobuf.any_pb2 import Any

from angzarr import wire
from angzarr.cover import Cover
from angzarr.ports.components import Projector

Db_co = TypeVar("Db_co", covariant=True)


class Unit(Protocol[Db_co]):
    """One transaction of a read model: what is done to `db`, and the positions that are put."""

    @property
    def db(self) -> Db_co:
        """What handlers are given, such as a connection inside of the transaction."""
        ...

    async def position(self, cover: Cover) -> int | None:
        """Last sequence of the stream that was put; None is none, 0 is a value. What this
        transaction has put counts. The correlation id is no part of the key."""
        ...

    async def put_position(self, cover: Cover, sequence: int) -> None:
        """Note that the stream is applied up to `sequence`; the caller never goes back."""
        ...

    async def cursor(self) -> int | None:
        """The log position up to which everything is in the read model."""
        ...

    async def put_cursor(self, position: int) -> None:
        """Note that everything up to this log position is in the read model."""
        ...

    async def generation(self) -> str:
        """Tells a read model from one that was put in its place; "" where that can't happen."""
        ...

    async def forget(self) -> None:
        """Forget all positions and the cursor; rows stay (PROJ-9)."""
        ...

    async def forget_edition(self, domain: str, edition: str) -> None:
        """Forget the positions of the domain's streams on the edition (PROJ-15)."""
        ...

    async def clear(self) -> bool:
        """Delete all rows, as `reset` of a projector that has none of its own. False, and nothing
        done, where the store can't tell which rows are the projector's."""
        ...


class ReadModel(Protocol[Db_co]):
    """An open read model of one projector."""

    def transaction(self) -> AbstractAsyncContextManager[Unit[Db_co]]:
        """Begin: all of it is committed when the block ends, none of it when the block raises.

        Transactions of one projector exclude each other, those of other processes included; they
        wait for their turn. Readers see none of it before the commit, and all of it after.
        Raises ReadStoreUnavailable where the database can't be reached or can't take it, instead of
        the block's own error where that is the reason; StoreClosed after close(). Any other error
        of the block passes as it is.
        """
        ...

    async def close(self) -> None:
        """Let go of the database when the running transaction is over. Idempotent."""
        ...


class ReadStore(Protocol[Db_co]):
    """Where a projector's read model is. Making one touches nothing."""

    @property
    def place(self) -> str:
        """Where that is, for people: a path, or a URL without secrets."""
        ...

    async def open(self, projector: str) -> ReadModel[Db_co]:
        """Open it, and make what is not there yet.

        projector: bare name; it owns the read model. Raises ReadStoreUnavailable, InvalidInput if
        it is another projector's, FormatTooNew.
        """
        ...

    def reader(self) -> object:
        """What a query service is given to read with (DEP-7); it never sees half a transaction."""
        ...


class StoredProjector(Projector, Protocol):
    """A projector in this process whose rows are in a read store."""

    async def apply(
        self, book: wire.EventBook, db: object, cover: Cover | None = None
    ) -> Any | None:
        """Handle the book's pages within a transaction; the packed projection, if there is one.

        cover: the book's own, where the caller has it at hand. Raises HandlerFailed for an
        exception of the user's code, CorruptData for a page that does not parse.
        """
        ...

    async def reset(self, db: object) -> bool:
        """Call the projector's own reset; False where it declares none."""
        ...


Progress = Callable[[int, int], None]
"""Told (log positions done, log positions in all)."""


@dataclass(frozen=True, slots=True)
class TableDifference:
    """One table of two read models, compared by the columns that both have.

    old_count, new_count: rows. old_only, new_only: different rows that the other one does not have
    as often. old_columns, new_columns: columns that the other one lacks. samples: some of the
    differing rows, as (side, row), side `old` or `new`.
    """

    table: str
    old_count: int
    new_count: int
    old_only: int = 0
    new_only: int = 0
    old_columns: tuple[str, ...] = ()
    new_columns: tuple[str, ...] = ()
    samples: tuple[tuple[str, tuple[object, ...]], ...] = ()

    @property
    def is_equal(self) -> bool:
        return not (self.old_only or self.new_only or self.old_columns or self.new_columns)


@dataclass(frozen=True, slots=True)
class Comparison:
    """A read model beside the one that serves, both at the same events.

    tables: in the order of their names; one that only one side has counts as empty on the other.
    streams_ahead: streams of which the new one had more events, so that they were not comparable;
    0 while the old one keeps up.
    """

    tables: tuple[TableDifference, ...]
    streams_ahead: int = 0

    @property
    def is_equal(self) -> bool:
        return all(table.is_equal for table in self.tables)


CatchUp = Callable[["ReadModel[object]", Callable[[Cover], int | None] | None], Awaitable[None]]
"""Feeds a read model from the log; with the second argument each stream up to what that answers."""


class ReplacedReadStore(ReadStore[object], Protocol):
    """A read store that can be built anew beside itself, while it serves."""

    def beside(self) -> ReadStore[object]:
        """Where the new one is built."""
        ...

    async def compare(self, projector: str, catch_up: CatchUp) -> Comparison:
        """Bring the new one to the events of the old one, and tell how their rows differ."""
        ...

    async def switch(self, projector: str, catch_up: CatchUp) -> None:
        """Put the new one in the old one's place, in one step for readers and writers."""
        ...

    async def discard(self) -> None:
        """Delete what was built beside it. Idempotent."""
        ...
