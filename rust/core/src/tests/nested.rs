use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use super::*;

fn on(edition: &str) -> Stream {
    stream("account", edition, 1)
}

fn declare(engine: &Engine, name: &str, parent: &str) {
    engine
        .write(Write::DeclareEdition(edition(name, parent)))
        .expect("declares");
}

fn forked(engine: &Engine, edition: &str, at: u64, count: u64) {
    let fork = Append {
        divergence: Some(at),
        ..append(&on(edition), at, count)
    };
    put(engine, fork).expect("appends");
}

/// Appends pages of a type that names their edition.
fn write_as(engine: &Engine, edition: &str, first: u64) -> Result<Written> {
    let letter = edition.as_bytes()[0];
    let mut append = append(&on(edition), first, 1);
    for page in &mut append.pages {
        let at = page.iter().rposition(|byte| *byte == b'/').expect("a type");
        page[at + 1] = letter;
    }
    put(engine, append)
}

/// Sequence and owner of each page.
fn owners(book: &[u8]) -> Vec<(u64, u8)> {
    let letter = |name: &String| *name.as_bytes().last().expect("a name");
    shown(book)
        .iter()
        .map(|(sequence, name)| (*sequence, letter(name)))
        .collect()
}

fn read(engine: &Engine, edition: &str, divergence: Option<u64>) -> Vec<(u64, u8)> {
    let book = engine.load(&on(edition), 0, None, divergence);
    owners(&book.expect("loads").data)
}

fn spelled(owners: &[(u64, u8)]) -> String {
    owners
        .iter()
        .map(|(_, letter)| char::from(*letter))
        .collect()
}

/// EDN-21, literally: main 0–9; `a` at 4 with 4 to 6, `b` of it at 6 with 6 and 7, `c` and `d` without pages.
fn example() -> Fixture {
    let store = Fixture::new();
    for first in 0..10 {
        write_as(&store, MAIN, first).expect("appends");
    }
    // Main's pages are of type `a`, since its name begins so; the branches' names here do not.
    for (name, parent) in [("p", MAIN), ("q", "p"), ("r", "q"), ("s", "p")] {
        declare(&store, name, parent);
    }
    for (edition, range) in [("p", 4..7), ("q", 6..8)] {
        for first in range {
            write_as(&store, edition, first).expect("appends");
        }
    }
    store
}

fn check_example(engine: &Engine) {
    assert_eq!(spelled(&read(engine, "q", None)), "aaaappqq");
    assert_eq!(spelled(&read(engine, "r", Some(3))), "aaa");
    assert_eq!(spelled(&read(engine, "r", None)), "aaaappqq");
    assert_eq!(engine.divergence(&on("q")), Ok(Some(6)));
    assert_eq!(engine.next_sequence(&on("q"), None), Ok(8));
}

/// EDN-21.
#[test]
fn nested_branches_follow_the_example() {
    let store = example();
    check_example(&store);
    assert_eq!(spelled(&read(&store, "s", None)), "aaaappp");
    write_as(&store, "p", 7).expect("appends");
    check_example(&store);
    assert_eq!(spelled(&read(&store, "s", None)), "aaaapppp");
    assert_eq!(store.next_sequence(&on("s"), None), Ok(8));
    let store = store.reopened();
    check_example(&store);
    store.verify().expect("sound");
}

/// EDN-21: the first write pins what the branch consists of then, whatever its parents write later.
#[test]
fn a_parents_first_write_changes_no_pinned_child() {
    let store = Fixture::new();
    for first in 0..5 {
        write_as(&store, MAIN, first).expect("appends");
    }
    declare(&store, "q", "p");
    write_as(&store, "q", 5).expect("appends");
    let fork = Append {
        divergence: Some(2),
        ..append(&on("p"), 2, 1)
    };
    put(&store, fork).expect("appends");
    assert_eq!(spelled(&read(&store, "q", None)), "aaaaaq");
    assert_eq!(
        sequences(&store.load(&on("p"), 0, None, None).expect("loads").data),
        [0, 1, 2]
    );
    store.verify().expect("sound");
}

/// EDN-7, EDN-8 count the parent's next sequence.
#[test]
fn divergences_beyond_the_parent_are_refused() {
    let store = example();
    let beyond = Error::InvalidDivergence {
        requested: 8,
        next_sequence: 7,
    };
    assert_eq!(store.load(&on("s"), 0, None, Some(8)), Err(beyond.clone()));
    let fork = Append {
        divergence: Some(8),
        ..append(&on("s"), 8, 1)
    };
    assert_eq!(put(&store, fork), Err(beyond));
    let elsewhere = Error::DivergenceConflict {
        pinned: 6,
        requested: 5,
    };
    assert_eq!(store.next_sequence(&on("q"), Some(5)), Err(elsewhere));
    let conflict = Error::SequenceConflict {
        expected: 9,
        actual: 7,
    };
    assert_eq!(put(&store, append(&on("s"), 9, 1)), Err(conflict));
}

/// EDN-21: at each of sixteen levels the stream is whole, cold and hot, by every range.
#[test]
fn sixteen_levels_read_as_one_stream() {
    let store = Fixture::new();
    must(&store, &main_stream(), 0, 3);
    let name = |level: usize| format!("e{level}");
    for level in 1..=16 {
        let parent = if level == 1 {
            MAIN.into()
        } else {
            name(level - 1)
        };
        declare(&store, &name(level), &parent);
        // The second page is beyond where the next level leaves it.
        must(&store, &on(&name(level)), 2 + level as u64, 2);
    }
    let store = store.reopened();
    for _ in 0..2 {
        let last = on("e16");
        assert_eq!(store.next_sequence(&last, None), Ok(20));
        for start in 0..20 {
            let book = store
                .load(&last, start, Some(start + 9), None)
                .expect("loads");
            let wanted: Vec<_> = (start..20.min(start + 9)).collect();
            assert_eq!(sequences(&book.data), wanted);
        }
    }
    store.verify().expect("sound");
}

/// EDN-22: a snapshot of any stretch, below its end; the nearest one.
#[test]
fn snapshots_of_every_stretch_serve_below_its_end() {
    let store = example();
    let keep = |edition: &str, at: u64| {
        let put = Write::PutSnapshot {
            stream: on(edition),
            snapshot: snapshot(at),
            policy: SnapshotPolicy {
                keep_last: 9,
                max_age_s: 0,
            },
            now_ns: 1,
        };
        store.write(put).expect("puts");
    };
    let latest = |edition: &str| {
        let book = store.load_latest(&on(edition), None).expect("loads");
        sequences(&book.data).first().copied()
    };
    keep(MAIN, 4);
    assert_eq!(latest("q"), Some(0));
    keep(MAIN, 2);
    assert_eq!(latest("q"), Some(3));
    keep("p", 6);
    assert_eq!(latest("q"), Some(3));
    keep("p", 5);
    assert_eq!(latest("q"), Some(6));
    assert_eq!(latest("r"), Some(6));
    keep("q", 6);
    assert_eq!(latest("q"), Some(7));
    assert_eq!(latest("r"), Some(7));
    // The same once all streams are hot.
    for edition in [MAIN, "p", "q"] {
        store.load(&on(edition), 0, None, None).expect("loads");
    }
    assert_eq!(latest("q"), Some(7));
    assert_eq!(latest("s"), None);
}

/// EDN-22, SNAP-5: pending pages of every stretch count, as far as it is inherited.
#[test]
fn no_snapshot_holds_pending_pages_of_a_stretch() {
    let store = Fixture::new();
    must(&store, &main_stream(), 0, 2);
    declare(&store, "q", "p");
    must(&store, &on("p"), 2, 1);
    put(&store, pending_append(&on("p"), 3, 1, "c1")).expect("appends");
    put(&store, pending_append(&on("p"), 4, 1, "c2")).expect("appends");
    let with_snapshot = |first, divergence| Append {
        snapshot: Some(snapshot(first)),
        divergence,
        ..append(&on("q"), first, 1)
    };
    put(&store, with_snapshot(3, Some(3))).expect("appends");
    assert!(store.snapshot_get(&on("q")).expect("reads").is_some());
    store
        .write(Write::DeleteEdition {
            domain: "account".into(),
            edition: "q".into(),
        })
        .expect("deletes");
    put(&store, with_snapshot(4, Some(4))).expect("appends");
    assert_eq!(store.snapshot_get(&on("q")), Ok(None));
}

/// QRY-16 along the stretches.
#[test]
fn lengths_follow_the_stretches() {
    let store = example();
    // Main is 1 to 10 in the log, `p` 11 to 13, `q` 14 and 15.
    let lengths: Vec<_> = [0, 3, 10, 11, 12, 13, 14, 15]
        .map(|at| store.length_at(&on("q"), at, None).expect("reads"))
        .into();
    assert_eq!(lengths, [0, 3, 4, 5, 6, 6, 7, 8]);
}

/// What the branch `kid` of `mid` consists of after each commit: counts of pages of main, mid and kid.
fn history(engine: &Engine) -> Vec<(u64, [u64; 3])> {
    let at = |edition: &str| engine.divergence(&on(edition)).expect("reads");
    let (mid_at, kid_at) = (at("mid"), at("kid"));
    let (mut main, mut mid, mut kid) = (0, None, None);
    let mut found = vec![(0, [0; 3])];
    for entry in engine.tail(0, usize::MAX).expect("reads") {
        let (_, letter) = owners(&entry.book)[0];
        let base = |end: Option<u64>, mid: Option<u64>, main: u64| match (mid, mid_at) {
            (Some(count), Some(mid_at)) => {
                let end = end.unwrap_or(mid_at + count);
                [end.min(mid_at), end.saturating_sub(mid_at)]
            }
            _ => [end.unwrap_or(main), 0],
        };
        match letter {
            b'a' => main += 1,
            b'm' => mid = Some(mid.unwrap_or(0) + 1),
            _ => {
                let (inherited, count) = kid.unwrap_or((base(kid_at, mid, main), 0));
                kid = Some((inherited, count + 1));
            }
        }
        let now = match kid {
            Some(([from_main, from_mid], count)) => [from_main, from_mid, count],
            None => {
                let [from_main, from_mid] = base(None, mid, main);
                [from_main, from_mid, 0]
            }
        };
        found.push((entry.position, now));
    }
    found
}

/// EDN-3, EDN-21: whoever writes on main, the parent and the branch meanwhile, each read is what the branch was at one
/// moment between its beginning and its end.
#[test]
fn reads_of_nested_branches_are_of_one_moment() {
    for _ in 0..40 {
        let store = Fixture::new();
        declare(&store, "kid", "mid");
        let is_done = AtomicBool::new(false);
        let writer = |edition: &'static str, from: u64, count: u64| {
            let engine = store.engine.clone();
            move || {
                while engine.log_head().expect("reads") < from {
                    thread::yield_now();
                }
                for _ in 0..count {
                    // Somebody else may have moved the end of an unwritten branch.
                    while let Err(error) =
                        write_as(&engine, edition, engine.next_sequence(&on(edition), None)?)
                    {
                        assert!(matches!(error, Error::SequenceConflict { .. }), "{error}");
                    }
                }
                Ok(())
            }
        };
        let reads = thread::scope(|scope| {
            let reader = || {
                let mut reads = Vec::new();
                while !is_done.load(Ordering::SeqCst) {
                    let before = store.log_head().expect("reads");
                    let pages = read(&store, "kid", None);
                    reads.push((before, pages, store.log_head().expect("reads")));
                }
                reads
            };
            let readers = [scope.spawn(reader), scope.spawn(reader)];
            let writers = [
                scope.spawn(writer(MAIN, 0, 60)),
                scope.spawn(writer("mid", 15, 30)),
                scope.spawn(writer("kid", 35, 20)),
            ];
            let ended = writers.map(thread::ScopedJoinHandle::join);
            is_done.store(true, Ordering::SeqCst);
            for writer in ended {
                let written: Result<()> = writer.expect("no panic");
                written.expect("reads");
            }
            readers.map(|reader| reader.join().expect("no panic"))
        });
        let history = history(&store);
        for (before, pages, after) in reads.into_iter().flatten() {
            let is_whole = pages
                .iter()
                .zip(0..)
                .all(|((found, _), wanted)| *found == wanted);
            assert!(is_whole, "{}", spelled(&pages));
            let parts = [b'a', b'm', b'k']
                .map(|letter| pages.iter().filter(|(_, owner)| *owner == letter).count() as u64);
            // What the log does not tell yet may be there for a reader.
            let is_of_a_moment = history
                .iter()
                .filter(|(position, _)| (before..=after + 3).contains(position))
                .any(|(_, wanted)| *wanted == parts);
            assert!(is_of_a_moment, "{before} {} {after}", spelled(&pages));
        }
        store.verify().expect("sound");
    }
}

/// A read of a branch that is deleted meanwhile, and comes back, is of the old one, of none or of the new one.
#[test]
fn reads_of_deleted_branches_are_whole() {
    let store = Fixture::new();
    must(&store, &main_stream(), 0, 3);
    let is_done = AtomicBool::new(false);
    thread::scope(|scope| {
        let reader = || {
            while !is_done.load(Ordering::SeqCst) {
                let book = store.load(&on("x"), 0, None, None).expect("loads");
                let wanted: Vec<_> = (0..book.next_sequence).collect();
                assert_eq!(sequences(&book.data), wanted);
                let latest = store.load_latest(&on("x"), None).expect("loads");
                assert!(
                    matches!(latest.next_sequence, 3 | 4 | 8),
                    "{}",
                    latest.next_sequence
                );
            }
        };
        let readers = [scope.spawn(reader), scope.spawn(reader)];
        for _ in 0..300 {
            forked(&store, "x", 2, 2);
            must(&store, &on("x"), 4, 4);
            let delete = Write::DeleteEdition {
                domain: "account".into(),
                edition: "x".into(),
            };
            assert_eq!(store.write(delete), Ok(Written::Count(6)));
        }
        is_done.store(true, Ordering::SeqCst);
        for reader in readers {
            reader.join().expect("no panic");
        }
    });
}
