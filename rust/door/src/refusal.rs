//! The answers that the door gives by itself; their kinds are those of docs/spec/wire.md, WIRE-11.

use http::{HeaderMap, HeaderValue};

use crate::metadata;

/// Why a call is refused or cut off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    NoSuchMethod,
    Stopping,
    Overloaded {
        calls_max: usize,
    },
    TooLarge {
        size_bytes: usize,
        limit_bytes: usize,
    },
    DeadlinePassed,
    Encoding(String),
    Malformed(String),
}

/// Numbers of gRPC's codes.
mod code {
    pub const DEADLINE_EXCEEDED: u8 = 4;
    pub const RESOURCE_EXHAUSTED: u8 = 8;
    pub const UNIMPLEMENTED: u8 = 12;
    pub const INTERNAL: u8 = 13;
    pub const UNAVAILABLE: u8 = 14;
}

impl Refusal {
    /// The trailers that end the call.
    pub fn trailers(&self) -> HeaderMap {
        let (code, kind, message) = self.parts();
        let mut trailers = metadata::status(code, &message);
        trailers.insert("angzarr-error-kind", HeaderValue::from_static(kind));
        match self {
            Self::Encoding(_) => {
                let known = HeaderValue::from_static("identity,gzip,deflate");
                trailers.insert("grpc-accept-encoding", known);
            }
            Self::TooLarge {
                size_bytes,
                limit_bytes,
            } => {
                trailers.insert("angzarr-error-field", HeaderValue::from_static("request"));
                // Percent-encoded, as these trailers are.
                let limit = format!("at%20most%20{limit_bytes}%20bytes");
                if let Ok(limit) = HeaderValue::try_from(limit) {
                    trailers.insert("angzarr-error-limit", limit);
                }
                trailers.insert("angzarr-error-value", HeaderValue::from(*size_bytes));
            }
            _ => {}
        }
        trailers
    }

    fn parts(&self) -> (u8, &'static str, String) {
        match self {
            Self::NoSuchMethod => (
                code::UNIMPLEMENTED,
                "internal",
                "this server has no such method".into(),
            ),
            Self::Stopping => (
                code::UNAVAILABLE,
                "unavailable",
                "server is stopping".into(),
            ),
            Self::Overloaded { calls_max } => (
                code::RESOURCE_EXHAUSTED,
                "overloaded",
                format!("{calls_max} calls are running, the limit; try again later"),
            ),
            // The words by which clients without our kinds know it (WIRE-11).
            Self::TooLarge {
                size_bytes,
                limit_bytes,
            } => (
                code::RESOURCE_EXHAUSTED,
                "too_large",
                format!("received message larger than max ({size_bytes} vs. {limit_bytes} bytes)"),
            ),
            Self::DeadlinePassed => (
                code::DEADLINE_EXCEEDED,
                "unavailable",
                "Deadline Exceeded".into(),
            ),
            Self::Encoding(name) => (
                code::UNIMPLEMENTED,
                "internal",
                format!("requests compressed with {name} are not understood"),
            ),
            Self::Malformed(what) => (code::INTERNAL, "internal", what.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_has_a_code_and_a_kind() {
        let refusals = [
            Refusal::NoSuchMethod,
            Refusal::Stopping,
            Refusal::Overloaded { calls_max: 1 },
            Refusal::TooLarge {
                size_bytes: 2,
                limit_bytes: 1,
            },
            Refusal::DeadlinePassed,
            Refusal::Encoding("snappy".into()),
            Refusal::Malformed("ends early".into()),
        ];

        for refusal in refusals {
            let trailers = refusal.trailers();
            assert_ne!(trailers["grpc-status"], "0", "{refusal:?}");
            assert!(trailers.contains_key("angzarr-error-kind"), "{refusal:?}");
        }
    }

    #[test]
    fn what_is_too_large_is_told_what_limit_it_met() {
        let refusal = Refusal::TooLarge {
            size_bytes: 11,
            limit_bytes: 10,
        };

        let trailers = refusal.trailers();

        assert_eq!(trailers["angzarr-error-field"], "request");
        assert_eq!(trailers["angzarr-error-limit"], "at%20most%2010%20bytes");
        assert_eq!(trailers["angzarr-error-value"], "11");
    }

    #[test]
    fn an_unknown_encoding_is_told_the_known_ones() {
        let trailers = Refusal::Encoding("snappy".into()).trailers();

        assert_eq!(trailers["grpc-accept-encoding"], "identity,gzip,deflate");
    }
}
