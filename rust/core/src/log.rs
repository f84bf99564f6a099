//! The publication log as its readers see it (STO-14).

use std::ops::ControlFlow;

use crate::api::{LogEntry, Verdict};
use crate::error::Result;
use crate::key::{self, Family};
use crate::read::cover;
use crate::record::{Entry, Kind};
use crate::store::Store;
use crate::wire;

impl Store {
    /// Entries with position > `after` of timelines that live, ascending.
    pub fn tail(&self, after: u64, limit: usize) -> Result<Vec<LogEntry>> {
        let head = self.waiters.head();
        let mut found = Vec::new();
        if after >= head || limit == 0 {
            return Ok(found);
        }
        self.scan(Family::Log, &[], &key::log(after + 1), |key, value| {
            let position = key::parse_u64(key).ok_or_else(|| self.bad("log key", key))?;
            if position > head {
                return Ok(ControlFlow::Break(()));
            }
            let entry = Entry::parse(value).ok_or_else(|| self.bad("log value", value))?;
            found.extend(self.published(position, &entry)?);
            Ok(if found.len() < limit {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            })
        })?;
        Ok(found)
    }

    /// None for an entry of a deleted edition.
    fn published(&self, position: u64, entry: &Entry) -> Result<Option<LogEntry>> {
        let Some(stream) = self.timelines.named(&entry.stream) else {
            return Ok(None);
        };
        let read = self.own_frames(&entry.stream, entry.first, entry.count);
        let (mut frames, _) = match read {
            Ok(read) => read,
            // Its edition was deleted after the look at the timelines.
            Err(_) if self.timelines.named(&entry.stream).is_none() => return Ok(None),
            Err(error) => return Err(error),
        };
        if entry.kind != Kind::Plain {
            frames = self.as_published(&frames, entry)?;
        }
        let cover = cover(&stream, &entry.correlation_id);
        let book = wire::book(cover, None, &[&frames], entry.first + entry.count);
        Ok(Some(LogEntry {
            position,
            first_position: position - entry.count + 1,
            book,
        }))
    }

    /// Released pages as consumers see them (CAS-9).
    fn as_published(&self, frames: &[u8], entry: &Entry) -> Result<Vec<u8>> {
        let verdict = match &entry.kind {
            Kind::Cascade(id) => Some(self.decision(id)?.ok_or_else(|| {
                self.corrupt(
                    &entry.stream,
                    entry.first,
                    "published undecided",
                    "a decision",
                )
            })?),
            _ => None,
        };
        let mut out = Vec::with_capacity(frames.len() + 64);
        let mut rest = frames;
        while let Some((_, bytes)) = wire::take_frame(&mut rest) {
            let bad = || self.bad_page(&entry.stream, entry.first);
            let page = wire::Page::parse(bytes).ok_or_else(bad)?;
            let shown = match &verdict {
                None => page.no_op("", "framework_event"),
                Some(decision) if decision.verdict == Verdict::Rollback => {
                    page.no_op(&decision.cascade_id, "revoked")
                }
                Some(_) => wire::committed(bytes).ok_or_else(bad)?,
            };
            wire::put_frame(&mut out, &shown);
        }
        Ok(out)
    }
}
