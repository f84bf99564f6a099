"""Editions for people: declared, listed, deleted, compared, promoted (EDN-19 to EDN-27)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import Final, Protocol

from google.protobuf.timestamp_pb2 import Timestamp

from angzarr import wire
from angzarr.coordinators import books, validate
from angzarr.coordinators.edition_deletion import EditionDeletion
from angzarr.coordinators.edition_diff import EditionDiff
from angzarr.coordinators.lineage import Lineage
from angzarr.coordinators.options import EditionOptions
from angzarr.coordinators.pipeline import Pipeline, storing
from angzarr.coordinators.promotion import Choice, Promotion
from angzarr.coordinators.slots import Component
from angzarr.cover import MAIN, ROOT_BYTES, Cover
from angzarr.errors import InvalidInput, TooLarge, UnknownEdition
from angzarr.ports.clock import Clock, SystemClock
from angzarr.ports.components import CallContext
from angzarr.ports.edition_store import EditionRecord

TIME_NS_MAX: Final = 2**63 - 1
US_NS: Final = 1_000


class Elsewhere(Protocol):
    """The EditionService of another process that decides on a domain."""

    def diff(self, request: bytes, context: CallContext) -> AsyncIterator[bytes]: ...
    def promote(self, request: bytes, context: CallContext) -> AsyncIterator[bytes]: ...


class EditionCoordinator:
    """Serves EditionService over a pipeline's stores; encoded messages in and out.

    components: handlers by domain. elsewhere: who is asked for the streams of other domains; of
    what is neither here nor there states are not known, and nothing can be promoted to it.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        components: Mapping[str, Component],
        *,
        elsewhere: Mapping[str, Elsewhere] | None = None,
        options: EditionOptions | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._elsewhere = elsewhere or {}
        self._stores = pipeline.stores
        self._options = options = options or EditionOptions()
        self._clock = clock or SystemClock()
        self._lineage = lineage = Lineage(self._stores)
        self._deletion = EditionDeletion(self._stores, self._clock)
        self._diff = EditionDiff(pipeline, components, lineage, options)
        self._promotion = Promotion(pipeline, components, lineage, options)

    async def declare(self, request: bytes, context: CallContext) -> bytes:
        """DeclareEditionRequest → EditionRecord, that in force. Raises as EditionStore.declare."""
        asked = books.parse(wire.DeclareEditionRequest, request)
        validate.edition(asked.name, "name")
        validate.edition(asked.parent, "parent")
        with storing("persist events"):
            record = await self._stores.editions.declare(
                asked.name,
                parent=asked.parent or MAIN,
                expires_at_ns=self._expiry_ns(asked),
                max_pages=asked.max_pages,
                max_bytes=asked.max_bytes,
            )
        return _record(record).SerializeToString()

    async def get(self, request: bytes, context: CallContext) -> bytes:
        """GetEditionRequest → EditionStatus. Raises UnknownEdition for one without record and
        pages."""
        name = _branch(books.parse(wire.GetEditionRequest, request).name, "name")
        with storing("load events"):
            record = await self._stores.editions.get(name)
            domains = [d for d in await self._stores.events.domains() if await self._is_in(d, name)]
            if record is None and not domains:
                raise UnknownEdition(name)
            return (await self._status(name, record, domains)).SerializeToString()

    async def list_editions(self, request: bytes, context: CallContext) -> AsyncIterator[bytes]:
        """ListEditionsRequest → EditionStatus of each, names ascending."""
        domain = books.parse(wire.ListEditionsRequest, request).domain
        if domain:
            validate.domain(domain, "domain")
        stores = self._stores
        with storing("load events"):
            records = {record.name: record for record in await stores.editions.list()}
            found: dict[str, list[str]] = {name: [] for name in records}
            for name in await stores.events.domains():
                for edition in await stores.events.editions(name):
                    if edition != MAIN:
                        found.setdefault(edition, []).append(name)
        for name, domains in sorted(found.items()):
            if not domain or domain in domains:
                with storing("load events"):
                    status = await self._status(name, records.get(name), domains)
                yield status.SerializeToString()

    async def list_branches(self, request: bytes, context: CallContext) -> AsyncIterator[bytes]:
        """ListBranchesRequest → BranchStatus of each stream, in the order (domain, root)."""
        asked = books.parse(wire.ListBranchesRequest, request)
        edition = _branch(asked.edition, "edition")
        async for cover, divergence, following in self._branches(edition, asked.domain):
            status = wire.BranchStatus(
                domain=cover.domain, divergence=divergence, next_sequence=following
            )
            status.root.value = cover.root
            yield status.SerializeToString()

    async def delete(self, request: bytes, context: CallContext) -> bytes:
        """DeleteEditionRequest → DeleteEditionResponse; an absent one is nothing.

        Raises MainProtected, EditionInUse, PendingPages.
        """
        name = books.parse(wire.DeleteEditionRequest, request).name
        validate.edition(name, "name")
        with storing("persist events"):
            deleted = await self._deletion.whole(name)
        response = wire.DeleteEditionResponse(was_declared=deleted.was_declared)
        for item in deleted.domains:
            response.domains.add(domain=item.domain, page_count=item.page_count)
        return response.SerializeToString()

    async def diff(self, request: bytes, context: CallContext) -> AsyncIterator[bytes]:
        """DiffEditionsRequest → StreamDifferences in the order (domain, root). Raises
        UnknownEdition."""
        asked = books.parse(wire.DiffEditionsRequest, request)
        for field in ("left", "right"):
            name: str = getattr(asked, field)
            validate.edition(name, field)
            await self._check_known(name)
        domain, root = asked.domain, asked.root.value
        if domain:
            validate.domain(domain, "domain")
        if root:
            _check_root(root, "root")
            if not domain:
                raise InvalidInput("domain", "set beside a root", "")
        left, right = asked.left or MAIN, asked.right or MAIN
        for name in [domain] if domain else await self._domains():
            if name in self._elsewhere:
                asked.domain = name
                parts = self._elsewhere[name].diff(asked.SerializeToString(), context)
            else:
                parts = self._diff.run(left, right, domain=name, root=root, context=context)
            async for part in parts:
                yield part

    async def promote(self, request: bytes, context: CallContext) -> AsyncIterator[bytes]:
        """PromoteRequest → StreamPromotions, one stream after the other.

        Raises UnknownEdition, InvalidInput, TooLarge, UnknownDomain, with nothing recorded; what is
        reported as recorded is durable.
        """
        asked = books.parse(wire.PromoteRequest, request)
        edition = _branch(asked.edition, "edition")
        validate.partial_cover(wire.Cover(correlation_id=asked.correlation_id))
        await self._check_known(edition)
        choices = await self._choices(edition, asked.choices)
        is_far = any(choice.cover.domain in self._elsewhere for choice in choices)
        if is_far and not asked.dry_run and not asked.accept_conflicts:
            judged = wire.PromoteRequest()
            judged.CopyFrom(asked)
            judged.dry_run = True
            async for part in self._promoted(choices, judged, context):
                found = wire.StreamPromotion.FromString(part)
                # In conflict here or there, nothing is recorded here and there.
                asked.dry_run |= found.judgement == wire.PROMOTION_CONFLICT
        async for part in self._promoted(choices, asked, context):
            yield part

    async def _promoted(
        self, choices: Sequence[Choice], asked: wire.PromoteRequest, context: CallContext
    ) -> AsyncIterator[bytes]:
        """What becomes of the choices: first of those of this process, then of others'."""
        far: dict[str, list[Choice]] = {}
        near: list[Choice] = []
        for choice in choices:
            domain = choice.cover.domain
            (far.setdefault(domain, []) if domain in self._elsewhere else near).append(choice)
        async for part in self._promotion.run(
            near,
            is_dry=asked.dry_run,
            accepts_conflicts=asked.accept_conflicts,
            correlation_id=asked.correlation_id,
            context=context,
        ):
            yield part
        for domain, chosen in far.items():
            request = wire.PromoteRequest()
            request.CopyFrom(asked)
            del request.choices[:]
            if all(choice.is_named for choice in chosen):
                for choice in chosen:
                    added = request.choices.add(domain=domain, sequences=choice.sequences)
                    added.root.value = choice.cover.root
            else:
                request.choices.add(domain=domain)
            async for part in self._elsewhere[domain].promote(request.SerializeToString(), context):
                yield part

    def _expiry_ns(self, asked: wire.DeclareEditionRequest) -> int:
        """0 is never."""
        kind = asked.WhichOneof("expiry")
        if kind is None:
            return 0
        if kind == "expires_at":
            time_ns = validate.time_ns(asked.expires_at, kind)
            if time_ns <= 0:
                raise InvalidInput(kind, "after 1970-01-01", asked.expires_at.ToJsonString())
            return time_ns
        ttl_ns = asked.ttl.seconds * books.NS_PER_S + asked.ttl.nanos
        expiry_ns = self._clock.now_ns() + ttl_ns
        if ttl_ns <= 0 or expiry_ns > TIME_NS_MAX:
            raise InvalidInput(kind, "more than 0 and less than 200 years", f"{ttl_ns / 1e9} s")
        return expiry_ns - expiry_ns % US_NS  # so that it can be given back as a datetime

    async def _check_known(self, name: str) -> None:
        """Raise UnknownEdition for a name that stands for nothing: it would read as main does."""
        if name in ("", MAIN):
            return
        with storing("load events"):
            if await self._stores.editions.get(name) is not None:
                return
            for domain in await self._stores.events.domains():
                if await self._is_in(domain, name):
                    return
        raise UnknownEdition(name)

    async def _domains(self) -> list[str]:
        with storing("load events"):
            return await self._stores.events.domains()

    async def _is_in(self, domain: str, edition: str) -> bool:
        return bool(await self._stores.editions.branches(domain, edition, limit=1))

    async def _status(
        self, name: str, record: EditionRecord | None, domains: Iterable[str]
    ) -> wire.EditionStatus:
        usage = await self._stores.editions.usage(name)
        status = wire.EditionStatus(
            name=name, page_count=usage.page_count, byte_count=usage.byte_count
        )
        if record is not None:
            status.record.CopyFrom(_record(record))
        for domain in sorted(domains):
            count = 0
            async for _ in self._lineage.branches(domain, name):
                count += 1
            status.domains.add(domain=domain, stream_count=count)
        return status

    async def _branches(self, edition: str, domain: str) -> AsyncIterator[tuple[Cover, int, int]]:
        """Each stream of the edition, where it left its base, and its next sequence."""
        if domain:
            validate.domain(domain, "domain")
        with storing("load events"):
            for name in [domain] if domain else await self._stores.events.domains():
                async for found in self._lineage.branches(name, edition):
                    yield Cover(name, found.root, edition), found.divergence, found.next_sequence

    async def _choices(self, edition: str, asked: Iterable[wire.PromotionChoice]) -> list[Choice]:
        """One choice a stream, in the order asked for; none asked for are all streams."""
        given = list(asked) or [wire.PromotionChoice()]
        choices: dict[Cover, Choice] = {}
        for choice in given:
            root = choice.root.value
            if root:
                validate.domain(choice.domain, "choices.domain")
                validate.target(choice.domain)
                _check_root(root, "choices.root")
                cover = Cover(choice.domain, root, edition)
                self._add(choices, Choice(cover, tuple(sorted(set(choice.sequences)))))
                continue
            if choice.sequences:
                raise InvalidInput("choices.root", "set beside sequences", "none")
            async for cover, *_ in self._branches(edition, choice.domain):
                self._add(choices, Choice(cover, is_named=False))
        return list(choices.values())

    def _add(self, choices: dict[Cover, Choice], choice: Choice) -> None:
        if choice.cover in choices:
            raise InvalidInput("choices", "one a stream", choice.cover)
        if len(choices) == self._options.promoted_streams:
            limit = f"at most {self._options.promoted_streams} streams"
            raise TooLarge("choices", limit, "more", f"a promotion has {limit}; choose some")
        choices[choice.cover] = choice


def _branch(name: str, field: str) -> str:
    """Check the name of an edition that is not main."""
    validate.edition(name, field)
    if name in ("", MAIN):
        raise InvalidInput(field, "an edition other than main", name)
    return name


def _check_root(root: bytes, field: str) -> None:
    if len(root) != ROOT_BYTES:
        raise InvalidInput(field, f"{ROOT_BYTES} bytes", f"{len(root)} bytes")


def _record(record: EditionRecord) -> wire.EditionRecord:
    return wire.EditionRecord(
        name=record.name,
        parent=record.parent,
        created_at=books.timestamp(record.created_at_ns),
        expires_at=_time(record.expires_at_ns),
        max_pages=record.max_pages,
        max_bytes=record.max_bytes,
    )


def _time(time_ns: int) -> Timestamp | None:
    return books.timestamp(time_ns) if time_ns else None
