//! Where pages are in the publication log: how long streams were when its head was somewhere (QRY-16).
//!
//! Positions ascend within a stream, so a length is found by halving, with one seek a step.

use std::ops::ControlFlow;

use rocksdb::DBRawIterator;

use crate::api::Stream;
use crate::branch::View;
use crate::error::Result;
use crate::key::{self, Family, StreamKey};
use crate::record::{ChunkView, Entry, Placed, Released};
use crate::store::{KEY_RELEASED, Store, disk};

/// The pages of one chunk, without their bytes.
struct Found {
    first: u64,
    count: u64,
    placed: Placed,
}

impl Store {
    /// How many leading pages of the composite stream were in the log when its head was at `position`.
    pub fn length_at(
        &self,
        stream: &Stream,
        position: u64,
        divergence: Option<u64>,
    ) -> Result<u64> {
        self.composite(stream, divergence, |view| {
            for (timeline, start, stop) in stretches(view) {
                let length = self.stretch_at(&timeline, start, stop, position)?;
                if length < stop {
                    return Ok(length);
                }
            }
            Ok(view.next)
        })
    }

    /// The first of the timeline's pages [start, stop), all of which exist, that the log did not have yet; `stop` if
    /// it had them all.
    fn stretch_at(&self, own: &StreamKey, start: u64, stop: u64, position: u64) -> Result<u64> {
        let (mut low, mut high) = (start, stop);
        let mut iterator = self.iterator(Family::Events, own)?;
        // The end first: what is asked for is a recent position more often than not.
        let mut probe = stop.saturating_sub(1);
        while low < high {
            let found = self.chunk_at(&mut iterator, own, probe)?;
            let end = found.first + found.count;
            let first_position = match found.placed {
                Placed::At(first) => Some(first),
                Placed::Held | Placed::Unknown => match self.released_at(own, found.first)? {
                    None if found.placed == Placed::Unknown => {
                        return self.stretch_by_log(own, start, stop, position);
                    }
                    known => known,
                },
            };
            match first_position {
                Some(first) if first <= position => {
                    let known = found.first + found.count.min(position - first + 1);
                    if known < end {
                        return Ok(known.clamp(low, stop));
                    }
                    low = end;
                }
                _ => high = found.first,
            }
            probe = low + high.saturating_sub(low) / 2;
        }
        Ok(low.min(stop))
    }

    /// The chunk with page `sequence`.
    fn chunk_at(
        &self,
        iterator: &mut DBRawIterator,
        own: &StreamKey,
        sequence: u64,
    ) -> Result<Found> {
        iterator.seek_for_prev(key::page(own, sequence));
        if let Some((key, value)) = iterator.item() {
            let (_, first) = key::parse_page(key).ok_or_else(|| self.bad("events key", key))?;
            let chunk = ChunkView::parse(value).ok_or_else(|| self.bad_page(own, first))?;
            if sequence < first + chunk.count {
                return Ok(Found {
                    first,
                    count: chunk.count,
                    placed: chunk.placed,
                });
            }
        }
        iterator.status().map_err(disk)?;
        Err(self.corrupt(own, sequence, "no page", "a page of an append"))
    }

    /// The position of a page that was held back; None while it is.
    pub fn released_at(&self, own: &StreamKey, sequence: u64) -> Result<Option<u64>> {
        let mut iterator = self.iterator(Family::Keys, &released_prefix(own))?;
        self.released_by(&mut iterator, own, sequence)
    }

    /// As [`Store::released_at`], by an iterator over at least the stream's records.
    pub fn released_by(
        &self,
        iterator: &mut DBRawIterator,
        own: &StreamKey,
        sequence: u64,
    ) -> Result<Option<u64>> {
        let prefix = released_prefix(own);
        iterator.seek_for_prev(key::idempotency(own, KEY_RELEASED, &sequence.to_be_bytes()));
        let Some((key, value)) = iterator.item() else {
            iterator.status().map_err(disk)?;
            return Ok(None);
        };
        let Some(first) = key.strip_prefix(prefix.as_slice()) else {
            return Ok(None);
        };
        let bad = || self.bad("released", key);
        let first = key::parse_u64(first).ok_or_else(bad)?;
        let released = Released::parse(value).ok_or_else(bad)?;
        let index = sequence - first;
        Ok((index < released.count).then_some(released.position + index))
    }

    /// As [`Store::stretch_at`], for streams with pages of format 1: by all of the log up to `position`.
    fn stretch_by_log(&self, own: &StreamKey, start: u64, stop: u64, position: u64) -> Result<u64> {
        let mut length = start;
        self.scan(Family::Log, &[], &key::log(1), |key, value| {
            let last = key::parse_u64(key).ok_or_else(|| self.bad("log key", key))?;
            let entry = Entry::parse(value).ok_or_else(|| self.bad("log value", value))?;
            let first = last + 1 - entry.count;
            if first > position {
                return Ok(ControlFlow::Break(()));
            }
            if entry.stream == *own {
                length = entry.first + entry.count.min(position - first + 1);
            }
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(length.clamp(start, stop))
    }
}

fn released_prefix(own: &StreamKey) -> Vec<u8> {
    key::idempotency(own, KEY_RELEASED, b"")
}

/// Where the log has the pages of streams, all of them: what chunks say is checked against this.
#[derive(Default)]
pub struct Positions(Vec<Pages>);

/// Pages of one entry. `position`: that of the first; 0 while they are held.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Pages {
    stream: StreamKey,
    first: u32,
    count: u32,
    position: u64,
}

impl Positions {
    /// `position`: of the entry's first page, 0 while it is held. False for what no entry can be.
    pub fn add(&mut self, entry: &Entry, position: u64) -> bool {
        let (first, count) = (u32::try_from(entry.first), u32::try_from(entry.count));
        let (Ok(first), Ok(count)) = (first, count) else {
            return false;
        };
        self.0.push(Pages {
            stream: entry.stream,
            first,
            count,
            position,
        });
        true
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// (stream, first, count) in the order in which they were added, from the `from`-th on, before `sort`.
    pub fn added(&self, from: usize) -> impl Iterator<Item = (StreamKey, u64, u64)> {
        self.0[from..]
            .iter()
            .map(|one| (one.stream, one.first.into(), one.count.into()))
    }

    pub fn sort(&mut self) {
        self.0.sort_unstable();
    }

    /// Of a page, after `sort`: its position, 0 while it is held. None for a page without an entry.
    pub fn of(&self, stream: &StreamKey, sequence: u64) -> Option<u64> {
        let after = self
            .0
            .partition_point(|one| (one.stream, u64::from(one.first)) <= (*stream, sequence));
        let one = self.0.get(after.checked_sub(1)?)?;
        let index = sequence.checked_sub(one.first.into())?;
        let is_within = one.stream == *stream && index < one.count.into();
        is_within.then(|| match one.position {
            0 => 0,
            first => first + index,
        })
    }
}

/// What a view consists of, in order: (stream, first page, after the last).
fn stretches(view: &View) -> impl Iterator<Item = (StreamKey, u64, u64)> {
    let inherited = view.base.spans();
    let inherited = inherited.map(|(stretch, first)| (stretch.stream, first, stretch.stop));
    let own = view.own.map(|own| (own, view.base.end, view.next));
    inherited.chain(own)
}
