"""Components that move to processes of their own and back, on the same data (DEP-10 to DEP-14)."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import grpc
import grpc.aio
import pytest
from shop_messages import Fill, Pay, Place

from angzarr import calls, wire
from angzarr.cover import root_of

from . import scenario
from .shapes import Process, Site, serving
from .telling import Told, at, place
from .watching import CONSUMERS, cursors, log_of, passed, rows_of, settled

pytestmark = [pytest.mark.timeout(600), pytest.mark.spec("DEP-10", "DEP-11", "DEP-12")]

MOVED = ("saga:shipping", "process_manager:fulfilment", "projector:orders")
BUYERS = 2
ORDERS_A_STAGE = 12
LEASE_S = 3.0
LOST = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)


@pytest.mark.spec("SAGA-2", "PROJ-6", "STO-22")
def test_a_shop_that_moves_out_and_back_goes_on_where_it_was(whole: Told) -> None:
    """The log of one that never moved, and nothing was given to anybody twice."""
    parts = {"open_shop": Site.whole, "trade": Site.split, "inquire": Site.whole}

    async def move(site: Site) -> Told:
        told, before = Told(), None
        for part, shape in parts.items():
            async with shape(site), at(site, CONSUMERS, before) as (shop, look):
                await getattr(scenario, part)(shop)
                told.seen[part], before = await look(), shop
            told.answers = shop.answers
        async with site.own_stores() as stores:
            told.cursors = await cursors(stores)
        return told

    with place() as site:
        told = asyncio.run(move(site))
        given = Counter(line.rpartition(" ")[0] for line in site.runs.read_text().splitlines())

    for part in parts:
        assert told.log(part) == whole.log(part)
        assert told.seen[part] == whole.seen[part]
    assert told.answers == {label: whole.answers[label] for label in told.answers}
    assert set(told.cursors.values()) == {len(told.seen["inquire"].log)}
    assert set(given.values()) == {1}


@pytest.mark.spec("DEP-14", "OPS-3")
@pytest.mark.parametrize("how", ["stopped", "killed"])
def test_orders_go_on_while_components_move(how: str) -> None:
    """Old and new run side by side, then the old ones are gone, and the same again on the way back;
    each order is carried out once. A handler may be given an event again, since the store's process
    restarts meanwhile.
    """
    with place(consumer={"lease_s": LEASE_S}) as site:
        bought = asyncio.run(_move_under_load(site, is_killed=how == "killed"))
        lines = [line.split() for line in site.runs.read_text().splitlines()]
        log = asyncio.run(_log_of(site))
        rows = [row for row in rows_of(site.read_models["orders"]) if row[0] == "orders"]
        places = asyncio.run(_cursors_of(site))

    assert len(bought) >= 4 * ORDERS_A_STAGE
    for name in bought:
        assert _kinds(log, name) == {
            "order": ["Confirmed", "Paid", "Placed"],
            "shipment": ["Shipped"],
            "fulfilment": ["Finished", "Waiting"],
            "ledger": ["Income"],
        }
    assert {root: pages for _, root, _, _, pages in rows} == dict.fromkeys(map(root_of, bought), 3)
    assert set(places.values()) == {log[-1][0]}
    workers = {
        component: {pid for found, _, pid in lines if found == component} for component in MOVED[:2]
    }
    assert {component: len(pids) for component, pids in workers.items()} == dict.fromkeys(
        workers, 3
    )


async def _move_under_load(site: Site, *, is_killed: bool) -> list[str]:
    """The names of the orders that were bought: some before, between and after the moves."""
    whole, split = site.config("whole"), site.split_config(MOVED)
    apart = [site.apart(component, split) for component in MOVED]
    async with AsyncExitStack() as stack:

        async def started(process: Process) -> Process:
            await process.start()
            stack.callback(process.kill)
            await process.listening(2)
            return process

        front = await started(site.front(whole))
        async with buying(site) as bought:
            stores = site.stores()
            stack.push_async_callback(stores.close)

            async def stage() -> list[str]:
                """Some more is bought, and whoever has the moved components has reacted to it."""
                names = await bought(ORDERS_A_STAGE)
                await passed(stores, CONSUMERS, await stores.events.log_head())
                return names

            await stage()
            for process in apart:
                await started(process)  # stand by: the front has the leases
            await stage()
            assert await front.stop() == 0
            front = await started(site.front(split))
            await serving(site.address)
            await stage()
            assert await front.stop() == 0
            front = await started(site.front(whole))  # stands by: they have the leases
            await stage()
            for process in apart:
                if is_killed:
                    process.kill()
                else:
                    assert await process.stop() == 0
            names = await stage()
        await settled(stores, CONSUMERS)
        assert await front.stop() == 0
    return names


@asynccontextmanager
async def buying(site: Site) -> AsyncIterator[Callable[[int], Awaitable[list[str]]]]:
    """Buyers who go on until the end; `bought(n)` returns when n more orders are paid, with the
    names of all. A call that is not answered is made again, with its key.
    """
    names: list[str] = []
    paid = asyncio.Condition()
    is_over = False

    async def buyer(number: int) -> None:
        async with grpc.aio.insecure_channel(site.address) as channel:
            count = 0
            while not is_over:
                name = f"order-{number}-{count}"
                place_it = Place(item="book", shelf=root_of(name), cents=5)
                await _insist(channel, "stock", name, Fill(count=1))
                await _insist(channel, "order", name, place_it)
                await _insist(channel, "order", name, Pay())
                count += 1
                async with paid:
                    names.append(name)
                    paid.notify_all()

    async def bought(count: int) -> list[str]:
        wanted = len(names) + count
        async with paid:
            await paid.wait_for(lambda: len(names) >= wanted)
        return names

    async with asyncio.TaskGroup() as group:
        for number in range(BUYERS):
            group.create_task(buyer(number))
        yield bought
        is_over = True


async def _insist(channel: grpc.aio.Channel, domain: str, name: str, command: object) -> None:
    """Have the command executed, whatever happens to the server meanwhile."""
    request, metadata = calls.command_request(
        calls.Target(domain).cover(name, f"c-{name}"),
        command,  # type: ignore[arg-type]
        expected_sequence=None,
        merge=None,
        idempotency=f"{type(command).__name__} {name}",
        sync_mode="async",
        on_failure="fail_fast",
        cascade_id="",
    )
    call = channel.unary_unary(calls.HANDLE_COMMAND)
    while True:
        try:
            await call(request, metadata=tuple(metadata.items()), wait_for_ready=True)
            return
        except grpc.aio.AioRpcError as error:
            if error.code() not in LOST:
                raise


async def _log_of(site: Site) -> list[tuple[int, wire.EventBook]]:
    async with site.own_stores() as stores:
        return [
            (entry.position, wire.EventBook.FromString(entry.book))
            async for entry in log_of(stores)
        ]


async def _cursors_of(site: Site) -> dict[str, int | None]:
    async with site.own_stores() as stores:
        return await cursors(stores)


def _kinds(log: list[tuple[int, wire.EventBook]], name: str) -> dict[str, list[str]]:
    """Types of the events of an order's workflow, by domain; sorted, since paying does not wait for
    the confirmation. The shelf's are left out.
    """
    found: dict[str, list[str]] = {}
    for _, book in log:
        if book.cover.correlation_id == f"c-{name}" and book.cover.domain != "stock":
            kinds = [page.event.type_url.rpartition(".")[2] for page in book.pages]
            found.setdefault(book.cover.domain, []).extend(kinds)
    return {domain: sorted(kinds) for domain, kinds in found.items()}
