"""Random programs of branching against one store, and against a model of plain lists."""

from __future__ import annotations

import asyncio
import itertools
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from angzarr import editions
from angzarr.coordinators import CommandCoordinator, EditionCoordinator
from angzarr.cover import root_of
from angzarr.edition_caller import Editions
from angzarr.editions import Choice
from angzarr.errors import AngzarrError, StoreUnavailable
from angzarr.local_transport import Calls, LocalTransport
from angzarr.ports.event_store import SnapshotPolicy
from angzarr.ports.stores import Stores
from angzarr.testing.clock import NS_PER_S, ManualClock
from angzarr.testing.pages import page, snapshot

from .branching_answers import NoReplay, cover_of, payload, plain
from .branching_model import MAIN, Key, Model, Page, Record, Refused

DOMAINS = ["account", "order"]
ROOTS = [root_of("alice"), root_of("bob")]
BRANCHES = ["left", "right", "kid", "grandkid"]
EDITIONS = [MAIN, *BRANCHES]
FAMILIES = [
    [],
    [("kid", "left")],
    [("kid", "left"), ("grandkid", "kid")],
    [("kid", "left"), ("grandkid", "kid")],
    [("grandkid", "kid"), ("kid", "left"), ("left", "right")],
    [("kid", "left"), ("right", "left")],
]
IDS = ["", "", "", "fact-1", "fact-2"]
CORRELATIONS = ["", "corr-1", "corr-2"]

# The usual values often, so that most calls do something.
domains = st.sampled_from(DOMAINS[:1] * 8 + DOMAINS)
roots = st.sampled_from(ROOTS[:1] * 6 + ROOTS)
keys = st.tuples(domains, st.sampled_from([MAIN] * 2 + EDITIONS), roots)
branch_keys = st.tuples(domains, st.sampled_from(BRANCHES), roots)
branches = st.sampled_from(BRANCHES)
small = st.integers(0, 7)
divergences = st.sampled_from([None] * 5 + [0, 1, 2, 3, 5, 30])
limits = st.sampled_from([0, 0, 0, 3, 8])
ages = st.integers(-4, 4)


class Branching(RuleBasedStateMachine):
    """A store and the model, given the same calls. Subclasses say which store."""

    opened: ClassVar[Callable[[Path, ManualClock], Stores]]
    runner: ClassVar[asyncio.Runner]
    is_durable: ClassVar[bool] = True
    step_count: ClassVar[int]

    def __init__(self) -> None:
        super().__init__()
        self.clock, self.model = ManualClock(), Model()
        self.folder = tempfile.TemporaryDirectory()
        self.stores = self.opened(Path(self.folder.name), self.clock)
        self.written = itertools.count()
        self.promoted: dict[tuple[Any, ...], int] = {}
        type(self).step_count -= 1

    def teardown(self) -> None:
        try:
            self.sweep()
        finally:
            self.run(self.stores.close())
            self.folder.cleanup()

    # ---- what changes the store ----

    @initialize(
        family=st.sampled_from(FAMILIES),
        chain=st.sampled_from([(), (), (MAIN, "left"), (MAIN, *BRANCHES[:1], *BRANCHES[2:])]),
        backs=st.tuples(*[st.integers(0, 2)] * 4),
    )
    def begin(
        self, family: list[tuple[str, str]], chain: tuple[str, ...], backs: tuple[int, ...]
    ) -> None:
        """Some programs begin where chance would hardly get: with branches of branches."""
        for name, parent in family:
            self.declared(name, Record(parent))
        for name, back in zip(chain, backs, strict=False):
            key = DOMAINS[0], name, ROOTS[0]
            self.appended(key, max(len(self.model.read(key)) - back, 0), 3)

    @rule(key=keys, count=st.integers(1, 3), delta=st.sampled_from([0] * 8 + [-1, 1]))
    def append(self, key: Key, count: int, delta: int) -> None:
        self.appended(key, max(len(self.model.read(key)) + delta, 0), count)

    @rule(age_s=ages, external_id=st.sampled_from(IDS), name=st.sampled_from(CORRELATIONS), n=small)
    def append_where_there_are_pages(self, age_s: int, external_id: str, name: str, n: int) -> None:
        key = self.written_key(n) or (DOMAINS[0], MAIN, ROOTS[0])
        head = len(self.model.read(key))
        self.appended(key, head, 1, age_s=age_s, external_id=external_id, correlation_id=name)

    @rule(count=st.integers(1, 3))
    def grow_main(self, count: int) -> None:
        key = DOMAINS[0], MAIN, ROOTS[0]
        self.appended(key, len(self.model.read(key)), count)

    @rule(key=branch_keys, at=small, off=st.sampled_from([0] * 7 + [1]))
    def fork_explicitly(self, key: Key, at: int, off: int) -> None:
        at %= len(self.model.read(key)) + 2  # sometimes beyond the end
        self.appended(key, at + off, 1, divergence=at)

    @rule(key=branch_keys, at=small)
    def fork_implicitly(self, key: Key, at: int) -> None:
        self.appended(key, at % (len(self.model.read(key)) + 1), 2)

    @rule(at=small, name=st.sampled_from(BRANCHES[2:]))
    def fork_nested(self, at: int, name: str) -> None:
        key = DOMAINS[0], name, ROOTS[0]
        self.appended(key, max(len(self.model.read(key)) - at, 0), 2)

    @rule(
        name=st.sampled_from([*EDITIONS, *BRANCHES]),
        parent=st.sampled_from([None, None, None, *EDITIONS]),
        ttl_s=st.sampled_from([0] * 3 + [2, 4]),
        max_pages=st.sampled_from([0, 0, 0, 3, 8, -1]),
        max_bytes=st.sampled_from([0, 0, 0, 300, 800]),
    )
    def declare(
        self, name: str, parent: str | None, ttl_s: int, max_pages: int, max_bytes: int
    ) -> None:
        expires_at = ttl_s and self.clock.now_ns() + ttl_s * NS_PER_S
        parent = self.model.parent(name) if parent is None else parent
        self.declared(name, Record(parent, expires_at, max_pages, max_bytes))

    @rule(name=branches)
    def forget(self, name: str) -> None:
        self.same(self.stores.editions.forget(name), lambda: self.model.forget(name))

    @rule(domain=domains, edition=st.sampled_from([MAIN, *BRANCHES, *BRANCHES]))
    def delete(self, domain: str, edition: str) -> None:
        self.same(
            self.stores.events.delete_edition(domain, edition),
            lambda: self.model.delete(domain, edition),
        )

    @rule(
        n=small,
        offset=st.integers(0, 4),
        retention=st.integers(0, 2),
        keep_last=st.integers(1, 3),
        age_max_s=st.sampled_from([0, 0, 4]),
    )
    def snapshot(self, n: int, offset: int, retention: int, keep_last: int, age_max_s: int) -> None:
        """At one of the stream's own pages; elsewhere it would have nothing to stand for."""
        key = self.written_key(n)
        if key is None:
            return
        own = [each for each in self.model.read(key) if each.key == key]
        sequence = own[-1 - offset % len(own)].sequence
        data = snapshot(sequence, retention=retention)
        policy = SnapshotPolicy(keep_last, age_max_s)
        self.same(
            self.stores.snapshots.put(cover_of(key), data, policy),
            lambda: self.model.put_snapshot(
                key,
                sequence,
                retention,
                keep_last=keep_last,
                age_max=age_max_s * NS_PER_S,
                now=self.clock.now_ns(),
            ),
        )

    @rule(domain=domains, edition=st.none() | st.sampled_from(EDITIONS))
    def drop_snapshots(self, domain: str, edition: str | None) -> None:
        def modelled() -> int:
            snapshots = self.model.snapshots
            gone = [k for k in snapshots if k[0] == domain and edition in (None, k[1])]
            return sum(len(snapshots.pop(key)) for key in gone)

        self.same(self.stores.snapshots.delete_all(domain, edition), modelled)

    @rule(n=small, ranks=st.sets(small, max_size=3), is_accepted=st.booleans())
    def promote(self, n: int, ranks: set[int], is_accepted: bool) -> None:
        """Some of a branch's events, or all: onto main, if it has not grown since, or nevertheless.

        Nobody here can tell which fields an event changes, so all growth is a conflict.
        """
        key = self.written_key(n, is_branch=True)
        if key is None:
            return
        own = [each for each in self.model.read(key) if each.key == key]
        chosen = [own[n] for n in sorted({rank % len(own) for rank in ranks})] or own
        choice = Choice(key[0], key[2], [each.sequence for each in chosen])
        asked = self.desk().promote(key[1], choice, accept_conflicts=is_accepted)
        [report] = self.run(asked).streams

        known = self.promoted.get((key, *(each.data for each in chosen)))
        main = key[0], MAIN, key[2]
        head = len(self.model.read(main))
        if known is not None:
            wanted, first = "repeated", known
        else:
            wanted, first = "conflict" if head > self.left_main(key) else "clean", head
        recorded = [event.page.SerializeToString(deterministic=True) for event in report.events]
        assert report.judgement == wanted
        if wanted == "conflict" and not is_accepted:
            assert not recorded
            return
        assert [event.sequence for event in report.events] == list(
            range(first, first + len(chosen))
        )
        assert [event.payload for event in report.events] == [payload(page) for page in chosen]
        if known is None:
            times = {event.page.created_at.ToNanoseconds() for event in report.events}
            self.model.append(main, head, recorded, now=0, time=times.pop())
            self.promoted[key, *(each.data for each in chosen)] = head

    @rule(seconds=st.integers(1, 3))
    def tick(self, seconds: int) -> None:
        self.clock.advance(seconds)

    @rule()
    def reopen(self) -> None:
        if self.is_durable:
            self.run(self.stores.close())
            self.stores = self.opened(Path(self.folder.name), self.clock)

    # ---- what reads it ----

    @rule(key=keys, start=small, stop=st.none() | small, divergence=divergences)
    def load(self, key: Key, start: int, stop: int | None, divergence: int | None) -> None:
        book = self.stores.events.load(cover_of(key), start=start, stop=stop, divergence=divergence)
        self.same(book, lambda: self.booked(key, divergence, lambda pages: pages[start:stop]))

    @rule(key=keys, age_s=st.integers(-12, 4), divergence=divergences)
    def load_until(self, key: Key, age_s: int, divergence: int | None) -> None:
        time = self.clock.now_ns() + age_s * NS_PER_S
        self.same(
            self.stores.events.load_until(cover_of(key), time, divergence=divergence),
            lambda: self.booked(
                key, divergence, lambda pages: [p for p in pages if p.time <= time]
            ),
        )

    @rule(key=keys, divergence=divergences)
    def load_latest(self, key: Key, divergence: int | None) -> None:
        def modelled() -> Any:
            pages = self.model.read(key, divergence)
            base = self.model.base_of_state(pages)
            after = pages if base is None else pages[base + 1 :]
            return [each.data for each in after], base, len(pages)

        self.same(self.stores.events.load_latest(cover_of(key), divergence=divergence), modelled)

    @rule(key=keys, divergence=divergences)
    def next_sequence(self, key: Key, divergence: int | None) -> None:
        self.same(
            self.stores.events.next_sequence(cover_of(key), divergence=divergence),
            lambda: len(self.model.read(key, divergence)),
        )

    @rule(key=keys, position=st.integers(0, 40), divergence=divergences)
    def length_at(self, key: Key, position: int, divergence: int | None) -> None:
        self.same(
            self.stores.events.length_at(cover_of(key), position, divergence=divergence),
            lambda: sum(p.position <= position for p in self.model.read(key, divergence)),
        )

    @rule(after=st.integers(0, 40), limit=st.integers(1, 9))
    def tail(self, after: int, limit: int) -> None:
        def modelled() -> Any:
            later = [page for page in self.model.log if page.commit > after]
            commits = itertools.groupby(later, lambda page: page.commit)
            entries = [(end, [page.data for page in pages]) for end, pages in commits]
            return [(end, end - len(data) + 1, data) for end, data in entries[:limit]]

        self.same(self.stores.events.tail(after, limit=limit), modelled)

    @rule(domain=domains, edition=st.sampled_from(EDITIONS), after=roots, limit=st.integers(1, 2))
    def branches(self, domain: str, edition: str, after: bytes, limit: int) -> None:
        self.same(
            self.stores.editions.branches(domain, edition, after=after, limit=limit),
            lambda: [b for b in self.branched(domain, edition) if b[0] > after][:limit],
        )

    @rule()
    def sweep(self) -> None:
        """Everything that can be asked without a choice."""
        events, editions, model = self.stores.events, self.stores.editions, self.model
        for key in itertools.product(DOMAINS, EDITIONS, ROOTS):
            self.load_latest(key, None)
            self.load(key, 0, None, None)
            self.same(events.divergence(cover_of(key)), lambda key=key: model.pins.get(key))
            self.same(self.stores.snapshots.get(cover_of(key)), lambda key=key: self.kept(key, 99))
            for at in range(len(model.read(key)) if key in model.snapshots else 1):
                asked = self.stores.snapshots.get_at(cover_of(key), at)
                self.same(asked, lambda key=key, at=at: self.kept(key, at))
            for external_id in ("fact-1", "fact-2"):
                self.same(
                    events.find_by_external_id(cover_of(key), external_id),
                    lambda key=key, name=external_id: self.recorded(key, name),
                )
        for domain in DOMAINS:
            for edition in EDITIONS:
                self.same(
                    editions.branches(domain, edition),
                    lambda d=domain, e=edition: self.branched(d, e),
                )
                self.same(
                    events.roots(domain, edition),
                    lambda d=domain, e=edition: [root for root, *_ in self.branched(d, e)],
                )
            self.same(
                events.editions(domain),
                lambda d=domain: sorted({key[1] for key in model.streams if key[0] == d}),
            )
        self.same(events.domains(), lambda: sorted({key[0] for key in model.streams}))
        for name in BRANCHES:
            self.same(editions.usage(name), lambda name=name: model.usage(name))
            self.same(editions.get(name), lambda name=name: model.records.get(name))
        self.same(editions.list(), lambda: [r for _, r in sorted(model.records.items())])
        for correlation_id in CORRELATIONS[1:]:
            self.same(
                events.by_correlation(correlation_id), lambda c=correlation_id: self.carrying(c)
            )
        self.tail(0, 1_000)
        self.same(events.log_head(), lambda: model.log_head)

    # ---- how answers are compared ----

    def same(self, asked: Awaitable[Any], modelled: Callable[[], Any]) -> None:
        """Both answer alike, or refuse for the same reason."""
        try:
            wanted = modelled()
        except Refused as refused:
            wanted = str(refused)
        try:
            found = plain(self.run(asked))
        except StoreUnavailable:
            raise
        except AngzarrError as error:
            found = type(error).__name__
        assert found == wanted

    def run(self, asked: Awaitable[Any]) -> Any:
        async def wait() -> Any:
            return await asked

        return self.runner.run(wait())

    @invariant(check_during_init=False)
    def count(self) -> None:
        """Once when the program begins and once after each step."""
        type(self).step_count += 1

    def desk(self) -> Editions:
        """EditionService over the store, for aggregates that have no Replay."""
        handlers = {domain: NoReplay(domain) for domain in DOMAINS}
        commands = CommandCoordinator(self.stores, handlers, clock=self.clock)
        served = EditionCoordinator(commands.pipeline, commands.components, clock=self.clock)
        calls = Calls({}, {editions.PROMOTE: served.promote})
        return Editions(LocalTransport(lambda: calls))

    # ---- the model's side ----

    def written_key(self, n: int, *, is_branch: bool = False) -> Key | None:
        """The stream of a rank among those that were written to, the newest first."""
        written = [key for key in self.model.streams if key[1] != MAIN or not is_branch]
        return written[-1 - n % len(written)] if written else None

    def left_main(self, key: Key) -> int:
        """How much of a branch is what main has there."""
        if self.model.parent(key[1]) == MAIN:
            return self.model.pins[key]
        inherited = self.model.read(key)[: self.model.pins[key]]
        pairs = zip(inherited, self.model.read((key[0], MAIN, key[2])), strict=False)
        return sum(1 for _ in itertools.takewhile(lambda pair: pair[0].data == pair[1].data, pairs))

    def appended(
        self, key: Key, expected: int, count: int, *, age_s: int = 0, **options: Any
    ) -> None:
        time = self.clock.now_ns() + age_s * NS_PER_S
        data = [
            page(expected + n, value=b"%d" % next(self.written), created_at_ns=time)
            for n in range(count)
        ]
        now = self.clock.now_ns()
        cover = cover_of(key, options.get("correlation_id", ""))
        given = {name: value for name, value in options.items() if name != "correlation_id"}
        self.same(
            self.stores.events.append(cover, expected, data, **given),
            lambda: self.model.append(key, expected, data, now=now, time=time, **options),
        )

    def declared(self, name: str, record: Record) -> None:
        asked = self.stores.editions.declare(
            name,
            parent=record.parent,
            expires_at_ns=record.expires_at,
            max_pages=record.max_pages,
            max_bytes=record.max_bytes,
        )

        def modelled() -> Record:
            self.model.declare(name, record)
            return self.model.records[name]

        self.same(asked, modelled)

    def booked(
        self, key: Key, divergence: int | None, chosen: Callable[[list[Page]], list[Page]]
    ) -> Any:
        pages = self.model.read(key, divergence)
        return [each.data for each in chosen(pages)], None, len(pages)

    def branched(self, domain: str, edition: str) -> list[tuple[bytes, int, int]]:
        streams, pins = self.model.streams, self.model.pins
        found = {key[2]: key for key in streams if key[:2] == (domain, edition)}
        return [(r, pins.get(key, 0), len(streams[key])) for r, key in sorted(found.items())]

    def kept(self, key: Key, sequence: int) -> int | None:
        kept = self.model.snapshots.get(key, {})
        return max((each for each in kept if each <= sequence), default=None)

    def recorded(self, key: Key, external_id: str) -> Any:
        pages = self.model.external.get(key, {}).get(external_id)
        return pages and [each.data for each in pages]

    def carrying(self, correlation_id: str) -> Any:
        found: list[Any] = []
        for key, pages in sorted(self.model.streams.items()):
            chosen = [p.data for p in pages if p.key == key and p.correlation_id == correlation_id]
            found += [(chosen, None, len(pages))] if chosen else []
        return found
