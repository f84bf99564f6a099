//! Pages of streams as they are read: from the hot tails where these reach, else from RocksDB.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::base::Base;
use crate::branch::View;
use crate::cache::{Tail, Ticket};
use crate::error::Result;
use crate::key::{self, Family, StreamKey};
use crate::record::ChunkView;
use crate::store::{Store, disk};
use crate::wire;

/// Pages of a composite read: slices of hot tails where these reach, so that a book is one copy of each byte.
#[derive(Default)]
pub struct Pages {
    parts: Vec<Part>,
    pub is_odd: bool,
    /// After the last page; None without pages.
    pub end: Option<u64>,
}

enum Part {
    Read(Vec<u8>),
    Hot(Arc<Tail>, Range<usize>),
}

impl Pages {
    pub fn slices<'a>(&'a self) -> Vec<&'a [u8]> {
        let slice = |part: &'a Part| match part {
            Part::Read(frames) => frames.as_slice(),
            Part::Hot(tail, range) => tail.bytes(range.clone()),
        };
        self.parts.iter().map(slice).collect()
    }

    pub fn concat(self) -> Vec<u8> {
        self.slices().concat()
    }

    /// Adds pages [start, stop), all of which the tail has.
    fn add_hot(&mut self, tail: &Arc<Tail>, start: u64, stop: u64) {
        let (range, is_plain) = tail.range(start, stop);
        self.parts.push(Part::Hot(Arc::clone(tail), range));
        self.is_odd |= !is_plain;
        self.end = Some(stop);
    }

    fn add_read(&mut self, span: Span) {
        self.is_odd |= span.is_odd;
        self.end = span.end.or(self.end);
        self.parts.push(Part::Read(span.frames));
    }
}

/// Pages that were read from `RocksDB`.
#[derive(Default)]
pub struct Span {
    pub frames: Vec<u8>,
    pub is_odd: bool,
    /// After the last page; None without pages.
    pub end: Option<u64>,
    /// The stream's own next sequence, if the read reached it.
    pub head: Option<u64>,
}

impl Store {
    /// Pages [start, stop) of a view, as far as it goes; Corrupt if one is missing.
    pub fn pages(&self, view: &View, start: u64, stop: u64) -> Result<Pages> {
        let stop = stop.min(view.next);
        let mut pages = Pages::default();
        if start >= stop {
            return Ok(pages);
        }
        for (index, (stretch, first)) in view.base.spans().enumerate() {
            let range = (start.max(first), stop.min(stretch.stop));
            if range.0 < range.1 {
                let base = || view.base.under(index);
                self.add_pages(&stretch.stream, (first, base), range, &mut pages)?;
            }
        }
        let first = view.base.end;
        let range = (start.max(first), stop);
        match (&view.tail, &view.own) {
            (Some(tail), _) if range.0 < stop => pages.add_hot(tail, range.0, stop),
            (None, Some(own)) if range.0 < stop => {
                self.add_pages(own, (first, || view.base.clone()), range, &mut pages)?;
            }
            _ => {}
        }
        if pages.end == Some(stop) {
            return Ok(pages);
        }
        let missing = pages.end.unwrap_or(start);
        let stream = view.stream_of(missing).unwrap_or_default();
        Err(self.corrupt(&stream, missing, "no page", "a page below the stream's end"))
    }

    /// Adds pages [start, stop) of one timeline's stream. `first`: its own first page. `base`: what lies below that.
    fn add_pages(
        &self,
        own: &StreamKey,
        (first, base): (u64, impl FnOnce() -> Base),
        (start, stop): (u64, u64),
        out: &mut Pages,
    ) -> Result<()> {
        let mut hot = self.cache.get(own);
        if let Err(ticket) = hot
            && start == first
            && let Some(tail) = self.warm(own, &base(), stop, ticket)?
        {
            hot = Ok(tail);
        }
        if let Ok(tail) = hot
            && tail.base <= start
            && stop <= tail.next()
        {
            out.add_hot(&tail, start, stop);
            return Ok(());
        }
        out.add_read(self.read_span(own, start, stop)?);
        Ok(())
    }

    /// Keeps a tail that was just read. `base`: what is below its first page, on a branch what that is pinned on.
    /// `newest`: the stream's newest snapshot.
    pub fn fill(
        &self,
        own: &StreamKey,
        ticket: Ticket,
        base: &Base,
        frames: Vec<u8>,
        newest: Option<(u64, Arc<[u8]>)>,
    ) -> Option<Arc<Tail>> {
        let sequence = newest.as_ref().map(|(sequence, _)| *sequence);
        if self.cache.takes(frames.len())
            && let Some(tail) = Tail::new(base, frames, newest)
            // A snapshot above the head would become usable without the tail's knowing.
            && sequence.is_none_or(|sequence| sequence < tail.next())
        {
            let tail = Arc::new(tail);
            self.cache.fill(own, ticket, Arc::clone(&tail));
            return Some(tail);
        }
        None
    }

    pub fn newest_snapshot(&self, own: &StreamKey) -> Result<Option<(u64, Arc<[u8]>)>> {
        if !self.has_snapshots.load(Ordering::Acquire) {
            return Ok(None);
        }
        Ok(self
            .snapshot_at(own, u64::MAX)?
            .map(|(sequence, bytes)| (sequence, bytes.into())))
    }

    /// Reads and keeps the whole stream from `base`, if that is at most twice what is wanted of it.
    fn warm(
        &self,
        own: &StreamKey,
        base: &Base,
        stop: u64,
        ticket: Ticket,
    ) -> Result<Option<Arc<Tail>>> {
        let next = self.own_next(own)?.unwrap_or(base.end);
        if next.saturating_sub(base.end) > 2 * (stop - base.end) {
            return Ok(None);
        }
        let span = self.read_span(own, base.end, u64::MAX)?;
        let newest = self.newest_snapshot(own)?;
        Ok(self.fill(own, ticket, base, span.frames, newest))
    }

    /// Pages [start, stop) of one timeline's stream, as far as they exist, from RocksDB.
    pub fn read_span(&self, own: &StreamKey, start: u64, stop: u64) -> Result<Span> {
        let mut iterator = self.iterator(Family::Events, own)?;
        iterator.seek_for_prev(key::page(own, start));
        let mut span = Span {
            head: Some(0),
            ..Span::default()
        };
        let mut expected = None;
        while let Some((key, value)) = iterator.item() {
            let (_, first) = key::parse_page(key).ok_or_else(|| self.bad("events key", key))?;
            if first >= stop {
                span.head = None;
                break;
            }
            if let Some(expected) = expected.filter(|expected| *expected != first) {
                let found = format!("page {first}");
                return Err(self.corrupt(own, expected, &found, &format!("page {expected}")));
            }
            let chunk = ChunkView::parse(value).ok_or_else(|| self.bad_page(own, first))?;
            let end = first + chunk.count;
            self.add_chunk(own, &chunk, first, (start, stop), &mut span)?;
            expected = Some(end);
            span.head = Some(end);
            iterator.next();
        }
        iterator.status().map_err(disk)?;
        Ok(span)
    }

    fn add_chunk(
        &self,
        own: &StreamKey,
        chunk: &ChunkView,
        first: u64,
        (start, stop): (u64, u64),
        span: &mut Span,
    ) -> Result<()> {
        let end = first + chunk.count;
        if end <= start {
            return Ok(());
        }
        if start <= first && end <= stop && chunk.is_plain {
            span.frames.extend_from_slice(chunk.frames);
            span.end = Some(end);
            return Ok(());
        }
        let mut rest = chunk.frames;
        for sequence in first..end.min(stop) {
            let (frame, page) =
                wire::take_frame(&mut rest).ok_or_else(|| self.bad_page(own, sequence))?;
            if sequence < start {
                continue;
            }
            if !chunk.is_plain {
                let page = wire::Page::parse(page).ok_or_else(|| self.bad_page(own, sequence))?;
                span.is_odd |= !page.is_plain();
            }
            span.frames.extend_from_slice(frame);
            span.end = Some(sequence + 1);
        }
        Ok(())
    }

    /// Encoded pages [first, first + count) of one timeline's stream: all of them, or damage.
    pub fn own_pages(&self, own: &StreamKey, first: u64, count: u64) -> Result<Vec<Vec<u8>>> {
        let frames = self.own_frames(own, first, count)?;
        let mut rest = frames.0.as_slice();
        let mut pages = Vec::new();
        while let Some((_, page)) = wire::take_frame(&mut rest) {
            pages.push(page.to_vec());
        }
        Ok(pages)
    }

    /// As [`Store::own_pages`], framed, and whether all are plain.
    pub fn own_frames(&self, own: &StreamKey, first: u64, count: u64) -> Result<(Vec<u8>, bool)> {
        if count == 0 {
            return Ok((Vec::new(), true));
        }
        let stop = first + count;
        let mut pages = Pages::default();
        if let Ok(tail) = self.cache.get(own)
            && tail.base <= first
            && stop <= tail.next()
        {
            pages.add_hot(&tail, first, stop);
        } else if let Some(frames) = self.whole_chunk(own, first, count)? {
            return Ok((frames, true));
        } else {
            // What is read for the log or a key does not make a stream hot.
            let span = self.read_span(own, first, stop)?;
            pages.add_read(span);
            if pages.end != Some(stop) {
                let missing = pages.end.unwrap_or(first);
                return Err(self.corrupt(own, missing, "no page", "a page of an append"));
            }
        }
        let is_plain = !pages.is_odd;
        Ok((pages.concat(), is_plain))
    }

    /// The frames of pages [first, first + count) if these are one plain chunk, as those of an append are: a point
    /// get, at a third of an iterator's cost.
    fn whole_chunk(&self, own: &StreamKey, first: u64, count: u64) -> Result<Option<Vec<u8>>> {
        let Some(mut value) = self.get(Family::Events, &key::page(own, first))? else {
            return Ok(None);
        };
        let chunk = ChunkView::parse(&value).ok_or_else(|| self.bad_page(own, first))?;
        if chunk.count != count || !chunk.is_plain {
            return Ok(None);
        }
        let header = value.len() - chunk.frames.len();
        value.drain(..header);
        Ok(Some(value))
    }
}
