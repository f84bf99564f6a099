"""The way to another process's store: what becomes of calls when it breaks or is closed."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import grpc.aio
import pytest

from angzarr.errors import StoreClosed, StoreUnavailable
from angzarr.ports.event_store import Appended
from angzarr.rpc import store_link
from angzarr.rpc.remote_store import RemoteStores
from angzarr.rpc.services import Rpc
from angzarr.stores import open_stores
from angzarr.testing.pages import cover_of, page, pages

from .served_stores import Host, holding

ALICE = cover_of("alice")


@pytest.mark.spec("DEP-11", "STO-30")
async def test_a_server_that_is_not_there_is_unavailable() -> None:
    stores = RemoteStores("127.0.0.1:9")

    with pytest.raises(StoreUnavailable, match=r"store grpc://127\.0\.0\.1:9 is unavailable"):
        await stores.events.log_head()
    await stores.close()


@pytest.mark.spec("DEP-11")
async def test_the_next_call_works_after_the_server_came_back(host: Host) -> None:
    stores = host.user()
    await stores.events.append(ALICE, 0, pages(0, 2))

    await host.stop()
    with pytest.raises(StoreUnavailable):
        await stores.events.log_head()
    await host.start()

    assert await stores.events.log_head() == 2


@pytest.mark.spec("DEP-11")
async def test_a_call_that_begins_while_the_server_is_away_waits_for_it(host: Host) -> None:
    stores = host.user()
    await host.stop()
    with pytest.raises(StoreUnavailable):
        await stores.events.log_head()

    waiting = asyncio.create_task(stores.events.log_head())
    await asyncio.sleep(0)
    await host.start()

    assert await waiting == 0


@pytest.mark.spec("DEP-11")
async def test_a_server_that_stays_away_is_unavailable_in_time(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    stores = host.user()
    await host.stop()
    with pytest.raises(StoreUnavailable):
        await stores.events.log_head()
    monkeypatch.setattr(store_link, "CONNECT_S", 0.05)

    with pytest.raises(StoreUnavailable, match="DEADLINE_EXCEEDED"):
        await stores.events.log_head()


@pytest.mark.spec("DEP-11", "STO-14")
async def test_a_tail_ends_when_the_server_goes(host: Host) -> None:
    stores = host.user()
    waiting = asyncio.create_task(stores.events.tail(0, wait_s=3_600))
    await host.waited_for_by(1)

    await host.stop()

    with pytest.raises(StoreUnavailable) as caught:
        await waiting
    assert not isinstance(caught.value, StoreClosed)


@pytest.mark.spec("DEP-11", "STO-12")
async def test_an_append_whose_answer_is_lost_is_unavailable_and_not_sent_again(
    host: Host,
) -> None:
    await host.stop()
    events = holding(host)
    await host.start()
    appending = asyncio.create_task(host.user().events.append(ALICE, 0, pages(0, 1)))
    await events.is_begun.wait()

    await host.stop()
    with pytest.raises(StoreUnavailable):
        await appending
    events.hold.set()
    await host.start()

    assert await host.user().events.log_head() == 0
    assert events.begun == [0]


@pytest.mark.spec("DEP-11")
async def test_a_server_that_does_not_answer_is_unavailable(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    await host.stop()
    holding(host)
    await host.start()
    monkeypatch.setattr(store_link, "CALL_S", 0.05)

    with pytest.raises(StoreUnavailable, match="DEADLINE_EXCEEDED"):
        await host.user().events.append(ALICE, 0, pages(0, 1))


@pytest.mark.spec("DEP-11", "STO-5")
async def test_a_store_that_is_closed_there_is_unavailable_here(host: Host) -> None:
    await host.stores.close()

    with pytest.raises(StoreUnavailable, match="the server has closed it") as caught:
        await host.user().events.log_head()

    assert not isinstance(caught.value, StoreClosed)


@pytest.mark.spec("DEP-11", "STO-5")
async def test_closing_here_leaves_the_store_open_there(host: Host) -> None:
    one, other = host.user(), host.user()

    await one.close()

    assert await other.events.append(ALICE, 0, pages(0, 1)) == Appended(0, 0)
    with pytest.raises(StoreClosed):
        await one.events.log_head()


@pytest.mark.spec("STO-5")
async def test_closing_ends_calls_that_wait_for_a_server_that_is_away(host: Host) -> None:
    stores = host.user()
    await host.stop()
    with pytest.raises(StoreUnavailable):
        await stores.events.log_head()
    waiting = asyncio.create_task(stores.events.log_head())
    await asyncio.sleep(0)

    await stores.close()

    with pytest.raises(StoreUnavailable):
        await waiting


@pytest.mark.spec("STO-5")
async def test_closing_waits_for_calls_for_so_long_only(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    await host.stop()
    events = holding(host)
    await host.start()
    stores = host.user()
    appending = asyncio.create_task(stores.events.append(ALICE, 0, pages(0, 1)))
    await events.is_begun.wait()
    monkeypatch.setattr(store_link, "CLOSE_S", 0.01)

    await stores.close()

    with pytest.raises(StoreUnavailable, match="closed before the answer"):
        await appending


async def test_a_server_that_offers_no_store_says_what_to_set(host: Host) -> None:
    await host.stop()
    host.rpcs = ()
    await host.start()

    with pytest.raises(StoreUnavailable, match=r"offers no store .*server\.store_access"):
        await host.user().events.log_head()


@pytest.mark.spec("DEP-11")
async def test_a_server_that_refuses_callers_from_elsewhere_says_what_to_set(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("angzarr.rpc.services.is_local_peer", lambda _peer: False)

    with pytest.raises(StoreUnavailable, match=r"on this machine.*server\.store_access"):
        await host.user().events.log_head()


@pytest.mark.parametrize("answer", [b"\xff", b"", b"\x0a\x01\xc1"])
async def test_an_answer_that_is_none_is_unavailable(host: Host, answer: bytes) -> None:
    async def call(_request: bytes, _context: Any) -> bytes:
        return answer

    await host.stop()
    host.rpcs = (Rpc(service="angzarr.StoreService", method="Call", unary=call),)
    await host.start()

    with pytest.raises(StoreUnavailable, match="its answer"):
        await host.user().events.load(ALICE)


@pytest.mark.spec("STO-10")
async def test_an_append_that_is_cancelled_while_it_waits_lets_none_pass(host: Host) -> None:
    await host.stop()
    events = holding(host)
    await host.start()
    stores = host.user()
    first, second, third = (
        asyncio.create_task(stores.events.append(ALICE, n, [page(n)])) for n in range(3)
    )
    await events.is_begun.wait()
    second.cancel()
    await asyncio.wait([second])
    fourth = asyncio.create_task(stores.events.append(ALICE, 3, [page(3)]))
    await stores.events.log_head()  # overtakes what is on its way, if anything is

    begun_early = list(events.begun)
    events.hold.set()
    await asyncio.wait([first, third, fourth])

    assert (begun_early, events.begun) == ([0], [0, 2, 3])


@pytest.mark.spec("DEP-11")
def test_threads_with_loops_of_their_own_use_one_store() -> None:
    async def everything() -> None:
        host = Host(open_stores("memory://"))
        await host.start()
        stores = host.user()
        done: list[Appended] = []

        def write(number: int) -> None:
            async def run() -> None:
                for sequence in range(20):
                    cover = cover_of(f"root-{number}")
                    appended = await stores.events.append(cover, sequence, [page(sequence)])
                    assert isinstance(appended, Appended)
                    done.append(appended)

            asyncio.run(run())

        threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            await asyncio.to_thread(thread.join)
        assert len(done) == 80
        assert await stores.events.log_head() == 80
        await host.close()

    asyncio.run(everything())


@pytest.mark.spec("DEP-11", "STO-5")
async def test_closing_ends_the_waits_of_other_threads(host: Host) -> None:
    stores = host.user()
    caught: list[BaseException] = []

    def wait() -> None:
        async def run() -> None:
            try:
                await stores.events.tail(0, wait_s=3_600)
            except StoreClosed as error:
                caught.append(error)

        asyncio.run(run())

    thread = threading.Thread(target=wait)
    thread.start()
    await host.waited_for_by(1)

    await stores.close()
    await asyncio.to_thread(thread.join)

    assert len(caught) == 1


@pytest.mark.spec("DEP-11", "OPS-11")
async def test_a_server_that_is_gone_without_a_word_is_looked_for(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pings find it out within 20 s; gRPC's least pause of 10 s is too long to be waited for here,
    so this looks at what gRPC is asked for."""
    asked: dict[str, Any] = {}
    real = grpc.aio.insecure_channel

    def insecure_channel(target: str, options: Any) -> Any:
        asked.update(options)
        return real(target, options=options)

    monkeypatch.setattr(grpc.aio, "insecure_channel", insecure_channel)

    await host.user().events.log_head()

    assert asked["grpc.keepalive_time_ms"] + asked["grpc.http2.ping_timeout_ms"] <= 20_000
    assert asked["grpc.max_reconnect_backoff_ms"] < 1_000 * store_link.CONNECT_S
    assert asked["grpc.use_local_subchannel_pool"] == 1
