"""The binding: outcomes and errors cross it unchanged, and wake a loop once."""

from __future__ import annotations

import gc
import select
import threading
import weakref
from collections.abc import Iterator
from pathlib import Path

import pytest

import angzarr
from angzarr._native import FORMAT_VERSION, Change, Mailbox, Store
from angzarr.cover import Cover
from angzarr.errors import (
    InvalidInput,
    SequenceConflict,
    StoreClosed,
    StoreLocked,
)
from angzarr.stores.rocksdb import open_engine
from angzarr.testing.pages import book_of, cover_of, pages

ALICE = cover_of("alice", correlation_id="corr-1")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = open_engine(f"{tmp_path}/store")
    yield store
    store.close()


class Token:
    """Something whose end can be seen."""


def is_readable(mailbox: Mailbox, wait_s: float = 0.0) -> bool:
    return bool(select.select([mailbox.fileno()], [], [], wait_s)[0])


def drained(mailbox: Mailbox, count: int) -> list[tuple[object, object]]:
    """`count` posts, waited for."""
    posts: list[tuple[object, object]] = []
    while len(posts) < count:
        assert is_readable(mailbox, 10.0)
        posts += mailbox.drain()
    return posts


def test_a_blocking_write_answers_when_it_is_done(store: Store) -> None:
    assert store.write(Change.append(ALICE, 0, pages(0, 3), 1)) == (0, 2, False)
    assert store.load(ALICE, 0, None, None) == (
        book_of(Cover(*ALICE.stream[0::2], ALICE.edition), pages(0, 3)),
        3,
        True,
    )


def test_threads_write_at_once(store: Store) -> None:
    def write(number: int) -> None:
        for sequence in range(50):
            change = Change.append(cover_of(f"root-{number}"), sequence, pages(sequence, 1), 1)
            store.write(change)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert store.log_head() == 200
    assert store.verify() == (4, 200, 200)


def test_a_change_is_written_once(store: Store) -> None:
    change = Change.append(ALICE, 0, pages(0, 1), 1)
    store.write(change)

    with pytest.raises(ValueError, match="once"):
        store.write(change)


def test_an_error_carries_the_very_cover_of_the_call(store: Store) -> None:
    with pytest.raises(SequenceConflict) as raised:
        store.write(Change.append(ALICE, 5, pages(5, 1), 1))

    assert raised.value.cover is ALICE
    assert (raised.value.expected, raised.value.actual) == (5, 0)


def test_a_refused_submission_raises_and_posts_nothing(store: Store) -> None:
    mailbox = Mailbox()
    store.close()

    with pytest.raises(StoreClosed):
        store.submit(mailbox, "token", Change.append(ALICE, 0, pages(0, 1), 1), False)

    assert mailbox.drain() == []


def test_a_lone_change_is_written_when_the_call_returns(store: Store) -> None:
    change = Change.append(ALICE, 0, pages(0, 1), 1, sync=False)

    outcome = store.submit(mailbox := Mailbox(), "token", change, True)

    assert outcome == ((0, 0, False),)
    assert not is_readable(mailbox)
    assert store.next_sequence(ALICE, None) == 1


def test_a_lone_change_that_fails_raises(store: Store) -> None:
    change = Change.append(ALICE, 5, pages(5, 1), 1, sync=False)

    with pytest.raises(SequenceConflict):
        store.submit(Mailbox(), "token", change, True)


def test_a_lone_change_lets_go_of_its_token(store: Store) -> None:
    token = Token()
    gone = weakref.ref(token)
    store.submit(Mailbox(), token, Change.append(ALICE, 0, pages(0, 1), 1, sync=False), True)

    del token
    gc.collect()

    assert gone() is None


def test_outcomes_come_under_their_tokens_in_order(store: Store) -> None:
    mailbox = Mailbox()
    for sequence in range(10):
        store.submit(
            mailbox, sequence, Change.append(ALICE, sequence, pages(sequence, 1), 1), False
        )

    assert drained(mailbox, 10) == [(n, (n, n, False)) for n in range(10)]


def test_a_failed_write_comes_as_the_exception(store: Store) -> None:
    mailbox = Mailbox()
    store.submit(mailbox, "token", Change.append(ALICE, 5, pages(5, 1), 1), False)

    [(token, outcome)] = drained(mailbox, 1)

    assert token == "token"
    assert isinstance(outcome, SequenceConflict)
    assert outcome.cover is ALICE


def test_one_wake_up_serves_all_that_came(store: Store) -> None:
    mailbox = Mailbox()
    for sequence in range(20):
        store.submit(
            mailbox, sequence, Change.append(ALICE, sequence, pages(sequence, 1), 1), False
        )
    store.write(Change.records([]))  # after all of them

    assert len(mailbox.drain()) == 20
    assert not is_readable(mailbox)


def test_an_empty_mailbox_is_not_readable() -> None:
    mailbox = Mailbox()

    assert not is_readable(mailbox)
    assert mailbox.drain() == []


def test_a_wait_for_the_log_is_posted_when_it_grows(store: Store) -> None:
    mailbox = Mailbox()
    store.notify_after(mailbox, "grown", 0)
    assert not is_readable(mailbox)

    store.write(Change.append(ALICE, 0, pages(0, 1), 1))

    assert drained(mailbox, 1) == [("grown", None)]


def test_a_wait_for_what_is_there_is_posted_at_once(store: Store) -> None:
    mailbox = Mailbox()
    store.write(Change.append(ALICE, 0, pages(0, 1), 1))

    store.notify_after(mailbox, "grown", 0)

    assert mailbox.drain() == [("grown", None)]


def test_a_forgotten_wait_lets_go_of_its_token(store: Store) -> None:
    mailbox, token = Mailbox(), Token()
    kept = weakref.ref(token)
    ticket = store.notify_after(mailbox, token, 0)

    store.forget(ticket)
    del token
    gc.collect()

    assert kept() is None


def test_closing_ends_waits(store: Store) -> None:
    mailbox = Mailbox()
    store.notify_after(mailbox, "closed", 0)

    store.close()

    assert drained(mailbox, 1) == [("closed", None)]


def test_a_dropped_mailbox_does_not_stop_the_writes(store: Store) -> None:
    store.submit(Mailbox(), Token(), Change.append(ALICE, 0, pages(0, 1), 1), False)

    store.write(Change.records([]))

    assert store.next_sequence(ALICE, None) == 1


def test_records_are_put_kept_and_deleted_together(store: Store) -> None:
    store.write(Change.records([(0, "space", b"a", b"1"), (0, "space", b"b", b"2")]))
    store.write(Change.records([(1, "space", b"a", b"9"), (2, "space", b"b", b"")]))

    assert store.records("space", None, 10, False) == [(b"a", b"1")]


def test_what_follows_a_condition_is_done_only_if_it_is_met(store: Store) -> None:
    store.write(Change.records([(0, "space", b"a", b"1")]))

    is_met = store.write(Change.records([(3, "space", b"b", b""), (0, "space", b"b", b"2")]))
    are_met = store.write(
        Change.records(
            [
                (3, "space", b"a", b"9"),
                (2, "space", b"a", b""),
                (4, "", b"", b""),
                (0, "space", b"c", b"3"),
            ]
        )
    )

    assert (is_met, are_met) == (True, False)
    assert store.records("space", None, 10, False) == [(b"a", b"1"), (b"b", b"2"), (b"c", b"3")]


def test_records_are_scanned_both_ways(store: Store) -> None:
    store.write(Change.records([(0, "space", bytes([key]), b"") for key in b"abcd"]))
    store.write(Change.records([(0, "spac", b"x", b""), (0, "spacer", b"y", b"")]))

    forward = [key for key, _ in store.records("space", b"b", 2, False)]
    backward = [key for key, _ in store.records("space", b"c", 5, True)]

    assert forward == [b"b", b"c"]
    assert backward == [b"b", b"a"]
    assert [key for key, _ in store.records("space", None, 1, True)] == [b"d"]


def test_a_short_root_is_invalid(store: Store) -> None:
    with pytest.raises(InvalidInput, match="16 bytes"):
        store.load(Cover("account", b"short"), 0, None, None)


def test_an_unknown_record_op_is_refused() -> None:
    with pytest.raises(ValueError, match="0 to 4"):
        Change.records([(5, "space", b"", b"")])


@pytest.mark.spec("STO-60")
def test_a_locked_store_says_where(tmp_path: Path, store: Store) -> None:
    with pytest.raises(StoreLocked) as raised:
        open_engine(f"{tmp_path}/store")

    assert raised.value.path == f"{tmp_path}/store"


def test_facts_start_with_the_format(store: Store) -> None:
    assert store.facts()[0] == FORMAT_VERSION


def test_type_checkers_look_at_the_package() -> None:
    """Without py.typed stubtest found no stub for a private module, and passed whatever it said."""
    assert Path(angzarr.__file__).with_name("py.typed").exists()
