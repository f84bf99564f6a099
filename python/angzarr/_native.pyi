"""The engine, an event store on RocksDB, and the front door, a gRPC server.

`stores/rocksdb.py` is the engine's only caller, `rpc/door.py` the door's. For the engine:

A cover's domain, edition, root (16 bytes) and correlation_id are read as attributes; the edition is
never "". Times are nanoseconds since the epoch. Every call raises the classes of `angzarr.errors`
as `ports/` says, a cover in an error being the very object of the call; an int outside of its range
raises OverflowError.
"""

from collections.abc import Sequence
from os import PathLike
from typing import Any, Final, TypeAlias, final

from angzarr.cover import Cover

__all__ = ["FORMAT_VERSION", "Change", "Door", "Mailbox", "Store"]

FORMAT_VERSION: Final[int]

_Book: TypeAlias = tuple[bytes, int, bool]
"""An encoded EventBook, the stream's next sequence, whether the transform is the identity."""
_Record: TypeAlias = tuple[int, str, bytes, bytes]
"""Op (0 put, 1 put unless the key exists, 2 delete, 3 only if, 4 anyway), space, key, value.

Only if: what follows, up to the next 3 or 4, is done only if the record has the value; b"" means
that there is no record. Anyway ends that; its other parts are ignored, as is a delete's value."""
_Decision: TypeAlias = tuple[str, str, str, int]
"""Cascade id, COMMIT or ROLLBACK, reason, when."""
_Edition: TypeAlias = tuple[str, str, int, int, int, int]
"""The fields of an EditionRecord in their order."""

_Path: TypeAlias = tuple[str, Sequence[str], Sequence[int], str]
"""A FieldPath: type name, keys, numbers, encoding."""
_Columns: TypeAlias = tuple[
    int,
    int,
    tuple[bytes, bytes, bytes, bytes, bytes, bytes, bytes],
    tuple[list[str], list[str], list[str]],
    list[tuple[bytes, bytes, list[str], bytes]],
]
"""Count, last position; positions, sequences, times, domains, editions, types, roots; names of
domains, editions, types; of each field values, valid, vocabulary, offsets."""

_Call: TypeAlias = tuple[int, int, bytes | None, int | None, dict[str, str | bytes], str]
"""Id, index of the method, request (None if there are many), deadline by time.monotonic_ns(),
metadata, peer as `ipv4:HOST:PORT`, `ipv6:[HOST]:PORT` or `unix:`."""
_Signal: TypeAlias = tuple[str, int, bytes | str | None]
"""Name, id of a call or 0, and what it brings: `message` a further request, `last_message` None: no
other one comes; `room`: `send` may go on; `gone`: nobody waits for the answer; `idle`, `stopped`;
`warning` and `note` a text for the log."""

@final
class Change:
    """Something that changes a store; `Store.submit` or `Store.write` takes it, once."""

    @staticmethod
    def append(
        cover: Cover,
        expected_sequence: int,
        pages: Sequence[bytes],
        now_ns: int,
        divergence: int | None = None,
        snapshot: bytes | None = None,
        keep_last: int = 1,
        max_age_s: int = 0,
        cascade_id: str = ...,
        provenance: bytes | None = None,
        external_id: bytes | None = None,
        answer: bytes = ...,
        records: Sequence[_Record] = ...,
        sync: bool | None = None,
    ) -> Change:
        """EventStore.append, and `records` with it.

        Outcome: (first, last, is_duplicate). provenance wins over external_id.
        """

    @staticmethod
    def decide(cascade_id: str, outcome: str, reason: str, now_ns: int) -> Change:
        """EventStore.decide_cascade. Outcome: the decision in force."""

    @staticmethod
    def resolve(cover: Cover, cascade_id: str, now_ns: int) -> Change:
        """EventStore.resolve_cascade. Outcome: the encoded marker page or None."""

    @staticmethod
    def delete_edition(domain: str, edition: str) -> Change:
        """EventStore.delete_edition. Outcome: the count of its pages."""

    @staticmethod
    def declare_edition(
        name: str, parent: str, now_ns: int, expires_at_ns: int, max_pages: int, max_bytes: int
    ) -> Change:
        """EditionStore.declare. Outcome: the record in force."""

    @staticmethod
    def forget_edition(name: str) -> Change:
        """EditionStore.forget. Outcome: whether there was one."""

    @staticmethod
    def put_snapshot(
        cover: Cover, snapshot: bytes, keep_last: int, max_age_s: int, now_ns: int
    ) -> Change:
        """SnapshotStore.put. Outcome: None."""

    @staticmethod
    def delete_snapshots(cover: Cover) -> Change:
        """SnapshotStore.delete. Outcome: how many there were."""

    @staticmethod
    def delete_all_snapshots(domain: str, edition: str | None) -> Change:
        """SnapshotStore.delete_all. Outcome: how many there were."""

    @staticmethod
    def put_position(consumer: str, cover: Cover, sequence: int) -> Change:
        """PositionStore.put. Outcome: the value in force."""

    @staticmethod
    def put_cursor(consumer: str, position: int) -> Change:
        """PositionStore.put_cursor. Outcome: the value in force."""

    @staticmethod
    def reset_consumer(consumer: str) -> Change:
        """PositionStore.reset. Outcome: None."""

    @staticmethod
    def lease(consumer: str, partition: int, holder: str, ttl_ns: int, now_ns: int) -> Change:
        """PositionStore.lease. Outcome: whether the holder has it."""

    @staticmethod
    def records(records: Sequence[_Record]) -> Change:
        """Named durable values, all or none. Outcome: whether all conditions were met."""

@final
class Door:
    """The front door: HTTP/2 and gRPC on a thread of its own, bytes to and from one event loop.

    A call has an id, never used twice; an answer to one that is over goes nowhere. Metadata are
    pairs with lower-case keys, bytes under those that end in `-bin`; ValueError for what can't
    travel. RuntimeError after a fork.
    """

    def __new__(
        cls,
        methods: Sequence[tuple[str, bool]],
        message_bytes_max: int,
        calls_max: int,
        now_ns: int,
        tls: tuple[bytes, bytes, bytes | None] | None,
    ) -> Door:
        """Nothing listens yet.

        methods: path, and whether its calls have many requests; any other path is UNIMPLEMENTED.
        message_bytes_max: of one request, beyond which it is not read. calls_max: at once; further
        ones are RESOURCE_EXHAUSTED. now_ns: time.monotonic_ns(). tls: PEM files' contents:
        certificates, key, and who signs clients' certificates, None if they need none; InvalidInput
        for what is not that.
        """

    def bind_tcp(self, host: str, port: int) -> int:
        """Listen on each address of `host`, on one port, which is returned; 0 takes a free one.

        Raises InvalidInput for an address that is taken or not ours.
        """

    def bind_unix(self, path: str | PathLike[str]) -> None:
        """Listen on a Unix socket, whose file is made. Raises InvalidInput as bind_tcp."""

    def start(self) -> None:
        """Serve what was bound."""

    def fileno(self) -> int:
        """Readable when there is something to drain."""

    def drain(self) -> tuple[list[_Call], list[_Signal]]:
        """What has come since the last time. New calls are to be looked at before the signals."""

    def reply(self, id: int, message: bytes) -> None:
        """Answer with one message and end with OK."""

    def accept(self, id: int, metadata: Sequence[tuple[str, str | bytes]]) -> None:
        """Begin an answer with initial metadata."""

    def send(self, id: int, message: bytes) -> bool:
        """Add a message to an answer; False if the next one is to wait for the signal `room`."""

    def finish(
        self, id: int, code: int, message: str, trailers: Sequence[tuple[str, str | bytes]]
    ) -> None:
        """End an answer with gRPC's code, a message of any text and trailing metadata."""

    def took(self, id: int, size_bytes: int) -> None:
        """The request of a signal `message`, of so many bytes, was read: others may come."""

    def refuse(self) -> None:
        """No new connections and calls; the signal `idle` tells when none runs. Idempotent."""

    def close(self) -> None:
        """End calls with UNAVAILABLE, then connections and thread, which `stopped` tells.

        Idempotent.
        """

    def join(self) -> None:
        """Return when the thread has ended."""

@final
class Mailbox:
    """Where outcomes wait for one event loop; its descriptor is readable while there are some."""

    def __new__(cls) -> Mailbox:
        """An empty mailbox. Raises OSError when the process has no descriptors left."""

    def fileno(self) -> int:
        """The descriptor to watch; it lives as long as the mailbox."""

    def drain(self) -> list[tuple[Any, Any]]:
        """(token, outcome) of everything that came, in order.

        The outcome is as the `Change` says, an exception instance where it failed, None for
        `notify_after`.
        """

@final
class Store:
    """An open store. All methods may be called from any thread; reads release the interpreter."""

    @staticmethod
    def open(
        path: str,
        sync: bool,
        max_pages_per_append: int,
        max_append_bytes: int,
        writer_queue: int,
        cache_bytes: int,
        block_cache_bytes: int,
        write_buffer_bytes: int,
    ) -> Store:
        """Open the directory `path`, made if missing.

        Raises StoreLocked, FormatTooNew, StoreUnavailable, CorruptData.
        """

    def submit(
        self, mailbox: Mailbox, token: object, change: Change, is_alone: bool
    ) -> tuple[Any] | None:
        """Queue the change; its outcome comes to `mailbox` under `token`.

        is_alone: if nobody else writes and the disk is quick, write it now, in this thread, which
        takes a flush; then the outcome is returned, and its errors are raised, and nothing comes.

        Raises Overloaded, StoreClosed, StoreForked at once, and then nothing comes; ValueError for
        a change that was taken before.
        """

    def write(self, change: Change) -> Any:
        """The change's outcome, when it is durable. Blocks: for threads without an event loop."""

    def load(self, cover: Cover, start: int, stop: int | None, divergence: int | None) -> _Book:
        """EventStore.load."""

    def load_until(self, cover: Cover, time_ns: int, divergence: int | None) -> _Book:
        """EventStore.load_until."""

    def load_latest(self, cover: Cover, divergence: int | None) -> _Book:
        """EventStore.load_latest."""

    def next_sequence(self, cover: Cover, divergence: int | None) -> int:
        """EventStore.next_sequence."""

    def length_at(self, cover: Cover, position: int, divergence: int | None) -> int:
        """EventStore.length_at."""

    def divergence(self, cover: Cover) -> int | None:
        """EventStore.divergence."""

    def pending(self, cover: Cover) -> list[tuple[int, str, int]]:
        """EventStore.pending as (sequence, cascade id, created_at_ns)."""

    def roots(self, domain: str, edition: str) -> list[bytes]:
        """EventStore.roots."""

    def domains(self) -> list[str]:
        """EventStore.domains."""

    def editions(self, domain: str) -> list[str]:
        """EventStore.editions."""

    def edition(self, name: str) -> _Edition | None:
        """EditionStore.get."""

    def declared(self) -> list[_Edition]:
        """EditionStore.list."""

    def usage(self, edition: str) -> tuple[int, int]:
        """EditionStore.usage: count of pages, and their bytes."""

    def branches(
        self, domain: str, edition: str, after: bytes, limit: int
    ) -> list[tuple[bytes, int, int]]:
        """EditionStore.branches as (root, divergence, next_sequence)."""

    def by_correlation(
        self, correlation_id: str, domain: str | None, edition: str | None
    ) -> list[_Book]:
        """EventStore.by_correlation."""

    def find_provenance(self, cover: Cover, key: bytes) -> tuple[list[bytes], bytes] | None:
        """EventStore.find_by_provenance by `Provenance.key`: pages and answer."""

    def find_external(self, cover: Cover, key: bytes) -> tuple[list[bytes], bytes] | None:
        """EventStore.find_by_external_id by the id's bytes: pages and answer."""

    def stale_cascades(self, before_ns: int) -> list[str]:
        """EventStore.query_stale_cascades."""

    def unfinished_cascades(self) -> list[str]:
        """EventStore.query_unfinished_cascades."""

    def participants(self, cascade_id: str) -> list[tuple[tuple[str, str, bytes], list[int]]]:
        """EventStore.query_cascade_participants as ((domain, edition, root), sequences)."""

    def decision(self, cascade_id: str) -> _Decision | None:
        """EventStore.decision."""

    def tail(self, after: int, limit: int) -> list[tuple[int, int, bytes]]:
        """EventStore.tail without waiting, as (position, first_position, book)."""

    def scan(
        self,
        after: int,
        limit: int,
        editions: Sequence[str] | None,
        domains: Sequence[str] | None,
        fields: Sequence[tuple[str, Sequence[_Path]]],
    ) -> _Columns:
        """EventStore.scan, a field being its kind and paths.

        At most 4 Mi positions, and no more than gives 128 MiB of payloads and texts."""

    def notify_after(self, mailbox: Mailbox, token: object, after: int) -> int:
        """Post `token` once when the log's head is above `after`, at once if it is, or at close.

        A ticket.
        """

    def forget(self, ticket: int) -> None:
        """Call off a notify_after; it may have been posted already."""

    def log_head(self) -> int:
        """EventStore.log_head."""

    def snapshot_get(self, cover: Cover) -> bytes | None:
        """SnapshotStore.get."""

    def snapshot_get_at(self, cover: Cover, sequence: int) -> bytes | None:
        """SnapshotStore.get_at."""

    def position(self, consumer: str, cover: Cover) -> int | None:
        """PositionStore.get."""

    def cursor(self, consumer: str) -> int | None:
        """PositionStore.cursor."""

    def record(self, space: str, key: bytes) -> bytes | None:
        """The value of a record."""

    def records(
        self, space: str, start: bytes | None, limit: int, reverse: bool
    ) -> list[tuple[bytes, bytes]]:
        """(key, value) by key, from `start` on; with `reverse` descending, those below `start`."""

    def checkpoint(self, target: str) -> None:
        """Write a consistent copy into the new directory `target`, by hard links where possible."""

    def verify(self) -> tuple[int, int, int]:
        """Read everything and check it: counts of streams and pages, and the log's head.

        Raises CorruptData.
        """

    def facts(self) -> tuple[int, int, int, int, int, int]:
        """Format, bytes on disk, log head, bytes of memory, groups committed, appends committed."""

    def close(self) -> None:
        """Finish accepted writes, then refuse everything with StoreClosed. Idempotent."""
