//! Timelines: a (domain, edition) pair has a number from its first use on. Numbers are never used again.

use std::collections::HashMap;

use crate::api::{MAIN, Stream};
use crate::key::{self, StreamKey};
use crate::record::text;

#[derive(Clone, Debug, Default)]
pub struct Timelines {
    numbers: HashMap<String, HashMap<String, u32>>,
    names: HashMap<u32, (String, String)>,
    next: u32,
}

impl Timelines {
    pub fn new(next: u32) -> Self {
        Self {
            next,
            ..Self::default()
        }
    }

    pub fn get(&self, domain: &str, edition: &str) -> Option<u32> {
        self.numbers.get(domain)?.get(edition).copied()
    }

    pub fn stream(&self, stream: &Stream) -> Option<StreamKey> {
        Some(key::stream(
            self.get(&stream.domain, &stream.edition)?,
            &stream.root,
        ))
    }

    /// The stream's base: the same root on main.
    pub fn main_of(&self, stream: &Stream) -> Option<StreamKey> {
        Some(key::stream(self.get(&stream.domain, MAIN)?, &stream.root))
    }

    /// (domain, edition); None for a deleted one.
    pub fn names(&self, timeline: u32) -> Option<(&str, &str)> {
        self.names
            .get(&timeline)
            .map(|(domain, edition)| (domain.as_str(), edition.as_str()))
    }

    pub fn named(&self, key: &StreamKey) -> Option<Stream> {
        let (domain, edition) = self.names(key::timeline_of(key))?;
        Some(Stream {
            domain: domain.into(),
            edition: edition.into(),
            root: key::root_of(key),
        })
    }

    /// All of them: (domain, edition, number), in no order.
    pub fn all(&self) -> impl Iterator<Item = (&str, &str, u32)> {
        self.names
            .iter()
            .map(|(number, (domain, edition))| (domain.as_str(), edition.as_str(), *number))
    }

    pub fn next(&self) -> u32 {
        self.next
    }

    pub fn insert(&mut self, timeline: u32, domain: &str, edition: &str) {
        self.numbers
            .entry(domain.into())
            .or_default()
            .insert(edition.into(), timeline);
        self.names.insert(timeline, (domain.into(), edition.into()));
        self.next = self.next.max(timeline + 1);
    }

    pub fn remove(&mut self, timeline: u32) {
        if let Some((domain, edition)) = self.names.remove(&timeline)
            && let Some(editions) = self.numbers.get_mut(&domain)
        {
            editions.remove(&edition);
        }
    }

    /// The stored names of a timeline.
    pub fn encode(domain: &str, edition: &str) -> Vec<u8> {
        [
            key::counted(&[], domain.as_bytes()).as_slice(),
            edition.as_bytes(),
        ]
        .concat()
    }

    pub fn parse(value: &[u8]) -> Option<(String, String)> {
        let (domain, edition) = key::parse_counted(value)?;
        Some((text(domain)?, text(edition)?))
    }
}
