"""Calls of the store's ports as MessagePack, and errors that keep their fields."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from angzarr import errors
from angzarr.cover import Cover, Provenance
from angzarr.ports.columns import Columns, FieldColumn, FieldPath, FieldSpec
from angzarr.ports.edition_store import Branch, EditionRecord, Usage
from angzarr.ports.event_store import (
    Accepted,
    Book,
    Decision,
    Dropped,
    LogEntry,
    Obligation,
    Participant,
    Pending,
    SnapshotPolicy,
)
from angzarr.ports.stores import StoreFacts
from angzarr.rpc import store_calls
from angzarr.rpc.store_calls import FACTS, STORE_ERRORS, calls
from angzarr.testing.contracts.durability import methods_of_ports

COVER = Cover("account", bytes(range(16)), "what-if", "corr-1")
HASHED = Provenance(COVER, 3, "saga:a", b"q" * 32)
FIELD = FieldSpec("x", "text", (FieldPath("pkg.A", ("a", "b"), (1, 2), "string"),))
COLUMNS = Columns(
    1,
    9,
    b"12345678",
    b"1234",
    b"12345678",
    b"1234",
    b"1234",
    b"1234",
    bytes(16),
    ["account"],
    ["angzarr"],
    ["pkg.A"],
    [FieldColumn("x", "payload", b"\xff", b"\x01", [], bytes(16))],
)
DUTY = Obligation("duty-1", "timer", b"\x00\xff", 7, 2, "late", is_replacing=True)

RAISED: list[errors.AngzarrError] = [
    errors.InvalidInput("cover.root", "16 bytes", "ä" * 400),
    errors.TooLarge("answer", "at most 5", 6, "the answer has 6 bytes"),
    errors.InvalidDivergence(COVER, 9, 7),
    errors.SequenceConflict(COVER, 5, 7),
    errors.SequenceExhausted(COVER),
    errors.CascadeDecided("casc-1", "ROLLBACK", "timed out"),
    errors.DivergenceConflict(COVER, 3, 5),
    errors.MainProtected("a domain (odd)"),
    errors.PendingPages("account", "what-if", ["c2", "c1, c0"]),
    errors.EditionConflict("kid", "angzarr", "mum"),
    errors.EditionExpired("kid", 2**62 + 1),
    errors.EditionInUse("mum", ["zoe", "ann"]),
    errors.QuotaExceeded.of("kid", "max_pages", 5, 6),
    errors.UnknownCascade("casc 9"),
    errors.Overloaded("limits.writer_queue", 4096),
    errors.StoreUnavailable("rocksdb://data", "disk full"),
    errors.StoreClosed("rocksdb://data"),
    errors.CorruptData("events/7", "crc 1", "crc 2"),
]


@pytest.mark.spec("DEP-11")
def test_every_method_of_every_port_can_be_called() -> None:
    assert set(calls()) == methods_of_ports() | {FACTS}


@pytest.mark.spec("DEP-11", "DEP-12")
@pytest.mark.parametrize(
    ("name", "positional", "named"),
    [
        ("events.append", [COVER, 5, [b"", b"\xff"]], {"divergence": 0, "snapshot": b""}),
        ("events.append", [COVER, 5, []], {"provenance": HASHED, "sync": False}),
        ("events.append", [COVER, 5, []], {"provenance": Provenance(COVER, 3, "saga:a", 7, 2)}),
        ("events.append", [COVER, 5, []], {"snapshot_policy": SnapshotPolicy(3, 60)}),
        ("events.load", [COVER], {"start": 3, "stop": 0, "divergence": None}),
        ("events.load_until", [COVER, -(2**62)], {}),
        ("events.by_correlation", ["corr-1"], {"domain": None, "edition": ""}),
        ("events.tail", [2**63], {"limit": 7, "wait_s": 0.25}),
        ("snapshots.put", [COVER, b"state", SnapshotPolicy(2, 9)], {}),
        ("positions.lease", ["saga:ä", 3, "me", 15.0], {}),
        ("obligations.put", [DUTY], {}),
        ("obligations.close", ["duty-1"], {"seen": DUTY}),
        ("dead_letters.list", [], {"before": None, "limit": 3}),
        ("editions.declare", ["kid"], {"parent": "mum", "expires_at_ns": 2**62, "max_pages": 3}),
        ("editions.branches", ["account", "kid"], {"after": bytes(16), "limit": 3}),
        ("events.scan", [9], {"editions": [], "domains": None, "fields": [FIELD]}),
    ],
)  # fmt: skip
def test_arguments_come_as_they_were_given(
    name: str, positional: list[object], named: dict[str, object]
) -> None:
    call = calls()[name]

    found, found_named = call.arguments_of(call.arguments(*positional, **named))

    assert found[: len(positional)] == positional
    assert {key: found_named[key] for key in named} == named


@pytest.mark.spec("DEP-11", "DEP-12")
@pytest.mark.parametrize(
    ("name", "result"),
    [
        ("events.load", Book(b"\xff\x00book", 2**32, False)),
        ("events.tail", [LogEntry(3, 2, b"book"), LogEntry(4, 4, b"")]),
        ("events.pending", [Pending(1, "casc", -5)]),
        ("events.roots", [bytes(16)]),
        ("events.find_by_provenance", Accepted((b"a", b""), b"answer")),
        ("events.find_by_provenance", None),
        ("events.query_cascade_participants", [Participant(COVER, (1, 2))]),
        ("events.decision", Decision("casc", "COMMIT", "", 2**62)),
        ("events.resolve_cascade", b"marker"),
        ("obligations.due", [DUTY]),
        ("dead_letters.delete", False),
        ("positions.reset", None),
        ("editions.declare", EditionRecord("kid", "mum", 1, 2**62, 3, 4)),
        ("editions.get", None),
        ("editions.usage", Usage(3, 4)),
        ("editions.branches", [Branch(bytes(16), 0, 2**32)]),
        ("events.scan", COLUMNS),
        (FACTS, StoreFacts("rocksdb://data", True, 1, 4096, {"log_head": "5"})),
    ],
)
def test_a_result_comes_as_it_was_returned(name: str, result: object) -> None:
    call = calls()[name]

    found = call.result_of(call.result(result))

    assert (type(found), found) == (type(result), result)


@given(st.binary(max_size=300), st.integers(-(2**63), 2**64 - 1))
def test_pages_are_bytes_that_nobody_looks_into(page: bytes, sequence: int) -> None:
    call = calls()["events.append"]

    [_, found_sequence, found_pages], _ = call.arguments_of(call.arguments(COVER, sequence, [page]))

    assert (found_sequence, found_pages) == (sequence, [page])


def test_changes_of_obligations_keep_their_order() -> None:
    changes = [Dropped("a"), DUTY, Dropped("b"), replace(DUTY, id="c")]

    assert store_calls.changes_of_wire(store_calls.changes_to_wire(changes)) == changes


def test_an_argument_that_the_method_does_not_take_is_refused() -> None:
    """An older server would do less than a newer client has asked for."""
    arguments = msgspec.msgpack.encode({"cover": {"domain": "d", "root": b""}, "novelty": 1})

    with pytest.raises(errors.InvalidInput, match=r"those of events\.load.*novelty"):
        calls()["events.load"].arguments_of(arguments)


def test_arguments_that_do_not_parse_are_refused() -> None:
    with pytest.raises(errors.InvalidInput, match=r"those of events\.load"):
        calls()["events.load"].arguments_of(b"\xc1")


def test_every_error_of_stores_is_tried_here() -> None:
    assert {type(error) for error in RAISED} == set(STORE_ERRORS)


@pytest.mark.spec("STO-30", "DEP-12")
@pytest.mark.parametrize("error", RAISED, ids=lambda error: type(error).__name__)
def test_an_error_comes_with_all_its_fields(error: errors.AngzarrError) -> None:
    found = store_calls.error_of_bytes(store_calls.error_bytes(error))

    assert (type(found), str(found)) == (type(error), str(error))
    assert vars(found) == vars(error)


@pytest.mark.parametrize("error", [ValueError("x"), errors.CommandRejected("no")])
def test_what_is_no_error_of_a_store_is_not_one_here(error: Exception) -> None:
    assert store_calls.error_bytes(error) == b""


def test_an_error_too_large_for_a_trailer_is_left_to_its_status() -> None:
    error = errors.UnknownCascade("c" * store_calls.ERROR_BYTES_MAX)

    assert store_calls.error_bytes(error) == b""


@pytest.mark.parametrize("data", [b"", b"\xc1", msgspec.msgpack.encode({"type": "Novelty"})])
def test_bytes_that_are_no_error_are_none(data: bytes) -> None:
    assert store_calls.error_of_bytes(data) is None
