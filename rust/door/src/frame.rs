//! gRPC's framing: a flag, a length in four bytes, a message, cut out of HTTP/2's chunks.

use std::io::Read;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use flate2::read::{GzDecoder, ZlibDecoder};
use http::{HeaderMap, HeaderValue};
use http_body::Body;

use crate::refusal::Refusal;

pub const HEADER_BYTES: usize = 5;

/// How a message is compressed where its flag says that it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    Identity,
    Gzip,
    /// The zlib format, whatever its name (gRPC over HTTP/2).
    Deflate,
}

impl Encoding {
    pub fn of(headers: &HeaderMap) -> Result<Self, Refusal> {
        match headers.get("grpc-encoding").map(HeaderValue::as_bytes) {
            None | Some(b"identity") => Ok(Self::Identity),
            Some(b"gzip") => Ok(Self::Gzip),
            Some(b"deflate") => Ok(Self::Deflate),
            Some(other) => Err(Refusal::Encoding(other.escape_ascii().to_string())),
        }
    }
}

/// `message` with its header, uncompressed.
///
/// The caller has seen to it that its length fits the four bytes.
pub fn framed(message: &[u8]) -> Bytes {
    let mut frame = BytesMut::with_capacity(HEADER_BYTES + message.len());
    frame.put_u8(0);
    frame.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    frame.put_slice(message);
    frame.freeze()
}

/// The messages in a body.
pub struct Messages<B> {
    body: B,
    cutter: Cutter,
}

impl<B: Body<Data = Bytes> + Unpin> Messages<B>
where
    B::Error: std::fmt::Display,
{
    pub fn new(body: B, encoding: Encoding, message_bytes_max: usize) -> Self {
        let cutter = Cutter {
            chunk: Bytes::new(),
            partial: BytesMut::new(),
            encoding,
            message_bytes_max,
        };
        Self { body, cutter }
    }

    /// The next message, None after the last.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Refusal>>> {
        loop {
            if let Some(message) = self.cutter.cut().transpose() {
                return Poll::Ready(Some(message));
            }
            match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Ok(frame)) => {
                    // Trailers of a request mean nothing in gRPC.
                    self.cutter.chunk = frame.into_data().unwrap_or_default();
                }
                Some(Err(error)) => {
                    return Poll::Ready(Some(Err(Refusal::Malformed(error.to_string()))));
                }
                None if self.cutter.partial.is_empty() => return Poll::Ready(None),
                None => {
                    let text = "the requests end in the middle of a message".to_owned();
                    return Poll::Ready(Some(Err(Refusal::Malformed(text))));
                }
            }
        }
    }
}

/// Cuts chunks, whatever their borders, into messages. A message in one chunk is not copied.
struct Cutter {
    chunk: Bytes,
    partial: BytesMut,
    encoding: Encoding,
    message_bytes_max: usize,
}

impl Cutter {
    fn cut(&mut self) -> Result<Option<Bytes>, Refusal> {
        if self.partial.is_empty()
            && let Some(size) = self.size_of(&self.chunk)?
            && self.chunk.len() >= size
        {
            let frame = self.chunk.split_to(size);
            return self.opened(frame).map(Some);
        }
        loop {
            let size = self.size_of(&self.partial)?;
            let wanted = size.unwrap_or(HEADER_BYTES) - self.partial.len();
            let count = wanted.min(self.chunk.len());
            self.partial.extend_from_slice(&self.chunk[..count]);
            self.chunk.advance(count);
            if count < wanted {
                return Ok(None);
            }
            if size.is_some() {
                let frame = self.partial.split().freeze();
                return self.opened(frame).map(Some);
            }
        }
    }

    /// The size of the frame that begins with `start`, header included, once that tells it.
    fn size_of(&self, start: &[u8]) -> Result<Option<usize>, Refusal> {
        let Some((_, mut length)) = start.get(..HEADER_BYTES).and_then(<[u8]>::split_first) else {
            return Ok(None);
        };
        let length = length.get_u32() as usize;
        self.check(length)?;
        Ok(Some(HEADER_BYTES + length))
    }

    fn check(&self, size_bytes: usize) -> Result<(), Refusal> {
        let limit_bytes = self.message_bytes_max;
        if size_bytes > limit_bytes {
            return Err(Refusal::TooLarge {
                size_bytes,
                limit_bytes,
            });
        }
        Ok(())
    }

    fn opened(&self, mut frame: Bytes) -> Result<Bytes, Refusal> {
        let flag = frame[0];
        frame.advance(HEADER_BYTES);
        match (flag, self.encoding) {
            (0, _) => Ok(frame),
            (1, Encoding::Gzip) => self.inflated(GzDecoder::new(&*frame)),
            (1, Encoding::Deflate) => self.inflated(ZlibDecoder::new(&*frame)),
            (1, Encoding::Identity) => Err(Refusal::Malformed(
                "a message is flagged as compressed, and grpc-encoding says nothing".into(),
            )),
            _ => Err(Refusal::Malformed(format!("a message has the flag {flag}"))),
        }
    }

    fn inflated(&self, reader: impl Read) -> Result<Bytes, Refusal> {
        let limit = self.message_bytes_max;
        let mut message = Vec::new();
        reader
            .take(limit as u64 + 1) // so that one byte too many shows
            .read_to_end(&mut message)
            .map_err(|error| Refusal::Malformed(format!("a compressed message: {error}")))?;
        self.check(message.len())?;
        Ok(message.into())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::convert::Infallible;
    use std::io::Write;
    use std::task::Waker;

    use http_body::Frame;
    use proptest::prelude::*;

    use super::*;

    struct Chunks(VecDeque<Bytes>);

    impl Body for Chunks {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            Poll::Ready(self.0.pop_front().map(|chunk| Ok(Frame::data(chunk))))
        }
    }

    fn read(chunks: &[&[u8]], encoding: Encoding, limit: usize) -> Result<Vec<Bytes>, Refusal> {
        let chunks = chunks.iter().map(|c| Bytes::copy_from_slice(c)).collect();
        let mut messages = Messages::new(Chunks(chunks), encoding, limit);
        let mut found = Vec::new();
        let mut cx = Context::from_waker(Waker::noop());
        while let Poll::Ready(Some(message)) = messages.poll_next(&mut cx) {
            found.push(message?);
        }
        Ok(found)
    }

    fn compressed(payload: &[u8]) -> Vec<u8> {
        let mut frame = framed(payload).to_vec();
        frame[0] = 1;
        frame
    }

    fn gzip(message: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(message).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn compressed_messages_are_inflated() {
        let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(b"deflated").unwrap();
        let zlib = encoder.finish().unwrap();

        let gzipped = read(&[&compressed(&gzip(b"gzipped"))], Encoding::Gzip, 100);
        let deflated = read(&[&compressed(&zlib)], Encoding::Deflate, 100);

        assert_eq!(gzipped.unwrap(), ["gzipped"]);
        assert_eq!(deflated.unwrap(), ["deflated"]);
    }

    #[test]
    fn a_message_that_inflates_beyond_the_limit_is_too_large() {
        let bomb = gzip(&vec![0; 1_000_000]);

        let refused = read(&[&compressed(&bomb)], Encoding::Gzip, 100_000);

        assert!(matches!(
            refused,
            Err(Refusal::TooLarge {
                size_bytes: 100_001,
                ..
            })
        ));
    }

    #[test]
    fn a_message_over_the_limit_is_refused_by_its_header() {
        let refused = read(&[&framed(&[0; 11])[..HEADER_BYTES]], Encoding::Identity, 10);

        let expected = Refusal::TooLarge {
            size_bytes: 11,
            limit_bytes: 10,
        };
        assert_eq!(refused, Err(expected));
    }

    #[test]
    fn malformed_frames_are_refused() {
        let flagged = compressed(b"x");
        let mut unknown = framed(b"x").to_vec();
        unknown[0] = 2;
        for (chunk, encoding) in [
            (&flagged[..], Encoding::Identity), // compressed, nobody knows how
            (&flagged[..], Encoding::Gzip),     // not what it says
            (&unknown[..], Encoding::Identity),
            (&framed(b"xyz")[..6], Encoding::Identity), // ends early
            (&[0, 0][..], Encoding::Identity),
        ] {
            let refused = read(&[chunk], encoding, 100);
            assert!(matches!(refused, Err(Refusal::Malformed(_))), "{chunk:?}");
        }
    }

    proptest! {
        #[test]
        fn chunks_of_any_size_give_the_same_messages(
            messages in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..8),
            sizes in prop::collection::vec(1..20usize, 1..5),
        ) {
            let stream: Vec<u8> = messages.iter().flat_map(|m| framed(m)).collect();
            let mut chunks = Vec::new();
            let mut rest = &stream[..];
            for size in sizes.iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                let (chunk, after) = rest.split_at(rest.len().min(*size));
                chunks.push(chunk);
                rest = after;
            }

            let found = read(&chunks, Encoding::Identity, 100).unwrap();

            prop_assert_eq!(found, messages);
        }
    }
}
