//! The smaller writes: editions that go, positions, leases, records.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use crate::api::{MAIN, RecordOp, Stream, Written};
use crate::append::{apply_records, new_records};
use crate::cache::Effect;
use crate::committer::Committer;
use crate::error::{Error, Result};
use crate::group::Group;
use crate::key::{self, Family};
use crate::prepare::invalid;
use crate::record::{self, ChunkView};

impl Committer {
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

        group.delete(Family::Meta, &key::meta_timeline(timeline));
        for (cascade_id, stream, sequence) in &pending {
            group.delete(
                Family::Cascades,
                &key::pending_by_cascade(cascade_id, stream, *sequence),
            );
            group.delete(Family::Cascades, &key::pending_by_stream(stream, *sequence));
        }
        let (from, to) = (timeline.to_be_bytes(), (timeline + 1).to_be_bytes());
        for family in [
            Family::Events,
            Family::Snapshots,
            Family::Keys,
            Family::Held,
        ] {
            group.delete_range(family, &from, &to);
        }
        self.pending_count -= pending.len() as u64;
        self.timelines.remove(timeline);
        self.forget_heads(timeline);
        group.has_new_timelines = true;
        group.effects.push(Effect::TimelineDropped(timeline));
        Ok(Written::Count(count))
    }

    fn pending_of(&self, timeline: u32) -> Result<Vec<(String, key::StreamKey, u64)>> {
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

    pub fn put_position(
        &mut self,
        group: &mut Group,
        consumer: &str,
        stream: &Stream,
        sequence: u64,
    ) -> Result<Written> {
        let own = self.assign(group, stream);
        Self::raise(group, &key::position_stream(consumer, &own), sequence)
    }

    /// Positions only grow; the value in force comes back (STO-22).
    pub fn raise(group: &mut Group, key: &[u8], value: u64) -> Result<Written> {
        let stored = group.get(Family::Positions, key)?;
        let bad = |stored: &Vec<u8>| group.store.bad("positions value", stored);
        let known = stored.map(|stored| key::parse_u64(&stored).ok_or_else(|| bad(&stored)));
        match known.transpose()? {
            Some(known) if known >= value => Ok(Written::Value(known)),
            _ => {
                group.put(Family::Positions, key, &value.to_be_bytes());
                Ok(Written::Value(value))
            }
        }
    }

    /// Forgets a consumer's stream positions and cursor; its leases stay.
    pub fn reset_consumer(group: &mut Group, consumer: &str) -> Written {
        let (from, to) = key::position_streams(consumer);
        group.delete_range(Family::Positions, &from, &to);
        group.delete(Family::Positions, &key::position_cursor(consumer));
        Written::Done
    }

    /// One holder at a time; `ttl_ns` 0 gives the holder's own lease back.
    pub fn lease(
        group: &mut Group,
        key: &[u8],
        holder: &str,
        ttl_ns: i64,
        now_ns: i64,
    ) -> Result<Written> {
        let stored = group.get(Family::Positions, key)?;
        if let Some(stored) = &stored {
            let bad = || group.store.bad("lease", stored);
            let (until_ns, other) = record::parse_timed(stored).ok_or_else(bad)?;
            if other != holder.as_bytes() && now_ns < until_ns {
                return Ok(Written::Flag(false));
            }
        }
        if ttl_ns > 0 {
            let until_ns = now_ns.saturating_add(ttl_ns);
            group.put(
                Family::Positions,
                key,
                &record::encode_timed(until_ns, holder.as_bytes()),
            );
        } else if stored.is_some() {
            group.delete(Family::Positions, key);
        }
        Ok(Written::Flag(true))
    }

    pub fn records(group: &mut Group, ops: &[RecordOp]) -> Result<Written> {
        let (changes, are_all_met) = new_records(group, ops)?;
        apply_records(group, changes);
        Ok(Written::Flag(are_all_met))
    }
}
