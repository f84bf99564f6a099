//! Where composite streams begin, turn and end: branches on their parents, in the end on main (EDN-3 to EDN-8, EDN-21).

use std::sync::Arc;

use crate::api::{MAIN, Stream};
use crate::base::Base;
use crate::cache::Tail;
use crate::error::{Error, Result};
use crate::key::{self, StreamKey};
use crate::store::{Store, is_main};

/// A composite stream: what it inherits, then own pages up to `next`. Pages below `next` never change.
pub struct View {
    pub base: Base,
    pub own: Option<StreamKey>,
    pub next: u64,
    /// The branch's own pages, from the base's end to `next`, where they are hot.
    pub tail: Option<Arc<Tail>>,
}

impl View {
    /// The stream that page `sequence` is of.
    pub fn stream_of(&self, sequence: u64) -> Option<StreamKey> {
        let mut stretches = self.base.stretches.iter();
        let found = stretches.find(|stretch| sequence < stretch.stop);
        found.map(|stretch| stretch.stream).or(self.own)
    }
}

impl Store {
    pub fn next_sequence(&self, stream: &Stream, divergence: Option<u64>) -> Result<u64> {
        Ok(self.view(stream, divergence)?.next)
    }

    pub fn divergence(&self, stream: &Stream) -> Result<Option<u64>> {
        match self.timelines.stream(stream) {
            Some(own) if !is_main(stream) => match self.cache.get(&own) {
                Ok(tail) => Ok(Some(tail.base)),
                Err(_) => Ok(self.pin(&own)?.map(|base| base.end)),
            },
            _ => Ok(None),
        }
    }

    /// What `read` makes of the composite stream; from the beginning if that was deleted meanwhile.
    pub fn composite<T>(
        &self,
        stream: &Stream,
        divergence: Option<u64>,
        read: impl Fn(&View) -> Result<T>,
    ) -> Result<T> {
        loop {
            let view = self.view(stream, divergence)?;
            let answer = read(&view);
            if answer.is_ok() || self.is_there(&view) {
                return answer;
            }
        }
    }

    /// Where the composite stream begins, turns and ends now.
    pub fn view(&self, stream: &Stream, divergence: Option<u64>) -> Result<View> {
        if is_main(stream) {
            return self.main_view(stream);
        }
        if let Some(view) = self.pinned(stream, divergence)? {
            return Ok(view);
        }
        let parents = self.declared.read().parents(&stream.edition);
        self.unpinned(stream, &parents, divergence)
    }

    fn main_view(&self, stream: &Stream) -> Result<View> {
        let own = self.timelines.stream(stream);
        let next = own.map_or(Ok(0), |own| self.head(&own))?;
        Ok(View {
            base: Base::default(),
            own,
            next,
            tail: None,
        })
    }

    /// The view of a branch that has a pin.
    fn pinned(&self, stream: &Stream, divergence: Option<u64>) -> Result<Option<View>> {
        let Some(own) = self.timelines.stream(stream) else {
            return Ok(None);
        };
        let (base, tail) = match self.cache.get(&own) {
            Ok(tail) => (tail.inherited(), Some(tail)),
            Err(_) => match self.pin(&own)? {
                Some(base) => (base, None),
                None => return Ok(None),
            },
        };
        check_pin(base.end, divergence)?;
        let next = match &tail {
            Some(tail) => tail.next(),
            None => match self.own_next(&own)? {
                Some(next) => next,
                // Its pages went since its pin was read: names go before the rest.
                None if self.timelines.stream(stream) != Some(own) => return Ok(None),
                None => base.end,
            },
        };
        let own = Some(own);
        Ok(Some(View {
            base,
            own,
            next,
            tail,
        }))
    }

    /// The view of a branch of `parents`, the nearest first, that had no pin a moment ago.
    fn unpinned(
        &self,
        stream: &Stream,
        parents: &[String],
        divergence: Option<u64>,
    ) -> Result<View> {
        let (parent, above) = match parents.split_first() {
            Some((parent, above)) => (parent.as_str(), above),
            None => (MAIN, parents),
        };
        let parent = Stream {
            edition: parent.into(),
            ..stream.clone()
        };
        let inherited = if is_main(&parent) {
            self.main_view(&parent)?
        } else {
            match self.pinned(&parent, None)? {
                Some(view) => view,
                None => self.unpinned(&parent, above, None)?,
            }
        };
        // The base first, then again whether there is a pin: a branch that is unpinned after this was unpinned when
        // its base ended there. So each level is right at the moment at which the lowest of them was read.
        if let Some(view) = self.pinned(stream, divergence)? {
            return Ok(view);
        }
        let end = divergence.unwrap_or(inherited.next);
        if end > inherited.next {
            return Err(Error::InvalidDivergence {
                requested: end,
                next_sequence: inherited.next,
            });
        }
        Ok(View {
            base: inherited.base.below(inherited.own.as_ref(), end),
            own: self.timelines.stream(stream),
            next: end,
            tail: None,
        })
    }

    fn head(&self, own: &StreamKey) -> Result<u64> {
        match self.cache.get(own) {
            Ok(tail) => Ok(tail.next()),
            Err(_) => Ok(self.own_next(own)?.unwrap_or(0)),
        }
    }

    /// Nothing of the view was deleted.
    fn is_there(&self, view: &View) -> bool {
        let inherited = view.base.stretches.iter().map(|stretch| &stretch.stream);
        let mut all = inherited.chain(&view.own);
        all.all(|stream| self.timelines.names(key::timeline_of(stream)).is_some())
    }
}

pub fn check_pin(pinned: u64, divergence: Option<u64>) -> Result<()> {
    match divergence {
        Some(requested) if requested != pinned => {
            Err(Error::DivergenceConflict { pinned, requested })
        }
        _ => Ok(()),
    }
}
