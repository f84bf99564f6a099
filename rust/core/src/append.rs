//! Appends: all checks first, then changes that can't fail (STO-3, STO-10 to STO-13).

use crate::api::{Append, Pending, RecordOp, SEQUENCE_MAX, Usage, Verdict, Written};
use crate::base::Base;
use crate::branch::check_pin;
use crate::cache::Effect;
use crate::committer::Committer;
use crate::error::{Error, Result};
use crate::group::Group;
use crate::heads::Head;
use crate::key::{self, Family, StreamKey};
use crate::keys::key_parts;
use crate::prepare::PreparedPages;
use crate::record::{Chunks, Entry, Kind, Known, range_last};
use crate::snapshot::SnapshotChange;
use crate::store::{KEY_PIN, is_main};
use crate::wire::Snapshot;

/// Where an append goes.
struct Place {
    /// What a branch inherits; its own pages begin where that ends.
    base: Base,
    next: u64,
    /// This write pins the branch.
    is_first: bool,
    /// Pending pages that the stream has already.
    unresolved: Vec<Pending>,
}

impl Committer {
    pub fn append(
        &mut self,
        group: &mut Group,
        append: Append,
        mut pages: PreparedPages,
        snapshot: Option<Snapshot>,
    ) -> Result<Written> {
        let own = self.timelines.stream(&append.stream);
        if let (Some(own), Some(key)) = (&own, &append.key) {
            let (kind, bytes) = key_parts(key);
            if let Some(known) = group.known(&key::idempotency(own, kind, bytes))? {
                return Ok(Written::Duplicate {
                    first: known.first,
                    last: known.last(),
                });
            }
        }
        if !append.cascade_id.is_empty()
            && let Some(decision) = group.decision(&append.cascade_id)?
        {
            return Err(Error::CascadeDecided {
                is_commit: decision.verdict == Verdict::Commit,
                cascade_id: decision.cascade_id,
                reason: decision.reason,
            });
        }
        let edition = &append.stream.edition;
        if !is_main(&append.stream) {
            self.declared.check_alive(edition, append.now_ns)?;
        }
        let expected = append.expected_sequence;
        let place = self.place(&append, own.as_ref())?;
        if expected != place.next {
            return Err(Error::SequenceConflict {
                expected,
                actual: place.next,
            });
        }
        if let Some(error) = pages.refused.take() {
            return Err(error);
        }
        if range_last(expected, pages.count) > i64::try_from(SEQUENCE_MAX).unwrap_or(i64::MAX) {
            return Err(Error::SequenceExhausted);
        }
        if !is_main(&append.stream) {
            self.check_room(edition, usage_of(&pages))?;
        }
        let (puts, _) = new_records(group, &append.records)?;
        let pending = new_pending(&append, &pages);
        let snapshot = match (snapshot, &append.snapshot) {
            (Some(head), Some(bytes)) if !self.is_undecided(&place, &pending, head.sequence)? => {
                let now_ns = append.now_ns;
                Some(self.plan_snapshot(
                    own.as_ref(),
                    (head, bytes),
                    append.snapshot_policy,
                    now_ns,
                )?)
            }
            _ => None,
        };
        let written = Written::Appended {
            first: expected,
            last: range_last(expected, pages.count),
        };
        self.change(group, append, pages, &place, pending, snapshot);
        apply_records(group, puts);
        Ok(written)
    }

    /// Judges divergence; see `first_write_point` of the ports for branches without a pin.
    fn place(&mut self, append: &Append, own: Option<&StreamKey>) -> Result<Place> {
        let is_main = is_main(&append.stream);
        let head = match own {
            Some(own) => self.head(own, is_main)?.clone(),
            None => Head::default(),
        };
        if is_main || head.base.is_some() {
            let base = head.base.unwrap_or_default();
            check_pin(base.end, append.divergence.filter(|_| !is_main))?;
            return Ok(Place {
                base,
                next: head.next,
                is_first: false,
                unresolved: head.unresolved,
            });
        }
        let inherited = self.inherited(&append.stream)?;
        let end = match append.divergence {
            Some(requested) if requested > inherited.next => {
                return Err(Error::InvalidDivergence {
                    requested,
                    next_sequence: inherited.next,
                });
            }
            Some(requested) => requested,
            // The base may have grown since the caller saw its end. What is beyond it is judged as a sequence.
            None => append.expected_sequence.min(inherited.next),
        };
        Ok(Place {
            base: inherited.below(end),
            next: end,
            is_first: true,
            unresolved: head.unresolved,
        })
    }

    /// A pending page of the composite stream lies at or below `sequence` (SNAP-5).
    fn is_undecided(&mut self, place: &Place, new: &[Pending], sequence: u64) -> Result<bool> {
        let mut own = place.unresolved.iter().chain(new);
        if own.any(|page| page.sequence <= sequence) {
            return Ok(true);
        }
        self.has_pending_below(&place.base, sequence)
    }

    fn change(
        &mut self,
        group: &mut Group,
        append: Append,
        pages: PreparedPages,
        place: &Place,
        pending: Vec<Pending>,
        snapshot: Option<SnapshotChange>,
    ) {
        let first = append.expected_sequence;
        let own = self.assign(group, &append.stream);
        group.touched.insert(own);
        group.append_count += 1;
        if place.is_first {
            let pin = key::idempotency(&own, KEY_PIN, b"");
            group.put(Family::Keys, &pin, &place.base.encode());
        }
        if let Some(key) = &append.key {
            let (kind, bytes) = key_parts(key);
            let (count, cascade_id) = (pages.count, append.cascade_id.clone());
            let known = Known {
                first,
                count,
                cascade_id,
                answer: append.answer,
            };
            group.put(
                Family::Keys,
                &key::idempotency(&own, kind, bytes),
                &known.encode(),
            );
        }
        let count = pages.count;
        self.add_usage(&append.stream.edition, usage_of(&pages));
        let is_held = !place.unresolved.is_empty() || !pending.is_empty();
        if count > 0 {
            let kind = match append.cascade_id.as_str() {
                "" => Kind::Plain,
                _ => Kind::Cascade(append.cascade_id),
            };
            let correlation_id = append.correlation_id;
            let entry = Entry {
                stream: own,
                first,
                count,
                kind,
                correlation_id,
            };
            put_entry(group, &entry, pages.chunks, is_held);
        }
        put_pending(group, &own, &pending);
        self.pending_count += pending.len() as u64;
        if let Some(change) = snapshot {
            self.put_planned(group, &own, change);
        }
        if let Ok(head) = self.head(&own, is_main(&append.stream)) {
            if head.base.is_none() && (count > 0 || !is_main(&append.stream)) {
                head.base = Some(place.base.clone());
            }
            head.next = first + count;
            head.unresolved.extend(pending);
        }
    }
}

/// The pages of one append or marker: chunks, the correlation index, and their place in the log or before it.
pub fn put_entry(group: &mut Group, entry: &Entry, mut chunks: Chunks, is_held: bool) {
    if is_held {
        group.hold(entry);
    } else {
        chunks.place(group.publish(entry));
    }
    for chunk in &chunks.all {
        let key = key::page(&entry.stream, entry.first + chunk.offset);
        group.put(Family::Events, &key, &chunk.value);
    }
    if !entry.correlation_id.is_empty() {
        let key = key::correlation(&entry.correlation_id, &entry.stream, entry.first);
        group.put(Family::Correlation, &key, &entry.count.to_be_bytes());
    }
    group.effects.push(Effect::Appended {
        stream: entry.stream,
        first: entry.first,
        chunks: chunks.all,
    });
}

fn usage_of(pages: &PreparedPages) -> Usage {
    Usage {
        page_count: pages.count,
        byte_count: pages.byte_count as u64,
    }
}

fn new_pending(append: &Append, pages: &PreparedPages) -> Vec<Pending> {
    let sequences = append.expected_sequence..;
    let page = |(created_at_ns, sequence): (&i64, u64)| Pending {
        sequence,
        cascade_id: append.cascade_id.clone(),
        created_at_ns: *created_at_ns,
    };
    pages
        .created_at_ns
        .iter()
        .zip(sequences)
        .map(page)
        .collect()
}

fn put_pending(group: &mut Group, own: &StreamKey, pending: &[Pending]) {
    for page in pending {
        let created_at = crate::record::encode_timed(page.created_at_ns, b"");
        let key = key::pending_by_cascade(&page.cascade_id, own, page.sequence);
        group.put(Family::Cascades, &key, &created_at);
        let value = crate::record::encode_timed(page.created_at_ns, page.cascade_id.as_bytes());
        group.put(
            Family::Cascades,
            &key::pending_by_stream(own, page.sequence),
            &value,
        );
    }
}

/// Key and value to put, or None to delete.
pub type RecordChange = (Vec<u8>, Option<Vec<u8>>);

/// What the operations come to, with each seeing those before it, and whether all conditions were met.
pub fn new_records(group: &Group, ops: &[RecordOp]) -> Result<(Vec<RecordChange>, bool)> {
    let mut changes: Vec<RecordChange> = Vec::with_capacity(ops.len());
    let (mut is_met, mut are_all_met) = (true, true);
    for op in ops {
        match op {
            RecordOp::OnlyIf { space, key, value } => {
                is_met = record_now(group, &changes, &key::record(space, key))? == *value;
                are_all_met &= is_met;
            }
            RecordOp::Anyway => is_met = true,
            _ if !is_met => {}
            RecordOp::Put { space, key, value } => {
                changes.push((key::record(space, key), Some(value.clone())));
            }
            RecordOp::Delete { space, key } => changes.push((key::record(space, key), None)),
            RecordOp::PutNew { space, key, value } => {
                let key = key::record(space, key);
                if record_now(group, &changes, &key)?.is_none() {
                    changes.push((key, Some(value.clone())));
                }
            }
        }
    }
    Ok((changes, are_all_met))
}

/// The record as the writes before, and these changes, left it.
fn record_now(group: &Group, changes: &[RecordChange], key: &[u8]) -> Result<Option<Vec<u8>>> {
    match changes.iter().rev().find(|(changed, _)| changed == key) {
        Some((_, value)) => Ok(value.clone()),
        None => group.get(Family::Records, key),
    }
}

pub fn apply_records(group: &mut Group, changes: Vec<RecordChange>) {
    for (key, value) in changes {
        match value {
            Some(value) => group.put(Family::Records, &key, &value),
            None => group.delete(Family::Records, &key),
        }
    }
}
