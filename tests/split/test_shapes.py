"""One story in three shapes: collocated, fully split over processes, and with handlers of the
published client (DEP-10 to DEP-12).

Compared with the split: everything. Compared with the client's handlers: all but the last two parts
(compensation of a cascade, rejection handlers of sagas and commutative merges, which it has not;
what breaks in handlers, whose texts are its own), and query services. Rejections of its process
manager are answered by the command handler of its domain. Its projectors keep their rows, and we
their positions, in places of their own, so both are compared as what they say.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from typing import Any

import pytest

from angzarr.cover import Cover

from .shapes import COMPONENTS
from .telling import PARTS, PARTS_OF_PEERS, Told

pytestmark = [pytest.mark.timeout(600), pytest.mark.spec("DEP-10", "DEP-11", "DEP-12")]

SHAPES = ("split", "peers")
TOLD_BY = {"split": PARTS, "peers": PARTS_OF_PEERS}
IN_ORDER = ("open_shop", "trade", "inquire", "mishaps")
AT_ONCE = ("crowd", "undo")
"""Parts whose steps are taken one by one, and others."""

SERVING = 1
OURS_ALONE = {"angzarr.ReactionService"}
"""Asked by other processes of ours only, where something reacts."""


@pytest.fixture(params=SHAPES)
def shape(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def told(request: pytest.FixtureRequest, shape: str) -> Told:
    """The story in the shape that is compared."""
    return request.getfixturevalue(shape)


@pytest.fixture
def parts(shape: str) -> tuple[str, ...]:
    """What was told of it."""
    return TOLD_BY[shape]


@pytest.mark.spec("COMPAT-6", "COMPAT-7", "COMPAT-8", "COMPAT-9", "COMPAT-10", "COMPAT-11")
def test_the_log_is_the_same_page_by_page(whole: Told, told: Told, parts: tuple[str, ...]) -> None:
    """Positions, covers, sequences, types and bytes; only times differ."""
    for part in IN_ORDER:
        if part in parts:
            assert told.log(part) == whole.log(part)


@pytest.mark.spec("CAS-9", "SYNC-8")
def test_the_same_is_stored(whole: Told, told: Told, parts: tuple[str, ...]) -> None:
    """Pages of cascades and their markers, too, which consumers don't see."""
    stored, wanted = (of.seen[parts[-1]].stored for of in (told, whole))
    assert stored.keys() == wanted.keys()
    for name in wanted:
        if name.startswith("stock"):
            assert unordered(stored[name]) == unordered(wanted[name])
        else:
            assert stored[name] == wanted[name]


@pytest.mark.spec("SAGA-12", "SAGA-15", "PM-7")
def test_what_happens_at_once_leaves_the_same_streams(
    whole: Told, told: Told, parts: tuple[str, ...]
) -> None:
    """Who came first at the shelf may differ, and what is in the log first."""
    for part in AT_ONCE:
        if part in parts:
            assert streams(told.log(part)) == streams(whole.log(part))


@pytest.mark.spec("SYNC-1", "SYNC-6", "WIRE-10", "WIRE-11")
def test_every_request_is_answered_alike(
    whole: Told, told: Told, shape: str, parts: tuple[str, ...]
) -> None:
    """In every mode, errors with their code, kind, text and details."""
    assert set(told.answers) <= set(whole.answers)
    if parts == PARTS:
        assert set(told.answers) == set(whole.answers)
    for label, answer in told.answers.items():
        assert (label, answer) == (label, whole.answers[label])


@pytest.mark.spec("DLQ-2", "COMP-6")
def test_the_same_is_given_up_on(whole: Told, told: Told, parts: tuple[str, ...]) -> None:
    last = parts[-1]

    assert told.seen[last].letters == whole.seen[last].letters


@pytest.mark.spec("COMP-3", "PM-8", "TIMER-2")
def test_no_obligation_is_left(whole: Told, told: Told) -> None:
    for found in (whole, told):
        assert [seen.next_due for seen in found.seen.values()][2:] == [None] * (len(found.seen) - 2)


@pytest.mark.spec("SAGA-2", "PROJ-2", "STO-22")
def test_consumers_have_the_same_names_and_places(whole: Told, told: Told, shape: str) -> None:
    """A place in the log is the log's end for those who were there."""
    if shape == "peers":
        ends = {told.cursors.pop("saga-wrapping"), *told.cursors.values()}
        assert ends == {None, int(told.seen["crowd"].log[-1].partition(":")[0])}
    else:
        assert told.cursors == whole.cursors
        assert set(told.cursors.values()) == {int(told.seen["mishaps"].log[-1].partition(":")[0])}


@pytest.mark.spec("SYNC-3", "PROJ-3")
def test_streams_positions_of_consumers_are_the_same(
    whole: Told, told: Told, parts: tuple[str, ...]
) -> None:
    last = parts[-1]

    assert positions(told, last) == positions(whole, last)


@pytest.mark.spec("PROJ-1", "PROJ-3", "PROJ-4", "COMPAT-14")
def test_read_models_have_the_same_rows(whole: Told, told: Told, parts: tuple[str, ...]) -> None:
    for part in parts:
        assert rows(told, part) == rows(whole, part)
        assert all(rows(told, part).values())


@pytest.mark.spec("DEP-13", "WIRE-15")
def test_the_clients_address_offers_the_same(whole: Told, split: Told) -> None:
    assert split.services - OURS_ALONE == whole.services - OURS_ALONE
    names = {*COMPONENTS, *(name for name in whole.health if name.startswith("angzarr."))}
    names -= OURS_ALONE
    assert {name: split.health[name] for name in names} == dict.fromkeys(names, SERVING)
    assert {name: whole.health[name] for name in names} == dict.fromkeys(names, SERVING)


@pytest.mark.spec("DEP-7")
def test_query_services_are_answered_at_the_clients_address(whole: Told, split: Told) -> None:
    assert split.answers["Find o-1"] == ["OrderRow {item='book' status='cancelled' pages=4}"]
    assert split.answers["Find nothing"][0].startswith("NOT_FOUND: no order ")
    assert len(split.answers["List shipped"]) > 5
    for label in ("Find o-1", "Find nothing", "List shipped", "List cancelled"):
        assert split.answers[label] == whole.answers[label]


def test_the_story_has_everything_in_it(whole: Told) -> None:
    """That nothing is compared with nothing."""
    log = " ".join(whole.seen["mishaps"].log)
    stored = " ".join(page for pages in whole.seen["mishaps"].stored.values() for page in pages)
    kinds = Counter(re.findall(r"googleapis.com/shop\.(\w+)", log))
    assert kinds.keys() >= {
        *("Placed", "Confirmed", "Paid", "Cancelled", "WrapAsked", "Noted", "Filled", "Reserved"),
        *("Shipped", "TakenBack", "Income", "Waiting", "Finished", "Failed", "GaveUp"),
    }
    reasons = ("too heavy", "out of stock", "never paid", "no paper")
    assert all(f"'{reason}'" in log for reason in reasons)
    assert "edition={name='what-if'}" in log
    assert "angzarr.Confirmation" in stored
    assert "angzarr.Revocation" in stored
    letters = " ".join(whole.seen["mishaps"].letters)
    sources = {"aggregate:order", "saga:shipping", "projector:totals"}
    assert set(re.findall(r"source_component='([^']*)'", letters)) == sources
    codes = Counter(answer[0].partition(":")[0] for answer in whole.answers.values() if answer)
    assert codes.keys() >= {
        *("FAILED_PRECONDITION", "INTERNAL", "INVALID_ARGUMENT", "NOT_FOUND", "ABORTED"),
    }
    answers = " ".join(line for answer in whole.answers.values() for line in answer)
    assert "projector='totals'" in answers
    assert "component_type='saga'" in answers
    assert "component_type='projector'" in answers


def streams(log: list[str]) -> dict[str, Any]:
    """Pages by stream, in order; those of the shelves in any."""
    found: dict[str, list[str]] = defaultdict(list)
    for line in log:
        cover = re.search(r"root=\{value=(\w+)\} domain='(\w+)'", line)
        assert cover
        pages = line.partition(" pages=")[2]
        root, domain = cover.groups()
        if domain == "stock":
            pages = pages.rpartition(" next_sequence=")[0]
        found[f"{domain}/{root}"].append(pages)
    return {
        name: unordered(pages) if name.startswith("stock") else pages
        for name, pages in found.items()
    }


def unordered(pages: list[str]) -> list[str]:
    """Pages whatever their order was."""
    return sorted(re.sub(r"sequence=\d+", "", page) for page in pages)


def positions(told: Told, part: str) -> dict[str, int]:
    """By consumer and stream; those that a read store keeps, too."""
    seen = told.seen[part]
    found = {name: p for name, p in seen.positions.items() if p is not None}
    for projector, model in seen.rows.items():
        for table, *row in model:
            if table == "angzarr_position":
                domain, edition, root, sequence = row
                cover = Cover(str(domain), bytes(root), str(edition))
                found[f"projector-{projector} {cover}"] = sequence
    return found


def rows(told: Told, part: str) -> dict[str, list[tuple[object, ...]]]:
    """Of the read models, without what is ours in their files."""
    return {
        name: [row for row in model if row[0] != "angzarr_position"]
        for name, model in told.seen[part].rows.items()
    }
