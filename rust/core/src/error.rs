//! Every error of the engine; the binding maps each to the Python class of the same name.

use thiserror::Error;

/// Result of the engine's calls.
pub type Result<T> = std::result::Result<T, Error>;

/// What can go wrong. Whatever a write answers, nothing of it is in the store.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    #[error("{field} must be {limit}, got {value}")]
    InvalidInput {
        field: String,
        limit: String,
        value: String,
    },
    #[error("{field} must be {limit}, got {value}")]
    TooLarge {
        field: String,
        limit: String,
        value: String,
    },
    #[error("expected {expected}, stream is at {actual}")]
    SequenceConflict { expected: u64, actual: u64 },
    #[error("the stream holds its last page")]
    SequenceExhausted,
    #[error("divergence {requested} exceeds next sequence {next_sequence}")]
    InvalidDivergence { requested: u64, next_sequence: u64 },
    #[error("diverged at {pinned}, not {requested}")]
    DivergenceConflict { pinned: u64, requested: u64 },
    #[error("cascade {cascade_id} is decided")]
    CascadeDecided {
        cascade_id: String,
        is_commit: bool,
        reason: String,
    },
    #[error("unknown cascade {0}")]
    UnknownCascade(String),
    #[error("main timeline is protected (domain {0})")]
    MainProtected(String),
    #[error("edition {edition} of {domain} has pending pages")]
    PendingPages {
        domain: String,
        edition: String,
        cascade_ids: Vec<String>,
    },
    #[error("edition {edition} is a branch of {parent}, not of {requested}")]
    EditionConflict {
        edition: String,
        parent: String,
        requested: String,
    },
    #[error("edition {edition} expired at {expired_at_ns}")]
    EditionExpired { edition: String, expired_at_ns: i64 },
    /// `children`: none where its own pages are in the way.
    #[error("edition {edition} is in use by {children:?}")]
    EditionInUse {
        edition: String,
        children: Vec<String>,
    },
    /// `field`: `max_pages` or `max_bytes`.
    #[error("edition {edition} would have {value}, its {field} is {limit}")]
    QuotaExceeded {
        edition: String,
        field: &'static str,
        limit: u64,
        value: u64,
    },
    #[error("{queue} is full ({limit})")]
    Overloaded { queue: String, limit: usize },
    #[error("the store is closed")]
    Closed,
    #[error("locked{}", holder.map_or(String::new(), |id| format!(" by process {id}")))]
    Locked { holder: Option<u32> },
    #[error("opened in process {opened_in}, used in {used_in}")]
    Forked { opened_in: u32, used_in: u32 },
    /// The disk failed; the store takes no more writes. `cause` says what and where.
    #[error("unavailable: {cause}")]
    Unavailable { cause: String },
    #[error("corrupt data at {location}: found {found}, wanted {wanted}")]
    Corrupt {
        location: String,
        found: String,
        wanted: String,
    },
    #[error("format {found}, supported up to {supported}")]
    FormatTooNew { found: u32, supported: u32 },
}
