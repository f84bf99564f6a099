"""The steps of the model's programs: what they draw, and what they ask of a store.

A step draws without knowing the state; `prepare` looks at the oracle where it needs the head, so
that most appends fit and some don't. What it returns is asked of both stores.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from angzarr import wire
from angzarr.cover import Cover
from angzarr.ports.columns import FieldPath, FieldSpec
from angzarr.ports.event_store import COMMIT, ROLLBACK, Dropped, Obligation, SnapshotPolicy
from angzarr.ports.stores import Stores
from angzarr.testing.clock import NS_PER_S, START_NS, ManualClock
from angzarr.testing.columns import rows_of
from angzarr.testing.pages import cover_of, page, provenance, snapshot

Ask = Callable[[Stores], Awaitable[Any]]

EDITIONS = ["", "angzarr", "left", "right", "kid", "grandkid"]
PARENTS = {"left": "", "right": "angzarr", "kid": "left", "grandkid": "kid"}
"""What each is declared a branch of, as a rule."""
COVERS = [
    *(cover_of("alice", edition=edition) for edition in EDITIONS),
    *(cover_of("bob", edition=edition) for edition in ("", "left", "kid")),
    cover_of("alice", domain="order", edition="left"),
    cover_of("alice", domain="order", edition="kid"),
]
JSON_URL = "json.angzarr.io/test.Counted"
FIELDS = [
    FieldSpec("count", "int", (FieldPath("test.Counted", ("count",)),)),
    FieldSpec("parity", "text", (FieldPath("test.Counted", ("is", "parity")),)),
    FieldSpec("payload", "payload"),
]
CASCADES = ["casc-a", "casc-b", "casc-c", "casc-d"]
CORRELATIONS = ["", "corr-1", "corr-2"]
KEYS: list[dict[str, Any]] = [
    {"external_id": "fact-1"},
    {"external_id": "fact-2"},
    {"provenance": provenance(3)},
    {"provenance": provenance(3, index=1)},
]
BOTH_KEYS = {"external_id": "fact-1", "provenance": provenance(3)}
DUTIES = [Obligation(f"duty-{n}", "kind", b"x", START_NS + n * NS_PER_S) for n in range(4)]
TIMERS = [
    Obligation(duty.id, "timer", payload, duty.due_ns + s * NS_PER_S, is_replacing=True)
    for duty in DUTIES[:2]
    for payload, s in ((b"a", -2), (b"b", 6))
]
CHANGES: list[tuple[Obligation | Dropped, ...]] = [
    (),
    (),
    (),
    (),
    (DUTIES[0],),
    (DUTIES[1], DUTIES[2]),
    (TIMERS[0],),
    (TIMERS[1], TIMERS[2]),
    (Dropped(DUTIES[0].id), TIMERS[3]),
    (Dropped(DUTIES[1].id), DUTIES[1]),
]
CONSUMERS = ["saga:a", "saga:b"]
AFTER = [b"", b"\x80", COVERS[0].root, b"\xff" * 16]

# Few values, so that steps meet; the usual ones often, so that most calls do something.
covers = st.sampled_from(COVERS[:1] * 4 + COVERS[2:3] * 4 + COVERS[4:6] * 4 + COVERS)
editions = st.sampled_from([*EDITIONS, "other"])
small = st.integers(0, 6)
cascades = st.sampled_from(CASCADES)
deltas = st.sampled_from([0] * 12 + [-1, 1])
divergences = st.sampled_from([None] * 8 + [0, 1, 2, 3, 5])
consumers = st.sampled_from(CONSUMERS)
policies = st.builds(SnapshotPolicy, st.integers(1, 3), st.sampled_from([0, 0, 30]))
retentions = st.sampled_from([0, 0, 1, 2, 7])


@dataclass
class World:
    """The store in memory, and the clock that both stores read."""

    oracle: Stores
    clock: ManualClock
    written: int = 0

    async def head(self, cover: Cover) -> int:
        return await self.oracle.events.next_sequence(cover)


@dataclass(frozen=True)
class Step:
    """One call: a name in STEPS, and what was drawn for it."""

    name: str
    drawn: tuple[Any, ...]

    async def prepare(self, world: World) -> Ask:
        return await STEPS[self.name][1](world, *self.drawn)


@dataclass(frozen=True)
class Appending:
    """What an append draws."""

    correlation_id: str
    count: int
    delta: int
    divergence: int | None
    cascade_id: str
    keys: dict[str, Any]
    snapshot: tuple[int, int, SnapshotPolicy] | None
    fault: str
    age_s: int | None
    duties: tuple[Obligation | Dropped, ...]


appendings = st.builds(
    Appending,
    st.sampled_from(CORRELATIONS),
    st.sampled_from([1, 1, 1, 2, 3, 0]),
    deltas,
    divergences,
    st.sampled_from([""] * 10 + CASCADES),
    st.sampled_from([{}] * 10 + KEYS + KEYS + [BOTH_KEYS]),
    st.none() | st.none() | st.tuples(st.integers(-3, 0), retentions, policies),
    st.sampled_from([""] * 24 + ["header", "garbage", "many", "large", "framework", "framework"]),
    st.none() | st.integers(-5, 5),
    st.sampled_from(CHANGES),
)


async def append(world: World, cover: Cover, given: Appending) -> Ask:
    head = max(await world.head(cover) + given.delta, 0)
    if given.divergence is not None and not cover.is_main:
        is_new = await world.oracle.events.divergence(cover) is None
        head = given.divergence + given.delta if is_new else head
    count = 5 if given.fault == "many" else given.count
    created_at_ns = None if given.age_s is None else world.clock.now_ns() + given.age_s * NS_PER_S
    made: list[bytes] = []
    for n in range(count):
        world.written += 1
        is_framework = given.fault == "framework" and n == 0 and not given.cascade_id
        type_url, value = payload(world.written)
        made.append(
            page(
                max(head + n + (given.fault == "header" and n == count - 1), 0),
                value=value + bytes(2_000 if given.fault == "large" else 0),
                type_url="type.angzarr.io/angzarr.Compensate" if is_framework else type_url,
                created_at_ns=created_at_ns,
                cascade_id=given.cascade_id,
            )
        )
    if given.fault == "garbage" and made:
        made[-1] = b"\xff\xff\xff"
    options: dict[str, Any] = dict(given.keys)
    if given.snapshot is not None:
        offset, retention, policy = given.snapshot
        sequence = max(head + count - 1 + offset, 0)
        options["snapshot"] = kept(sequence, retention, world.written)
        options["snapshot_policy"] = policy
    if given.keys:
        options["answer"] = b"answer %d" % world.written
    target = cover_of(
        cover.root, domain=cover.domain, edition=cover.edition, correlation_id=given.correlation_id
    )
    return lambda stores: stores.events.append(
        target,
        max(head, 0),
        made,
        divergence=given.divergence,
        cascade_id=given.cascade_id,
        obligations=given.duties,
        **options,
    )


def payload(number: int) -> tuple[str, bytes]:
    """Type URL and bytes of a page's event: every other one has fields to read."""
    if number % 2:
        return "t/test.E", b"%d" % number
    return JSON_URL, b'{"is": {"parity": "p%d"}, "count": %d}' % (number % 3, number)


def kept(sequence: int, retention: int, mark: int) -> bytes:
    """A snapshot with any retention number."""
    plain = wire.Snapshot.FromString(snapshot(sequence, state=b"state %d" % mark))
    return plain.SerializeToString() + (bytes([0x20, retention]) if retention else b"")


async def put_snapshot(
    world: World, cover: Cover, offset: int, retention: int, policy: SnapshotPolicy
) -> Ask:
    """Below the head, on main or a pinned branch: elsewhere it would have nothing to stand for."""
    world.written += 1
    is_pinned = cover.is_main or await world.oracle.events.divergence(cover) is not None
    sequence = await world.head(cover) - 1 - offset
    if sequence < 0 or not is_pinned:
        return lambda stores: stores.snapshots.get(cover)
    data = kept(sequence, retention, world.written)
    return lambda stores: stores.snapshots.put(cover, data, policy)


async def settle(world: World, cascade_id: str, rank: int, correlation_id: str) -> Ask:
    """Resolve a participant, after asking for a decision where there is none."""
    found = await world.oracle.events.query_cascade_participants(cascade_id)
    cover = found[rank % len(found)].cover if found else COVERS[0]
    target = cover_of(
        cover.root, domain=cover.domain, edition=cover.edition, correlation_id=correlation_id
    )
    outcome = COMMIT if rank % 3 else ROLLBACK

    async def ask(stores: Stores) -> Any:
        decision = await stores.events.decide_cascade(cascade_id, outcome)
        return decision, await stores.events.resolve_cascade(target, cascade_id)

    return ask


async def declare(
    world: World, name: str, other: str | None, age_s: int | None, max_pages: int, max_bytes: int
) -> Ask:
    """Below its usual parent, or another one."""
    parent = PARENTS.get(name, "") if other is None else other
    expires_at_ns = 0 if age_s is None else world.clock.now_ns() + age_s * NS_PER_S
    return lambda stores: stores.editions.declare(
        name,
        parent=parent,
        expires_at_ns=expires_at_ns,
        max_pages=max_pages,
        max_bytes=max_bytes,
    )


async def scan(
    stores: Stores,
    after: int,
    limit: int,
    wanted: list[str] | None,
    domains: list[str] | None,
    fields: list[FieldSpec],
) -> Any:
    """Rows, since every store may number its names as it likes."""
    columns = await stores.events.scan(
        after, limit=limit, editions=wanted, domains=domains, fields=fields
    )
    return columns.last, rows_of(columns)


async def tick(world: World, seconds: int) -> Ask:
    world.clock.advance(seconds)
    return lambda stores: stores.events.log_head()


async def load_until(world: World, cover: Cover, age_s: int, divergence: int | None) -> Ask:
    time_ns = world.clock.now_ns() + age_s * NS_PER_S
    return lambda stores: stores.events.load_until(cover, time_ns, divergence=divergence)


async def stale(world: World, age_s: int) -> Ask:
    before_ns = world.clock.now_ns() + age_s * NS_PER_S
    return lambda stores: stores.events.query_stale_cascades(before_ns)


async def due(world: World, limit: int, lease_s: int) -> Ask:
    now_ns = world.clock.now_ns()
    return lambda stores: stores.obligations.due(now_ns, limit=limit, lease_s=lease_s)


async def retry(world: World, duty: Obligation, delay_s: int) -> Ask:
    due_ns = world.clock.now_ns() + delay_s * NS_PER_S
    return lambda stores: stores.obligations.retry(duty.id, due_ns, "failed")


async def dead_letter(world: World, rank: int, is_deletion: bool, is_replay: bool) -> Ask:
    """The letter of a rank, newest first."""
    listed = await world.oracle.dead_letters.list()
    letter_id = listed[rank].id if rank < len(listed) else "absent"
    if is_deletion:
        return lambda stores: stores.dead_letters.delete(letter_id)
    if is_replay:
        return lambda stores: stores.dead_letters.count_replay(letter_id)
    return lambda stores: stores.dead_letters.get(letter_id)


def of(ask: Callable[..., Any]) -> Callable[..., Any]:
    """A step that needs no look at the oracle: `ask` takes the stores and what was drawn."""

    async def prepare(_: World, *drawn: Any) -> Ask:
        return lambda stores: ask(stores, *drawn)

    return prepare


STEPS: dict[str, tuple[list[st.SearchStrategy[Any]], Callable[..., Awaitable[Ask]]]] = {
    "append": ([covers, appendings], append),
    "load": (
        [covers, small, st.none() | small, divergences],
        of(lambda s, c, a, b, d: s.events.load(c, start=a, stop=b, divergence=d)),
    ),
    "load_until": ([covers, st.integers(-8, 8), divergences], load_until),
    "load_latest": (
        [covers, divergences],
        of(lambda s, c, d: s.events.load_latest(c, divergence=d)),
    ),
    "next_sequence": (
        [covers, divergences],
        of(lambda s, c, d: s.events.next_sequence(c, divergence=d)),
    ),
    "decide": (
        [cascades, st.sampled_from([COMMIT, ROLLBACK]), st.sampled_from(["", "timeout"])],
        of(lambda s, c, o, r: s.events.decide_cascade(c, o, r)),
    ),
    "settle": ([cascades, st.integers(0, 5), st.sampled_from(CORRELATIONS)], settle),
    "resolve": ([covers, cascades], of(lambda s, c, i: s.events.resolve_cascade(c, i))),
    "stale": ([st.integers(-8, 8)], stale),
    "tail": (
        [st.integers(0, 12), st.integers(1, 5)],
        of(lambda s, after, n: s.events.tail(after, limit=n)),
    ),
    "delete_edition": (
        [st.sampled_from(["account", "account", "order", ""]), st.sampled_from(EDITIONS)],
        of(lambda s, d, e: s.events.delete_edition(d, e)),
    ),
    "declare": (
        [
            st.sampled_from(["kid", "grandkid", "kid", "grandkid", "left", "right", "other", ""]),
            st.sampled_from([None] * 6 + ["", "angzarr", "left", "kid", "grandkid", "other"]),
            st.sampled_from([None] * 5 + [0, 3, 9, 30, 100, -(2**32)]),
            st.sampled_from([0, 0, 0, 0, 1, 3, 6, -1]),
            st.sampled_from([0, 0, 0, 0, 1, 150, 400]),
        ],
        declare,
    ),
    "forget": ([editions], of(lambda s, e: s.editions.forget(e))),
    "usage": ([editions], of(lambda s, e: s.editions.usage(e))),
    "branches": (
        [st.sampled_from(["account", "order"]), editions, st.sampled_from(AFTER), small],
        of(lambda s, d, e, a, n: s.editions.branches(d, e, after=a, limit=n)),
    ),
    "length_at": (
        [covers, st.integers(0, 15), divergences],
        of(lambda s, c, p, d: s.events.length_at(c, p, divergence=d)),
    ),
    "scan": (
        [
            st.integers(0, 12),
            st.integers(0, 9),
            st.none() | st.lists(editions, max_size=3),
            st.none() | st.lists(st.sampled_from(["account", "order"]), max_size=2),
            st.lists(st.sampled_from(FIELDS), max_size=2),
        ],
        of(scan),
    ),
    "put_snapshot": ([covers, st.integers(0, 3), retentions, policies], put_snapshot),
    "get_at": ([covers, small], of(lambda s, c, n: s.snapshots.get_at(c, n))),
    "delete_snapshots": ([covers], of(lambda s, c: s.snapshots.delete(c))),
    "delete_all_snapshots": (
        [st.sampled_from(["account", "order"]), st.none() | st.sampled_from(EDITIONS)],
        of(lambda s, d, e: s.snapshots.delete_all(d, e)),
    ),
    "put_position": (
        [consumers, covers, small],
        of(lambda s, c, to, n: s.positions.put(c, to, n)),
    ),
    "put_cursor": ([consumers, small], of(lambda s, c, n: s.positions.put_cursor(c, n))),
    "cursor": ([consumers], of(lambda s, c: s.positions.cursor(c))),
    "reset": ([consumers], of(lambda s, c: s.positions.reset(c))),
    "lease": (
        [consumers, st.integers(0, 1), st.sampled_from(["x", "y"]), st.sampled_from([0, 5, 30])],
        of(lambda s, c, p, h, t: s.positions.lease(c, p, h, t)),
    ),
    "put_duty": ([st.sampled_from(DUTIES + TIMERS)], of(lambda s, d: s.obligations.put(d))),
    "due": ([st.integers(1, 3), st.sampled_from([0, 10])], due),
    "retry": ([st.sampled_from(DUTIES), st.integers(-5, 5)], retry),
    "close_duty": ([st.sampled_from(DUTIES)], of(lambda s, d: s.obligations.close(d.id))),
    "close_seen": (
        [st.sampled_from(DUTIES + TIMERS)],
        of(lambda s, d: s.obligations.close(d.id, seen=d)),
    ),
    "retry_seen": (
        [st.sampled_from(DUTIES + TIMERS)],
        of(lambda s, d: s.obligations.retry(d.id, d.due_ns, "failed", seen=d)),
    ),
    "put_letter": ([st.binary(max_size=9)], of(lambda s, data: s.dead_letters.put(data))),
    "letter": ([st.integers(0, 2), st.booleans(), st.booleans()], dead_letter),
    "tick": ([st.integers(1, 20)], tick),
    "reopen": ([], of(lambda s: s.events.log_head())),
}
OFTEN = ["append"] * 24 + ["settle"] * 2 + ["decide", "load_latest", "put_snapshot", "tail"]
FAMILY = [Step("declare", (name, None, None, 0, 0)) for name in ("kid", "grandkid")]
"""What most programs begin with, since an edition that has pages gets no parent any more."""


def programs() -> st.SearchStrategy[list[Step]]:
    """Lists of steps, a quarter of them appends; made of runs, which makes them long."""
    steps = st.one_of([step(name) for name in (*STEPS, *OFTEN)])
    runs = st.lists(st.lists(steps, min_size=6, max_size=20), min_size=1, max_size=20)
    beginnings = st.sampled_from([FAMILY, FAMILY, FAMILY[:1], []])
    return st.builds(
        lambda first, made: [*first, *(step for run in made for step in run)], beginnings, runs
    )


def step(name: str) -> st.SearchStrategy[Step]:
    return st.builds(Step, st.just(name), st.tuples(*STEPS[name][0]))


def sweep() -> Iterator[Ask]:
    """Everything that can be asked."""
    for cover in COVERS:
        yield from sweep_stream(cover)
    for domain in ("account", "order"):
        yield lambda s, d=domain: s.events.editions(d)
        for edition in EDITIONS:
            yield lambda s, d=domain, e=edition: s.events.roots(d, e)
    yield lambda s: s.events.domains()
    for correlation_id in CORRELATIONS:
        yield lambda s, c=correlation_id: s.events.by_correlation(c)
        yield lambda s, c=correlation_id: s.events.by_correlation(c, domain="account")
        yield lambda s, c=correlation_id: s.events.by_correlation(c, edition="left")
        yield lambda s, c=correlation_id: s.events.by_correlation(c, edition="")
    yield lambda s: s.events.query_stale_cascades(2**62)
    yield lambda s: s.events.query_unfinished_cascades()
    for cascade_id in CASCADES:
        yield lambda s, c=cascade_id: s.events.query_cascade_participants(c)
        yield lambda s, c=cascade_id: s.events.decision(c)
    yield lambda s: s.events.tail(0, limit=1_000)
    yield lambda s: scan(s, 0, 1_000, None, None, FIELDS)
    yield lambda s: s.editions.list()
    for edition in EDITIONS:
        yield lambda s, e=edition: s.editions.get(e)
        yield lambda s, e=edition: s.editions.usage(e)
        yield lambda s, e=edition: s.editions.branches("account", e)
    yield lambda s: s.events.log_head()
    for consumer in CONSUMERS:
        yield lambda s, c=consumer: s.positions.cursor(c)
    yield lambda s: s.obligations.due(2**62, limit=100, lease_s=0)
    yield lambda s: s.dead_letters.list()


def sweep_stream(cover: Cover) -> Iterator[Ask]:
    """Everything that can be asked about one stream."""
    yield lambda s: s.events.load(cover)
    yield lambda s: s.events.load(cover, start=2, stop=4)
    yield lambda s: s.events.load_latest(cover)
    yield lambda s: s.events.next_sequence(cover)
    yield lambda s: s.events.divergence(cover)
    yield lambda s: s.events.pending(cover)
    for position in range(0, 24, 3):
        yield lambda s, p=position: s.events.length_at(cover, p)
    for key in KEYS:
        if "external_id" in key:
            yield lambda s, k=key: s.events.find_by_external_id(cover, k["external_id"])
        else:
            yield lambda s, k=key: s.events.find_by_provenance(cover, k["provenance"])
    yield lambda s: s.snapshots.get(cover)
    for sequence in range(0, 12, 2):
        yield lambda s, n=sequence: s.snapshots.get_at(cover, n)
    for consumer in CONSUMERS:
        yield lambda s, c=consumer: s.positions.get(c, cover)
