//! Every key of the store, byte for byte. Integers are big-endian, so order on disk is order in the stream.

/// A stream within its timeline: timeline (4 bytes), root (16 bytes).
pub type StreamKey = [u8; STREAM_BYTES];

/// Length of a [`StreamKey`], and of the prefix that RocksDB's filters know.
pub const STREAM_BYTES: usize = 20;

/// The column families. Their names are on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Family {
    Events,
    Log,
    Correlation,
    Keys,
    Snapshots,
    Cascades,
    Held,
    Positions,
    Records,
    Meta,
}

impl Family {
    pub const ALL: [Family; 10] = [
        Family::Events,
        Family::Log,
        Family::Correlation,
        Family::Keys,
        Family::Snapshots,
        Family::Cascades,
        Family::Held,
        Family::Positions,
        Family::Records,
        Family::Meta,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Family::Events => "events",
            Family::Log => "log",
            Family::Correlation => "correlation",
            Family::Keys => "keys",
            Family::Snapshots => "snapshots",
            Family::Cascades => "cascades",
            Family::Held => "held",
            Family::Positions => "positions",
            Family::Records => "records",
            Family::Meta => "meta",
        }
    }
}

pub const META_FORMAT: &[u8] = b"format";
/// The number of the last group in RocksDB, written with each group.
pub const META_LSN: &[u8] = b"lsn";
/// The next timeline to hand out. Numbers are never used again.
pub const META_NEXT_TIMELINE: &[u8] = b"next_timeline";
pub const META_TIMELINE: &[u8] = b"timeline/";
/// Declared editions, by name.
pub const META_EDITION: &[u8] = b"edition/";

const PENDING_BY_CASCADE: u8 = b'p';
const PENDING_BY_STREAM: u8 = b's';
const DECISION: u8 = b'd';

const POSITION_STREAM: u8 = b's';
const POSITION_CURSOR: u8 = b'c';
const POSITION_LEASE: u8 = b'l';

pub fn stream(timeline: u32, root: &[u8; 16]) -> StreamKey {
    let mut key = [0; STREAM_BYTES];
    key[..4].copy_from_slice(&timeline.to_be_bytes());
    key[4..].copy_from_slice(root);
    key
}

pub fn timeline_of(stream: &StreamKey) -> u32 {
    u32::from_be_bytes([stream[0], stream[1], stream[2], stream[3]])
}

pub fn root_of(stream: &StreamKey) -> [u8; 16] {
    let mut root = [0; 16];
    root.copy_from_slice(&stream[4..]);
    root
}

/// `events`, `snapshots` and `held`: stream · sequence.
pub fn page(stream: &StreamKey, sequence: u64) -> [u8; 28] {
    let mut key = [0; 28];
    key[..STREAM_BYTES].copy_from_slice(stream);
    key[STREAM_BYTES..].copy_from_slice(&sequence.to_be_bytes());
    key
}

pub fn parse_page(key: &[u8]) -> Option<(StreamKey, u64)> {
    let stream = key.get(..STREAM_BYTES)?.try_into().ok()?;
    Some((stream, parse_u64(key.get(STREAM_BYTES..)?)?))
}

pub fn parse_u64(bytes: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(bytes.try_into().ok()?))
}

pub fn parse_u32(bytes: &[u8]) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.try_into().ok()?))
}

/// `log`: the position of the entry's last page.
pub fn log(position: u64) -> [u8; 8] {
    position.to_be_bytes()
}

/// `correlation`: length · id · stream · first sequence. The length keeps ids that are prefixes of others apart.
pub fn correlation(id: &str, stream: &StreamKey, first: u64) -> Vec<u8> {
    let mut key = correlation_prefix(id);
    key.extend_from_slice(&page(stream, first));
    key
}

pub fn correlation_prefix(id: &str) -> Vec<u8> {
    counted(&[], id.as_bytes())
}

/// The part of `key` after `prefix`, which ends in stream · sequence.
pub fn parse_after(key: &[u8], prefix: &[u8]) -> Option<(StreamKey, u64)> {
    parse_page(key.strip_prefix(prefix)?)
}

/// `keys`: stream · kind · the key's bytes.
pub fn idempotency(stream: &StreamKey, kind: u8, bytes: &[u8]) -> Vec<u8> {
    [stream.as_slice(), &[kind], bytes].concat()
}

/// The stream, if the key of `keys` is that of a pin.
pub fn parse_pin(key: &[u8]) -> Option<StreamKey> {
    match key.split_at_checked(STREAM_BYTES)? {
        (stream, [crate::store::KEY_PIN]) => stream.try_into().ok(),
        _ => None,
    }
}

/// `cascades`: the unresolved pages of one cascade.
pub fn pending_by_cascade(id: &str, stream: &StreamKey, sequence: u64) -> Vec<u8> {
    let mut key = pending_by_cascade_prefix(id);
    key.extend_from_slice(&page(stream, sequence));
    key
}

pub fn pending_by_cascade_prefix(id: &str) -> Vec<u8> {
    counted(&[PENDING_BY_CASCADE], id.as_bytes())
}

pub fn pending_by_cascade_all() -> [u8; 1] {
    [PENDING_BY_CASCADE]
}

/// The cascade id within a [`pending_by_cascade`] key.
pub fn parse_pending_by_cascade(key: &[u8]) -> Option<(&str, StreamKey, u64)> {
    let (id, rest) = parse_counted(key.strip_prefix(&[PENDING_BY_CASCADE])?)?;
    let (stream, sequence) = parse_page(rest)?;
    Some((std::str::from_utf8(id).ok()?, stream, sequence))
}

/// `cascades`: the unresolved pages of one stream.
pub fn pending_by_stream(stream: &StreamKey, sequence: u64) -> Vec<u8> {
    [&[PENDING_BY_STREAM], page(stream, sequence).as_slice()].concat()
}

/// Prefix of [`pending_by_stream`] keys by stream, by timeline (its first four bytes) or of all (none).
pub fn pending_by_stream_prefix(of: &[u8]) -> Vec<u8> {
    [&[PENDING_BY_STREAM], of].concat()
}

/// `cascades`: the decision record.
pub fn decision(id: &str) -> Vec<u8> {
    [&[DECISION], id.as_bytes()].concat()
}

/// `positions`: length · consumer · what · stream, nothing or partition.
pub fn position_stream(consumer: &str, stream: &StreamKey) -> Vec<u8> {
    let mut key = counted(&[], consumer.as_bytes());
    key.push(POSITION_STREAM);
    key.extend_from_slice(stream);
    key
}

/// Bounds of all [`position_stream`] keys of a consumer.
pub fn position_streams(consumer: &str) -> (Vec<u8>, Vec<u8>) {
    let mut from = counted(&[], consumer.as_bytes());
    let mut to = from.clone();
    from.push(POSITION_STREAM);
    to.push(POSITION_STREAM + 1);
    (from, to)
}

pub fn position_cursor(consumer: &str) -> Vec<u8> {
    let mut key = counted(&[], consumer.as_bytes());
    key.push(POSITION_CURSOR);
    key
}

pub fn position_lease(consumer: &str, partition: u32) -> Vec<u8> {
    let mut key = counted(&[], consumer.as_bytes());
    key.push(POSITION_LEASE);
    key.extend_from_slice(&partition.to_be_bytes());
    key
}

/// `records`: length · space · the record's key.
pub fn record(space: &str, key: &[u8]) -> Vec<u8> {
    let mut bytes = counted(&[], space.as_bytes());
    bytes.extend_from_slice(key);
    bytes
}

/// `meta`: the names of one timeline.
pub fn meta_timeline(timeline: u32) -> Vec<u8> {
    [META_TIMELINE, &timeline.to_be_bytes()].concat()
}

/// `meta`: the record of a declared edition.
pub fn meta_edition(name: &str) -> Vec<u8> {
    [META_EDITION, name.as_bytes()].concat()
}

/// The least key above all that start with `prefix`; None if there is none.
pub fn after_prefix(prefix: &[u8]) -> Option<Vec<u8>> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            return Some(end);
        }
    }
    None
}

/// `head` · length of `bytes` · `bytes`. Two bytes of length: names are at most 128 bytes long where they are made.
pub fn counted(head: &[u8], bytes: &[u8]) -> Vec<u8> {
    let length = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
    [head, &length.to_be_bytes(), bytes].concat()
}

/// What [`counted`] put there, and what follows it.
pub fn parse_counted(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let length = usize::from(u16::from_be_bytes(bytes.get(..2)?.try_into().ok()?));
    bytes.get(2..)?.split_at_checked(length)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// STO-60: key order is stream order.
        #[test]
        fn page_keys_round_trip_and_sort_as_their_parts(
            a in (any::<u32>(), any::<[u8; 16]>(), any::<u64>()),
            b in (any::<u32>(), any::<[u8; 16]>(), any::<u64>()),
        ) {
            let (left, right) = (page(&stream(a.0, &a.1), a.2), page(&stream(b.0, &b.1), b.2));
            let (parsed, sequence) = parse_page(&left).expect("own key");
            prop_assert_eq!((timeline_of(&parsed), root_of(&parsed), sequence), a);
            prop_assert_eq!(left.cmp(&right), a.cmp(&b));
        }

        #[test]
        fn correlation_keys_round_trip(id in ".{0,40}", at in any::<[u8; 20]>(), first: u64) {
            let key = correlation(&id, &at, first);
            prop_assert_eq!(parse_after(&key, &correlation_prefix(&id)), Some((at, first)));
        }

        #[test]
        fn correlation_ids_never_share_a_prefix(a in "[a-c]{0,4}", b in "[a-c]{0,4}", at in any::<[u8; 20]>()) {
            let is_within = correlation(&a, &at, 1).starts_with(&correlation_prefix(&b));
            prop_assert_eq!(is_within, a == b);
        }

        #[test]
        fn pending_keys_round_trip(id in "[A-Za-z0-9_:.-]{0,128}", at in any::<[u8; 20]>(), sequence: u64) {
            let key = pending_by_cascade(&id, &at, sequence);
            prop_assert_eq!(parse_pending_by_cascade(&key), Some((id.as_str(), at, sequence)));
            let key = pending_by_stream(&at, sequence);
            prop_assert_eq!(parse_after(&key, &pending_by_stream_prefix(&[])), Some((at, sequence)));
        }

        /// STO-22: consumers are isolated, also when one's name is a prefix of the other's.
        #[test]
        fn positions_of_consumers_are_apart(a in "[a-c]{1,4}", b in "[a-c]{1,4}", at in any::<[u8; 20]>()) {
            let (from, to) = position_streams(&a);
            let key = position_stream(&b, &at);
            prop_assert_eq!(from <= key && key < to, a == b);
        }

        #[test]
        fn after_prefix_is_the_least_upper_bound(prefix in proptest::collection::vec(any::<u8>(), 0..6), more in proptest::collection::vec(any::<u8>(), 0..4)) {
            let key = [prefix.clone(), more].concat();
            match after_prefix(&prefix) {
                Some(end) => prop_assert!(key < end && !end.starts_with(&prefix)),
                None => prop_assert!(prefix.iter().all(|byte| *byte == u8::MAX)),
            }
        }
    }
}
