use super::*;

fn branch(edition: &str) -> Stream {
    stream("account", edition, 1)
}

fn forked(engine: &Engine, edition: &str, at: u64) -> Result<Written> {
    put(
        engine,
        Append {
            divergence: Some(at),
            ..append(&branch(edition), at, 1)
        },
    )
}

/// EDN-3 to EDN-6: the example of editions.md.
#[test]
fn divergence_reads_follow_the_example() {
    let store = Fixture::new();
    must(&store, &main_stream(), 0, 7);
    let whatif = branch("whatif");
    assert_eq!(store.next_sequence(&whatif, Some(3)), Ok(3));
    assert_eq!(
        sequences(&store.load(&whatif, 0, None, Some(3)).expect("loads").data),
        [0, 1, 2]
    );
    forked(&store, "whatif", 3).expect("appends");
    must(&store, &main_stream(), 7, 2);
    assert_eq!(
        sequences(&store.load(&whatif, 0, None, None).expect("loads").data),
        [0, 1, 2, 3]
    );
    assert_eq!(
        sequences(&store.load(&whatif, 1, Some(4), None).expect("loads").data),
        [1, 2, 3]
    );
    assert_eq!(
        sequences(&store.load(&whatif, 0, Some(2), None).expect("loads").data),
        [0, 1]
    );
    let live = branch("live");
    assert_eq!(store.next_sequence(&live, None), Ok(9));
    assert_eq!(store.divergence(&live), Ok(None));
    must(&store, &live, 9, 1);
    must(&store, &main_stream(), 9, 1);
    assert_eq!(store.divergence(&live), Ok(Some(9)));
    assert_eq!(store.next_sequence(&live, None), Ok(10));
    let store = store.reopened();
    assert_eq!(store.divergence(&whatif), Ok(Some(3)));
    store.verify().expect("sound");
}

/// EDN-7, EDN-8: for reads and writes.
#[test]
fn divergences_beyond_main_or_elsewhere_are_refused() {
    let store = Fixture::new();
    must(&store, &main_stream(), 0, 3);
    let beyond = Error::InvalidDivergence {
        requested: 4,
        next_sequence: 3,
    };
    assert_eq!(forked(&store, "x", 4), Err(beyond.clone()));
    assert_eq!(store.load_latest(&branch("x"), Some(4)), Err(beyond));
    forked(&store, "x", 0).expect("appends");
    let elsewhere = Error::DivergenceConflict {
        pinned: 0,
        requested: 2,
    };
    assert_eq!(forked(&store, "x", 2), Err(elsewhere.clone()));
    assert_eq!(store.next_sequence(&branch("x"), Some(2)), Err(elsewhere));
    assert_eq!(
        sequences(
            &store
                .load(&branch("x"), 0, None, Some(0))
                .expect("loads")
                .data
        ),
        [0]
    );
}

/// EDN-9: an implicit first write starts where its writer saw main's end; never beyond.
#[test]
fn implicit_first_writes_pin_what_was_seen() {
    let store = Fixture::new();
    must(&store, &main_stream(), 0, 3);
    let refused = put(&store, append(&branch("x"), 4, 1));
    assert_eq!(
        refused,
        Err(Error::SequenceConflict {
            expected: 4,
            actual: 3
        })
    );
    must(&store, &branch("x"), 2, 1);
    assert_eq!(store.divergence(&branch("x")), Ok(Some(2)));
    let refused = put(&store, append(&branch("x"), 2, 1));
    assert_eq!(
        refused,
        Err(Error::SequenceConflict {
            expected: 2,
            actual: 3
        })
    );
}

/// SNAP-10: main's snapshots serve below D, a branch's own from there.
#[test]
fn snapshots_of_main_serve_branches_below_their_divergence() {
    let store = Fixture::new();
    must(&store, &main_stream(), 0, 10);
    let policy = SnapshotPolicy {
        keep_last: 9,
        max_age_s: 0,
    };
    for sequence in [3, 7] {
        let stream = main_stream();
        let put = Write::PutSnapshot {
            stream,
            snapshot: snapshot(sequence),
            policy,
            now_ns: 1,
        };
        store.write(put).expect("puts");
    }
    let latest = |at| {
        sequences(
            &store
                .load_latest(&branch("x"), Some(at))
                .expect("loads")
                .data,
        )
    };
    assert_eq!(latest(3), [0, 1, 2]);
    assert_eq!(latest(4), [] as [u64; 0]);
    assert_eq!(latest(7), [4, 5, 6]);
    assert_eq!(latest(9), [8]);
    put(
        &store,
        Append {
            snapshot: Some(snapshot(5)),
            divergence: Some(5),
            ..append(&branch("x"), 5, 2)
        },
    )
    .expect("appends");
    assert_eq!(latest(5), [6]);
}

/// SNAP-12: no read begins at a snapshot that was deleted, hot or not.
#[test]
fn all_snapshots_of_a_domain_are_deleted() {
    let store = Fixture::new();
    for (domain, edition) in [("account", MAIN), ("account", "x"), ("hand", MAIN)] {
        let stream = stream(domain, edition, 1);
        let with_snapshot = Append {
            snapshot: Some(snapshot(1)),
            ..append(&stream, 0, 3)
        };
        put(&store, with_snapshot).expect("appends");
        store.load_latest(&stream, None).expect("loads");
    }
    let delete = |edition: Option<&str>| {
        store.write(Write::DeleteAllSnapshots {
            domain: "account".into(),
            edition: edition.map(str::to_owned),
        })
    };
    assert_eq!(delete(Some("x")), Ok(Written::Count(1)));
    assert_eq!(delete(None), Ok(Written::Count(1)));
    assert_eq!(delete(None), Ok(Written::Count(0)));
    let latest = |stream: Stream| {
        let book = store.load_latest(&stream, None).expect("loads");
        sequences(&book.data)
    };
    assert_eq!(latest(main_stream()), [0, 1, 2]);
    assert_eq!(latest(branch("x")), [0, 1, 2]);
    assert_eq!(latest(stream("hand", MAIN, 1)), [2]);
}

/// EDN-14, EDN-17, STO-43: delete everything, scoped, idempotent; the name may be used again.
#[test]
fn a_deleted_edition_is_gone_and_may_come_back() {
    let store = Fixture::new();
    must(&store, &main_stream(), 0, 3);
    let key = Some(Key::External(b"k".to_vec()));
    let first = Append {
        key: key.clone(),
        snapshot: Some(snapshot(1)),
        divergence: Some(1),
        ..append(&branch("x"), 1, 2)
    };
    put(&store, first).expect("appends");
    forked(&store, "y", 2).expect("appends");
    let consumer = "c".to_owned();
    store
        .write(Write::PutPosition {
            consumer,
            stream: branch("x"),
            sequence: 2,
        })
        .expect("puts");
    let delete = || {
        store.write(Write::DeleteEdition {
            domain: "account".into(),
            edition: "x".into(),
        })
    };
    assert_eq!(delete(), Ok(Written::Count(2)));
    assert_eq!(delete(), Ok(Written::Count(0)));
    assert_eq!(
        store.editions("account"),
        Ok(vec![MAIN.to_owned(), "y".to_owned()])
    );
    assert_eq!(store.find_key(&branch("x"), &key.expect("a key")), Ok(None));
    assert_eq!(store.snapshot_get(&branch("x")), Ok(None));
    assert_eq!(store.position("c", &branch("x")), Ok(None));
    assert_eq!(store.next_sequence(&branch("x"), None), Ok(3));
    let positions: Vec<_> = log(&store)
        .into_iter()
        .map(|(first, last, _)| (first, last))
        .collect();
    assert_eq!(positions, [(1, 3), (6, 6)]);
    forked(&store, "x", 0).expect("diverges anew");
    let store = store.reopened();
    assert_eq!(store.divergence(&branch("x")), Ok(Some(0)));
    assert_eq!(store.log_head(), Ok(7));
    store.verify().expect("sound");
}

/// EDN-14: more records than are deleted one by one; what lies beside them stays.
#[test]
fn large_editions_are_deleted_as_a_whole() {
    let store = Fixture::new();
    for edition in ["w", "x", "y"] {
        for first in 0..if edition == "x" { 1500 } else { 3 } {
            must(&store, &branch(edition), first, 1);
        }
    }
    let delete = Write::DeleteEdition {
        domain: "account".into(),
        edition: "x".into(),
    };
    assert_eq!(store.write(delete), Ok(Written::Count(1500)));
    assert_eq!(store.next_sequence(&branch("x"), None), Ok(0));
    must(&store, &branch("x"), 0, 1);
    for (edition, next) in [("w", 3), ("x", 1), ("y", 3)] {
        assert_eq!(store.next_sequence(&branch(edition), None), Ok(next));
    }
    store.verify().expect("sound");
}

/// EDN-15: main, an empty domain, pending pages.
#[test]
fn what_must_not_be_deleted_is_refused() {
    let store = Fixture::new();
    must(&store, &main_stream(), 0, 1);
    put(&store, pending_append(&branch("x"), 1, 1, "c1")).expect("appends");
    let delete = |domain: &str, edition: &str| {
        store.write(Write::DeleteEdition {
            domain: domain.into(),
            edition: edition.into(),
        })
    };
    for edition in ["", MAIN] {
        assert_eq!(
            delete("account", edition),
            Err(Error::MainProtected("account".into()))
        );
    }
    assert!(matches!(delete("", "x"), Err(Error::InvalidInput { .. })));
    let (domain, edition) = ("account".to_owned(), "x".to_owned());
    let pending = Error::PendingPages {
        domain,
        edition,
        cascade_ids: vec!["c1".into()],
    };
    assert_eq!(delete("account", "x"), Err(pending));
}

/// STO-41, EDN-10: names and roots are exact, editions isolated.
#[test]
fn names_and_roots_are_listed_per_edition() {
    let store = Fixture::new();
    for (domain, edition, root) in [("b", MAIN, 2), ("b", MAIN, 1), ("a", "x", 3), ("b", "x", 4)] {
        must(&store, &stream(domain, edition, root), 0, 2);
    }
    assert_eq!(store.domains(), Ok(vec!["a".to_owned(), "b".to_owned()]));
    assert_eq!(
        store.editions("b"),
        Ok(vec![MAIN.to_owned(), "x".to_owned()])
    );
    assert_eq!(store.roots("b", MAIN), Ok(vec![[1; 16], [2; 16]]));
    assert_eq!(store.roots("b", ""), Ok(vec![[1; 16], [2; 16]]));
    assert_eq!(store.roots("b", "x"), Ok(vec![[4; 16]]));
    assert_eq!(store.roots("b", "z"), Ok(Vec::new()));
}
