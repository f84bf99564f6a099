//! Protobuf framing: just enough of `angzarr/types.proto` to read a page's head and to write books, `NoOp`s and markers.
//! Pages themselves are stored and returned as the very bytes that were given.

use crate::raw::{BYTES, Raw, VARINT, read_raw, read_varint, take};

/// Tag of `EventBook.pages`.
const PAGES_TAG: u8 = 3 << 3 | 2;
const NANOS: i64 = 1_000_000_000;

/// One field's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
    Fixed,
}

/// Reads a message field by field; `None` within is a malformed rest.
struct Fields<'a>(&'a [u8]);

impl<'a> Iterator for Fields<'a> {
    type Item = Option<(u64, Value<'a>)>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = read_field(&mut self.0);
        if field.is_none() {
            self.0 = &[];
        }
        Some(field)
    }
}

fn read_field<'a>(rest: &mut &'a [u8]) -> Option<(u64, Value<'a>)> {
    let (number, raw) = read_raw(rest, 0)?;
    let value = match raw {
        Raw::Varint(number) => Value::Number(number),
        Raw::Bytes(bytes) => Value::Bytes(bytes),
        Raw::Fixed64(_) | Raw::Fixed32(_) => Value::Fixed,
        Raw::Group => return None,
    };
    Some((number.into(), value))
}

pub fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(low_seven(value) | 0x80);
        value >>= 7;
    }
    out.push(low_seven(value));
}

#[allow(clippy::cast_possible_truncation)] // seven bits
fn low_seven(value: u64) -> u8 {
    (value & 0x7F) as u8
}

fn put_number(out: &mut Vec<u8>, field: u64, value: u64) {
    put_varint(out, field << 3 | VARINT);
    put_varint(out, value);
}

fn put_bytes(out: &mut Vec<u8>, field: u64, bytes: &[u8]) {
    put_varint(out, field << 3 | BYTES);
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn put_text(out: &mut Vec<u8>, field: u64, text: &str) {
    if !text.is_empty() {
        put_bytes(out, field, text.as_bytes());
    }
}

/// What the engine reads of an `EventPage`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Page<'a> {
    pub sequence: Option<u64>,
    /// 0 without `created_at`.
    pub created_at_ns: i64,
    pub is_committed: bool,
    pub cascade_id: &'a str,
    /// Full name of the event's type: what follows the last `/` (WIRE-6).
    pub type_name: &'a str,
    header: Option<&'a [u8]>,
    created_at: Option<&'a [u8]>,
}

impl<'a> Page<'a> {
    /// None for bytes that are no `EventPage`.
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        let mut page = Page::default();
        for field in Fields(bytes) {
            match field? {
                (1, Value::Bytes(header)) => {
                    page.header = Some(header);
                    page.sequence = parse_header(header)?;
                }
                (2, Value::Bytes(time)) => {
                    page.created_at = Some(time);
                    page.created_at_ns = parse_time(time)?;
                }
                (3, Value::Bytes(event)) => page.type_name = parse_type_name(event)?,
                (6, Value::Number(flag)) => page.is_committed = flag != 0,
                (7, Value::Bytes(id)) => page.cascade_id = std::str::from_utf8(id).ok()?,
                (1..=4 | 6 | 7, value) if !matches!(value, Value::Bytes(_)) => return None,
                (6, _) => return None,
                _ => {}
            }
        }
        Some(page)
    }

    /// The visibility transform leaves the page as it is, whatever is decided (CAS-5).
    pub fn is_plain(&self) -> bool {
        self.cascade_id.is_empty() && !is_framework(self.type_name)
    }

    /// The `NoOp` that stands for this page (CAS-7).
    pub fn no_op(&self, cascade_id: &str, reason: &str) -> Vec<u8> {
        let mut payload = Vec::new();
        if let Some(sequence) = self.sequence.filter(|sequence| *sequence > 0) {
            put_number(&mut payload, 1, sequence);
        }
        put_text(&mut payload, 2, cascade_id);
        put_text(&mut payload, 3, reason);
        let mut page = Vec::with_capacity(payload.len() + 96);
        if let Some(header) = self.header {
            put_bytes(&mut page, 1, header);
        }
        if let Some(time) = self.created_at {
            put_bytes(&mut page, 2, time);
        }
        put_bytes(&mut page, 3, &framework_any("NoOp", &payload));
        put_number(&mut page, 6, 1);
        page
    }
}

/// What a column is made of, of an `EventPage`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Event<'a> {
    /// 0 without `created_at`.
    pub created_at_ns: i64,
    /// Type URL and value of the event; None for a page without one.
    pub event: Option<(&'a [u8], &'a [u8])>,
}

impl<'a> Event<'a> {
    /// None for bytes that are no `EventPage`.
    pub fn parse(page: &'a [u8]) -> Option<Self> {
        let mut event = Event::default();
        for field in Fields(page) {
            match field? {
                (2, Value::Bytes(time)) => event.created_at_ns = parse_time(time)?,
                (3, Value::Bytes(any)) => event.event = Some(parse_any(any)?),
                (2 | 3, _) => return None,
                _ => {}
            }
        }
        Some(event)
    }
}

fn parse_any(any: &[u8]) -> Option<(&[u8], &[u8])> {
    let (mut type_url, mut value) = (&[][..], &[][..]);
    for field in Fields(any) {
        match field? {
            (1, Value::Bytes(bytes)) => type_url = bytes,
            (2, Value::Bytes(bytes)) => value = bytes,
            (1 | 2, _) => return None,
            _ => {}
        }
    }
    Some((type_url, value))
}

/// `page` with `committed` true, its other fields untouched.
pub fn committed(page: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(page.len() + 2);
    let mut is_set = false;
    let mut rest = page;
    while !rest.is_empty() {
        let before = rest;
        let (number, _) = read_field(&mut rest)?;
        if number == 6 {
            continue;
        }
        if number > 6 && !is_set {
            put_number(&mut out, 6, 1);
            is_set = true;
        }
        out.extend_from_slice(&before[..before.len() - rest.len()]);
    }
    if !is_set {
        put_number(&mut out, 6, 1);
    }
    Some(out)
}

/// A framework event: `angzarr.` and a name without further dots (WIRE-6, CAS-5).
pub fn is_framework(type_name: &str) -> bool {
    type_name
        .strip_prefix("angzarr.")
        .is_some_and(|name| !name.is_empty() && !name.contains('.'))
}

/// The outer `None` is malformed, the inner one a header without an explicit sequence.
#[allow(clippy::option_option)]
fn parse_header(header: &[u8]) -> Option<Option<u64>> {
    let mut sequence = None;
    for field in Fields(header) {
        match field? {
            (1, Value::Number(number)) => sequence = Some(number),
            (2 | 3, Value::Bytes(_)) => sequence = None,
            (1..=3, _) => return None,
            _ => {}
        }
    }
    Some(sequence)
}

#[allow(clippy::cast_possible_wrap)] // int64 travels as its two's complement
fn parse_time(time: &[u8]) -> Option<i64> {
    let (mut seconds, mut nanos) = (0i64, 0i64);
    for field in Fields(time) {
        match field? {
            (1, Value::Number(number)) => seconds = number as i64,
            (2, Value::Number(number)) => nanos = number as i64,
            (1 | 2, _) => return None,
            _ => {}
        }
    }
    Some(seconds.saturating_mul(NANOS).saturating_add(nanos))
}

fn parse_type_name(any: &[u8]) -> Option<&str> {
    let mut name = "";
    for field in Fields(any) {
        match field? {
            (1, Value::Bytes(url)) => {
                let url = std::str::from_utf8(url).ok()?;
                name = url.rsplit_once('/').map_or(url, |(_, name)| name);
            }
            (1, _) => return None,
            _ => {}
        }
    }
    Some(name)
}

/// What the engine reads of a `Snapshot`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Snapshot {
    pub sequence: u64,
    pub retention: Retention,
}

/// Unknown numbers count as `Default` (WIRE-2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retention {
    Default,
    Persist,
    Transient,
}

impl Snapshot {
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let mut snapshot = Snapshot {
            sequence: 0,
            retention: Retention::Default,
        };
        for field in Fields(bytes) {
            match field? {
                (2, Value::Number(number)) => snapshot.sequence = number,
                (3, Value::Bytes(state)) => {
                    parse_type_name(state)?;
                }
                (4, Value::Number(number)) => {
                    snapshot.retention = match number {
                        1 => Retention::Persist,
                        2 => Retention::Transient,
                        _ => Retention::Default,
                    };
                }
                (2..=4, _) => return None,
                _ => {}
            }
        }
        Some(snapshot)
    }
}

/// Appends `page` as an `EventBook.pages` field.
pub fn put_frame(out: &mut Vec<u8>, page: &[u8]) {
    out.push(PAGES_TAG);
    put_varint(out, page.len() as u64);
    out.extend_from_slice(page);
}

/// Bytes that [`put_frame`] appends.
pub fn frame_len(page_len: usize) -> usize {
    let bits = usize::BITS - (page_len | 1).leading_zeros();
    1 + bits.div_ceil(7) as usize + page_len
}

/// Takes the next frame off `rest`: (frame, page). None if there is none or it is malformed.
pub fn take_frame<'a>(rest: &mut &'a [u8]) -> Option<(&'a [u8], &'a [u8])> {
    let frames = *rest;
    let mut after = frames.strip_prefix(&[PAGES_TAG])?;
    let length = usize::try_from(read_varint(&mut after)?).ok()?;
    let page = take(&mut after, length)?;
    *rest = after;
    Some((&frames[..frames.len() - after.len()], page))
}

/// What a book's cover says.
#[derive(Clone, Copy, Debug)]
pub struct Cover<'a> {
    pub domain: &'a str,
    pub edition: &'a str,
    pub root: &'a [u8; 16],
    pub correlation_id: &'a str,
}

fn cover(of: Cover) -> Vec<u8> {
    let mut out =
        Vec::with_capacity(40 + of.domain.len() + of.edition.len() + of.correlation_id.len());
    out.extend_from_slice(&[1 << 3 | 2, 18, 1 << 3 | 2, 16]);
    out.extend_from_slice(of.root);
    put_text(&mut out, 2, of.domain);
    put_text(&mut out, 3, of.correlation_id);
    let mut edition = Vec::with_capacity(of.edition.len() + 2);
    put_text(&mut edition, 1, of.edition);
    put_bytes(&mut out, 4, &edition);
    out
}

/// An encoded `EventBook` in canonical field order. `frames` are pages as [`put_frame`] wrote them.
pub fn book(of: Cover, snapshot: Option<&[u8]>, frames: &[&[u8]], next_sequence: u64) -> Vec<u8> {
    let cover = cover(of);
    let pages_len: usize = frames.iter().map(|part| part.len()).sum();
    let mut out =
        Vec::with_capacity(cover.len() + snapshot.map_or(0, <[u8]>::len) + pages_len + 24);
    put_bytes(&mut out, 1, &cover);
    if let Some(snapshot) = snapshot {
        put_bytes(&mut out, 2, snapshot);
    }
    for part in frames {
        out.extend_from_slice(part);
    }
    if next_sequence > 0 {
        put_number(&mut out, 6, next_sequence);
    }
    out
}

/// The page that resolves `sequences` (CAS-4): a Confirmation, or a Revocation if there is a reason for one.
pub struct Marker<'a> {
    pub target: Cover<'a>,
    pub sequence: u64,
    pub created_at_ns: i64,
    pub sequences: &'a [u64],
    pub cascade_id: &'a str,
    /// None confirms.
    pub revocation_reason: Option<&'a str>,
}

impl Marker<'_> {
    pub fn page(&self) -> Vec<u8> {
        let mut packed = Vec::new();
        for sequence in self.sequences {
            put_varint(&mut packed, *sequence);
        }
        let mut payload = Vec::new();
        put_bytes(&mut payload, 1, &cover(self.target));
        put_bytes(&mut payload, 2, &packed);
        put_text(&mut payload, 3, self.cascade_id);
        put_text(&mut payload, 4, self.revocation_reason.unwrap_or(""));
        let name = if self.revocation_reason.is_some() {
            "Revocation"
        } else {
            "Confirmation"
        };

        let mut page = Vec::with_capacity(payload.len() + 128);
        let mut header = Vec::new();
        put_number(&mut header, 1, self.sequence);
        put_bytes(&mut page, 1, &header);
        put_bytes(&mut page, 2, &time(self.created_at_ns));
        put_bytes(&mut page, 3, &framework_any(name, &payload));
        put_number(&mut page, 6, 1);
        put_text(&mut page, 7, self.cascade_id);
        page
    }
}

#[allow(clippy::cast_sign_loss)] // int64 travels as its two's complement
fn time(ns: i64) -> Vec<u8> {
    let mut out = Vec::new();
    for (field, value) in [(1, ns.div_euclid(NANOS)), (2, ns.rem_euclid(NANOS))] {
        if value != 0 {
            put_number(&mut out, field, value as u64);
        }
    }
    out
}

/// A framework message as we store it (WIRE-4).
fn framework_any(name: &str, value: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(value.len() + 48);
    put_bytes(
        &mut out,
        1,
        format!("type.angzarr.io/angzarr.{name}").as_bytes(),
    );
    if !value.is_empty() {
        put_bytes(&mut out, 2, value);
    }
    out
}

#[cfg(test)]
#[path = "wire_tests.rs"]
mod tests;
