"""Which stored events the classes of today read (`angzarr schema check`).

An event type that nobody reads is skipped wherever it comes, in silence: its part of the state is
missing. So the log is walked for types before a change of code goes out.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any as Untyped
from typing import Final

from google.protobuf.any_pb2 import Any

from angzarr import codec, wire
from angzarr.codec import PayloadType
from angzarr.coordinators.subscriptions import matches_domain
from angzarr.cover import Cover
from angzarr.errors import AngzarrError
from angzarr.handlers.aggregate import Aggregate, sagas_of
from angzarr.handlers.process_manager import ProcessManager
from angzarr.handlers.projector import Projector
from angzarr.handlers.projector_table import ProjectorTable
from angzarr.handlers.saga import Saga
from angzarr.handlers.upcaster import LocalUpcaster, Upcaster
from angzarr.parts import Definition
from angzarr.ports.columns import Columns, FieldSpec
from angzarr.ports.components import CallContext
from angzarr.ports.components import Upcaster as UpcasterPort
from angzarr.ports.event_store import EventStore

FAILURES_KEPT: Final = 5
"""Failures of a type that are told one by one; all are counted."""
BATCH: Final = 65_536
"""Log positions looked at together without payloads."""
BATCH_WITH_PAYLOADS: Final = 1_024

_PAYLOAD: Final = FieldSpec("payload", "payload")
_CONTEXT: Final = CallContext()

Find = Callable[[str, str], PayloadType[Untyped] | None]


@dataclass(frozen=True, slots=True)
class Reader:
    """A component that reads events. find: the class that it decodes a type of a domain to."""

    component: str
    find: Find


@dataclass(frozen=True, slots=True)
class Example:
    """One event of a type."""

    cover: Cover
    sequence: int


@dataclass(frozen=True, slots=True)
class Failure:
    """An event that was tried, and what kept it from being read."""

    example: Example
    reason: str


@dataclass(slots=True)
class TypeFound:
    """A type of stored events of a domain.

    first_position, last_position: in the log. example: the first of them. became: types that an
    upcaster made of those that were tried. readers: components that read them, as they are or as
    what they became. tried_count: events whose payloads were decoded.
    """

    domain: str
    name: str
    count: int
    first_position: int
    last_position: int
    example: Example
    became: set[str] = field(default_factory=set[str])
    readers: set[str] = field(default_factory=set[str])
    tried_count: int = 0
    failure_count: int = 0
    failures: list[Failure] = field(default_factory=list[Failure])

    @property
    def is_readable(self) -> bool:
        """Whether a component reads it, and each event that was tried."""
        return bool(self.readers) and not self.failure_count

    def failed(self, example: Example, reason: str) -> None:
        """Note an event that could not be read."""
        self.failure_count += 1
        if len(self.failures) < FAILURES_KEPT:
            self.failures.append(Failure(example, reason))


def readers_of(definitions: Iterable[Definition]) -> list[Reader]:
    """What the classes read: aggregates their own events, and process managers, too; sagas, process
    managers and projectors those of their sources.
    """
    found: dict[str, Reader] = {}

    def add(component: str, find: Find) -> None:
        found.setdefault(component, Reader(component, find))

    for definition in definitions:
        if issubclass(definition, Aggregate):
            add(
                definition.table().component,
                _own(definition.table().domain, definition.table().events),
            )
            for saga in sagas_of(definition):
                add(saga.table().component, _handled(saga.table().handles.find))
        elif issubclass(definition, ProcessManager):
            table = definition.table()
            own, handled = _own(table.domain, table.state.events), _handled(table.handles.find)
            add(table.component, _either(own, handled))
        elif issubclass(definition, Saga):
            add(definition.table().component, _handled(definition.table().handles.find))
        elif issubclass(definition, Projector):
            projected = definition.projector_table()
            add(projected.component, _projected(projected))
    return list(found.values())


def upcasters_in(definitions: Iterable[Definition]) -> dict[str, UpcasterPort]:
    """The upcaster classes, by domain."""
    local = [LocalUpcaster(cls) for cls in definitions if issubclass(cls, Upcaster)]
    return {upcaster.domain: upcaster for upcaster in local}


class SchemaCheck:
    """Walks a log, and tries events on readers. elsewhere: domain → who decides on it in another
    process, whose classes nobody can ask here: its types count as read.
    """

    def __init__(
        self,
        events: EventStore,
        readers: Sequence[Reader],
        upcasters: Mapping[str, UpcasterPort],
        *,
        elsewhere: Mapping[str, str] | None = None,
    ) -> None:
        self._events = events
        self._readers = readers
        self._upcasters = upcasters
        self._elsewhere = elsewhere or {}
        self._found: dict[tuple[str, str], TypeFound] = {}

    async def run(
        self,
        *,
        domains: Sequence[str] = (),
        tries_all: bool = False,
        progress: Callable[[int, int], None] | None = None,
    ) -> list[TypeFound]:
        """All types of the log, of all editions, in the order (domain, name).

        domains: only these. tries_all: decode every payload; else one of a type in each BATCH of
        the log. progress: told (log positions done, in all). Memory is that of one batch. Raises
        what the store raises.
        """
        head = await self._events.log_head()
        position = 0
        while position < head:
            columns = await self._events.scan(
                position,
                limit=BATCH_WITH_PAYLOADS if tries_all else BATCH,
                domains=domains or None,
                fields=(_PAYLOAD,) if tries_all else (),
            )
            if columns.last == position:
                break
            position = columns.last
            await self._take(_Batch(columns), tries_all=tries_all)
            if progress is not None:
                progress(min(position, head), head)
        return sorted(self._found.values(), key=lambda found: (found.domain, found.name))

    async def _take(self, batch: _Batch, *, tries_all: bool) -> None:
        for pair, (count, first, last) in batch.pairs().items():
            name = batch.names(pair)
            if name[0].startswith("_"):
                continue  # angzarr's own
            found = self._found.get(name)
            if found is None:
                at = batch.positions[first]
                found = TypeFound(*name, 0, at, at, batch.example(first))
                found.readers |= self._far(name[0])
                self._found[name] = found
            found.count += count
            found.last_position = batch.positions[last]
            if tries_all:
                rows = batch.rows(pair)
                values = [batch.payload(row) for row in rows]
                await self._try(found, [batch.example(row) for row in rows], values)
            else:
                await self._sample(found, batch.example(first))

    def _far(self, domain: str) -> set[str]:
        reader = self._elsewhere.get(domain)
        return {reader} if reader else set()

    async def _sample(self, found: TypeFound, example: Example) -> None:
        start = example.sequence
        book = await self._events.load(example.cover, start=start, stop=start + 1)
        pages = wire.EventBook.FromString(book.data).pages
        if pages:  # else its edition has just been deleted
            await self._try(found, [example], [pages[0].event])

    async def _try(
        self, found: TypeFound, examples: Sequence[Example], values: Sequence[Any]
    ) -> None:
        found.tried_count += len(values)
        lifted = await self._lifted(found, examples, values)
        for example, value in zip(examples, lifted, strict=True):
            if value is not None:
                self._decode(found, example, value)

    async def _lifted(
        self, found: TypeFound, examples: Sequence[Example], values: Sequence[Any]
    ) -> Sequence[Any | None]:
        """What the domain's upcaster makes of the payloads; None where it fails."""
        upcaster = self._upcasters.get(found.domain)
        if upcaster is None:
            return values
        request = wire.UpcastRequest(domain=found.domain)
        for value in values:
            request.events.add().event.CopyFrom(value)
        try:
            answer = await upcaster.upcast(request.SerializeToString(), _CONTEXT)
            made = [page.event for page in wire.UpcastResponse.FromString(answer).events]
            if len(made) != len(values):
                raise AngzarrError(f"sent {len(values)} pages, got {len(made)}")
        except AngzarrError as error:
            if len(values) == 1:
                found.failed(examples[0], f"upcaster: {error}")
                return [None]
            each: list[Any | None] = []
            for example, value in zip(examples, values, strict=True):  # which of them was it?
                each += await self._lifted(found, [example], [value])
            return each
        return made

    def _decode(self, found: TypeFound, example: Example, value: Any) -> None:
        name = codec.full_name(value.type_url)
        if name != found.name:
            found.became.add(name)
        kinds: dict[type, tuple[PayloadType[Untyped], str]] = {}
        for reader in self._readers:
            kind = reader.find(found.domain, name)
            if kind is not None:
                found.readers.add(reader.component)
                kinds.setdefault(kind.cls, (kind, reader.component))
        if name != found.name and not kinds and not self._far(found.domain):
            found.failed(example, f"it becomes {name}, which no class reads")
        for kind, component in kinds.values():
            try:
                kind.read_event(value.value, name)
            except AngzarrError as error:
                found.failed(example, f"{component}: {error}")
                return


class _Batch:
    """Columns by rows."""

    def __init__(self, columns: Columns) -> None:
        count = columns.count
        self._columns = columns
        self._domains: tuple[int, ...] = struct.unpack(f"<{count}I", columns.domains)
        self._types: tuple[int, ...] = struct.unpack(f"<{count}I", columns.types)
        self._sequences: tuple[int, ...] = struct.unpack(f"<{count}I", columns.sequences)
        self._editions: tuple[int, ...] = struct.unpack(f"<{count}I", columns.editions)
        self.positions: tuple[int, ...] = struct.unpack(f"<{count}Q", columns.positions)
        self._offsets: tuple[int, ...] = ()
        if columns.fields:
            self._offsets = struct.unpack(f"<{count + 1}Q", columns.fields[0].offsets)

    def pairs(self) -> dict[tuple[int, int], tuple[int, int, int]]:
        """Of each domain and type, as codes: how many rows, the first and the last one."""
        pairs = list(zip(self._domains, self._types, strict=True))
        rows = range(len(pairs))
        first = dict(zip(reversed(pairs), reversed(rows), strict=True))
        last = dict(zip(pairs, rows, strict=True))
        return {pair: (n, first[pair], last[pair]) for pair, n in Counter(pairs).items()}

    def names(self, pair: tuple[int, int]) -> tuple[str, str]:
        """Domain and type of codes."""
        return self._columns.domain_names[pair[0]], self._columns.type_names[pair[1]]

    def rows(self, pair: tuple[int, int]) -> list[int]:
        """Rows of a domain and type."""
        domain, kind = pair
        both = zip(self._domains, self._types, strict=True)
        return [row for row, found in enumerate(both) if found == (domain, kind)]

    def example(self, row: int) -> Example:
        """The row's event."""
        columns = self._columns
        edition = columns.edition_names[self._editions[row]]
        domain = columns.domain_names[self._domains[row]]
        root = columns.roots[16 * row : 16 * row + 16]
        return Example(Cover(domain, root, edition), self._sequences[row])

    def payload(self, row: int) -> Any:
        """The row's payload; columns keep the type's name alone, so its URL has no prefix."""
        value = self._columns.fields[0].values[self._offsets[row] : self._offsets[row + 1]]
        return Any(type_url=f"/{self._columns.type_names[self._types[row]]}", value=value)


def _own(domain: str, events: Mapping[str, PayloadType[Untyped]]) -> Find:
    return lambda of, name: events.get(name) if of == domain else None


def _handled(find: Callable[[str, str], tuple[object, PayloadType[Untyped]] | None]) -> Find:
    def kind_of(domain: str, name: str) -> PayloadType[Untyped] | None:
        found = find(domain, name)
        return found[1] if found else None

    return kind_of


def _projected(table: ProjectorTable) -> Find:
    def kind_of(domain: str, name: str) -> PayloadType[Untyped] | None:
        if not any(matches_domain(source, domain) for source in table.sources):
            return None
        found = table.of_domain(domain).get(name)
        return found[0] if found else None

    return kind_of


def _either(*finds: Find) -> Find:
    return lambda domain, name: next((kind for f in finds if (kind := f(domain, name))), None)
