"""The checker of the bank's history finds what it is there to find."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
from bank_app import (
    ALL,
    NONE,
    SOME,
    Audited,
    Begun,
    Booked,
    Closed,
    Ended,
    Nagged,
    Noted,
    Opened,
    Received,
    Returned,
    Sent,
    ledger_of,
)
from bank_history import (
    Found,
    Happened,
    ReadModel,
    Row,
    Wanted,
    WantedAccount,
    WantedTransfer,
    correlation_of,
    problems,
)

from angzarr import wire
from angzarr.cover import root_of

ALICE = WantedAccount("alice", 1_000)
BOB = WantedAccount("bob", 500, is_audited=False)
MISER = WantedAccount("miser", 100, takes=NONE)
DONE, REFUNDED, REFUSED = 3, 4, 5
"""Transfers: one that arrives and is noted late, one that the saga makes up for, one that the
account itself does."""

Event = tuple[str, str, object]
LETTER = ("saga:audit", "account", root_of("bob"), 0)


def wanted() -> Wanted:
    """Three accounts, and three transfers of alice's."""
    transfers = [
        WantedTransfer(DONE, "alice", "bob", 30, is_answered=True),
        WantedTransfer(REFUNDED, "alice", "miser", 40, is_answered=True),
        WantedTransfer(REFUSED, "alice", "miser", 50, is_answered=True),
    ]
    return Wanted(
        {account.name: account for account in (ALICE, BOB, MISER)},
        {transfer.number: transfer for transfer in transfers},
    )


def opened() -> list[Event]:
    """The accounts' openings, and what the audit makes of them."""
    events: list[Event] = []
    for account in (ALICE, BOB, MISER):
        opening = Opened(account.cents, account.takes, account.is_audited)
        events.append(("account", account.name, opening))
        if account.is_audited:
            events.append(("ledger", account.name, Audited(account.cents)))
    return events


def moved(number: int, to: str, cents: int, end: Received | Returned) -> list[Event]:
    """All events of a transfer of alice's."""
    watch, ledger = correlation_of(number), ledger_of(number)
    late: list[Event] = [("ledger", ledger, Noted(number, "late"))] if number == DONE else []
    return [
        ("account", "alice", Sent(number, to, cents)),
        ("watch", watch, Begun(number)),
        ("account", to if isinstance(end, Received) else "alice", end),
        ("ledger", ledger, Booked(number)),
        *late,
        ("watch", watch, Ended(number, type(end).__name__.lower())),
        ("watch", watch, Closed(number)),
        ("ledger", ledger, Noted(number, "closed")),
    ]


def all_well() -> list[Event]:
    """A history without a fault."""
    return [
        *opened(),
        *moved(DONE, "bob", 30, Received(DONE, 30)),
        *moved(REFUNDED, "miser", 40, Returned(REFUNDED, 40, "saga")),
        *moved(REFUSED, "miser", 50, Returned(REFUSED, 50, "account")),
    ]


def logged(events: Sequence[Event]) -> list[Happened]:
    """The log of these events."""
    ends: Counter[tuple[str, str]] = Counter()
    log: list[Happened] = []
    for domain, name, event in events:
        log.append(Happened(domain, root_of(name), ends[domain, name], event))
        ends[domain, name] += 1
    return log


def found(events: Sequence[Event]) -> Found:
    """What is there after these events, with nothing else wrong."""
    return Found(log=logged(events), letters=[LETTER, LETTER])


def wrong(events: Sequence[Event], asked: Wanted | None = None) -> str:
    """The problems of a history, in one text."""
    return "\n".join(problems(found(events), asked or wanted()))


def without(event: object) -> list[Event]:
    """The history without this event."""
    left = [item for item in all_well() if item[2] != event]
    assert len(left) == len(all_well()) - 1
    return left


def with_twice(event: object) -> list[Event]:
    """The history with this event twice."""
    return [item for one in all_well() for item in ((one, one) if one[2] == event else (one,))]


def swapped(event: object, other: object) -> list[Event]:
    """The history with another event in the place of one."""
    return [(domain, name, other if one == event else one) for domain, name, one in all_well()]


def test_a_history_without_a_fault_has_no_problems() -> None:
    assert problems(found(all_well()), wanted()) == []


def test_a_transfer_that_was_refused_for_want_of_money_leaves_nothing() -> None:
    asked = wanted()
    asked.transfers[7] = WantedTransfer(7, "alice", "bob", 10**6)

    assert problems(found(all_well()), asked) == []


@pytest.mark.parametrize("end", [Received(DONE, 30), Returned(DONE, 30, "account")])
def test_an_account_that_takes_some_money_may_say_either(end: Received | Returned) -> None:
    asked = wanted()
    asked.accounts["bob"] = replace(BOB, takes=SOME)
    others = all_well()[len(opened()) + len(moved(DONE, "bob", 30, end)) :]
    history = [*opened(), *moved(DONE, "bob", 30, end), *others]
    [at] = [index for index, item in enumerate(history) if item[2] == Opened(500, ALL, False)]
    history[at] = ("account", "bob", Opened(500, SOME, False))

    assert problems(found(history), asked) == []


def test_a_nag_before_the_end_is_no_problem() -> None:
    events = all_well()
    begun = next(index for index, item in enumerate(events) if item[2] == Begun(DONE))
    events.insert(begun + 1, ("watch", correlation_of(DONE), Nagged(DONE)))

    assert problems(found(events), wanted()) == []


LOST: list[tuple[object, str]] = [
    (Received(DONE, 30), "ends as nothing"),
    (Returned(REFUNDED, 40, "saga"), "ends as nothing"),
    (Returned(REFUSED, 50, "account"), "ends as nothing"),
    (Sent(DONE, "bob", 30), "is sent as []"),
    (Opened(500, ALL, False), "is opened as []"),
    (Audited(1_000), "is audited as []"),
    (Booked(DONE), "is noted as"),
    (Noted(DONE, "late"), "is noted as"),
    (Noted(DONE, "closed"), "is noted as"),
    (Begun(DONE), "is watched as"),
    (Ended(DONE, "received"), "is watched as"),
    (Closed(DONE), "is watched as"),
]


@pytest.mark.parametrize(("event", "problem"), LOST)
def test_what_is_lost_is_told(event: object, problem: str) -> None:
    assert problem in wrong(without(event))


@pytest.mark.parametrize("event", [event for event, _ in LOST])
def test_what_happened_twice_is_told(event: object) -> None:
    assert wrong(with_twice(event))


@pytest.mark.parametrize(
    ("event", "other"),
    [
        (Received(DONE, 30), Received(DONE, 31)),
        (Received(DONE, 30), Returned(DONE, 30, "saga")),
        (Returned(REFUNDED, 40, "saga"), Returned(REFUNDED, 40, "account")),
        (Returned(REFUNDED, 40, "saga"), Returned(REFUNDED, 39, "saga")),
        (Returned(REFUSED, 50, "account"), Returned(REFUSED, 50, "saga")),
        (Sent(DONE, "bob", 30), Sent(DONE, "bob", 29)),
        (Ended(DONE, "received"), Ended(DONE, "returned")),
        (Noted(DONE, "closed"), Noted(DONE, "late")),
        (Opened(500, ALL, False), Opened(501, ALL, False)),
    ],
)
def test_what_happened_otherwise_is_told(event: object, other: object) -> None:
    assert wrong(swapped(event, other))


def test_money_that_is_made_is_told() -> None:
    assert "1600 cents were paid in, 1630 are there" in wrong(with_twice(Received(DONE, 30)))


def test_money_that_is_lost_is_told() -> None:
    lost = without(Returned(REFUSED, 50, "account"))

    assert "1600 cents were paid in, 1550 are there" in wrong(lost)


def test_an_account_that_was_overdrawn_is_told() -> None:
    asked = wanted()
    asked.transfers[DONE] = replace(asked.transfers[DONE], cents=2_000)
    events = [
        *opened(),
        *moved(DONE, "bob", 2_000, Received(DONE, 2_000)),
        *moved(REFUNDED, "miser", 40, Returned(REFUNDED, 40, "saga")),
        *moved(REFUSED, "miser", 50, Returned(REFUSED, 50, "account")),
    ]

    assert "was at -1050 cents" in wrong(events, asked)


def test_a_transfer_that_nobody_asked_for_is_told() -> None:
    asked = wanted()
    del asked.transfers[DONE]

    assert "nobody asked for transfer 3" in wrong(all_well(), asked)


def test_an_answered_transfer_of_which_nothing_is_there_is_told() -> None:
    events = [item for item in all_well() if getattr(item[2], "transfer", None) != DONE]

    assert "is sent as []" in wrong(events)


@pytest.mark.parametrize(
    ("event", "place"),
    [
        (Received(DONE, 30), ("account", "miser")),
        (Returned(REFUSED, 50, "account"), ("account", "bob")),
        (Booked(DONE), ("ledger", ledger_of(DONE + 1))),
        (Closed(DONE), ("watch", correlation_of(REFUSED))),
        (Sent(DONE, "bob", 30), ("account", "bob")),
    ],
)
def test_what_happened_elsewhere_is_told(event: object, place: tuple[str, str]) -> None:
    events = [
        (*place, one) if one == event else (domain, name, one) for domain, name, one in all_well()
    ]

    assert wrong(events)


def test_a_nag_after_the_end_is_told() -> None:
    events = [*all_well(), ("watch", correlation_of(DONE), Nagged(DONE))]

    assert "is closed too early" in wrong(events) or "is nagged wrongly" in wrong(events)


def test_a_failed_compensation_is_told() -> None:
    events = [*all_well(), ("angzarr-saga-failures", "x", wire.SagaCompensationFailed())]

    assert "is no event of the bank" in wrong(events)


def test_a_hole_in_a_stream_is_told() -> None:
    log = [one for one in logged(all_well()) if one.event != Booked(REFUNDED)]

    assert "comes where" in "\n".join(problems(Found(log=log, letters=[LETTER]), wanted()))


def test_a_lost_dead_letter_is_told() -> None:
    told = problems(replace(found(all_well()), letters=[]), wanted())

    assert told == [f"the dead letter of {LETTER} is lost"]


def test_a_dead_letter_that_is_not_due_is_told() -> None:
    other = ("saga:transfers", "account", root_of("alice"), 1)

    told = problems(replace(found(all_well()), letters=[LETTER, other]), wanted())

    assert told == [f"a dead letter of {other} is not due"]


def test_an_open_obligation_is_told() -> None:
    told = problems(replace(found(all_well()), duties=["timer:x"]), wanted())

    assert told == ["an obligation is open: timer:x"]


LINE: Row = (root_of("alice"), 0, 1_000)


@pytest.mark.parametrize("table", ReadModel.__slots__)
@pytest.mark.parametrize(
    "spoil",
    [
        lambda rows: rows[1:],
        lambda rows: [*rows, rows[0]],
        lambda rows: [*rows[1:], (root_of("alice"), 0, 999)],
    ],
)
def test_a_read_model_unlike_a_replay_is_told(
    table: str, spoil: Callable[[list[Row]], list[Row]]
) -> None:
    rows = [LINE, (root_of("bob"), 0, 500)]
    made = replace(
        found(all_well()),
        read=ReadModel(**{table: spoil(rows)}),
        replayed=ReadModel(**{table: rows}),
    )

    [told] = problems(made, wanted())

    assert told.startswith(f"{table} has ")
