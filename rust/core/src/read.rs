//! Reads of streams: composite on branches (EDN-3), from the hot tails where they reach.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::api::{Book, Stream};
use crate::base::Base;
use crate::branch::View;
use crate::error::Result;
use crate::key::StreamKey;
use crate::store::{Store, is_main};
use crate::wire::{self, Cover};

impl Store {
    pub fn load(
        &self,
        stream: &Stream,
        start: u64,
        stop: Option<u64>,
        divergence: Option<u64>,
    ) -> Result<Book> {
        if is_main(stream) {
            let Some(own) = self.timelines.stream(stream) else {
                return Ok(empty(stream, 0));
            };
            return self.load_main(stream, &own, start, stop);
        }
        self.composite(stream, divergence, |view| {
            let pages = self.pages(view, start, stop.unwrap_or(u64::MAX))?;
            let following = pages.end.unwrap_or(0);
            let slices = pages.slices();
            Ok(book(
                stream,
                None,
                &slices,
                following,
                view.next,
                !pages.is_odd,
            ))
        })
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
            self.fill(own, ticket, &Base::default(), frames, newest);
        }
        Ok(book)
    }

    /// Pages of any composite stream with `created_at` ≤ `time_ns`.
    pub fn load_until(
        &self,
        stream: &Stream,
        time_ns: i64,
        divergence: Option<u64>,
    ) -> Result<Book> {
        self.composite(stream, divergence, |view| {
            self.pages_until(stream, view, time_ns)
        })
    }

    fn pages_until(&self, stream: &Stream, view: &View, time_ns: i64) -> Result<Book> {
        let all = self.pages(view, 0, view.next)?.concat();
        let (mut frames, mut end, mut is_plain) = (Vec::new(), 0, true);
        let (mut rest, mut sequence) = (all.as_slice(), 0);
        while let Some((frame, bytes)) = wire::take_frame(&mut rest) {
            let page = self.parse_page(view, sequence, bytes)?;
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
        let key = || view.stream_of(sequence).unwrap_or_default();
        wire::Page::parse(bytes).ok_or_else(|| self.bad_page(&key(), sequence))
    }

    /// The newest usable snapshot and the pages after it (SNAP-10).
    pub fn load_latest(&self, stream: &Stream, divergence: Option<u64>) -> Result<Book> {
        if is_main(stream) {
            let Some(own) = self.timelines.stream(stream) else {
                return Ok(empty(stream, 0));
            };
            return self.latest_main(stream, &own);
        }
        self.composite(stream, divergence, |view| {
            let found = self.usable_snapshot(view)?;
            let start = found.as_ref().map_or(0, |(sequence, _)| sequence + 1);
            let pages = self.pages(view, start, view.next)?;
            let snapshot = found.as_ref().map(|(_, bytes)| &**bytes);
            let following = pages.end.unwrap_or(start);
            let slices = pages.slices();
            Ok(book(
                stream,
                snapshot,
                &slices,
                following,
                view.next,
                !pages.is_odd,
            ))
        })
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
            let base = Base {
                end: start,
                ..Base::default()
            };
            self.fill(own, ticket, &base, std::mem::take(&mut span.frames), newest);
        }
        Ok(book)
    }

    /// The newest snapshot of the stream itself, else of the nearest stretch of its base that has one (EDN-22).
    fn usable_snapshot(&self, view: &View) -> Result<Option<(u64, Arc<[u8]>)>> {
        if !self.has_snapshots.load(Ordering::Acquire) {
            return Ok(None);
        }
        if let (Some(own), Some(last)) = (&view.own, view.next.checked_sub(1))
            && let Some(found) = self.snapshot_up_to(own, last)?
        {
            return Ok(Some(found));
        }
        for stretch in view.base.stretches.iter().rev() {
            if let Some(found) = self.snapshot_up_to(&stretch.stream, stretch.stop - 1)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// As [`Store::snapshot_at`]; a hot tail knows its stream's newest one, and whether there is any.
    fn snapshot_up_to(&self, own: &StreamKey, last: u64) -> Result<Option<(u64, Arc<[u8]>)>> {
        if let Ok(tail) = self.cache.get(own) {
            match &tail.snapshot {
                None => return Ok(None),
                Some(newest) if newest.0 <= last => return Ok(Some(newest.clone())),
                Some(_) => {}
            }
        }
        let found = self.snapshot_at(own, last)?;
        Ok(found.map(|(sequence, bytes)| (sequence, bytes.into())))
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
