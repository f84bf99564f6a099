"""Old events lifted to current types."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest
from google.protobuf.any_pb2 import Any
from google.protobuf.duration_pb2 import Duration

from angzarr import Upcaster, codec, command, upcasts, wire
from angzarr.errors import CorruptData, HandlerFailed, InvalidInput
from angzarr.handlers import LocalUpcaster
from angzarr.handlers.upcaster import CHAIN_STEPS_MAX
from angzarr.ports.components import CallContext


@dataclass(frozen=True)
class First:
    euros: int


@dataclass(frozen=True)
class Second:
    cents: int


@dataclass(frozen=True)
class Third:
    cents: int
    currency: str


@dataclass(frozen=True)
class Round:
    left: int


@dataclass(frozen=True)
class Trip:
    left: int


class History(Upcaster, domain="account"):
    @upcasts
    def in_cents(self, old: First) -> Second:
        if old.euros < 0:
            raise ZeroDivisionError("negative")
        return Second(old.euros * 100)

    @upcasts
    def with_currency(self, old: Second) -> Third:
        return Third(old.cents, "EUR")

    @upcasts
    def to_trip(self, old: Round) -> Trip | Third:
        return Trip(old.left - 1) if old.left else Third(0, "")

    @upcasts
    def to_round(self, old: Trip) -> Round | Third:
        return Round(old.left - 1) if old.left else Third(0, "")


def page(event: object, sequence: int = 0) -> wire.EventPage:
    made = wire.EventPage(event=codec.pack(event, "account"), committed=True)
    made.header.sequence = sequence
    return made


async def lifted(*pages: wire.EventPage) -> list[wire.EventPage]:
    request = wire.UpcastRequest(domain="account", events=pages).SerializeToString()
    answer = await LocalUpcaster(History).upcast(request, CallContext())
    return list(wire.UpcastResponse.FromString(answer).events)


@pytest.mark.spec("UPC-5")
async def test_a_result_goes_to_the_next_method_until_there_is_none():
    (found,) = await lifted(page(First(3)))

    assert codec.unpack(found.event, Third, "account") == Third(300, "EUR")


@pytest.mark.spec("UPC-5")
async def test_unknown_types_pass_through():
    stranger = page(Duration(seconds=1))

    assert await lifted(stranger) == [stranger]


@pytest.mark.spec("UPC-5", "WIRE-6")
async def test_types_are_matched_by_full_name():
    old = page(First(3))
    old.event.type_url = "elsewhere.example/account.First"

    (found,) = await lifted(old)

    assert codec.full_name(found.event.type_url) == "account.Third"


@pytest.mark.spec("UPC-4")
async def test_as_many_pages_come_back_with_all_but_the_payload_untouched():
    pages = [page(Second(1), 4), page(Duration(), 5), page(First(1), 6)]
    pages[0].created_at.seconds = 9
    pages[2].committed, pages[2].cascade_id = False, "c"

    found = await lifted(*pages)

    for one in (*pages, *found):
        one.ClearField("event")
    assert found == pages


@pytest.mark.spec("UPC-5")
async def test_a_chain_of_the_greatest_length_is_walked():
    (found,) = await lifted(page(Round(CHAIN_STEPS_MAX - 1)))

    assert codec.full_name(found.event.type_url) == "account.Third"


@pytest.mark.spec("UPC-5")
async def test_a_longer_chain_is_an_error_that_names_the_types():
    with pytest.raises(HandlerFailed, match=r"account\.Round → account\.Trip"):
        await lifted(page(Round(CHAIN_STEPS_MAX)))


async def test_a_page_that_does_not_parse_is_corrupt():
    with pytest.raises(CorruptData, match="page 0 of account"):
        await lifted(wire.EventPage(event=Any(type_url="account.First", value=b"{")))


async def test_an_exception_is_the_cause():
    with pytest.raises(HandlerFailed, match=r"upcasting account\.First") as caught:
        await lifted(page(First(-1)))

    assert isinstance(caught.value.__cause__, ZeroDivisionError)


async def test_a_request_that_does_not_parse_is_invalid_input():
    with pytest.raises(InvalidInput):
        await LocalUpcaster(History).upcast(b"\xff", CallContext())


def no_domain():
    class Broken(Upcaster): ...


def itself():
    class Broken(Upcaster, domain="account"):
        @upcasts
        def same(self, old: First) -> First: ...


def nothing():
    class Broken(Upcaster, domain="account"):
        @upcasts
        def gone(self, old: First) -> None: ...


def twice():
    class Broken(Upcaster, domain="account"):
        @upcasts
        def one(self, old: First) -> Second: ...
        @upcasts
        def two(self, old: First) -> Third: ...


def a_command():
    class Broken(Upcaster, domain="account"):
        @command
        def one(self, old: First) -> Second: ...


@pytest.mark.parametrize(
    ("mistake", "told"),
    [
        (no_domain, "Broken needs a domain"),
        (itself, r"Broken\.same turns account\.First into itself"),
        (nothing, r"Broken\.gone must return an event"),
        (twice, r"Broken\.two and one both handle account\.First"),
        (a_command, r"Broken\.one: @command methods don't belong in an Upcaster"),
    ],
)
def test_a_mistake_is_told_when_the_class_is_made(mistake: Callable[[], None], told: str):
    with pytest.raises(TypeError, match=told):
        mistake()
