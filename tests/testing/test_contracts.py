"""The contracts are whole, and they can fail: each broken adapter here is caught by a claim."""

from __future__ import annotations

import inspect
import re
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from angzarr.errors import InvalidInput, SequenceConflict
from angzarr.ports.event_store import Limits, Obligation, SnapshotPolicy
from angzarr.stores.memory import open_stores
from angzarr.testing import contracts
from angzarr.testing.clock import ManualClock
from angzarr.testing.contracts import (
    DeadLetterContract,
    DeclaredEditionContract,
    EventStoreContract,
    LengthContract,
    NestedEditionContract,
    ObligationStoreContract,
    Opener,
    PositionStoreContract,
    ScanContract,
    SnapshotStoreContract,
    StoreContract,
)
from angzarr.testing.pages import page, parse_book, parse_page

CONTRACTS = [
    EventStoreContract,
    SnapshotStoreContract,
    PositionStoreContract,
    ObligationStoreContract,
    DeadLetterContract,
    DeclaredEditionContract,
    NestedEditionContract,
    LengthContract,
    ScanContract,
]
SPEC = Path(__file__).parents[2] / "docs" / "spec"
RULES = [
    "STO-1",
    "STO-2",
    "STO-3",
    "STO-4",
    "STO-5",
    "STO-6",
    "STO-10",
    "STO-11",
    "STO-12",
    "STO-13",
    "STO-14",
    "STO-15",
    "STO-16",
    "STO-17",
    "STO-20",
    "STO-22",
    "STO-23",
    "STO-24",
    "STO-29",
    "STO-40",
    "STO-41",
    "STO-42",
    "STO-43",
    "STO-44",
    "STO-45",
    "STO-46",
    "STO-48",
    "STO-49",
    "EDN-3",
    "EDN-4",
    "EDN-5",
    "EDN-6",
    "EDN-7",
    "EDN-8",
    "EDN-9",
    "EDN-10",
    "EDN-11",
    "EDN-14",
    "EDN-15",
    "EDN-17",
    "EDN-19",
    "EDN-20",
    "EDN-21",
    "EDN-22",
    "EDN-23",
    "EDN-24",
    "EDN-25",
    "CAS-9",
    "CAS-11",
    "CAS-14",
    "CAS-31",
    "QRY-16",
    "SNAP-6",
    "SNAP-8",
    "SNAP-10",
    "TIMER-2",
    "TIMER-3",
    "WIRE-7",
    "WIRE-8",
    "WIRE-9",
]


def claims_of(contract: type[StoreContract]) -> dict[str, Any]:
    """The test functions of a contract by name."""
    return {
        name: member
        for name, member in inspect.getmembers(contract, inspect.isfunction)
        if name.startswith("test_")
    }


def marks_of(claim: Any, name: str) -> list[pytest.Mark]:
    """The marks called `name` on a test function."""
    return [mark for mark in getattr(claim, "pytestmark", []) if mark.name == name]


def rules_of(claim: Any) -> set[str]:
    """The rules that a test function names."""
    return {rule for mark in marks_of(claim, "spec") for rule in mark.args}


class Twisted:
    """A port whose methods go to `inner`, the twisted ones through functions of inner."""

    def __init__(self, inner: Any, **twists: Callable[..., Any]) -> None:
        self._inner = inner
        self._twists = twists

    def __getattr__(self, name: str) -> Any:
        twist = self._twists.get(name)
        if twist is None:
            return getattr(self._inner, name)

        async def call(*args: Any, **options: Any) -> Any:
            return await twist(self._inner, *args, **options)

        return call


Twist = Callable[..., Awaitable[Any]]


async def append_anywhere(inner: Any, cover: Any, expected: int, pages: Any, **options: Any) -> Any:
    """Drops the conflict check: a late writer lands at the head."""
    try:
        return await inner.append(cover, expected, pages, **options)
    except SequenceConflict as conflict:
        moved = [page(conflict.actual + index) for index in range(len(pages))]
        return await inner.append(cover, conflict.actual, moved, **options)


async def append_in_pieces(
    inner: Any, cover: Any, expected: int, pages: Any, **options: Any
) -> Any:
    """Not atomic: pages are written one by one until one is refused."""
    try:
        return await inner.append(cover, expected, pages, **options)
    except InvalidInput:
        await inner.append(cover, expected, pages[:1])
        raise


async def append_without_key(inner: Any, *args: Any, **options: Any) -> Any:
    """Forgets idempotency keys."""
    options.pop("provenance", None)
    return await inner.append(*args, **options)


async def append_without_pin(inner: Any, *args: Any, **options: Any) -> Any:
    """Does not look at the divergence."""
    options.pop("divergence", None)
    return await inner.append(*args, **options)


async def append_as_committed(
    inner: Any, cover: Any, expected: int, pages: Any, **options: Any
) -> Any:
    """Publishes pending pages at once."""
    options.pop("cascade_id", None)
    visible = [page(expected + index) for index in range(len(pages))]
    return await inner.append(cover, expected, visible, **options)


async def append_parsed(inner: Any, cover: Any, expected: int, pages: Any, **options: Any) -> Any:
    """Keeps only the fields that it knows."""
    known = [parse_page(data) for data in pages]
    for message in known:
        message.DiscardUnknownFields()
    encoded = [message.SerializeToString() for message in known]
    return await inner.append(cover, expected, encoded, **options)


async def load_own_pages(inner: Any, cover: Any, **options: Any) -> Any:
    """Forgets that a branch inherits main's pages."""
    book = await inner.load(cover, **options)
    pinned = await inner.divergence(cover)
    if pinned is None:
        return book
    return await inner.load(cover, start=pinned)


async def load_renumbered(inner: Any, cover: Any, **options: Any) -> Any:
    """Gives the stream's next sequence in partial books too."""
    book = await inner.load(cover, **options)
    message = parse_book(book.data)
    message.next_sequence = book.next_sequence
    return replace(book, data=message.SerializeToString())


async def tail_with_gap(inner: Any, after: int, **options: Any) -> Any:
    """Leaves a position out."""
    entries = await inner.tail(after, **options)
    return [
        replace(entry, position=entry.position + 1) if entry.position > 3 else entry
        for entry in entries
    ]


async def tail_of_raw_pages(inner: Any, after: int, **options: Any) -> Any:
    """Publishes pages as they are stored."""
    entries: list[Any] = []
    for entry in await inner.tail(after, **options):
        message = parse_book(entry.book)
        for item in message.pages:
            item.committed = not item.cascade_id
        entries.append(replace(entry, book=message.SerializeToString()))
    return entries


async def tail_inclusive(inner: Any, after: int, **options: Any) -> Any:
    """Gives the entry at `after` again."""
    return await inner.tail(max(after - 1, 0), **options)


async def decide_again(inner: Any, cascade_id: str, outcome: str, reason: str = "") -> Any:
    """The last decision wins."""
    decision = await inner.decide_cascade(cascade_id, outcome, reason)
    return replace(decision, outcome=outcome, reason=reason)


async def stale_inclusive(inner: Any, before_ns: int) -> Any:
    """The threshold is not strict."""
    return await inner.query_stale_cascades(before_ns + 1)


async def keep_every_snapshot(inner: Any, cover: Any, data: bytes, *_: Any) -> Any:
    """Removes no default snapshot."""
    return await inner.put(cover, data, SnapshotPolicy(keep_last=1_000))


async def put_backwards(inner: Any, consumer: str, cover: Any, sequence: int) -> Any:
    """Positions go back: the last put is in force."""
    await inner.reset(consumer)
    return await inner.put(consumer, cover, sequence)


async def lease_to_all(inner: Any, *_: Any) -> Any:
    """Everybody gets the lease."""
    return True


async def due_without_lease(inner: Any, now_ns: int, **options: Any) -> Any:
    """Gives the same duty to every replica."""
    return await inner.due(now_ns, **{**options, "lease_s": 0})


async def put_once(inner: Any, obligation: Any) -> Any:
    """Never replaces."""
    return await inner.put(replace(obligation, is_replacing=False))


async def close_anything(inner: Any, obligation_id: str, **_: Any) -> Any:
    """Does not look at what the caller saw."""
    return await inner.close(obligation_id)


async def append_without_drops(inner: Any, *args: Any, **options: Any) -> Any:
    """Knows only of obligations to store."""
    duties = [duty for duty in options.pop("obligations", ()) if isinstance(duty, Obligation)]
    return await inner.append(*args, **options, obligations=duties)


async def list_oldest_first(inner: Any, **options: Any) -> Any:
    """Turns the list around."""
    return (await inner.list(**options))[::-1]


async def count_without_keeping(inner: Any, letter_id: str) -> Any:
    """Says what the count would be."""
    known = await inner.get(letter_id)
    return known and known.replay_count + 1


BROKEN: list[tuple[str, str, Twist, str]] = [
    ("events", "append", append_anywhere, "test_one_of_64_writers_wins_each_round"),
    ("events", "append", append_anywhere, "test_losers_of_a_race_learn_the_new_head"),
    ("events", "append", append_in_pieces, "test_a_refused_append_leaves_no_trace"),
    ("events", "append", append_without_key, "test_a_known_provenance_is_a_duplicate"),
    (
        "events",
        "append",
        append_without_key,
        "test_one_of_32_concurrent_provenance_duplicates_is_stored",
    ),
    ("events", "append", append_without_pin, "test_a_write_with_another_divergence_is_refused"),
    ("events", "append", append_as_committed, "test_a_pending_page_is_not_published"),
    ("events", "append", append_as_committed, "test_committed_pages_wait_behind_a_pending_one"),
    ("events", "append", append_parsed, "test_unknown_fields_come_back"),
    ("events", "load", load_own_pages, "test_load_is_composite"),
    ("events", "load", load_renumbered, "test_a_partial_book_ends_after_its_last_page"),
    ("events", "tail", tail_with_gap, "test_positions_count_pages_without_gaps"),
    ("events", "tail", tail_with_gap, "test_no_gap_shows_while_many_write_and_one_reads"),
    ("events", "tail", tail_of_raw_pages, "test_confirmed_pages_are_published_as_committed"),
    ("events", "tail", tail_inclusive, "test_a_tail_starts_after_a_position"),
    ("events", "decide_cascade", decide_again, "test_the_first_decision_stays"),
    ("events", "decide_cascade", decide_again, "test_one_of_32_concurrent_decisions_is_in_force"),
    (
        "events",
        "query_stale_cascades",
        stale_inclusive,
        "test_a_cascade_exactly_at_the_threshold_is_not_stale",
    ),
    ("snapshots", "put", keep_every_snapshot, "test_a_newer_one_removes_a_default_one"),
    ("positions", "put", put_backwards, "test_a_position_never_goes_back"),
    ("positions", "lease", lease_to_all, "test_one_of_32_callers_gets_the_lease"),
    ("obligations", "due", due_without_lease, "test_replicas_share_the_work"),
    (
        "obligations",
        "put",
        put_once,
        "test_a_replacing_one_takes_the_place_of_the_known_one",
    ),
    ("obligations", "put", put_once, "test_replacing_ends_the_lease"),
    ("obligations", "close", close_anything, "test_closing_what_was_seen_leaves_its_replacement"),
    (
        "obligations",
        "close",
        close_anything,
        "test_no_replacement_is_lost_to_whoever_closes_the_old_one",
    ),
    ("events", "append", append_without_drops, "test_an_append_drops"),
    ("dead_letters", "list", list_oldest_first, "test_the_list_is_newest_first"),
    ("dead_letters", "count_replay", count_without_keeping, "test_replays_are_counted"),
]
"""Port, method, how it is broken, and a claim that finds out."""

ARGUMENTS: dict[str, dict[str, Any]] = {
    "test_a_refused_append_leaves_no_trace": {"reason": "gap in the batch"},
    "test_a_position_never_goes_back": {"lower": 4},
}


class TwistedStores:
    """Stores with one twisted port."""

    def __init__(self, inner: Any, port: str, twisted: Any) -> None:
        self._inner = inner
        self._port = port
        self._twisted = twisted

    def __getattr__(self, name: str) -> Any:
        return self._twisted if name == self._port else getattr(self._inner, name)


async def run_claim(name: str, stores: Any, clock: ManualClock) -> None:
    """Run the claim on the stores, its arguments given as the fixtures would."""
    [contract] = [contract for contract in CONTRACTS if name in claims_of(contract)]
    claim = claims_of(contract)[name]
    ports = ("events", "snapshots", "positions", "obligations", "dead_letters")
    given: dict[str, Any] = {port: getattr(stores, port) for port in ports}
    given |= {"stores": stores, "clock": clock, **ARGUMENTS.get(name, {})}
    wanted = [wanted for wanted in inspect.signature(claim).parameters if wanted != "self"]
    await claim(contract(), **{wanted: given[wanted] for wanted in wanted})


@pytest.mark.parametrize(
    ("port", "method", "twist", "claim"),
    BROKEN,
    ids=[f"{twist.__name__}-{claim}" for _, _, twist, claim in BROKEN],
)
async def test_a_broken_adapter_is_caught(port: str, method: str, twist: Twist, claim: str) -> None:
    clock = ManualClock()
    inner: Any = open_stores("", sync=True, limits=Limits(), clock=clock)
    broken = TwistedStores(inner, port, Twisted(getattr(inner, port), **{method: twist}))

    with pytest.raises((AssertionError, pytest.fail.Exception)):
        await run_claim(claim, broken, clock)


@pytest.mark.parametrize("claim", sorted({claim for *_, claim in BROKEN}))
async def test_the_same_claims_hold_for_a_whole_adapter(claim: str) -> None:
    clock = ManualClock()

    await run_claim(claim, open_stores("", sync=True, limits=Limits(), clock=clock), clock)


async def test_an_adapter_that_serves_after_close_is_caught() -> None:
    inner: Any = open_stores("", sync=True, limits=Limits(), clock=ManualClock())

    class Deaf:
        def __getattr__(self, name: str) -> Any:
            return getattr(inner, name)

        async def close(self) -> None:
            """Keeps serving."""

    with pytest.raises(pytest.fail.Exception):
        await EventStoreContract().test_every_method_is_refused_after_close(
            Deaf(),  # pyright: ignore[reportArgumentType]
            "events.load",
        )


async def test_an_adapter_that_forgets_is_caught() -> None:
    def open_empty(**options: Any) -> Any:
        return open_stores("", **options)

    opener = Opener(open_empty, ManualClock(), is_durable=True)

    with pytest.raises(AssertionError):
        await EventStoreContract().test_pages_and_log_survive_reopening(opener)
    await opener.close()


async def test_an_adapter_without_durability_keeps_its_object() -> None:
    def open_memory(**options: Any) -> Any:
        return open_stores("", **options)

    opener = Opener(open_memory, ManualClock(), is_durable=False)

    assert await opener() is await opener()


def test_no_claim_hides_another() -> None:
    for contract in CONTRACTS:
        names = [name for base in contract.__mro__ for name in vars(base) if "test_" in name]

        assert sorted(names) == sorted(set(names))


@pytest.mark.parametrize("contract", CONTRACTS)
def test_every_claim_is_a_coroutine_that_names_rules(contract: type[StoreContract]) -> None:
    for name, claim in claims_of(contract).items():
        assert inspect.iscoroutinefunction(claim), name
        assert rules_of(claim), name


def test_every_rule_named_is_in_the_specification() -> None:
    text = "".join(path.read_text() for path in SPEC.glob("*.md"))
    known = set(re.findall(r"\*\*([A-Z]+-\d+)\*\*", text))

    named = {
        rule for contract in CONTRACTS for c in claims_of(contract).values() for rule in rules_of(c)
    }

    assert named <= known


def test_every_rule_of_the_stores_is_named_by_a_claim() -> None:
    named = {
        rule for contract in CONTRACTS for c in claims_of(contract).values() for rule in rules_of(c)
    }

    assert set(RULES) <= named


def test_there_are_many_claims() -> None:
    event, snapshot, position, *_ = (len(claims_of(contract)) for contract in CONTRACTS)

    assert event + snapshot + position >= 150
    assert sum(len(claims_of(contract)) for contract in CONTRACTS) >= 200


def test_no_claim_is_skipped_for_a_lack_of_the_adapter() -> None:
    skipped = [
        name
        for contract in CONTRACTS
        for name, claim in claims_of(contract).items()
        if marks_of(claim, "skip") or marks_of(claim, "xfail") or marks_of(claim, "skipif")
    ]

    assert skipped == ["test_a_forked_child_is_refused"]


def test_the_suites_are_public() -> None:
    assert all(name in vars(contracts) for name in contracts.__all__)
