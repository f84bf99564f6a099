"""What consumers of the log are and get, and how their failures are judged (DLQ-3)."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, Literal

from google.protobuf.message import DecodeError

from angzarr.cover import Cover
from angzarr.errors import AngzarrError, HandlerFailed, RemoteError, SequenceMismatch
from angzarr.ports.components import Subscription

TRANSIENT_CODES: Final = frozenset(
    {
        "UNAVAILABLE",
        "DEADLINE_EXCEEDED",
        "RESOURCE_EXHAUSTED",
        "ABORTED",
        "INTERNAL",
        "UNKNOWN",
        "CANCELLED",
    }
)
TRANSIENT_KINDS: Final = frozenset(
    {
        "unavailable",
        "overloaded",
        "internal",
        "cascade_conflict",
        "sequence_mismatch",
        "sequence_conflict",
    }
)
MiB: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Delivery:
    """One commit of one stream on its way to a consumer, or a dead letter's book once more.

    cover: with the correlation id. book: the encoded EventBook as published; of a consumer that
    does not keep positions, without the pages that it did not subscribe. first, last: sequences of
    the whole commit. position: of its last page in the log, 0 of a dead letter's. attempt: from 1.
    is_redelivered: it was given up on before, and its consumer has passed it (DLQ-8).
    """

    cover: Cover
    book: bytes
    first: int
    last: int
    position: int
    attempt: int = 1
    is_redelivered: bool = False


Deliver = Callable[[Delivery], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsumerSpec:
    """A consumer of the log.

    name: what its positions are kept under, `saga-shipping`. component: `saga:shipping`, in dead
    letters and logs. component_type: of DLQ-2. editions: names, None is every one.
    deliver: returns when the reaction is finished or its failures are durable; what it raises is
    retried, and then a dead letter. concurrency: deliveries of different streams that run at once;
    1 is the log's order over all streams. keeps_positions: it keeps (consumer, stream) positions
    itself, gets every page of a book, and one delivery of a stream at a time, as projectors do.
    skips_without_correlation: books without a correlation id are passed over (PM-1).
    from_now: when it is new, it starts at the log's end and not at its beginning.
    gave_up: told of a delivery whose dead letter is durable, before the consumer goes on; a
    consumer that keeps positions moves its own past the pages. What it raises is tried again.
    begin: called whenever this process has taken the lead, before the cursor is read, which it may
    set. What it raises is logged, and it is called again. Other consumers don't wait for it.
    """

    name: str
    component: str
    component_type: str
    subscriptions: tuple[Subscription, ...]
    deliver: Deliver
    editions: tuple[str, ...] | None = None
    concurrency: int = 16
    keeps_positions: bool = False
    skips_without_correlation: bool = False
    from_now: bool = False
    gave_up: Deliver | None = None
    begin: Callable[[], Awaitable[None]] | None = None


@dataclass(frozen=True, slots=True)
class DeliveryOptions:
    """How deliveries are tried, bounded and shared.

    first_s, cap_s, factor: delays between attempts grow from the first to the cap by the factor;
    each is shortened by up to `jitter` of itself. max_attempts: then a failure is a dead letter;
    on_poison `block` tries on instead (DLQ-4). window, window_bytes: unfinished books of one
    consumer in memory. store_every_s: how often cursors are stored. wait_s: how long one look at
    the log's tail blocks. lease_s, partitions: of consumers (DEP-14).
    """

    first_s: float = 0.1
    cap_s: float = 30.0
    factor: float = 2.0
    jitter: float = 0.5
    max_attempts: int = 10
    on_poison: Literal["dead_letter", "block"] = "dead_letter"
    window: int = 1024
    window_bytes: int = 8 * MiB
    store_every_s: float = 0.1
    wait_s: float = 5.0
    lease_s: float = 15.0
    partitions: int = 1

    def delay_s(self, failures: int) -> float:
        """The delay after `failures` ≥ 1 failed attempts in a row."""
        grown = self.first_s * self.factor ** min(failures - 1, 64)
        return min(grown, self.cap_s) * random.uniform(1.0 - self.jitter, 1.0)


def is_transient(error: BaseException) -> bool:
    """Whether another attempt may do better: by the error's kind, else by its gRPC code (DLQ-3).

    An exception that is no AngzarrError counts as INTERNAL, a timeout as DEADLINE_EXCEEDED, what
    does not parse as invalid input.
    """
    if isinstance(error, RemoteError):
        return _is_remote_transient(error)
    if isinstance(error, HandlerFailed):
        cause = error.__cause__
        return is_transient(cause) if isinstance(cause, AngzarrError | DecodeError) else True
    if isinstance(error, SequenceMismatch) and error.is_parked:
        return False  # its dead letter is written; another attempt would write another
    if isinstance(error, AngzarrError):
        return error.kind in TRANSIENT_KINDS
    return not isinstance(error, DecodeError)


def _is_remote_transient(error: RemoteError) -> bool:
    if error.error_kind and error.error_kind != "internal":
        return error.error_kind in TRANSIENT_KINDS
    if error.message.startswith(("Sequence mismatch", "Sequence conflict")):
        return error.code != "ABORTED"  # which says that it is parked
    if error.code == "RESOURCE_EXHAUSTED" and "message larger than max" in error.message:
        return False
    return error.code in TRANSIENT_CODES
