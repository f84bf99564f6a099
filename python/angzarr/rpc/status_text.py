"""Typed errors from a status' kind, message and details: what `status_of` wrote, read back."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from google.protobuf.message import DecodeError

from angzarr import errors, wire
from angzarr.cover import Cover

_NOWHERE: Final = Cover("", b"")


@dataclass(frozen=True, slots=True)
class Facts:
    """What came with a failed RPC; details are raw, field, limit and value decoded."""

    code: str
    kind: str
    message: str
    details: bytes
    field: str
    limit: str
    value: str


def typed(facts: Facts) -> errors.AngzarrError | None:
    """The typed error for `facts`, or None where no class describes it."""
    maker = _MAKERS.get(facts.kind)
    return maker(facts) if maker else None


def _invalid(facts: Facts) -> errors.AngzarrError:
    return errors.InvalidInput(facts.field, facts.limit, facts.value, facts.message)


def _too_large(facts: Facts) -> errors.AngzarrError:
    if found := re.match(r"(\S+) has reached sequence", facts.message):
        return errors.SequenceExhausted(_cover_of_text(found[1]))
    if found := re.search(r"message larger than max \((\d+) vs\. (\d+)\)", facts.message):
        return errors.TooLarge("message", f"at most {found[2]} bytes", found[1], facts.message)
    if facts.field.startswith("edition."):
        return errors.QuotaExceeded(facts.field, facts.limit, facts.value, facts.message)
    return errors.TooLarge(facts.field, facts.limit, facts.value, facts.message)


def _rejected(facts: Facts) -> errors.AngzarrError:
    if found := re.match(r"Dead letters: (.*)", facts.message, re.DOTALL):
        return errors.DeadLetterRefused(found[1])
    if found := re.match(r"Dead letter (\S+) is being replayed", facts.message):
        return errors.ReplayRunning(found[1])
    return errors.CommandRejected(facts.message)


def _mismatch(facts: Facts) -> errors.AngzarrError:
    cover, actual = _book(facts.details)
    expected = 0
    if found := re.search(r"expects (\d+), aggregate at (\d+)", facts.message):
        expected, actual = int(found[1]), int(found[2])
    is_parked = facts.kind == "parked"
    is_overlap = "overlapping fields" in facts.message
    strategy = (
        "MERGE_MANUAL" if is_parked else "MERGE_COMMUTATIVE" if is_overlap else "MERGE_STRICT"
    )
    return errors.SequenceMismatch(
        cover,
        expected,
        actual,
        strategy=strategy,
        fields=("*",) if is_overlap else (),  # which ones does not travel
        is_parked=is_parked,
        book=facts.details,
    )


def _conflict(facts: Facts) -> errors.AngzarrError:
    cover, actual = _book(facts.details)
    expected = 0
    if found := re.search(r"expected (\d+), got (\d+)", facts.message):
        expected, actual = int(found[1]), int(found[2])
    elif found := re.search(r"^(\S+) is at (\d+), expected (\d+)", facts.message):
        cover, expected, actual = _cover_of_text(found[1]), int(found[3]), int(found[2])
    return errors.SequenceConflict(cover, expected, actual, facts.message, book=facts.details)


def _cascade_conflict(facts: Facts) -> errors.AngzarrError:
    detail = wire.CascadeConflictDetail()
    try:
        detail.ParseFromString(facts.details)
    except DecodeError:
        detail = wire.CascadeConflictDetail()
    return errors.CascadeConflict(_NOWHERE, detail.cascade_ids, detail.overlapping_fields)


def _cascade_decided(facts: Facts) -> errors.AngzarrError | None:
    found = re.match(
        r"Cascade (\S+) (already committed|rolled back: (.*))", facts.message, re.DOTALL
    )
    if found is None:
        return None
    outcome = "COMMIT" if found[2] == "already committed" else "ROLLBACK"
    if facts.code == "ABORTED" and outcome == "ROLLBACK":
        return errors.CascadeRolledBack(found[1], found[3])
    return errors.CascadeDecided(found[1], outcome, found[3] or "")


def _edition(facts: Facts) -> errors.AngzarrError | None:
    text = facts.message
    if found := re.match(r"divergence (\d+) of domain (\S+) exceeds next sequence (\d+)", text):
        return errors.InvalidDivergence(Cover(found[2], b""), int(found[1]), int(found[3]))
    if found := re.match(r"Edition \S+ of (\S+) diverged at (\d+), not (\d+)", text):
        return errors.DivergenceConflict(_cover_of_text(found[1]), int(found[2]), int(found[3]))
    if found := re.match(r"main timeline is protected \(domain (.*)\)", text):
        return errors.MainProtected(found[1])
    if found := re.match(r"edition (\S+) of (\S+) has pending pages of cascades \[(.*)\]", text):
        return errors.PendingPages(found[2], found[1], found[3].split(", "))
    return _declared(text)


def _declared(text: str) -> errors.AngzarrError | None:
    """What is told of a declared edition."""
    if found := re.match(r"edition (\S+) is a branch of (\S+), not of (\S+)", text):
        return errors.EditionConflict(found[1], found[2], found[3])
    if found := re.match(r"edition (\S+) expired at (\S+);", text):
        return errors.EditionExpired(found[1], _instant(found[2]))
    if found := re.match(r"edition (\S+) has branches \[(.*)\]", text):
        return errors.EditionInUse(found[1], found[2].split(", "))
    found = re.match(r"edition (\S+) has pages", text)
    return errors.EditionInUse(found[1], ()) if found else None


def _instant(text: str) -> int:
    """Nanoseconds since the epoch, to the second; 0 for a text of another form."""
    try:
        return int(datetime.fromisoformat(text).timestamp()) * 10**9
    except ValueError:
        return 0


def _not_found(facts: Facts) -> errors.AngzarrError | None:
    if found := re.match(r"No aggregate registered for domain: (.*)", facts.message):
        return errors.UnknownDomain(found[1])
    if found := re.match(r"Unknown cascade (\S+)", facts.message):
        return errors.UnknownCascade(found[1])
    if found := re.match(r"Unknown edition (\S+)", facts.message):
        return errors.UnknownEdition(found[1])
    if found := re.match(r"Unknown dead letter (.*)", facts.message):
        return errors.UnknownDeadLetter(found[1])
    return None


def _overloaded(facts: Facts) -> errors.AngzarrError | None:
    found = re.match(r"(.*) is full \((\d+)\)", facts.message)
    return errors.Overloaded(found[1], int(found[2])) if found else None


def _unavailable(facts: Facts) -> errors.AngzarrError | None:
    if found := re.fullmatch(r"Cascade (\S+) undecided", facts.message):
        return errors.CascadeUndecided(found[1])
    found = re.match(r"store (.*?) is unavailable: (.*)", facts.message, re.DOTALL)
    if found is None:
        return None
    if found[2].startswith("it is closed"):
        return errors.StoreClosed(found[1])
    return errors.StoreUnavailable(found[1], found[2])


def _corrupt(facts: Facts) -> errors.AngzarrError | None:
    found = re.match(r"corrupt data at (.*?): found (.*), wanted (.*)", facts.message, re.DOTALL)
    return errors.CorruptData(found[1], found[2], found[3]) if found else None


def _internal(facts: Facts) -> errors.AngzarrError | None:
    text = facts.message
    if found := re.match(r"Failed to (load events|persist events): (.*)", text, re.DOTALL):
        return errors.StorageFailed(found[1], found[2])
    if found := re.match(r"Upcaster failed: (.*) \(upcaster of domain (\S+)\)$", text, re.DOTALL):
        return errors.UpcasterFailed(found[2], found[1])
    if found := re.match(r"([a-z_]+:\S+) failed: (.*)", text, re.DOTALL):
        return errors.HandlerFailed(found[1], found[2])
    return None


def _reaction_failed(facts: Facts) -> errors.AngzarrError | None:
    found = re.match(r"((?:Saga|Process manager) \S+) failed: (.*)", facts.message, re.DOTALL)
    if found is None:
        return None
    cause = errors.RemoteError(facts.code, found[2])
    return errors.ReactionFailed(found[1], cause, book=facts.details)


_MAKERS: Final[dict[str, Callable[[Facts], errors.AngzarrError | None]]] = {
    "invalid_input": _invalid,
    "too_large": _too_large,
    "rejected": _rejected,
    "sequence_mismatch": _mismatch,
    "parked": _mismatch,
    "sequence_conflict": _conflict,
    "cascade_conflict": _cascade_conflict,
    "cascade_decided": _cascade_decided,
    "edition": _edition,
    "not_found": _not_found,
    "overloaded": _overloaded,
    "unavailable": _unavailable,
    "corrupt": _corrupt,
    "internal": _internal,
    "reaction_failed": _reaction_failed,
}


def _book(details: bytes) -> tuple[Cover, int]:
    """Cover and next sequence of an error's EventBook; an empty cover where there is none."""
    book = wire.EventBook()
    try:
        book.ParseFromString(details)
    except DecodeError:
        return _NOWHERE, 0
    cover = book.cover
    return (
        Cover(cover.domain, cover.root.value, cover.edition.name, cover.correlation_id),
        book.next_sequence,
    )


def _cover_of_text(text: str) -> Cover:
    """`str(cover)` read back."""
    address, _, edition = text.partition("@")
    domain, _, root = address.partition("/")
    try:
        return Cover(domain, uuid.UUID(root).bytes, edition)
    except ValueError:
        return _NOWHERE
