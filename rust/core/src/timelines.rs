//! Timelines: a (domain, edition) pair has a number from its first use on. Numbers are never used again.
//!
//! There may be millions, so nothing copies or walks the table for one of them: readers share it, and the committer
//! adds the names of a group when the group has become visible.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::RwLock;

use crate::api::{MAIN, Stream};
use crate::key::{self, StreamKey};
use crate::record::text;

pub type Name = Arc<str>;

#[derive(Debug, Default)]
struct Table {
    numbers: HashMap<Name, HashMap<Name, u32>>,
    names: HashMap<u32, (Name, Name)>,
}

impl Table {
    fn get(&self, domain: &str, edition: &str) -> Option<u32> {
        self.numbers.get(domain)?.get(edition).copied()
    }

    fn insert(&mut self, timeline: u32, domain: &str, edition: &str) {
        let domain = match self.numbers.get_key_value(domain) {
            Some((domain, _)) => Name::clone(domain),
            None => domain.into(),
        };
        let edition = Name::from(edition);
        self.numbers
            .entry(Name::clone(&domain))
            .or_default()
            .insert(Name::clone(&edition), timeline);
        self.names.insert(timeline, (domain, edition));
    }

    fn remove(&mut self, timeline: u32) {
        if let Some((domain, edition)) = self.names.remove(&timeline)
            && let Some(editions) = self.numbers.get_mut(&domain)
        {
            editions.remove(&edition);
        }
    }
}

/// The names whose data is in the store: what readers see. Each call looks at one moment.
#[derive(Debug, Default)]
pub struct Timelines(RwLock<Table>);

impl Timelines {
    pub fn get(&self, domain: &str, edition: &str) -> Option<u32> {
        self.0.read().get(domain, edition)
    }

    pub fn stream(&self, stream: &Stream) -> Option<StreamKey> {
        let timeline = self.get(&stream.domain, &stream.edition)?;
        Some(key::stream(timeline, &stream.root))
    }

    /// (domain, edition); None for a deleted one.
    pub fn names(&self, timeline: u32) -> Option<(Name, Name)> {
        self.0.read().names.get(&timeline).cloned()
    }

    pub fn named(&self, key: &StreamKey) -> Option<Stream> {
        let table = self.0.read();
        let (domain, edition) = table.names.get(&key::timeline_of(key))?;
        Some(Stream {
            domain: domain.as_ref().into(),
            edition: edition.as_ref().into(),
            root: key::root_of(key),
        })
    }

    /// The main timeline of this one's domain.
    pub fn main_beside(&self, timeline: u32) -> Option<u32> {
        let table = self.0.read();
        let (domain, _) = table.names.get(&timeline)?;
        table.get(domain, MAIN)
    }

    pub fn is_main(&self, timeline: u32) -> bool {
        let table = self.0.read();
        let names = table.names.get(&timeline);
        names.is_some_and(|(_, edition)| edition.as_ref() == MAIN)
    }

    /// All domains, in no order.
    pub fn domains(&self) -> Vec<Name> {
        self.0.read().numbers.keys().cloned().collect()
    }

    /// (edition, number) of a domain, in no order.
    pub fn of_domain(&self, domain: &str) -> Vec<(Name, u32)> {
        let table = self.0.read();
        let editions = table.numbers.get(domain).into_iter().flatten();
        editions
            .map(|(edition, timeline)| (Name::clone(edition), *timeline))
            .collect()
    }

    /// Those of one edition, one for each domain that has it.
    pub fn of_edition(&self, edition: &str) -> Vec<u32> {
        let table = self.0.read();
        let domains = table.numbers.values();
        domains
            .filter_map(|editions| editions.get(edition).copied())
            .collect()
    }

    pub fn insert(&self, timeline: u32, domain: &str, edition: &str) {
        self.0.write().insert(timeline, domain, edition);
    }

    pub fn remove(&self, timeline: u32) {
        self.0.write().remove(timeline);
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

/// The table as the committer sees it: with the names of the group that it works on.
pub struct Numbering {
    shared: Arc<Timelines>,
    fresh: Table,
    next: u32,
}

impl Numbering {
    pub fn new(shared: Arc<Timelines>, next: u32) -> Self {
        Self {
            shared,
            fresh: Table::default(),
            next,
        }
    }

    pub fn get(&self, domain: &str, edition: &str) -> Option<u32> {
        let fresh = self.fresh.get(domain, edition);
        fresh.or_else(|| self.shared.get(domain, edition))
    }

    pub fn stream(&self, stream: &Stream) -> Option<StreamKey> {
        let timeline = self.get(&stream.domain, &stream.edition)?;
        Some(key::stream(timeline, &stream.root))
    }

    pub fn is_main(&self, timeline: u32) -> bool {
        match self.fresh.names.get(&timeline) {
            Some((_, edition)) => edition.as_ref() == MAIN,
            None => self.shared.is_main(timeline),
        }
    }

    /// Those of one edition, one for each domain that has it.
    pub fn of_edition(&self, edition: &str) -> Vec<u32> {
        let mut found = self.shared.of_edition(edition);
        let fresh = self.fresh.numbers.values();
        found.extend(fresh.filter_map(|editions| editions.get(edition)));
        found
    }

    /// All timelines of a domain, in no order.
    pub fn of_domain(&self, domain: &str) -> Vec<u32> {
        let shared = self.shared.of_domain(domain);
        let mut found: Vec<_> = shared.into_iter().map(|(_, timeline)| timeline).collect();
        let fresh = self.fresh.numbers.get(domain).into_iter().flatten();
        found.extend(fresh.map(|(_, timeline)| *timeline));
        found
    }

    /// Gives a name its number.
    pub fn assign(&mut self, domain: &str, edition: &str) -> u32 {
        let timeline = self.next;
        self.next += 1;
        self.fresh.insert(timeline, domain, edition);
        timeline
    }

    /// Shows readers the names of the group, whose data is there now.
    pub fn publish(&mut self) {
        if self.fresh.names.is_empty() {
            return;
        }
        let mut table = self.shared.0.write();
        for (timeline, (domain, edition)) in self.fresh.names.drain() {
            table.insert(timeline, &domain, &edition);
        }
        self.fresh.numbers.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readers_see_names_once_they_are_published() {
        let shared = Arc::new(Timelines::default());
        let mut numbering = Numbering::new(Arc::clone(&shared), 7);
        assert_eq!(numbering.assign("account", "left"), 7);
        assert_eq!(numbering.get("account", "left"), Some(7));
        assert_eq!(shared.get("account", "left"), None);
        numbering.publish();
        assert_eq!(shared.get("account", "left"), Some(7));
        assert_eq!(numbering.of_edition("left"), [7]);
        assert_eq!(numbering.assign("account", "right"), 8);
    }

    #[test]
    fn removed_names_are_gone_both_ways() {
        let table = Timelines::default();
        table.insert(1, "account", MAIN);
        table.insert(2, "account", "left");
        table.remove(2);
        assert_eq!(table.get("account", "left"), None);
        assert_eq!(table.names(2), None);
        assert_eq!(table.main_beside(1), Some(1));
    }
}
