//! What the committer knows of streams: where they begin and end, with all that members of a group did before.

use crate::api::{MAIN, Pending, Stream};
use crate::base::Base;
use crate::committer::Committer;
use crate::error::{Error, Result};
use crate::key::{self, StreamKey};

/// Of one stream.
#[derive(Clone, Debug, Default)]
pub struct Head {
    /// What a branch is pinned on; on main nothing lies below. None before the first write.
    pub base: Option<Base>,
    /// The stream's own next sequence; the base's end without pages.
    pub next: u64,
    pub unresolved: Vec<Pending>,
}

/// What a branch that is not written yet inherits all of: a composite stream of `base` and own pages up to `next`.
pub struct Inherited {
    base: Base,
    own: Option<StreamKey>,
    pub next: u64,
}

impl Inherited {
    pub fn below(&self, end: u64) -> Base {
        self.base.below(self.own.as_ref(), end)
    }
}

impl Committer {
    /// What is known of the stream, by the members before too.
    pub fn head(&mut self, stream: &StreamKey, is_main: bool) -> Result<&mut Head> {
        if self.heads.get_mut(stream).is_none() {
            let head = self.read_head(stream, is_main)?;
            self.heads.insert(*stream, head, 1);
        }
        self.heads
            .get_mut(stream)
            .ok_or_else(|| Error::Unavailable {
                cause: "no head".into(),
            })
    }

    fn read_head(&self, stream: &StreamKey, is_main: bool) -> Result<Head> {
        let own_next = self.store.own_next(stream)?;
        let base = if is_main {
            own_next.map(|_| Base::default())
        } else {
            self.store.pin(stream)?
        };
        let unresolved = match self.pending_count {
            0 => Vec::new(),
            _ => self.store.own_pending(stream)?,
        };
        let end = base.as_ref().map_or(0, |base| base.end);
        Ok(Head {
            base,
            next: own_next.unwrap_or(end),
            unresolved,
        })
    }

    /// What the branch would leave if it were written now: a parent that has a pin, else main.
    pub fn inherited(&mut self, stream: &Stream) -> Result<Inherited> {
        for parent in self.declared.parents(&stream.edition) {
            let Some(timeline) = self.timelines.get(&stream.domain, &parent) else {
                continue;
            };
            let own = key::stream(timeline, &stream.root);
            let head = self.head(&own, false)?;
            if let Some(base) = &head.base {
                return Ok(Inherited {
                    base: base.clone(),
                    own: Some(own),
                    next: head.next,
                });
            }
        }
        let main = self.timelines.get(&stream.domain, MAIN);
        let own = main.map(|timeline| key::stream(timeline, &stream.root));
        let next = match &own {
            Some(own) => self.head(own, true)?.next,
            None => 0,
        };
        Ok(Inherited {
            base: Base::default(),
            own,
            next,
        })
    }

    /// An inherited page at or below `sequence` is pending (SNAP-5).
    pub fn has_pending_below(&mut self, base: &Base, sequence: u64) -> Result<bool> {
        if self.pending_count == 0 {
            return Ok(false);
        }
        for (stretch, first) in base.spans() {
            let is_main = self.timelines.is_main(key::timeline_of(&stretch.stream));
            let stop = stretch.stop.min(sequence.saturating_add(1));
            let unresolved = &self.head(&stretch.stream, is_main)?.unresolved;
            if unresolved
                .iter()
                .any(|page| (first..stop).contains(&page.sequence))
            {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
