//! Hot tails: the pages of streams in use, framed, from the newest snapshot (or 0) to the head.
//!
//! Right by construction: the committer holds the locks of the shards it touches while a group becomes visible in
//! RocksDB and extends the tails before it lets go. A reader that missed fills only if its stream was not touched
//! since before its read began: each touch counts up a mark.

use std::ops::Range;
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};

use crate::base::{Base, Stretch, Stretches};
use crate::generations::Generations;
use crate::key::{self, StreamKey};
use crate::record::{Chunk, ChunkView};
use crate::wire;

const SHARD_COUNT: usize = 32;
const MARK_COUNT: usize = 256;
/// Of a cached tail beside its pages.
const OVERHEAD_BYTES: usize = 256;

/// The cached end of one stream: pages `base..next`.
#[derive(Clone, Debug, Default)]
pub struct Tail {
    pub base: u64,
    /// Of a branch, what lies below `base`.
    stretches: Stretches,
    /// The newest snapshot of the stream, if it has one; its sequence is below `next`.
    pub snapshot: Option<(u64, Arc<[u8]>)>,
    frames: Vec<u8>,
    /// Where each page's frame ends.
    ends: Vec<usize>,
    /// Sequences of the pages that are not plain.
    odd: Vec<u64>,
}

impl Tail {
    /// None if `frames` are none.
    pub fn new(base: &Base, frames: Vec<u8>, snapshot: Option<(u64, Arc<[u8]>)>) -> Option<Self> {
        // Of a branch that is being deleted nothing may be left that looks like one without pages.
        if frames.is_empty() {
            return None;
        }
        let mut tail = Self {
            base: base.end,
            stretches: Stretches::clone(&base.stretches),
            snapshot,
            ..Self::default()
        };
        tail.index(&frames)?;
        tail.frames = frames;
        Some(tail)
    }

    /// What a branch was pinned on.
    pub fn inherited(&self) -> Base {
        Base {
            end: self.base,
            stretches: Stretches::clone(&self.stretches),
        }
    }

    pub fn next(&self) -> u64 {
        self.base + self.ends.len() as u64
    }

    /// Frames of pages [start, stop), which must be within it, and whether all are plain.
    pub fn span(&self, start: u64, stop: u64) -> (&[u8], bool) {
        let (range, is_plain) = self.range(start, stop);
        (self.bytes(range), is_plain)
    }

    pub fn bytes(&self, range: Range<usize>) -> &[u8] {
        &self.frames[range]
    }

    /// As [`Tail::span`], for [`Tail::bytes`].
    pub fn range(&self, start: u64, stop: u64) -> (Range<usize>, bool) {
        let range = self.end_of(start)..self.end_of(stop.max(start));
        let is_plain = !self
            .odd
            .iter()
            .any(|sequence| (start..stop).contains(sequence));
        (range, is_plain)
    }

    /// Where the frames before page `sequence` end, or all of them.
    fn end_of(&self, sequence: u64) -> usize {
        let count = usize::try_from(sequence.saturating_sub(self.base)).unwrap_or(usize::MAX);
        match count.min(self.ends.len()) {
            0 => 0,
            count => self.ends[count - 1],
        }
    }

    /// Notes the pages of `frames`, which are to be appended.
    fn index(&mut self, frames: &[u8]) -> Option<()> {
        let mut rest = frames;
        while !rest.is_empty() {
            let (_, page) = wire::take_frame(&mut rest)?;
            if !wire::Page::parse(page)?.is_plain() {
                self.odd.push(self.next());
            }
            self.ends
                .push(self.frames.len() + frames.len() - rest.len());
        }
        Some(())
    }

    fn extend(&mut self, frames: &[u8]) -> Option<()> {
        self.index(frames)?;
        self.frames.extend_from_slice(frames);
        Some(())
    }

    fn weight(&self) -> usize {
        let snapshot = self.snapshot.as_ref().map_or(0, |(_, bytes)| bytes.len());
        let stretches = self.stretches.len() * size_of::<Stretch>();
        let ends = self.ends.len() * size_of::<usize>();
        OVERHEAD_BYTES + stretches + snapshot + self.frames.len() + ends
    }
}

pub struct Shard {
    tails: Generations<StreamKey, Arc<Tail>>,
    marks: [u64; MARK_COUNT],
}

pub struct Cache {
    shards: Vec<Mutex<Shard>>,
    tail_bytes_max: usize,
}

/// What a reader holds between its miss and its fill.
#[derive(Clone, Copy)]
pub struct Ticket(u64);

/// What a group did to a stream's tail.
pub enum Effect {
    Appended {
        stream: StreamKey,
        first: u64,
        chunks: Vec<Chunk>,
    },
    Dropped(StreamKey),
    /// The timeline's streams have no snapshots any more.
    SnapshotsDropped(u32),
}

impl Cache {
    pub fn new(bytes_max: usize) -> Self {
        let shard_bytes = bytes_max / SHARD_COUNT;
        let shard = || Shard {
            tails: Generations::new(shard_bytes),
            marks: [0; MARK_COUNT],
        };
        Self {
            shards: (0..SHARD_COUNT).map(|_| Mutex::new(shard())).collect(),
            tail_bytes_max: shard_bytes / 4,
        }
    }

    pub fn get(&self, stream: &StreamKey) -> Result<Arc<Tail>, Ticket> {
        let mut shard = self.shards[shard_of(stream)].lock();
        match shard.tails.get_mut(stream) {
            Some(tail) => Ok(Arc::clone(tail)),
            None => Err(Ticket(shard.marks[mark_of(stream)])),
        }
    }

    /// Keeps what was read since `ticket` was drawn, unless the stream was touched meanwhile.
    pub fn fill(&self, stream: &StreamKey, ticket: Ticket, tail: Arc<Tail>) {
        let weight = tail.weight();
        if weight > self.tail_bytes_max {
            return;
        }
        let mut shard = self.shards[shard_of(stream)].lock();
        if shard.marks[mark_of(stream)] == ticket.0 {
            shard.tails.insert(*stream, tail, weight);
        }
    }

    /// Whether pages of this size are worth keeping.
    pub fn takes(&self, bytes: usize) -> bool {
        bytes < self.tail_bytes_max
    }

    /// Locks what `effects` touch, in one order. Readers of these streams wait until the guard is given to
    /// [`Cache::apply`] or dropped.
    pub fn lock(&self, effects: &[Effect]) -> Locked<'_> {
        let mut wanted = [false; SHARD_COUNT];
        for effect in effects {
            match effect {
                Effect::Appended { stream, .. } | Effect::Dropped(stream) => {
                    wanted[shard_of(stream)] = true;
                }
                Effect::SnapshotsDropped(_) => {
                    wanted = [true; SHARD_COUNT];
                }
            }
        }
        let guards = wanted.iter().zip(&self.shards);
        Locked(
            guards
                .map(|(is_wanted, shard)| is_wanted.then(|| shard.lock()))
                .collect(),
        )
    }

    /// Brings the tails up to date with what became visible.
    pub fn apply(&self, mut locked: Locked<'_>, effects: &[Effect]) {
        for effect in effects {
            match effect {
                Effect::Appended {
                    stream,
                    first,
                    chunks,
                } => {
                    if let Some(shard) = &mut locked.0[shard_of(stream)] {
                        self.append(shard, stream, *first, chunks);
                    }
                }
                Effect::Dropped(stream) => {
                    if let Some(shard) = &mut locked.0[shard_of(stream)] {
                        shard.touch(stream);
                        shard.tails.remove(stream);
                    }
                }
                Effect::SnapshotsDropped(timeline) => {
                    for shard in locked.0.iter_mut().flatten() {
                        shard.marks.iter_mut().for_each(|mark| *mark += 1);
                        shard
                            .tails
                            .retain(|stream| key::timeline_of(stream) != *timeline);
                    }
                }
            }
        }
    }

    fn append(&self, shard: &mut Shard, stream: &StreamKey, first: u64, chunks: &[Chunk]) {
        shard.touch(stream);
        let Some(tail) = shard.tails.get_mut(stream) else {
            return;
        };
        let before = tail.weight();
        let is_next = tail.next() == first;
        let tail = Arc::make_mut(tail);
        let is_extended = is_next
            && chunks.iter().all(|chunk| {
                ChunkView::parse(&chunk.value)
                    .and_then(|view| tail.extend(view.frames))
                    .is_some()
            });
        let after = tail.weight();
        if is_extended && after <= self.tail_bytes_max {
            shard.tails.grow(stream, after - before);
        } else {
            shard.tails.remove(stream);
        }
    }

    pub fn weight(&self) -> usize {
        self.shards
            .iter()
            .map(|shard| shard.lock().tails.weight())
            .sum()
    }
}

impl Shard {
    fn touch(&mut self, stream: &StreamKey) {
        self.marks[mark_of(stream)] += 1;
    }
}

/// Shards that the committer holds.
pub struct Locked<'a>(Vec<Option<MutexGuard<'a, Shard>>>);

fn shard_of(stream: &StreamKey) -> usize {
    hash(stream) % SHARD_COUNT
}

fn mark_of(stream: &StreamKey) -> usize {
    hash(stream) / SHARD_COUNT % MARK_COUNT
}

fn hash(stream: &StreamKey) -> usize {
    crate::crc::extend(0, stream) as usize
}
