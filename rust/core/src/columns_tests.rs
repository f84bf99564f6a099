use super::*;
use crate::api::FieldPath;
use crate::scan::Commit;

/// A frame with a page of type `a.T` whose field `f` is `value`.
fn frame(value: &str) -> Vec<u8> {
    let put = |out: &mut Vec<u8>, tag: u8, bytes: &[u8]| {
        out.extend_from_slice(&[tag, u8::try_from(bytes.len()).expect("short")]);
        out.extend_from_slice(bytes);
    };
    let (mut event, mut page, mut frame) = (Vec::new(), Vec::new(), Vec::new());
    put(&mut event, 10, b"json.angzarr.io/a.T");
    put(&mut event, 18, format!("{{\"f\":{value}}}").as_bytes());
    put(&mut page, 26, &event);
    wire::put_frame(&mut frame, &page);
    frame
}

fn specs() -> Vec<FieldSpec> {
    let path = FieldPath {
        type_name: "a.T".into(),
        keys: vec!["f".into()],
        numbers: Vec::new(),
        encoding: None,
    };
    let spec = |kind| FieldSpec {
        kind,
        paths: vec![path.clone()],
    };
    [FieldKind::Text, FieldKind::Int, FieldKind::Payload]
        .map(spec)
        .to_vec()
}

/// The rows' order, their vocabulary's, and what has no value are the same, however the rows were read.
#[test]
fn columns_do_not_tell_how_they_were_read() {
    let values = ["1", "\"b\"", "null", "\"a\"", "2", "\"b\""];
    let specs = specs();
    let window = Window {
        base: 10,
        last: 16,
        streams: vec![[0; 20]],
        commits: vec![Commit {
            stream: 0,
            first: 3,
            count: 6,
            row: 0,
        }],
    };
    let read = |rows: &[u32]| {
        let mut part = Part::new(&specs);
        for row in rows {
            part.add(*row, 1, &frame(values[*row as usize]));
        }
        part
    };
    let names = |_: &StreamKey| Some(("d".into(), "e".into()));
    let at_once = assemble(&window, read(&[0, 1, 2, 3, 4, 5]), 11, names);
    let mut parts = read(&[3, 4]);
    parts.absorb(read(&[2, 0]));
    parts.absorb(read(&[5, 1]));
    assert_eq!(assemble(&window, parts, 11, names), at_once);

    let [text, int, payload] = at_once.fields.as_slice() else {
        panic!("three fields");
    };
    assert_eq!(at_once.count, 5);
    assert_eq!(text.vocabulary, ["b", "a"]);
    assert_eq!(text.valid, [1, 0, 1, 0, 1]);
    assert_eq!(text.values, [0, 0, 1, 0, 0].map(u32::to_le_bytes).concat());
    assert_eq!(int.valid, [0, 0, 0, 1, 0]);
    assert_eq!(int.values, [0, 0, 0, 2, 0].map(i64::to_le_bytes).concat());
    assert_eq!(payload.valid, [1; 5]);
    assert_eq!(
        payload.values,
        br#"{"f":"b"}{"f":null}{"f":"a"}{"f":2}{"f":"b"}"#
    );
    let ends = [0u64, 9, 19, 28, 35, 44].map(u64::to_le_bytes).concat();
    assert_eq!(payload.offsets, ends);
}
