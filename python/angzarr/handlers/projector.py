"""The base class of projectors.

class Statement(
    Projector,
    source="account",
    read_store=Sqlite("statement.sqlite", "CREATE TABLE IF NOT EXISTS line (account, cents)"),
):
    @projects
    def deposited(self, event: Deposited, at: Trigger, db: sqlite3.Connection) -> None:
        db.execute("INSERT INTO line VALUES (?, ?)", (at.root, event.amount_cents))
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import ClassVar, Final

from angzarr.handlers.annotations import caller_names
from angzarr.handlers.naming import bare_name
from angzarr.handlers.projector_table import ProjectorTable, Source, build_table
from angzarr.ports.read_store import ReadStore

EVERY_EDITION: Final = "*"
MAIN_EDITION: Final = "main"

_EDITION: Final = re.compile(r"[a-z][a-z0-9_-]{0,63}")


@dataclass(frozen=True, slots=True)
class Service:
    """A projector's query service: an ordinary gRPC servicer on the read model (DEP-7).

    add_to_server: generated code's `add_…Servicer_to_server`. servicer: its class, or what else
    makes one; it is given what the read store's `reader()` answers, nothing without a read store.
    """

    add_to_server: Callable[..., None]
    servicer: Callable[..., object]


class Projector:
    """Makes a read model of events: its `@projects` methods are called with each event, in the
    order of its stream.

    source, sources: the domains whose events it gets: names, aggregate classes, `*`, `prefix.*`.
    name: 1 to 128 of `a-z 0-9 _ -`, a letter first; the class's own in kebab case unless given.
    read_store: where its rows are, each event once, since position and rows commit together.
    Without one it keeps rows where it likes, and may be given an event again.
    query: its query service. synchronous: whether requests that ask for it (`sync="simple"`) wait
    for it, and are answered with its projections. editions: `main`, names, or `*` for all.

    One object of the class serves all streams. Mistakes raise TypeError when the class is made.
    """

    __angzarr_projector__: ClassVar[ProjectorTable]

    def __init_subclass__(
        cls,
        *,
        source: Source | None = None,
        sources: Iterable[Source] | Source = (),
        name: str = "",
        read_store: ReadStore[object] | None = None,
        query: Service | None = None,
        synchronous: bool = False,
        editions: str | Iterable[str] = MAIN_EDITION,
    ) -> None:
        super().__init_subclass__()
        if source is not None and sources:
            raise TypeError(f"{cls.__name__} has source and sources; one is enough")
        given = sources if source is None else source
        wanted = (given,) if isinstance(given, str | type) else tuple(given)
        if not wanted:
            raise TypeError(
                f'{cls.__name__} needs a source: source="order", or sources=["order", …]'
            )
        cls.__angzarr_projector__ = build_table(
            cls,
            bare_name(cls, name or None),
            wanted,
            caller_names(1),
            editions=_editions(cls, editions),
            is_synchronous=synchronous,
            read_store=read_store,
        )
        cls.__angzarr_query__ = query

    __angzarr_query__: ClassVar[Service | None] = None

    @classmethod
    def projector_table(cls) -> ProjectorTable:
        """The dispatch table of the class."""
        return cls.__angzarr_projector__

    @classmethod
    def query_service(cls) -> Service | None:
        """The query service that the class was given."""
        return cls.__angzarr_query__


def _editions(cls: type, given: str | Iterable[str]) -> tuple[str, ...] | None:
    names = (given,) if isinstance(given, str) else tuple(given)
    if EVERY_EDITION in names:
        return None
    for name in names:
        if not _EDITION.fullmatch(name):
            raise TypeError(
                f"{cls.__name__}: edition {name!r} must be `main`, `*`, or 1-64 of a-z 0-9 _ -"
            )
    if not names:
        raise TypeError(f"{cls.__name__}: editions names none")
    return names
