//! One group of writes on its way to disk: a batch, and what its members may see of each other.

use std::collections::{HashMap, HashSet};

use rocksdb::WriteBatch;

use crate::api::Decision;
use crate::cache::Effect;
use crate::edition::Declaration;
use crate::error::Result;
use crate::key::{self, Family, StreamKey};
use crate::record::{Entry, Known, Released};
use crate::store::{KEY_RELEASED, Store, is_revoked};

/// Writes that the committer has checked and that will become durable together.
///
/// Members are checked one after the other. Streams' heads are the committer's and already tell of earlier members;
/// single records are looked up here first. A member that has to walk over records starts a new group if this one
/// could have changed them.
pub struct Group<'a> {
    pub store: &'a Store,
    pub batch: WriteBatch,
    pub effects: Vec<Effect>,
    pub log_head: u64,
    pub append_count: u64,
    pub wants_sync: bool,
    /// Nothing may join any more: a range was deleted.
    pub is_closed: bool,
    pub declarations: Vec<Declaration>,
    /// Timelines that were deleted.
    pub dropped: Vec<u32>,
    overlay: HashMap<(Family, Vec<u8>), Option<Vec<u8>>>,
    pub touched: HashSet<StreamKey>,
    pub snapshotted: HashSet<StreamKey>,
    pub broken: Result<()>,
}

impl<'a> Group<'a> {
    pub fn new(store: &'a Store, log_head: u64) -> Self {
        Self {
            store,
            batch: WriteBatch::default(),
            effects: Vec::new(),
            log_head,
            append_count: 0,
            wants_sync: false,
            is_closed: false,
            declarations: Vec::new(),
            dropped: Vec::new(),
            overlay: HashMap::new(),
            touched: HashSet::new(),
            snapshotted: HashSet::new(),
            broken: Ok(()),
        }
    }

    /// The record as the members before left it.
    pub fn get(&self, family: Family, key: &[u8]) -> Result<Option<Vec<u8>>> {
        if !self.overlay.is_empty()
            && let Some(value) = self.overlay.get(&(family, key.to_vec()))
        {
            return Ok(value.clone());
        }
        self.store.get(family, key)
    }

    pub fn decision(&self, cascade_id: &str) -> Result<Option<Decision>> {
        let value = self.get(Family::Cascades, &key::decision(cascade_id))?;
        value
            .map(|value| self.store.parse_decision(cascade_id, &value))
            .transpose()
    }

    /// What the key stands for, unless that was revoked.
    pub fn known(&self, key: &[u8]) -> Result<Option<Known>> {
        let Some(value) = self.get(Family::Keys, key)? else {
            return Ok(None);
        };
        let known = self.store.parse_known(&value)?;
        if known.cascade_id.is_empty() {
            return Ok(Some(known));
        }
        let decision = self.decision(&known.cascade_id)?;
        Ok((!is_revoked(&known, decision.as_ref())).then_some(known))
    }

    pub fn put(&mut self, family: Family, key: &[u8], value: &[u8]) {
        match self.store.family(family) {
            Ok(handle) => self.batch.put_cf(handle, key, value),
            Err(error) => self.broken = Err(error),
        }
        if is_looked_up(family) {
            self.overlay
                .insert((family, key.to_vec()), Some(value.to_vec()));
        }
    }

    pub fn delete(&mut self, family: Family, key: &[u8]) {
        match self.store.family(family) {
            Ok(handle) => self.batch.delete_cf(handle, key),
            Err(error) => self.broken = Err(error),
        }
        if is_looked_up(family) {
            self.overlay.insert((family, key.to_vec()), None);
        }
    }

    /// Deletes [from, to). Members that come later could not see this, so there are none.
    pub fn delete_range(&mut self, family: Family, from: &[u8], to: &[u8]) {
        match self.store.family(family) {
            Ok(handle) => self.batch.delete_range_cf(handle, from, to),
            Err(error) => self.broken = Err(error),
        }
        self.is_closed = true;
    }

    /// Appends an entry to the publication log: its pages get the next positions. That of the first is returned.
    pub fn publish(&mut self, entry: &Entry) -> u64 {
        let first = self.log_head + 1;
        self.log_head += entry.count;
        self.put(Family::Log, &key::log(self.log_head), &entry.encode());
        first
    }

    /// Publishes an entry that was held back, and notes where, since its chunks can't say.
    pub fn release(&mut self, entry: &Entry) {
        self.delete(Family::Held, &key::page(&entry.stream, entry.first));
        let position = self.publish(entry);
        let count = entry.count;
        let first = entry.first.to_be_bytes();
        let key = key::idempotency(&entry.stream, KEY_RELEASED, &first);
        self.put(Family::Keys, &key, &Released { position, count }.encode());
    }

    /// Keeps an entry out of the log until its stream's pages before it are resolved.
    pub fn hold(&mut self, entry: &Entry) {
        self.put(
            Family::Held,
            &key::page(&entry.stream, entry.first),
            &entry.encode(),
        );
    }
}

/// Families whose single records decide what later members come to.
fn is_looked_up(family: Family) -> bool {
    matches!(
        family,
        Family::Keys | Family::Cascades | Family::Positions | Family::Records
    )
}
