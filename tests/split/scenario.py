"""What happens to the shop in every shape: each step is let settle before the next one, so that the
log is the same, position by position.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

from shop_messages import (
    Cancel,
    Fill,
    FindOrder,
    Income,
    ListOrders,
    OrderRow,
    Paid,
    Pay,
    Place,
    Ship,
    Wrap,
)
from shop_queries import FIND, LIST

from angzarr import calls, wire
from angzarr.cover import root_of

from .driving import Shop

DEAD_LETTERS: Final = "/angzarr.DlqAdminService/"
SAGAS: Final = "/angzarr.SagaCoordinatorService/"
MANAGERS: Final = "/angzarr.ProcessManagerCoordinatorService/"
PROJECTORS: Final = "/angzarr.ProjectorCoordinatorService/"

MODES: Final = ("fail_fast", "continue", "compensate", "dead_letter")
STALE: Final[dict[str, Any]] = {"expected_sequence": 1, "corr": "c-o-1"}
CROWD: Final = 16
CAN_NOT_GO_ON: Final = ("m-cactus", "s-cactus", *(f"{mode}-cactus" for mode in MODES))
ITEMS: Final = ("book", "piano", "slow", "set", "cactus", "bomb", "glass")


async def open_shop(shop: Shop) -> None:
    """Fill the shelves; then one order that is shipped, one that can't be, one that is not in
    stock, one that is never paid, and one that no workflow knows.
    """
    for item in ITEMS:
        await shop.send("stock", item, Fill(count=50))
    await shop.order("o-1", "book")
    await shop.pay("o-1")
    await shop.order("o-2", "piano")
    await shop.pay("o-2")
    await shop.order("o-3", "ghost")
    await shop.order("o-4", "slow")
    await shop.send("order", "o-6", Place(item="book", shelf=root_of("book")), say="no workflow")


async def trade(shop: Shop) -> None:
    """Requests of all kinds. Handlers of the published client can do all of it, too."""
    await _refusals(shop)
    await _requests_that_wait(shop)
    await _branch(shop)


async def inquire(shop: Shop) -> None:
    """Facts, speculation, queries."""
    await _facts(shop)
    await _questions(shop)
    await _end(shop, "w-whole", "b-1")


async def crowd(shop: Shop) -> None:
    """Orders at once, for what is on one shelf; a set, of which two parts go on at once."""
    names = [f"crowd-{number}" for number in range(CROWD)]
    items = [("book", "set", "piano", "ghost")[number % 4] for number in range(CROWD)]
    async with asyncio.TaskGroup() as group:
        for name, item in zip(names, items, strict=True):
            group.create_task(shop.order(name, item, settles=False))
    await shop.settle()
    async with asyncio.TaskGroup() as group:
        for name in names:
            group.create_task(shop.pay(name, settles=False))
    await shop.settle()


async def undo(shop: Shop) -> None:
    """A cascade that has to be taken back: what was shipped, and what was refused, at once."""
    await shop.order("t-set", "set")
    await shop.pay("t-set", sync_mode="cascade", on_failure="compensate")


async def mishaps(shop: Shop) -> None:
    """What is told of handlers that break, and what the published client has no say in."""
    await shop.send("order", "o-1", Wrap(), corr="c-o-1")
    merged = {**STALE, "merge": "commutative"}
    await shop.send("order", "o-1", Cancel(reason="after all"), **merged, say="another field")
    await shop.send("order", "o-1", Cancel(), **merged, say="the same field")
    await shop.send("order", "o-1", Ship(item="book"), say="of another domain")
    for item in ("cactus", "bomb", "glass"):
        await shop.order(f"m-{item}", item)
        await shop.pay(f"m-{item}")
        await shop.order(f"s-{item}", item)
        await shop.pay(f"s-{item}", sync_mode="simple")
        for mode in MODES:
            await shop.order(f"{mode}-{item}", item)
            await shop.pay(f"{mode}-{item}", sync_mode="cascade", on_failure=mode)
    await _letters(shop)
    await _cascades(shop)
    await _coordinators(shop)
    await _end(shop, *CAN_NOT_GO_ON)
    await _rows(shop)


async def _refusals(shop: Shop) -> None:
    await shop.pay("o-1", say="Pay again")
    await shop.pay("o-7")
    await shop.order("o-1", "book", say="Place again")
    await shop.order("o-1", "book", idempotency="Place order/o-1", say="the same request")
    await shop.send("order", "o-1", Pay(), **STALE, merge="strict", say="stale, strict")
    await shop.send("order", "o-1", Cancel(), **STALE, merge="manual", say="stale, manual")
    await shop.send("nowhere", "o-1", Pay())


async def _requests_that_wait(shop: Shop) -> None:
    """SIMPLE, and CASCADE in the four modes, of what succeeds and what does not."""
    await shop.order("w-book", "book")
    await shop.pay("w-book", sync_mode="simple")
    await shop.pay("w-book", sync_mode="simple", say="SIMPLE, refused")
    for item in ("book", "piano", "set"):
        for mode in MODES:
            if (mode, item) == ("compensate", "set"):
                continue  # what is executed is taken back, which the client knows nothing of
            await shop.order(f"{mode}-{item}", item)
            await shop.pay(f"{mode}-{item}", sync_mode="cascade", on_failure=mode)
    await shop.order("w-whole", "book", sync_mode="cascade")
    await shop.order("w-ghost", "ghost", sync_mode="cascade")
    await shop.order("w-ghosts", "ghost", sync_mode="cascade", on_failure="continue")


async def _branch(shop: Shop) -> None:
    """An order that is paid on a branch is shipped there."""
    await shop.order("b-1", "book")
    await shop.pay("b-1", edition="what-if", divergence=2)
    await shop.order("b-2", "piano", edition="what-if")
    await shop.pay("b-2", edition="what-if", sync_mode="cascade", on_failure="continue")
    await shop.order("b-3", "book", edition="what-if")
    await shop.pay("b-3", edition="what-if", sync_mode="simple")


async def _facts(shop: Shop) -> None:
    path, answer = calls.HANDLE_EVENT, wire.FactInjectionResponse
    cover = calls.Target("ledger").cover("2026", "c-facts")
    income = [Income(cents=7)]
    fact = calls.fact_request(cover, income, external_id="f-1", sync_mode="simple")
    await shop.call("a fact", path, fact, {}, answer)
    await shop.call("the same fact", path, fact, {}, answer)
    cover, paid = calls.Target("order").cover("o-8", "c-o-8"), [Paid(item="book", cents=9)]
    leading = calls.fact_request(cover, paid, external_id="f-2", sync_mode="cascade")
    await shop.call("a fact that leads on", path, leading, {}, answer)


async def _questions(shop: Shop) -> None:
    order = calls.Target("order").cover("o-1")
    speculation = {"at": 1}
    for name, command in (("pay", Pay()), ("place", Place(item="book"))):
        asked = calls.speculation_request(order, command, **speculation)
        path = calls.HANDLE_SPECULATIVE
        await shop.call(f"what if {name}", path, asked, {}, wire.CommandResponse)
    await shop.call("book", calls.GET_EVENT_BOOK, calls.query(order), {}, wire.EventBook)
    correlated = calls.query(wire.Cover(correlation_id="c-o-1"))
    for label, request in (("books", calls.query(order)), ("correlated", correlated)):
        await shop.call(label, calls.GET_EVENTS, request, {}, wire.EventBook, is_stream=True)
    roots = calls.GET_AGGREGATE_ROOTS
    await shop.call("roots", roots, b"", {}, wire.AggregateRoot, is_stream=True)


async def _end(shop: Shop, *names: str) -> None:
    """Cancel what nobody will go on with, so that no timer is left."""
    for name in names:
        await shop.send("order", name, Cancel(reason="the end"), corr=f"c-{name}")


async def _letters(shop: Shop) -> None:
    """The dead letters, and what becomes of the newest of each component when it is tried again."""
    asked = wire.ListDeadLettersRequest(page_size=500)
    await shop.call("letters", f"{DEAD_LETTERS}List", asked, {}, wire.ListDeadLettersResponse)
    found = await shop.ask(f"{DEAD_LETTERS}List", asked, wire.ListDeadLettersResponse)
    newest = {entry.letter.source_component: entry.id for entry in reversed(found.entries)}
    for component, letter_id in sorted(newest.items()):
        redeliver = wire.RedeliverDeadLetterRequest(id=letter_id)
        replay = wire.ReplayDeadLetterRequest(id=letter_id, mode=wire.REPLAY_FRESH_SEQUENCE)
        for name, request, answer in (
            ("Redeliver", redeliver, wire.RedeliverDeadLetterResponse),
            ("Replay", replay, wire.ReplayDeadLetterResponse),
        ):
            label = f"{name} a letter of {component}"
            await shop.call(label, f"{DEAD_LETTERS}{name}", request, {}, answer)


async def _cascades(shop: Shop) -> None:
    """Requests whose pages wait for the decision of a cascade."""
    for mode in MODES:
        for item in ("book", "set"):
            name = f"k-{mode}-{item}"
            await shop.order(name, item)
            options = {"sync_mode": "cascade", "on_failure": mode, "cascade_id": name}
            await shop.pay(name, **options)


async def _coordinators(shop: Shop) -> None:
    """Books that callers give to sagas, process managers and projectors themselves."""
    book = await shop.ask(
        calls.GET_EVENT_BOOK, calls.query(calls.Target("order").cover("o-1")), wire.EventBook
    )
    book.cover.correlation_id = "c-o-1"
    saga = wire.SagaHandleRequest(source=book)
    trigger = wire.ProcessManagerCoordinatorRequest(trigger=book)
    asked = wire.ProcessManagerHandleRequest(trigger=book)
    for path, request, answer in (
        (f"{SAGAS}Execute", saga, wire.SagaResponse),
        (f"{SAGAS}Execute", wire.SagaHandleRequest(), wire.SagaResponse),
        (
            f"{SAGAS}ExecuteSpeculative",
            wire.SpeculateSagaRequest(request=saga),
            wire.SagaResponse,
        ),
        (f"{MANAGERS}Handle", trigger, wire.ProcessManagerHandleResponse),
        (
            f"{MANAGERS}HandleSpeculative",
            wire.SpeculatePmRequest(request=asked),
            wire.ProcessManagerHandleResponse,
        ),
        (f"{PROJECTORS}HandleSync", wire.EventRequest(events=book), wire.Projection),
        (f"{PROJECTORS}Handle", book, wire.Projection),
        (
            f"{PROJECTORS}HandleSpeculative",
            wire.SpeculateProjectorRequest(events=book),
            wire.Projection,
        ),
    ):
        label = f"{path} {len(shop.answers)}"
        await shop.call(label, path, request, {}, answer)


async def _rows(shop: Shop) -> None:
    """The query service of the orders."""
    for name in ("o-1", "nothing"):
        find = FindOrder(root=root_of(name))
        await shop.call(f"Find {name}", FIND, find, {}, OrderRow)
    for status in ("shipped", "cancelled"):
        asked = ListOrders(status=status)
        await shop.call(f"List {status}", LIST, asked, {}, OrderRow, is_stream=True)
