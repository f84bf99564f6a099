"""Named limits and choices of the coordinators; the defaults are the specification's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from angzarr.ports.event_store import SnapshotPolicy

KIB = 1024
DOUBLINGS_MAX = 64
"""More of them is longer than any cap, and no number of the machine's."""


@dataclass(frozen=True, slots=True)
class Backoff:
    """Delays between attempts after a storage race (CMD-37).

    Each is ×2 the last, capped, times a uniform 0.5 to 1.0. tries: attempts in all, the first one
    counted.
    """

    first_s: float = 0.010
    cap_s: float = 2.0
    tries: int = 10

    def delay_s(self, retry: int) -> float:
        """The longest delay before retry number `retry`, from 0."""
        return min(self.first_s * 2 ** min(retry, DOUBLINGS_MAX), self.cap_s)


@dataclass(frozen=True, slots=True)
class SnapshotOptions:
    """When snapshots of a domain are read, kept and taken (SNAP-7, SNAP-9).

    every: pages between automatic snapshots, 0 is off. policy: what is kept.
    """

    read: bool = True
    write: bool = True
    every: int = 0
    policy: SnapshotPolicy = SnapshotPolicy()


@dataclass(frozen=True, slots=True)
class CommandOptions:
    """Bounds of the command side (CMD-2, CMD-7, CMD-19, CMD-37) and its snapshots.

    domain_snapshots: exceptions from `snapshots` by domain. accepts_snapshots: domains whose remote
    handlers take snapshots that they did not make.
    """

    max_pages_per_book: int = 100
    max_payload_bytes: int = 256 * KIB
    handler_concurrency: int = 64
    channel_capacity: int = 1024
    max_error_detail_bytes: int = 4 * KIB
    backoff: Backoff = Backoff()
    snapshots: SnapshotOptions = SnapshotOptions()
    domain_snapshots: Mapping[str, SnapshotOptions] = field(
        default_factory=dict[str, SnapshotOptions]
    )
    accepts_snapshots: frozenset[str] = frozenset()

    def snapshots_of(self, domain: str) -> SnapshotOptions:
        """The snapshot options in force for a domain."""
        return self.domain_snapshots.get(domain, self.snapshots)


@dataclass(frozen=True, slots=True)
class ReactionOptions:
    """Bounds of sagas and process managers.

    backoff: of the rounds of one reaction (SAGA-12). handler_concurrency, channel_capacity: calls
    of one component that run and that wait (CMD-7). head_start_s: how long the worker of
    obligations leaves the outputs of a process manager to the delivery that recorded them. duties:
    how it tries these outputs and timers (DLQ-3).
    """

    backoff: Backoff = Backoff()
    handler_concurrency: int = 64
    channel_capacity: int = 1024
    head_start_s: float = 30.0
    duties: Backoff = Backoff(first_s=0.1, cap_s=30.0)


@dataclass(frozen=True, slots=True)
class QueryOptions:
    """Bounds of reads (QRY-10, QRY-11) and whether `angzarr-raw` is served (QRY-13)."""

    message_size_bytes: int = 10_240 * KIB
    query_result_limit: int = 1_000
    allow_raw: bool = False


@dataclass(frozen=True, slots=True)
class EditionOptions:
    """Bounds of EditionService: of its messages (QRY-11), and of a promotion (EDN-27).

    promoted_streams, promoted_pages: streams of one promotion, and pages of one stream of it.
    """

    message_size_bytes: int = 10_240 * KIB
    query_result_limit: int = 1_000
    promoted_streams: int = 1_000
    promoted_pages: int = 1_000


@dataclass(frozen=True, slots=True)
class StreamOptions:
    """Bounds of live streams (QRY-22). wait_s: how long one look at the log's tail blocks."""

    subscriber_buffer: int = 32
    wait_s: float = 5.0
    retry_s: float = 0.5


@dataclass(frozen=True, slots=True)
class DutyOptions:
    """Bounds of the worker of obligations.

    concurrency: obligations worked on at once. batch: looked up at once. lease_s: how long others
    leave what was begun to a process that died. poll_s: how often what other processes wrote is
    looked for. retry_s: pause after an error of the store.
    """

    concurrency: int = 16
    batch: int = 64
    lease_s: float = 30.0
    poll_s: float = 1.0
    retry_s: float = 0.5


@dataclass(frozen=True, slots=True)
class CompensationOptions:
    """What is done about rejected commands, and about those whose source does nothing (COMP-4,
    COMP-6, COMP-9 to COMP-11).

    backoff: between deliveries; its `tries` is the budget. delivery_s: how long a source has for
    its answer. escalation_webhook_url: "" is none.
    """

    backoff: Backoff = Backoff(first_s=0.1, cap_s=60.0, tries=10)
    delivery_s: float = 60.0
    fallback_domain: str = "angzarr-saga-failures"
    fallback_emit_system_revocation: bool = True
    fallback_send_to_dlq: bool = False
    fallback_escalate: bool = False
    escalation_webhook_url: str = ""


@dataclass(frozen=True, slots=True)
class SyncOptions:
    """Bounds of SIMPLE and CASCADE requests. max_cascade_depth: of requests within requests
    (SYNC-4).
    """

    max_cascade_depth: int = 32


@dataclass(frozen=True, slots=True)
class ProjectorOptions:
    """Bounds of projectors (PROJ-5, PROJ-14).

    concurrency: streams of a projector without a read store that are handled at once; 1 is the
    log's order over all streams. gap_pages: missing pages that are read at a time, and put in front
    of a book. book_bytes: a larger book comes as several, half a message by default. batch_books,
    batch_s: what shares a transaction of a read store while there is more to do. write_behind_s:
    how long positions beside a read model that is not ours wait to be stored. handle_timeout_s:
    what a remote projector has for one book. cursor_s: how often a read store is told the cursor.
    """

    concurrency: int = 16
    gap_pages: int = 1_000
    book_bytes: int = 5 * 1024 * KIB
    batch_books: int = 256
    batch_s: float = 0.005
    write_behind_s: float = 0.1
    handle_timeout_s: float = 30.0
    cursor_s: float = 1.0
