"""An account in fifteen lines."""

from __future__ import annotations

import ast
import inspect

from angzarr.examples.bank import app as first
from angzarr.testing import given


def test_the_first_aggregate_has_at_most_fifteen_lines():
    """Code lines without imports and blank ones, as a reader counts them."""
    tree = ast.parse(inspect.getsource(first))
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef)]
    lines = inspect.getsource(first).splitlines()
    written = [
        line
        for node in classes
        for line in lines[node.lineno - 1 - len(node.decorator_list) : node.end_lineno]
        if line.strip()
    ]

    assert len(written) <= 15


def test_the_first_account_takes_deposits():
    given(first.Account).when(first.Deposit(500)).then(first.Deposited(500)).then_state(
        balance_cents=500
    )
