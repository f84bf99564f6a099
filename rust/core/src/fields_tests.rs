use proptest::prelude::*;

use super::*;
use crate::api::FieldPath;
use crate::wire;

const JSON: &str = "json.angzarr.io/a.T";
const PROTOBUF: &str = "type.googleapis.com/a.T";

fn spec(kind: FieldKind, keys: &[&str], numbers: &[u32], encoding: Encoding) -> FieldSpec {
    FieldSpec {
        kind,
        paths: vec![FieldPath {
            type_name: "a.T".into(),
            keys: keys.iter().map(|key| (*key).to_owned()).collect(),
            numbers: numbers.to_vec(),
            encoding: Some(encoding),
        }],
    }
}

fn read<'a>(type_url: &str, payload: &'a [u8], specs: &[FieldSpec]) -> Vec<Option<Value<'a>>> {
    let mut found = vec![None; specs.len()];
    if let Some(plan) = Plan::new(type_url, specs) {
        plan.read(payload, |column, value| found[column] = Some(value));
    }
    found
}

fn json<'a>(kind: FieldKind, payload: &'a str) -> Option<Value<'a>> {
    let specs = [spec(kind, &["f"], &[], Encoding::Varint)];
    read(JSON, payload.as_bytes(), &specs).remove(0)
}

fn protobuf(kind: FieldKind, encoding: Encoding, payload: &[u8]) -> Option<Value<'_>> {
    read(PROTOBUF, payload, &[spec(kind, &[], &[1], encoding)]).remove(0)
}

fn text(text: &str) -> Option<Value<'_>> {
    Some(Value::Text(Cow::Borrowed(text)))
}

#[test]
fn json_values_are_not_converted_but_ints_to_floats() {
    use FieldKind::{Bool, Float, Int, Text};
    assert_eq!(json(Int, r#"{"f":-7}"#), Some(Value::Int(-7)));
    for other in [
        "7.0",
        "7e0",
        "true",
        "\"7\"",
        "null",
        "[7]",
        "9223372036854775808",
    ] {
        assert_eq!(json(Int, &format!("{{\"f\":{other}}}")), None, "{other}");
    }
    assert_eq!(json(Float, r#"{"f":7}"#), Some(Value::Float(7.0)));
    assert_eq!(json(Float, r#"{"f":-1.5e3}"#), Some(Value::Float(-1500.0)));
    assert_eq!(json(Float, r#"{"f":1e999}"#), None);
    assert_eq!(json(Bool, r#"{"f":false}"#), Some(Value::Bool(false)));
    assert_eq!(json(Bool, r#"{"f":0}"#), None);
    assert_eq!(json(Text, r#"{"f":"x"}"#), text("x"));
    assert_eq!(json(Text, r#"{"f":1}"#), None);
}

#[test]
fn protobuf_values_are_read_by_their_encodings() {
    use FieldKind::{Bool, Float, Int, Text};
    let minus_one = [8, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1];
    assert_eq!(
        protobuf(Int, Encoding::Varint, &minus_one),
        Some(Value::Int(-1))
    );
    assert_eq!(
        protobuf(Int, Encoding::Zigzag, &[8, 3]),
        Some(Value::Int(-2))
    );
    assert_eq!(
        protobuf(Float, Encoding::Zigzag, &[8, 3]),
        Some(Value::Float(-2.0))
    );
    assert_eq!(
        protobuf(Bool, Encoding::Bool, &[8, 1]),
        Some(Value::Bool(true))
    );
    assert_eq!(protobuf(Int, Encoding::Bool, &[8, 1]), None);
    let fixed = [13, 255, 255, 255, 255];
    assert_eq!(
        protobuf(Int, Encoding::Fixed32, &fixed),
        Some(Value::Int(u32::MAX.into()))
    );
    assert_eq!(
        protobuf(Int, Encoding::Sfixed32, &fixed),
        Some(Value::Int(-1))
    );
    let mut half = vec![13];
    half.extend(0.5f32.to_le_bytes());
    assert_eq!(
        protobuf(Float, Encoding::Float, &half),
        Some(Value::Float(0.5))
    );
    assert_eq!(protobuf(Int, Encoding::Float, &half), None);
    let mut wide = vec![9];
    wide.extend(u64::MAX.to_le_bytes());
    assert_eq!(protobuf(Int, Encoding::Fixed64, &wide), None);
    assert_eq!(
        protobuf(Int, Encoding::Sfixed64, &wide),
        Some(Value::Int(-1))
    );
    assert_eq!(protobuf(Text, Encoding::String, b"\x0a\x01x"), text("x"));
    assert_eq!(protobuf(Text, Encoding::String, b"\x0a\x01\xff"), None);
    // Another encoding than the path says: a field that is not known.
    assert_eq!(protobuf(Int, Encoding::Varint, &fixed), None);
    assert_eq!(protobuf(Int, Encoding::Varint, &[]), None);
}

#[test]
fn the_last_value_counts_and_nested_messages_are_merged() {
    assert_eq!(
        protobuf(FieldKind::Int, Encoding::Varint, &[8, 1, 8, 2]),
        Some(Value::Int(2))
    );
    let specs = [
        spec(FieldKind::Int, &[], &[2, 1], Encoding::Varint),
        spec(FieldKind::Int, &[], &[2, 3], Encoding::Varint),
    ];
    let merged = [18, 2, 8, 1, 18, 2, 24, 5];
    assert_eq!(
        read(PROTOBUF, &merged, &specs),
        [Some(Value::Int(1)), Some(Value::Int(5))]
    );
}

#[test]
fn a_malformed_message_spoils_what_is_in_it() {
    let specs = [
        spec(FieldKind::Int, &[], &[1], Encoding::Varint),
        spec(FieldKind::Int, &[], &[2, 1], Encoding::Varint),
    ];
    let within = [8, 1, 18, 2, 8, 5, 18, 1, 8];
    assert_eq!(read(PROTOBUF, &within, &specs), [Some(Value::Int(1)), None]);
    let at_the_end = [8, 1, 18, 2, 8, 5, 8];
    assert_eq!(read(PROTOBUF, &at_the_end, &specs), [None, None]);
}

#[test]
fn groups_are_skipped() {
    let group = [19, 8, 9, 27, 28, 20, 8, 4];
    assert_eq!(
        protobuf(FieldKind::Int, Encoding::Varint, &group),
        Some(Value::Int(4))
    );
    let ends_another = [19, 8, 9, 28, 8, 4];
    assert_eq!(
        protobuf(FieldKind::Int, Encoding::Varint, &ends_another),
        None
    );
    let endless = vec![19; 1 << 20];
    assert_eq!(protobuf(FieldKind::Int, Encoding::Varint, &endless), None);
}

#[test]
fn a_plan_is_about_its_type_and_form_only() {
    let specs = [
        spec(FieldKind::Int, &["f"], &[], Encoding::Varint),
        spec(FieldKind::Int, &[], &[1], Encoding::Varint),
    ];
    assert!(Plan::new("json.angzarr.io/a.Other", &specs).is_none());
    assert_eq!(
        read(JSON, br#"{"f":1}"#, &specs),
        [Some(Value::Int(1)), None]
    );
    assert_eq!(read("a.T", &[8, 2], &specs), [None, Some(Value::Int(2))]);
}

#[test]
fn names_are_those_of_the_port() {
    for name in ["int", "float", "bool", "text", "payload"] {
        assert!(FieldKind::named(name).is_some());
    }
    let encodings = [
        "varint", "zigzag", "bool", "fixed32", "fixed64", "sfixed32", "sfixed64", "float",
        "double", "string",
    ];
    for name in encodings {
        assert!(Encoding::named(name).is_some());
    }
    assert_eq!((FieldKind::named("x"), Encoding::named("")), (None, None));
}

proptest! {
    #[test]
    fn zigzag_goes_back(number: i64) {
        let mut payload = vec![8];
        wire::put_varint(&mut payload, ((number << 1) ^ (number >> 63)).cast_unsigned());
        prop_assert_eq!(protobuf(FieldKind::Int, Encoding::Zigzag, &payload), Some(Value::Int(number)));
    }

    #[test]
    fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
        let specs = [
            spec(FieldKind::Int, &["a"], &[1], Encoding::Varint),
            spec(FieldKind::Text, &["a", "b"], &[2, 1], Encoding::String),
            spec(FieldKind::Float, &["b"], &[2, 1, 1], Encoding::Double),
        ];
        let _ = (read(JSON, &bytes, &specs), read(PROTOBUF, &bytes, &specs));
    }
}
