//! The one place that changes the store: it takes what waits, checks it in order of arrival, and makes it durable as
//! one group. It has a thread; a lone writer commits on its own thread instead, which saves two wake-ups (decision
//! 008).

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crossbeam_channel::{Receiver, Sender};
use parking_lot::Mutex;

use crate::api::{Stream, Usage, Write, Written};
use crate::declared::Declared;
use crate::edition::Declaration;
use crate::engine::Done;
use crate::error::{Error, Result};
use crate::failpoint;
use crate::generations::Generations;
use crate::group::Group;
use crate::heads::Head;
use crate::key::{self, Family, StreamKey};
use crate::prepare::{Prepared, prepare};
use crate::store::{Store, disk};
use crate::timelines::{Numbering, Timelines};
use crate::wal::Wal;

/// Of one group.
const GROUP_COUNT_MAX: usize = 1024;
const GROUP_BYTES_MAX: usize = 8 << 20;
/// Streams whose heads are kept in memory.
const HEAD_COUNT_MAX: usize = 100_000;
/// A mean flush up to which an event loop may wait for one.
const QUICK_FLUSH_NS: u64 = 250_000;
/// A write up to which it may wait for one.
const QUICK_BYTES: usize = 64 << 10;
/// Of a group's log record beside its pages, more or less; if it is more, the log grows while the loop waits.
const QUICK_MARGIN_BYTES: usize = 4 << 10;

/// A write, prepared or refused, and whom to tell.
pub struct Job {
    prepared: Result<Prepared>,
    done: Done,
}

impl Job {
    pub fn new(write: Write, store: &Store, done: Done) -> Self {
        Self {
            prepared: prepare(write, &store.options.limits),
            done,
        }
    }

    /// What it came to goes into the slot that is returned, instead of to whom it was made for.
    fn with_slot(&mut self) -> (Slot, Done) {
        let slot = Slot::default();
        let filled = Arc::clone(&slot);
        let done = Box::new(move |written| *filled.lock() = Some(written));
        (slot, std::mem::replace(&mut self.done, done))
    }

    fn byte_count(&self) -> usize {
        self.prepared
            .as_ref()
            .map_or(0, |prepared| prepared.pages.byte_count)
    }
}

type Slot = Arc<Mutex<Option<Result<Written>>>>;

/// A write's fate: on its way, or committed already, with the `Done` that is not needed then.
#[allow(clippy::large_enum_variant)] // it is matched where it is made, and kept nowhere
pub enum Sent {
    Queued(Job),
    Committed(Result<Written>, Done),
}

/// The committer and its queue. `queued` counts the jobs that were submitted and are not committed.
pub struct Desk {
    /// None when it has ended, or failed in the middle of a group.
    committer: Mutex<Option<Committer>>,
    queued: AtomicUsize,
}

impl Desk {
    pub fn new(committer: Committer) -> Self {
        Self {
            committer: Mutex::new(Some(committer)),
            queued: AtomicUsize::new(0),
        }
    }

    /// To be called before a job is put into the queue; `forget` where that fails.
    pub fn announce(&self) {
        self.queued.fetch_add(1, Ordering::SeqCst);
    }

    pub fn forget(&self, count: usize) {
        self.queued.fetch_sub(count, Ordering::SeqCst);
    }

    /// Commits the job on this thread if nobody else writes; else it is for the queue.
    /// `quick`: only where that takes no longer than an event loop may wait.
    pub fn try_commit(&self, mut job: Job, quick: bool) -> Sent {
        if self.queued.load(Ordering::SeqCst) > 0 {
            return Sent::Queued(job);
        }
        let Some(mut place) = self.committer.try_lock() else {
            return Sent::Queued(job);
        };
        // Taken out, so that a panic leaves none that has half a group in it.
        let Some(mut committer) = place.take() else {
            return Sent::Queued(job);
        };
        if quick && !committer.is_quick(&job) {
            *place = Some(committer);
            return Sent::Queued(job);
        }
        let (slot, done) = job.with_slot();
        committer.commit(VecDeque::from([job]));
        *place = Some(committer);
        let written = slot.lock().take().unwrap_or(Err(Error::Closed));
        Sent::Committed(written, done)
    }

    /// Serves until all senders are gone, then ends with everything durable.
    pub fn run(&self, jobs: &Receiver<Job>) {
        while let Ok(first) = jobs.recv() {
            let mut place = self.committer.lock();
            let Some(mut committer) = place.take() else {
                let cause = "a commit failed half-way; open the store again".into();
                (first.done)(Err(Error::Unavailable { cause }));
                continue;
            };
            let mut byte_count = first.byte_count();
            let mut members = VecDeque::from([first]);
            while members.len() < GROUP_COUNT_MAX
                && byte_count < GROUP_BYTES_MAX
                && let Ok(job) = jobs.try_recv()
            {
                byte_count += job.byte_count();
                members.push_back(job);
            }
            let member_count = members.len();
            committer.commit(members);
            *place = Some(committer);
            self.forget(member_count);
        }
        if let Some(committer) = self.committer.lock().take() {
            committer.end();
        }
    }
}

pub struct Committer {
    pub store: Arc<Store>,
    pub timelines: Numbering,
    pub declared: Declared,
    /// Of declared editions with a quota, once something was appended to them.
    pub usages: HashMap<String, Usage>,
    /// Unresolved pending pages of the whole store.
    pub pending_count: u64,
    pub log_head: u64,
    pub heads: Generations<StreamKey, Head>,
    wal: Wal,
    failure: Option<Error>,
    flush: Sender<u64>,
    flushed_lsn: Arc<AtomicU64>,
}

impl Committer {
    pub fn new(
        store: Arc<Store>,
        wal: Wal,
        (pending_count, next_timeline): (u64, u32),
        flush: Sender<u64>,
        flushed_lsn: Arc<AtomicU64>,
    ) -> Self {
        let declared = store.declared.read().clone();
        Self {
            timelines: Numbering::new(Arc::clone(&store.timelines), next_timeline),
            declared,
            usages: HashMap::new(),
            pending_count,
            log_head: store.waiters.head(),
            heads: Generations::new(HEAD_COUNT_MAX),
            wal,
            failure: None,
            flush,
            flushed_lsn,
            store,
        }
    }

    /// Whether the job takes no more than a flush, and flushes are quick: nothing has to grow or be cleared away.
    fn is_quick(&self, job: &Job) -> bool {
        let byte_count = job.byte_count();
        let is_synced = job
            .prepared
            .as_ref()
            .is_ok_and(|prepared| self.wants_sync(&prepared.write));
        byte_count <= QUICK_BYTES
            && (!is_synced || self.wal.flush_ns() <= QUICK_FLUSH_NS)
            && self.wal.has_room(2 * byte_count + QUICK_MARGIN_BYTES)
    }

    /// Makes durable what nobody was promised.
    fn end(mut self) {
        if self.failure.is_none() && self.wal.is_dirty() {
            drop(self.wal.sync());
        }
    }

    /// Commits all of `jobs`, in one group unless one of them needs its predecessors on disk.
    fn commit(&mut self, mut jobs: VecDeque<Job>) {
        while !jobs.is_empty() {
            let store = Arc::clone(&self.store);
            let mut group = Group::new(&store, self.log_head);
            let mut answers = Vec::with_capacity(jobs.len());
            while let Some(job) = jobs.pop_front() {
                if !answers.is_empty() && self.must_follow(&group, &job) {
                    jobs.push_front(job);
                    break;
                }
                let answer = match (&self.failure, job.prepared) {
                    (Some(failure), _) => Err(failure.clone()),
                    (None, Ok(prepared)) => self.apply(&mut group, prepared),
                    (None, Err(error)) => Err(error),
                };
                answers.push((job.done, answer));
            }
            self.finish(group, answers);
        }
    }

    fn must_follow(&self, group: &Group, job: &Job) -> bool {
        let Ok(prepared) = &job.prepared else {
            return false;
        };
        let in_set = |set: &HashSet<StreamKey>, stream: &Stream| {
            self.timelines
                .stream(stream)
                .is_some_and(|key| set.contains(&key))
        };
        group.is_closed
            || match &prepared.write {
                Write::Append(append) => {
                    append.snapshot.is_some() && in_set(&group.snapshotted, &append.stream)
                }
                Write::PutSnapshot { stream, .. } | Write::DeleteSnapshots { stream } => {
                    in_set(&group.snapshotted, stream)
                }
                Write::Resolve { stream, .. } => in_set(&group.touched, stream),
                Write::DeclareEdition(edition) if !group.touched.is_empty() => {
                    let timelines = self.timelines.of_edition(&edition.name);
                    let mut touched = group.touched.iter().map(key::timeline_of);
                    touched.any(|timeline| timelines.contains(&timeline))
                }
                Write::DeleteAllSnapshots { .. }
                | Write::DeleteEdition { .. }
                | Write::ForgetEdition { .. }
                | Write::ResetConsumer { .. } => true,
                _ => false,
            }
    }

    fn wants_sync(&self, write: &Write) -> bool {
        match write {
            Write::Append(append) => append.sync.unwrap_or(self.store.options.sync),
            _ => self.store.options.sync,
        }
    }

    fn apply(&mut self, group: &mut Group, prepared: Prepared) -> Result<Written> {
        let wants_sync = self.wants_sync(&prepared.write);
        let written = match prepared.write {
            Write::Append(append) => self.append(group, *append, prepared.pages, prepared.snapshot),
            Write::Decide {
                cascade_id,
                verdict,
                reason,
                now_ns,
            } => Self::decide(group, cascade_id, verdict, reason, now_ns),
            Write::Resolve {
                stream,
                correlation_id,
                cascade_id,
                now_ns,
            } => self.resolve(group, &stream, correlation_id, &cascade_id, now_ns),
            Write::DeleteEdition { domain, edition } => {
                self.delete_edition(group, &domain, &edition)
            }
            Write::DeclareEdition(edition) => self.declare_edition(group, edition),
            Write::ForgetEdition { name } => self.forget_edition(group, name),
            Write::PutSnapshot {
                stream,
                snapshot,
                policy,
                now_ns,
            } => match prepared.snapshot {
                Some(head) => self.put_snapshot(group, &stream, (head, &snapshot), policy, now_ns),
                None => Ok(Written::Done),
            },
            Write::DeleteAllSnapshots { domain, edition } => {
                self.delete_all_snapshots(group, &domain, edition.as_deref())
            }
            Write::DeleteSnapshots { stream } => self.delete_snapshots(group, &stream),
            Write::PutPosition {
                consumer,
                stream,
                sequence,
            } => self.put_position(group, &consumer, &stream, sequence),
            Write::PutCursor { consumer, position } => {
                Self::raise(group, &key::position_cursor(&consumer), position)
            }
            Write::ResetConsumer { consumer } => Ok(Self::reset_consumer(group, &consumer)),
            Write::Lease {
                consumer,
                partition,
                holder,
                ttl_ns,
                now_ns,
            } => Self::lease(
                group,
                &key::position_lease(&consumer, partition),
                &holder,
                ttl_ns,
                now_ns,
            ),
            Write::Records(ops) => Self::records(group, &ops),
        }?;
        group.wants_sync |= wants_sync;
        Ok(written)
    }

    /// Makes the group durable and visible, then tells its members.
    fn finish(&mut self, mut group: Group, answers: Vec<(Done, Result<Written>)>) {
        let failure = self.write(&mut group).err();
        if let Some(failure) = &failure {
            self.failure.get_or_insert_with(|| unavailable(failure));
        }
        let has_grown = group.log_head > self.log_head;
        if failure.is_none() {
            self.log_head = group.log_head;
        }
        for (done, answer) in answers {
            done(match &self.failure {
                Some(failure) if failure_hits(&answer) => Err(failure.clone()),
                _ => answer,
            });
        }
        if has_grown && failure.is_none() {
            group.store.waiters.wake();
        }
        drop(group.store.failpoints.hit(failpoint::AFTER_ACK)); // only a kill makes sense here
        if failure.is_none()
            && self.failure.is_none()
            && let Err(error) = self.maintain()
        {
            self.failure = Some(unavailable(&error));
        }
    }

    fn write(&mut self, group: &mut Group) -> Result<()> {
        let store = group.store;
        std::mem::replace(&mut group.broken, Ok(()))?;
        if group.batch.is_empty() {
            if group.wants_sync && self.wal.is_dirty() {
                self.wal.sync()?;
            }
            return Ok(());
        }
        store.failpoints.hit(failpoint::BEFORE_WRITE)?;
        group.put(
            Family::Meta,
            key::META_LSN,
            &self.wal.next_lsn().to_be_bytes(),
        );
        self.wal.append(group.batch.data())?;
        if let Err(error) = self.write_through(group) {
            self.wal.wipe_last();
            return Err(error);
        }
        store.group_count.fetch_add(1, Ordering::Relaxed);
        store
            .append_count
            .fetch_add(group.append_count, Ordering::Relaxed);
        store.failpoints.hit(failpoint::BEFORE_ACK)
    }

    fn write_through(&mut self, group: &mut Group) -> Result<()> {
        let store = group.store;
        if group.wants_sync {
            self.wal.sync()?;
        }
        store.failpoints.hit(failpoint::AFTER_WRITE)?;
        let batch = std::mem::take(&mut group.batch);
        // Names go before their data, and come after it.
        for timeline in group.dropped.drain(..) {
            store.timelines.remove(timeline);
        }
        // Who reads these streams from now on waits for the caches; so nobody sees new, then old.
        let locked = store.cache.lock(&group.effects);
        store.db.write_without_wal(batch).map_err(disk)?;
        store.cache.apply(locked, &group.effects);
        declare(store, &mut group.declarations);
        self.timelines.publish();
        store.waiters.set_head(group.log_head);
        Ok(())
    }

    /// Closes a full log segment and lets go of those that RocksDB no longer needs.
    fn maintain(&mut self) -> Result<()> {
        let last_lsn = self.wal.next_lsn() - 1;
        if self.wal.rotate_if_full()? {
            // A flush that is under way does not count for this segment, the next one will.
            let _is_asked = self.flush.try_send(last_lsn);
        }
        self.wal.release(self.flushed_lsn.load(Ordering::Acquire))
    }

    /// The stream's key; its timeline gets a number now if it has none.
    pub fn assign(&mut self, group: &mut Group, stream: &Stream) -> StreamKey {
        if let Some(key) = self.timelines.stream(stream) {
            return key;
        }
        let timeline = self.timelines.assign(&stream.domain, &stream.edition);
        let names = Timelines::encode(&stream.domain, &stream.edition);
        group.put(Family::Meta, &key::meta_timeline(timeline), &names);
        group.put(
            Family::Meta,
            key::META_NEXT_TIMELINE,
            &(timeline + 1).to_be_bytes(),
        );
        key::stream(timeline, &stream.root)
    }
}

/// Shows readers the editions that a group declared or forgot.
fn declare(store: &Store, declarations: &mut Vec<Declaration>) {
    if declarations.is_empty() {
        return;
    }
    let mut declared = store.declared.write();
    for declaration in declarations.drain(..) {
        match declaration {
            Declaration::Made(record) => declared.put(record),
            Declaration::Forgotten(name) => declared.remove(&name),
        }
    }
}

/// A failed group takes all that would have succeeded with it; refusals stay what they are.
fn failure_hits(answer: &Result<Written>) -> bool {
    answer.is_ok()
}

fn unavailable(error: &Error) -> Error {
    match error {
        Error::Unavailable { .. } => error.clone(),
        other => Error::Unavailable {
            cause: other.to_string(),
        },
    }
}

/// Flushes RocksDB when told to; on its own thread, since that takes a while.
pub fn run_flusher(store: &Store, requests: &Receiver<u64>, flushed_lsn: &AtomicU64) {
    while let Ok(lsn) = requests.recv() {
        // A failure shows in RocksDB's next write; until then the log's segments stay.
        if store.flush().is_ok() {
            flushed_lsn.store(lsn, Ordering::Release);
        }
    }
}
