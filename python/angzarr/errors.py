"""Every error that angzarr raises.

    AngzarrError
    ├── InvalidInput(field, limit, value)                  wrong input; nothing was written
    │   ├── TooLarge                                       over a size or count limit
    │   │   └── QuotaExceeded                              an edition is full
    │   └── InvalidDivergence(cover, requested, next_sequence)
    ├── CommandRejected(reason)                            the domain said no
    ├── NotPermitted(message)                              the server's configuration forbids the
    call
    ├── SequenceError(cover, expected, actual)             the stream is not where the caller
    thought
    │   ├── SequenceConflict                               seen by the store
    │   └── SequenceMismatch(strategy, fields, is_parked)  seen by the coordinator
    ├── SequenceExhausted(cover)                           2³²−1 pages are in the stream
    ├── CascadeConflict(cover, cascade_ids, fields)
    ├── CascadeDecided(cascade_id, outcome, reason)
    │   └── CascadeRolledBack                              the request's own, by somebody else
    ├── CascadeUndecided(cascade_id)                       the decision could not be recorded
    ├── DivergenceConflict(cover, pinned, requested)
    ├── EditionConflict(edition, parent, requested)        it is a branch of something else
    ├── EditionExpired(edition, expired_at_ns)              its time to live is over
    ├── EditionGone(edition, domain)                       deleted since it was looked at
    ├── EditionInUse(edition, children)                    it has branches, or pages
    ├── MainProtected(domain)
    ├── PendingPages(domain, edition, cascade_ids)         an edition that has undecided pages is
    not deleted
    ├── UnknownDomain(name), UnknownCascade(name), UnknownEdition(name), UnknownDeadLetter(name)
    ├── DeadLetterRefused(reason)                          not with this letter, or these targets
    ├── ReplayRunning(name)                                the dead letter is being replayed already
    ├── Overloaded(queue, limit)                           a bounded queue is full; try again later
    ├── StoreUnavailable(path, cause)                      failed environment
    │   ├── StoreClosed, StoreForked, StoreLocked(path, holder)
    │   └── ReadStoreUnavailable                           a projector's database can't be written
    ├── CorruptData(where, found, wanted)                  what was read is not what was written
    │   ├── PayloadCorrupt, PayloadMissing
    │   └── SnapshotUnreadable                             not a state of the class as it is now
    ├── FormatTooNew(path, found, supported)               at open only
    ├── MissingExtra(package, extra)                       at open only
    ├── StorageFailed(work, cause)                         a coordinator's read or write failed
    ├── UpcasterFailed(domain, cause)                      old events could not be lifted
    ├── HandlerFailed(component, cause)                    the user's handler raised
    ├── OrchestrationFailed(kind_of_component, cause)      a saga or process manager did not finish
    ├── ReactionFailed(component, cause, book)             what was stored led to a failed reaction
    ├── ReactionUnknown(component, cause)                  nobody knows what it did, elsewhere
    ├── ProjectorFailed(projector, cause)                  a projector failed in a caller's request
    ├── ProjectorReplaying(projector)                      it is being replayed; it answers later
    └── RemoteError(code, kind, message)                   a peer answered with an error no class
    above describes

Three kinds that never mix: rejected by the domain, wrong use, failed environment. Only the last is
retried.
`kind` is the wire's `angzarr-error-kind` (WIRE-11); the gRPC code is known to `rpc/status.py`
alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import ClassVar

from angzarr.cover import Cover

VALUE_BYTES_MAX = 256


class AngzarrError(Exception):
    """Base of all errors; `kind` is what travels as `angzarr-error-kind`."""

    kind: ClassVar[str] = "internal"


class InvalidInput(AngzarrError):
    """Input outside its limits. Nothing was written."""

    kind = "invalid_input"

    def __init__(self, field: str, limit: str, value: object, message: str | None = None) -> None:
        self.field = field
        self.limit = limit
        self.value = clip(str(value))
        super().__init__(message or f"{field} must be {limit}, got {self.value!r}")


class TooLarge(InvalidInput):
    """Over a limit of size or count. Nothing was written."""

    kind = "too_large"


class QuotaExceeded(TooLarge):
    """The edition's pages or bytes would be more than its quota. Nothing was written (EDN-23)."""

    def __init__(self, field: str, limit: str, value: object, message: str | None = None) -> None:
        super().__init__(field, limit, value, message)

    @classmethod
    def of(cls, edition: str, field: str, limit: int, value: int) -> QuotaExceeded:
        """The error for one of max_pages and max_bytes, which is `field`."""
        what = "pages" if field == "max_pages" else "bytes"
        return cls(
            f"edition.{field}",
            f"at most {limit} {what}",
            value,
            f"edition {edition} would have {value} {what}, its quota is {limit}; "
            "raise it or begin another edition",
        )


class InvalidDivergence(InvalidInput):
    """A branch cannot start after the end of main."""

    kind = "edition"

    def __init__(self, cover: Cover, requested: int, next_sequence: int) -> None:
        self.cover = cover
        self.requested = requested
        self.next_sequence = next_sequence
        super().__init__(
            "divergences.sequence",
            f"at most {next_sequence}",
            requested,
            f"divergence {requested} of domain {cover.domain} "
            f"exceeds next sequence {next_sequence}",
        )


class CommandRejected(AngzarrError):
    """The domain refused the command. Raise it in a handler to refuse one."""

    kind = "rejected"

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


class NotPermitted(AngzarrError):
    """The server's configuration, or where the caller is, forbids the call (QRY-13)."""

    kind = "rejected"


class SequenceError(AngzarrError):
    """The stream is not at the sequence that the caller expected.

    book: the current stream as an encoded EventBook, where a coordinator answers with it (WIRE-10,
    CMD-37).
    """

    def __init__(
        self,
        cover: Cover,
        expected: int,
        actual: int,
        message: str | None = None,
        *,
        book: bytes = b"",
    ) -> None:
        self.cover = cover
        self.expected = expected
        self.actual = actual
        self.book = book
        super().__init__(
            message or f"{cover} is at {actual}, expected {expected}; reload and retry"
        )


class SequenceConflict(SequenceError):
    """The stream moved since it was read. Reload and decide again."""

    kind = "sequence_conflict"


class SequenceMismatch(SequenceError):
    """The command's stamp is not the stream's next sequence and its merge strategy does not allow
    that.

    book: the current stream as an encoded EventBook, or only cover and next_sequence where it is
    large.
    strategy: name of the merge strategy. fields: the overlapping state fields, for a commutative
    merge.
    is_parked: the command was put into the dead letter queue for manual review.
    """

    kind = "sequence_mismatch"

    def __init__(
        self,
        cover: Cover,
        expected: int,
        actual: int,
        *,
        strategy: str = "MERGE_STRICT",
        fields: Sequence[str] = (),
        is_parked: bool = False,
        book: bytes = b"",
    ) -> None:
        self.strategy = strategy
        self.fields = tuple(fields)
        self.is_parked = is_parked
        overlap = " with overlapping fields" if self.fields else ""
        parked = ". Sent to DLQ for manual review." if is_parked else ""
        super().__init__(
            cover,
            expected,
            actual,
            f"Sequence mismatch{overlap}: "
            f"command expects {expected}, aggregate at {actual}{parked}",
            book=book,
        )


class SequenceExhausted(AngzarrError):
    """The stream holds its last page, 2³²−1."""

    kind = "too_large"

    def __init__(self, cover: Cover) -> None:
        self.cover = cover
        super().__init__(f"{cover} has reached sequence 4294967295, the last; start a new root")


class CascadeConflict(AngzarrError):
    """State fields that the command changes are locked by undecided cascades."""

    kind = "cascade_conflict"

    def __init__(self, cover: Cover, cascade_ids: Sequence[str], fields: Sequence[str]) -> None:
        self.cover = cover
        self.cascade_ids = tuple(sorted(cascade_ids))
        self.fields = tuple(sorted(fields))
        names, ids = ", ".join(self.fields), ", ".join(self.cascade_ids)
        super().__init__(f"Cascade conflict: fields {{{names}}} locked by cascades [{ids}]")


class CascadeDecided(AngzarrError):
    """The cascade has its decision, and the call asks for something else."""

    kind = "cascade_decided"

    def __init__(self, cascade_id: str, outcome: str, reason: str = "") -> None:
        self.cascade_id = cascade_id
        self.outcome = outcome
        self.reason = reason
        tail = "already committed" if outcome == "COMMIT" else f"rolled back: {reason}"
        super().__init__(f"Cascade {cascade_id} {tail}")


class CascadeRolledBack(CascadeDecided):
    """The request's own cascade was rolled back by somebody else: the reaper, or an older cascade
    (CAS-16, CAS-25). Everything that it wrote is revoked."""

    def __init__(self, cascade_id: str, reason: str) -> None:
        super().__init__(cascade_id, "ROLLBACK", reason)


class CascadeUndecided(AngzarrError):
    """The decision about the request's cascade could not be recorded; the reaper will decide
    (CAS-16)."""

    kind = "unavailable"

    def __init__(self, cascade_id: str) -> None:
        self.cascade_id = cascade_id
        super().__init__(f"Cascade {cascade_id} undecided")


class DivergenceConflict(AngzarrError):
    """The branch is pinned to another divergence."""

    kind = "edition"

    def __init__(self, cover: Cover, pinned: int, requested: int) -> None:
        self.cover = cover
        self.pinned = pinned
        self.requested = requested
        super().__init__(
            f"Edition {cover.edition} of {cover} diverged at {pinned}, not {requested}"
        )


class MainProtected(AngzarrError):
    """The main timeline can't be deleted."""

    kind = "edition"

    def __init__(self, domain: str) -> None:
        self.domain = domain
        super().__init__(f"main timeline is protected (domain {domain})")


class EditionConflict(AngzarrError):
    """The edition is a branch of something else, which never changes (EDN-20)."""

    kind = "edition"

    def __init__(self, edition: str, parent: str, requested: str) -> None:
        self.edition = edition
        self.parent = parent
        self.requested = requested
        super().__init__(f"edition {edition} is a branch of {parent}, not of {requested}")


class EditionExpired(AngzarrError):
    """The edition's time to live is over: it takes no more events, and is deleted soon (EDN-24).

    expired_at_ns: nanoseconds since the epoch.
    """

    kind = "edition"

    def __init__(self, edition: str, expired_at_ns: int) -> None:
        self.edition = edition
        self.expired_at_ns = expired_at_ns
        at = datetime.fromtimestamp(expired_at_ns // 10**9, UTC).isoformat()
        super().__init__(f"edition {edition} expired at {at}; declare it with a later expiry")


class EditionGone(AngzarrError):
    """The edition was deleted while something was read of it as of an earlier moment (SPEC-6)."""

    kind = "edition"

    def __init__(self, edition: str, domain: str) -> None:
        self.edition = edition
        self.domain = domain
        super().__init__(f"edition {edition} of {domain} was deleted meanwhile; begin anew")


class EditionInUse(AngzarrError):
    """Other editions are branches of it, or it still has pages (EDN-25).

    children: names of the editions, ascending; none where its own pages are in the way.
    """

    kind = "edition"

    def __init__(self, edition: str, children: Sequence[str]) -> None:
        self.edition = edition
        self.children = tuple(sorted(children))
        names = ", ".join(self.children)
        super().__init__(
            f"edition {edition} has branches [{names}]; delete them first"
            if self.children
            else f"edition {edition} has pages; delete them first"
        )


class PendingPages(AngzarrError):
    """An edition that holds pages of undecided cascades can't be deleted."""

    kind = "edition"

    def __init__(self, domain: str, edition: str, cascade_ids: Sequence[str]) -> None:
        self.domain = domain
        self.edition = edition
        self.cascade_ids = tuple(sorted(cascade_ids))
        ids = ", ".join(self.cascade_ids)
        super().__init__(
            f"edition {edition} of {domain} has pending pages of cascades [{ids}]; "
            "decide them first"
        )


class UnknownDomain(AngzarrError):
    """No aggregate is registered for the domain."""

    kind = "not_found"

    def __init__(self, name: str, message: str | None = None) -> None:
        self.name = name
        super().__init__(message or f"No aggregate registered for domain: {name}")


class UnknownCascade(AngzarrError):
    """The id has neither pages nor a decision."""

    kind = "not_found"

    def __init__(self, name: str) -> None:
        self.name = name
        super().__init__(f"Unknown cascade {name}")


class UnknownEdition(AngzarrError):
    """The name has neither a record nor pages; it was deleted, or is misspelt."""

    kind = "not_found"

    def __init__(self, name: str) -> None:
        self.name = name
        super().__init__(f"Unknown edition {name}")


class UnknownDeadLetter(AngzarrError):
    """No dead letter has the id; it was deleted, or never there."""

    kind = "not_found"

    def __init__(self, name: str) -> None:
        self.name = name
        super().__init__(f"Unknown dead letter {name}")


class DeadLetterRefused(AngzarrError):
    """What was asked can't be done with this dead letter, or with the configured targets (DLQ-7,
    DLQ-8)."""

    kind = "rejected"

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(f"Dead letters: {reason}")


class ReplayRunning(AngzarrError):
    """The dead letter, or the projector, is being replayed by another call; wait for that one
    (DLQ-8, PROJ-9)."""

    kind = "rejected"

    def __init__(self, name: str) -> None:
        self.name = name
        what = name if name.startswith("projector:") else f"Dead letter {name}"
        super().__init__(f"{what} is being replayed by another call")


class Overloaded(AngzarrError):
    """A bounded queue is full; nothing was written. Wait and send again."""

    kind = "overloaded"

    def __init__(self, queue: str, limit: int) -> None:
        self.queue = queue
        self.limit = limit
        super().__init__(f"{queue} is full ({limit}); try again later")


class StoreUnavailable(AngzarrError):
    """The store can't serve: I/O error, disk full, lost connection."""

    kind = "unavailable"

    def __init__(self, path: str, cause: str) -> None:
        self.path = path
        self.cause = cause
        super().__init__(f"store {path} is unavailable: {cause}")


class StoreClosed(StoreUnavailable):
    """The store was closed."""

    def __init__(self, path: str) -> None:
        super().__init__(path, "it is closed; open it again")


class StoreLocked(StoreUnavailable):
    """Another process, or another handle of this one, has the store open."""

    def __init__(self, path: str, holder: int | None = None) -> None:
        self.holder = holder
        who = f"process {holder}" if holder else "another process"
        super().__init__(
            path, f"{who} has it open; one process owns a store, talk to that one or stop it"
        )


class StoreForked(StoreUnavailable):
    """The store was opened before a fork and used in the child."""

    def __init__(self, path: str, opened_in: int, used_in: int) -> None:
        self.opened_in = opened_in
        self.used_in = used_in
        super().__init__(
            path,
            f"opened in process {opened_in}, used in its fork {used_in}; open it after forking",
        )


class ReadStoreUnavailable(StoreUnavailable):
    """A projector's own database can't be reached, or can't take what is written. Nothing of it was
    written; the projector goes on when the database is back, and gives nothing up meanwhile."""


class CorruptData(AngzarrError):
    """What was read is not what was written."""

    kind = "corrupt"

    def __init__(self, where: str, found: str, wanted: str) -> None:
        self.where = where
        self.found = found
        self.wanted = wanted
        super().__init__(f"corrupt data at {where}: found {found}, wanted {wanted}")


class PayloadCorrupt(CorruptData):
    """An offloaded payload was altered."""


class PayloadMissing(CorruptData):
    """An offloaded payload is gone."""


class SnapshotUnreadable(CorruptData):
    """A snapshot is no state of the class as it is now; its events are."""


class FormatTooNew(AngzarrError):
    """A newer angzarr wrote this store."""

    kind = "unavailable"

    def __init__(self, path: str, found: int, supported: int) -> None:
        self.path = path
        self.found = found
        self.supported = supported
        super().__init__(
            f"store {path} has format {found}, this angzarr reads up to {supported}; "
            "upgrade angzarr"
        )


class MissingExtra(AngzarrError):
    """An optional package is needed."""

    def __init__(self, package: str, extra: str) -> None:
        self.package = package
        self.extra = extra
        super().__init__(f"{package} is not installed; run: pip install 'angzarr[{extra}]'")


class StorageFailed(AngzarrError):
    """The store failed within a coordinator's work and nothing was written (CMD-8, CMD-36).

    work: what was tried, "load events" or "persist events". `__cause__` is the store's error.
    """

    def __init__(self, work: str, cause: str) -> None:
        self.work = work
        self.cause = cause
        super().__init__(f"Failed to {work}: {cause}")


class UpcasterFailed(AngzarrError):
    """A domain's upcaster failed, or broke its contract; nothing was written (UPC-4)."""

    def __init__(self, domain: str, cause: str) -> None:
        self.domain = domain
        self.cause = cause
        super().__init__(f"Upcaster failed: {cause} (upcaster of domain {domain})")


class HandlerFailed(AngzarrError):
    """The user's handler raised; `__cause__` has the exception."""

    def __init__(self, component: str, cause: str) -> None:
        self.component = component
        self.cause = cause
        super().__init__(f"{component} failed: {cause}")


class OrchestrationFailed(AngzarrError):
    """A saga or process manager that was called directly did not finish; `__cause__` says why
    (SAGA-19, PM-11).

    kind_of_component: "Saga" or "Process manager".
    """

    def __init__(self, kind_of_component: str, cause: str) -> None:
        self.kind_of_component = kind_of_component
        self.cause = cause
        super().__init__(f"{kind_of_component} orchestration failed: {cause}")


class ReactionFailed(AngzarrError):
    """The request was accepted and stored; a reaction to it, which a CASCADE request waits for,
    failed (SYNC-6). It has the code of its cause, so a sender has to tell it by its kind: sending
    the request again is of no use.

    component: such as "Saga shipping". cause: kept as `__cause__`; reason: its text.
    book: the pages that the request has stored, without payloads, as an encoded EventBook.
    """

    kind = "reaction_failed"

    def __init__(self, component: str, cause: AngzarrError, *, book: bytes = b"") -> None:
        self.component = component
        self.reason = str(cause)
        self.book = book
        super().__init__(f"{component} failed: {self.reason}")
        self.__cause__ = cause


class ReactionUnknown(AngzarrError):
    """The request was accepted and stored; what a reaction in another process did is not known,
    since there was no answer, so it can't be undone (SYNC-6). The log has it run once more.

    component: such as "Saga shipping".
    """

    kind = "unavailable"

    def __init__(self, component: str, cause: str) -> None:
        self.component = component
        self.cause = cause
        super().__init__(f"{component} has not answered, and may have done its work: {cause}")


class ProjectorFailed(AngzarrError):
    """A projector failed on what a caller sent; `__cause__` has the error (PROJ-8)."""

    def __init__(self, projector: str, cause: str) -> None:
        self.projector = projector
        self.cause = cause
        super().__init__(f"Projector {projector} failed: {cause}")


class ProjectorReplaying(AngzarrError):
    """The projector is being replayed, so it has no projection for a request yet (PROJ-9)."""

    kind = "unavailable"

    def __init__(self, projector: str) -> None:
        self.projector = projector
        super().__init__("replaying")


class RemoteError(AngzarrError):
    """A peer's error, passed on unchanged: a remote handler's answer, or a server's to a client.

    code: the gRPC code's name. error_kind: the peer's `angzarr-error-kind`, "" without one.
    details: its raw `grpc-status-details-bin`. field, limit, value: what it says of wrong input.
    """

    def __init__(
        self,
        code: str,
        message: str,
        *,
        error_kind: str = "",
        details: bytes = b"",
        field: str = "",
        limit: str = "",
        value: str = "",
    ) -> None:
        self.code = code
        self.error_kind = error_kind
        self.details = details
        self.field = field
        self.limit = limit
        self.value = value
        self.message = message
        super().__init__(message)


def clip(text: str, size_bytes_max: int = VALUE_BYTES_MAX) -> str:
    """`text` cut at a character so that its UTF-8 is at most `size_bytes_max` bytes long
    (WIRE-11)."""
    encoded = text.encode("utf-8", "backslashreplace")
    return (
        text
        if len(encoded) <= size_bytes_max
        else encoded[:size_bytes_max].decode("utf-8", "ignore")
    )
