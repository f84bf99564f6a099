use super::*;

/// STO-10, STO-41.
#[test]
fn pages_come_back_as_given_with_the_next_sequence() {
    let store = Fixture::new();
    let written = put(&store, append(&main_stream(), 0, 3)).expect("appends");
    assert_eq!(written, Written::Appended { first: 0, last: 2 });
    for _ in 0..2 {
        let book = store.load(&main_stream(), 0, None, None).expect("loads");
        assert_eq!(
            (sequences(&book.data), book.next_sequence, book.is_plain),
            (vec![0, 1, 2], 3, true)
        );
        assert!(book.data.ends_with(&[48, 3]));
    }
}

/// STO-41: ranges full, partial, single, empty, past the end; the same from disk and from the hot tail.
#[test]
fn ranges_are_the_same_cached_and_not() {
    let store = Fixture::new();
    for (first, count) in [(0, 1), (1, 3), (4, 5), (9, 3)] {
        must(&store, &main_stream(), first, count);
    }
    let read_all = || {
        let mut found = Vec::new();
        for start in 0..14 {
            for stop in (0..14).map(Some).chain([None]) {
                found.push(
                    store
                        .load(&main_stream(), start, stop, None)
                        .expect("loads"),
                );
            }
        }
        found
    };
    let ranges = |books: &[Book]| {
        books
            .iter()
            .map(|book| sequences(&book.data))
            .collect::<Vec<_>>()
    };
    let cold: Vec<Book> = read_all();
    let wanted: Vec<Vec<u64>> = (0..14u64)
        .flat_map(|start| {
            (0..14u64)
                .chain([99])
                .map(move |stop| (start..stop.min(12)).collect())
        })
        .collect();
    assert_eq!(ranges(&cold), wanted);
    assert!(cold.iter().all(|book| book.next_sequence == 12));
    store
        .load(&main_stream(), 0, None, None)
        .expect("fills the tail");
    assert_eq!(read_all(), cold);
}

/// STO-10: a conflict carries the actual sequence and writes nothing.
#[test]
fn a_conflict_writes_nothing() {
    let store = Fixture::new();
    must(&store, &main_stream(), 0, 2);
    for expected in [0, 1, 3] {
        let refused = put(&store, append(&main_stream(), expected, 1));
        assert_eq!(
            refused,
            Err(Error::SequenceConflict {
                expected,
                actual: 2
            })
        );
    }
    assert_eq!(store.log_head(), Ok(2));
}

/// STO-11: headers are expected_sequence + i; no pages only with a key or a snapshot. STO-6: limits.
#[test]
fn malformed_appends_are_refused() {
    let store = Fixture::new();
    let gap = Append {
        pages: vec![page(0, ""), page(2, "")],
        ..append(&main_stream(), 0, 0)
    };
    let garbage = Append {
        pages: vec![vec![10, 200]],
        ..append(&main_stream(), 0, 0)
    };
    for refused in [gap, garbage, append(&main_stream(), 0, 0)] {
        assert!(matches!(
            put(&store, refused),
            Err(Error::InvalidInput { .. })
        ));
    }
    assert!(matches!(
        put(&store, append(&main_stream(), 0, 1001)),
        Err(Error::TooLarge { .. })
    ));
    let answer = vec![0; (64 << 10) + 1];
    let refused = Append {
        answer,
        ..append(&main_stream(), 0, 1)
    };
    assert!(matches!(put(&store, refused), Err(Error::TooLarge { .. })));
    assert_eq!(store.next_sequence(&main_stream(), None), Ok(0));
}

/// STO-12: a known key answers with its range before any other check; empty acceptances keep their answer.
#[test]
fn a_known_key_is_a_duplicate() {
    let store = Fixture::new();
    let key = Some(Key::Provenance(b"k".to_vec()));
    put(
        &store,
        Append {
            key: key.clone(),
            ..append(&main_stream(), 0, 2)
        },
    )
    .expect("appends");
    let again = put(
        &store,
        Append {
            key: key.clone(),
            ..append(&main_stream(), 77, 1)
        },
    );
    assert_eq!(again, Ok(Written::Duplicate { first: 0, last: 1 }));
    let other = Some(Key::External(b"k".to_vec()));
    let empty = Append {
        key: other.clone(),
        answer: b"a".to_vec(),
        ..append(&main_stream(), 2, 0)
    };
    assert_eq!(
        put(&store, empty),
        Ok(Written::Appended { first: 2, last: 1 })
    );
    let found = store
        .find_key(&main_stream(), &other.expect("a key"))
        .expect("reads");
    assert_eq!(
        found,
        Some(Accepted {
            pages: Vec::new(),
            answer: b"a".to_vec()
        })
    );
    let store = store.reopened();
    let found = store
        .find_key(&main_stream(), &key.expect("a key"))
        .expect("reads")
        .expect("there");
    assert_eq!(found.pages, [page(0, ""), page(1, "")]);
}

/// STO-42: per stream only the pages with the id.
#[test]
fn correlated_pages_are_found_per_stream() {
    let store = Fixture::new();
    for (domain, first, id) in [
        ("b", 0, "x"),
        ("a", 0, "x"),
        ("b", 1, "y"),
        ("b", 2, "x"),
        ("c", 0, "xx"),
    ] {
        let stream = stream(domain, MAIN, 1);
        put(
            &store,
            Append {
                correlation_id: id.into(),
                ..append(&stream, first, 1)
            },
        )
        .expect("appends");
    }
    let books = store.by_correlation("x", None, None).expect("reads");
    let found: Vec<_> = books
        .iter()
        .map(|book| (sequences(&book.data), book.next_sequence))
        .collect();
    assert_eq!(found, [(vec![0], 1), (vec![0, 2], 3)]);
    assert!(
        store
            .by_correlation("", None, None)
            .expect("reads")
            .is_empty()
    );
}

/// STO-15, STO-41: instants, pages without a time counting as 0.
#[test]
fn load_until_compares_instants() {
    let store = Fixture::new();
    must(&store, &main_stream(), 0, 5);
    let until = |ns| {
        sequences(
            &store
                .load_until(&main_stream(), ns, None)
                .expect("loads")
                .data,
        )
    };
    assert_eq!(until(2_000_000_000), [0, 1, 2]);
    assert_eq!(until(1_999_999_999), [0, 1]);
    assert_eq!(until(-1), [] as [u64; 0]);
}

/// STO-16: many pages in large chunks.
#[test]
fn large_appends_are_split_and_read_back() {
    let store = Fixture::new();
    let mut large = append(&main_stream(), 0, 40);
    for page in &mut large.pages {
        page.extend_from_slice(&[0xFA, 1, 0x88, 0x27]);
        page.extend_from_slice(&[7; 5000]);
    }
    let pages = large.pages.clone();
    put(&store, large).expect("appends");
    must(&store, &main_stream(), 40, 1);
    let part = store
        .load(&main_stream(), 11, Some(33), None)
        .expect("loads");
    assert_eq!(sequences(&part.data), (11..33).collect::<Vec<_>>());
    let entries = store.tail(0, 10).expect("reads");
    assert_eq!(
        (
            entries.len(),
            entries[0].first_position,
            entries[0].position
        ),
        (2, 1, 40)
    );
    let book = store
        .load(&main_stream(), 0, Some(40), None)
        .expect("loads");
    assert!(
        pages
            .iter()
            .all(|page| book.data.windows(page.len()).any(|part| part == page))
    );
    store.verify().expect("sound");
}

/// STO-14: what an append wrote is read for the log in one get, or out of several chunks, or out of the hot tail.
#[test]
fn log_entries_are_the_same_cached_and_not() {
    let store = Fixture::new();
    must(&store, &main_stream(), 0, 1);
    let mut large = append(&main_stream(), 1, 20);
    for page in &mut large.pages {
        page.extend_from_slice(&[0xFA, 1, 0x88, 0x27]);
        page.extend_from_slice(&[7; 5000]);
    }
    put(&store, large).expect("appends");
    must(&store, &main_stream(), 21, 3);
    let cold = store.tail(0, 10).expect("reads");
    store
        .load(&main_stream(), 0, None, None)
        .expect("fills the tail");
    assert_eq!(store.tail(0, 10).expect("reads"), cold);
    assert_eq!(
        cold.iter()
            .map(|entry| sequences(&entry.book).len())
            .collect::<Vec<_>>(),
        [1, 20, 3]
    );
}

/// STO-48, SNAP-10: the newest usable snapshot and the pages after it, also when the append brought it.
#[test]
fn load_latest_is_snapshot_and_tail() {
    let store = Fixture::new();
    must(&store, &main_stream(), 0, 3);
    let latest = || store.load_latest(&main_stream(), None).expect("loads");
    assert_eq!(sequences(&latest().data), [0, 1, 2]);
    put(
        &store,
        Append {
            snapshot: Some(snapshot(3)),
            ..append(&main_stream(), 3, 1)
        },
    )
    .expect("appends");
    must(&store, &main_stream(), 4, 1);
    for _ in 0..2 {
        assert_eq!(sequences(&latest().data), [4]);
        assert_eq!(latest().next_sequence, 5);
    }
    let policy = SnapshotPolicy {
        keep_last: 1,
        max_age_s: 0,
    };
    let ahead = Write::PutSnapshot {
        stream: main_stream(),
        snapshot: snapshot(9),
        policy,
        now_ns: 1,
    };
    store.write(ahead).expect("puts");
    assert_eq!(store.snapshot_get(&main_stream()), Ok(Some(snapshot(9))));
    assert_eq!(store.snapshot_get_at(&main_stream(), 8), Ok(None));
    assert_eq!(sequences(&latest().data), [0, 1, 2, 3, 4]);
    must(&store, &main_stream(), 5, 6);
    assert_eq!(sequences(&latest().data), [10]);
    let deleted = store.write(Write::DeleteSnapshots {
        stream: main_stream(),
    });
    assert_eq!(deleted, Ok(Written::Count(1)));
    assert_eq!(sequences(&latest().data), (0..11).collect::<Vec<_>>());
}

/// STO-22, STO-49: monotonic, isolated, reset, leases.
#[test]
fn positions_cursors_and_leases() {
    let store = Fixture::new();
    let position = |sequence| {
        store.write(Write::PutPosition {
            consumer: "c".into(),
            stream: main_stream(),
            sequence,
        })
    };
    assert_eq!(store.position("c", &main_stream()), Ok(None));
    assert_eq!(position(0), Ok(Written::Value(0)));
    assert_eq!(position(5), Ok(Written::Value(5)));
    assert_eq!(position(3), Ok(Written::Value(5)));
    let cursor = Write::PutCursor {
        consumer: "c".into(),
        position: 7,
    };
    assert_eq!(store.write(cursor), Ok(Written::Value(7)));
    let lease = |holder: &str, ttl_ns, now_ns| {
        let (consumer, holder) = ("c".into(), holder.into());
        store.write(Write::Lease {
            consumer,
            partition: 0,
            holder,
            ttl_ns,
            now_ns,
        })
    };
    assert_eq!(lease("a", 10, 0), Ok(Written::Flag(true)));
    assert_eq!(lease("b", 10, 9), Ok(Written::Flag(false)));
    assert_eq!(lease("b", 0, 9), Ok(Written::Flag(false)));
    assert_eq!(lease("b", 10, 10), Ok(Written::Flag(true)));
    assert_eq!(lease("b", 0, 11), Ok(Written::Flag(true)));
    assert_eq!(lease("a", 1, 12), Ok(Written::Flag(true)));
    store
        .write(Write::ResetConsumer {
            consumer: "c".into(),
        })
        .expect("resets");
    assert_eq!(
        (store.position("c", &main_stream()), store.cursor("c")),
        (Ok(None), Ok(None))
    );
    assert_eq!(lease("z", 1, 12), Ok(Written::Flag(false)));
    assert!(store.domains().expect("reads").is_empty());
}

/// STO-23: records are written with the append, and once.
#[test]
fn records_are_ordered_and_written_with_appends() {
    let store = Fixture::new();
    let new = |key: &[u8], value: &[u8]| RecordOp::PutNew {
        space: "s".into(),
        key: key.into(),
        value: value.into(),
    };
    let records = vec![new(b"b", b"1"), new(b"b", b"2"), new(b"a", b"3")];
    put(
        &store,
        Append {
            records: records.clone(),
            ..append(&main_stream(), 0, 1)
        },
    )
    .expect("appends");
    put(
        &store,
        Append {
            records,
            ..append(&main_stream(), 9, 1)
        },
    )
    .expect_err("a conflict");
    store
        .write(Write::Records(vec![new(b"a", b"x"), new(b"c", b"4")]))
        .expect("writes");
    let scan = |from: Option<&[u8]>, limit, reverse| {
        let rows = store.records("s", from, limit, reverse).expect("reads");
        rows.into_iter()
            .map(|(key, value)| [key, value].concat())
            .collect::<Vec<_>>()
    };
    assert_eq!(scan(None, 9, false), [b"a3", b"b1", b"c4"]);
    assert_eq!(scan(Some(b"b"), 9, false), [b"b1", b"c4"]);
    assert_eq!(scan(None, 2, true), [b"c4", b"b1"]);
    assert_eq!(scan(Some(b"b"), 9, true), [b"a3"]);
    assert_eq!(store.record("s", b"b"), Ok(Some(b"1".to_vec())));
    store
        .write(Write::Records(vec![RecordOp::Delete {
            space: "s".into(),
            key: b"b".to_vec(),
        }]))
        .expect("writes");
    assert_eq!(store.record("s", b"b"), Ok(None));
}

/// STO-5: after close everything is refused.
#[test]
fn a_closed_store_refuses() {
    let store = Fixture::new();
    let (sender, woken) = std::sync::mpsc::channel();
    store
        .notify_after(0, Box::new(move || sender.send(()).expect("listens")))
        .expect("waits");
    store.close().expect("closes");
    store.close().expect("is idempotent");
    woken.recv().expect("close wakes");
    assert_eq!(
        store.load(&main_stream(), 0, None, None),
        Err(Error::Closed)
    );
    assert_eq!(
        put(&store, append(&main_stream(), 0, 1)),
        Err(Error::Closed)
    );
}

/// STO-46: a waiter is woken once by the entry after its position, not by one at it, nor when it forgot.
#[test]
fn waiters_are_woken_by_later_entries() {
    let store = Fixture::new();
    let (sender, woken) = std::sync::mpsc::channel();
    let wait = |after: u64| {
        let sender = sender.clone();
        store
            .notify_after(
                after,
                Box::new(move || sender.send(after).expect("listens")),
            )
            .expect("waits")
    };
    wait(0);
    wait(1);
    let forgotten = wait(1);
    store.forget(forgotten);
    must(&store, &main_stream(), 0, 1);
    assert_eq!(woken.recv(), Ok(0));
    must(&store, &main_stream(), 1, 1);
    assert_eq!(woken.recv(), Ok(1));
    wait(1);
    assert_eq!(woken.recv(), Ok(1));
    assert!(woken.try_recv().is_err());
}

/// A cached stream without pages once panicked when read from beyond its end; found by the model test.
#[test]
fn a_cached_empty_stream_has_nothing_anywhere() {
    let store = Fixture::new();
    must(&store, &stream("account", MAIN, 2), 0, 1);
    for (start, stop) in [(0, None), (0, None), (3, None), (3, Some(1)), (0, Some(9))] {
        let book = store
            .load(&main_stream(), start, stop, None)
            .expect("loads");
        assert_eq!((sequences(&book.data), book.next_sequence), (vec![], 0));
    }
}
