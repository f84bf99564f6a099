//! The log as columns: many events at once, none of them an object (DATA rules).
//!
//! A scan takes a window of the log, and reads its commits in the order of their streams, so that RocksDB is walked
//! and not searched; the rows are then put into the log's order. Two threads share a large window.

use std::collections::HashMap;
use std::ops::ControlFlow;

use rocksdb::{DBRawIterator, ReadOptions};

use crate::api::{Columns, SCAN_POSITIONS_MAX, Scan, Verdict};
use crate::columns::{Part, assemble};
use crate::error::Result;
use crate::key::{self, Family, StreamKey};
use crate::record::{ChunkView, EntryHead};
use crate::store::{Store, disk};

const THREAD_COUNT_MAX: usize = 2;
/// Pages below which a thread of its own costs more than it saves.
const THREAD_PAGE_COUNT_MIN: u64 = 8_192;
/// Chunks that are stepped over before a seek: about as many as it costs.
const STEP_COUNT: u32 = 24;
/// Steps to another stream that may fail, one after the other, before such ways are sought.
const SCORE_MAX: u32 = 4;
/// Ways that are sought before steps are tried again.
const SEEK_COUNT: u32 = 256;

/// A part of the log: the commits whose pages may be rows.
#[derive(Default)]
pub struct Window {
    /// The position before its first commit's first.
    pub base: u64,
    pub last: u64,
    pub streams: Vec<StreamKey>,
    /// In the log's order.
    pub commits: Vec<Commit>,
}

/// Pages of one log entry. `row`: of its first page, counted from the window's base.
#[derive(Clone, Copy)]
pub struct Commit {
    pub stream: u32,
    pub first: u32,
    pub count: u32,
    pub row: u32,
}

impl Store {
    /// Rows with a position above `scan.after`; see `Scan` and `Columns`.
    pub fn scan_log(&self, scan: &Scan) -> Result<Columns> {
        let mut limit = scan.limit.clamp(1, SCAN_POSITIONS_MAX);
        loop {
            let window = self.window(scan, limit)?;
            match self.read_window(scan, &window)? {
                Read::Part(part) => {
                    let names = |stream: &StreamKey| self.timelines.names(key::timeline_of(stream));
                    return Ok(assemble(&window, part, scan.after, names));
                }
                // Again with so many positions that it should be enough. Streams are read one after the other, so
                // what was read stands for all.
                Read::TooMuch { read, of } => {
                    limit = (limit * read / of * 3 / 4).clamp(1, limit.max(2) - 1);
                }
            }
        }
    }

    /// The commits of at most `limit` positions, or one commit.
    fn window(&self, scan: &Scan, limit: u64) -> Result<Window> {
        let mut window = Window {
            base: scan.after,
            last: scan.after,
            ..Window::default()
        };
        let head = self.waiters.head();
        if scan.after >= head {
            return Ok(window);
        }
        let mut streams: HashMap<StreamKey, usize> = HashMap::new();
        let mut selection = Selection::new(self, scan);
        self.scan(Family::Log, &[], &key::log(scan.after + 1), |key, value| {
            let position = key::parse_u64(key).ok_or_else(|| self.bad("log key", key))?;
            let bad = || self.bad("log value", value);
            let entry = EntryHead::parse(value).ok_or_else(bad)?;
            let is_first = window.last == scan.after;
            if position > head || !is_first && position - scan.after > limit {
                return Ok(ControlFlow::Break(()));
            }
            let before = position - entry.count;
            if is_first {
                window.base = before;
            }
            window.last = position;
            if selection.has(&entry)? {
                let narrow = |number: u64| u32::try_from(number).map_err(|_| bad());
                let known = &mut window.streams;
                let stream = *streams.entry(entry.stream).or_insert_with(|| {
                    known.push(entry.stream);
                    known.len() - 1
                });
                window.commits.push(Commit {
                    stream: narrow(stream as u64)?,
                    first: narrow(entry.first)?,
                    count: narrow(entry.count)?,
                    row: narrow(before - window.base)?,
                });
            }
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(window)
    }

    fn read_window<'a>(&self, scan: &'a Scan, window: &Window) -> Result<Read<'a>> {
        let order = by_stream(window);
        let page_count: u64 = window.commits.iter().map(|one| u64::from(one.count)).sum();
        let core_count = std::thread::available_parallelism().map_or(1, usize::from);
        let wanted_count = usize::try_from(page_count / THREAD_PAGE_COUNT_MIN).unwrap_or(1);
        let thread_count = core_count.min(THREAD_COUNT_MAX).min(wanted_count).max(1);
        let bytes_max = scan.bytes_max / thread_count;
        let share_len = order.len().div_ceil(thread_count).max(1);
        let reads: Vec<Result<Read>> = std::thread::scope(|scope| {
            let read = |share| self.read_share(scan, window, share, bytes_max);
            let mut shares = order.chunks(share_len);
            let own = shares.next().unwrap_or_default();
            let others: Vec<_> = shares
                .map(|share| scope.spawn(move || read(share)))
                .collect();
            let joined = others.into_iter().map(|other| match other.join() {
                Ok(read) => read,
                Err(panic) => std::panic::resume_unwind(panic),
            });
            std::iter::once(read(own)).chain(joined).collect()
        });
        let mut whole = Part::new(&scan.fields);
        for read in reads {
            match read? {
                Read::Part(part) if whole.is_empty() => whole = part,
                Read::Part(part) => whole.absorb(part),
                too_much @ Read::TooMuch { .. } => return Ok(too_much),
            }
        }
        Ok(Read::Part(whole))
    }

    /// Reads the commits of `share`, which is ordered by streams.
    fn read_share<'a>(
        &self,
        scan: &'a Scan,
        window: &Window,
        share: &[u32],
        bytes_max: usize,
    ) -> Result<Read<'a>> {
        let mut part = Part::new(&scan.fields);
        let mut chunks = ChunkWalk::new(self)?;
        for (read_count, index) in (1u64..).zip(share) {
            let commit = window.commits[*index as usize];
            let stream = &window.streams[commit.stream as usize];
            match self.read_commit(&mut chunks, stream, commit, &mut part) {
                // Its edition was deleted after the look at the timelines.
                Err(_) if self.timelines.named(stream).is_none() => {}
                read => read?,
            }
            if part.byte_count() > bytes_max && share.len() > 1 {
                return Ok(Read::TooMuch {
                    read: read_count,
                    of: share.len() as u64,
                });
            }
        }
        Ok(Read::Part(part))
    }

    fn read_commit(
        &self,
        chunks: &mut ChunkWalk,
        stream: &StreamKey,
        commit: Commit,
        part: &mut Part,
    ) -> Result<()> {
        let mut sequence = u64::from(commit.first);
        let end = sequence + u64::from(commit.count);
        let mut row = commit.row;
        while sequence < end {
            let key = key::page(stream, sequence);
            let Some(value) = chunks.find(&key)? else {
                return Err(self.corrupt(stream, sequence, "no page", "a page of an append"));
            };
            let bad = || self.bad_page(stream, sequence);
            let chunk = ChunkView::parse(value).ok_or_else(bad)?;
            let count = chunk.count.min(end - sequence);
            row = part.add(row, count, chunk.frames).ok_or_else(bad)?;
            sequence += count;
        }
        Ok(())
    }
}

#[allow(clippy::large_enum_variant)] // one a thread
enum Read<'a> {
    Part(Part<'a>),
    /// More bytes than a scan may hold came of `read` commits; there were `of` to read.
    TooMuch {
        read: u64,
        of: u64,
    },
}

/// Indexes of the window's commits, ordered by stream, within a stream by sequence.
fn by_stream(window: &Window) -> Vec<u32> {
    let stream_count = window.streams.len();
    let mut sorted: Vec<usize> = (0..stream_count).collect();
    sorted.sort_unstable_by_key(|stream| &window.streams[*stream]);
    let mut counts = vec![0u32; stream_count];
    for commit in &window.commits {
        counts[commit.stream as usize] += 1;
    }
    let mut next = vec![0u32; stream_count];
    let mut sum = 0;
    for stream in sorted {
        next[stream] = sum;
        sum += counts[stream];
    }
    let mut order = vec![0u32; window.commits.len()];
    for (index, commit) in (0u32..).zip(&window.commits) {
        let place = &mut next[commit.stream as usize];
        order[*place as usize] = index;
        *place += 1;
    }
    order
}

/// Which entries of the log have rows.
struct Selection<'a> {
    store: &'a Store,
    scan: &'a Scan,
    timelines: HashMap<u32, bool>,
    cascades: HashMap<String, bool>,
}

impl<'a> Selection<'a> {
    fn new(store: &'a Store, scan: &'a Scan) -> Self {
        Self {
            store,
            scan,
            timelines: HashMap::new(),
            cascades: HashMap::new(),
        }
    }

    fn has(&mut self, entry: &EntryHead) -> Result<bool> {
        let timeline = key::timeline_of(&entry.stream);
        let known = self.timelines.get(&timeline).copied();
        let is_wanted = known.unwrap_or_else(|| self.is_wanted(timeline));
        if known.is_none() {
            self.timelines.insert(timeline, is_wanted);
        }
        if !is_wanted || entry.is_marker {
            return Ok(false);
        }
        if entry.cascade_id.is_empty() {
            return Ok(true);
        }
        if let Some(known) = self.cascades.get(entry.cascade_id) {
            return Ok(*known);
        }
        let decision = self.store.decision(entry.cascade_id)?.ok_or_else(|| {
            self.store.corrupt(
                &entry.stream,
                entry.first,
                "published undecided",
                "a decision",
            )
        })?;
        let is_kept = decision.verdict == Verdict::Commit;
        self.cascades.insert(entry.cascade_id.to_owned(), is_kept);
        Ok(is_kept)
    }

    fn is_wanted(&self, timeline: u32) -> bool {
        let Some((domain, edition)) = self.store.timelines.names(timeline) else {
            return false;
        };
        let has = |names: &Option<Vec<String>>, name: &str| {
            names
                .as_ref()
                .is_none_or(|names| names.iter().any(|one| one == name))
        };
        has(&self.scan.domains, &domain) && has(&self.scan.editions, &edition)
    }
}

/// Finds chunks in ascending order of their keys: by steps where they lie close together, else by seeks.
struct ChunkWalk<'a> {
    iterator: DBRawIterator<'a>,
    is_placed: bool,
    /// What steps to another stream were good for lately; at 0 the next `SEEK_COUNT` such ways are sought.
    score: u32,
    seek_count: u32,
}

impl<'a> ChunkWalk<'a> {
    fn new(store: &'a Store) -> Result<Self> {
        let mut options = ReadOptions::default();
        options.set_total_order_seek(true);
        options.fill_cache(false);
        let family = store.family(Family::Events)?;
        Ok(Self {
            iterator: store.db.raw_iterator_cf_opt(family, options),
            is_placed: false,
            score: SCORE_MAX,
            seek_count: 0,
        })
    }

    /// The chunk with this very key, which is above all that were asked for before.
    fn find(&mut self, wanted: &[u8]) -> Result<Option<&[u8]>> {
        if !self.is_placed || !self.is_reached(wanted) {
            self.iterator.seek(wanted);
            self.is_placed = true;
        }
        if self.iterator.key() == Some(wanted) {
            return Ok(self.iterator.value());
        }
        self.iterator.status().map_err(disk)?;
        Ok(None)
    }

    /// Whether some steps led there.
    fn is_reached(&mut self, wanted: &[u8]) -> bool {
        let stream = &wanted[..key::STREAM_BYTES];
        let is_same = |found: &[u8]| found.starts_with(stream);
        if self.iterator.key().is_some_and(is_same) {
            return self.step_to(wanted);
        }
        if self.score == 0 {
            self.seek_count += 1;
            if self.seek_count < SEEK_COUNT {
                return false;
            }
            (self.score, self.seek_count) = (1, 0);
        }
        let is_reached = self.step_to(wanted);
        self.score = if is_reached {
            SCORE_MAX.min(self.score + 1)
        } else {
            self.score - 1
        };
        is_reached
    }

    /// Whether `STEP_COUNT` steps at most led to the key, or to where it would be.
    fn step_to(&mut self, wanted: &[u8]) -> bool {
        for _ in 0..STEP_COUNT {
            if self.iterator.key().is_none_or(|key| key >= wanted) {
                return true;
            }
            self.iterator.next();
        }
        self.iterator.key().is_none_or(|key| key >= wanted)
    }
}
