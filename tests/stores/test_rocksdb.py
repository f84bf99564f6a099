"""RocksDB's own claims: who may open it, fork, threads and loops (STO-60)."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import subprocess
import sys
import threading
import weakref
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from rocksdict import Options, Rdict

from angzarr._native import FORMAT_VERSION
from angzarr.cover import Cover
from angzarr.errors import (
    FormatTooNew,
    InvalidInput,
    Overloaded,
    SequenceConflict,
    StoreClosed,
    StoreForked,
    StoreLocked,
)
from angzarr.ports.event_store import Appended, Limits, Obligation
from angzarr.ports.stores import Stores
from angzarr.stores import open_stores
from angzarr.stores._mailboxes import LoopMailbox
from angzarr.testing.contracts.base import attempt, logged_sequences, whole_log
from angzarr.testing.pages import cover_of, pages

ALICE = cover_of("alice")

HOLDER = """
import sys
from angzarr.stores import open_stores
stores = open_stores(sys.argv[1])
print("open", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"rocksdb://{tmp_path}/store"


@pytest.fixture
def holder(url: str) -> Iterator[subprocess.Popen[bytes]]:
    """Another process that has the store open."""
    arguments = [sys.executable, "-c", HOLDER, url]
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stdout.readline() == b"open\n"
        yield process
        process.kill()


def in_thread(run: object) -> None:
    """Call `run` in a thread of its own, and raise what it raises."""
    raised: list[BaseException] = []

    def guarded() -> None:
        try:
            run()  # type: ignore[operator]
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=guarded)
    thread.start()
    thread.join()
    if raised:
        raise raised[0]


async def append_rounds(stores: Stores, cover: Cover, count: int) -> None:
    """`count` appends of one page each, one after the other."""
    for sequence in range(count):
        await stores.events.append(cover, sequence, pages(sequence, 1))


@pytest.mark.spec("STO-60")
async def test_a_second_open_in_the_process_is_refused(url: str) -> None:
    stores = open_stores(url)

    with pytest.raises(StoreLocked):
        open_stores(url)

    await stores.close()


@pytest.mark.spec("STO-60", "STO-47")
def test_another_process_that_has_it_open_is_named(
    url: str, holder: subprocess.Popen[bytes]
) -> None:
    with pytest.raises(StoreLocked) as raised:
        open_stores(url)

    assert raised.value.holder == holder.pid
    assert str(holder.pid) in str(raised.value)


@pytest.mark.spec("STO-60", "STO-47")
async def test_the_store_of_a_killed_process_opens(
    url: str, holder: subprocess.Popen[bytes]
) -> None:
    holder.send_signal(signal.SIGKILL)
    holder.wait()

    stores = open_stores(url)

    assert await stores.events.log_head() == 0
    await stores.close()


@pytest.mark.spec("STO-60")
async def test_a_closed_store_opens_again(url: str) -> None:
    stores = open_stores(url)
    await stores.close()

    again = open_stores(url)

    await again.close()


@pytest.mark.spec("STO-60")
def test_a_url_without_a_path_is_refused() -> None:
    with pytest.raises(InvalidInput, match="path"):
        open_stores("rocksdb://")


@pytest.mark.spec("STO-60", "STO-47")
async def test_a_newer_format_is_refused(url: str, tmp_path: Path) -> None:
    stores = open_stores(url)
    await stores.close()
    write_newer_format(tmp_path / "store")

    with pytest.raises(FormatTooNew) as raised:
        open_stores(url)

    assert raised.value.found > raised.value.supported


@pytest.mark.spec("STO-5")
def test_a_forked_child_is_refused_and_the_parent_goes_on(url: str) -> None:
    stores = open_stores(url)

    status = run_in_fork(stores)

    assert os.waitstatus_to_exitcode(status) == 0
    assert asyncio.run(attempt(stores.events.append(ALICE, 0, pages(0, 1)))) == Appended(0, 0)
    asyncio.run(stores.close())


def write_newer_format(path: Path) -> None:
    """Give the closed store in `path` a format that only a later angzarr knows."""
    raw = Options(raw_mode=True)
    families = dict.fromkeys(Rdict.list_cf(str(path), raw), raw)
    with Rdict(str(path), raw, column_families=families) as db:
        meta = db.get_column_family("meta")
        assert meta[b"format"] == FORMAT_VERSION.to_bytes(4, "big")
        meta[b"format"] = (FORMAT_VERSION + 1).to_bytes(4, "big")
        meta.close()


def run_in_fork(stores: Stores) -> int:
    """Exit status of a fork in which every port has to refuse."""
    child = os.fork()
    if child == 0:
        is_refused = False
        try:
            is_refused = asyncio.run(all_refuse(stores))
        finally:
            os._exit(0 if is_refused else 1)
    return os.waitpid(child, 0)[1]


async def all_refuse(stores: Stores) -> bool:
    """Whether reading and writing raise StoreForked with both process ids."""
    calls = (
        stores.events.load(ALICE),
        stores.events.append(ALICE, 0, pages(0, 1)),
        stores.events.tail(0, wait_s=1),
        stores.snapshots.get(ALICE),
        stores.positions.put_cursor("consumer", 1),
        stores.obligations.due(1),
        stores.dead_letters.put(b"letter"),
    )
    for call in calls:
        try:
            await call
        except StoreForked as error:
            if (error.opened_in, error.used_in) != (os.getppid(), os.getpid()):
                return False
        else:
            return False
    return True


@pytest.mark.spec("STO-5")
async def test_closing_waits_for_accepted_appends(url: str) -> None:
    stores = open_stores(url)
    covers = [cover_of(f"root-{number}") for number in range(100)]
    appends = [asyncio.create_task(append_rounds(stores, cover, 1)) for cover in covers]
    await asyncio.sleep(0)  # all are submitted now

    await stores.close()

    assert await asyncio.gather(*appends) == [None] * 100
    again = open_stores(url)
    assert len(await again.events.roots("account")) == 100
    await again.close()


@pytest.mark.spec("STO-5")
async def test_after_closing_every_port_refuses(url: str) -> None:
    stores = open_stores(url)
    await stores.close()

    for call in (
        stores.events.load(ALICE),
        stores.events.append(ALICE, 0, pages(0, 1)),
        stores.events.find_by_external_id(ALICE, ""),
        stores.events.tail(0, wait_s=1),
        stores.snapshots.delete(ALICE),
        stores.positions.cursor("consumer"),
        stores.obligations.close("duty"),
        stores.dead_letters.list(),
    ):
        with pytest.raises(StoreClosed):
            await call
    await stores.close()


@pytest.mark.spec("STO-4", "STO-60")
async def test_several_loops_and_threads_share_a_store(url: str) -> None:
    stores = open_stores(url)
    covers = [cover_of(f"root-{number}") for number in range(4)]
    threads = [
        threading.Thread(target=lambda c=cover: asyncio.run(append_rounds(stores, c, 50)))
        for cover in covers[1:]
    ]

    for thread in threads:
        thread.start()
    await append_rounds(stores, covers[0], 50)
    for thread in threads:
        await asyncio.to_thread(thread.join)

    assert [await stores.events.next_sequence(cover) for cover in covers] == [50] * 4
    assert await stores.events.log_head() == 200
    await stores.close()


@pytest.mark.spec("STO-14")
async def test_a_long_read_of_the_log_leaves_the_loop_to_others(url: str) -> None:
    stores = open_stores(url)
    for sequence in range(300):
        await stores.events.append(ALICE, sequence, pages(sequence, 1), sync=False)
    wanted = await whole_log(stores.events)

    reading = asyncio.create_task(stores.events.tail(0, limit=1_000))
    await asyncio.sleep(0)
    has_the_loop_to_itself = reading.done()

    assert (await reading, has_the_loop_to_itself) == (wanted, False)
    assert await stores.events.tail(298, limit=1_000) == wanted[298:]
    await stores.close()


@pytest.mark.spec("STO-10")
async def test_one_of_many_writers_in_threads_wins_each_sequence(url: str) -> None:
    stores = open_stores(url)
    won: list[int] = []

    async def race() -> None:
        for sequence in range(20):
            result = await attempt(stores.events.append(ALICE, sequence, pages(sequence, 1)))
            won.extend([sequence] if isinstance(result, Appended) else [])
            assert isinstance(result, Appended | SequenceConflict)
            await stores.events.tail(sequence, wait_s=20)

    threads = [threading.Thread(target=lambda: asyncio.run(race())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        await asyncio.to_thread(thread.join)

    assert sorted(won) == list(range(20))
    await stores.close()


@pytest.mark.spec("STO-60")
async def test_loops_that_end_leave_no_descriptors(url: str) -> None:
    stores = open_stores(url)
    in_thread(lambda: asyncio.run(append_rounds(stores, cover_of("warm"), 1)))
    before = len(os.listdir("/proc/self/fd"))

    for number in range(20):
        cover = cover_of(f"root-{number}")
        in_thread(lambda c=cover: asyncio.run(append_rounds(stores, c, 1)))
    gc.collect()

    assert len(os.listdir("/proc/self/fd")) <= before + 4
    await stores.close()


@pytest.mark.spec("STO-60")
async def test_a_loop_can_end_while_others_wait_for_the_log(url: str) -> None:
    stores = open_stores(url)
    waiting = asyncio.create_task(stores.events.tail(0, wait_s=20))
    await asyncio.sleep(0)

    in_thread(lambda: asyncio.run(append_rounds(stores, ALICE, 1)))

    assert logged_sequences(await waiting) == [0]
    await stores.close()


@pytest.mark.spec("STO-14")
async def test_a_cancelled_wait_for_the_log_leaves_nothing(url: str) -> None:
    stores = open_stores(url)
    waiting = [asyncio.create_task(stores.events.tail(0, wait_s=20)) for _ in range(100)]
    await asyncio.sleep(0)
    kept = [weakref.ref(task) for task in waiting]

    for task in waiting:
        task.cancel()
    await asyncio.wait(waiting)
    del task, waiting
    gc.collect()

    assert [ref() for ref in kept] == [None] * 100
    await stores.close()


@pytest.mark.spec("STO-5", "STO-14")
async def test_closing_ends_waits_for_the_log(url: str) -> None:
    stores = open_stores(url)
    waiting = asyncio.create_task(stores.events.tail(0, wait_s=20))
    await asyncio.sleep(0)

    await stores.close()

    with pytest.raises(StoreClosed):
        await waiting


@pytest.mark.spec("STO-3")
async def test_a_cancelled_append_is_whole_or_absent(url: str) -> None:
    stores = open_stores(url)
    append = asyncio.create_task(append_rounds(stores, ALICE, 1))
    await asyncio.sleep(0)

    append.cancel()
    await asyncio.gather(append, return_exceptions=True)
    await append_rounds(stores, cover_of("bob"), 1)  # committed after it

    assert await stores.events.next_sequence(ALICE) in (0, 1)
    assert len(await whole_log(stores.events)) == 1 + await stores.events.next_sequence(ALICE)
    await stores.close()


@pytest.mark.spec("STO-6")
async def test_a_full_queue_is_an_overload(url: str) -> None:
    stores = open_stores(url, limits=Limits(writer_queue=1))

    results = await asyncio.gather(
        *(
            attempt(stores.events.append(cover_of(f"root-{number}"), 0, pages(0, 1)))
            for number in range(500)
        )
    )

    refused = [result for result in results if isinstance(result, Overloaded)]
    accepted = [result for result in results if isinstance(result, Appended)]
    assert refused
    assert refused[0].limit == 1
    assert len(refused) + len(accepted) == 500
    assert len(await stores.events.roots("account")) == len(accepted)
    await stores.close()


@pytest.mark.spec("STO-49")
async def test_obligations_and_dead_letters_survive_a_restart(url: str) -> None:
    duty = Obligation("duty", "kind", b"payload", due_ns=7, attempts=2, last_error="late")
    stores = open_stores(url)
    await stores.obligations.put(duty)
    first = await stores.dead_letters.put(b"letter")
    await stores.close()

    again = open_stores(url)

    assert await again.obligations.due(7) == [duty]
    assert [letter.id for letter in await again.dead_letters.list()] == [first]
    assert await again.dead_letters.put(b"later") > first
    await again.close()


@pytest.mark.spec("STO-60")
async def test_facts_tell_the_path_and_the_head(url: str) -> None:
    stores = open_stores(url, sync=False)
    await append_rounds(stores, ALICE, 3)

    facts = stores.facts()

    assert facts.url == url
    assert facts.is_durable is False
    assert facts.format_version == FORMAT_VERSION
    assert facts.details["log_head"] == "3"
    assert facts.size_bytes > 0
    await stores.close()


@pytest.fixture
async def stores(url: str) -> AsyncIterator[Stores]:
    stores = open_stores(url, sync=False)
    yield stores
    await stores.close()


async def test_a_task_that_writes_alone_lets_others_run(stores: Stores) -> None:
    """Its writes are done at once, without a wait: it would never give way."""
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(other())

    await append_rounds(stores, ALICE, 100)

    task.cancel()
    assert turns >= 100


async def test_tasks_that_take_turns_are_not_alone() -> None:
    """Once one of them committed for itself, each would, and none would share a flush."""
    mailbox = LoopMailbox(asyncio.get_running_loop())
    answers: list[bool] = []

    async def turns() -> None:
        for _ in range(3):
            answers.append(mailbox.is_alone())
            await asyncio.sleep(0)

    await asyncio.gather(turns(), turns())
    mailbox.close()

    assert answers == [False] * 6


async def test_a_task_beside_a_write_on_its_way_is_not_alone() -> None:
    mailbox = LoopMailbox(asyncio.get_running_loop())
    mailbox.is_alone()
    mailbox.write_count = 1

    is_alone = mailbox.is_alone()
    mailbox.close()

    assert not is_alone


@pytest.mark.spec("OPS-3")
async def test_what_is_handed_over_when_the_store_is_closed_is_written(url: str) -> None:
    stores = open_stores(url, sync=False)
    writing = asyncio.create_task(stores.events.append(ALICE, 0, pages(0, 1)))
    await asyncio.sleep(0)

    await stores.close()

    assert await writing == Appended(0, 0)


async def test_a_write_that_is_refused_when_it_is_handed_over_says_so(url: str) -> None:
    stores = open_stores(url, sync=False)
    await stores.close()

    with pytest.raises(StoreClosed):
        await asyncio.gather(*(stores.positions.put_cursor(f"c{n}", 1) for n in range(3)))
