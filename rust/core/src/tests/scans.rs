use proptest::prelude::*;

use super::*;

fn scan(after: u64, limit: u64) -> Scan {
    Scan {
        after,
        limit,
        editions: None,
        domains: None,
        fields: Vec::new(),
        bytes_max: SCAN_BYTES_MAX,
    }
}

fn u64s(bytes: &[u8]) -> Vec<u64> {
    let number = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().expect("8 bytes"));
    bytes.chunks_exact(8).map(number).collect()
}

fn u32s(bytes: &[u8]) -> Vec<u32> {
    let number = |bytes: &[u8]| u32::from_le_bytes(bytes.try_into().expect("4 bytes"));
    bytes.chunks_exact(4).map(number).collect()
}

/// A row: position, sequence, domain, edition, first byte of the root.
type Row = (u64, u64, String, String, u8);

fn rows(columns: &Columns) -> Vec<Row> {
    let (domains, editions) = (u32s(&columns.domains), u32s(&columns.editions));
    let sequences = u32s(&columns.sequences);
    let row = |(index, position): (usize, u64)| {
        let name = |names: &[String], codes: &[u32]| names[codes[index] as usize].clone();
        (
            position,
            sequences[index].into(),
            name(&columns.domain_names, &domains),
            name(&columns.edition_names, &editions),
            columns.roots[16 * index],
        )
    };
    u64s(&columns.positions)
        .into_iter()
        .enumerate()
        .map(row)
        .collect()
}

/// All rows, by scans of `limit` positions.
fn all_rows(engine: &Engine, limit: u64) -> Vec<Row> {
    let (mut found, mut after) = (Vec::new(), 0);
    loop {
        let columns = engine.scan(&scan(after, limit)).expect("scans");
        assert_eq!(columns.count as usize, rows(&columns).len());
        found.extend(rows(&columns));
        if columns.last == after {
            return found;
        }
        after = columns.last;
    }
}

/// What the log shows of one stream.
fn shown_rows(engine: &Engine, stream: &Stream) -> Vec<Row> {
    let mut found = Vec::new();
    for entry in engine.tail(0, usize::MAX).expect("reads") {
        let cover = |id| wire::book(crate::read::cover(stream, id), None, &[], 0);
        if entry.book.starts_with(&cover("")) || entry.book.starts_with(&cover("corr")) {
            for (position, (sequence, name)) in (entry.first_position..).zip(shown(&entry.book)) {
                if !wire::is_framework(&name) {
                    let (domain, edition) = (stream.domain.clone(), stream.edition.clone());
                    found.push((position, sequence, domain, edition, stream.root[0]));
                }
            }
        }
    }
    found
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// STO-17: any order of appends, pending ones, resolutions and deletions; scans of any size.
    #[test]
    fn rows_are_what_the_tail_shows(steps in proptest::collection::vec((0usize..4, 1u64..5, 0u8..8), 1..40), limit in 1u64..12) {
        let store = Fixture::new();
        let streams = [main_stream(), stream("account", "x", 1), stream("account", MAIN, 2), stream("hand", MAIN, 1)];
        for (index, (which, count, what)) in steps.into_iter().enumerate() {
            let stream = &streams[which];
            let next = store.next_sequence(stream, None).expect("reads");
            let pending = store.pending(stream).expect("reads");
            match (what, pending.first()) {
                (0, _) => {
                    let append = pending_append(stream, next, count, &format!("c{index}"));
                    put(&store, append).expect("appends");
                }
                (1 | 2, Some(page)) => {
                    let verdict = if what == 1 { Verdict::Commit } else { Verdict::Rollback };
                    decide(&store, &page.cascade_id, verdict);
                    resolve(&store, stream, &page.cascade_id).expect("a marker");
                }
                (3, None) if stream.edition != MAIN => {
                    let (domain, edition) = (stream.domain.clone(), stream.edition.clone());
                    store.write(Write::DeleteEdition { domain, edition }).expect("deletes");
                }
                _ => must(&store, stream, next, count),
            }
        }
        let mut wanted: Vec<Row> = streams.iter().flat_map(|stream| shown_rows(&store, stream)).collect();
        wanted.sort();
        prop_assert_eq!(&all_rows(&store, limit), &wanted);
        prop_assert_eq!(all_rows(&store, u64::MAX), wanted);
    }
}

/// More pages than one thread reads, of streams that are all open at once; commits of several chunks.
#[test]
fn a_window_that_threads_share_comes_in_the_logs_order() {
    let store = Fixture::new();
    for round in 0..20 {
        for root in 0..=255 {
            must(&store, &stream("account", MAIN, root), 4 * round, 4);
        }
    }
    let columns = store.scan(&scan(0, u64::MAX)).expect("scans");
    let found = rows(&columns);
    assert_eq!(found.len(), 20 * 256 * 4);
    for (index, (position, sequence, _, _, root)) in (0u64..).zip(found) {
        let (round, rest) = (index / 1024, index % 1024);
        let wanted = (index + 1, 4 * round + rest % 4, rest / 4);
        assert_eq!((position, sequence, u64::from(root)), wanted);
    }
}

/// More than steps are tried for, and more streams than seeks are made before steps are tried again.
#[test]
fn commits_that_lie_far_apart_are_found() {
    let store = Fixture::new();
    let streams: Vec<Stream> = (0..600u16)
        .map(|number| {
            let mut stream = main_stream();
            stream.root[..2].copy_from_slice(&number.to_be_bytes());
            stream
        })
        .collect();
    for stream in &streams {
        (0..30).for_each(|sequence| must(&store, stream, sequence, 1));
    }
    let before = store.log_head().expect("reads");
    for stream in streams.iter().rev() {
        must(&store, stream, 30, 2);
    }
    let columns = store.scan(&scan(before, u64::MAX)).expect("scans");
    let wanted: Vec<u32> = [30, 31].repeat(600);
    assert_eq!(u32s(&columns.sequences), wanted);
    let first_roots = columns.roots.chunks(32).map(|root| root[..2].to_vec());
    let wanted = (0..600u16)
        .rev()
        .map(|number| number.to_be_bytes().to_vec());
    assert!(first_roots.eq(wanted));
}

fn payload_scan(after: u64, bytes_max: usize) -> Scan {
    let paths = Vec::new();
    Scan {
        fields: vec![FieldSpec {
            kind: FieldKind::Payload,
            paths,
        }],
        bytes_max,
        ..scan(after, u64::MAX)
    }
}

/// A page with a payload of `size` bytes.
fn large_page(sequence: u64, size: usize) -> Vec<u8> {
    let put_bytes = |out: &mut Vec<u8>, tag: u8, bytes: &[u8]| {
        out.push(tag);
        wire::put_varint(out, bytes.len() as u64);
        out.extend_from_slice(bytes);
    };
    let (mut header, mut event, mut page) = (vec![8], Vec::new(), Vec::new());
    wire::put_varint(&mut header, sequence);
    put_bytes(&mut event, 10, b"x/y");
    put_bytes(&mut event, 18, &vec![7; size]);
    put_bytes(&mut page, 10, &header);
    put_bytes(&mut page, 26, &event);
    page
}

#[test]
fn many_bytes_make_a_scan_shorter_but_never_empty() {
    let store = Fixture::new();
    for sequence in 0..40 {
        let pages = vec![large_page(sequence, 10_000)];
        let append = Append {
            pages,
            ..append(&main_stream(), sequence, 1)
        };
        put(&store, append).expect("appends");
    }
    let (mut after, mut row_count, mut scan_count) = (0, 0, 0);
    loop {
        let columns = store.scan(&payload_scan(after, 55_000)).expect("scans");
        if columns.last == after {
            break;
        }
        assert!(columns.fields[0].values.len() <= 60_000);
        row_count += columns.count;
        (after, scan_count) = (columns.last, scan_count + 1);
    }
    assert_eq!(row_count, 40);
    assert!(scan_count < 20, "{scan_count}");
    let single = store.scan(&payload_scan(0, 1)).expect("scans");
    assert_eq!((single.count, single.last), (1, 1));
}

#[test]
fn a_page_that_does_not_parse_is_told() {
    let store = Fixture::new();
    must(&store, &main_stream(), 0, 2);
    store.close().expect("closes");
    let opened = crate::open::open(options(store.dir.path()), Failpoints::default());
    let opened = opened.expect("opens").store;
    let own = opened.timelines.stream(&main_stream()).expect("known");
    let (events, key) = (crate::key::Family::Events, crate::key::page(&own, 0));
    let mut value = opened.get(events, &key).expect("reads").expect("there");
    let last = value.len() - 1;
    value.truncate(last);
    let mut batch = rocksdb::WriteBatch::default();
    batch.put_cf(opened.family(events).expect("there"), key, value);
    opened.db.write_without_wal(batch).expect("writes");
    opened.flush().expect("flushes");
    drop(opened);
    let store = store.reopened();
    let refused = store.scan(&scan(0, 10));
    assert!(matches!(refused, Err(Error::Corrupt { .. })), "{refused:?}");
}
