"""What must be true of the bank when nothing is on its way any more: checked against the log.

`problems` finds what is wrong as sentences, so that a test that fails tells all of it at once.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

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
    is_noted_late,
    ledger_of,
)

from angzarr.cover import root_of

Stream = tuple[str, bytes]
Row = tuple[object, ...]


@dataclass(frozen=True, slots=True)
class Happened:
    """An event of the log."""

    domain: str
    root: bytes
    sequence: int
    event: object


@dataclass(frozen=True, slots=True)
class WantedAccount:
    """An account that clients have opened."""

    name: str
    cents: int
    takes: str = ALL
    is_audited: bool = True


@dataclass(slots=True)
class WantedTransfer:
    """A transfer that clients have asked for. is_answered: it was told to have happened."""

    number: int
    source: str
    to: str
    cents: int
    is_answered: bool = False


@dataclass(frozen=True, slots=True)
class ReadModel:
    """Rows of the two projectors. lines and balances are the statement's."""

    lines: Sequence[Row] = ()
    balances: Sequence[Row] = ()
    feed: Sequence[Row] = ()


@dataclass(frozen=True, slots=True)
class Found:
    """What the processes have left.

    log: in its order. read: the read models, replayed: the same made of the log in one go.
    letters: component, domain, root and sequence of the events in dead letters. duties: ids of
    open obligations.
    """

    log: Sequence[Happened]
    read: ReadModel = ReadModel()
    replayed: ReadModel = ReadModel()
    letters: Sequence[Row] = ()
    duties: Sequence[str] = ()


@dataclass(slots=True)
class Wanted:
    """All that clients have asked for, of one store."""

    accounts: dict[str, WantedAccount] = field(default_factory=dict[str, WantedAccount])
    transfers: dict[int, WantedTransfer] = field(default_factory=dict[int, WantedTransfer])


def problems(found: Found, wanted: Wanted) -> list[str]:
    """What is wrong; empty if all is well."""
    history = _History(found.log, wanted)
    return [
        *(f"{other} is no event of the bank" for other in history.others),
        *_sequences(found.log),
        *_accounts(history, wanted),
        *_transfers(history, wanted),
        *_ledgers(history),
        *_watches(history),
        *_letters(found, wanted),
        *_read_models(found.read, found.replayed),
        *(f"an obligation is open: {duty}" for duty in found.duties),
    ]


class _History:
    """Events by what they are about."""

    def __init__(self, log: Iterable[Happened], wanted: Wanted) -> None:
        self.names = {root_of(name): name for name in wanted.accounts}
        self.by_transfer: dict[int, list[Happened]] = defaultdict(list)
        self.openings: dict[str, list[Opened]] = defaultdict(list)
        self.audits: dict[bytes, list[Audited]] = defaultdict(list)
        self.balances: Counter[str] = Counter()
        self.lowest: Counter[str] = Counter()
        self.others: list[Happened] = []
        for happened in log:
            self._add(happened)

    def of(self, transfer: int, *kinds: type) -> list[Happened]:
        """Events of a transfer, in the log's order."""
        return [one for one in self.by_transfer.get(transfer, ()) if isinstance(one.event, kinds)]

    def sent(self) -> list[int]:
        """Numbers of the transfers that have begun."""
        return [number for number in self.by_transfer if self.of(number, Sent)]

    def _add(self, happened: Happened) -> None:
        name = self.names.get(happened.root, happened.root.hex())
        match happened.event:
            case Opened(cents) as event:
                self.openings[name].append(event)
                self.balances[name] += cents
            case Audited() as event:
                self.audits[happened.root].append(event)
            case Sent(number, _, cents):
                self.by_transfer[number].append(happened)
                self.balances[name] -= cents
                self.lowest[name] = min(self.lowest[name], self.balances[name])
            case Received(number, cents) | Returned(number, cents, _):
                self.by_transfer[number].append(happened)
                self.balances[name] += cents
            case Booked() | Noted() | Begun() | Ended() | Nagged() | Closed() as event:
                self.by_transfer[event.transfer].append(happened)
            case _:
                self.others.append(happened)


def _sequences(log: Iterable[Happened]) -> Iterator[str]:
    """Each stream is in the log in its order, each event once."""
    ends: Counter[Stream] = Counter()
    for happened in log:
        stream = happened.domain, happened.root
        if happened.sequence != ends[stream]:
            yield f"{happened} comes where {ends[stream]} is next"
        ends[stream] = happened.sequence + 1


def _accounts(history: _History, wanted: Wanted) -> Iterator[str]:
    """Each account is opened once, as asked, and no money is made or lost."""
    for account in wanted.accounts.values():
        asked = Opened(account.cents, account.takes, account.is_audited)
        if history.openings[account.name] != [asked]:
            yield f"{account} is opened as {history.openings[account.name]}"
        audits = history.audits[root_of(account.name)]
        if audits != [Audited(account.cents)] * account.is_audited:
            yield f"{account} is audited as {audits}"
        if history.lowest[account.name] < 0:
            yield f"{account} was at {history.lowest[account.name]} cents"
    given = sum(account.cents for account in wanted.accounts.values())
    held = sum(history.balances.values())
    if held != given:
        yield f"{given} cents were paid in, {held} are there"


def _transfers(history: _History, wanted: Wanted) -> Iterator[str]:
    """Each transfer is done or compensated, once, in full, and where it belongs."""
    for number in history.by_transfer.keys() - wanted.transfers.keys():
        yield f"nobody asked for transfer {number}: {history.by_transfer[number]}"
    for number, asked in wanted.transfers.items():
        sent = history.of(number, Sent)
        event = Sent(number, asked.to, asked.cents)
        if [(one.root, one.event) for one in sent] != [(root_of(asked.source), event)]:
            if asked.is_answered or sent or history.of(number, object):
                yield f"{asked} is sent as {sent}"
            continue
        ends = history.of(number, Received, Returned)
        if len(ends) != 1:
            yield f"{asked} ends as {ends or 'nothing'}"
            continue
        yield from _end(asked, ends[0], wanted.accounts)


def _end(
    asked: WantedTransfer, end: Happened, accounts: Mapping[str, WantedAccount]
) -> Iterator[str]:
    takes = accounts[asked.to].takes if asked.to in accounts else NONE
    by = "account" if asked.number % 2 else "saga"
    returned = root_of(asked.source), Returned(asked.number, asked.cents, by)
    received = root_of(asked.to), Received(asked.number, asked.cents)
    right = {ALL: [received], NONE: [returned], SOME: [received, returned]}[takes]
    if (end.root, end.event) not in right:
        yield f"{asked} ends as {end}"


def _ledgers(history: _History) -> Iterator[str]:
    """Each transfer is booked once, and noted once for each reason."""
    for number in history.sent():
        noted = history.of(number, Booked, Noted)
        if any(one.root != root_of(ledger_of(number)) for one in noted):
            yield f"transfer {number} is noted elsewhere: {noted}"
        words = Counter(
            one.event.word if isinstance(one.event, Noted) else "booked" for one in noted
        )
        right = {"booked": 1, "closed": 1} | ({"late": 1} if is_noted_late(number) else {})
        if words != right:
            yield f"transfer {number} is noted as {dict(words)}, not as {right}"


def _watches(history: _History) -> Iterator[str]:
    """Each transfer's watch has begun, ended as the transfer did, and is closed, each once."""
    for number in history.sent():
        watched = history.of(number, Begun, Ended, Nagged, Closed)
        if any(one.root != root_of(correlation_of(number)) for one in watched):
            yield f"transfer {number} is watched elsewhere: {watched}"
        events = [one.event for one in watched]
        outcomes = [type(one.event).__name__ for one in history.of(number, Received, Returned)]
        right = [Begun(number), *(Ended(number, o.lower()) for o in outcomes), Closed(number)]
        without_nag = [event for event in events if event != Nagged(number)]
        if sorted(map(repr, without_nag)) != sorted(map(repr, right)):
            yield f"transfer {number} is watched as {events}, not as {right}"
        elif events[-1] != Closed(number):
            yield f"transfer {number} is closed too early: {events}"
        nags = [index for index, event in enumerate(events) if event == Nagged(number)]
        ends = [index for index, event in enumerate(events) if isinstance(event, Ended)]
        if len(nags) > 1 or (nags and ends and nags[0] > ends[0]):
            yield f"transfer {number} is nagged wrongly: {events}"


def _letters(found: Found, wanted: Wanted) -> Iterator[str]:
    """The one dead letter that is due is there, maybe more than once, and no other."""
    due = {
        ("saga:audit", "account", root_of(account.name), 0)
        for account in wanted.accounts.values()
        if not account.is_audited
    }
    for letter in set(found.letters) - due:
        yield f"a dead letter of {letter} is not due"
    for letter in due - set(found.letters):
        yield f"the dead letter of {letter} is lost"


def _read_models(read: ReadModel, replayed: ReadModel) -> Iterator[str]:
    for table in ReadModel.__slots__:
        found, right = Counter(getattr(read, table)), Counter(getattr(replayed, table))
        if found != right:
            more, less = found - right, right - found
            yield f"{table} has {dict(more)} too much, and {dict(less)} is missing"


def correlation_of(transfer: int) -> str:
    """The correlation id of a transfer."""
    return f"transfer-{transfer}"
