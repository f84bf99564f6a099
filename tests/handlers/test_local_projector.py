"""A projector class run on encoded books."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

import pytest
from bank import Deposited, Noted
from google.protobuf.any_pb2 import Any

from angzarr import CommandRejected, Projector, Sqlite, Trigger, codec, projects, wire
from angzarr.cover import root_of
from angzarr.errors import CorruptData, HandlerFailed, InvalidInput, RemoteError
from angzarr.handlers import LocalProjector
from angzarr.ports.components import CallContext

ROOT = root_of("alice")
ROWS = Sqlite("rows.sqlite")
CONTEXT = CallContext()


@dataclass(frozen=True)
class Total:
    amount: int


def book(*events: object, domain: str = "account", first: int = 0) -> wire.EventBook:
    """A book of the account with a page an event; an Any is a page as it is."""
    made = wire.EventBook()
    made.cover.domain, made.cover.root.value = domain, ROOT
    made.cover.correlation_id, made.cover.edition.name = "corr-1", "angzarr"
    for sequence, event in enumerate(events, first):
        page = made.pages.add(committed=True)
        page.header.sequence = sequence
        page.created_at.FromDatetime(datetime(2026, 1, 1, tzinfo=UTC))
        page.event.CopyFrom(event if isinstance(event, Any) else codec.pack(event, domain))
    return made


def answer(packed: Any | None) -> object:
    assert packed is not None
    assert packed.type_url == "json.angzarr.io/totals.Total"
    return codec.unpack(packed, Total, "totals")


@pytest.mark.spec("PROJ-2")
async def test_each_event_goes_to_the_method_of_its_type_in_order() -> None:
    seen: list[object] = []

    class Totals(Projector, source="account"):
        @projects
        def deposited(self, event: Deposited) -> None:
            seen.append(event)

        @projects
        async def noted(self, event: Noted) -> None:
            seen.append(event)

    events = [Noted("a"), Deposited(1), Deposited(2), Noted("b")]
    await LocalProjector(Totals).apply(book(*events), None)

    assert seen == events


async def test_a_method_takes_what_it_asks_for() -> None:
    seen: list[tuple[object, ...]] = []

    class Totals(Projector, source="account", read_store=ROWS):
        @projects
        def deposited(self, event: Deposited, db: object) -> None:
            seen.append((event, db))

        @projects
        def noted(self, event: Noted, db: object, at: Trigger) -> None:
            seen.append((event, at, db))

        @projects
        def totalled(self, event: Total, at: Trigger, db: object) -> None:
            seen.append((event, at, db))

    await LocalProjector(Totals).apply(book(Deposited(1), Noted("a"), Total(7), first=5), "db")

    def at(sequence: int) -> Trigger:
        return Trigger(
            "account",
            ROOT,
            correlation_id="corr-1",
            sequence=sequence,
            created_at=datetime(2026, 1, 1, tzinfo=UTC),
        )

    assert seen == [
        (Deposited(1), "db"),
        (Noted("a"), at(6), "db"),
        (Total(7), at(7), "db"),
    ]


@pytest.mark.spec("PROJ-13")
async def test_no_ops_and_unknown_types_are_skipped() -> None:
    seen: list[object] = []

    class Totals(Projector, source="account"):
        @projects
        def deposited(self, event: Deposited) -> None:
            seen.append(event)

    no_op = Any(type_url="type.angzarr.io/angzarr.NoOp", value=b"\x08\x01")
    unknown = Any(type_url="type.googleapis.com/bank.Unknown", value=b"\xff")
    await LocalProjector(Totals).apply(book(no_op, Deposited(1), unknown), None)

    assert seen == [Deposited(1)]


@pytest.mark.spec("WIRE-6")
async def test_the_prefix_of_a_type_is_not_compared() -> None:
    seen: list[object] = []

    class Totals(Projector, source="account"):
        @projects
        def deposited(self, event: Deposited) -> None:
            seen.append(event)

    foreign = Any(type_url="type.example.org/account.Deposited", value=b'{"amount": 3}')
    await LocalProjector(Totals).apply(book(foreign), None)

    assert seen == [Deposited(3)]


@pytest.mark.spec("PROJ-10")
async def test_the_last_value_of_a_book_is_its_projection() -> None:
    class Totals(Projector, source="account"):
        @projects
        def deposited(self, event: Deposited) -> Total:
            return Total(event.amount)

        @projects
        def noted(self, event: Noted) -> Total | None: ...

    packed = await LocalProjector(Totals).apply(book(Deposited(1), Deposited(2), Noted("")), None)

    assert answer(packed) == Total(2)


@pytest.mark.spec("PROJ-10")
async def test_handle_answers_with_a_projection() -> None:
    class Totals(Projector, source="account"):
        @projects
        async def deposited(self, event: Deposited) -> Total:
            return Total(event.amount)

    data = await LocalProjector(Totals).handle(book(Deposited(4)).SerializeToString(), CONTEXT)

    projection = wire.Projection.FromString(data)
    assert answer(projection.projection) == Total(4)
    assert not projection.HasField("cover")


async def test_without_values_the_projection_is_empty() -> None:
    class Totals(Projector, source="account"):
        @projects
        def deposited(self, event: Deposited) -> None: ...

    data = await LocalProjector(Totals).handle(book(Deposited(4)).SerializeToString(), CONTEXT)

    assert data == b""


@pytest.mark.spec("PROJ-12")
async def test_speculation_needs_something_to_undo_it() -> None:
    class Totals(Projector, source="account"):
        @projects
        def deposited(self, event: Deposited) -> None:
            raise AssertionError("Handle is never called in its place")

    with pytest.raises(RemoteError) as caught:
        await LocalProjector(Totals).handle_speculative(
            book(Deposited(1)).SerializeToString(), CONTEXT
        )

    assert caught.value.code == "UNIMPLEMENTED"


def failing(error: Exception) -> type[Projector]:
    class Totals(Projector, source="account"):
        @projects
        def deposited(self, event: Deposited) -> Total:
            raise error

    return Totals


async def test_an_exception_of_a_method_names_method_and_page() -> None:
    with pytest.raises(
        HandlerFailed,
        match=rf"^projector:totals failed: Totals.deposited at page 4 of account/{ROOT.hex()}: "
        r"ValueError: boom$",
    ) as caught:
        await LocalProjector(failing(ValueError("boom"))).apply(book(Deposited(1), first=4), None)

    assert isinstance(caught.value.__cause__, ValueError)


async def test_an_error_of_ours_passes_as_it_is() -> None:
    with pytest.raises(CommandRejected, match="no"):
        await LocalProjector(failing(CommandRejected("no"))).apply(book(Deposited(1)), None)


async def test_a_page_that_does_not_parse_is_corrupt() -> None:
    broken = Any(type_url="json.angzarr.io/account.Deposited", value=b"{")

    with pytest.raises(CorruptData, match=rf"page 0 of account/{ROOT.hex()}"):
        await LocalProjector(failing(ValueError())).apply(book(broken), None)


async def test_a_payload_that_is_elsewhere_is_told() -> None:
    given = book(Deposited(1))
    given.pages[0].ClearField("event")
    given.pages[0].external.uri = "file:///blob"

    with pytest.raises(CorruptData, match="the payload itself"):
        await LocalProjector(failing(ValueError())).apply(given, None)


async def test_a_book_that_does_not_parse_is_wrong_input() -> None:
    with pytest.raises(InvalidInput, match="EventBook"):
        await LocalProjector(failing(ValueError())).handle(b"\xff", CONTEXT)


async def test_a_returned_value_that_can_not_travel_is_told() -> None:
    class Totals(Projector, source="account"):
        @projects
        def deposited(self, event: Deposited) -> Total:
            return object()  # type: ignore[return-value]

    with pytest.raises(HandlerFailed, match="returned no payload"):
        await LocalProjector(Totals).apply(book(Deposited(1)), None)


async def test_the_same_name_in_two_domains_is_two_types() -> None:
    seen: list[tuple[str, object]] = []

    class Totals(Projector, sources=["account", "order"]):
        @projects
        def noted(self, event: Noted, at: Trigger) -> None:
            seen.append((at.domain, event))

    local = LocalProjector(Totals)
    await local.apply(book(Noted("a"), domain="account"), None)
    await local.apply(book(Noted("b"), domain="order"), None)

    assert seen == [("account", Noted("a")), ("order", Noted("b"))]


@pytest.mark.spec("PROJ-9")
@pytest.mark.parametrize("is_async", [False, True])
async def test_reset_is_called_with_the_read_stores_db(is_async: bool) -> None:
    given: list[object] = []

    class Base(Projector, source="account", read_store=ROWS):
        @projects
        def deposited(self, event: Deposited) -> None: ...

    class Synchronous(Base, source="account", read_store=ROWS):
        def reset(self, db: object) -> None:
            given.append(db)

    class Asynchronous(Base, source="account", read_store=ROWS):
        async def reset(self, db: object) -> None:
            given.append(db)

    assert await LocalProjector(Asynchronous if is_async else Synchronous).reset("db")
    assert given == ["db"]
    assert not await LocalProjector(Base).reset("db")


@pytest.mark.spec("PROJ-9")
async def test_reset_without_a_read_store_takes_nothing() -> None:
    called: list[str] = []

    class Totals(Projector, source="account"):
        @projects
        def deposited(self, event: Deposited) -> None: ...

        def reset(self) -> None:
            called.append("reset")

    assert await LocalProjector(Totals).reset(None)
    assert called == ["reset"]


@pytest.mark.spec("PROJ-9")
async def test_a_reset_that_raises_is_told() -> None:
    class Totals(Projector, source="account"):
        @projects
        def deposited(self, event: Deposited) -> None: ...

        def reset(self) -> None:
            raise ValueError("boom")

    with pytest.raises(HandlerFailed, match="projector:totals failed: reset: ValueError: boom"):
        await LocalProjector(Totals).reset(None)


def test_it_says_what_it_is() -> None:
    class Totals(Projector, source="account", read_store=ROWS, synchronous=True, editions="*"):
        @projects
        def deposited(self, event: Deposited) -> None: ...

    local = LocalProjector(Totals)

    assert (local.name, local.is_synchronous, local.editions) == ("projector:totals", True, None)
    assert local.read_store is ROWS
    assert [item.domain for item in local.subscriptions] == ["account"]
