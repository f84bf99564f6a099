//! Snapshots: put and cleanup in one step (SNAP-6, SNAP-8).

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::atomic::Ordering;

use crate::api::{SnapshotPolicy, Stream, Written};
use crate::cache::Effect;
use crate::committer::Committer;
use crate::error::Result;
use crate::group::Group;
use crate::key::{self, Family, StreamKey};
use crate::record;
use crate::store::disk;
use crate::wire::{Retention, Snapshot};

const NANOS: i64 = 1_000_000_000;

/// A snapshot as retention sees it.
struct Kept {
    sequence: u64,
    retention: Retention,
    stored_at_ns: i64,
}

/// A snapshot to be put, and those to be removed then.
pub struct SnapshotChange {
    sequence: u64,
    value: Vec<u8>,
    removed: Vec<u64>,
}

impl Committer {
    pub fn put_snapshot(
        &mut self,
        group: &mut Group,
        stream: &Stream,
        snapshot: (Snapshot, &[u8]),
        policy: SnapshotPolicy,
        now_ns: i64,
    ) -> Result<Written> {
        let own = self.timelines.stream(stream);
        let change = self.plan_snapshot(own.as_ref(), snapshot, policy, now_ns)?;
        let own = self.assign(group, stream);
        self.put_planned(group, &own, change);
        Ok(Written::Done)
    }

    /// Decides what a put removes. Reads what earlier groups stored: a stream gets one snapshot a group.
    pub fn plan_snapshot(
        &self,
        own: Option<&StreamKey>,
        (head, bytes): (Snapshot, &[u8]),
        policy: SnapshotPolicy,
        now_ns: i64,
    ) -> Result<SnapshotChange> {
        let mut kept = match own {
            Some(own) => self.kept_snapshots(own)?,
            None => Vec::new(),
        };
        kept.retain(|snapshot| snapshot.sequence != head.sequence);
        let put = Kept {
            sequence: head.sequence,
            retention: head.retention,
            stored_at_ns: now_ns,
        };
        kept.push(put);
        let removed = expired(kept, head.sequence, policy, now_ns);
        Ok(SnapshotChange {
            sequence: head.sequence,
            value: record::encode_timed(now_ns, bytes),
            removed,
        })
    }

    fn kept_snapshots(&self, own: &StreamKey) -> Result<Vec<Kept>> {
        let mut kept = Vec::new();
        if !self.store.has_snapshots.load(Ordering::Acquire) {
            return Ok(kept);
        }
        self.store.scan(Family::Snapshots, own, own, |key, value| {
            let bad = || self.store.bad("snapshots", key);
            let (_, sequence) = key::parse_page(key).ok_or_else(bad)?;
            let (stored_at_ns, bytes) = record::parse_timed(value).ok_or_else(bad)?;
            let retention = Snapshot::parse(bytes).ok_or_else(bad)?.retention;
            kept.push(Kept {
                sequence,
                retention,
                stored_at_ns,
            });
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(kept)
    }

    pub fn put_planned(&mut self, group: &mut Group, own: &StreamKey, change: SnapshotChange) {
        // Before the group is visible: who sees no snapshot because of a stale flag sees an older state.
        self.store.has_snapshots.store(true, Ordering::Release);
        group.put(
            Family::Snapshots,
            &key::page(own, change.sequence),
            &change.value,
        );
        for sequence in change.removed {
            group.delete(Family::Snapshots, &key::page(own, sequence));
        }
        group.snapshotted.insert(*own);
        group.effects.push(Effect::Dropped(*own));
    }

    pub fn delete_snapshots(&mut self, group: &mut Group, stream: &Stream) -> Result<Written> {
        let Some(own) = self.timelines.stream(stream) else {
            return Ok(Written::Count(0));
        };
        let kept = self.kept_snapshots(&own)?;
        for snapshot in &kept {
            group.delete(Family::Snapshots, &key::page(&own, snapshot.sequence));
        }
        group.snapshotted.insert(own);
        group.effects.push(Effect::Dropped(own));
        Ok(Written::Count(kept.len() as u64))
    }

    /// Deletes those of all streams of a domain, on one edition or on all of them; nobody else is in the group.
    pub fn delete_all_snapshots(
        &mut self,
        group: &mut Group,
        domain: &str,
        edition: Option<&str>,
    ) -> Result<Written> {
        let timelines: BTreeSet<u32> = match edition {
            Some(edition) => self.timelines.get(domain, edition).into_iter().collect(),
            None => self.timelines.of_domain(domain).into_iter().collect(),
        };
        let mut count = 0;
        let mut found = Vec::new();
        let mut iterator = self.store.iterator(Family::Snapshots, &[])?;
        // From one timeline that has snapshots to the next: most have none.
        let mut wanted = timelines.first().copied();
        while let Some(timeline) = wanted {
            iterator.seek(timeline.to_be_bytes());
            wanted = None;
            while let Some(key) = iterator.key() {
                let (own, _) =
                    key::parse_page(key).ok_or_else(|| self.store.bad("snapshots", key))?;
                let owner = key::timeline_of(&own);
                if owner != timeline {
                    wanted = timelines.range(owner..).next().copied();
                    break;
                }
                count += 1;
                iterator.next();
            }
            iterator.status().map_err(disk)?;
            found.push((timeline, self.store.found(Family::Snapshots, timeline)?));
        }
        for (timeline, found) in found {
            found.delete(group);
            group.effects.push(Effect::SnapshotsDropped(timeline));
        }
        Ok(Written::Count(count))
    }
}

/// What goes once `put`, which is among `kept`, is stored. Those above it go by age alone, the newest never.
fn expired(mut kept: Vec<Kept>, put: u64, policy: SnapshotPolicy, now_ns: i64) -> Vec<u64> {
    kept.sort_unstable_by_key(|snapshot| std::cmp::Reverse(snapshot.sequence));
    let age_ns = i64::try_from(policy.max_age_s)
        .unwrap_or(i64::MAX)
        .saturating_mul(NANOS);
    let keep_last = policy.keep_last as usize;
    let is_expired = |(rank, snapshot): &(usize, Kept)| {
        if *rank == 0 || snapshot.retention == Retention::Persist {
            return false;
        }
        let is_transient = snapshot.retention == Retention::Transient;
        let is_surplus = snapshot.sequence <= put && (is_transient || *rank >= keep_last);
        let is_old = age_ns > 0 && now_ns.saturating_sub(snapshot.stored_at_ns) > age_ns;
        is_surplus || is_old
    };
    let all = kept.into_iter().enumerate();
    all.filter(is_expired)
        .map(|(_, snapshot)| snapshot.sequence)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// SNAP-6's example: puts 3 DEFAULT, 7 PERSIST, 9 TRANSIENT, 12 DEFAULT.
    #[test]
    fn retention_follows_the_example() {
        let puts = [
            (3, Retention::Default),
            (7, Retention::Persist),
            (9, Retention::Transient),
            (12, Retention::Default),
        ];
        let wanted: [(u32, [&[u64]; 4]); 2] = [
            (1, [&[3], &[7], &[7, 9], &[7, 12]]),
            (2, [&[3], &[3, 7], &[7, 9], &[7, 12]]),
        ];
        for (keep_last, after_each) in wanted {
            let mut stored: Vec<(u64, Retention)> = Vec::new();
            for (put, after) in puts.into_iter().zip(after_each) {
                stored.push(put);
                let kept = |&(sequence, retention): &(u64, Retention)| Kept {
                    sequence,
                    retention,
                    stored_at_ns: 0,
                };
                let policy = SnapshotPolicy {
                    keep_last,
                    max_age_s: 0,
                };
                let gone = expired(stored.iter().map(kept).collect(), put.0, policy, 0);
                stored.retain(|(sequence, _)| !gone.contains(sequence));
                assert_eq!(
                    stored
                        .iter()
                        .map(|(sequence, _)| *sequence)
                        .collect::<Vec<_>>(),
                    after
                );
            }
        }
    }
}
