use proptest::prelude::*;

use super::*;

fn page(
    sequence: u64,
    at_ns: i64,
    type_url: &str,
    is_committed: bool,
    cascade_id: &str,
) -> Vec<u8> {
    let mut header = Vec::new();
    put_number(&mut header, 1, sequence);
    let mut event = Vec::new();
    put_text(&mut event, 1, type_url);
    let mut out = Vec::new();
    put_bytes(&mut out, 1, &header);
    put_bytes(&mut out, 2, &time(at_ns));
    put_bytes(&mut out, 3, &event);
    if is_committed {
        put_number(&mut out, 6, 1);
    }
    put_text(&mut out, 7, cascade_id);
    out
}

proptest! {
    #[test]
    fn varints_round_trip(value: u64) {
        let mut bytes = Vec::new();
        put_varint(&mut bytes, value);
        let mut rest = bytes.as_slice();
        prop_assert_eq!(read_varint(&mut rest), Some(value));
        prop_assert!(rest.is_empty());
    }

    /// STO-15: nanoseconds are kept. WIRE-6: the type is what follows the last slash.
    #[test]
    fn page_heads_round_trip(
        sequence in 0..=u64::from(u32::MAX),
        at_ns in -4_000_000_000_000_000_000i64..4_000_000_000_000_000_000,
        name in "[a-z.]{1,30}", is_committed: bool, cascade_id in "[a-z0-9:]{0,20}",
    ) {
        let bytes = page(sequence, at_ns, &format!("x.y/z/{name}"), is_committed, &cascade_id);
        let head = Page::parse(&bytes).expect("well formed");
        prop_assert_eq!(head.sequence, Some(sequence));
        prop_assert_eq!(head.created_at_ns, at_ns);
        prop_assert_eq!(head.type_name, name.as_str());
        prop_assert_eq!(head.is_committed, is_committed);
        prop_assert_eq!(head.cascade_id, cascade_id.as_str());
    }

    #[test]
    fn frames_round_trip(pages in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..300), 0..8)) {
        let mut frames = Vec::new();
        for page in &pages {
            let before = frames.len();
            put_frame(&mut frames, page);
            prop_assert_eq!(frames.len() - before, frame_len(page.len()));
        }
        let mut rest = frames.as_slice();
        for page in &pages {
            prop_assert_eq!(take_frame(&mut rest).expect("a frame").1, page.as_slice());
        }
        prop_assert!(rest.is_empty() && take_frame(&mut rest).is_none());
    }

    #[test]
    fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
        let _ = Page::parse(&bytes);
        let _ = Snapshot::parse(&bytes);
        let _ = committed(&bytes);
        let _ = take_frame(&mut bytes.as_slice());
    }

    /// CAS-9: pages that were pending are published with committed=true.
    #[test]
    fn committing_a_page_changes_only_the_flag(sequence in 0u64..9, was_committed: bool, cascade_id in "[a-z]{0,5}") {
        let before = page(sequence, 5, "a/b", was_committed, &cascade_id);
        let after = committed(&before).expect("well formed");
        prop_assert_eq!(after, page(sequence, 5, "a/b", true, &cascade_id));
    }
}

/// CAS-7: a NoOp keeps header and created_at.
#[test]
fn a_no_op_stands_for_its_page() {
    let bytes = page(5, 77, "a/b", false, "c");
    let no_op = Page::parse(&bytes)
        .expect("well formed")
        .no_op("c", "revoked");
    let head = Page::parse(&no_op).expect("well formed");
    assert_eq!((head.sequence, head.created_at_ns), (Some(5), 77));
    assert_eq!(head.type_name, "angzarr.NoOp");
    assert!(head.is_committed && head.cascade_id.is_empty());
}

#[test]
fn only_undotted_names_of_the_package_are_framework_events() {
    assert!(is_framework("angzarr.NoOp"));
    for name in [
        "angzarr.",
        "angzarr",
        "angzarr.x.Y",
        "angzarrx.Y",
        "bank.angzarr.Y",
        "",
    ] {
        assert!(!is_framework(name), "{name}");
    }
}

/// WIRE-2: unknown fields are accepted, unknown retentions are the default.
#[test]
fn unknown_fields_and_retentions_are_accepted() {
    let mut bytes = Vec::new();
    put_number(&mut bytes, 2, 9);
    put_number(&mut bytes, 4, 77);
    put_bytes(&mut bytes, 900, b"x");
    let snapshot = Snapshot::parse(&bytes).expect("well formed");
    assert_eq!(
        snapshot,
        Snapshot {
            sequence: 9,
            retention: Retention::Default
        }
    );
}

#[test]
fn a_deferred_header_has_no_sequence() {
    let mut bytes = Vec::new();
    put_bytes(&mut bytes, 1, &[2 << 3 | 2, 0]);
    assert_eq!(Page::parse(&bytes).expect("well formed").sequence, None);
    assert_eq!(
        Page::parse(&[]).expect("empty is well formed").sequence,
        None
    );
    assert!(Page::parse(&[0x0A, 5, 1]).is_none());
}
