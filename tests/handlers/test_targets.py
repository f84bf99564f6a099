"""Which domain an output is for."""

from __future__ import annotations

import pytest
from warehouse import (
    HOUR,
    CancelOrder,
    Order,
    OrderPaid,
    Remind,
    Ship,
    Shipment,
    Shipped,
    book,
    events,
    reacted,
    returning,
)

from angzarr import (
    Record,
    Schedule,
    Send,
)
from angzarr.errors import InvalidInput

PAID = OrderPaid("Elm St 1")


@pytest.mark.spec("SAGA-17")
@pytest.mark.parametrize(
    "output",
    [
        Send(Ship(""), domain="billing"),
        Record(Shipped(), domain="billing"),
        Schedule("t", Send(Ship(""), domain="billing"), after=HOUR),
    ],
)
async def test_an_output_for_another_domain_fails_for_good(output: object):
    with pytest.raises(
        InvalidInput,
        match=r"Returning\.on returned \w+\(\w+\) for billing, which is not among its targets: shi",
    ):
        await reacted(returning(Send(Ship("")), output), book("order", PAID))


@pytest.mark.spec("SAGA-17")
async def test_without_declared_targets_every_domain_is_allowed():
    saga = returning(Send(Ship(""), domain="billing"), targets=[])

    answer = await reacted(saga, book("order", PAID))

    assert answer.commands[0].cover.domain == "billing"


async def test_the_target_is_the_only_one_that_has_the_command():
    saga = returning(Send(Ship("")), Send(CancelOrder()), targets=[Order, Shipment, "mail"])

    answer = await reacted(saga, book("order", PAID))

    assert [sent.cover.domain for sent in answer.commands] == ["shipment", "order"]


async def test_the_target_is_the_only_one_that_applies_the_fact():
    saga = returning(Record(Shipped()), targets=[Order, Shipment])

    answer = await reacted(saga, book("order", PAID))

    assert answer.events[0].cover.domain == "shipment"


async def test_what_no_class_knows_is_for_the_only_named_target():
    saga = returning(Send(Remind()), targets=[Order, Shipment, "mail"])

    answer = await reacted(saga, book("order", PAID))

    assert answer.commands[0].cover.domain == "mail"


async def test_a_fact_may_be_recorded_that_its_class_does_not_apply():
    saga = returning(Record(Remind(), domain=Shipment), targets=[Shipment])

    answer = await reacted(saga, book("order", PAID))

    assert events(answer.events, Remind) == [Remind()]


@pytest.mark.parametrize(
    ("targets", "output", "told"),
    [
        ([], Send(Ship("")), r"returned Send\(Ship\) without a domain, and there are no declared"),
        (
            ["shipment", "mail"],
            Send(Ship("")),
            r"Send\(Ship\) without a domain: one of shipment, m",
        ),
        ([Order], Send(Ship("")), r"Send\(Ship\), which none of its targets takes: order"),
        (
            [Order, Shipment],
            Send(Ship(""), domain="order"),
            r"returned Send\(Ship\) for order, and Order has no such command",
        ),
        ([Order, Shipment], Record(Remind()), r"Record\(Remind\), which none of its targets takes"),
    ],
)
async def test_a_domain_that_cannot_be_told_fails_for_good(
    targets: list[str | type], output: object, told: str
):
    with pytest.raises(InvalidInput, match=told):
        await reacted(returning(output, targets=targets), book("order", PAID))
