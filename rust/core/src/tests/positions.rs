use std::ops::ControlFlow;

use proptest::prelude::*;

use super::*;
use crate::key::{self, Family};
use crate::read::cover;
use crate::store::KEY_RELEASED;

/// (position, sequence) of the stream's own pages, by the log.
fn logged(engine: &Engine, stream: &Stream) -> Vec<(u64, u64)> {
    let mut found = Vec::new();
    for entry in engine.tail(0, usize::MAX).expect("reads") {
        let is_of = |id| {
            entry
                .book
                .starts_with(&wire::book(cover(stream, id), None, &[], 0))
        };
        if is_of("") || is_of("corr") {
            found.extend((entry.first_position..).zip(sequences(&entry.book)));
        }
    }
    found
}

/// The lengths at every position up to the head and one beyond, by the engine.
fn lengths(engine: &Engine, stream: &Stream) -> Vec<u64> {
    let head = engine.log_head().expect("reads");
    (0..=head + 1)
        .map(|at| engine.length_at(stream, at, None).expect("reads"))
        .collect()
}

/// The same by the log. `base`: where a branch left main.
fn wanted(engine: &Engine, stream: &Stream, base: u64) -> Vec<u64> {
    let (main, own) = (logged(engine, &main_stream()), logged(engine, stream));
    let length = |at: u64| {
        let count = |pages: &[(u64, u64)]| {
            pages.iter().filter(|(position, _)| *position <= at).count() as u64
        };
        match count(&main).min(base) {
            inherited if inherited < base => inherited,
            _ => base + count(&own),
        }
    };
    (0..=engine.log_head().expect("reads") + 1)
        .map(length)
        .collect()
}

/// QRY-16, within a commit of several pages too.
#[test]
fn length_counts_the_pages_that_the_log_had() {
    let store = Fixture::new();
    let other = stream("account", MAIN, 2);
    must(&store, &main_stream(), 0, 3);
    must(&store, &other, 0, 2);
    must(&store, &main_stream(), 3, 1);
    assert_eq!(lengths(&store, &main_stream()), [0, 1, 2, 3, 3, 3, 4, 4]);
    assert_eq!(lengths(&store, &other), [0, 0, 0, 0, 1, 2, 2, 2]);
    let unknown = stream("nothing", MAIN, 1);
    assert_eq!(store.length_at(&unknown, 3, None), Ok(0));
}

/// An append of several chunks has a position in each.
#[test]
fn each_chunk_of_a_large_append_has_its_position() {
    let store = Fixture::new();
    let mut large = append(&main_stream(), 0, 5);
    for page in &mut large.pages {
        page.extend_from_slice(&[0xFA, 1, 0x80, 0x80, 2]);
        page.extend_from_slice(&vec![7; 1 << 15]);
    }
    put(&store, large).expect("appends");
    assert_eq!(lengths(&store, &main_stream()), [0, 1, 2, 3, 4, 5, 5]);
    store.verify().expect("sound");
}

/// CAS-9: what is held back is in the log from its release on.
#[test]
fn held_pages_count_from_their_release_on() {
    let store = Fixture::new();
    let other = stream("account", MAIN, 2);
    must(&store, &main_stream(), 0, 1);
    put(&store, pending_append(&main_stream(), 1, 2, "A")).expect("appends");
    must(&store, &main_stream(), 3, 1);
    must(&store, &other, 0, 1);
    assert_eq!(lengths(&store, &main_stream()), [0, 1, 1, 1]);
    decide(&store, "A", Verdict::Commit);
    resolve(&store, &main_stream(), "A").expect("a marker");
    must(&store, &main_stream(), 5, 1);
    assert_eq!(lengths(&store, &main_stream()), [0, 1, 1, 2, 3, 4, 5, 6, 6]);
    let store = store.reopened();
    assert_eq!(
        lengths(&store, &main_stream()),
        wanted(&store, &main_stream(), 0)
    );
    store.verify().expect("sound");
}

#[test]
fn length_of_a_branch_stops_at_the_first_page_that_was_not_there() {
    let store = Fixture::new();
    let branch = stream("account", "x", 1);
    must(&store, &main_stream(), 0, 2);
    put(&store, pending_append(&main_stream(), 2, 1, "A")).expect("appends");
    let forked = Append {
        divergence: Some(3),
        ..append(&branch, 3, 2)
    };
    put(&store, forked).expect("appends");
    // The branch's own pages are in the log before page 2 of main, which they follow.
    assert_eq!(lengths(&store, &branch), [0, 1, 2, 2, 2, 2]);
    decide(&store, "A", Verdict::Commit);
    resolve(&store, &main_stream(), "A").expect("a marker");
    assert_eq!(lengths(&store, &branch), [0, 1, 2, 2, 2, 5, 5, 5]);
    let unpinned = stream("account", "y", 1);
    assert_eq!(lengths(&store, &unpinned), lengths(&store, &main_stream()));
    assert_eq!(store.length_at(&unpinned, 9, Some(1)), Ok(1));
}

/// Makes of a closed store what format 1 would have written.
fn to_format_1(dir: &Path) {
    change(dir, |store| {
        let (mut chunks, mut records) = (Vec::new(), Vec::new());
        let mut collect = |key: &[u8], value: &[u8]| {
            chunks.push((key.to_vec(), value.to_vec()));
            Ok(ControlFlow::Continue(()))
        };
        store
            .scan(Family::Events, &[], &[], &mut collect)
            .expect("reads");
        for (key, mut value) in chunks {
            value.drain(5..13);
            value[0] &= 1;
            put_raw(store, Family::Events, &key, &value);
        }
        let collect = |key: &[u8], _: &[u8]| {
            if key[key::STREAM_BYTES] == KEY_RELEASED {
                records.push(key.to_vec());
            }
            Ok(ControlFlow::Continue(()))
        };
        store.scan(Family::Keys, &[], &[], collect).expect("reads");
        for key in records {
            let family = store.family(Family::Keys).expect("there");
            let mut batch = rocksdb::WriteBatch::default();
            batch.delete_cf(family, key);
            store.db.write_without_wal(batch).expect("writes");
        }
        put_raw(store, Family::Meta, key::META_FORMAT, &1u32.to_be_bytes());
    });
}

/// What format 1 wrote is read, its positions from the log, and goes on as format 2.
#[test]
fn a_store_of_format_1_is_upgraded() {
    let store = Fixture::new();
    must(&store, &main_stream(), 0, 2);
    put(&store, pending_append(&main_stream(), 2, 1, "A")).expect("appends");
    decide(&store, "A", Verdict::Commit);
    resolve(&store, &main_stream(), "A").expect("a marker");
    put(&store, pending_append(&main_stream(), 4, 1, "B")).expect("appends");
    let before = lengths(&store, &main_stream());
    store.close().expect("closes");
    to_format_1(store.dir.path());
    let store = store.reopened();
    assert_eq!(lengths(&store, &main_stream()), before);
    decide(&store, "B", Verdict::Commit);
    resolve(&store, &main_stream(), "B").expect("a marker");
    must(&store, &main_stream(), 6, 2);
    assert_eq!(
        lengths(&store, &main_stream()),
        wanted(&store, &main_stream(), 0)
    );
    store.verify().expect("sound");
    assert_eq!(store.facts().expect("reads").format_version, FORMAT_VERSION);
    store.close().expect("closes");
    change(store.dir.path(), |store| {
        let format = store.get(Family::Meta, key::META_FORMAT).expect("reads");
        assert_eq!(format, Some(FORMAT_VERSION.to_be_bytes().to_vec()));
    });
}

#[test]
fn verify_finds_a_chunk_with_another_position_than_its_log_entry() {
    let store = Fixture::new();
    must(&store, &main_stream(), 0, 2);
    must(&store, &main_stream(), 2, 2);
    store.close().expect("closes");
    change(store.dir.path(), |store| {
        let own = store.timelines.stream(&main_stream()).expect("known");
        let key = key::page(&own, 2);
        let mut value = store
            .get(Family::Events, &key)
            .expect("reads")
            .expect("there");
        value[12] += 1;
        put_raw(store, Family::Events, &key, &value);
    });
    let store = store.reopened();
    let Err(Error::Corrupt { found, wanted, .. }) = store.verify() else {
        panic!("not found");
    };
    assert_eq!(
        (found.as_str(), wanted.as_str()),
        ("position 4", "position 3")
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Any order of appends, pending ones and resolutions on main and a branch of it.
    #[test]
    fn lengths_are_those_of_the_log(steps in proptest::collection::vec((0usize..3, 1u64..4, 0u8..5), 1..40)) {
        let store = Fixture::new();
        let streams = [main_stream(), stream("account", "x", 1), stream("account", MAIN, 2)];
        must(&store, &main_stream(), 0, 3);
        for (index, (which, count, what)) in steps.into_iter().enumerate() {
            let stream = &streams[which];
            let next = store.next_sequence(stream, None).expect("reads");
            let pending = store.pending(stream).expect("reads");
            match (what, pending.first()) {
                (0, _) => {
                    let append = pending_append(stream, next, count, &format!("c{index}"));
                    put(&store, append).expect("appends");
                }
                (1, Some(page)) => {
                    let verdict = if index % 2 == 0 { Verdict::Commit } else { Verdict::Rollback };
                    decide(&store, &page.cascade_id, verdict);
                    resolve(&store, stream, &page.cascade_id).expect("a marker");
                }
                _ => must(&store, stream, next, count),
            }
        }
        for stream in &streams {
            let base = store.divergence(stream).expect("reads").unwrap_or(0);
            if base > 0 || stream.edition == MAIN {
                prop_assert_eq!(lengths(&store, stream), wanted(&store, stream, base));
            }
        }
        store.verify().expect("sound");
    }
}
