//! Reads of one stream's own records: pending pages, idempotency keys.

use std::ops::ControlFlow;

use crate::api::{Accepted, Key, Pending, Stream};
use crate::error::Result;
use crate::key::{self, Family, StreamKey};
use crate::record;
use crate::store::{KEY_EXTERNAL, KEY_PROVENANCE, Store, is_revoked};

impl Store {
    pub fn pending(&self, stream: &Stream) -> Result<Vec<Pending>> {
        self.timelines
            .stream(stream)
            .map_or(Ok(Vec::new()), |own| self.own_pending(&own))
    }

    /// The stream's own unresolved pages, ascending.
    pub fn own_pending(&self, own: &StreamKey) -> Result<Vec<Pending>> {
        let prefix = key::pending_by_stream_prefix(own);
        let mut found = Vec::new();
        self.scan(Family::Cascades, &prefix, &prefix, |key, value| {
            let bad = || self.bad("cascades", key);
            let (_, sequence) =
                key::parse_after(key, &key::pending_by_stream_prefix(&[])).ok_or_else(bad)?;
            let (created_at_ns, id) = record::parse_timed(value).ok_or_else(bad)?;
            let cascade_id = record::text(id).ok_or_else(bad)?;
            found.push(Pending {
                sequence,
                cascade_id,
                created_at_ns,
            });
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(found)
    }

    /// What was accepted under a key on exactly this stream.
    pub fn find_key(&self, stream: &Stream, key: &Key) -> Result<Option<Accepted>> {
        let Some(own) = self.timelines.stream(stream) else {
            return Ok(None);
        };
        let (kind, bytes) = key_parts(key);
        if bytes.is_empty() {
            return Ok(None);
        }
        let Some(value) = self.get(Family::Keys, &key::idempotency(&own, kind, bytes))? else {
            return Ok(None);
        };
        let known = self.parse_known(&value)?;
        if !known.cascade_id.is_empty()
            && is_revoked(&known, self.decision(&known.cascade_id)?.as_ref())
        {
            return Ok(None);
        }
        let pages = self.own_pages(&own, known.first, known.count)?;
        Ok(Some(Accepted {
            pages,
            answer: known.answer,
        }))
    }
}

pub fn key_parts(key: &Key) -> (u8, &[u8]) {
    match key {
        Key::Provenance(bytes) => (KEY_PROVENANCE, bytes),
        Key::External(bytes) => (KEY_EXTERNAL, bytes),
    }
}
