"""Input of commands: what is refused, before anything is read or written (CMD-1 to CMD-5)."""

from __future__ import annotations

import pytest

from angzarr import wire
from angzarr.coordinators import CommandOptions
from angzarr.errors import InvalidInput, UnknownDomain
from angzarr.ports.components import CallContext

CONTEXT = CallContext()


@pytest.mark.spec("CMD-1")
async def test_a_request_without_a_command_is_refused(world):
    with pytest.raises(InvalidInput, match=r"^CommandRequest must have a command$"):
        await world.commands.handle_command(b"", CONTEXT)


@pytest.mark.spec("CMD-1")
async def test_a_command_without_a_cover_is_refused(world):
    request = wire.CommandRequest(command=wire.CommandBook(pages=[wire.CommandPage()]))

    with pytest.raises(InvalidInput, match=r"^CommandBook must have a cover$"):
        await world.commands.handle_command(request.SerializeToString(), CONTEXT)


@pytest.mark.spec("CMD-1")
async def test_a_fact_request_without_events_is_refused(world):
    with pytest.raises(InvalidInput):
        await world.commands.handle_event(b"", CONTEXT)


async def test_bytes_that_are_no_message_are_refused(world):
    with pytest.raises(InvalidInput, match="CommandRequest"):
        await world.commands.handle_command(b"\xff\xff", CONTEXT)


@pytest.mark.spec("CMD-2")
@pytest.mark.parametrize(
    ("field", "change"),
    [
        ("cover.domain", {"domain": ""}),
        ("cover.domain", {"domain": "Account"}),
        ("cover.domain", {"domain": "9lives"}),
        ("cover.domain", {"domain": "a" * 65}),
        ("cover.domain", {"domain": "a.b"}),
        ("cover.domain", {"domain": "kontö"}),
        ("cover.root", {"root": b""}),
        ("cover.root", {"root": b"short"}),
        ("cover.root", {"root": bytes(17)}),
        ("cover.correlation_id", {"correlation_id": "a b"}),
        ("cover.correlation_id", {"correlation_id": "a" * 129}),
        ("cover.edition.name", {"edition": "What-if"}),
        ("cover.edition.name", {"edition": "_x"}),
        ("cover.edition.name", {"edition": "e" * 65}),
    ],
)
async def test_a_cover_outside_its_limits_is_refused_and_nothing_touched(world, field, change):
    with pytest.raises(InvalidInput) as refused:
        await world.send("a=1", **change)

    assert refused.value.field == field
    assert refused.value.limit
    assert world.trace == []


@pytest.mark.spec("CMD-2")
@pytest.mark.parametrize(
    "change",
    [
        {"correlation_id": "Az09_-" * 21 + "xy"},
        {"edition": "e" + "9_-" * 21},
        {"cascade_id": "Az09_-:."},
        {"cascade_id": ""},
    ],
)
async def test_a_cover_at_its_limits_is_accepted(world, change):
    response = await world.send("a=1", **change)

    assert len(response.events.pages) == 1


@pytest.mark.spec("CMD-2")
async def test_a_domain_of_64_bytes_is_accepted(world):
    domain = "_" + "a" * 63
    domain = domain[1:] + "z"
    world.coordinate(handlers={domain: world.Fields(domain)})

    assert (await world.send("a=1", domain=domain)).events.pages


@pytest.mark.spec("CMD-2")
@pytest.mark.parametrize("root", [b"", b"short"])
async def test_a_wrong_root_is_called_an_invalid_uuid(world, root):
    with pytest.raises(InvalidInput, match=r"^Invalid UUID: "):
        await world.send("a=1", root=root)


@pytest.mark.spec("CMD-2")
@pytest.mark.parametrize("cascade_id", ["a b", "x" * 129, "ä"])
async def test_a_cascade_id_outside_its_limits_is_refused(world, cascade_id):
    with pytest.raises(InvalidInput, match="cascade_id"):
        await world.send("a=1", cascade_id=cascade_id)


@pytest.mark.spec("CMD-2")
async def test_two_divergences_of_one_domain_are_refused(world):
    book = world.book("a=1", edition="what-if", divergence=0)
    book.cover.edition.divergences.add(domain="account", sequence=0)

    with pytest.raises(InvalidInput, match="at most one entry per domain"):
        await world.send(book=book)


@pytest.mark.spec("CMD-2")
@pytest.mark.parametrize("component", ["Saga", "saga:", "a" * 129])
async def test_a_component_name_outside_its_limits_is_refused(world, component):
    with pytest.raises(InvalidInput, match="component"):
        await world.send("a=1", metadata=world.origin(component=component))


@pytest.mark.spec("CMD-2", "CMD-3")
async def test_too_many_pages_are_refused_with_both_numbers(world):
    world.coordinate(CommandOptions(max_pages_per_book=2))

    with pytest.raises(InvalidInput) as refused:
        await world.send("a=1", "b=1", "c=1")

    assert str(refused.value) == "command book exceeds maximum pages (max: 2, got: 3)"
    assert (refused.value.field, refused.value.value) == ("pages", "3")


@pytest.mark.spec("CMD-2", "CMD-3")
async def test_a_payload_over_the_limit_is_refused_naming_its_page(world):
    world.coordinate(CommandOptions(max_payload_bytes=4))

    with pytest.raises(InvalidInput) as refused:
        await world.send("a=1", "b=123")

    assert str(refused.value) == (
        "page payload exceeds maximum size at page 1 (max: 4 bytes, got: 5 bytes)"
    )


@pytest.mark.spec("CMD-2")
async def test_the_limits_are_those_of_the_specification_unless_configured(world):
    await world.send(*["a=1"] * 100)
    await world.send("a=" + "1" * (262144 - 2), at=100)

    with pytest.raises(InvalidInput, match=r"max: 100, got: 101"):
        await world.send(*["a=1"] * 101)
    with pytest.raises(InvalidInput, match=r"max: 262144 bytes, got: 262145 bytes"):
        await world.send("a=" + "1" * (262144 - 1))


@pytest.mark.spec("CMD-3")
async def test_the_limits_hold_for_speculation_and_facts(world):
    world.coordinate(CommandOptions(max_payload_bytes=4))

    with pytest.raises(InvalidInput, match="page payload exceeds"):
        await world.speculate("b=123")
    with pytest.raises(InvalidInput, match="page payload exceeds"):
        await world.record("b=123")


@pytest.mark.spec("CMD-3")
async def test_compensation_is_exempt_from_the_payload_limit_only(world):
    world.coordinate(CommandOptions(max_payload_bytes=4, max_pages_per_book=1))

    await world.compensate(world.book("b=123"))

    with pytest.raises(InvalidInput, match="command book exceeds maximum pages"):
        await world.compensate(world.book("a=1", "b=1"))


@pytest.mark.spec("CMD-4")
async def test_a_domain_without_a_handler_is_not_found(world):
    with pytest.raises(UnknownDomain, match=r"^No aggregate registered for domain: shop$"):
        await world.send("a=1", domain="shop")


@pytest.mark.spec("CMD-5")
async def test_reserved_domains_take_no_commands(world):
    with pytest.raises(InvalidInput) as refused:
        await world.send("a=1", domain="_private")

    assert refused.value.field == "cover.domain"


@pytest.mark.spec("CMD-5")
async def test_the_system_domain_takes_only_commands(world):
    with pytest.raises(InvalidInput):
        await world.record("a=1", domain="_angzarr")
    with pytest.raises(InvalidInput):
        await world.speculate("a=1", domain="_angzarr")
    with pytest.raises(InvalidInput):
        await world.compensate(world.book("a=1", domain="_angzarr"))
