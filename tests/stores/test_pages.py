"""What the Python stores frame by hand is what protobuf writes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from angzarr import wire
from angzarr.cover import Cover
from angzarr.ports.event_store import COMMIT, ROLLBACK, Decision, SnapshotPolicy
from angzarr.stores import _pages, _rules
from angzarr.stores._rules import Kept
from angzarr.testing.pages import cover_of, page, parse_page, snapshot

names = st.text(max_size=200)
covers = st.builds(Cover, names, st.binary(min_size=16, max_size=16), names, names)


@pytest.mark.spec("WIRE-7", "WIRE-9")
@given(covers, st.lists(st.binary(max_size=300), max_size=4), st.integers(0, 2**32 - 1))
def test_books_are_encoded_as_protobuf_does(
    cover: Cover, values: list[bytes], following: int
) -> None:
    encoded = [page(n, value=value) for n, value in enumerate(values)]

    data = _pages.book_bytes(cover, _pages.frames_of(encoded), following, snapshot(3))

    assert wire.EventBook.FromString(data).SerializeToString(deterministic=True) == data


@given(st.binary(max_size=70_000))
def test_a_frame_gives_its_page_back(data: bytes) -> None:
    assert _pages.unframe(_pages.framed(data)) == data


@pytest.mark.spec("WIRE-6")
@pytest.mark.parametrize(
    ("type_url", "is_framework"),
    [
        ("type.angzarr.io/angzarr.NoOp", True),
        ("type.googleapis.com/angzarr.Confirmation", True),
        ("angzarr.Revocation", True),
        ("type.angzarr.io/angzarr.poker.Dealt", False),
        ("type.angzarr.io/angzarrx.NoOp", False),
        ("type.angzarr.io/angzarr", False),
        ("angzarr.io/shop.Bought", False),
        ("", False),
    ],
)
def test_framework_events_are_told_by_the_full_name(type_url: str, is_framework: bool) -> None:
    assert _pages.is_framework(type_url) is is_framework


@pytest.mark.spec("CAS-7")
def test_a_noop_keeps_header_and_time_only() -> None:
    made = parse_page(_pages.noop(page(7, cascade_id="c"), cascade_id="c", reason="revoked"))

    original = parse_page(page(7))
    assert (made.header, made.created_at) == (original.header, original.created_at)
    assert made.event.type_url == "type.angzarr.io/angzarr.NoOp"
    assert wire.NoOp.FromString(made.event.value) == wire.NoOp(
        original_sequence=7, cascade_id="c", reason="revoked"
    )
    assert made.committed
    assert not made.HasField("cascade_id")


@pytest.mark.spec("CAS-4", "WIRE-4")
@pytest.mark.parametrize(("outcome", "name"), [(COMMIT, "Confirmation"), (ROLLBACK, "Revocation")])
def test_a_marker_is_a_committed_page_of_its_cascade(outcome: str, name: str) -> None:
    decision = Decision("casc", outcome, "late", 5)

    made = parse_page(_pages.marker(cover_of(edition="e"), 9, [2, 4], decision, 1_500_000_000))

    assert made.event.type_url == f"type.angzarr.io/angzarr.{name}"
    marker = getattr(wire, name).FromString(made.event.value)
    assert (list(marker.sequences), marker.cascade_id) == ([2, 4], "casc")
    assert marker.target.edition.name == "e"
    assert (made.header.sequence, made.committed, made.cascade_id) == (9, True, "casc")
    assert (made.created_at.seconds, made.created_at.nanos) == (1, 500_000_000)


@pytest.mark.spec("SNAP-6", "SNAP-8")
@pytest.mark.parametrize(
    ("keep_last", "kept_after_each"),
    [(1, [{3}, {7}, {7, 9}, {7, 12}]), (2, [{3}, {3, 7}, {7, 9}, {7, 12}])],
)
def test_retention_keeps_what_the_example_says(
    keep_last: int, kept_after_each: list[set[int]]
) -> None:
    puts = [
        (3, wire.RETENTION_DEFAULT),
        (7, wire.RETENTION_PERSIST),
        (9, wire.RETENTION_TRANSIENT),
        (12, wire.RETENTION_DEFAULT),
    ]
    stored: dict[int, Kept] = {}
    found: list[set[int]] = []

    for sequence, retention in puts:
        stored[sequence] = Kept(sequence, retention, 0)
        for gone in _rules.expired(stored.values(), sequence, SnapshotPolicy(keep_last), 0):
            del stored[gone]
        found.append(set(stored))

    assert found == kept_after_each


@pytest.mark.spec("SNAP-8")
def test_an_old_put_touches_nothing_above_it() -> None:
    stored = [Kept(2, 0, 0), Kept(5, wire.RETENTION_TRANSIENT, 0), Kept(9, 0, 0)]

    assert _rules.expired(stored, 2, SnapshotPolicy(1), 0) == [2]


@pytest.mark.spec("SNAP-7")
def test_age_removes_all_but_the_newest_and_the_persistent() -> None:
    stored = [Kept(1, wire.RETENTION_PERSIST, 0), Kept(2, 0, 0), Kept(3, 0, 60 * 10**9)]

    gone = _rules.expired(stored, 3, SnapshotPolicy(9, max_age_s=30), 100 * 10**9)

    assert gone == [2]
