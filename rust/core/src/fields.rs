//! Fields of payloads without their classes: from JSON by keys, from protobuf by field numbers.

use std::borrow::Cow;

use crate::api::{Encoding, FieldKind, FieldSpec};
use crate::json::{self, Scalar};
use crate::raw::{Raw, read_raw};

const JSON_PREFIX: &str = "json.angzarr.io/";
/// Levels of messages within messages on the way to a field, and of groups.
const DEPTH_MAX: usize = 100;

/// A field's value in one payload.
#[derive(Clone, Debug, PartialEq)]
pub enum Value<'a> {
    Int(i64),
    Float(f64),
    Bool(bool),
    Text(Cow<'a, str>),
}

impl FieldKind {
    /// By its name in `ports/columns.py`.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "int" => Self::Int,
            "float" => Self::Float,
            "bool" => Self::Bool,
            "text" => Self::Text,
            "payload" => Self::Payload,
            _ => return None,
        })
    }
}

impl Encoding {
    /// By its name in `ports/columns.py`.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "varint" => Self::Varint,
            "zigzag" => Self::Zigzag,
            "bool" => Self::Bool,
            "fixed32" => Self::Fixed32,
            "fixed64" => Self::Fixed64,
            "sfixed32" => Self::Sfixed32,
            "sfixed64" => Self::Sfixed64,
            "float" => Self::Float,
            "double" => Self::Double,
            "string" => Self::String,
            _ => return None,
        })
    }
}

/// How the payloads of one type are read: which columns get something, and from where.
pub struct Plan {
    columns: Vec<(usize, FieldKind)>,
    source: Source,
}

enum Source {
    Json(json::Node),
    Protobuf(Node),
}

impl Plan {
    /// None if no column is about the type. `type_url`: as in the pages' `Any`.
    pub fn new(type_url: &str, specs: &[FieldSpec]) -> Option<Self> {
        let name = type_url.rsplit_once('/').map_or(type_url, |(_, name)| name);
        let is_json = type_url.starts_with(JSON_PREFIX);
        let (mut json, mut protobuf) = (json::Node::default(), Node::default());
        let mut columns = Vec::new();
        for (column, spec) in specs.iter().enumerate() {
            let Some(path) = spec.paths.iter().find(|path| path.type_name == name) else {
                continue;
            };
            let slot = columns.len();
            match path.encoding {
                _ if is_json && !path.keys.is_empty() => json.add(&path.keys, slot),
                Some(encoding) if !is_json && !path.numbers.is_empty() => {
                    protobuf.add(&path.numbers, encoding, slot);
                }
                _ => continue,
            }
            columns.push((column, spec.kind));
        }
        let source = if is_json {
            Source::Json(json)
        } else {
            Source::Protobuf(protobuf)
        };
        (!columns.is_empty()).then_some(Self { columns, source })
    }

    /// Gives each (column, value) that the payload has to `put`.
    pub fn read<'a>(&self, payload: &'a [u8], mut put: impl FnMut(usize, Value<'a>)) {
        match &self.source {
            Source::Json(wanted) => {
                let mut found = vec![None; self.columns.len()];
                if json::pull(payload, wanted, &mut found) {
                    for (scalar, (column, kind)) in found.into_iter().zip(&self.columns) {
                        if let Some(value) = scalar.and_then(|scalar| of_json(scalar, *kind)) {
                            put(*column, value);
                        }
                    }
                }
            }
            Source::Protobuf(wanted) => {
                let mut found = vec![Slot::Empty; self.columns.len()];
                if pull(payload, wanted, &mut found, DEPTH_MAX).is_some() {
                    for (slot, (column, kind)) in found.into_iter().zip(&self.columns) {
                        if let Slot::Is(number) = slot
                            && let Some(value) = of_protobuf(number, *kind)
                        {
                            put(*column, value);
                        }
                    }
                }
            }
        }
    }
}

fn of_json(scalar: Scalar, kind: FieldKind) -> Option<Value> {
    match (kind, scalar) {
        (FieldKind::Int, Scalar::Number(text)) => text.parse().ok().map(Value::Int),
        (FieldKind::Float, Scalar::Number(text)) => {
            let number: f64 = text.parse().ok()?;
            number.is_finite().then_some(Value::Float(number))
        }
        (FieldKind::Bool, Scalar::Bool(flag)) => Some(Value::Bool(flag)),
        (FieldKind::Text, Scalar::Text(text)) => Some(Value::Text(text)),
        _ => None,
    }
}

/// What a protobuf field was decoded to, by its encoding.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Number<'a> {
    Signed(i64),
    Unsigned(u64),
    Float(f64),
    Bool(bool),
    Bytes(&'a [u8]),
}

#[allow(clippy::cast_precision_loss)] // a column of floats has the nearest one
fn of_protobuf(number: Number, kind: FieldKind) -> Option<Value> {
    match (kind, number) {
        (FieldKind::Int, Number::Signed(number)) => Some(Value::Int(number)),
        (FieldKind::Int, Number::Unsigned(number)) => i64::try_from(number).ok().map(Value::Int),
        (FieldKind::Float, Number::Float(number)) => Some(Value::Float(number)),
        (FieldKind::Float, Number::Signed(number)) => Some(Value::Float(number as f64)),
        (FieldKind::Float, Number::Unsigned(number)) => Some(Value::Float(number as f64)),
        (FieldKind::Bool, Number::Bool(flag)) => Some(Value::Bool(flag)),
        (FieldKind::Text, Number::Bytes(bytes)) => {
            let text = std::str::from_utf8(bytes).ok()?;
            Some(Value::Text(Cow::Borrowed(text)))
        }
        _ => None,
    }
}

/// As [`json::Node`], by field numbers.
#[derive(Debug, Default)]
struct Node {
    children: Vec<(u32, Node)>,
    leaves: Vec<(Encoding, usize)>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Slot<'a> {
    Empty,
    Is(Number<'a>),
    /// A message on the way to the field is malformed.
    Malformed,
}

impl Node {
    fn add(&mut self, numbers: &[u32], encoding: Encoding, slot: usize) {
        let Some((number, rest)) = numbers.split_first() else {
            self.leaves.push((encoding, slot));
            return;
        };
        let known = self.children.iter().position(|(known, _)| known == number);
        let index = known.unwrap_or_else(|| {
            self.children.push((*number, Node::default()));
            self.children.len() - 1
        });
        self.children[index].1.add(rest, encoding, slot);
    }

    fn spoil(&self, found: &mut [Slot]) {
        for (_, slot) in &self.leaves {
            found[*slot] = Slot::Malformed;
        }
        for (_, child) in &self.children {
            child.spoil(found);
        }
    }
}

/// Reads one message. Of a field that comes several times the last counts; messages are merged, as protobuf does.
fn pull<'a>(message: &'a [u8], wanted: &Node, found: &mut [Slot<'a>], depth: usize) -> Option<()> {
    let mut rest = message;
    while !rest.is_empty() {
        let (number, value) = read_raw(&mut rest, DEPTH_MAX)?;
        let Some((_, node)) = wanted.children.iter().find(|(known, _)| *known == number) else {
            continue;
        };
        for (encoding, slot) in &node.leaves {
            if let Some(decoded) = decode(*encoding, value)
                && found[*slot] != Slot::Malformed
            {
                found[*slot] = Slot::Is(decoded);
            }
        }
        if !node.children.is_empty()
            && let Raw::Bytes(nested) = value
        {
            let is_read = depth
                .checked_sub(1)
                .and_then(|depth| pull(nested, node, found, depth));
            if is_read.is_none() {
                node.children
                    .iter()
                    .for_each(|(_, child)| child.spoil(found));
            }
        }
    }
    Some(())
}

/// None where the bytes are those of another encoding: the field is then unknown to the reader.
#[allow(clippy::cast_possible_wrap)] // two's complement
fn decode(encoding: Encoding, value: Raw) -> Option<Number> {
    Some(match (encoding, value) {
        (Encoding::Varint, Raw::Varint(bits)) | (Encoding::Sfixed64, Raw::Fixed64(bits)) => {
            Number::Signed(bits as i64)
        }
        (Encoding::Zigzag, Raw::Varint(bits)) => {
            Number::Signed((bits >> 1) as i64 ^ -((bits & 1) as i64))
        }
        (Encoding::Bool, Raw::Varint(bits)) => Number::Bool(bits != 0),
        (Encoding::Fixed32, Raw::Fixed32(bits)) => Number::Unsigned(bits.into()),
        (Encoding::Fixed64, Raw::Fixed64(bits)) => Number::Unsigned(bits),
        (Encoding::Sfixed32, Raw::Fixed32(bits)) => Number::Signed((bits as i32).into()),
        (Encoding::Float, Raw::Fixed32(bits)) => Number::Float(f32::from_bits(bits).into()),
        (Encoding::Double, Raw::Fixed64(bits)) => Number::Float(f64::from_bits(bits)),
        (Encoding::String, Raw::Bytes(bytes)) => Number::Bytes(bytes),
        _ => return None,
    })
}

#[cfg(test)]
#[path = "fields_tests.rs"]
mod tests;
