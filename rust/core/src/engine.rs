//! The public face: one open store.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;

use crossbeam_channel::{Sender, TrySendError, bounded};
use parking_lot::{Mutex, RwLock};
use rocksdb::checkpoint::Checkpoint;

use crate::api::{
    Accepted, Book, Branch, Columns, Decision, Edition, FORMAT_VERSION, Facts, Key, LogEntry,
    Options, Participant, Pending, Scan, Stream, Usage, Verified, Write, Written,
};
use crate::committer::{Committer, Desk, Job, Sent, run_flusher};
use crate::error::{Error, Result};
use crate::failpoint::{self, Failpoints};
use crate::key::{self, Family};
use crate::open::{Opened, dir_size, open};
use crate::prepare::invalid;
use crate::store::{Store, disk};
use crate::waiters::Waiters;
use crate::wal;

/// Called once with what a write came to, on the thread that commits: it must be quick and must not call the engine.
pub type Done = Box<dyn FnOnce(Result<Written>) + Send>;
/// Called once when the log has grown, or the store is closing.
pub type Wake = Box<dyn FnOnce() + Send>;

/// An open store. Cheap to clone; all clones are one store.
///
/// Every call answers `Forked` in another process than the one that opened it, and `Closed` after [`Engine::close`].
#[derive(Clone)]
pub struct Engine(Arc<Inner>);

struct Inner {
    process: u32,
    queue_max: usize,
    /// Readers hold it while they read; `close` takes what is in it.
    store: RwLock<Option<Arc<Store>>>,
    sender: RwLock<Option<Sender<Job>>>,
    desk: Arc<Desk>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Engine {
    /// Opens the store at `options.path`, which is created if it is missing, and repairs a torn tail of its log.
    ///
    /// # Errors
    /// `Locked` if it is open already, `FormatTooNew`, `Corrupt`, `Unavailable`.
    pub fn open(options: Options) -> Result<Self> {
        Self::open_with(options, Failpoints::from_environment()?)
    }

    pub(crate) fn open_with(options: Options, failpoints: Failpoints) -> Result<Self> {
        let queue_max = options.limits.writer_queue;
        let Opened {
            store,
            wal,
            pending_count,
            next_timeline,
        } = open(options, failpoints)?;
        let (sender, jobs) = bounded(queue_max);
        let (flush, flushes) = bounded(1);
        let flushed_lsn = Arc::new(AtomicU64::new(0));
        let desk = Arc::new(Desk::new(Committer::new(
            Arc::clone(&store),
            wal,
            (pending_count, next_timeline),
            flush,
            Arc::clone(&flushed_lsn),
        )));
        let served = Arc::clone(&desk);
        let flusher_store = Arc::clone(&store);
        let threads = vec![
            spawn("angzarr-commit", move || served.run(&jobs))?,
            spawn("angzarr-flush", move || {
                run_flusher(&flusher_store, &flushes, &flushed_lsn);
            })?,
        ];
        Ok(Self(Arc::new(Inner {
            process: std::process::id(),
            queue_max,
            store: RwLock::new(Some(store)),
            sender: RwLock::new(Some(sender)),
            desk,
            threads: Mutex::new(threads),
        })))
    }

    /// Queues a write; `done` gets what it came to.
    ///
    /// # Errors
    /// `Overloaded`, `Closed` or `Forked` at once; `done` is not called then.
    pub fn submit(&self, write: Write, done: Done) -> Result<()> {
        let job = self.read(|store| Ok(Job::new(write, store, done)))?;
        self.queue(job)
    }

    /// As `submit`; but where nobody else writes and the disk is quick, this thread commits, which takes a flush. Then
    /// what it came to is returned, with `done`, which was not called.
    ///
    /// # Errors
    /// Those of `submit`.
    pub fn submit_alone(
        &self,
        write: Write,
        done: Done,
    ) -> Result<Option<(Result<Written>, Done)>> {
        self.commit_or_queue(write, done, true)
    }

    /// Writes and waits for it.
    ///
    /// # Errors
    /// Those of `submit` and of the write.
    pub fn write(&self, write: Write) -> Result<Written> {
        let (sender, answer) = bounded(1);
        let done = Box::new(move |written| drop(sender.send(written)));
        match self.commit_or_queue(write, done, false)? {
            Some((written, _)) => written,
            None => answer.recv().unwrap_or(Err(Error::Closed)),
        }
    }

    fn commit_or_queue(
        &self,
        write: Write,
        done: Done,
        quick: bool,
    ) -> Result<Option<(Result<Written>, Done)>> {
        let job = self.read(|store| Ok(Job::new(write, store, done)))?;
        match self.0.desk.try_commit(job, quick) {
            Sent::Committed(written, done) => Ok(Some((written, done))),
            Sent::Queued(job) => self.queue(job).map(|()| None),
        }
    }

    fn queue(&self, job: Job) -> Result<()> {
        let sender = self.0.sender.read();
        let sender = sender.as_ref().ok_or(Error::Closed)?;
        self.0.desk.announce();
        sender.try_send(job).map_err(|refused| {
            self.0.desk.forget(1);
            match refused {
                TrySendError::Full(_) => Error::Overloaded {
                    queue: "writer_queue".into(),
                    limit: self.0.queue_max,
                },
                TrySendError::Disconnected(_) => Error::Closed,
            }
        })
    }

    pub fn load(
        &self,
        stream: &Stream,
        start: u64,
        stop: Option<u64>,
        divergence: Option<u64>,
    ) -> Result<Book> {
        self.read(|store| store.load(stream, start, stop, divergence))
    }

    pub fn load_until(
        &self,
        stream: &Stream,
        time_ns: i64,
        divergence: Option<u64>,
    ) -> Result<Book> {
        self.read(|store| store.load_until(stream, time_ns, divergence))
    }

    pub fn load_latest(&self, stream: &Stream, divergence: Option<u64>) -> Result<Book> {
        self.read(|store| store.load_latest(stream, divergence))
    }

    pub fn next_sequence(&self, stream: &Stream, divergence: Option<u64>) -> Result<u64> {
        self.read(|store| store.next_sequence(stream, divergence))
    }

    /// How many leading pages of the composite stream were in the log when its head was at `position`.
    pub fn length_at(
        &self,
        stream: &Stream,
        position: u64,
        divergence: Option<u64>,
    ) -> Result<u64> {
        self.read(|store| store.length_at(stream, position, divergence))
    }

    pub fn divergence(&self, stream: &Stream) -> Result<Option<u64>> {
        self.read(|store| store.divergence(stream))
    }

    pub fn pending(&self, stream: &Stream) -> Result<Vec<Pending>> {
        self.read(|store| store.pending(stream))
    }

    pub fn roots(&self, domain: &str, edition: &str) -> Result<Vec<[u8; 16]>> {
        self.read(|store| store.roots(domain, edition))
    }

    pub fn domains(&self) -> Result<Vec<String>> {
        self.read(Store::domains)
    }

    pub fn editions(&self, domain: &str) -> Result<Vec<String>> {
        self.read(|store| store.editions(domain))
    }

    pub fn edition(&self, name: &str) -> Result<Option<Edition>> {
        self.read(|store| Ok(store.edition(name)))
    }

    /// Declared editions, names ascending.
    pub fn declared(&self) -> Result<Vec<Edition>> {
        self.read(|store| Ok(store.declared.read().all()))
    }

    /// What an edition holds of its own, over all domains.
    pub fn usage(&self, edition: &str) -> Result<Usage> {
        self.read(|store| store.usage(edition))
    }

    /// Streams with pages on exactly this edition, roots ascending, those above `after`, at most `limit`.
    pub fn branches(
        &self,
        domain: &str,
        edition: &str,
        after: &[u8],
        limit: usize,
    ) -> Result<Vec<Branch>> {
        self.read(|store| store.branches(domain, edition, after, limit))
    }

    pub fn by_correlation(
        &self,
        id: &str,
        domain: Option<&str>,
        edition: Option<&str>,
    ) -> Result<Vec<Book>> {
        self.read(|store| store.by_correlation(id, domain, edition))
    }

    pub fn find_key(&self, stream: &Stream, key: &Key) -> Result<Option<Accepted>> {
        self.read(|store| store.find_key(stream, key))
    }

    pub fn stale_cascades(&self, before_ns: i64) -> Result<Vec<String>> {
        self.read(|store| store.stale_cascades(before_ns))
    }

    /// Decided cascades with pages that no marker resolves yet, ids ascending.
    pub fn unfinished_cascades(&self) -> Result<Vec<String>> {
        self.read(Store::unfinished_cascades)
    }

    pub fn participants(&self, cascade_id: &str) -> Result<Vec<Participant>> {
        self.read(|store| store.participants(cascade_id))
    }

    pub fn decision(&self, cascade_id: &str) -> Result<Option<Decision>> {
        self.read(|store| store.decision(cascade_id))
    }

    /// Log entries with position > `after`, at most `limit`; does not wait.
    pub fn tail(&self, after: u64, limit: usize) -> Result<Vec<LogEntry>> {
        self.read(|store| store.tail(after, limit))
    }

    /// Rows of the log as columns.
    pub fn scan(&self, scan: &Scan) -> Result<Columns> {
        self.read(|store| store.scan_log(scan))
    }

    /// Runs `wake` once when the log's head is above `after` (at once if it is) or the store closes; a ticket.
    pub fn notify_after(&self, after: u64, wake: Wake) -> Result<u64> {
        // The store's lock is not held while `wake` runs, which may call the engine.
        Ok(self.waiters()?.add(after, wake))
    }

    /// Cancels a `notify_after`.
    pub fn forget(&self, ticket: u64) {
        if let Ok(waiters) = self.waiters() {
            waiters.forget(ticket);
        }
    }

    pub fn log_head(&self) -> Result<u64> {
        self.read(|store| Ok(store.waiters.head()))
    }

    pub fn snapshot_get(&self, stream: &Stream) -> Result<Option<Vec<u8>>> {
        self.read(|store| store.snapshot(stream, u64::MAX))
    }

    pub fn snapshot_get_at(&self, stream: &Stream, sequence: u64) -> Result<Option<Vec<u8>>> {
        self.read(|store| store.snapshot(stream, sequence))
    }

    pub fn position(&self, consumer: &str, stream: &Stream) -> Result<Option<u64>> {
        self.read(|store| store.position(consumer, stream))
    }

    pub fn cursor(&self, consumer: &str) -> Result<Option<u64>> {
        self.read(|store| store.cursor(consumer))
    }

    pub fn record(&self, space: &str, key: &[u8]) -> Result<Option<Vec<u8>>> {
        self.read(|store| store.get(Family::Records, &key::record(space, key)))
    }

    /// (key, value) of a space, ascending from `from` on, or descending below it.
    pub fn records(
        &self,
        space: &str,
        from: Option<&[u8]>,
        limit: usize,
        reverse: bool,
    ) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
        self.read(|store| store.records(space, from, limit, reverse))
    }

    /// Writes a consistent copy into the directory `target`, which must be missing or empty, while the store serves.
    pub fn checkpoint(&self, target: &Path) -> Result<()> {
        self.read(|store| {
            store.failpoints.hit(failpoint::CHECKPOINT)?;
            let is_taken =
                std::fs::read_dir(target).is_ok_and(|mut entries| entries.next().is_some());
            if is_taken || target.is_file() {
                let shown = target.display().to_string();
                return Err(invalid("target", "a new or empty directory", &shown));
            }
            if target.exists() {
                std::fs::remove_dir(target).map_err(wal::failed("replace", target))?;
            } else if let Some(parent) = target.parent() {
                std::fs::create_dir_all(parent).map_err(wal::failed("create", parent))?;
            }
            store.flush()?;
            let checkpoint = Checkpoint::new(&store.db).map_err(disk)?;
            checkpoint.create_checkpoint(target).map_err(disk)
        })
    }

    /// Walks everything: log against streams, sequences, pages, checksums.
    ///
    /// # Errors
    /// `Corrupt` for the first thing that is wrong.
    pub fn verify(&self) -> Result<Verified> {
        self.read(Store::verify)
    }

    pub fn facts(&self) -> Result<Facts> {
        self.read(|store| {
            let mut memory_bytes = store.cache.weight() as u64;
            for family in Family::ALL {
                let handle = store.family(family)?;
                let name = "rocksdb.size-all-mem-tables";
                memory_bytes += store
                    .db
                    .property_int_value_cf(handle, name)
                    .map_err(disk)?
                    .unwrap_or(0);
            }
            Ok(Facts {
                format_version: FORMAT_VERSION,
                size_bytes: dir_size(&store.path),
                log_head: store.waiters.head(),
                memory_bytes,
                group_count: store.group_count.load(Ordering::Relaxed),
                append_count: store.append_count.load(Ordering::Relaxed),
            })
        })
    }

    /// Finishes accepted writes and reads, then refuses everything with `Closed`. Idempotent. Not to be called from a
    /// `Done` or `Wake`.
    pub fn close(&self) -> Result<()> {
        self.0.check_process()?;
        self.0.close()
    }

    fn read<T>(&self, read: impl FnOnce(&Store) -> Result<T>) -> Result<T> {
        self.0.check_process()?;
        // Recursive: a reader's callback may read again while `close` waits.
        let store = self.0.store.read_recursive();
        read(store.as_deref().ok_or(Error::Closed)?)
    }

    fn waiters(&self) -> Result<Arc<Waiters>> {
        self.read(|store| Ok(Arc::clone(&store.waiters)))
    }
}

impl Inner {
    fn check_process(&self) -> Result<()> {
        let used_in = std::process::id();
        if used_in == self.process {
            return Ok(());
        }
        Err(Error::Forked {
            opened_in: self.process,
            used_in,
        })
    }

    fn close(&self) -> Result<()> {
        drop(self.sender.write().take());
        let mut threads = self.threads.lock();
        let has_panicked = threads
            .drain(..)
            .map(JoinHandle::join)
            .any(|ended| ended.is_err());
        let Some(store) = self.store.write().take() else {
            return Ok(());
        };
        store.waiters.close();
        let flushed = store.flush();
        drop(store); // the last one: RocksDB gives its lock up
        if has_panicked {
            return Err(Error::Unavailable {
                cause: "the committer failed".into(),
            });
        }
        flushed
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if self.check_process().is_ok() {
            drop(self.close());
        } else if let Some(store) = self.store.write().take() {
            // A child has neither our threads nor RocksDB's: it can't end what the parent goes on using.
            std::mem::forget(store);
        }
    }
}

fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>> {
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(body)
        .map_err(|error| Error::Unavailable {
            cause: format!("thread {name}: {error}"),
        })
}
