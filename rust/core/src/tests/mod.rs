//! The engine through its public face.

mod branches;
mod cascades;
mod concurrency;
mod durability;
mod editions;
mod nested;
mod positions;
mod records;
mod scans;
mod streams;

use std::path::Path;

use crate::failpoint::Failpoints;
use crate::key::Family;
use crate::store::Store;
use crate::wire::{self, Page};
use crate::*;

/// An open store in a directory of its own.
struct Fixture {
    engine: Engine, // goes first, while its directory is there
    dir: tempfile::TempDir,
}

impl std::ops::Deref for Fixture {
    type Target = Engine;

    fn deref(&self) -> &Engine {
        &self.engine
    }
}

impl Fixture {
    fn new() -> Self {
        Self::with_failpoints("")
    }

    fn with_failpoints(text: &str) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let engine = open(dir.path(), text).expect("opens");
        Self { dir, engine }
    }

    fn reopened(self) -> Self {
        self.engine.close().expect("closes");
        let engine = open(self.dir.path(), "").expect("reopens");
        Self {
            dir: self.dir,
            engine,
        }
    }

    /// As it would be found after the process was killed now: a copy of the files of the living store.
    fn crashed(&self) -> (tempfile::TempDir, Result<Engine>) {
        let copy = tempfile::tempdir().expect("a directory");
        copy_dir(self.dir.path(), copy.path());
        let engine = open(copy.path(), "");
        (copy, engine)
    }
}

fn copy_dir(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("creates");
    for entry in std::fs::read_dir(from).expect("lists") {
        let entry = entry.expect("lists");
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_dir(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).expect("copies");
        }
    }
}

fn options(path: &Path) -> Options {
    Options {
        path: path.to_owned(),
        sync: false,
        limits: Limits {
            max_pages_per_append: 1000,
            max_append_bytes: 4 << 20,
            writer_queue: 4096,
        },
        cache_bytes: 16 << 20,
        block_cache_bytes: 8 << 20,
        write_buffer_bytes: 8 << 20,
    }
}

fn open(path: &Path, failpoints: &str) -> Result<Engine> {
    Engine::open_with(
        options(path),
        Failpoints::parse(failpoints).expect("well formed"),
    )
}

fn put_raw(store: &Store, family: Family, key: &[u8], value: &[u8]) {
    let mut batch = rocksdb::WriteBatch::default();
    batch.put_cf(store.family(family).expect("there"), key, value);
    store.db.write_without_wal(batch).expect("writes");
}

/// Changes the records of a closed store.
fn change(dir: &Path, change: impl FnOnce(&Store)) {
    let opened = crate::open::open(options(dir), Failpoints::default()).expect("opens");
    change(&opened.store);
    opened.store.flush().expect("flushes");
}

/// A declaration without limits.
fn edition(name: &str, parent: &str) -> Edition {
    Edition {
        name: name.into(),
        parent: parent.into(),
        created_at_ns: 1,
        expires_at_ns: 0,
        max_pages: 0,
        max_bytes: 0,
    }
}

fn stream(domain: &str, edition: &str, root: u8) -> Stream {
    Stream {
        domain: domain.into(),
        edition: edition.into(),
        root: [root; 16],
    }
}

fn main_stream() -> Stream {
    stream("account", MAIN, 1)
}

/// An `EventPage` numbered `sequence` in time and event.
fn page(sequence: u64, cascade_id: &str) -> Vec<u8> {
    let mut header = vec![8];
    wire::put_varint(&mut header, sequence);
    let mut page = vec![10, u8::try_from(header.len()).expect("short")];
    page.extend_from_slice(&header);
    let mut time = vec![8];
    wire::put_varint(&mut time, sequence);
    page.extend_from_slice(&[18, u8::try_from(time.len()).expect("short")]);
    page.extend_from_slice(&time);
    page.extend_from_slice(b"\x1a\x05\x0a\x03x/y");
    if cascade_id.is_empty() {
        page.extend_from_slice(&[48, 1]);
    } else {
        page.extend_from_slice(&[58, u8::try_from(cascade_id.len()).expect("short")]);
        page.extend_from_slice(cascade_id.as_bytes());
    }
    page
}

fn append(stream: &Stream, first: u64, count: u64) -> Append {
    Append {
        stream: stream.clone(),
        correlation_id: String::new(),
        expected_sequence: first,
        pages: (first..first + count)
            .map(|sequence| page(sequence, ""))
            .collect(),
        divergence: None,
        snapshot: None,
        snapshot_policy: SnapshotPolicy {
            keep_last: 1,
            max_age_s: 0,
        },
        cascade_id: String::new(),
        key: None,
        answer: Vec::new(),
        records: Vec::new(),
        sync: None,
        now_ns: 1,
    }
}

fn pending_append(stream: &Stream, first: u64, count: u64, cascade_id: &str) -> Append {
    Append {
        cascade_id: cascade_id.into(),
        pages: (first..first + count)
            .map(|sequence| page(sequence, cascade_id))
            .collect(),
        ..append(stream, first, count)
    }
}

fn put(engine: &Engine, append: Append) -> Result<Written> {
    engine.write(Write::Append(Box::new(append)))
}

fn must(engine: &Engine, stream: &Stream, first: u64, count: u64) {
    put(engine, append(stream, first, count)).expect("appends");
}

/// Sequences of the pages of an encoded `EventBook`, and the types' names.
fn shown(book: &[u8]) -> Vec<(u64, String)> {
    let mut rest = book;
    let mut found = Vec::new();
    while !rest.is_empty() {
        if let Some((_, bytes)) = wire::take_frame(&mut rest) {
            let page = Page::parse(bytes).expect("a page");
            found.push((page.sequence.expect("numbered"), page.type_name.to_owned()));
            continue;
        }
        let tag = crate::raw::read_varint(&mut rest).expect("a tag");
        let number = crate::raw::read_varint(&mut rest).expect("a number");
        if tag & 7 == 2 {
            rest = &rest[usize::try_from(number).expect("short")..];
        }
    }
    found
}

fn sequences(book: &[u8]) -> Vec<u64> {
    shown(book)
        .into_iter()
        .map(|(sequence, _)| sequence)
        .collect()
}

fn decide(engine: &Engine, id: &str, verdict: Verdict) -> Decision {
    let (cascade_id, reason) = (id.to_owned(), "why".to_owned());
    match engine
        .write(Write::Decide {
            cascade_id,
            verdict,
            reason,
            now_ns: 9,
        })
        .expect("decides")
    {
        Written::Decided(decision) => decision,
        other => panic!("{other:?}"),
    }
}

fn resolve(engine: &Engine, stream: &Stream, id: &str) -> Option<Vec<u8>> {
    let (stream, cascade_id) = (stream.clone(), id.to_owned());
    let correlation_id = "corr".to_owned();
    match engine
        .write(Write::Resolve {
            stream,
            correlation_id,
            cascade_id,
            now_ns: 9,
        })
        .expect("resolves")
    {
        Written::Resolved(marker) => marker,
        other => panic!("{other:?}"),
    }
}

fn snapshot(sequence: u64) -> Vec<u8> {
    let mut bytes = vec![16];
    wire::put_varint(&mut bytes, sequence);
    bytes
}

/// (first position, position, sequences, types) of the whole log.
fn log(engine: &Engine) -> Vec<(u64, u64, Vec<(u64, String)>)> {
    let entries = engine.tail(0, usize::MAX).expect("reads");
    entries
        .into_iter()
        .map(|e| (e.first_position, e.position, shown(&e.book)))
        .collect()
}
