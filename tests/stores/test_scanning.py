"""Columns in the making."""

from __future__ import annotations

import pytest

from angzarr import wire
from angzarr.ports.columns import FieldPath, FieldSpec
from angzarr.stores._scanning import Rows, Selection
from angzarr.testing.columns import rows_of
from angzarr.testing.pages import cover_of, page, parse_page

KEY = cover_of().stream
COUNT = FieldSpec("count", "int", (FieldPath("pkg.Counted", ("n",)),))


def counted(sequence: int, value: bytes) -> wire.EventPage:
    return parse_page(page(sequence, type_url="json.angzarr.io/pkg.Counted", value=value))


@pytest.mark.spec("STO-17")
def test_commits_follow_one_another() -> None:
    rows = Rows([COUNT])

    rows.add(KEY, 5, [counted(0, b'{"n": 1}'), counted(1, b"{}")])
    rows.add(cover_of("bob").stream, 7, [counted(0, b'{"n": 3}')])

    found = [(row.position, row.root, row.fields) for row in rows_of(rows.columns(7))]
    assert found == [
        (5, KEY[2], (1,)),
        (6, KEY[2], (None,)),
        (7, cover_of("bob").root, (3,)),
    ]


@pytest.mark.spec("STO-17")
def test_rows_at_or_below_the_beginning_are_left_out_with_their_names() -> None:
    rows = Rows()

    rows.add(KEY, 1, [parse_page(page(0, type_url="t/pkg.Old")), parse_page(page(1))], 1)
    rows.add(cover_of(domain="order").stream, 3, [parse_page(page(0, type_url="t/angzarr.NoOp"))])

    columns = rows.columns(3)
    assert [row.position for row in rows_of(columns)] == [2]
    assert (columns.type_names, columns.domain_names) == (["test.Happened"], ["account"])


@pytest.mark.spec("STO-17")
def test_a_time_outside_of_64_bits_is_the_nearest_one_inside() -> None:
    rows = Rows()
    made = [wire.EventPage(), wire.EventPage()]
    made[0].created_at.seconds = 10**11
    made[1].created_at.seconds = -(10**11)

    rows.add(KEY, 1, made)

    assert [row.time_ns for row in rows_of(rows.columns(2))] == [2**63 - 1, -(2**63)]


@pytest.mark.spec("STO-17", "STO-1")
def test_a_selection_without_limits_has_all() -> None:
    assert Selection(None, None).has(KEY)
    assert Selection([""], ["account"]).has(KEY)
    assert not Selection(["x"], None).has(KEY)
    assert not Selection(None, []).has(KEY)
