//! What goes in and out of the engine: plain data, no behaviour.
//!
//! Times are nanoseconds since the epoch and come from the caller, which owns the clock. Editions are normalised before
//! they get here: main is `"angzarr"` and nothing else.

use std::path::PathBuf;

/// Name of the main timeline.
pub const MAIN: &str = "angzarr";
/// The last sequence that a stream can hold.
pub const SEQUENCE_MAX: u64 = u32::MAX as u64;
/// The on-disk format that this engine writes, and the newest that it reads.
///
/// 1 had no positions in chunks, and pins told a sequence only.
pub const FORMAT_VERSION: u32 = 2;
/// Levels of branches above main (EDN-21).
pub const EDITION_DEPTH_MAX: usize = 16;

/// Bounds of one append and of the writer's queue.
#[derive(Clone, Debug)]
pub struct Limits {
    pub max_pages_per_append: usize,
    pub max_append_bytes: usize,
    pub writer_queue: usize,
}

/// How to open a store. `cache_bytes` bounds the cache of hot tails, `block_cache_bytes` RocksDB's own.
#[derive(Clone, Debug)]
pub struct Options {
    pub path: PathBuf,
    pub sync: bool,
    pub limits: Limits,
    pub cache_bytes: usize,
    pub block_cache_bytes: usize,
    pub write_buffer_bytes: usize,
}

/// One stream: all pages of one (domain, edition, root).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Stream {
    pub domain: String,
    pub edition: String,
    pub root: [u8; 16],
}

/// Retention when a newer snapshot is durable (SNAP-6); `max_age_s` 0 is off.
#[derive(Clone, Copy, Debug)]
pub struct SnapshotPolicy {
    pub keep_last: u32,
    pub max_age_s: u64,
}

/// An idempotency key at its destination stream; the bytes are the caller's.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Key {
    Provenance(Vec<u8>),
    External(Vec<u8>),
}

/// A named durable value that is written with the pages that cause it: obligations, dead letters.
#[derive(Clone, Debug)]
pub enum RecordOp {
    Put {
        space: String,
        key: Vec<u8>,
        value: Vec<u8>,
    },
    /// Written unless the key exists.
    PutNew {
        space: String,
        key: Vec<u8>,
        value: Vec<u8>,
    },
    Delete {
        space: String,
        key: Vec<u8>,
    },
    /// What follows is done only if the record has this value, or is not there, up to the next condition.
    OnlyIf {
        space: String,
        key: Vec<u8>,
        value: Option<Vec<u8>>,
    },
    /// What follows is done whatever the condition before came to.
    Anyway,
}

/// One append; see `EventStore.append` in `python/angzarr/ports/event_store.py` for its contract.
#[derive(Clone, Debug)]
pub struct Append {
    pub stream: Stream,
    pub correlation_id: String,
    pub expected_sequence: u64,
    pub pages: Vec<Vec<u8>>,
    pub divergence: Option<u64>,
    pub snapshot: Option<Vec<u8>>,
    pub snapshot_policy: SnapshotPolicy,
    pub cascade_id: String,
    pub key: Option<Key>,
    pub answer: Vec<u8>,
    pub records: Vec<RecordOp>,
    pub sync: Option<bool>,
    pub now_ns: i64,
}

/// A declared edition (EDN-20). `expires_at_ns` 0 is never, the other limits 0 none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edition {
    pub name: String,
    pub parent: String,
    pub created_at_ns: i64,
    pub expires_at_ns: i64,
    pub max_pages: u64,
    pub max_bytes: u64,
}

/// What an edition holds of its own, over all domains; bytes are those of encoded pages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    pub page_count: u64,
    pub byte_count: u64,
}

/// A stream of an edition: where it left its base (0 on main), and its first free sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Branch {
    pub root: [u8; 16],
    pub divergence: u64,
    pub next_sequence: u64,
}

/// The one durable outcome of a cascade.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Commit,
    Rollback,
}

/// A cascade's decision record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    pub cascade_id: String,
    pub verdict: Verdict,
    pub reason: String,
    pub decided_at_ns: i64,
}

/// Everything that changes the store. All of it goes through the one committer, in order of arrival.
#[derive(Clone, Debug)]
pub enum Write {
    Append(Box<Append>),
    Decide {
        cascade_id: String,
        verdict: Verdict,
        reason: String,
        now_ns: i64,
    },
    Resolve {
        stream: Stream,
        correlation_id: String,
        cascade_id: String,
        now_ns: i64,
    },
    DeleteEdition {
        domain: String,
        edition: String,
    },
    /// Makes the record or changes its limits; `created_at_ns` is now.
    DeclareEdition(Edition),
    ForgetEdition {
        name: String,
    },
    PutSnapshot {
        stream: Stream,
        snapshot: Vec<u8>,
        policy: SnapshotPolicy,
        now_ns: i64,
    },
    DeleteSnapshots {
        stream: Stream,
    },
    /// Those of all streams of a domain, on one edition or on all.
    DeleteAllSnapshots {
        domain: String,
        edition: Option<String>,
    },
    PutPosition {
        consumer: String,
        stream: Stream,
        sequence: u64,
    },
    PutCursor {
        consumer: String,
        position: u64,
    },
    ResetConsumer {
        consumer: String,
    },
    Lease {
        consumer: String,
        partition: u32,
        holder: String,
        ttl_ns: i64,
        now_ns: i64,
    },
    Records(Vec<RecordOp>),
}

/// What a [`Write`] came to, by its kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Written {
    /// `last` is `first - 1` without pages, so it is signed.
    Appended {
        first: u64,
        last: i64,
    },
    Duplicate {
        first: u64,
        last: i64,
    },
    Decided(Decision),
    /// The encoded marker page; `None` when nothing was unresolved.
    Resolved(Option<Vec<u8>>),
    /// Pages of a deleted edition, snapshots deleted.
    Count(u64),
    /// The position or cursor in force.
    Value(u64),
    /// Whether the lease is held; whether all conditions of records were met; whether there was a declared edition.
    Flag(bool),
    /// The record in force.
    Edition(Edition),
    Done,
}

/// A read's result: an encoded EventBook, the stream's next sequence, and whether the transform is the identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Book {
    pub data: Vec<u8>,
    pub next_sequence: u64,
    pub is_plain: bool,
}

/// What an idempotency key stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    pub pages: Vec<Vec<u8>>,
    pub answer: Vec<u8>,
}

/// An unresolved pending page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pending {
    pub sequence: u64,
    pub cascade_id: String,
    pub created_at_ns: i64,
}

/// A stream with unresolved pages of a cascade.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Participant {
    pub stream: Stream,
    pub sequences: Vec<u64>,
}

/// One commit's visible pages of one stream. `position` is that of its last page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogEntry {
    pub position: u64,
    pub first_position: u64,
    pub book: Vec<u8>,
}

/// Figures for doctor and benches.
#[derive(Clone, Debug)]
pub struct Facts {
    pub format_version: u32,
    pub size_bytes: u64,
    pub log_head: u64,
    pub memory_bytes: u64,
    pub group_count: u64,
    pub append_count: u64,
}

/// What [`crate::Engine::verify`] walked over, all of it sound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verified {
    pub stream_count: u64,
    pub page_count: u64,
    pub position: u64,
}

/// A scan's question: which rows of the log, and what of them.
#[derive(Clone, Debug)]
pub struct Scan {
    /// Rows with a position above it.
    pub after: u64,
    /// Positions that are looked at, at most; the first commit's always, and never more than
    /// [`SCAN_POSITIONS_MAX`].
    pub limit: u64,
    /// Only these; None is all.
    pub editions: Option<Vec<String>>,
    pub domains: Option<Vec<String>>,
    pub fields: Vec<FieldSpec>,
    /// Of payloads and texts: with more of them fewer positions are looked at, though one commit always.
    pub bytes_max: usize,
}

/// Positions that one scan looks at, whatever is asked for: what it holds in memory grows with them.
pub const SCAN_POSITIONS_MAX: u64 = 4 << 20;
/// A `bytes_max` for scans.
pub const SCAN_BYTES_MAX: usize = 128 << 20;

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldKind {
    Int,
    Float,
    Bool,
    Text,
    /// The whole encoded payload.
    Payload,
}

/// How a protobuf field is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    Varint,
    Zigzag,
    Bool,
    Fixed32,
    Fixed64,
    Sfixed32,
    Sfixed64,
    Float,
    Double,
    String,
}

/// A payload field that becomes a column; see `python/angzarr/ports/columns.py`.
#[derive(Clone, Debug)]
pub struct FieldSpec {
    pub kind: FieldKind,
    pub paths: Vec<FieldPath>,
}

/// Where a field is in payloads of one type: `keys` if they are JSON, else `numbers` and `encoding`.
#[derive(Clone, Debug)]
pub struct FieldPath {
    pub type_name: String,
    pub keys: Vec<String>,
    pub numbers: Vec<u32>,
    pub encoding: Option<Encoding>,
}

/// A scan's answer: little-endian values, one a row; codes are u32 into the names, in order of first appearance.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Columns {
    pub count: u64,
    /// Up to where the log was looked at.
    pub last: u64,
    /// u64, u32, i64 (nanoseconds).
    pub positions: Vec<u8>,
    pub sequences: Vec<u8>,
    pub times: Vec<u8>,
    pub domains: Vec<u8>,
    pub editions: Vec<u8>,
    pub types: Vec<u8>,
    /// 16 bytes a row.
    pub roots: Vec<u8>,
    pub domain_names: Vec<String>,
    pub edition_names: Vec<String>,
    pub type_names: Vec<String>,
    /// In the order in which they were asked for.
    pub fields: Vec<FieldColumn>,
}

/// One field's values.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldColumn {
    /// i64, f64, u8 or codes into `vocabulary`; payloads one after the other.
    pub values: Vec<u8>,
    /// 1 where the row has a value.
    pub valid: Vec<u8>,
    pub vocabulary: Vec<String>,
    /// Of payloads: u64, count + 1.
    pub offsets: Vec<u8>,
}
