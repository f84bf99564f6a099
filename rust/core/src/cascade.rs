//! Decisions, and the markers that carry them out (CAS-9, CAS-11, CAS-14).

use std::ops::ControlFlow;

use crate::api::{Decision, SEQUENCE_MAX, Stream, Usage, Verdict, Written};
use crate::append::put_entry;
use crate::committer::Committer;
use crate::error::{Error, Result};
use crate::group::Group;
use crate::key::{self, Family, StreamKey};
use crate::read::cover;
use crate::record::{Chunks, Entry, Kind, encode_decision};
use crate::store::is_main;
use crate::wire::Marker;

impl Committer {
    /// The first decision wins; every caller gets the one in force.
    pub fn decide(
        group: &mut Group,
        cascade_id: String,
        verdict: Verdict,
        reason: String,
        decided_at_ns: i64,
    ) -> Result<Written> {
        if let Some(decision) = group.decision(&cascade_id)? {
            return Ok(Written::Decided(decision));
        }
        let decision = Decision {
            cascade_id,
            verdict,
            reason,
            decided_at_ns,
        };
        let key = key::decision(&decision.cascade_id);
        group.put(Family::Cascades, &key, &encode_decision(&decision));
        Ok(Written::Decided(decision))
    }

    /// Appends the marker that the decision asks for and releases what it held back.
    pub fn resolve(
        &mut self,
        group: &mut Group,
        stream: &Stream,
        correlation_id: String,
        cascade_id: &str,
        now_ns: i64,
    ) -> Result<Written> {
        let Some(decision) = group.decision(cascade_id)? else {
            return Err(Error::UnknownCascade(cascade_id.to_owned()));
        };
        let Some(own) = self.timelines.stream(stream) else {
            return Ok(Written::Resolved(None));
        };
        let head = self.head(&own, is_main(stream))?.clone();
        let (resolved, unresolved): (Vec<_>, Vec<_>) = head
            .unresolved
            .into_iter()
            .partition(|page| page.cascade_id == cascade_id);
        if resolved.is_empty() {
            return Ok(Written::Resolved(None));
        }
        if head.next > SEQUENCE_MAX {
            return Err(Error::SequenceExhausted);
        }
        self.counted(&stream.edition)?;
        let released = self.held(
            &own,
            unresolved.first().map_or(u64::MAX, |page| page.sequence),
        )?;

        let sequences: Vec<u64> = resolved.iter().map(|page| page.sequence).collect();
        let page = Marker {
            target: cover(stream, ""),
            sequence: head.next,
            created_at_ns: now_ns,
            sequences: &sequences,
            cascade_id,
            revocation_reason: match decision.verdict {
                Verdict::Commit => None,
                Verdict::Rollback => Some(&decision.reason),
            },
        }
        .page();
        for entry in &released {
            group.release(entry);
        }
        for sequence in &sequences {
            group.delete(
                Family::Cascades,
                &key::pending_by_cascade(cascade_id, &own, *sequence),
            );
            group.delete(Family::Cascades, &key::pending_by_stream(&own, *sequence));
        }
        Self::put_marker(
            group,
            own,
            (head.next, &page),
            correlation_id,
            !unresolved.is_empty(),
        );
        let marker = Usage {
            page_count: 1,
            byte_count: page.len() as u64,
        };
        self.add_usage(&stream.edition, marker);
        self.pending_count -= sequences.len() as u64;
        let head = self.head(&own, is_main(stream))?;
        head.next += 1;
        head.unresolved = unresolved;
        Ok(Written::Resolved(Some(page)))
    }

    fn put_marker(
        group: &mut Group,
        own: StreamKey,
        (first, page): (u64, &[u8]),
        correlation_id: String,
        is_held: bool,
    ) {
        let mut chunks = Chunks::default();
        chunks.push(page, false);
        let entry = Entry {
            stream: own,
            first,
            count: 1,
            kind: Kind::Marker,
            correlation_id,
        };
        put_entry(group, &entry, chunks, is_held);
        group.touched.insert(own);
    }

    /// Entries below `stop` that are held back, ascending. Reads what earlier groups stored.
    fn held(&self, own: &StreamKey, stop: u64) -> Result<Vec<Entry>> {
        let mut held = Vec::new();
        self.store.scan(Family::Held, own, own, |_, value| {
            let entry = Entry::parse(value).ok_or_else(|| self.store.bad("held value", value))?;
            if entry.first >= stop {
                return Ok(ControlFlow::Break(()));
            }
            held.push(entry);
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(held)
    }
}
