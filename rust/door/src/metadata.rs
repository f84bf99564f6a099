//! Headers of HTTP/2 ⇄ metadata, status and deadline of gRPC.

use std::fmt::Write as _;
use std::time::Duration;

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::api::{Metadata, Value};
use crate::error::{Error, Result};
use crate::refusal::Refusal;

const BINARY_SUFFIX: &str = "-bin";

/// What belongs to the transport, and is no metadata of the call.
const HIDDEN: [&str; 6] = [
    "te",
    "host",
    "content-type",
    "grpc-timeout",
    "grpc-encoding",
    "grpc-accept-encoding",
];

/// What only the transport may set in answers.
const RESERVED: [&str; 4] = [
    "content-type",
    "grpc-status",
    "grpc-message",
    "grpc-encoding",
];

/// Written without padding, read with or without.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_encode_padding(false)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The metadata of a request.
pub fn of(headers: &HeaderMap) -> std::result::Result<Metadata, Refusal> {
    let mut found = Metadata::with_capacity(headers.len());
    for (name, value) in headers {
        let key = name.as_str();
        if HIDDEN.contains(&key) {
            continue;
        }
        if !key.ends_with(BINARY_SUFFIX) {
            found.push((key.into(), Value::Text(text(value.as_bytes()))));
            continue;
        }
        // One header may hold several values (gRPC over HTTP/2).
        for part in value.as_bytes().split(|byte| *byte == b',') {
            let bytes = BASE64
                .decode(part.trim_ascii())
                .map_err(|error| Refusal::Malformed(format!("metadata {key}: {error}")))?;
            found.push((key.into(), Value::Binary(bytes)));
        }
    }
    Ok(found)
}

/// UTF-8, or Latin-1 where it is not; clients should send ASCII only.
fn text(value: &[u8]) -> String {
    match std::str::from_utf8(value) {
        Ok(text) => text.into(),
        Err(_) => value.iter().map(|byte| char::from(*byte)).collect(),
    }
}

/// Add `metadata` to an answer's headers or trailers.
pub fn append(headers: &mut HeaderMap, metadata: Metadata) -> Result<()> {
    for (key, value) in metadata {
        let (name, value) = header(&key, value).map_err(|cause| Error::Metadata { key, cause })?;
        headers.append(name, value);
    }
    Ok(())
}

fn header(key: &str, value: Value) -> std::result::Result<(HeaderName, HeaderValue), &'static str> {
    if RESERVED.contains(&key) || key.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return Err("not a key for metadata");
    }
    let name = HeaderName::from_bytes(key.as_bytes()).map_err(|_| "not a key for metadata")?;
    let value = match (key.ends_with(BINARY_SUFFIX), value) {
        (true, Value::Binary(bytes)) => BASE64.encode(bytes),
        (false, Value::Text(text)) if text.bytes().all(|byte| matches!(byte, b' '..=b'~')) => text,
        (true, Value::Text(_)) => return Err("a value under a key that ends in -bin is bytes"),
        (false, Value::Binary(_)) => return Err("a bytes value needs a key that ends in -bin"),
        (false, Value::Text(_)) => return Err("a text value is printable ASCII"),
    };
    let value = HeaderValue::try_from(value).map_err(|_| "not a value for metadata")?;
    Ok((name, value))
}

/// Trailers with a status; the message may be any text.
pub fn status(code: u8, message: &str) -> HeaderMap {
    let mut trailers = HeaderMap::with_capacity(4);
    trailers.insert("grpc-status", HeaderValue::from(u16::from(code)));
    if let Ok(value) = HeaderValue::try_from(percent_encoded(message))
        && !value.is_empty()
    {
        trailers.insert("grpc-message", value);
    }
    trailers
}

fn percent_encoded(message: &str) -> String {
    let mut encoded = String::with_capacity(message.len());
    for byte in message.bytes() {
        if matches!(byte, b' '..=b'~') && byte != b'%' {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "%{byte:02X}"); // a String takes whatever is written to it
        }
    }
    encoded
}

/// The time that a call may take, by its `grpc-timeout`: up to eight digits and a unit.
pub fn timeout(headers: &HeaderMap) -> std::result::Result<Option<Duration>, Refusal> {
    let Some(value) = headers.get("grpc-timeout") else {
        return Ok(None);
    };
    parsed_timeout(value.as_bytes())
        .map(Some)
        .ok_or_else(|| Refusal::Malformed(format!("grpc-timeout is {value:?}")))
}

fn parsed_timeout(value: &[u8]) -> Option<Duration> {
    let (unit, digits) = value.split_last()?;
    if !matches!(digits.len(), 1..=8) || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let count: u64 = std::str::from_utf8(digits).ok()?.parse().ok()?;
    Some(match unit {
        b'H' => Duration::from_secs(count * 3600),
        b'M' => Duration::from_secs(count * 60),
        b'S' => Duration::from_secs(count),
        b'm' => Duration::from_millis(count),
        b'u' => Duration::from_micros(count),
        b'n' => Duration::from_nanos(count),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn headers(pairs: &[(&'static str, &[u8])]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (key, value) in pairs {
            headers.append(*key, HeaderValue::from_bytes(value).unwrap());
        }
        headers
    }

    #[test]
    fn binary_values_come_as_bytes_with_padding_or_without() {
        let found = of(&headers(&[
            ("a-bin", b"AP8"),
            ("b-bin", b"AP8="),
            ("c-bin", b""),
        ]));

        let binary = |bytes: &[u8]| Value::Binary(bytes.to_vec());
        assert_eq!(
            found.unwrap(),
            [
                ("a-bin".into(), binary(b"\0\xff")),
                ("b-bin".into(), binary(b"\0\xff")),
                ("c-bin".into(), binary(b"")),
            ]
        );
    }

    #[test]
    fn one_header_may_hold_several_binary_values() {
        let found = of(&headers(&[("a-bin", b"AP8,AA==")])).unwrap();

        assert_eq!(found.len(), 2);
        assert_eq!(found[1].1, Value::Binary(vec![0]));
    }

    #[test]
    fn binary_values_that_are_not_base64_are_refused() {
        assert!(of(&headers(&[("a-bin", b"%%%")])).is_err());
    }

    #[test]
    fn the_transports_own_headers_are_hidden() {
        let found = of(&headers(&[
            ("te", b"trailers"),
            ("content-type", b"application/grpc"),
            ("grpc-timeout", b"1S"),
            ("user-agent", b"x"),
        ]));

        assert_eq!(
            found.unwrap(),
            [("user-agent".into(), Value::Text("x".into()))]
        );
    }

    #[test]
    fn text_that_is_not_utf8_is_taken_for_latin1() {
        let found = of(&headers(&[("a", b"\xe9")])).unwrap();

        assert_eq!(found[0].1, Value::Text("é".into()));
    }

    #[test]
    fn keys_and_values_that_cannot_travel_are_refused() {
        let text = |text: &str| Value::Text(text.into());
        let cases = [
            ("grpc-status", text("0")),
            ("Upper", text("x")),
            ("with space", text("x")),
            ("", text("x")),
            ("key", text("é")),
            ("key", text("line\nfeed")),
            ("key", Value::Binary(vec![1])),
            ("key-bin", text("x")),
        ];

        for (key, value) in cases {
            let refused = append(&mut HeaderMap::new(), vec![(key.into(), value)]);
            assert!(matches!(refused, Err(Error::Metadata { .. })), "{key:?}");
        }
    }

    #[test]
    fn messages_are_percent_encoded() {
        assert_eq!(percent_encoded("50 % – ~\n"), "50 %25 %E2%80%93 ~%0A");
        assert!(!status(0, "").contains_key("grpc-message"));
    }

    #[test]
    fn timeouts_have_digits_and_a_unit() {
        let of = |value: &'static str| parsed_timeout(value.as_bytes());

        assert_eq!(of("1H"), Some(Duration::from_secs(3600)));
        assert_eq!(of("2M"), Some(Duration::from_secs(120)));
        assert_eq!(of("99999999S"), Some(Duration::from_secs(99_999_999)));
        assert_eq!(of("5m"), Some(Duration::from_millis(5)));
        assert_eq!(of("7u"), Some(Duration::from_micros(7)));
        assert_eq!(of("0n"), Some(Duration::ZERO));
        for wrong in ["", "S", "5", "5s", "-1S", "123456789S", "1 S", "+1S"] {
            assert_eq!(of(wrong), None, "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn binary_metadata_comes_back_as_it_went(bytes: Vec<u8>) {
            let mut headers = HeaderMap::new();
            append(&mut headers, vec![("k-bin".into(), Value::Binary(bytes.clone()))]).unwrap();

            prop_assert_eq!(of(&headers).unwrap(), [("k-bin".into(), Value::Binary(bytes))]);
        }

        #[test]
        fn any_message_is_a_header_value(message: String) {
            let trailers = status(2, &message);

            prop_assert_eq!(trailers.contains_key("grpc-message"), !message.is_empty());
        }
    }
}
