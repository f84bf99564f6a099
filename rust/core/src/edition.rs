//! Declared editions: their records and what they may hold (EDN-20 to EDN-25), and the end of editions (EDN-14).

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::Arc;

use crate::api::{Branch, Edition, MAIN, Usage, Written};
use crate::committer::Committer;
use crate::error::{Error, Result};
use crate::group::Group;
use crate::key::{self, Family, StreamKey};
use crate::prepare::invalid;
use crate::record::{self, ChunkView};
use crate::store::{Store, disk};
use crate::wire;

/// Pages beyond a quota up to which they are counted: enough to say how much too much there is.
const SURPLUS_MAX: u64 = 1_000_000;

/// Records of a family that are deleted one by one.
const SINGLE_DELETES_MAX: usize = 1024;

/// Records of a family that a timeline has: the first ones, if there are too many.
pub struct Found {
    family: Family,
    timeline: u32,
    keys: Vec<Vec<u8>>,
}

impl Found {
    /// Deletes them; nobody joins the group after that, so that nobody has to see it before it is done.
    ///
    /// One by one unless they are many: each range that was deleted makes all reads a little slower.
    pub fn delete(&self, group: &mut Group) {
        group.is_closed = true;
        if self.keys.len() <= SINGLE_DELETES_MAX {
            for key in &self.keys {
                group.delete(self.family, key);
            }
            return;
        }
        let (from, to) = (
            self.timeline.to_be_bytes(),
            (self.timeline + 1).to_be_bytes(),
        );
        group.delete_range(self.family, &from, &to);
    }
}

/// What is known of its streams in memory is left to lapse: nobody asks for them any more.
fn drop_timeline(group: &mut Group, timeline: u32, remains: &[Found]) {
    group.delete(Family::Meta, &key::meta_timeline(timeline));
    for found in remains {
        found.delete(group);
    }
    group.is_closed = true;
    group.dropped.push(timeline);
}

/// What a group does to the table of declared editions.
pub enum Declaration {
    Made(Arc<Edition>),
    Forgotten(String),
}

impl Store {
    pub fn edition(&self, name: &str) -> Option<Edition> {
        let declared = self.declared.read();
        declared.get(name).map(|record| (**record).clone())
    }

    /// What an edition holds of its own, over all domains.
    pub fn usage(&self, edition: &str) -> Result<Usage> {
        self.count(&self.timelines.of_edition(edition), |_| true)
    }

    /// Counts the pages of timelines for as long as `goes_on`.
    fn count(&self, timelines: &[u32], goes_on: impl Fn(Usage) -> bool) -> Result<Usage> {
        let mut usage = Usage::default();
        for timeline in timelines {
            let prefix = timeline.to_be_bytes();
            self.scan(Family::Events, &prefix, &prefix, |key, value| {
                let bad = || self.bad("events value", key);
                let chunk = ChunkView::parse(value).ok_or_else(bad)?;
                let mut rest = chunk.frames;
                while let Some((_, page)) = wire::take_frame(&mut rest) {
                    usage.byte_count += page.len() as u64;
                }
                usage.page_count += chunk.count;
                Ok(if goes_on(usage) {
                    ControlFlow::Continue(())
                } else {
                    ControlFlow::Break(())
                })
            })?;
        }
        Ok(usage)
    }

    /// Streams with pages on exactly this edition, roots ascending, those above `after`.
    pub fn branches(
        &self,
        domain: &str,
        edition: &str,
        after: &[u8],
        limit: usize,
    ) -> Result<Vec<Branch>> {
        let mut found = Vec::new();
        let Some(timeline) = self.timelines.get(domain, edition) else {
            return Ok(found);
        };
        let timeline = timeline.to_be_bytes();
        let mut iterator = self.iterator(Family::Events, &timeline)?;
        iterator.seek([&timeline, after].concat());
        while found.len() < limit
            && let Some(key) = iterator.key()
        {
            let (stream, first) =
                key::parse_page(key).ok_or_else(|| self.bad("events key", key))?;
            // The first chunk says where the stream begins, the last one where it ends.
            iterator.seek_for_prev(key::page(&stream, u64::MAX));
            let bad = || self.bad_page(&stream, first);
            let (key, value) = iterator.item().ok_or_else(bad)?;
            let (_, last) = key::parse_page(key).ok_or_else(|| self.bad("events key", key))?;
            let chunk = ChunkView::parse(value).ok_or_else(bad)?;
            let root = key::root_of(&stream);
            if root.as_slice() > after {
                found.push(Branch {
                    root,
                    divergence: first,
                    next_sequence: last + chunk.count,
                });
            }
            iterator.next();
        }
        iterator.status().map_err(disk)?;
        Ok(found)
    }

    /// What a family has of a timeline, to be deleted.
    pub fn found(&self, family: Family, timeline: u32) -> Result<Found> {
        let mut keys = Vec::new();
        let prefix = timeline.to_be_bytes();
        self.scan(family, &prefix, &prefix, |key, _| {
            keys.push(key.to_vec());
            Ok(if keys.len() <= SINGLE_DELETES_MAX {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            })
        })?;
        Ok(Found {
            family,
            timeline,
            keys,
        })
    }

    /// All that there is of a timeline.
    fn remains(&self, timeline: u32) -> Result<Vec<Found>> {
        let families = [
            Family::Events,
            Family::Snapshots,
            Family::Keys,
            Family::Held,
        ];
        let found = families.map(|family| self.found(family, timeline));
        found.into_iter().collect()
    }

    fn has_any_pages(&self, timelines: &[u32]) -> Result<bool> {
        for timeline in timelines {
            if self.has_pages(*timeline)? {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

impl Committer {
    /// Makes the record, or changes its limits (EDN-20). No member before has written to the edition.
    pub fn declare_edition(&mut self, group: &mut Group, wanted: Edition) -> Result<Written> {
        let timelines = self.timelines.of_edition(&wanted.name);
        let has_pages = || self.store.has_any_pages(&timelines);
        let record = self.declared.judge(wanted, has_pages)?;
        group.put(
            Family::Meta,
            &key::meta_edition(&record.name),
            &record.encode(),
        );
        let shared = Arc::new(record.clone());
        self.declared.put(Arc::clone(&shared));
        group.declarations.push(Declaration::Made(shared));
        self.usages.remove(&record.name);
        Ok(Written::Edition(record))
    }

    /// Removes the record, and what there is of an edition without pages.
    pub fn forget_edition(&mut self, group: &mut Group, name: String) -> Result<Written> {
        if self.declared.get(&name).is_none() {
            return Ok(Written::Flag(false));
        }
        let timelines = self.timelines.of_edition(&name);
        let has_pages = self.store.has_any_pages(&timelines)?;
        self.declared.check_unused(&name, has_pages)?;
        let remains = timelines
            .iter()
            .map(|timeline| self.store.remains(*timeline));
        let remains: Vec<_> = remains.collect::<Result<_>>()?;
        for (timeline, found) in timelines.into_iter().zip(remains) {
            drop_timeline(group, timeline, &found);
        }
        group.delete(Family::Meta, &key::meta_edition(&name));
        group.is_closed = true;
        self.declared.remove(&name);
        self.usages.remove(&name);
        group.declarations.push(Declaration::Forgotten(name));
        Ok(Written::Flag(true))
    }

    /// Deletes an edition of a domain: its names first of all, so that nothing can reach the rest (EDN-14, EDN-15).
    ///
    /// Stream positions and correlation records stay behind under a timeline that has no names any more: unreachable.
    pub fn delete_edition(
        &mut self,
        group: &mut Group,
        domain: &str,
        edition: &str,
    ) -> Result<Written> {
        if edition.is_empty() || edition == MAIN {
            return Err(Error::MainProtected(domain.to_owned()));
        }
        if domain.is_empty() {
            return Err(invalid("domain", "not empty", ""));
        }
        self.declared.check_unused(edition, false)?;
        let Some(timeline) = self.timelines.get(domain, edition) else {
            return Ok(Written::Count(0));
        };
        let pending = self.pending_of(timeline)?;
        let mut undecided = BTreeSet::new();
        for (cascade_id, _, _) in &pending {
            if !undecided.contains(cascade_id) && group.decision(cascade_id)?.is_none() {
                undecided.insert(cascade_id.clone());
            }
        }
        if !undecided.is_empty() {
            return Err(Error::PendingPages {
                domain: domain.to_owned(),
                edition: edition.to_owned(),
                cascade_ids: undecided.into_iter().collect(),
            });
        }
        let count = self.page_count(timeline)?;
        let remains = self.store.remains(timeline)?;

        for (cascade_id, stream, sequence) in &pending {
            group.delete(
                Family::Cascades,
                &key::pending_by_cascade(cascade_id, stream, *sequence),
            );
            group.delete(Family::Cascades, &key::pending_by_stream(stream, *sequence));
        }
        drop_timeline(group, timeline, &remains);
        self.pending_count -= pending.len() as u64;
        self.usages.remove(edition);
        Ok(Written::Count(count))
    }

    fn pending_of(&self, timeline: u32) -> Result<Vec<(String, StreamKey, u64)>> {
        let mut pending = Vec::new();
        if self.pending_count == 0 {
            return Ok(pending);
        }
        let prefix = key::pending_by_stream_prefix(&timeline.to_be_bytes());
        self.store
            .scan(Family::Cascades, &prefix, &prefix, |key, value| {
                let bad = || self.store.bad("cascades", key);
                let of_all = key::pending_by_stream_prefix(&[]);
                let (stream, sequence) = key::parse_after(key, &of_all).ok_or_else(bad)?;
                let (_, id) = record::parse_timed(value).ok_or_else(bad)?;
                pending.push((record::text(id).ok_or_else(bad)?, stream, sequence));
                Ok(ControlFlow::Continue(()))
            })?;
        Ok(pending)
    }

    fn page_count(&self, timeline: u32) -> Result<u64> {
        let prefix = timeline.to_be_bytes();
        let mut count = 0;
        self.store
            .scan(Family::Events, &prefix, &prefix, |key, value| {
                count += ChunkView::parse(value)
                    .ok_or_else(|| self.store.bad("events value", key))?
                    .count;
                Ok(ControlFlow::Continue(()))
            })?;
        Ok(count)
    }

    /// What an edition with a quota holds, by the members before too; None without a quota.
    ///
    /// To be called before anything is added: the first time it counts what is stored.
    pub fn counted(&mut self, edition: &str) -> Result<Option<(Arc<Edition>, Usage)>> {
        let Some(record) = self.declared.get(edition) else {
            return Ok(None);
        };
        if !record.has_quota() {
            return Ok(None);
        }
        let record = Arc::clone(record);
        if let Some(usage) = self.usages.get(edition) {
            return Ok(Some((record, *usage)));
        }
        let enough = record.max_pages.saturating_add(SURPLUS_MAX);
        let timelines = self.timelines.of_edition(edition);
        let usage = self.store.count(&timelines, |held| {
            held.page_count <= enough || record.check_quota(held).is_ok()
        })?;
        self.usages.insert(edition.to_owned(), usage);
        Ok(Some((record, usage)))
    }

    /// Refuses what an edition has no room for (EDN-23).
    pub fn check_room(&mut self, edition: &str, more: Usage) -> Result<()> {
        match self.counted(edition)? {
            Some((record, held)) if more.page_count > 0 => record.check_quota(Usage {
                page_count: held.page_count + more.page_count,
                byte_count: held.byte_count + more.byte_count,
            }),
            _ => Ok(()),
        }
    }

    /// Adds what was written to a usage that is counted.
    pub fn add_usage(&mut self, edition: &str, more: Usage) {
        if let Some(held) = self.usages.get_mut(edition) {
            held.page_count += more.page_count;
            held.byte_count += more.byte_count;
        }
    }
}
