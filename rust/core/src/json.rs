//! Scalars out of JSON documents, by their keys: one pass over the bytes, no tree (RFC 8259).

use std::borrow::Cow;

/// Levels of a document; a deeper one counts as malformed.
const DEPTH_MAX: usize = 128;

/// A scalar as it stands in the document.
#[derive(Clone, Debug, PartialEq)]
pub enum Scalar<'a> {
    /// A number's text, which is well formed.
    Number(&'a str),
    Bool(bool),
    Text(Cow<'a, str>),
}

/// What to look for: keys, what is below them, and the slots that the value goes to.
#[derive(Debug, Default)]
pub struct Node {
    children: Vec<(String, Node)>,
    slots: Vec<usize>,
}

impl Node {
    /// Looks for the value under `keys`, from the outside in; it will be in slot `slot`.
    pub fn add(&mut self, keys: &[String], slot: usize) {
        let Some((key, rest)) = keys.split_first() else {
            self.slots.push(slot);
            return;
        };
        let known = self.children.iter().position(|(known, _)| known == key);
        let index = known.unwrap_or_else(|| {
            self.children.push((key.clone(), Node::default()));
            self.children.len() - 1
        });
        self.children[index].1.add(rest, slot);
    }

    fn child(&self, key: &str) -> Option<&Node> {
        let found = self.children.iter().find(|(known, _)| known == key);
        found.map(|(_, node)| node)
    }

    fn clear<T>(&self, found: &mut [Option<T>]) {
        for slot in &self.slots {
            found[*slot] = None;
        }
        for (_, child) in &self.children {
            child.clear(found);
        }
    }
}

/// Puts the scalars that `wanted` names into `found`, which has one place a slot. Of equal keys the last counts. False,
/// with anything in `found`, for bytes that are no JSON document.
pub fn pull<'a>(document: &'a [u8], wanted: &Node, found: &mut [Option<Scalar<'a>>]) -> bool {
    let Ok(text) = std::str::from_utf8(document) else {
        return false;
    };
    let mut reader = Reader { text, at: 0 };
    reader.space();
    let is_read = reader.value(Some(wanted), found, DEPTH_MAX);
    reader.space();
    is_read.is_some() && reader.at == text.len()
}

/// Methods answer None where the document is malformed.
struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn take(&mut self, byte: u8) -> Option<()> {
        (self.peek()? == byte).then(|| self.at += 1)
    }

    fn space(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.peek() {
            self.at += 1;
        }
    }

    fn value(
        &mut self,
        wanted: Option<&Node>,
        found: &mut [Option<Scalar<'a>>],
        depth: usize,
    ) -> Option<()> {
        let wanted_slots = wanted.filter(|node| !node.slots.is_empty());
        match self.peek()? {
            b'{' => return self.object(wanted, found, depth.checked_sub(1)?),
            b'[' => return self.array(found, depth.checked_sub(1)?),
            b'"' => {
                let (raw, is_escaped) = self.string()?;
                if let Some(node) = wanted_slots {
                    put(node, &Scalar::Text(unescaped(raw, is_escaped)?), found);
                }
            }
            b't' => self.word("true", Some(true), wanted_slots, found)?,
            b'f' => self.word("false", Some(false), wanted_slots, found)?,
            b'n' => self.word("null", None, wanted_slots, found)?,
            _ => {
                let number = self.number()?;
                if let Some(node) = wanted_slots {
                    put(node, &Scalar::Number(number), found);
                }
            }
        }
        Some(())
    }

    fn word(
        &mut self,
        word: &str,
        value: Option<bool>,
        wanted: Option<&Node>,
        found: &mut [Option<Scalar<'a>>],
    ) -> Option<()> {
        self.text[self.at..].starts_with(word).then_some(())?;
        self.at += word.len();
        if let (Some(node), Some(value)) = (wanted, value) {
            put(node, &Scalar::Bool(value), found);
        }
        Some(())
    }

    fn object(
        &mut self,
        wanted: Option<&Node>,
        found: &mut [Option<Scalar<'a>>],
        depth: usize,
    ) -> Option<()> {
        self.at += 1;
        self.space();
        if self.take(b'}').is_some() {
            return Some(());
        }
        loop {
            let (raw, is_escaped) = self.string()?;
            let child = match wanted {
                Some(node) if is_escaped => node.child(&unescaped(raw, true)?),
                Some(node) => node.child(raw),
                None => None,
            };
            if let Some(node) = child {
                node.clear(found);
            }
            self.space();
            self.take(b':')?;
            self.space();
            self.value(child, found, depth)?;
            self.space();
            if self.take(b'}').is_some() {
                return Some(());
            }
            self.take(b',')?;
            self.space();
        }
    }

    fn array(&mut self, found: &mut [Option<Scalar<'a>>], depth: usize) -> Option<()> {
        self.at += 1;
        self.space();
        if self.take(b']').is_some() {
            return Some(());
        }
        loop {
            self.value(None, found, depth)?;
            self.space();
            if self.take(b']').is_some() {
                return Some(());
            }
            self.take(b',')?;
            self.space();
        }
    }

    /// What is between the quotes, and whether it has escapes.
    fn string(&mut self) -> Option<(&'a str, bool)> {
        self.take(b'"')?;
        let (start, mut is_escaped) = (self.at, false);
        let bytes = self.text.as_bytes();
        loop {
            match bytes.get(self.at)? {
                b'"' => {
                    let raw = &self.text[start..self.at];
                    self.at += 1;
                    return Some((raw, is_escaped));
                }
                b'\\' => {
                    is_escaped = true;
                    self.at += escape_len(&bytes[self.at..])?;
                }
                0..0x20 => return None,
                _ => self.at += 1,
            }
        }
    }

    fn number(&mut self) -> Option<&'a str> {
        let start = self.at;
        let _is_negative = self.take(b'-').is_some();
        if self.take(b'0').is_none() {
            self.digits()?;
        }
        if self.take(b'.').is_some() {
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.peek() {
            self.at += 1;
            if let Some(b'+' | b'-') = self.peek() {
                self.at += 1;
            }
            self.digits()?;
        }
        Some(&self.text[start..self.at])
    }

    /// At least one.
    fn digits(&mut self) -> Option<()> {
        let start = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        (self.at > start).then_some(())
    }
}

fn put<'a>(node: &Node, scalar: &Scalar<'a>, found: &mut [Option<Scalar<'a>>]) {
    for slot in &node.slots {
        found[*slot] = Some(scalar.clone());
    }
}

/// Bytes of the escape at the beginning of `bytes`.
fn escape_len(bytes: &[u8]) -> Option<usize> {
    match bytes.get(1)? {
        b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Some(2),
        b'u' => bytes
            .get(2..6)?
            .iter()
            .all(u8::is_ascii_hexdigit)
            .then_some(6),
        _ => None,
    }
}

/// None for half of a surrogate pair.
fn unescaped(raw: &str, is_escaped: bool) -> Option<Cow<'_, str>> {
    if !is_escaped {
        return Some(Cow::Borrowed(raw));
    }
    let mut out = String::with_capacity(raw.len());
    let mut rest = raw;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        let escape = rest.as_bytes().get(at + 1)?;
        rest = &rest[at + 2..];
        out.push(match escape {
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => unit_or_pair(&mut rest)?,
            other => char::from(*other),
        });
    }
    out.push_str(rest);
    Some(Cow::Owned(out))
}

/// The character of one or two `\u` escapes, the first of which has lost its `\u`.
fn unit_or_pair(rest: &mut &str) -> Option<char> {
    let high = unit(rest)?;
    if !(0xD800..0xDC00).contains(&high) {
        return char::from_u32(high);
    }
    *rest = rest.strip_prefix("\\u")?;
    let low = unit(rest)?.checked_sub(0xDC00).filter(|low| *low < 0x400)?;
    char::from_u32(0x1_0000 + ((high - 0xD800) << 10) + low)
}

fn unit(rest: &mut &str) -> Option<u32> {
    let (digits, after) = rest.split_at_checked(4)?;
    *rest = after;
    u32::from_str_radix(digits, 16).ok()
}

#[cfg(test)]
#[path = "json_tests.rs"]
mod tests;
