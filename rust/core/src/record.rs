//! Values of the store: chunks of pages, log entries, keys, decisions, snapshots.

use crate::api::{Decision, Verdict};
use crate::key::{self, StreamKey};
use crate::wire;

/// A chunk of pages grows to about this. One append is one chunk unless it is larger.
const CHUNK_BYTES: usize = 64 << 10;
/// Flags, count, position.
const CHUNK_HEADER: usize = 13;
/// Of format 1: flags, count.
const OLD_CHUNK_HEADER: usize = 5;
const IS_ODD: u8 = 1;
const HAS_POSITION: u8 = 2;

/// Pages of one append as `events` holds them: flags, count, position in the log, frames.
#[derive(Debug)]
pub struct Chunk {
    /// From the append's first page.
    pub offset: u64,
    pub value: Vec<u8>,
}

/// Builds the chunks of an append.
#[derive(Debug, Default)]
pub struct Chunks {
    pub all: Vec<Chunk>,
    page_count: u64,
    in_last: u32,
}

impl Chunks {
    pub fn push(&mut self, page: &[u8], is_plain: bool) {
        let is_full = self
            .all
            .last()
            .is_none_or(|chunk| chunk.value.len() + page.len() > CHUNK_BYTES && self.in_last > 0);
        if is_full {
            let mut value = Vec::with_capacity(CHUNK_HEADER + wire::frame_len(page.len()));
            value.resize(CHUNK_HEADER, 0);
            value[0] = HAS_POSITION;
            self.all.push(Chunk {
                offset: self.page_count,
                value,
            });
            self.in_last = 0;
        }
        self.in_last += 1;
        self.page_count += 1;
        if let Some(chunk) = self.all.last_mut() {
            if !is_plain {
                chunk.value[0] |= IS_ODD;
            }
            chunk.value[1..OLD_CHUNK_HEADER].copy_from_slice(&self.in_last.to_be_bytes());
            wire::put_frame(&mut chunk.value, page);
        }
    }

    /// Notes in each chunk where its pages are in the log. `first`: the position of the append's first page.
    pub fn place(&mut self, first: u64) {
        for chunk in &mut self.all {
            let position = first + chunk.offset;
            chunk.value[OLD_CHUNK_HEADER..CHUNK_HEADER].copy_from_slice(&position.to_be_bytes());
        }
    }
}

/// What a chunk says of its pages' positions in the publication log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placed {
    /// They were published with their commit; the position of the first.
    At(u64),
    /// They were held back: if they have been released, a [`Released`] record says where to.
    Held,
    /// Written in format 1, which did not note it.
    Unknown,
}

/// A stored chunk.
#[derive(Clone, Copy)]
pub struct ChunkView<'a> {
    /// It has no page that the visibility transform could change.
    pub is_plain: bool,
    pub count: u64,
    pub placed: Placed,
    pub frames: &'a [u8],
}

impl<'a> ChunkView<'a> {
    pub fn parse(value: &'a [u8]) -> Option<Self> {
        let (header, mut frames) = value.split_at_checked(OLD_CHUNK_HEADER)?;
        let count = u64::from(key::parse_u32(&header[1..])?);
        let mut placed = Placed::Unknown;
        if header[0] & HAS_POSITION != 0 {
            let position;
            (position, frames) = frames.split_at_checked(CHUNK_HEADER - OLD_CHUNK_HEADER)?;
            placed = match key::parse_u64(position)? {
                0 => Placed::Held,
                first => Placed::At(first),
            };
        }
        (count > 0).then_some(Self {
            is_plain: header[0] & IS_ODD == 0,
            count,
            placed,
            frames,
        })
    }
}

/// Where the log has the pages of one append that was held back: the position of its first, and how many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Released {
    pub position: u64,
    pub count: u64,
}

impl Released {
    pub fn encode(self) -> [u8; 16] {
        let mut out = [0; 16];
        out[..8].copy_from_slice(&self.position.to_be_bytes());
        out[8..].copy_from_slice(&self.count.to_be_bytes());
        out
    }

    pub fn parse(value: &[u8]) -> Option<Self> {
        Some(Self {
            position: key::parse_u64(value.get(..8)?)?,
            count: key::parse_u64(value.get(8..)?)?,
        })
    }
}

/// What an entry's pages become when they are published (CAS-9).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    Plain,
    /// They were pending; the cascade's decision says what they are now.
    Cascade(String),
    Marker,
}

/// One commit's pages of one stream, in the log or held back from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub stream: StreamKey,
    pub first: u64,
    pub count: u64,
    pub kind: Kind,
    pub correlation_id: String,
}

impl Entry {
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(40 + self.correlation_id.len());
        out.extend_from_slice(&key::page(&self.stream, self.first));
        out.extend_from_slice(&self.count.to_be_bytes());
        let (kind, cascade_id) = match &self.kind {
            Kind::Plain => (0, ""),
            Kind::Cascade(id) => (1, id.as_str()),
            Kind::Marker => (2, ""),
        };
        out.push(kind);
        out.extend_from_slice(&key::counted(&[], cascade_id.as_bytes()));
        out.extend_from_slice(self.correlation_id.as_bytes());
        out
    }

    pub fn parse(value: &[u8]) -> Option<Self> {
        let head = EntryHead::parse(value)?;
        let kind = match value[36] {
            1 => Kind::Cascade(head.cascade_id.to_owned()),
            _ if head.is_marker => Kind::Marker,
            _ => Kind::Plain,
        };
        Some(Self {
            stream: head.stream,
            first: head.first,
            count: head.count,
            kind,
            correlation_id: text(head.correlation_id)?,
        })
    }
}

/// What a walk over many entries needs of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntryHead<'a> {
    pub stream: StreamKey,
    pub first: u64,
    pub count: u64,
    /// "" unless the pages were pending.
    pub cascade_id: &'a str,
    pub is_marker: bool,
    pub correlation_id: &'a [u8],
}

impl<'a> EntryHead<'a> {
    pub fn parse(value: &'a [u8]) -> Option<Self> {
        let (stream, first) = key::parse_page(value.get(..28)?)?;
        let count = key::parse_u64(value.get(28..36)?)?;
        let (cascade_id, correlation_id) = key::parse_counted(value.get(37..)?)?;
        (count > 0 && value[36] <= 2).then_some(Self {
            stream,
            first,
            count,
            cascade_id: std::str::from_utf8(cascade_id).ok()?,
            is_marker: value[36] == 2,
            correlation_id,
        })
    }
}

/// What an idempotency key was accepted for. `cascade_id` is that of its pages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    pub first: u64,
    pub count: u64,
    pub cascade_id: String,
    pub answer: Vec<u8>,
}

impl Known {
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(20 + self.answer.len());
        out.extend_from_slice(&self.first.to_be_bytes());
        out.extend_from_slice(&self.count.to_be_bytes());
        out.extend_from_slice(&key::counted(&[], self.cascade_id.as_bytes()));
        out.extend_from_slice(&self.answer);
        out
    }

    pub fn parse(value: &[u8]) -> Option<Self> {
        let (cascade_id, answer) = key::parse_counted(value.get(16..)?)?;
        Some(Self {
            first: key::parse_u64(&value[..8])?,
            count: key::parse_u64(&value[8..16])?,
            cascade_id: text(cascade_id)?,
            answer: answer.to_vec(),
        })
    }

    pub fn last(&self) -> i64 {
        range_last(self.first, self.count)
    }
}

/// The last sequence of `count` from `first` on: `first - 1` for none.
pub fn range_last(first: u64, count: u64) -> i64 {
    i64::try_from(first + count).unwrap_or(i64::MAX) - 1
}

pub fn encode_decision(decision: &Decision) -> Vec<u8> {
    let mut out = vec![u8::from(decision.verdict == Verdict::Commit)];
    out.extend_from_slice(&decision.decided_at_ns.to_be_bytes());
    out.extend_from_slice(decision.reason.as_bytes());
    out
}

pub fn parse_decision(cascade_id: &str, value: &[u8]) -> Option<Decision> {
    Some(Decision {
        cascade_id: cascade_id.to_owned(),
        verdict: if *value.first()? == 1 {
            Verdict::Commit
        } else {
            Verdict::Rollback
        },
        decided_at_ns: parse_i64(value.get(1..9)?)?,
        reason: text(&value[9..])?,
    })
}

/// A time, then bytes: snapshots (stored at), pending pages (created at, cascade), leases (until, holder).
pub fn encode_timed(at_ns: i64, bytes: &[u8]) -> Vec<u8> {
    [at_ns.to_be_bytes().as_slice(), bytes].concat()
}

pub fn parse_timed(value: &[u8]) -> Option<(i64, &[u8])> {
    Some((parse_i64(value.get(..8)?)?, &value[8..]))
}

fn parse_i64(bytes: &[u8]) -> Option<i64> {
    Some(i64::from_be_bytes(bytes.try_into().ok()?))
}

pub fn text(bytes: &[u8]) -> Option<String> {
    Some(std::str::from_utf8(bytes).ok()?.to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn entries_round_trip(stream in any::<[u8; 20]>(), first: u32, count in 1u32.., kind in 0..3, id in "[a-z]{0,9}") {
            let kind = match kind { 0 => Kind::Plain, 1 => Kind::Cascade(id.clone()), _ => Kind::Marker };
            let entry = Entry { stream, first: first.into(), count: count.into(), kind, correlation_id: id };
            prop_assert_eq!(Entry::parse(&entry.encode()), Some(entry));
        }

        #[test]
        fn known_keys_round_trip(first: u32, count: u32, cascade_id in "[a-z]{0,9}", answer in proptest::collection::vec(any::<u8>(), 0..50)) {
            let known = Known { first: first.into(), count: count.into(), cascade_id, answer };
            prop_assert_eq!(Known::parse(&known.encode()), Some(known));
        }

        #[test]
        fn decisions_round_trip(is_commit: bool, reason in ".{0,20}", decided_at_ns: i64) {
            let verdict = if is_commit { Verdict::Commit } else { Verdict::Rollback };
            let decision = Decision { cascade_id: "c".into(), verdict, reason, decided_at_ns };
            prop_assert_eq!(parse_decision("c", &encode_decision(&decision)), Some(decision));
        }

        #[test]
        fn releases_round_trip(position: u64, count: u64) {
            let released = Released { position, count };
            prop_assert_eq!(Released::parse(&released.encode()), Some(released));
        }

        #[test]
        fn chunks_hold_the_pages(sizes in proptest::collection::vec(0usize..30_000, 1..12), position in 0u64..1 << 40) {
            let pages: Vec<_> = sizes.into_iter().zip(0..).map(|(size, byte)| vec![byte; size]).collect();
            let mut chunks = Chunks::default();
            for page in &pages {
                chunks.push(page, true);
            }
            if position > 0 {
                chunks.place(position);
            }
            let mut found = Vec::new();
            for chunk in &chunks.all {
                prop_assert_eq!(chunk.offset as usize, found.len());
                let view = ChunkView::parse(&chunk.value).expect("own chunk");
                let placed = if position > 0 { Placed::At(position + chunk.offset) } else { Placed::Held };
                prop_assert_eq!(view.placed, placed);
                let mut rest = view.frames;
                for _ in 0..view.count {
                    found.push(wire::take_frame(&mut rest).expect("a frame").1.to_vec());
                }
                prop_assert!(rest.is_empty());
            }
            prop_assert_eq!(found, pages);
        }

        #[test]
        fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            let _ = (Entry::parse(&bytes), Known::parse(&bytes), parse_decision("", &bytes));
            let _ = (parse_timed(&bytes), ChunkView::parse(&bytes).is_some(), Released::parse(&bytes));
        }
    }
}
