"""Sagas, process managers and projectors of the published client under our coordinators, nothing of
them changed: its processes, configured as its deployments are.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from angzarr import wire
from angzarr.cover import root_of

pytestmark = pytest.mark.timeout(300)  # the first run makes the client's environment

ROOT = "00112233445566778899aabbccddeeff"
OTHER = "10112233445566778899aabbccddeeff"
TABLE = "70000000000040008000000000000001"
FAILURES = "angzarr-saga-failures"
TWO_WORKFLOWS = ({"amount": 5, "correlation_id": "a"}, {"amount": 7, "correlation_id": "b"})
SIMPLE, CASCADE = wire.SYNC_MODE_SIMPLE, wire.SYNC_MODE_CASCADE

StartHandler = Callable[..., Any]
StartCoordinator = Callable[..., Awaitable[Any]]


class Floor:
    """Players and tables of the client's, what reacts to them, and our coordinators between."""

    def __init__(self, coordinator: Any, handlers: dict[str, Any]) -> None:
        self.coordinator = coordinator
        self.handlers = handlers

    async def deposit(self, *deposits: dict[str, object] | int) -> list[Any]:
        """Answers to the deposits, when everything has followed from them."""
        listed = [item if isinstance(item, dict) else {"amount": item} for item in deposits]
        found = await self.coordinator.call("deposits", json.dumps(listed))
        await self.coordinator.app.settled()
        return [item for item in found if item.get("pages", [{}])[0].get("name") is None]

    async def book(self, domain: str, root: str, edition: str = "") -> Any:
        [found] = await self.coordinator.call("books", json.dumps([[domain, root, edition]]))
        return found

    async def stacks(self, root: str = TABLE, edition: str = "") -> list[int]:
        """What the table held after each addition."""
        return [page["stack"] for page in (await self.book("table", root, edition))["pages"]]

    async def committed(self) -> list[wire.EventBook]:
        """Every commit, in the log's order."""
        entries = await self.coordinator.app.stores.events.tail(0, limit=1000)
        return [wire.EventBook.FromString(entry.book) for entry in entries]

    def given(self, style: str) -> list[dict[str, Any]]:
        """What a component was given, call by call."""
        calls = self.handlers[style].calls
        lines = calls.read_text().splitlines() if calls.exists() else []
        return [json.loads(line) for line in lines if line.startswith("{")]


@pytest.fixture
async def open_floor(
    running_handler: StartHandler, start_coordinator: StartCoordinator
) -> Callable[..., Awaitable[Floor]]:
    """Start everything: the player's style, and the styles that react with their configuration."""

    async def start(
        player: str = "router", *, table: str = "table", **settings: dict[str, Any]
    ) -> Floor:
        handlers = {style: running_handler(style) for style in (player, table)}
        configured: dict[str, object] = {
            "components": {
                "aggregate:player": {"endpoint": handlers[player].endpoint},
                "aggregate:table": {"endpoint": handlers[table].endpoint},
            }
        }
        for section, items in settings.items():
            listed = configured[section] = []
            for style, item in items.items():
                handlers[style] = running_handler(style)
                socket = handlers[style].endpoint.removeprefix("unix://")
                listed.append({"socket": socket, **item})
        coordinator = await start_coordinator(**configured)
        await coordinator.serving()
        return Floor(coordinator, handlers)

    return start


def saga(style: str = "saga", **more: object) -> dict[str, Any]:
    item = {"name": "player-table", "subscriptions": "player:FundsDeposited", "targets": ["table"]}
    return {"sagas": {style: {**item, **more}}}


def manager(style: str = "pm", **more: object) -> dict[str, Any]:
    item = {"name": "buy-in", "subscriptions": "player:FundsDeposited", "targets": ["table"]}
    return {"process_managers": {style: {**item, **more}}}


def projector(**more: object) -> dict[str, Any]:
    item = {"name": "stacks", "subscriptions": "player", "synchronous": True}
    return {"projectors": {"projector": {**item, **more}}}


# Sagas


@pytest.mark.spec("COMPAT-6", "SAGA-6")
@pytest.mark.parametrize("style", ["saga", "saga-class"])
async def test_every_target_has_a_number_and_a_new_aggregate_has_0(
    open_floor: Any, style: str
) -> None:
    """The client's stamp_command raises for a domain that is missing."""
    floor = await open_floor(**saga(style, targets=["table", "player"]))

    await floor.deposit(5)

    if style == "saga":
        assert floor.given(style)[0]["sequences"] == {"table": 0, "player": 2}
    else:
        assert floor.given(style) == [{"amount": 5, "table": 0}]
    assert len(await floor.stacks(TABLE if style == "saga" else ROOT)) > 0


@pytest.mark.spec("COMPAT-7", "SAGA-8")
async def test_a_stamp_for_another_root_is_that_roots_own(open_floor: Any) -> None:
    """The map describes the table with the player's root, which is empty; and STRICT would refuse
    the number."""
    floor = await open_floor(**saga())

    await floor.deposit(*TWO_WORKFLOWS)

    assert [call["sequences"] for call in floor.given("saga")] == [{"table": 0}, {"table": 0}]
    book = await floor.book("table", TABLE)
    assert [page["sequence"] for page in book["pages"]] == [0, 1, 2, 3]


@pytest.mark.spec("COMPAT-7", "SAGA-8")
async def test_a_missing_header_is_stamped(open_floor: Any) -> None:
    """As the client's rich model packs its commands."""
    floor = await open_floor(**saga("saga-class"))

    await floor.deposit(5, 7)

    assert [call["table"] for call in floor.given("saga-class")] == [0, 1]
    assert await floor.stacks(ROOT) == [5, 12]


@pytest.mark.spec("COMPAT-8", "SAGA-16")
@pytest.mark.parametrize("style", ["saga", "saga-class"])
async def test_output_takes_correlation_id_and_edition_of_its_source(
    open_floor: Any, style: str
) -> None:
    floor = await open_floor(**saga(style))

    await floor.deposit({"amount": 5, "edition": "what-if", "correlation_id": "c-9"})

    root = TABLE if style == "saga" else ROOT
    book = await floor.book("table", root, "what-if")
    assert (book["edition"], len(book["pages"]) > 0) == ("what-if", True)
    assert await floor.stacks(root) == []
    covers = [book.cover for book in await floor.committed() if book.cover.domain == "table"]
    assert {cover.correlation_id for cover in covers} == {"c-9"}


@pytest.mark.spec("COMPAT-10", "CMD-29")
async def test_two_equal_commands_of_one_event_to_one_root_are_two(open_floor: Any) -> None:
    floor = await open_floor(**saga())

    await floor.deposit(5)

    assert await floor.stacks() == [5, 10]


@pytest.mark.spec("COMPAT-10", "CMD-29")
async def test_a_book_that_is_delivered_again_adds_nothing(open_floor: Any) -> None:
    floor = await open_floor(**saga())
    await floor.deposit(5)
    [book] = [b for b in await floor.committed() if "FundsDeposited" in b.pages[0].event.type_url]

    await floor.coordinator.redeliver("saga-player-table", book)

    assert len(floor.given("saga")) == 2
    assert await floor.stacks() == [5, 10]


@pytest.mark.spec("COMPAT-11", "SAGA-2")
async def test_a_saga_gets_a_book_a_commit_with_the_new_pages_only(open_floor: Any) -> None:
    floor = await open_floor(**saga())

    await floor.deposit(5, 7, 9)

    sources = [call["source"] for call in floor.given("saga")]
    assert [source["pages"] for source in sources] == [[1], [2], [3]]
    assert {(s["domain"], s["root"], s["edition"], s["correlation_id"]) for s in sources} == {
        ("player", ROOT, "angzarr", "c-1")
    }


@pytest.mark.spec("SAGA-1", "PM-2")
async def test_a_saga_may_be_routed_by_the_correlation_id(open_floor: Any) -> None:
    workflow = str(uuid.UUID(TABLE))
    floor = await open_floor(**saga(routing={"table": "correlation"}))

    await floor.deposit({"amount": 5, "correlation_id": workflow}, {"amount": 7})

    assert [call["sequences"] for call in floor.given("saga")] == [{"table": 0}, {"table": 0}]
    await floor.deposit({"amount": 1, "correlation_id": workflow})
    assert floor.given("saga")[-1]["sequences"] == {"table": 4}


@pytest.mark.spec("SAGA-4", "SYNC-1")
async def test_a_saga_runs_within_a_cascade(open_floor: Any) -> None:
    floor = await open_floor(**saga("saga-class"))

    [first, refused] = await floor.deposit(
        {"amount": 5, "sync_mode": CASCADE}, {"amount": 101, "sync_mode": CASCADE}
    )

    assert first["cascade_errors"] == []
    assert refused == {
        "code": "FAILED_PRECONDITION",
        "text": "Saga player-table failed: the table is full",
    }
    assert len(floor.given("saga-class")) == 2


# Rejections


@pytest.mark.spec("COMPAT-13", "COMP-2", "WIRE-5")
async def test_a_rejection_reaches_the_clients_rejection_handler(open_floor: Any) -> None:
    floor = await open_floor("compensating", **saga("saga-class"))

    await floor.deposit(101)

    assert floor.given("compensating") == [
        {
            "type_url": "type.googleapis.com/angzarr.RejectionNotification",
            "reason": "the table is full",
            "command": "type.googleapis.com/examples.AddChips",
        }
    ]
    types = [page["type_url"] for page in (await floor.book("player", ROOT))["pages"]]
    assert types[-1] == "type.googleapis.com/examples.FundsWithdrawn"
    assert not await failures(floor)


@pytest.mark.spec("COMPAT-13", "COMP-11", "COMP-9")
@pytest.mark.parametrize("player", ["router", "class"])
async def test_a_handler_that_cannot_take_it_has_the_fallback(open_floor: Any, player: str) -> None:
    floor = await open_floor(player, **saga("saga-class"))

    await floor.deposit(101, 7)

    [failed] = await failures(floor)
    assert failed.saga_name == "player-table"
    assert failed.rejection_reason == "the table is full"
    assert failed.triggering_aggregate.root.value.hex() == ROOT
    assert await floor.stacks(ROOT) == [7]


async def failures(floor: Floor) -> list[wire.SagaCompensationFailed]:
    pages = [
        page
        for book in await floor.committed()
        if book.cover.domain == FAILURES
        for page in book.pages
    ]
    return [wire.SagaCompensationFailed.FromString(page.event.value) for page in pages]


@pytest.mark.spec("COMPAT-13", "PM-12")
async def test_a_process_managers_rejection_has_the_fallback(open_floor: Any) -> None:
    floor = await open_floor(**manager("pm-class"))

    await floor.deposit(101)

    [failed] = await failures(floor)
    assert failed.saga_name == "buy-in"
    assert failed.triggering_aggregate.domain == "buy-in"


# Process managers


@pytest.mark.spec("COMPAT-9", "PM-2", "PM-5")
@pytest.mark.parametrize("correlation_id", ["c-1", str(uuid.UUID(OTHER))])
async def test_events_without_cover_and_headers_are_kept_under_the_workflow(
    open_floor: Any, correlation_id: str
) -> None:
    floor = await open_floor(**manager(domain="buy-ins"))

    await floor.deposit(*({"amount": n, "correlation_id": correlation_id} for n in (5, 7)))

    book = await floor.book("buy-ins", root_of(correlation_id).hex())
    assert [page["sequence"] for page in book["pages"]] == [0, 1]
    assert (book["edition"], book["root"]) == ("angzarr", root_of(correlation_id).hex())
    assert all(page["is_stamped"] and page["committed"] for page in book["pages"])
    states = [call["state"]["pages"] for call in floor.given("pm")]
    assert states == [[], [0]]


@pytest.mark.spec("COMPAT-9", "PM-2")
async def test_two_workflows_never_share_a_root(open_floor: Any) -> None:
    floor = await open_floor(**manager())

    await floor.deposit(*TWO_WORKFLOWS)

    roots = [root_of(name).hex() for name in ("a", "b")]
    books = [await floor.book("buy-in", root) for root in roots]
    assert roots[0] != roots[1]
    assert [len(book["pages"]) for book in books] == [1, 1]


@pytest.mark.spec("COMPAT-9", "COMPAT-8", "PM-2")
@pytest.mark.parametrize("style", ["pm", "pm-class"])
async def test_a_workflow_is_on_the_edition_of_its_trigger(open_floor: Any, style: str) -> None:
    floor = await open_floor(**manager(style))

    await floor.deposit({"amount": 5, "edition": "what-if"})

    root = root_of("c-1").hex()
    assert len((await floor.book("buy-in", root, "what-if"))["pages"]) == 1
    assert (await floor.book("buy-in", root))["pages"] == []
    assert await floor.stacks(edition="what-if") == [5]
    assert await floor.stacks() == []
    covers = [b.cover for b in await floor.committed() if b.cover.domain in ("table", "buy-in")]
    assert {(c.edition.name, c.correlation_id) for c in covers} == {("what-if", "c-1")}


@pytest.mark.spec("COMPAT-6", "PM-3", "PM-4")
async def test_a_process_manager_is_told_the_end_of_what_it_prepared(open_floor: Any) -> None:
    """Its state is rebuilt from what it recorded; Prepare names the table."""
    floor = await open_floor(**manager("pm-class"))

    await floor.deposit(5, 7)

    assert floor.given("pm-class") == [{"before": 0, "table": 0}, {"before": 5, "table": 1}]
    assert await floor.stacks() == [5, 12]


@pytest.mark.spec("COMPAT-7", "COMPAT-6", "PM-9")
async def test_a_process_managers_stamp_for_another_root_is_that_roots_own(
    open_floor: Any,
) -> None:
    """Without Prepare the map describes the table with the workflow's root."""
    floor = await open_floor(**manager())

    await floor.deposit(*TWO_WORKFLOWS)

    assert [call["sequences"] for call in floor.given("pm")] == [{"table": 0}, {"table": 0}]
    assert await floor.stacks() == [5, 12]


@pytest.mark.spec("COMPAT-11", "PM-1")
async def test_a_process_manager_gets_a_book_a_commit_that_has_a_correlation_id(
    open_floor: Any,
) -> None:
    floor = await open_floor(**manager())

    await floor.deposit({"amount": 5, "correlation_id": ""}, 7, 9)

    triggers = [call["trigger"] for call in floor.given("pm")]
    assert [(trigger["pages"], trigger["correlation_id"]) for trigger in triggers] == [
        ([2], "c-1"),
        ([3], "c-1"),
    ]


# Projectors


@pytest.mark.spec("COMPAT-14", "PROJ-10", "SYNC-1")
async def test_a_projection_without_cover_and_sequence_gets_them(open_floor: Any) -> None:
    floor = await open_floor(**projector())

    [answer] = await floor.deposit({"amount": 5, "sync_mode": SIMPLE})

    assert answer["projections"] == [
        {"projector": "stacks", "sequence": 1, "domain": "player", "root": ROOT, "count": 1}
    ]


@pytest.mark.spec("COMPAT-14", "PROJ-12")
async def test_speculation_that_it_lacks_is_named_and_nothing_is_handled(open_floor: Any) -> None:
    floor = await open_floor(**projector())

    found = await floor.coordinator.call("speculate_projector")

    assert found["code"] == "UNIMPLEMENTED"
    assert "stacks" in found["text"]
    assert floor.given("projector") == []


@pytest.mark.spec("COMPAT-11", "PROJ-2", "PROJ-3")
async def test_a_projector_gets_each_page_once(open_floor: Any) -> None:
    floor = await open_floor(**projector())

    await floor.deposit(5, {"amount": 7, "sync_mode": SIMPLE}, 9)

    pages = [page for call in floor.given("projector") for page in call["pages"]]
    assert pages == [0, 1, 2, 3]
