//! The smaller writes: positions, leases, records.

use crate::api::{RecordOp, Stream, Written};
use crate::append::{apply_records, new_records};
use crate::committer::Committer;
use crate::error::Result;
use crate::group::Group;
use crate::key::{self, Family};
use crate::record;

impl Committer {
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
