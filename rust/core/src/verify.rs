//! Walks the log against the streams: whether all that was acknowledged is there, and nothing else.

use std::collections::{HashMap, HashSet};

use rocksdb::{DBRawIterator, IteratorMode, ReadOptions};

use crate::api::{SEQUENCE_MAX, Verified};
use crate::base::Base;
use crate::error::{Error, Result};
use crate::key::{self, Family, StreamKey};
use crate::position::Positions;
use crate::record::{ChunkView, Entry, Placed};
use crate::store::{KEY_PIN, Store, disk};
use crate::timelines::Timelines;
use crate::wire;

/// A walk at one point of time. `covered` is, per stream, how far log and held entries reach; `positions` has these
/// entries.
struct Walk<'a> {
    store: &'a Store,
    snapshot: rocksdb::Snapshot<'a>,
    timelines: Timelines,
    covered: HashMap<StreamKey, (u64, u64)>,
    positions: Positions,
    streams: HashSet<StreamKey>,
    page_count: u64,
}

impl Store {
    /// Checks positions, sequences, pages and checksums of everything; Corrupt names the first that is wrong.
    pub fn verify(&self) -> Result<Verified> {
        let mut walk = Walk {
            store: self,
            snapshot: self.db.snapshot(),
            timelines: Timelines::default(),
            covered: HashMap::new(),
            positions: Positions::default(),
            streams: HashSet::new(),
            page_count: 0,
        };
        walk.read_timelines()?;
        let position = walk.log()?;
        walk.held()?;
        walk.positions.sort();
        walk.pins()?;
        walk.events()?;
        if let Some((stream, (first, _))) = walk
            .covered
            .iter()
            .find(|(stream, _)| !walk.streams.contains(*stream))
        {
            return Err(self.corrupt(stream, *first, "no pages", "the pages of a log entry"));
        }
        let stream_count = walk.streams.len() as u64;
        Ok(Verified {
            stream_count,
            page_count: walk.page_count,
            position,
        })
    }
}

impl Walk<'_> {
    fn iterator(&self, family: Family) -> Result<DBRawIterator<'_>> {
        let mut options = ReadOptions::default();
        options.set_total_order_seek(true);
        options.fill_cache(false);
        let mut iterator = self
            .snapshot
            .raw_iterator_cf_opt(self.store.family(family)?, options);
        iterator.seek_to_first();
        Ok(iterator)
    }

    fn read_timelines(&mut self) -> Result<()> {
        let family = self.store.family(Family::Meta)?;
        for item in self.snapshot.iterator_cf(family, IteratorMode::Start) {
            let (key, value) = item.map_err(disk)?;
            if let Some(number) = key
                .strip_prefix(key::META_TIMELINE)
                .and_then(key::parse_u32)
            {
                let (domain, edition) =
                    Timelines::parse(&value).ok_or_else(|| self.store.bad("timeline", &key))?;
                self.timelines.insert(number, &domain, &edition);
            }
        }
        Ok(())
    }

    fn is_alive(&self, stream: &StreamKey) -> bool {
        self.timelines.names(key::timeline_of(stream)).is_some()
    }

    /// Positions are gapless, and each stream's entries follow each other.
    fn log(&mut self) -> Result<u64> {
        let mut position = 0;
        let mut positions = std::mem::take(&mut self.positions);
        let mut iterator = self.iterator(Family::Log)?;
        while let Some((key, value)) = iterator.item() {
            let found = key::parse_u64(key).ok_or_else(|| self.store.bad("log key", key))?;
            let bad = || self.store.bad("log value", value);
            let entry = Entry::parse(value).ok_or_else(bad)?;
            let first = position + 1;
            position += entry.count;
            if found != position {
                return Err(Error::Corrupt {
                    location: "log".into(),
                    found: format!("position {found}"),
                    wanted: format!("position {position}"),
                });
            }
            if self.is_alive(&entry.stream) && !positions.add(&entry, first) {
                return Err(bad());
            }
            iterator.next();
        }
        iterator.status().map_err(disk)?;
        drop(iterator);
        self.positions = positions;
        self.cover_from(0)?;
        Ok(position)
    }

    fn held(&mut self) -> Result<()> {
        let mut positions = std::mem::take(&mut self.positions);
        let logged_count = positions.len();
        let mut iterator = self.iterator(Family::Held)?;
        while let Some(value) = iterator.value() {
            let bad = || self.store.bad("held value", value);
            let entry = Entry::parse(value).ok_or_else(bad)?;
            if !positions.add(&entry, 0) {
                return Err(bad());
            }
            iterator.next();
        }
        iterator.status().map_err(disk)?;
        drop(iterator);
        self.positions = positions;
        self.cover_from(logged_count)
    }

    /// Each stream's entries follow each other; `from`: the first of `positions` that was not looked at yet.
    fn cover_from(&mut self, from: usize) -> Result<()> {
        for (stream, first, count) in self.positions.added(from) {
            let covered = self.covered.entry(stream).or_insert((first, first));
            if covered.1 != first {
                let wanted = format!("a log entry from sequence {}", covered.1);
                return Err(self.store.corrupt(&stream, first, "a log entry", &wanted));
            }
            covered.1 += count;
        }
        Ok(())
    }

    /// Pages are numbered without gaps from where the stream begins to where its entries end.
    fn events(&mut self) -> Result<()> {
        let mut streams = HashSet::new();
        let mut page_count = 0;
        let mut current: Option<(StreamKey, u64)> = None;
        let mut iterator = self.iterator(Family::Events)?;
        while let Some((key, value)) = iterator.item() {
            let (stream, first) =
                key::parse_page(key).ok_or_else(|| self.store.bad("events key", key))?;
            let expected = match current {
                Some((before, next)) if before == stream => next,
                _ => {
                    if let Some((before, next)) = current {
                        self.check_end(&before, next)?;
                    }
                    streams.insert(stream);
                    self.begin(&stream, first)?
                }
            };
            if first != expected {
                let (found, wanted) = (format!("page {first}"), format!("page {expected}"));
                return Err(self.store.corrupt(&stream, expected, &found, &wanted));
            }
            let count = self.chunk(&stream, first, value)?;
            page_count += count;
            current = Some((stream, first + count));
            iterator.next();
        }
        iterator.status().map_err(disk)?;
        if let Some((last, next)) = current {
            self.check_end(&last, next)?;
        }
        drop(iterator);
        self.streams = streams;
        self.page_count = page_count;
        Ok(())
    }

    /// The first sequence that a stream must have: 0 on main, its pin on a branch.
    fn begin(&self, stream: &StreamKey, first: u64) -> Result<u64> {
        let names = self.timelines.names(key::timeline_of(stream));
        let (_, edition) = names.ok_or_else(|| {
            self.store
                .corrupt(stream, first, "pages", "nothing of a deleted edition")
        })?;
        if edition.as_ref() == crate::api::MAIN {
            return Ok(0);
        }
        let key = key::idempotency(stream, KEY_PIN, b"");
        let pin = self.snapshot.get_cf(self.store.family(Family::Keys)?, key);
        match pin.map_err(disk)? {
            Some(value) => Ok(self.pin(stream, &value)?.end),
            None => {
                Err(self
                    .store
                    .corrupt(stream, first, "no divergence", "where the branch begins"))
            }
        }
    }

    fn pin(&self, stream: &StreamKey, value: &[u8]) -> Result<Base> {
        let main = || self.timelines.main_beside(key::timeline_of(stream));
        Base::parse(value, stream, main).ok_or_else(|| self.store.bad("pin", value))
    }

    /// All that branches inherit is there, and is where they say: whole from the beginning of each stretch on.
    fn pins(&self) -> Result<()> {
        let mut iterator = self.iterator(Family::Keys)?;
        while let Some((key, value)) = iterator.item() {
            if let Some(stream) = key::parse_pin(key) {
                self.check_base(&stream, &self.pin(&stream, value)?)?;
            }
            iterator.next();
        }
        iterator.status().map_err(disk)
    }

    fn check_base(&self, stream: &StreamKey, base: &Base) -> Result<()> {
        let domain = |stream| self.timelines.names(key::timeline_of(stream)).map(|n| n.0);
        for (stretch, first) in base.spans() {
            let covered = self.covered.get(&stretch.stream);
            let is_there = domain(&stretch.stream).is_some_and(|of| Some(of) == domain(stream))
                && covered.is_some_and(|(begin, end)| *begin == first && stretch.stop <= *end);
            if !is_there {
                let timeline = key::timeline_of(&stretch.stream);
                let wanted = format!("pages {first} to {} of timeline {timeline}", stretch.stop);
                return Err(self
                    .store
                    .corrupt(stream, first, "a base that is not there", &wanted));
            }
        }
        Ok(())
    }

    fn check_end(&self, stream: &StreamKey, next: u64) -> Result<()> {
        match self.covered.get(stream) {
            Some((_, covered)) if *covered == next => Ok(()),
            Some((_, covered)) => {
                let wanted = format!("log entries up to sequence {next}");
                Err(self.store.corrupt(stream, *covered, "another end", &wanted))
            }
            None => Err(self
                .store
                .corrupt(stream, 0, "no log entry", "one for each page")),
        }
    }

    fn chunk(&self, stream: &StreamKey, first: u64, value: &[u8]) -> Result<u64> {
        let bad = |sequence| self.store.bad_page(stream, sequence);
        let chunk = ChunkView::parse(value).ok_or_else(|| bad(first))?;
        let mut rest = chunk.frames;
        for sequence in first..first + chunk.count {
            let (_, bytes) = wire::take_frame(&mut rest).ok_or_else(|| bad(sequence))?;
            let page = wire::Page::parse(bytes).ok_or_else(|| bad(sequence))?;
            if page.sequence != Some(sequence) || sequence > SEQUENCE_MAX {
                let found = format!("a page numbered {:?}", page.sequence);
                return Err(self
                    .store
                    .corrupt(stream, sequence, &found, &format!("{sequence}")));
            }
        }
        if !rest.is_empty() {
            return Err(bad(first + chunk.count));
        }
        self.check_position(stream, first, &chunk)?;
        Ok(chunk.count)
    }

    /// Chunks say of themselves what the log says of them. A page without any entry shows at the stream's end.
    fn check_position(&self, stream: &StreamKey, first: u64, chunk: &ChunkView) -> Result<()> {
        let Some(wanted) = self.positions.of(stream, first) else {
            return Ok(());
        };
        let found = match chunk.placed {
            Placed::At(position) => position,
            Placed::Held => {
                let mut records = self.iterator(Family::Keys)?;
                let released = self.store.released_by(&mut records, stream, first)?;
                released.unwrap_or(0)
            }
            Placed::Unknown => return Ok(()),
        };
        if found == wanted {
            return Ok(());
        }
        let (found, wanted) = (format!("position {found}"), format!("position {wanted}"));
        Err(self.store.corrupt(stream, first, &found, &wanted))
    }
}
