//! Reads of streams: composite on branches (EDN-3), from the hot tails where they reach.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::api::{Book, Stream};
use crate::branch::View;
use crate::cache::{Tail, Ticket};
use crate::error::Result;
use crate::key::{self, Family, StreamKey};
use crate::record::ChunkView;
use crate::store::{Store, disk, is_main};
use crate::wire::{self, Cover};

/// Pages of a composite read: slices of hot tails where these reach, so that a book is one copy of each byte.
#[derive(Default)]
struct Pages {
    parts: Vec<Part>,
    is_odd: bool,
    /// After the last page; None without pages.
    end: Option<u64>,
}

enum Part {
    Read(Vec<u8>),
    Hot(Arc<Tail>, Range<usize>),
}

impl Pages {
    fn slices<'a>(&'a self) -> Vec<&'a [u8]> {
        let slice = |part: &'a Part| match part {
            Part::Read(frames) => frames.as_slice(),
            Part::Hot(tail, range) => tail.bytes(range.clone()),
        };
        self.parts.iter().map(slice).collect()
    }

    fn concat(self) -> Vec<u8> {
        self.slices().concat()
    }

    /// Adds pages [start, stop), all of which the tail has.
    fn add_hot(&mut self, tail: &Arc<Tail>, start: u64, stop: u64) {
        let (range, is_plain) = tail.range(start, stop);
        self.parts.push(Part::Hot(Arc::clone(tail), range));
        self.is_odd |= !is_plain;
        self.end = Some(stop);
    }
}

/// Pages that were read from `RocksDB`.
#[derive(Default)]
struct Span {
    frames: Vec<u8>,
    is_odd: bool,
    /// After the last page; None without pages.
    end: Option<u64>,
    /// The stream's own next sequence, if the read reached it.
    head: Option<u64>,
}

impl Store {
    pub fn load(
        &self,
        stream: &Stream,
        start: u64,
        stop: Option<u64>,
        divergence: Option<u64>,
    ) -> Result<Book> {
        if is_main(stream) {
            let Some(own) = self.timelines().stream(stream) else {
                return Ok(empty(stream, 0));
            };
            return self.load_main(stream, &own, start, stop);
        }
        let view = self.view(stream, divergence)?;
        let pages = self.pages(&view, start, stop.unwrap_or(u64::MAX))?;
        Ok(book(
            stream,
            None,
            &pages.slices(),
            pages.end.unwrap_or(0),
            view.next,
            !pages.is_odd,
        ))
    }

    fn load_main(
        &self,
        stream: &Stream,
        own: &StreamKey,
        start: u64,
        stop: Option<u64>,
    ) -> Result<Book> {
        let ticket = match self.cache.get(own) {
            Ok(tail) if start >= tail.base => {
                let stop = stop.unwrap_or(u64::MAX).min(tail.next());
                let (frames, is_plain) = tail.span(start, stop);
                let end = if frames.is_empty() { 0 } else { stop };
                return Ok(book(stream, None, &[frames], end, tail.next(), is_plain));
            }
            Ok(_) => None,
            Err(ticket) => Some(ticket),
        };
        let mut span = self.read_span(own, start, stop.unwrap_or(u64::MAX))?;
        let next = match span.head {
            Some(head) => head,
            None => self.own_next(own)?.unwrap_or(0),
        };
        let end = span.end.unwrap_or(0);
        let book = book(stream, None, &[&span.frames], end, next, !span.is_odd);
        if let (Some(ticket), 0, None) = (ticket, start, stop) {
            let newest = self.newest_snapshot(own)?;
            let frames = std::mem::take(&mut span.frames);
            self.fill(own, ticket, 0, frames, newest);
        }
        Ok(book)
    }

    /// Keeps a tail that was just read. `base`: its first page, on a branch the one it is pinned at. `newest`: the
    /// stream's newest snapshot.
    fn fill(
        &self,
        own: &StreamKey,
        ticket: Ticket,
        base: u64,
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

    fn newest_snapshot(&self, own: &StreamKey) -> Result<Option<(u64, Arc<[u8]>)>> {
        if !self.has_snapshots.load(Ordering::Acquire) {
            return Ok(None);
        }
        Ok(self
            .snapshot_at(own, u64::MAX)?
            .map(|(sequence, bytes)| (sequence, bytes.into())))
    }

    /// Pages of any composite stream with `created_at` ≤ `time_ns`.
    pub fn load_until(
        &self,
        stream: &Stream,
        time_ns: i64,
        divergence: Option<u64>,
    ) -> Result<Book> {
        let view = self.view(stream, divergence)?;
        let all = self.pages(&view, 0, view.next)?.concat();
        let (mut frames, mut end, mut is_plain) = (Vec::new(), 0, true);
        let (mut rest, mut sequence) = (all.as_slice(), 0);
        while let Some((frame, bytes)) = wire::take_frame(&mut rest) {
            let page = self.parse_page(&view, sequence, bytes)?;
            sequence += 1;
            if page.created_at_ns <= time_ns {
                frames.extend_from_slice(frame);
                is_plain &= page.is_plain();
                end = sequence;
            }
        }
        Ok(book(stream, None, &[&frames], end, view.next, is_plain))
    }

    fn parse_page<'a>(
        &self,
        view: &View,
        sequence: u64,
        bytes: &'a [u8],
    ) -> Result<wire::Page<'a>> {
        let key = if sequence < view.base {
            view.main
        } else {
            view.own
        };
        wire::Page::parse(bytes).ok_or_else(|| self.bad_page(&key.unwrap_or_default(), sequence))
    }

    /// The newest usable snapshot and the pages after it (SNAP-10).
    pub fn load_latest(&self, stream: &Stream, divergence: Option<u64>) -> Result<Book> {
        if is_main(stream) {
            let Some(own) = self.timelines().stream(stream) else {
                return Ok(empty(stream, 0));
            };
            return self.latest_main(stream, &own);
        }
        let view = self.view(stream, divergence)?;
        let found = self.usable_snapshot(&view)?;
        let start = found.as_ref().map_or(0, |(sequence, _)| sequence + 1);
        let pages = self.pages(&view, start, view.next)?;
        let snapshot = found.as_ref().map(|(_, bytes)| bytes.as_slice());
        Ok(book(
            stream,
            snapshot,
            &pages.slices(),
            pages.end.unwrap_or(start),
            view.next,
            !pages.is_odd,
        ))
    }

    fn latest_main(&self, stream: &Stream, own: &StreamKey) -> Result<Book> {
        let ticket = match self.cache.get(own) {
            Ok(tail) => {
                let start = tail
                    .snapshot
                    .as_ref()
                    .map_or(0, |(sequence, _)| sequence + 1);
                if start >= tail.base {
                    let (frames, is_plain) = tail.span(start, tail.next());
                    let snapshot = tail.snapshot.as_ref().map(|(_, bytes)| &**bytes);
                    return Ok(book(
                        stream,
                        snapshot,
                        &[frames],
                        tail.next(),
                        tail.next(),
                        is_plain,
                    ));
                }
                None
            }
            Err(ticket) => Some(ticket),
        };
        let newest = self.newest_snapshot(own)?;
        let mut snapshot = newest.clone();
        if let Some((sequence, _)) = &newest {
            let next = self.own_next(own)?.unwrap_or(0);
            if *sequence >= next {
                snapshot = match next.checked_sub(1) {
                    Some(last) => self
                        .snapshot_at(own, last)?
                        .map(|(s, bytes)| (s, bytes.into())),
                    None => None,
                };
            }
        }
        let start = snapshot.as_ref().map_or(0, |(sequence, _)| sequence + 1);
        let mut span = self.read_span(own, start, u64::MAX)?;
        let next = span.head.unwrap_or(start);
        let bytes = snapshot.as_ref().map(|(_, bytes)| &**bytes);
        let book = book(
            stream,
            bytes,
            &[&span.frames],
            span.end.unwrap_or(start),
            next,
            !span.is_odd,
        );
        if let Some(ticket) = ticket {
            self.fill(own, ticket, start, std::mem::take(&mut span.frames), newest);
        }
        Ok(book)
    }

    fn usable_snapshot(&self, view: &View) -> Result<Option<(u64, Vec<u8>)>> {
        if !self.has_snapshots.load(Ordering::Acquire) {
            return Ok(None);
        }
        if let (Some(own), Some(last)) = (&view.own, view.next.checked_sub(1))
            && let Some(found) = self.snapshot_at(own, last)?
        {
            return Ok(Some(found));
        }
        match (&view.main, view.base.checked_sub(1)) {
            (Some(main), Some(last)) => self.snapshot_at(main, last),
            _ => Ok(None),
        }
    }

    /// Pages [start, stop) of a view.
    fn pages(&self, view: &View, start: u64, stop: u64) -> Result<Pages> {
        let stop = stop.min(view.next);
        let mut pages = Pages::default();
        if let Some(main) = &view.main
            && start < stop.min(view.base)
        {
            self.add_pages(main, 0, (start, stop.min(view.base)), &mut pages)?;
        }
        let start = start.max(view.base);
        match (&view.tail, &view.own) {
            (Some(tail), _) if start < stop => pages.add_hot(tail, start, stop),
            (None, Some(own)) if start < stop => {
                self.add_pages(own, view.base, (start, stop), &mut pages)?;
            }
            _ => {}
        }
        Ok(pages)
    }

    /// Adds pages [start, stop) of one timeline's stream, which exist. `base`: its own first page.
    fn add_pages(
        &self,
        own: &StreamKey,
        base: u64,
        (start, stop): (u64, u64),
        out: &mut Pages,
    ) -> Result<()> {
        let mut hot = self.cache.get(own);
        if let Err(ticket) = hot
            && start == base
            && let Some(tail) = self.warm(own, base, stop, ticket)?
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
        let span = self.read_span(own, start, stop)?;
        out.is_odd |= span.is_odd;
        out.end = span.end.or(out.end);
        out.parts.push(Part::Read(span.frames));
        Ok(())
    }

    /// Reads and keeps the whole stream from `base`, if that is at most twice what is wanted of it.
    fn warm(
        &self,
        own: &StreamKey,
        base: u64,
        stop: u64,
        ticket: Ticket,
    ) -> Result<Option<Arc<Tail>>> {
        let next = self.own_next(own)?.unwrap_or(base);
        if next.saturating_sub(base) > 2 * (stop - base) {
            return Ok(None);
        }
        let span = self.read_span(own, base, u64::MAX)?;
        let newest = self.newest_snapshot(own)?;
        Ok(self.fill(own, ticket, base, span.frames, newest))
    }

    /// Pages [start, stop) of one timeline's stream, as far as they exist, from RocksDB.
    fn read_span(&self, own: &StreamKey, start: u64, stop: u64) -> Result<Span> {
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
            // A base that is no page's: what is read for the log or a key does not make a stream hot.
            self.add_pages(own, u64::MAX, (first, stop), &mut pages)?;
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

pub fn cover<'a>(stream: &'a Stream, correlation_id: &'a str) -> Cover<'a> {
    Cover {
        domain: &stream.domain,
        edition: &stream.edition,
        root: &stream.root,
        correlation_id,
    }
}

fn book(
    stream: &Stream,
    snapshot: Option<&[u8]>,
    frames: &[&[u8]],
    following: u64,
    next_sequence: u64,
    is_plain: bool,
) -> Book {
    let data = wire::book(cover(stream, ""), snapshot, frames, following);
    Book {
        data,
        next_sequence,
        is_plain,
    }
}

fn empty(stream: &Stream, next_sequence: u64) -> Book {
    book(stream, None, &[], 0, next_sequence, true)
}
