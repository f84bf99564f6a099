//! What readers and the committer share: RocksDB, the timeline table, the hot tails.

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};

use parking_lot::RwLock;
use rocksdb::{ColumnFamily, DB, DBRawIterator, ErrorKind, ReadOptions};

use crate::api::{Decision, Options, Stream, Verdict};
use crate::base::Base;
use crate::cache::Cache;
use crate::declared::Declared;
use crate::error::{Error, Result};
use crate::failpoint::Failpoints;
use crate::key::{self, Family, StreamKey};
use crate::record::{self, ChunkView, Known};
use crate::timelines::Timelines;
use crate::waiters::Waiters;

/// Kinds of `keys` records.
pub const KEY_PIN: u8 = 0;
pub const KEY_PROVENANCE: u8 = 1;
pub const KEY_EXTERNAL: u8 = 2;
/// By the first sequence of an append that was held back: where it was released to.
pub const KEY_RELEASED: u8 = 3;

pub struct Store {
    pub db: DB,
    pub path: PathBuf,
    pub options: Options,
    pub cache: Cache,
    pub failpoints: Failpoints,
    pub waiters: Arc<Waiters>,
    /// Some stream has a snapshot: without any, nobody needs to look for one.
    pub has_snapshots: AtomicBool,
    pub group_count: AtomicU64,
    pub append_count: AtomicU64,
    pub timelines: Arc<Timelines>,
    pub declared: RwLock<Declared>,
}

impl Store {
    pub fn new(db: DB, options: Options, failpoints: Failpoints) -> Self {
        Self {
            db,
            path: options.path.clone(),
            cache: Cache::new(options.cache_bytes),
            options,
            failpoints,
            waiters: Arc::default(),
            has_snapshots: AtomicBool::new(false),
            group_count: AtomicU64::new(0),
            append_count: AtomicU64::new(0),
            timelines: Arc::default(),
            declared: RwLock::default(),
        }
    }

    pub fn family(&self, family: Family) -> Result<&ColumnFamily> {
        self.db
            .cf_handle(family.name())
            .ok_or_else(|| Error::Corrupt {
                location: self.path.display().to_string(),
                found: "no such column family".into(),
                wanted: family.name().into(),
            })
    }

    pub fn get(&self, family: Family, key: &[u8]) -> Result<Option<Vec<u8>>> {
        self.db.get_cf(self.family(family)?, key).map_err(disk)
    }

    /// Gives every (key, value) under `prefix` from `from` on to `visit`, ascending, until it breaks.
    pub fn scan(
        &self,
        family: Family,
        prefix: &[u8],
        from: &[u8],
        mut visit: impl FnMut(&[u8], &[u8]) -> Result<ControlFlow<()>>,
    ) -> Result<()> {
        let mut iterator = self.iterator(family, prefix)?;
        iterator.seek(from);
        while let Some((key, value)) = iterator.item() {
            if visit(key, value)?.is_break() {
                break;
            }
            iterator.next();
        }
        iterator.status().map_err(disk)
    }

    /// An iterator over the keys that start with `prefix`.
    pub fn iterator(&self, family: Family, prefix: &[u8]) -> Result<DBRawIterator<'_>> {
        let mut options = ReadOptions::default();
        // Within one stream the filters on stream keys apply; anything wider must not use them.
        let is_stream = family == Family::Events && prefix.len() == key::STREAM_BYTES;
        options.set_total_order_seek(!is_stream);
        if is_stream {
            options.set_prefix_same_as_start(true);
        }
        if !prefix.is_empty() {
            options.set_iterate_lower_bound(prefix);
            if let Some(end) = key::after_prefix(prefix) {
                options.set_iterate_upper_bound(end);
            }
        }
        Ok(self.db.raw_iterator_cf_opt(self.family(family)?, options))
    }

    /// The greatest key of `family` under `prefix` that is not above `key`, and its value.
    pub fn last_at(
        &self,
        family: Family,
        prefix: &[u8],
        key: &[u8],
    ) -> Result<Option<(Vec<u8>, Vec<u8>)>> {
        let mut iterator = self.iterator(family, prefix)?;
        iterator.seek_for_prev(key);
        let found = iterator
            .item()
            .map(|(key, value)| (key.to_vec(), value.to_vec()));
        iterator.status().map_err(disk)?;
        Ok(found)
    }

    /// The stream's own next sequence by its last chunk; None without pages.
    pub fn own_next(&self, stream: &StreamKey) -> Result<Option<u64>> {
        let mut iterator = self.iterator(Family::Events, stream)?;
        iterator.seek_for_prev(key::page(stream, u64::MAX));
        let Some((key, value)) = iterator.item() else {
            iterator.status().map_err(disk)?;
            return Ok(None);
        };
        let (_, first) = key::parse_page(key).ok_or_else(|| self.bad("events key", key))?;
        let chunk = ChunkView::parse(value).ok_or_else(|| self.bad_page(stream, first))?;
        Ok(Some(first + chunk.count))
    }

    /// What the branch was pinned on; None on main and before its first write.
    pub fn pin(&self, stream: &StreamKey) -> Result<Option<Base>> {
        let key = key::idempotency(stream, KEY_PIN, b"");
        let Some(value) = self.get(Family::Keys, &key)? else {
            return Ok(None);
        };
        let timeline = key::timeline_of(stream);
        match Base::parse(&value, stream, || self.timelines.main_beside(timeline)) {
            Some(base) => Ok(Some(base)),
            // Deleted since it was read.
            None if self.timelines.names(timeline).is_none() => Ok(None),
            None => Err(self.bad("pin", &value)),
        }
    }

    pub fn decision(&self, cascade_id: &str) -> Result<Option<Decision>> {
        let value = self.get(Family::Cascades, &key::decision(cascade_id))?;
        value
            .map(|value| self.parse_decision(cascade_id, &value))
            .transpose()
    }

    pub fn parse_decision(&self, cascade_id: &str, value: &[u8]) -> Result<Decision> {
        record::parse_decision(cascade_id, value).ok_or_else(|| self.bad("decision", value))
    }

    pub fn parse_known(&self, value: &[u8]) -> Result<Known> {
        Known::parse(value).ok_or_else(|| self.bad("keys value", value))
    }

    /// (stored at, retention is in the bytes, snapshot) of the newest at or below `sequence`, with its sequence.
    pub fn snapshot_at(&self, stream: &StreamKey, sequence: u64) -> Result<Option<(u64, Vec<u8>)>> {
        let Some((key, value)) =
            self.last_at(Family::Snapshots, stream, &key::page(stream, sequence))?
        else {
            return Ok(None);
        };
        let (_, sequence) = key::parse_page(&key).ok_or_else(|| self.bad("snapshots key", &key))?;
        let (_, bytes) =
            record::parse_timed(&value).ok_or_else(|| self.bad("snapshots value", &value))?;
        Ok(Some((sequence, bytes.to_vec())))
    }

    pub fn flush(&self) -> Result<()> {
        let mut families = Vec::with_capacity(Family::ALL.len());
        for family in Family::ALL {
            families.push(self.family(family)?);
        }
        self.db
            .flush_cfs_opt(&families, &rocksdb::FlushOptions::default())
            .map_err(disk)
    }

    pub fn bad(&self, what: &str, bytes: &[u8]) -> Error {
        let shown = hex(&bytes[..bytes.len().min(48)]);
        Error::Corrupt {
            location: format!("{what} in {}", self.path.display()),
            found: shown,
            wanted: "what this engine writes".into(),
        }
    }

    /// The page at `sequence`, or the chunk that should hold it, is not what was written.
    pub fn bad_page(&self, stream: &StreamKey, sequence: u64) -> Error {
        self.corrupt(stream, sequence, "bytes that do not parse", "encoded pages")
    }

    pub fn corrupt(&self, stream: &StreamKey, sequence: u64, found: &str, wanted: &str) -> Error {
        let root = hex(&key::root_of(stream));
        let location = match self.timelines.names(key::timeline_of(stream)) {
            Some((domain, edition)) => {
                format!("events {domain}/{root}@{edition} sequence {sequence}")
            }
            None => format!(
                "events timeline {}/{root} sequence {sequence}",
                key::timeline_of(stream)
            ),
        };
        Error::Corrupt {
            location,
            found: found.into(),
            wanted: wanted.into(),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    let digit = |nibble: u8| char::from_digit(u32::from(nibble), 16).unwrap_or('?');
    bytes
        .iter()
        .flat_map(|byte| [digit(byte >> 4), digit(byte & 15)])
        .collect()
}

/// The acceptance does not count: all its pages are revoked (CMD-28).
pub fn is_revoked(known: &Known, decision: Option<&Decision>) -> bool {
    known.count > 0 && decision.is_some_and(|decision| decision.verdict == Verdict::Rollback)
}

/// The stream is the main timeline's.
pub fn is_main(stream: &Stream) -> bool {
    stream.edition == crate::api::MAIN
}

/// RocksDB's errors: damage is told from a disk that fails.
#[allow(clippy::needless_pass_by_value)] // the form of map_err
pub fn disk(error: rocksdb::Error) -> Error {
    match error.kind() {
        ErrorKind::Corruption => Error::Corrupt {
            location: "rocksdb".into(),
            found: error.to_string(),
            wanted: "data as it was written".into(),
        },
        _ => Error::Unavailable {
            cause: error.to_string(),
        },
    }
}
