use super::*;

fn op(key: &[u8], value: Option<&[u8]>) -> RecordOp {
    let (space, key) = ("s".into(), key.into());
    match value {
        Some(value) => RecordOp::Put {
            space,
            key,
            value: value.into(),
        },
        None => RecordOp::Delete { space, key },
    }
}

fn only_if(key: &[u8], value: Option<&[u8]>) -> RecordOp {
    RecordOp::OnlyIf {
        space: "s".into(),
        key: key.into(),
        value: value.map(Into::into),
    }
}

fn values(store: &Fixture) -> Vec<Vec<u8>> {
    let rows = store.records("s", None, 9, false).expect("reads");
    rows.into_iter()
        .map(|(key, value)| [key, value].concat())
        .collect()
}

/// STO-23: what depends on a record is done only if that is as it was read.
#[test]
fn conditions_hold_for_what_follows_them() {
    let store = Fixture::new();
    let write = |ops: Vec<RecordOp>| store.write(Write::Records(ops));
    assert_eq!(write(vec![op(b"a", Some(b"1"))]), Ok(Written::Flag(true)));

    let met = write(vec![only_if(b"a", Some(b"1")), op(b"b", Some(b"2"))]);
    assert_eq!(met, Ok(Written::Flag(true)));
    assert_eq!(values(&store), [b"a1", b"b2"]);

    let not_met = write(vec![
        only_if(b"a", Some(b"9")),
        op(b"a", None),
        RecordOp::Anyway,
        op(b"c", Some(b"3")),
        only_if(b"d", None),
        op(b"b", None),
    ]);
    assert_eq!(not_met, Ok(Written::Flag(false)));
    assert_eq!(values(&store), [b"a1", b"c3"]);
}

/// A condition sees the operations before it, those of the same change and of the same group.
#[test]
fn conditions_see_what_was_done_before() {
    let store = Fixture::new();
    let ops = vec![
        op(b"a", Some(b"1")),
        only_if(b"a", Some(b"1")),
        op(b"a", None),
        only_if(b"a", None),
        op(b"b", Some(b"2")),
    ];
    let records = vec![only_if(b"b", None), op(b"b", Some(b"3"))];
    assert_eq!(store.write(Write::Records(ops)), Ok(Written::Flag(true)));

    let appending = Append {
        records,
        ..append(&main_stream(), 0, 1)
    };
    put(&store, appending).expect("appends all the same");
    assert_eq!(values(&store), [b"b2"]);
}
