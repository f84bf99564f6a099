"""What is checked and completed before anything is sent (SAGA-7 to SAGA-9, SAGA-16 to SAGA-18,
TIMER-1).
"""

from __future__ import annotations

import pytest

from angzarr import wire
from angzarr.coordinators.outputs import (
    Command,
    Described,
    Source,
    Stamp,
    Targets,
    Timer,
    read,
    recorded,
    source_of,
)
from angzarr.cover import COMMAND, FACT, Cover, Provenance
from angzarr.errors import InvalidInput, UnknownDomain

from .reacting import OTHER, ROOT, cancel, command, cover, deferred, fact, schedule, system

DOMAINS = ("player", "table")
OPEN = Targets(frozenset(), DOMAINS)
DECLARED = Targets(frozenset({"player"}), DOMAINS)
MAP = {"player": Described(ROOT, 7), "table": Described(ROOT, 2)}
SOURCE = Source(component="saga:shipping", cover=Cover("order", ROOT, "", "c-1"), sequence=4)
BRANCH_COVER = cover("order", edition="what-if", correlation_id="c-1", divergences={"player": 3})
BRANCH = Source(
    component="saga:shipping",
    cover=Cover("order", ROOT, "what-if", "c-1"),
    sequence=4,
    edition=BRANCH_COVER.edition,
)


def one(*commands: wire.CommandBook, source: Source = SOURCE, targets: Targets = OPEN) -> Command:
    """The only output that the command makes."""
    [made] = read(source, commands, (), targets=targets, described=MAP).commands
    assert isinstance(made, Command)
    return made


def headers(made: Command) -> list[str | None]:
    return [page.header.WhichOneof("sequence_type") for page in made.book.pages]


@pytest.mark.spec("SAGA-11")
def test_the_source_is_the_books_cover_and_its_highest_sequence():
    book = wire.EventBook(cover=BRANCH_COVER)
    for sequence in (3, 4):
        book.pages.add().header.sequence = sequence

    source = source_of("saga:shipping", book)

    assert (source.cover, source.sequence) == (Cover("order", ROOT, "what-if", "c-1"), 4)
    assert source.provenance(2, FACT) == Provenance(source.cover, 4, "saga:shipping", 2, FACT)


@pytest.mark.spec("SAGA-7")
def test_a_stamp_on_the_described_root_is_kept():
    made = one(command("player", "a=1", "b=1", at=7))

    assert (made.stamp, made.number, headers(made)) == (Stamp.KEPT, 7, ["sequence"] * 2)


@pytest.mark.spec("SAGA-7")
def test_an_explicit_0_is_a_stamp():
    assert one(command("player", "a=1", at=0)).stamp is Stamp.KEPT


@pytest.mark.spec("SAGA-8", "COMPAT-7")
def test_a_stamp_on_another_root_is_taken_from_that_root():
    made = one(command("player", "a=1", at=7, root=OTHER))

    assert (made.stamp, headers(made)) == (Stamp.ACTUAL, [None])


@pytest.mark.spec("SAGA-8")
def test_a_domain_that_the_map_does_not_hold_is_another_root():
    made = one(command("shipment", "a=1", at=7))

    assert made.stamp is Stamp.ACTUAL


@pytest.mark.spec("SAGA-8", "COMPAT-7")
def test_no_header_on_the_described_root_is_the_maps_number():
    made = one(command("player", "a=1"))

    assert (made.stamp, made.number) == (Stamp.KNOWN, 7)


@pytest.mark.spec("SAGA-8", "COMPAT-7")
def test_no_header_on_another_root_is_taken_from_that_root():
    assert one(command("player", "a=1", root=OTHER)).stamp is Stamp.ACTUAL


@pytest.mark.spec("SAGA-9")
def test_a_deferred_command_has_no_stamp_and_its_source_is_filled_in():
    made = one(command("player", "a=1", header=deferred()), source=BRANCH)

    assert made.stamp is Stamp.NONE
    header = made.book.pages[0].header.angzarr_deferred
    assert (header.source, header.source_seq) == (BRANCH_COVER, 4)


@pytest.mark.spec("SAGA-9")
def test_a_deferred_commands_own_source_seq_is_kept():
    made = one(command("player", "a=1", header=deferred(source_seq=3)))

    assert made.book.pages[0].header.angzarr_deferred.source_seq == 3
    assert made.book.pages[0].header.angzarr_deferred.source.domain == "order"


@pytest.mark.spec("SAGA-9")
def test_a_deferred_commands_own_source_is_kept():
    header = deferred(cover("offer", OTHER), 0)

    made = one(command("player", "a=1", header=header))

    assert made.book.pages[0].header == header


@pytest.mark.spec("SAGA-8")
@pytest.mark.parametrize(
    "book",
    [command("player", "a=1", root=b"short"), command("player"), system(wire.CascadeCommit())],
    ids=["root", "pages", "system"],
)
def test_what_no_stream_takes_is_left_to_its_destination(book):
    assert one(book).stamp is Stamp.NONE


@pytest.mark.spec("SAGA-16", "COMPAT-8")
def test_the_sources_edition_replaces_that_of_every_output():
    books = [command("player", "a=1", edition="x"), command("table", "a=1")]
    timer = schedule("t", 1, command=command("player", "a=1", edition="x"))
    facts = [fact("player", "a=1", edition="x", divergences={"player": 9})]

    made = read(BRANCH, [*books, timer], facts, targets=OPEN, described=MAP)

    assert isinstance(made.commands[2], Timer)
    inner = made.commands[2].schedule.command
    for book in (made.commands[0].book, made.commands[1].book, inner, made.facts[0].book):
        assert book.cover.edition == BRANCH_COVER.edition


@pytest.mark.spec("SAGA-16")
def test_a_main_source_clears_the_edition():
    made = read(
        SOURCE,
        [command("player", "a=1", edition="x", divergences={"player": 1})],
        [fact("player", "a=1", edition="x")],
        targets=OPEN,
        described=MAP,
    )

    assert not made.commands[0].book.cover.HasField("edition")
    assert not made.facts[0].book.cover.HasField("edition")


@pytest.mark.spec("SAGA-16", "COMPAT-8")
def test_an_empty_correlation_id_is_filled_and_another_kept():
    books = [command("player", "a=1"), command("player", "b=1", correlation_id="own")]

    made = read(SOURCE, books, [fact("player", "a=1")], targets=OPEN, described=MAP)

    assert [item.book.cover.correlation_id for item in made.commands] == ["c-1", "own"]
    assert made.facts[0].book.cover.correlation_id == "c-1"


@pytest.mark.spec("SAGA-11", "WIRE-12")
def test_outputs_are_numbered_commands_first():
    books = [command("player", "a=1"), schedule("t", 1), command("table", "a=1")]

    made = read(SOURCE, books, [fact("player", "x=1")] * 2, targets=OPEN, described=MAP)

    assert [item.index for item in made.commands] == [0, 1, 2]
    assert [item.index for item in made.facts] == [3, 4]
    assert SOURCE.provenance(1).kind == COMMAND


@pytest.mark.spec("SAGA-17")
@pytest.mark.parametrize(
    ("commands", "facts"),
    [
        ([command("player", "a=1"), command("table", "a=1")], []),
        ([command("player", "a=1")], [fact("table", "a=1")]),
        ([schedule("t", 1, command=command("table", "a=1"))], []),
        ([wire.CommandBook()], []),
        ([system(wire.CascadeCommit(cascade_id="X"))], []),
    ],
    ids=["command", "fact", "timer", "no cover", "system"],
)
def test_a_domain_outside_the_declared_outputs_is_refused(commands, facts):
    with pytest.raises(InvalidInput, match=r"is not among the declared outputs \(player\)"):
        read(SOURCE, commands, facts, targets=DECLARED, described=MAP)


@pytest.mark.spec("SAGA-17", "TIMER-1")
def test_timers_need_no_declaration():
    made = read(SOURCE, [schedule("t", 1), cancel("t")], [], targets=DECLARED, described=MAP)

    assert [type(item) for item in made.commands] == [Timer, Timer]


@pytest.mark.spec("SAGA-17")
def test_without_declared_outputs_nothing_is_enforced():
    assert one(command("anywhere", "a=1")).stream == ("anywhere", ROOT)


@pytest.mark.spec("SAGA-18")
def test_a_fact_for_an_unknown_domain_is_told_before_anything_is_sent():
    with pytest.raises(UnknownDomain) as refused:
        read(SOURCE, [], [fact("nowhere", "a=1")], targets=OPEN, described=MAP)

    assert str(refused.value) == "Target aggregate not found: nowhere"


@pytest.mark.spec("SAGA-18", "FACT-1")
@pytest.mark.parametrize(
    ("book", "field"),
    [
        (fact("player", "a=1", external_id=None), "facts[0].pages"),
        (fact("player"), "facts[0].pages"),
        (wire.EventBook(), "facts[0].cover"),
        (fact("player", "a=1", root=b"short"), "cover.root"),
        (fact("No domain", "a=1"), "cover.domain"),
    ],
    ids=["markers", "pages", "cover", "root", "domain"],
)
def test_a_malformed_fact_is_told_before_anything_is_sent(book, field):
    with pytest.raises(InvalidInput) as refused:
        read(SOURCE, [], [book], targets=OPEN, described=MAP)

    assert refused.value.field.startswith(field)


@pytest.mark.spec("SAGA-18", "FACT-3", "FACT-5")
def test_a_fact_without_an_id_is_known_by_its_provenance():
    made = read(SOURCE, [], [fact("player", "a=1", external_id="")], targets=OPEN, described=MAP)

    header = made.facts[0].book.pages[0].header.angzarr_deferred
    assert (header.source.domain, header.source_seq) == ("order", 4)


@pytest.mark.spec("SAGA-18", "FACT-3")
def test_a_fact_with_an_id_keeps_it():
    made = read(SOURCE, [], [fact("player", "a=1")], targets=OPEN, described=MAP)

    assert made.facts[0].book.pages[0].header.external_deferred.external_id == "x"


@pytest.mark.spec("SAGA-9", "FACT-5")
def test_a_deferred_facts_source_is_filled_in():
    book = fact("player", "a=1")
    book.pages[0].header.CopyFrom(deferred())

    made = read(SOURCE, [], [book], targets=OPEN, described=MAP)

    assert made.facts[0].book.pages[0].header.angzarr_deferred.source_seq == 4


@pytest.mark.spec("TIMER-1")
@pytest.mark.parametrize("name", ["t", "A-z0_9:.-", "x" * 128])
def test_timer_names(name):
    made = read(SOURCE, [schedule(name, 5)], [], targets=OPEN, described=MAP)

    [timer] = made.commands
    assert (timer.name, timer.schedule.due_at.nanos) == (name, 5)


@pytest.mark.spec("TIMER-1", "TIMER-3")
def test_a_timers_cover_is_ignored_beyond_the_domain():
    book = cancel("t")
    book.cover.root.value = b"any"
    book.cover.edition.name = "any"

    [timer] = read(SOURCE, [book], [], targets=OPEN, described=MAP).commands

    assert timer == Timer(0, "t", None)


@pytest.mark.spec("TIMER-1")
@pytest.mark.parametrize(
    "book",
    [
        schedule("", 1),
        schedule("x" * 129, 1),
        schedule("a b", 1),
        schedule("ä", 1),
        cancel("a/b"),
        system(wire.ScheduleTimer(name="t")),
        schedule("t", 1, command=schedule("u", 1)),
        schedule(
            "t",
            1,
            command=wire.CommandBook(cover=wire.Cover(domain="_angzarr"), pages=cancel("u").pages),
        ),
    ],
    ids=["empty", "long", "space", "umlaut", "slash", "no due_at", "nested", "nested cancel"],
)
def test_a_malformed_timer_is_told(book):
    with pytest.raises(InvalidInput):
        read(SOURCE, [book], [], targets=OPEN, described=MAP)


@pytest.mark.spec("TIMER-1")
def test_a_timer_is_one_page():
    book = schedule("t", 1)
    book.pages.add().CopyFrom(book.pages[0])

    with pytest.raises(InvalidInput, match="pages"):
        read(SOURCE, [book], [], targets=OPEN, described=MAP)


@pytest.mark.spec("TIMER-1")
def test_a_due_at_that_is_no_time_is_told():
    timer = wire.ScheduleTimer(name="t")
    timer.due_at.nanos = -1

    with pytest.raises(InvalidInput, match="due_at"):
        read(SOURCE, [system(timer)], [], targets=OPEN, described=MAP)


@pytest.mark.spec("TIMER-4", "PM-6")
@pytest.mark.parametrize(
    ("book", "stamp"),
    [
        (command("player", "a=1", at=7), Stamp.KEPT),
        (command("player", "a=1", at=7, root=OTHER), Stamp.ACTUAL),
        (command("player", "a=1"), Stamp.ACTUAL),
        (command("player", "a=1", header=deferred()), Stamp.NONE),
    ],
    ids=["kept", "other root", "known", "deferred"],
)
def test_a_recorded_command_keeps_its_stamp_only_where_the_rule_keeps_it(book, stamp):
    made = one(book)

    again = recorded(0, wire.CommandBook.FromString(made.book.SerializeToString()))

    assert again.stamp is stamp
