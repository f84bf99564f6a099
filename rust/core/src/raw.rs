//! Protobuf's encoding: fields one after the other, whatever they mean.

pub const VARINT: u64 = 0;
pub const BYTES: u64 = 2;
const FIXED64: u64 = 1;
const GROUP: u64 = 3;
const GROUP_END: u64 = 4;
const FIXED32: u64 = 5;

/// One field's value as it is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Raw<'a> {
    Varint(u64),
    Fixed64(u64),
    Bytes(&'a [u8]),
    Fixed32(u32),
    /// What is in it was skipped.
    Group,
}

/// Takes the next field of a message off `rest`: its number and value. None if it is malformed, or has groups within
/// groups beyond `depth` levels.
pub fn read_raw<'a>(rest: &mut &'a [u8], depth: usize) -> Option<(u32, Raw<'a>)> {
    let (number, kind) = read_tag(rest)?;
    let raw = match kind {
        VARINT => Raw::Varint(read_varint(rest)?),
        BYTES => {
            let length = usize::try_from(read_varint(rest)?).ok()?;
            Raw::Bytes(take(rest, length)?)
        }
        FIXED64 => Raw::Fixed64(u64::from_le_bytes(take(rest, 8)?.try_into().ok()?)),
        FIXED32 => Raw::Fixed32(u32::from_le_bytes(take(rest, 4)?.try_into().ok()?)),
        GROUP => {
            skip_group(rest, number, depth.checked_sub(1)?)?;
            Raw::Group
        }
        _ => return None,
    };
    Some((number, raw))
}

fn read_tag(rest: &mut &[u8]) -> Option<(u32, u64)> {
    let tag = read_varint(rest)?;
    let number = u32::try_from(tag >> 3).ok()?;
    (1..=0x1FFF_FFFF)
        .contains(&number)
        .then_some((number, tag & 7))
}

fn skip_group(rest: &mut &[u8], number: u32, depth: usize) -> Option<()> {
    loop {
        let before = *rest;
        let (found, kind) = read_tag(rest)?;
        if kind == GROUP_END {
            return (found == number).then_some(());
        }
        *rest = before;
        read_raw(rest, depth)?;
    }
}

pub fn take<'a>(rest: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (head, tail) = rest.split_at_checked(length)?;
    *rest = tail;
    Some(head)
}

pub fn read_varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for (index, byte) in rest.iter().take(10).enumerate() {
        value |= u64::from(byte & 0x7F) << (7 * index);
        if byte & 0x80 == 0 {
            *rest = &rest[index + 1..];
            return Some(value);
        }
    }
    None
}
