//! Reads across streams: names, correlation ids, cascades, positions, records.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use crate::api::{Book, MAIN, Participant, Stream};
use crate::error::Result;
use crate::key::{self, Family, StreamKey};
use crate::read::cover;
use crate::record;
use crate::store::{Store, disk};
use crate::wire;

/// Streams in the order in which the ports list them.
type Ordered<T> = BTreeMap<(String, String, [u8; 16]), T>;

impl Store {
    /// Roots with at least one page on exactly this edition, ascending.
    pub fn roots(&self, domain: &str, edition: &str) -> Result<Vec<[u8; 16]>> {
        let edition = if edition.is_empty() { MAIN } else { edition };
        let Some(timeline) = self.timelines.get(domain, edition) else {
            return Ok(Vec::new());
        };
        let mut roots = Vec::new();
        let mut iterator = self.iterator(Family::Events, &timeline.to_be_bytes())?;
        iterator.seek(timeline.to_be_bytes());
        while let Some(key) = iterator.key() {
            let (stream, _) = key::parse_page(key).ok_or_else(|| self.bad("events key", key))?;
            roots.push(key::root_of(&stream));
            let Some(next) = key::after_prefix(&stream) else {
                break;
            };
            iterator.seek(next);
        }
        iterator.status().map_err(disk)?;
        Ok(roots)
    }

    /// Domains with at least one page, ascending.
    pub fn domains(&self) -> Result<Vec<String>> {
        let mut found = BTreeSet::new();
        for domain in self.timelines.domains() {
            let main = self.timelines.get(&domain, MAIN);
            let mut is_there = main.map_or(Ok(false), |main| self.has_pages(main))?;
            if !is_there {
                for (_, timeline) in self.timelines.of_domain(&domain) {
                    is_there = is_there || self.has_pages(timeline)?;
                }
            }
            if is_there {
                found.insert(domain.as_ref().to_owned());
            }
        }
        Ok(found.into_iter().collect())
    }

    /// Editions of the domain with at least one page, ascending.
    pub fn editions(&self, domain: &str) -> Result<Vec<String>> {
        let mut found = BTreeSet::new();
        for (edition, timeline) in self.timelines.of_domain(domain) {
            if self.has_pages(timeline)? {
                found.insert(edition.as_ref().to_owned());
            }
        }
        Ok(found.into_iter().collect())
    }

    pub fn has_pages(&self, timeline: u32) -> Result<bool> {
        let mut iterator = self.iterator(Family::Events, &timeline.to_be_bytes())?;
        iterator.seek(timeline.to_be_bytes());
        let is_there = iterator.valid();
        iterator.status().map_err(disk)?;
        Ok(is_there)
    }

    /// Per stream that carries the id a book of only those pages (STO-42).
    pub fn by_correlation(
        &self,
        id: &str,
        domain: Option<&str>,
        edition: Option<&str>,
    ) -> Result<Vec<Book>> {
        if id.is_empty() {
            return Ok(Vec::new());
        }
        let edition = edition.map(|name| if name.is_empty() { MAIN } else { name });
        let mut streams: Ordered<(StreamKey, Vec<(u64, u64)>)> = BTreeMap::new();
        let prefix = key::correlation_prefix(id);
        self.scan(Family::Correlation, &prefix, &prefix, |key, value| {
            let bad = || self.bad("correlation", key);
            let (stream, first) = key::parse_after(key, &prefix).ok_or_else(bad)?;
            let count = key::parse_u64(value).ok_or_else(bad)?;
            if let Some(names) = self.timelines.named(&stream)
                && domain.is_none_or(|domain| domain == names.domain)
                && edition.is_none_or(|edition| edition == names.edition)
            {
                let place = (names.domain, names.edition, names.root);
                streams
                    .entry(place)
                    .or_insert((stream, Vec::new()))
                    .1
                    .push((first, count));
            }
            Ok(ControlFlow::Continue(()))
        })?;
        let mut books = Vec::with_capacity(streams.len());
        for ((domain, edition, root), (key, ranges)) in streams {
            let (mut frames, mut is_plain) = (Vec::new(), true);
            for (first, count) in ranges {
                let (more, is_more_plain) = self.own_frames(&key, first, count)?;
                frames.extend_from_slice(&more);
                is_plain &= is_more_plain;
            }
            let stream = Stream {
                domain,
                edition,
                root,
            };
            let next_sequence = self.own_next(&key)?.unwrap_or(0);
            let data = wire::book(cover(&stream, id), None, &[&frames], next_sequence);
            books.push(Book {
                data,
                next_sequence,
                is_plain,
            });
        }
        Ok(books)
    }

    /// Undecided cascades with a page created strictly before, ids ascending (CAS-31).
    pub fn stale_cascades(&self, before_ns: i64) -> Result<Vec<String>> {
        self.cascades_where(|created_at_ns| created_at_ns < before_ns, false)
    }

    /// Decided cascades with unresolved pages, ids ascending (CAS-17).
    pub fn unfinished_cascades(&self) -> Result<Vec<String>> {
        self.cascades_where(|_| true, true)
    }

    fn cascades_where(
        &self,
        is_wanted: impl Fn(i64) -> bool,
        is_decided: bool,
    ) -> Result<Vec<String>> {
        let mut ids = BTreeSet::new();
        let prefix = key::pending_by_cascade_all();
        self.scan(Family::Cascades, &prefix, &prefix, |key, value| {
            let bad = || self.bad("cascades", key);
            let (id, _, _) = key::parse_pending_by_cascade(key).ok_or_else(bad)?;
            let (created_at_ns, _) = record::parse_timed(value).ok_or_else(bad)?;
            if is_wanted(created_at_ns) && !ids.contains(id) {
                ids.insert(id.to_owned());
            }
            Ok(ControlFlow::Continue(()))
        })?;
        let mut found = Vec::new();
        for id in ids {
            if self.decision(&id)?.is_some() == is_decided {
                found.push(id);
            }
        }
        Ok(found)
    }

    /// Streams with unresolved pages of the cascade, order (domain, edition, root).
    pub fn participants(&self, cascade_id: &str) -> Result<Vec<Participant>> {
        let mut streams: Ordered<Vec<u64>> = BTreeMap::new();
        let prefix = key::pending_by_cascade_prefix(cascade_id);
        self.scan(Family::Cascades, &prefix, &prefix, |key, _| {
            let (stream, sequence) =
                key::parse_after(key, &prefix).ok_or_else(|| self.bad("cascades", key))?;
            if let Some(names) = self.timelines.named(&stream) {
                let place = (names.domain, names.edition, names.root);
                streams.entry(place).or_default().push(sequence);
            }
            Ok(ControlFlow::Continue(()))
        })?;
        let participant = |((domain, edition, root), sequences)| Participant {
            stream: Stream {
                domain,
                edition,
                root,
            },
            sequences,
        };
        Ok(streams.into_iter().map(participant).collect())
    }

    pub fn snapshot(&self, stream: &Stream, sequence: u64) -> Result<Option<Vec<u8>>> {
        let Some(own) = self.timelines.stream(stream) else {
            return Ok(None);
        };
        Ok(self.snapshot_at(&own, sequence)?.map(|(_, bytes)| bytes))
    }

    pub fn position(&self, consumer: &str, stream: &Stream) -> Result<Option<u64>> {
        match self.timelines.stream(stream) {
            Some(own) => self.number(Family::Positions, &key::position_stream(consumer, &own)),
            None => Ok(None),
        }
    }

    pub fn cursor(&self, consumer: &str) -> Result<Option<u64>> {
        self.number(Family::Positions, &key::position_cursor(consumer))
    }

    pub fn number(&self, family: Family, key: &[u8]) -> Result<Option<u64>> {
        let value = self.get(family, key)?;
        value
            .map(|value| key::parse_u64(&value).ok_or_else(|| self.bad("number", key)))
            .transpose()
    }

    /// (key, value) of a space. `from`: inclusive ascending, exclusive descending.
    pub fn records(
        &self,
        space: &str,
        from: Option<&[u8]>,
        limit: usize,
        reverse: bool,
    ) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
        let prefix = key::record(space, b"");
        let mut iterator = self.iterator(Family::Records, &prefix)?;
        match (from, reverse) {
            (None, true) => iterator.seek_to_last(),
            (None, false) => iterator.seek(&prefix),
            (Some(from), false) => iterator.seek(key::record(space, from)),
            (Some(from), true) => {
                let below = key::record(space, from);
                iterator.seek_for_prev(&below);
                if iterator.key() == Some(below.as_slice()) {
                    iterator.prev();
                }
            }
        }
        let mut found = Vec::new();
        while found.len() < limit
            && let Some((key, value)) = iterator.item()
        {
            found.push((key[prefix.len()..].to_vec(), value.to_vec()));
            if reverse {
                iterator.prev();
            } else {
                iterator.next();
            }
        }
        iterator.status().map_err(disk)?;
        Ok(found)
    }
}
