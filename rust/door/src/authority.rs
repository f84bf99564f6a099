//! Makes what gRPC's C core sends as `:authority` over Unix sockets legible to h2.
//!
//! That is the socket's path, percent-encoded (`run%2Fangzarr.sock`), and h2 resets calls whose
//! authority has a `%`. Nothing here reads the authority, so each `%` in it becomes a `-` before h2
//! sees it; no length changes. C core sends the value as it is, not in HPACK's Huffman code.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

const AUTHORITY: &[u8] = b":authority";
/// Its index in HPACK's static table.
const AUTHORITY_INDEX: usize = 1;

const PREFACE_BYTES: usize = 24;
const FRAME_HEADER_BYTES: usize = 9;
const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;
const PADDED: u8 = 0x8;
const PRIORITY: u8 = 0x20;
const PRIORITY_BYTES: usize = 5;

/// A connection whose read bytes, after TLS if there is any, are made legible.
pub struct Legible<I> {
    io: I,
    /// None where every authority is.
    frames: Option<Frames>,
}

impl<I> Legible<I> {
    pub fn new(io: I, is_unix: bool) -> Self {
        Self {
            io,
            frames: is_unix.then(Frames::default),
        }
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for Legible<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let start = buffer.filled().len();
        ready!(Pin::new(&mut self.io).poll_read(cx, buffer))?;
        if let Some(frames) = &mut self.frames {
            frames.walk(&mut buffer.filled_mut()[start..]);
        }
        Poll::Ready(Ok(()))
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Legible<I> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

/// HTTP/2's frames, in pieces of any size. What is malformed is h2's to find.
struct Frames {
    /// Bytes that mean nothing here: the preface, payloads, padding.
    skipped: usize,
    header: [u8; FRAME_HEADER_BYTES],
    header_filled: usize,
    /// The padding's length comes next.
    is_padded: bool,
    /// What is skipped before the block begins.
    priority: usize,
    block_left: usize,
    padding: usize,
    block: Block,
}

impl Default for Frames {
    fn default() -> Self {
        Self {
            skipped: PREFACE_BYTES,
            header: [0; FRAME_HEADER_BYTES],
            header_filled: 0,
            is_padded: false,
            priority: 0,
            block_left: 0,
            padding: 0,
            block: Block::default(),
        }
    }
}

impl Frames {
    fn walk(&mut self, mut bytes: &mut [u8]) {
        while !bytes.is_empty() {
            let count = self.step(bytes);
            bytes = &mut bytes[count..];
        }
    }

    /// Take some of `bytes`, at least one; how many.
    fn step(&mut self, bytes: &mut [u8]) -> usize {
        if self.skipped > 0 {
            let count = self.skipped.min(bytes.len());
            self.skipped -= count;
            return count;
        }
        if self.is_padded {
            self.is_padded = false;
            self.padding = usize::from(bytes[0]);
            self.block_left = self.block_left.saturating_sub(1 + self.padding);
            self.begin_block();
            return 1;
        }
        if self.block_left > 0 {
            let count = self.block_left.min(bytes.len());
            bytes[..count]
                .iter_mut()
                .for_each(|byte| self.block.step(byte));
            self.block_left -= count;
            if self.block_left == 0 {
                self.skipped = self.padding;
            }
            return count;
        }
        self.header[self.header_filled] = bytes[0];
        self.header_filled += 1;
        if self.header_filled == FRAME_HEADER_BYTES {
            self.header_filled = 0;
            self.begin_frame();
        }
        1
    }

    fn begin_frame(&mut self) {
        let [high, middle, low, kind, flags, ..] = self.header;
        let length = usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low);
        if kind != HEADERS && kind != CONTINUATION {
            self.skipped = length;
            return;
        }
        let flags = if kind == HEADERS { flags } else { 0 };
        if kind == HEADERS {
            self.block = Block::default();
        }
        self.block_left = length;
        self.padding = 0;
        self.priority = if flags & PRIORITY == 0 {
            0
        } else {
            PRIORITY_BYTES
        };
        self.is_padded = flags & PADDED != 0;
        if !self.is_padded {
            self.begin_block();
        }
    }

    fn begin_block(&mut self) {
        self.skipped = self.priority.min(self.block_left);
        self.block_left -= self.skipped;
        if self.block_left == 0 {
            self.skipped += self.padding;
        }
    }
}

/// HPACK's fields, byte by byte (RFC 7541, 6).
#[derive(Default)]
struct Block {
    state: State,
    is_authority: bool,
}

#[derive(Clone, Copy, Default)]
enum State {
    #[default]
    Field,
    /// More of an integer, and what it is.
    Integer { value: usize, shift: u32, of: Of },
    /// A string's length comes next.
    Length { of_name: bool },
    /// So many bytes of a string, after `read` others.
    String {
        left: usize,
        read: usize,
        of_name: bool,
        is_plain: bool,
    },
}

#[derive(Clone, Copy)]
enum Of {
    /// A whole field, or a change of the table.
    Nothing,
    Name,
    String {
        of_name: bool,
        is_plain: bool,
    },
}

impl Block {
    fn step(&mut self, byte: &mut u8) {
        match self.state {
            State::Field => {
                let (bits, of) = match *byte {
                    0x80.. => (7, Of::Nothing),
                    0x40.. => (6, Of::Name),
                    0x20.. => (5, Of::Nothing),
                    _ => (4, Of::Name),
                };
                self.prefix(*byte, bits, of);
            }
            State::Integer { value, shift, of } => {
                let more = usize::from(*byte & 0x7f).checked_shl(shift).unwrap_or(0);
                let value = value.saturating_add(more);
                if *byte & 0x80 == 0 {
                    self.integer(value, of);
                } else {
                    let shift = shift.saturating_add(7);
                    self.state = State::Integer { value, shift, of };
                }
            }
            State::Length { of_name } => {
                let is_plain = *byte & 0x80 == 0;
                self.prefix(*byte, 7, Of::String { of_name, is_plain });
            }
            State::String {
                left,
                read,
                of_name,
                is_plain,
            } => {
                if of_name {
                    self.is_authority &= is_plain && AUTHORITY.get(read) == Some(byte);
                } else if self.is_authority && is_plain && *byte == b'%' {
                    *byte = b'-';
                }
                self.string(left - 1, read + 1, of_name, is_plain);
            }
        }
    }

    /// The first byte of an integer, in its last `bits`.
    fn prefix(&mut self, byte: u8, bits: u32, of: Of) {
        let full = (1 << bits) - 1;
        let value = usize::from(byte) & full;
        if value == full {
            let shift = 0;
            self.state = State::Integer { value, shift, of };
        } else {
            self.integer(value, of);
        }
    }

    fn integer(&mut self, value: usize, of: Of) {
        match of {
            Of::Nothing => self.state = State::Field,
            Of::Name => {
                self.is_authority = value == AUTHORITY_INDEX;
                self.state = State::Length {
                    of_name: value == 0,
                };
            }
            Of::String { of_name, is_plain } => {
                if of_name {
                    self.is_authority = value == AUTHORITY.len();
                }
                self.string(value, 0, of_name, is_plain);
            }
        }
    }

    fn string(&mut self, left: usize, read: usize, of_name: bool, is_plain: bool) {
        self.state = match (left, of_name) {
            (0, true) => State::Length { of_name: false },
            (0, false) => State::Field,
            _ => State::String {
                left,
                read,
                of_name,
                is_plain,
            },
        };
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let mut frame = vec![length[1], length[2], length[3], kind, flags, 0, 0, 0, 1];
        frame.extend(payload);
        frame
    }

    fn string(text: &str) -> Vec<u8> {
        let length = u8::try_from(text.len()).unwrap();
        assert!(length < 127);
        [&[length], text.as_bytes()].concat()
    }

    /// A literal field, added to the table.
    fn field(name: &str, value: &str) -> Vec<u8> {
        [vec![0x40], string(name), string(value)].concat()
    }

    fn stream(frames: &[Vec<u8>]) -> Vec<u8> {
        let mut stream = vec![b'P'; PREFACE_BYTES];
        stream.extend(frames.concat());
        stream
    }

    fn walked(stream: &[u8], sizes: &[usize]) -> Vec<u8> {
        let mut bytes = stream.to_vec();
        let mut frames = Frames::default();
        let mut rest = &mut bytes[..];
        for size in sizes.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (piece, after) = rest.split_at_mut((*size).min(rest.len()));
            frames.walk(piece);
            rest = after;
        }
        bytes
    }

    fn call(authority: &str) -> Vec<u8> {
        let long = "%".repeat(100);
        [
            vec![0x3f, 0xe1, 0x1f], // the table's size, an integer of three bytes
            field(":path", "/a%2Fb/c"),
            field(":authority", authority),
            vec![0x83, 0xff, 0x00], // indexed, the second one with a long index
            field("x", &long),
            vec![0x41],
            string(authority), // the name by its index
            vec![0x0f, 0x01],  // another name by a long index, not to be remembered
            string("50%"),
        ]
        .concat()
    }

    /// A stream with the authority in every place where it may be.
    fn calls(authority: &str) -> Vec<u8> {
        let block = call(authority);
        let (first, second) = block.split_at(12);
        let padded = [&[3], &[0; PRIORITY_BYTES][..], &block, &[b'%'; 3]].concat();
        stream(&[
            frame(4, 0, b"%%%%%%"),
            frame(HEADERS, 0x4, &block),
            frame(0, 0, &field(":authority", "data%")),
            frame(HEADERS, 0, first),
            frame(CONTINUATION, 0x4, second),
            frame(HEADERS, 0x4 | PADDED | PRIORITY, &padded),
            frame(HEADERS, 0x4 | PADDED, &[2, b'%', b'%']), // nothing but padding
            frame(HEADERS, 0x4, &block),
            frame(0, 0x1, b"%"),
        ])
    }

    #[test]
    fn only_the_authority_changes() {
        let found = walked(&calls("run%2Fangzarr%2Fx.sock"), &[usize::MAX]);

        assert!(found == calls("run-2Fangzarr-2Fx.sock"));
    }

    #[test]
    fn pieces_of_any_size_are_walked_alike() {
        for size in 1..40 {
            let found = walked(&calls("a%b"), &[size]);

            assert!(found == calls("a-b"), "{size}");
        }
    }

    proptest! {
        #[test]
        fn whatever_comes_is_walked(bytes: Vec<u8>, sizes in prop::collection::vec(1..9usize, 1..4)) {
            let sent = [vec![b'P'; PREFACE_BYTES], bytes].concat();

            prop_assert_eq!(walked(&sent, &sizes).len(), sent.len());
        }

        #[test]
        fn header_blocks_of_any_content_are_walked(bytes: Vec<u8>, flags: u8) {
            let sent = stream(&[frame(HEADERS, flags, &bytes), frame(0, 0, b"%")]);

            prop_assert_eq!(walked(&sent, &[7]).len(), sent.len());
        }
    }
}
