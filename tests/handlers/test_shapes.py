"""What a state's type URL says of its class's fields (SNAP-14)."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from angzarr import Aggregate, wire
from angzarr.handlers import shapes
from angzarr.handlers.local import LocalCommandHandler
from angzarr.ports.components import CallContext


def _shape(cls: type[Aggregate]) -> str:
    return cls.table().states.shape


@pytest.mark.spec("SNAP-14")
def test_a_change_inside_a_nested_class_is_another_shape() -> None:
    @dataclass
    class Seat:
        name: str = ""

    class Before(Aggregate, domain="hand"):
        seats: list[Seat] = []

    @dataclass
    class Seat:  # noqa: F811
        name: str = ""
        chips: int = 0

    class After(Aggregate, domain="hand"):
        seats: list[Seat] = []

    assert _shape(Before) != _shape(After)


@pytest.mark.spec("SNAP-14")
def test_the_name_of_a_class_and_its_text_are_no_part_of_the_shape() -> None:
    class One(Aggregate, domain="hand"):
        """A hand."""

        chips: int = 0

    class Two(Aggregate, domain="hand"):
        """A hand of cards."""

        chips: int = 0

    assert _shape(One) == _shape(Two)


@pytest.mark.spec("SNAP-14")
async def test_the_state_says_its_shape_before_its_name() -> None:
    class Hand(Aggregate, domain="hand"):
        chips: int = 0

    answer = await LocalCommandHandler(Hand).replay(b"", CallContext())

    state = wire.ReplayResponse.FromString(answer).state
    assert state.type_url == f"json.angzarr.io/{_shape(Hand)}/hand.Hand"


@pytest.mark.spec("SNAP-14")
@pytest.mark.parametrize(
    ("changed", "is_same"),
    [
        ({"chips": (int, 0)}, True),
        ({"chips": (int, 100)}, False),
        ({"chips": (float, 0.0)}, False),
        ({"stack": (int, 0)}, False),
        ({"chips": (int, 0), "pot": (int, 0)}, False),
        ({"chips": (int, 0), "_cache": (int, 0)}, True),
    ],
)
def test_fields_make_the_shape(changed: dict[str, tuple[type, object]], is_same: bool) -> None:
    class Hand(Aggregate, domain="hand"):
        chips: int = 0

    members = {name: default for name, (_, default) in changed.items()}
    annotations = {name: kind for name, (kind, _) in changed.items()}
    other = type("Hand", (Aggregate,), {**members, "__annotations__": annotations}, domain="hand")

    assert (_shape(other) == _shape(Hand)) is is_same


@pytest.mark.spec("SNAP-14")
def test_a_messages_shape_is_that_of_its_fields() -> None:
    found = {shapes.of_message(m.DESCRIPTOR) for m in (wire.UUID, wire.Cover, wire.EventPage)}

    assert len(found) == 3
    assert shapes.of_message(wire.Cover.DESCRIPTOR) in found


@pytest.mark.spec("SNAP-14")
@pytest.mark.parametrize(
    ("url", "shape"),
    [
        ("json.angzarr.io/1f0a2b3c/hand.Hand", "1f0a2b3c"),
        ("json.angzarr.io/hand.Hand", ""),
        ("type.googleapis.com/1f0a2b3c/hand.Hand", "1f0a2b3c"),
        ("hand.Hand", ""),
    ],
)
def test_a_url_without_a_shape_has_none(url: str, shape: str) -> None:
    assert shapes.of_url(url) == shape
