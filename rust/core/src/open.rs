//! Opening: lock, format, recovery of the log, and what the committer has to know before it starts.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use rocksdb::{
    BlockBasedOptions, Cache, ColumnFamilyDescriptor, DB, DBCompressionType, LogLevel,
    Options as DbOptions, SliceTransform, WriteBatch,
};

use crate::api::{Edition, FORMAT_VERSION, Options};
use crate::error::{Error, Result};
use crate::failpoint::{self, Failpoints};
use crate::key::{self, Family};
use crate::store::{Store, disk};
use crate::timelines::Timelines;
use crate::wal::{self, Wal};

const WAL_DIR: &str = "wal";
/// Holds the process id of who has the store open, for whom it is locked out.
const OWNER_FILE: &str = "owner";
const BLOCK_BYTES: usize = 16 << 10;
const FILTER_BITS: f64 = 10.0;
const OPEN_FILE_COUNT_MAX: i32 = 512;

/// An open store and what the committer needs.
pub struct Opened {
    pub store: Arc<Store>,
    pub wal: Wal,
    pub pending_count: u64,
    pub next_timeline: u32,
}

pub fn open(options: Options, failpoints: Failpoints) -> Result<Opened> {
    let path = options.path.clone();
    std::fs::create_dir_all(&path).map_err(wal::failed("create", &path))?;
    let db = open_db(&options, &path)?;
    std::fs::write(path.join(OWNER_FILE), std::process::id().to_string())
        .map_err(wal::failed("write", &path.join(OWNER_FILE)))?;

    let store = Store::new(db, options, failpoints);
    let applied_lsn = check_format(&store)?;
    let wal_dir = path.join(WAL_DIR);
    let recovered = wal::recover(&wal_dir, applied_lsn, |payload| {
        store
            .db
            .write_without_wal(WriteBatch::from_data(payload))
            .map_err(disk)
    })?;
    if recovered.applied_count > 0 {
        store.flush()?;
    }
    store.failpoints.hit(failpoint::AFTER_RECOVER)?;
    let wal = Wal::start(&wal_dir, &recovered)?;
    let (pending_count, next_timeline) = load(&store)?;
    Ok(Opened {
        store: Arc::new(store),
        wal,
        pending_count,
        next_timeline,
    })
}

/// Number of the last group in RocksDB.
fn check_format(store: &Store) -> Result<u64> {
    let Some(found) = store.get(Family::Meta, key::META_FORMAT)? else {
        put_format(store)?;
        return Ok(0);
    };
    let found = key::parse_u32(&found).ok_or_else(|| store.bad("format", &found))?;
    if found > FORMAT_VERSION {
        return Err(Error::FormatTooNew {
            found,
            supported: FORMAT_VERSION,
        });
    }
    if found < FORMAT_VERSION {
        // What older ones wrote is read as it is; they could not read what is written from now on.
        put_format(store)?;
    }
    Ok(store.number(Family::Meta, key::META_LSN)?.unwrap_or(0))
}

fn put_format(store: &Store) -> Result<()> {
    let mut batch = WriteBatch::default();
    let (meta, format) = (store.family(Family::Meta)?, FORMAT_VERSION.to_be_bytes());
    batch.put_cf(meta, key::META_FORMAT, format);
    store.db.write_without_wal(batch).map_err(disk)?;
    store.flush()
}

/// Reads what is kept in memory from the start. (Unresolved pending pages, the next timeline.)
fn load(store: &Store) -> Result<(u64, u32)> {
    let next_timeline = match store.get(Family::Meta, key::META_NEXT_TIMELINE)? {
        Some(value) => key::parse_u32(&value).ok_or_else(|| store.bad("next timeline", &value))?,
        None => 1,
    };
    store.scan(
        Family::Meta,
        key::META_TIMELINE,
        key::META_TIMELINE,
        |key, value| {
            let bad = || store.bad("timeline", key);
            let number = key
                .strip_prefix(key::META_TIMELINE)
                .and_then(key::parse_u32)
                .ok_or_else(bad)?;
            let (domain, edition) = Timelines::parse(value).ok_or_else(bad)?;
            store.timelines.insert(number, &domain, &edition);
            Ok(ControlFlow::Continue(()))
        },
    )?;
    load_declared(store)?;

    if let Some((key, _)) = store.last_at(Family::Log, &[], &key::log(u64::MAX))? {
        store
            .waiters
            .set_head(key::parse_u64(&key).ok_or_else(|| store.bad("log key", &key))?);
    }
    let mut snapshots = store.iterator(Family::Snapshots, &[])?;
    snapshots.seek_to_first();
    store
        .has_snapshots
        .store(snapshots.valid(), Ordering::Release);
    snapshots.status().map_err(disk)?;

    let mut pending_count = 0;
    let prefix = key::pending_by_stream_prefix(&[]);
    store.scan(Family::Cascades, &prefix, &prefix, |_, _| {
        pending_count += 1;
        Ok(ControlFlow::Continue(()))
    })?;
    Ok((pending_count, next_timeline))
}

fn load_declared(store: &Store) -> Result<()> {
    let mut declared = store.declared.write();
    let prefix = key::META_EDITION;
    store.scan(Family::Meta, prefix, prefix, |key, value| {
        let name = key.strip_prefix(prefix).unwrap_or_default();
        let record = Edition::parse(name, value).ok_or_else(|| store.bad("edition", key))?;
        declared.put(Arc::new(record));
        Ok(ControlFlow::Continue(()))
    })
}

fn open_db(options: &Options, path: &Path) -> Result<DB> {
    let cache = Cache::new_lru_cache(options.block_cache_bytes);
    let db_options = db_options(options);
    let known = Family::ALL.map(|family| family.name().to_owned());
    // A newer format may have families that we know nothing of; open them, to say so properly.
    let there = DB::list_cf(&db_options, path).unwrap_or_default();
    let unknown = there.into_iter().filter(|name| !known.contains(name));
    let mut descriptors: Vec<_> = unknown
        .map(|name| ColumnFamilyDescriptor::new(name, DbOptions::default()))
        .collect();
    descriptors.extend(Family::ALL.map(|family| {
        ColumnFamilyDescriptor::new(family.name(), family_options(family, options, &cache))
    }));
    DB::open_cf_descriptors(&db_options, path, descriptors).map_err(|error| {
        if error.as_ref().contains("lock") && error.as_ref().contains("LOCK") {
            Error::Locked {
                holder: owner(path),
            }
        } else {
            disk(error)
        }
    })
}

fn owner(path: &Path) -> Option<u32> {
    std::fs::read_to_string(path.join(OWNER_FILE))
        .ok()?
        .trim()
        .parse()
        .ok()
}

fn db_options(options: &Options) -> DbOptions {
    let mut db = DbOptions::default();
    db.create_if_missing(true);
    db.create_missing_column_families(true);
    // The engine has a log of its own (wal.rs): all families are flushed at one point of time, or none.
    db.set_atomic_flush(true);
    db.set_db_write_buffer_size(options.write_buffer_bytes.saturating_mul(2));
    db.set_max_open_files(OPEN_FILE_COUNT_MAX);
    db.set_max_background_jobs(2);
    db.set_stats_dump_period_sec(0);
    db.set_stats_persist_period_sec(0);
    db.set_keep_log_file_num(2);
    db.set_max_log_file_size(4 << 20);
    db.set_log_level(LogLevel::Warn);
    db
}

fn family_options(family: Family, options: &Options, cache: &Cache) -> DbOptions {
    let mut out = DbOptions::default();
    out.set_write_buffer_size(options.write_buffer_bytes);
    out.set_compression_type(DBCompressionType::Lz4);
    out.set_bottommost_compression_type(DBCompressionType::Zstd);
    let mut table = BlockBasedOptions::default();
    table.set_block_cache(cache);
    table.set_block_size(BLOCK_BYTES);
    table.set_format_version(5);
    match family {
        Family::Events => {
            // Whether a stream exists is answered by filters on (timeline, root).
            out.set_prefix_extractor(SliceTransform::create_fixed_prefix(key::STREAM_BYTES));
            out.set_memtable_prefix_bloom_ratio(0.05);
            table.set_bloom_filter(FILTER_BITS, false);
            table.set_whole_key_filtering(false);
        }
        Family::Keys | Family::Records | Family::Positions | Family::Cascades => {
            table.set_bloom_filter(FILTER_BITS, false);
        }
        _ => {}
    }
    out.set_block_based_table_factory(&table);
    out
}

/// Bytes of all files under `dir`.
pub fn dir_size(dir: &Path) -> u64 {
    let mut size = 0;
    let mut dirs: Vec<PathBuf> = vec![dir.to_owned()];
    while let Some(dir) = dirs.pop() {
        // Files come and go while we look; what is gone counts nothing.
        for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
            match entry.metadata() {
                Ok(metadata) if metadata.is_dir() => dirs.push(entry.path()),
                Ok(metadata) => size += metadata.len(),
                Err(_) => {}
            }
        }
    }
    size
}
