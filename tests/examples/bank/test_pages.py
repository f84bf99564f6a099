"""Amounts as people read them."""

from __future__ import annotations

import pytest

from angzarr.examples.bank.pages import euros


@pytest.mark.parametrize(
    ("cents", "text"),
    [(0, "0.00"), (5, "0.05"), (-5, "-0.05"), (123_456, "1,234.56"), (-100_000, "-1,000.00")],
)
def test_cents_become_euros(cents: int, text: str):
    assert euros(cents) == text


def test_a_plus_is_shown_where_it_is_wanted():
    assert euros(5, "+") == "+0.05"
    assert euros(-5, "+") == "-0.05"
