use super::*;

fn names(entries: &[(u64, u64, Vec<(u64, String)>)]) -> Vec<(u64, &str)> {
    let pages = entries.iter().flat_map(|(_, _, pages)| pages);
    pages
        .map(|(sequence, name)| (*sequence, name.as_str()))
        .collect()
}

/// CAS-9's example: 0 committed, 1 pending A, 2 committed; the commit publishes 1, 2, 3 (NoOp).
#[test]
fn publication_is_held_until_resolved() {
    let store = Fixture::new();
    must(&store, &main_stream(), 0, 1);
    put(&store, pending_append(&main_stream(), 1, 1, "A")).expect("appends");
    must(&store, &main_stream(), 2, 1);
    assert_eq!(names(&log(&store)), [(0, "y")]);
    store.verify().expect("sound while held");
    let store = store.reopened();
    decide(&store, "A", Verdict::Commit);
    let marker = resolve(&store, &main_stream(), "A").expect("a marker");
    assert_eq!(
        wire::Page::parse(&marker).expect("a page").type_name,
        "angzarr.Confirmation"
    );
    let entries = log(&store);
    assert_eq!(
        names(&entries),
        [(0, "y"), (1, "y"), (2, "y"), (3, "angzarr.NoOp")]
    );
    assert_eq!(
        entries.iter().map(|entry| entry.1).collect::<Vec<_>>(),
        [1, 2, 3, 4]
    );
    let published = store.tail(1, 1).expect("reads").remove(0).book;
    assert!(
        published
            .windows(5)
            .any(|part| part == [48, 1, 58, 1, b'A']),
        "committed=true"
    );
    assert_eq!(resolve(&store, &main_stream(), "A"), None);
    assert!(
        !store
            .load(&main_stream(), 0, None, None)
            .expect("loads")
            .is_plain
    );
    store.verify().expect("sound");
}

/// CAS-9: release goes up to the next unresolved page; revoked pages become NoOps.
#[test]
fn release_stops_at_the_next_unresolved_page() {
    let store = Fixture::new();
    put(&store, pending_append(&main_stream(), 0, 2, "A")).expect("appends");
    must(&store, &main_stream(), 2, 1);
    put(&store, pending_append(&main_stream(), 3, 1, "B")).expect("appends");
    must(&store, &main_stream(), 4, 1);
    decide(&store, "A", Verdict::Rollback);
    resolve(&store, &main_stream(), "A").expect("a marker");
    assert_eq!(
        names(&log(&store)),
        [(0, "angzarr.NoOp"), (1, "angzarr.NoOp"), (2, "y")]
    );
    let store = store.reopened();
    decide(&store, "B", Verdict::Commit);
    resolve(&store, &main_stream(), "B").expect("a marker");
    let entries = log(&store);
    assert_eq!(
        names(&entries)[3..],
        [(3, "y"), (4, "y"), (5, "angzarr.NoOp"), (6, "angzarr.NoOp")]
    );
    store.verify().expect("sound");
}

/// CAS-3, CAS-11: the first decision wins; later pages of the cascade are refused.
#[test]
fn the_first_decision_is_in_force() {
    let store = Fixture::new();
    put(&store, pending_append(&main_stream(), 0, 1, "A")).expect("appends");
    assert_eq!(
        decide(&store, "A", Verdict::Rollback),
        decide(&store, "A", Verdict::Commit)
    );
    let refused = put(&store, pending_append(&main_stream(), 1, 1, "A"));
    let (cascade_id, reason) = ("A".to_owned(), "why".to_owned());
    assert_eq!(
        refused,
        Err(Error::CascadeDecided {
            cascade_id,
            is_commit: false,
            reason
        })
    );
    let (stream, correlation_id) = (main_stream(), String::new());
    let unknown = Write::Resolve {
        stream,
        correlation_id,
        cascade_id: "Z".into(),
        now_ns: 1,
    };
    assert_eq!(store.write(unknown), Err(Error::UnknownCascade("Z".into())));
}

/// CAS-31, STO-45: strict threshold, ascending; decided ones are unfinished instead; participants only unresolved.
#[test]
fn stale_unfinished_and_participants() {
    let store = Fixture::new();
    let other = stream("account", "x", 2);
    put(&store, pending_append(&main_stream(), 0, 2, "B")).expect("appends");
    put(&store, pending_append(&main_stream(), 2, 1, "A")).expect("appends");
    put(&store, pending_append(&other, 0, 1, "B")).expect("appends");
    assert_eq!(store.stale_cascades(0), Ok(Vec::new()));
    assert_eq!(
        store.stale_cascades(2_000_000_000),
        Ok(vec!["B".to_owned()])
    );
    assert_eq!(
        store.stale_cascades(2_000_000_001),
        Ok(vec!["A".to_owned(), "B".to_owned()])
    );
    let sequences = |id: &str| {
        let found = store.participants(id).expect("reads").into_iter();
        found
            .map(|one| (one.stream.edition, one.sequences))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        sequences("B"),
        [(MAIN.to_owned(), vec![0, 1]), ("x".to_owned(), vec![0])]
    );
    assert_eq!(store.pending(&main_stream()).expect("reads").len(), 3);
    decide(&store, "B", Verdict::Commit);
    assert_eq!(store.unfinished_cascades(), Ok(vec!["B".to_owned()]));
    assert_eq!(store.stale_cascades(i64::MAX), Ok(vec!["A".to_owned()]));
    resolve(&store, &main_stream(), "B").expect("a marker");
    assert_eq!(sequences("B"), [("x".to_owned(), vec![0])]);
    resolve(&store, &other, "B").expect("a marker");
    assert_eq!(store.unfinished_cascades(), Ok(Vec::new()));
    assert_eq!(sequences("B"), []);
}

/// CMD-28, STO-44: a wholly revoked acceptance is replaced.
#[test]
fn a_revoked_acceptance_does_not_count() {
    let store = Fixture::new();
    let key = Key::Provenance(b"k".to_vec());
    let with_key = |append| Append {
        key: Some(key.clone()),
        ..append
    };
    put(&store, with_key(pending_append(&main_stream(), 0, 1, "A"))).expect("appends");
    assert!(
        store
            .find_key(&main_stream(), &key)
            .expect("reads")
            .is_some()
    );
    decide(&store, "A", Verdict::Rollback);
    assert_eq!(store.find_key(&main_stream(), &key), Ok(None));
    let again = put(&store, with_key(append(&main_stream(), 1, 1)));
    assert_eq!(again, Ok(Written::Appended { first: 1, last: 1 }));
    assert_eq!(
        store
            .find_key(&main_stream(), &key)
            .expect("reads")
            .expect("there")
            .pages,
        [page(1, "")]
    );
}

/// SNAP-5: no snapshot at or above a pending page, inherited ones included.
#[test]
fn snapshots_over_pending_pages_are_dropped() {
    let store = Fixture::new();
    must(&store, &main_stream(), 0, 2);
    put(&store, pending_append(&main_stream(), 2, 1, "A")).expect("appends");
    let with = |sequence, append| Append {
        snapshot: Some(snapshot(sequence)),
        ..append
    };
    put(&store, with(3, append(&main_stream(), 3, 1))).expect("appends");
    assert_eq!(store.snapshot_get(&main_stream()), Ok(None));
    let branch = stream("account", "x", 1);
    put(&store, with(4, append(&branch, 4, 1))).expect("appends");
    assert_eq!(store.snapshot_get(&branch), Ok(None));
    put(&store, with(1, append(&main_stream(), 4, 1))).expect("appends");
    assert_eq!(store.snapshot_get(&main_stream()), Ok(Some(snapshot(1))));
}
