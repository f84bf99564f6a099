"""What a reaction's handler put out, checked and completed before anything is sent: SAGA-7 to
SAGA-9, SAGA-11, SAGA-16 to SAGA-18, TIMER-1. No I/O.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from angzarr import wire
from angzarr.coordinators import books, provenance, validate
from angzarr.cover import COMMAND, MAIN, ROOT_BYTES, Cover, Provenance
from angzarr.errors import InvalidInput, UnknownDomain

SCHEDULE: Final = "angzarr.ScheduleTimer"
CANCEL: Final = "angzarr.CancelTimer"
FIRED: Final = "angzarr.TimerFired"
NO_MARKERS: Final = "Fact events must have ExternalDeferredSequence markers"

_TIMER_NAME = re.compile(r"[A-Za-z0-9_:.-]{1,128}")
_TIMER_NAME_LIMIT = "1-128 of A-Z a-z 0-9 _ - : ."


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """The place in the log that outputs come from, as their provenance names it (SAGA-11).

    component: `saga:shipping`, `pm:fulfilment`. cover: with the correlation id. sequence: its
    source_seq. edition: its Edition as it came, divergences included; None on main. occasion: as in
    Provenance. first_index: number of the first output (COMP-13).
    """

    component: str
    cover: Cover
    sequence: int
    edition: wire.Edition | None = None
    occasion: bytes = b""
    first_index: int = 0

    def provenance(self, index: int, kind: int = COMMAND) -> Provenance:
        """That of one output."""
        return Provenance(
            self.cover, self.sequence, self.component, index, kind, occasion=self.occasion
        )

    def divergence(self, domain: str) -> int | None:
        """Where the source's branch is to start in a domain; None without an entry."""
        if self.edition is None:
            return None
        found = (item.sequence for item in self.edition.divergences if item.domain == domain)
        return next(found, None)

    def cover_bytes(self) -> bytes:
        """The encoded Cover with all that is known of the edition."""
        message = wire.Cover.FromString(books.cover_bytes(self.cover))
        if self.edition is not None:
            message.edition.CopyFrom(self.edition)
        return message.SerializeToString(deterministic=True)


@dataclass(frozen=True, slots=True)
class Described:
    """What destination_sequences say of a domain: the next sequence of one root in it (SAGA-6)."""

    root: bytes
    sequence: int


class Stamp(enum.Enum):
    """Where a command's sequence comes from.

    KEPT: from the handler. KNOWN: from destination_sequences. ACTUAL: from the addressed stream
    when the command is sent. NONE: it has none, as deferred ones.
    """

    KEPT = enum.auto()
    KNOWN = enum.auto()
    ACTUAL = enum.auto()
    NONE = enum.auto()


@dataclass(slots=True)
class Command:
    """A command to be sent. book: its header is unset unless `stamp` is KEPT or NONE. number: the
    sequence that is KEPT or KNOWN, else 0."""

    index: int
    book: wire.CommandBook
    stamp: Stamp
    number: int

    @property
    def stream(self) -> tuple[str, bytes]:
        """Domain and root; the edition is the same for all of a reaction's commands."""
        return self.book.cover.domain, self.book.cover.root.value


@dataclass(slots=True)
class Timer:
    """A timer to be scheduled, or cancelled where `schedule` is None (TIMER-1, TIMER-3)."""

    index: int
    name: str
    schedule: wire.ScheduleTimer | None


@dataclass(slots=True)
class Fact:
    """A fact to be injected."""

    index: int
    book: wire.EventBook


@dataclass(frozen=True, slots=True)
class Outputs:
    """All outputs of one call of a handler, in their order."""

    commands: Sequence[Command | Timer] = ()
    facts: Sequence[Fact] = ()


@dataclass(frozen=True, slots=True)
class Targets:
    """Where a component may send. declared: empty leaves it open (SAGA-17). known: the domains that
    have an aggregate (SAGA-18)."""

    declared: frozenset[str]
    known: Collection[str]

    def check(self, domain: str, field: str) -> None:
        """InvalidInput for a domain outside the declared ones."""
        if self.declared and domain not in self.declared:
            allowed = ", ".join(sorted(self.declared))
            raise InvalidInput(
                field,
                f"one of the declared outputs ({allowed})",
                domain,
                f"{field}: {domain or '(none)'} is not among the declared outputs ({allowed})",
            )


def source_of(component: str, book: wire.EventBook) -> Source:
    """The source that a book of events is; its sequence is the highest of the pages.

    A fired timer's book has the sequence that scheduled it, so its name and time make an occasion
    (TIMER-4).
    """
    cover = books.cover_of(book.cover)
    occasion = b""
    if len(book.pages) == 1 and books.full_name(book.pages[0].event.type_url) == FIRED:
        fired = books.parse(wire.TimerFired, book.pages[0].event.value)
        due = f"{fired.due_at.seconds}.{fired.due_at.nanos}"
        occasion = provenance.occasion_of(b"timer", fired.name.encode(), due.encode())
    return Source(
        component=component,
        cover=cover,
        sequence=max((page.header.sequence for page in book.pages), default=0),
        edition=None if cover.edition == MAIN else book.cover.edition,
        occasion=occasion,
    )


def read(
    source: Source,
    commands: Iterable[wire.CommandBook],
    facts: Iterable[wire.EventBook],
    *,
    targets: Targets,
    described: Mapping[str, Described],
) -> Outputs:
    """The outputs in a handler's response, completed in place, numbered commands first.

    Raises InvalidInput and UnknownDomain for what must not be sent at all; then nothing of the
    reaction is.
    """
    made: list[Command | Timer] = []
    index = source.first_index
    for book in commands:
        if _is_timer(book):
            made.append(_timer(index, book, source, targets, described))
        else:
            targets.check(book.cover.domain, f"commands[{index}].cover.domain")
            made.append(_command(index, book, source, described))
        index += 1
    return Outputs(made, _facts(index, facts, source, targets))


def recorded(index: int, book: wire.CommandBook) -> Command:
    """A command that was recorded as read() left it: no destination_sequences are known by now."""
    kind = _kind(book)
    if kind == "sequence":
        return Command(index, book, Stamp.KEPT, book.pages[0].header.sequence)
    return Command(index, book, Stamp.ACTUAL if _is_stamped(book, kind) else Stamp.NONE, 0)


def complete(cover: wire.Cover, source: Source) -> None:
    """Give an output's cover the source's edition, and its correlation id where it has none
    (SAGA-16)."""
    if source.edition is None:
        cover.ClearField("edition")
    else:
        cover.edition.CopyFrom(source.edition)
    if not cover.correlation_id:
        cover.correlation_id = source.cover.correlation_id


def _command(
    index: int, book: wire.CommandBook, source: Source, described: Mapping[str, Described]
) -> Command:
    complete(book.cover, source)
    kind = _kind(book)
    if kind == "angzarr_deferred":
        for page in book.pages:
            _fill_deferred(page.header, source)
    if not _is_stamped(book, kind):
        return Command(index, book, Stamp.NONE, 0)
    at = described.get(book.cover.domain)
    is_described = at is not None and at.root == book.cover.root.value
    if kind == "sequence" and is_described:
        return Command(index, book, Stamp.KEPT, book.pages[0].header.sequence)
    for page in book.pages:
        page.ClearField("header")  # SAGA-8: another root's number, or none
    if at is not None and is_described:
        return Command(index, book, Stamp.KNOWN, at.sequence)
    return Command(index, book, Stamp.ACTUAL, 0)


def _kind(book: wire.CommandBook) -> str | None:
    return book.pages[0].header.WhichOneof("sequence_type") if book.pages else None


def _is_stamped(book: wire.CommandBook, kind: str | None) -> bool:
    """Whether the command gets a sequence at all; what no stream can take is left as it is."""
    if kind in ("angzarr_deferred", "external_deferred") or not book.pages:
        return False
    return len(book.cover.root.value) == ROOT_BYTES and book.cover.domain != validate.SYSTEM


def _fill_deferred(header: wire.PageHeader, source: Source) -> None:
    """Name the source in a deferred header that names none (SAGA-9)."""
    if not header.HasField("angzarr_deferred"):
        return
    deferred = header.angzarr_deferred
    if deferred.source.domain:
        return
    deferred.source.ParseFromString(source.cover_bytes())
    deferred.source_seq = deferred.source_seq or source.sequence


def _is_timer(book: wire.CommandBook) -> bool:
    return book.cover.domain == validate.SYSTEM and any(
        books.full_name(page.command.type_url) in (SCHEDULE, CANCEL) for page in book.pages
    )


def _timer(
    index: int,
    book: wire.CommandBook,
    source: Source,
    targets: Targets,
    described: Mapping[str, Described],
) -> Timer:
    field = f"commands[{index}]"
    if len(book.pages) != 1:
        raise InvalidInput(f"{field}.pages", "1 for a timer", len(book.pages))
    payload = book.pages[0].command
    if books.full_name(payload.type_url) == CANCEL:
        name = books.parse(wire.CancelTimer, payload.value).name
        _check_timer_name(name, field)
        return Timer(index, name, None)
    schedule = books.parse(wire.ScheduleTimer, payload.value)
    _check_timer_name(schedule.name, field)
    if not schedule.HasField("due_at"):
        raise InvalidInput(f"{field}.due_at", "set", "none")
    validate.time_ns(schedule.due_at, f"{field}.due_at")
    if schedule.HasField("command"):
        domain = schedule.command.cover.domain
        targets.check(domain, f"{field}.command.cover.domain")
        if _is_timer(schedule.command):
            raise InvalidInput(f"{field}.command", "no timer itself", domain)
        _command(index, schedule.command, source, described)
    return Timer(index, schedule.name, schedule)


def _check_timer_name(name: str, field: str) -> None:
    if not _TIMER_NAME.fullmatch(name):
        raise InvalidInput(f"{field}.name", _TIMER_NAME_LIMIT, name)


def _facts(
    first: int, facts: Iterable[wire.EventBook], source: Source, targets: Targets
) -> list[Fact]:
    made: list[Fact] = []
    for index, book in enumerate(facts, first):
        field = f"facts[{index - first}]"
        if not book.HasField("cover"):
            raise InvalidInput(f"{field}.cover", "present", "none", "EventBook must have a cover")
        complete(book.cover, source)
        domain = validate.cover(book.cover).domain
        targets.check(domain, f"{field}.cover.domain")
        if domain not in targets.known:
            raise UnknownDomain(domain, f"Target aggregate not found: {domain}")
        _mark(book, source, field)
        made.append(Fact(index, book))
    return made


def _mark(book: wire.EventBook, source: Source, field: str) -> None:
    """Check a fact's markers, and see that a repeat of it is known (FACT-1, FACT-3, FACT-5)."""
    kinds = [page.header.WhichOneof("sequence_type") for page in book.pages]
    if "external_deferred" not in kinds and "angzarr_deferred" not in kinds:
        raise InvalidInput(f"{field}.pages.header", "deferred on one page", "none", NO_MARKERS)
    for page in book.pages:
        _fill_deferred(page.header, source)
    first = book.pages[0].header
    if "angzarr_deferred" not in kinds and not first.external_deferred.external_id:
        # Without an id of its own it would be recorded again whenever the reaction runs again.
        first.angzarr_deferred.SetInParent()
        _fill_deferred(first, source)
