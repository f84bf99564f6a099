"""An app with all kinds of components: what runs, where, and what outlives a stop."""

from __future__ import annotations

import asyncio
import socket
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import ClassVar

import pytest

from angzarr import (
    Aggregate,
    App,
    Cancel,
    CommandRejected,
    ProcessManager,
    Projector,
    Rejection,
    Saga,
    Schedule,
    Send,
    Sqlite,
    Trigger,
    applies,
    command,
    handles,
    projects,
    reject,
    rejected,
    wakes,
    wire,
)
from angzarr.client import connect
from angzarr.config import load
from angzarr.errors import DeadLetterRefused, InvalidInput, ReactionFailed, ReplayRunning
from angzarr.reacting import Reacting
from angzarr.readstores import SqliteReader
from angzarr.testing.clock import ManualClock


@dataclass(frozen=True)
class Place:
    item: str


@dataclass(frozen=True)
class Placed:
    item: str


@dataclass(frozen=True)
class CancelOrder:
    pass


@dataclass(frozen=True)
class Cancelled:
    why: str


@dataclass(frozen=True)
class Ship:
    item: str


class Order(Aggregate, domain="order"):
    why: str = ""

    @command
    def place(self, cmd: Place) -> Placed:
        return Placed(cmd.item)

    @command
    def cancel(self, cmd: CancelOrder) -> Cancelled:
        return Cancelled("too late")

    @applies
    def placed(self, event: Placed) -> None: ...

    @applies
    def cancelled(self, event: Cancelled) -> None:
        self.why = event.why

    @rejected
    def not_shipped(self, rejection: Rejection[Ship]) -> Cancelled:
        return Cancelled(rejection.reason)


@dataclass(frozen=True)
class Shipped:
    item: str


class Shipment(Aggregate, domain="shipment"):
    items: str = ""

    @command
    def ship(self, cmd: Ship) -> Shipped:
        if cmd.item == "piano":
            reject("too heavy")
        return Shipped(cmd.item)

    @applies
    def shipped(self, event: Shipped) -> None:
        self.items += f"{event.item} "


class Shipping(Saga, source="order", targets=["shipment"]):
    runs: ClassVar[list[str]] = []
    fails: ClassVar[set[str]] = set()

    @handles
    def on_placed(self, event: Placed) -> Send:
        self.runs.append(event.item)
        if event.item in self.fails:
            raise ValueError(f"no box for a {event.item}")
        return Send(Ship(event.item))


@dataclass(frozen=True)
class Patience:
    pass


@dataclass(frozen=True)
class Watched:
    pass


class Watch(ProcessManager, sources=["order", "shipment"], domain="watch", targets=["order"]):
    @handles
    def on_placed(self, event: Placed, at: Trigger) -> tuple[Watched, Schedule]:
        return Watched(), Schedule("patience", Patience(), after=timedelta(seconds=60))

    @handles
    def on_shipped(self, event: Shipped) -> Cancel:
        return Cancel("patience")

    @wakes
    def out_of_patience(self, timer: Patience, at: Trigger) -> Send:
        return Send(CancelOrder(), root="o-1")

    @applies
    def watched(self, event: Watched) -> None: ...


SCHEMA = "CREATE TABLE IF NOT EXISTS line (item TEXT)"


class Lines(Projector, source="order", read_store=Sqlite("lines.sqlite", SCHEMA), synchronous=True):
    @projects
    def placed(self, event: Placed, db: sqlite3.Connection) -> None:
        db.execute("INSERT INTO line VALUES (?)", (event.item,))


@pytest.fixture(autouse=True)
def _fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Shipping.runs.clear()
    Shipping.fails.clear()


def lines() -> list[str]:
    return [row[0] for row in SqliteReader(Path("lines.sqlite")).rows("SELECT item FROM line")]


async def items(app: App, root: str = "o-1") -> list[str]:
    return (await app.domain(Shipment).state(root)).items.split()


def reacting(app: App) -> Reacting:
    found = app._running().reacting
    assert found is not None
    return found


@asynccontextmanager
async def running(*classes: type, store: str = "memory://", **more: object) -> AsyncIterator[App]:
    app = App(*classes, store=store, **more)  # type: ignore[arg-type]
    async with app:
        yield app


@pytest.mark.spec("DEP-6", "DEP-8")
@pytest.mark.parametrize("store", ["memory://", "rocksdb://data"])
async def test_a_saga_in_the_app_reacts_to_what_is_stored(store: str) -> None:
    async with running(Order, Shipment, Shipping, store=store) as app:
        await app.domain(Order).send("o-1", Place("book"))
        await app.settled()

        assert await items(app) == ["book"]


@pytest.mark.spec("DEP-8")
async def test_a_saga_on_the_aggregate_runs_with_it_under_its_own_name() -> None:
    class Shop(Aggregate, domain="shop", sagas=[]):
        @command
        def place(self, cmd: Place) -> Placed:
            return Placed(cmd.item)

        @applies
        def placed(self, event: Placed) -> None: ...

    class Sending(Saga, source=Shop, targets=[Shipment]):
        @handles
        def on_placed(self, event: Placed) -> Send:
            return Send(Ship(event.item))

    class Kiosk(Shop, domain="shop", sagas=[Sending]):
        pass

    async with running(Kiosk, Shipment) as app:
        assert "saga:sending" in app.components()
        await app.domain(Kiosk).send("o-1", Place("pen"))
        await app.settled()

        assert await items(app) == ["pen"]


@pytest.mark.spec("COMP-1", "COMP-4")
async def test_a_refused_command_is_told_to_its_source() -> None:
    async with running(Order, Shipment, Shipping) as app:
        await app.domain(Order).send("o-1", Place("piano"))
        await app.settled()

        assert (await app.domain(Order).state("o-1")).why == "too heavy"


@pytest.mark.spec("TIMER-4", "PM-6")
async def test_a_process_manager_is_woken_by_the_clock_of_the_app() -> None:
    clock = ManualClock()
    async with running(Order, Shipment, Watch, clock=clock) as app:
        await app.domain(Order).send("o-1", Place("book"), correlation_id="c-1")
        await app.settled()
        assert (await app.domain(Order).state("o-1")).why == ""

        clock.advance(61)
        await app.settled()

        assert (await app.domain(Order).state("o-1")).why == "too late"


@pytest.mark.spec("TIMER-3")
async def test_a_timer_that_was_cancelled_in_time_wakes_nobody() -> None:
    clock = ManualClock()
    async with running(Order, Shipment, Shipping, Watch, clock=clock) as app:
        await app.domain(Order).send("o-1", Place("book"), correlation_id="c-1")
        await app.settled()

        clock.advance(61)
        await app.settled()

        assert (await app.domain(Order).state("o-1")).why == ""


@pytest.mark.spec("PROJ-2", "PROJ-4")
async def test_a_projector_in_the_app_fills_its_read_store() -> None:
    async with running(Order, Lines) as app:
        await app.domain(Order).send("o-1", Place("book"))
        await app.settled()

        assert lines() == ["book"]


@pytest.mark.spec("SYNC-1")
async def test_a_simple_request_is_answered_after_its_projectors() -> None:
    async with running(Order, Lines) as app:
        sent = await app.domain(Order).send("o-1", Place("book"), sync_mode="simple")

        assert lines() == ["book"]
        assert [projection.projector for projection in sent.projections] == ["lines"]


@pytest.mark.spec("SYNC-1", "SYNC-3")
async def test_a_cascade_is_answered_after_its_sagas_which_run_once() -> None:
    async with running(Order, Shipment, Shipping) as app:
        await app.domain(Order).send("o-1", Place("book"), sync_mode="cascade")
        assert await items(app) == ["book"]

        await app.settled()

        assert Shipping.runs == ["book"]


@pytest.mark.spec("SYNC-6")
async def test_a_cascade_fails_with_its_reaction_unless_told_otherwise() -> None:
    async with running(Order, Shipment, Shipping) as app:
        orders = app.domain(Order)
        with pytest.raises((ReactionFailed, CommandRejected), match="too heavy"):
            await orders.send("o-1", Place("piano"), sync_mode="cascade")

        sent = await orders.send("o-2", Place("piano"), sync_mode="cascade", on_failure="continue")

        assert [error.component_name for error in sent.cascade_errors] == ["shipping"]


@pytest.mark.spec("DEP-6")
async def test_a_facts_request_may_cascade_too() -> None:
    async with running(Order, Shipment, Shipping) as app:
        await app.domain(Order).record("o-1", Placed("vase"), sync_mode="cascade")

        assert await items(app) == ["vase"]


@pytest.mark.spec("SAGA-2", "OPS-3")
async def test_after_a_stop_only_what_came_since_is_delivered() -> None:
    for item in ("book", "pen"):
        async with running(Order, Shipment, Shipping, store="rocksdb://data") as app:
            await app.domain(Order).send("o-1", Place(item))
            await app.settled()

    assert Shipping.runs == ["book", "pen"]


@pytest.mark.spec("STO-26", "PROJ-6")
async def test_what_was_stored_without_a_component_is_delivered_when_it_comes() -> None:
    async with running(Order, store="rocksdb://data") as app:
        await app.domain(Order).send("o-1", Place("book"))

    async with running(Order, Shipment, Shipping, Lines, store="rocksdb://data") as app:
        await app.settled()

        assert await items(app) == ["book"]
        assert lines() == ["book"]


@pytest.mark.spec("DEP-10")
async def test_what_is_not_selected_does_not_run() -> None:
    select = "*,-saga:shipping"
    async with running(Order, Shipment, Shipping, select=select) as app:
        await app.domain(Order).send("o-1", Place("book"))
        await app.settled()

        assert Shipping.runs == []


@pytest.mark.spec("DEP-16")
async def test_a_target_that_nothing_leads_to_stops_the_start() -> None:
    app = App(Order, Shipment, Shipping, store="memory://", select="*,-aggregate:shipment")

    with pytest.raises(InvalidInput, match=r"saga:shipping sends to aggregate:shipment.*order"):
        await app.start()


@pytest.mark.spec("DLQ-2", "DLQ-3", "DLQ-10")
async def test_events_given_up_on_are_a_dead_letter_that_can_be_delivered_again() -> None:
    Shipping.fails.add("cactus")
    config = {"delivery.max_attempts": 2, "delivery.first_ms": 1}
    async with running(Order, Shipment, Shipping, config=config) as app:
        await app.domain(Order).send("o-1", Place("cactus"))
        await app.settled()
        [letter] = await app.stores.dead_letters.list()
        message = wire.AngzarrDeadLetter.FromString(letter.letter)
        assert (message.source_component, message.source_component_type) == (
            "saga:shipping",
            "saga",
        )

        Shipping.fails.clear()
        server = await app.serve(port=0)
        async with connect(server.addresses[0]) as client:
            request = wire.RedeliverDeadLetterRequest(id=letter.id).SerializeToString()
            await client._transport.unary("/angzarr.DlqAdminService/Redeliver", request)
        await server.stop(0)

        assert await items(app) == ["cactus"]


@pytest.mark.spec("DLQ-10")
async def test_dead_events_of_a_component_that_is_elsewhere_are_refused() -> None:
    async with running(Order, Shipment, Shipping) as app:
        with pytest.raises(DeadLetterRefused, match="saga:billing is not in this process"):
            await reacting(app).redeliver("saga:billing", b"")


@pytest.mark.spec("DEP-11", "DEP-12")
async def test_a_saga_in_a_process_of_its_own_does_what_it_did() -> None:
    everywhere = (Order, Shipment, Shipping)
    async with running(*everywhere, select="*,-saga:shipping", store="rocksdb://data") as owner:
        server = await owner.serve(port=0)
        store = f"grpc://{server.addresses[0]}"
        async with running(*everywhere, select="saga:shipping", store=store) as apart:
            for item in ("book", "piano"):
                await owner.domain(Order).send(f"o-{item}", Place(item))
            await apart.settled()
            await owner.settled()

            assert await items(owner, "o-book") == ["book"]
            assert (await owner.domain(Order).state("o-piano")).why == "too heavy"
        await server.stop(0)


@pytest.mark.spec("DEP-14", "SAGA-2")
async def test_a_saga_that_moves_to_another_process_goes_on_where_it_was() -> None:
    everywhere = (Order, Shipment, Shipping)
    async with running(*everywhere, store="rocksdb://data") as app:
        await app.domain(Order).send("o-1", Place("book"))
        await app.settled()
    async with running(*everywhere, select="*,-saga:shipping", store="rocksdb://data") as owner:
        server = await owner.serve(port=0)
        store = f"grpc://{server.addresses[0]}"
        async with running(*everywhere, select="saga:shipping", store=store) as apart:
            await owner.domain(Order).send("o-1", Place("pen"))
            await apart.settled()
        await server.stop(0)

    assert Shipping.runs == ["book", "pen"]


@asynccontextmanager
async def apart(select: str) -> AsyncIterator[tuple[App, App]]:
    """An app without what is selected, and one with that alone, on the first one's store; requests
    to the first wait for the second. Both read one configuration.
    """
    everything = (Order, Shipment, Shipping, Lines)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    config = {
        "components": {select: {"endpoint": f"tcp://127.0.0.1:{port}", "role": "coordinator"}}
    }
    async with running(*everything, config=config, store="rocksdb://data") as owner:
        server = await owner.serve(port=0)
        store = f"grpc://{server.addresses[0]}"
        async with running(*everything, config=config, select=select, store=store) as other:
            beside = await other.serve(port=port)
            await owner._running().endpoints[select].wait_serving()
            yield owner, other
            await beside.stop(0)
        await server.stop(0)


@pytest.mark.spec("DEP-12", "SYNC-1", "SYNC-3")
async def test_a_cascade_waits_for_a_saga_in_another_process() -> None:
    async with apart("saga:shipping") as (owner, other):
        await owner.domain(Order).send("o-1", Place("book"), sync_mode="cascade")
        assert await items(owner) == ["book"]

        await other.settled()

        assert Shipping.runs == ["book"]


@pytest.mark.spec("DEP-12", "SYNC-6")
async def test_a_cascade_fails_with_a_saga_in_another_process() -> None:
    async with apart("saga:shipping") as (owner, other):
        with pytest.raises(ReactionFailed, match="Saga shipping failed: too heavy"):
            await owner.domain(Order).send("o-1", Place("piano"), sync_mode="cascade")
        await other.settled()

        assert (await owner.domain(Order).state("o-1")).why == "too heavy"


@pytest.mark.spec("DEP-12", "PROJ-16")
async def test_a_simple_request_waits_for_a_projector_in_another_process() -> None:
    async with apart("projector:lines") as (owner, _):
        sent = await owner.domain(Order).send("o-1", Place("book"), sync_mode="simple")

        assert lines() == ["book"]
        assert [projection.projector for projection in sent.projections] == ["lines"]


@pytest.mark.spec("DEP-12")
async def test_what_has_an_endpoint_elsewhere_is_not_fed_here() -> None:
    async with apart("saga:shipping") as (owner, other):
        assert [saga.name for saga in reacting(owner).sagas] == []
        assert [saga.name for saga in reacting(other).sagas] == ["saga:shipping"]


async def test_an_app_without_reactions_has_nothing_to_wait_for() -> None:
    async with running(Order) as app:
        await app.settled()


@pytest.mark.spec("PROJ-11")
async def test_a_projection_is_shown_to_who_follows_its_correlation_id() -> None:
    class Boards(Projector, source="order"):
        @projects
        def placed(self, event: Placed) -> Placed:
            return event

    config = load(code={"projection.stream_output": True}, environ={})
    async with running(Order, Boards, config=config) as app:
        follower = app.follow("c-1")
        seen = asyncio.ensure_future(anext(follower))
        await asyncio.sleep(0)
        await app.domain(Order).send("o-1", Place("book"), correlation_id="c-1")
        first = await seen
        second = await anext(follower)
        await follower.aclose()

    assert {first.cover.domain, second.cover.domain} == {"order", "_projection.boards.order"}


class Counted(Projector, source="order"):
    """Keeps its rows itself."""

    seen: ClassVar[list[str]] = []

    @projects
    def placed(self, event: Placed) -> None:
        self.seen.append(event.item)

    def reset(self) -> None:
        self.seen.clear()


@pytest.mark.spec("PROJ-9")
async def test_a_projector_of_a_running_app_is_replayed_in_place() -> None:
    Counted.seen.clear()
    async with running(Order, Counted) as app:
        for item in ("book", "pen"):
            await app.domain(Order).send("o-1", Place(item))
        await app.settled()
        Counted.seen.append("a row that no event accounts for")
        told: list[tuple[int, int]] = []

        await app.replay("counted", progress=lambda done, total: told.append((done, total)))

        assert Counted.seen == ["book", "pen"]
        assert told[-1] == (2, 2)


@pytest.mark.spec("PROJ-9")
async def test_a_replay_of_what_is_not_here_names_what_is() -> None:
    async with running(Order, Counted) as app:
        with pytest.raises(InvalidInput, match="a projector of this process: counted"):
            await app.replay("statement")


@pytest.mark.spec("PROJ-9")
async def test_one_replay_of_a_projector_runs_at_a_time() -> None:
    async with running(Order, Counted) as app:
        first = asyncio.ensure_future(app.replay("counted"))
        await asyncio.sleep(0)

        with pytest.raises(ReplayRunning, match="projector:counted is being replayed"):
            await app.replay("counted")
        await first
