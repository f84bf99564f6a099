//! Where composite streams begin, turn and end: branches on main (EDN-3 to EDN-8).

use std::sync::Arc;

use crate::api::Stream;
use crate::cache::Tail;
use crate::error::{Error, Result};
use crate::key::StreamKey;
use crate::store::{Store, is_main};

/// A composite stream: main's pages below `base`, then own ones up to `next`. Pages below `next` never change.
pub struct View {
    pub main: Option<StreamKey>,
    pub own: Option<StreamKey>,
    pub base: u64,
    pub next: u64,
    /// The branch's own pages, `base` to `next`, where they are hot.
    pub tail: Option<Arc<Tail>>,
}

impl Store {
    pub fn next_sequence(&self, stream: &Stream, divergence: Option<u64>) -> Result<u64> {
        Ok(self.view(stream, divergence)?.next)
    }

    pub fn divergence(&self, stream: &Stream) -> Result<Option<u64>> {
        match self.timelines().stream(stream) {
            Some(own) if !is_main(stream) => self.pin(&own),
            _ => Ok(None),
        }
    }

    /// Where the composite stream begins, turns and ends now (EDN-4 to EDN-8).
    pub fn view(&self, stream: &Stream, divergence: Option<u64>) -> Result<View> {
        let timelines = self.timelines();
        if is_main(stream) {
            let own = timelines.stream(stream);
            let next = own.map_or(Ok(0), |own| self.head(&own))?;
            return Ok(View {
                main: None,
                own,
                base: 0,
                next,
                tail: None,
            });
        }
        let main = timelines.main_of(stream);
        // A hot branch has a pin, so where main ends does not matter.
        if let Some(own) = timelines.stream(stream)
            && let Ok(tail) = self.cache.get(&own)
        {
            check_pin(tail.base, divergence)?;
            return Ok(View {
                main,
                own: Some(own),
                base: tail.base,
                next: tail.next(),
                tail: Some(tail),
            });
        }
        // Main first: a branch that is unpinned after this was unpinned when main ended there.
        let main_next = main.map_or(Ok(0), |main| self.head(&main))?;
        let own = self.timelines().stream(stream);
        if let Some(own) = own
            && let Some(pinned) = self.pin(&own)?
        {
            check_pin(pinned, divergence)?;
            return Ok(View {
                main,
                own: Some(own),
                base: pinned,
                next: self.own_next(&own)?.unwrap_or(pinned),
                tail: None,
            });
        }
        let base = divergence.unwrap_or(main_next);
        if base > main_next {
            return Err(Error::InvalidDivergence {
                requested: base,
                next_sequence: main_next,
            });
        }
        Ok(View {
            main,
            own,
            base,
            next: base,
            tail: None,
        })
    }

    fn head(&self, own: &StreamKey) -> Result<u64> {
        match self.cache.get(own) {
            Ok(tail) => Ok(tail.next()),
            Err(_) => Ok(self.own_next(own)?.unwrap_or(0)),
        }
    }
}

fn check_pin(pinned: u64, divergence: Option<u64>) -> Result<()> {
    match divergence {
        Some(requested) if requested != pinned => {
            Err(Error::DivergenceConflict { pinned, requested })
        }
        _ => Ok(()),
    }
}
