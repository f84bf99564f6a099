"""The table of declared editions keeps its rules, whatever is declared in whatever order."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from angzarr.cover import MAIN
from angzarr.errors import AngzarrError, EditionInUse, InvalidInput
from angzarr.ports.edition_store import EDITION_DEPTH_MAX, EditionRecord
from angzarr.stores._declared import DeclaredEditions

names = st.sampled_from([f"e{n}" for n in range(24)])
declarations = st.builds(
    EditionRecord,
    names,
    st.one_of(st.just(MAIN), names),
    created_at_ns=st.integers(0, 9),
    expires_at_ns=st.sampled_from([0, 0, 0, 10, 20, 30]),
)
changes = st.lists(st.one_of(declarations, declarations, declarations, names), max_size=60)


def chain_of(table: DeclaredEditions, name: str) -> list[str]:
    """The edition and all that it is a branch of, main left out; fails on a circle."""
    chain: list[str] = []
    while name != MAIN:
        assert name not in chain
        chain.append(name)
        name = table.parent(name)
    return chain


def expiry_of(table: DeclaredEditions, name: str) -> float:
    record = table.get(name)
    return (record.expires_at_ns if record else 0) or float("inf")


@pytest.mark.spec("EDN-20", "EDN-21", "EDN-24", "EDN-25")
@given(changes)
def test_chains_end_at_main_and_children_before_their_parents(
    made: list[EditionRecord | str],
) -> None:
    table = DeclaredEditions()
    for change in made:
        try:
            if isinstance(change, EditionRecord):
                table.put(table.judged(change, has_pages=False))
            elif table.get(change) is not None:
                table.check_unused(change)
                table.drop(change)
        except AngzarrError:
            continue

    for record in table.all():
        assert len(chain_of(table, record.name)) <= EDITION_DEPTH_MAX
        assert expiry_of(table, record.name) <= expiry_of(table, record.parent)


@pytest.mark.spec("EDN-20")
@given(changes)
def test_a_table_made_anew_of_its_records_judges_alike(made: list[EditionRecord | str]) -> None:
    table = DeclaredEditions()
    for change in made:
        if isinstance(change, EditionRecord):
            try:
                table.put(table.judged(change, has_pages=False))
            except AngzarrError:
                continue

    again = DeclaredEditions(reversed(table.all()))

    assert again.all() == table.all()
    for name in (f"e{n}" for n in range(24)):
        assert children_told(again, name) == children_told(table, name)


def children_told(table: DeclaredEditions, name: str) -> tuple[str, ...]:
    try:
        table.check_unused(name)
    except EditionInUse as error:
        return error.children
    return ()


@pytest.mark.spec("EDN-21")
def test_two_long_chains_are_not_joined() -> None:
    table = DeclaredEditions()
    for n in range(1, 10):
        for letter in "ab":
            parent = f"{letter}{n - 1}"
            record = EditionRecord(f"{letter}{n}", parent if n > 1 or letter == "b" else MAIN)
            table.put(table.judged(record, has_pages=False))

    with pytest.raises(InvalidInput) as caught:
        table.judged(EditionRecord("b0", "a9"), has_pages=False)

    assert caught.value.value == "19"
    assert table.judged(EditionRecord("b0", "a6"), has_pages=False).parent == "a6"
