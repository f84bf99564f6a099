use proptest::prelude::*;
use serde_json::{Map, Value};

use super::*;

/// The scalars under these paths; None for what is no document.
fn pulled<'a>(document: &'a [u8], paths: &[&[&str]]) -> Option<Vec<Option<Scalar<'a>>>> {
    let mut wanted = Node::default();
    for (slot, path) in paths.iter().enumerate() {
        let keys: Vec<String> = path.iter().map(|key| (*key).to_owned()).collect();
        wanted.add(&keys, slot);
    }
    let mut found = vec![None; paths.len()];
    pull(document, &wanted, &mut found).then_some(found)
}

fn one<'a>(document: &'a str, path: &[&str]) -> Option<Scalar<'a>> {
    pulled(document.as_bytes(), &[path])?.remove(0)
}

fn text(text: &str) -> Option<Scalar<'_>> {
    Some(Scalar::Text(Cow::Borrowed(text)))
}

#[test]
fn scalars_are_found_by_their_keys() {
    let document = r#" { "a" : 1 , "b" : { "c" : "x" , "d" : [ { "a" : 2 } ] } , "e" : true } "#;
    assert_eq!(one(document, &["a"]), Some(Scalar::Number("1")));
    assert_eq!(one(document, &["b", "c"]), text("x"));
    assert_eq!(one(document, &["e"]), Some(Scalar::Bool(true)));
    assert_eq!(one(document, &["b"]), None);
    assert_eq!(one(document, &["b", "d", "a"]), None);
    assert_eq!(one(document, &["c"]), None);
}

#[test]
fn the_last_of_equal_keys_counts() {
    assert_eq!(one(r#"{"a":1,"a":2}"#, &["a"]), Some(Scalar::Number("2")));
    assert_eq!(one(r#"{"a":1,"a":null}"#, &["a"]), None);
    assert_eq!(one(r#"{"a":{"b":1},"a":{}}"#, &["a", "b"]), None);
    assert_eq!(one(r#"{"a":1,"a":{"b":2}}"#, &["a"]), None);
}

#[test]
fn keys_and_texts_may_have_escapes() {
    let document = r#"{"\u0061\n":"\"\\\/\b\f\n\r\t\u00e9\ud83d\ude00z"}"#;
    assert_eq!(one(document, &["a\n"]), text("\"\\/\u{8}\u{c}\n\r\té😀z"));
    for half in [
        r#"{"a":"\ud83d"}"#,
        r#"{"a":"\ud83d\u0041"}"#,
        r#"{"a":"\udc00"}"#,
    ] {
        assert_eq!(pulled(half.as_bytes(), &[&["a"]]), None);
    }
}

#[test]
fn a_document_that_is_not_well_formed_has_nothing() {
    let bad = [
        "",
        "{",
        "}",
        r#"{"a":1"#,
        r#"{"a":1}}"#,
        r#"{"a":1,}"#,
        r#"{a:1}"#,
        r#"{"a" 1}"#,
        r#"{"a":01}"#,
        r#"{"a":1.}"#,
        r#"{"a":.5}"#,
        r#"{"a":1e}"#,
        r#"{"a":+1}"#,
        r#"{"a":-}"#,
        r#"{"a":NaN}"#,
        r#"{"a":tru}"#,
        r#"{"a":"x}"#,
        "{\"a\":\"\n\"}",
        r#"{"a":"\x"}"#,
        r#"{"a":"\u12g4"}"#,
        r#"{"a":[1 2]}"#,
        r#"{"a":[1,]}"#,
        r#"{"a":1} x"#,
    ];
    for document in bad {
        assert_eq!(pulled(document.as_bytes(), &[&["a"]]), None, "{document}");
    }
    assert_eq!(pulled(b"{\"a\":\"\xff\"}", &[&["a"]]), None);
}

#[test]
fn depth_has_a_limit() {
    let nested = |depth| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    assert!(pulled(nested(DEPTH_MAX).as_bytes(), &[]).is_some());
    assert!(pulled(nested(DEPTH_MAX + 1).as_bytes(), &[]).is_none());
    assert!(pulled("{\"a\":".repeat(1 << 20).as_bytes(), &[&["a"]]).is_none());
}

/// Any value, keys of few letters, so that paths meet something.
fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 5, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map(any_key(), inner, 0..5)
                .prop_map(|map| Value::from(Map::from_iter(map))),
        ]
    })
}

fn any_key() -> impl Strategy<Value = String> {
    prop_oneof!["[ab]", "[ab\"\\\\é\n]{0,2}"]
}

/// What serde_json's tree has under the path, as a scalar.
fn in_tree<'a>(tree: &'a Value, path: &[String]) -> Option<&'a Value> {
    path.iter()
        .try_fold(tree, |value, key| value.as_object()?.get(key))
}

proptest! {
    #[test]
    fn agrees_with_serde_json(tree in any_value(), path in proptest::collection::vec(any_key(), 1..4), is_pretty: bool) {
        let document = if is_pretty { serde_json::to_string_pretty(&tree) } else { serde_json::to_string(&tree) };
        let document = document.expect("has a form");
        let keys: Vec<&str> = path.iter().map(String::as_str).collect();
        // As it was read again: of a float it may have the neighbour of what was written.
        let tree: Value = serde_json::from_str(&document).expect("well formed");
        let wanted = in_tree(&tree, &path);
        match one(&document, &keys) {
            Some(Scalar::Number(number)) => {
                let wanted = wanted.expect("there");
                prop_assert_eq!(number.parse::<i64>().ok(), wanted.as_i64());
                prop_assert_eq!(number.parse::<u64>().ok(), wanted.as_u64());
                let close = |a: f64, b: f64| (a - b).abs() <= a.abs() * 1e-15;
                prop_assert!(close(number.parse::<f64>().expect("a number"), wanted.as_f64().expect("a number")));
            }
            Some(Scalar::Bool(flag)) => prop_assert_eq!(Some(&Value::from(flag)), wanted),
            Some(Scalar::Text(text)) => prop_assert_eq!(Some(text.as_ref()), wanted.and_then(Value::as_str)),
            None => prop_assert!(wanted.is_none_or(|value| value.is_null() || value.is_array() || value.is_object())),
        }
    }

    /// A document that was damaged anywhere is judged as serde_json judges it.
    #[test]
    fn damage_is_seen_as_serde_json_sees_it(tree in any_value(), at: prop::sample::Index, byte: u8) {
        let mut document = serde_json::to_vec(&tree).expect("has a form");
        let at = at.index(document.len());
        document[at] = byte;
        let is_read = serde_json::from_slice::<Value>(&document);
        // Numbers beyond f64, and halves of surrogate pairs, are told only where they are asked for.
        let is_lenient = is_read.as_ref().is_err_and(|error| {
            let told = error.to_string();
            told.contains("out of range") || told.contains("surrogate") || told.contains("escape")
        });
        if !is_lenient {
            prop_assert_eq!(pulled(&document, &[&["a"]]).is_some(), is_read.is_ok());
        }
    }

    #[test]
    fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..80), near in r#"[\[\]{}:,"ab\\u0-9eE.+\- tfn]{0,60}"#) {
        let _ = pulled(&bytes, &[&["a"], &["a", "b"]]);
        let _ = pulled(near.as_bytes(), &[&["a"], &["a", "b"]]);
    }
}
