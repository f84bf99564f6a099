"""A request that names the one component that it is for."""

from __future__ import annotations

import pytest

from angzarr.coordinators.chosen import COMPONENT, meant, named, unnamed
from angzarr.errors import InvalidInput
from angzarr.ports.components import CallContext

ITEMS = {"saga:shipping": 1, "saga:billing": 2}
CONTEXT = CallContext(5, {"x-correlation-id": "c-1"})

pytestmark = pytest.mark.spec("DEP-12")


def test_without_a_name_all_are_meant() -> None:
    assert meant(ITEMS, CONTEXT) == [1, 2]


@pytest.mark.parametrize("given", ["saga:billing", b"saga:billing"])
def test_the_one_that_is_named_is_meant(given: str | bytes) -> None:
    assert meant(ITEMS, CallContext(None, {COMPONENT: given})) == [2]


def test_a_name_that_is_not_here_is_refused() -> None:
    with pytest.raises(InvalidInput, match=r"angzarr-component.*saga:shipping, saga:billing"):
        meant(ITEMS, named(CONTEXT, "saga:wrapping"))


def test_what_the_component_does_then_names_none() -> None:
    there = named(CONTEXT, "saga:billing")

    assert there.metadata == {"x-correlation-id": "c-1", COMPONENT: "saga:billing"}
    assert unnamed(there) == CONTEXT
    assert unnamed(CONTEXT) is CONTEXT
