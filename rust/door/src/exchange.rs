//! One call while it runs, shared by the door's thread, which reads and writes it, and by who
//! answers it.

use std::collections::VecDeque;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::HeaderMap;
use http_body::Frame;
use parking_lot::Mutex;

use crate::api::CallId;

/// What may wait in a call, each way, before its writer has to: a slow reader costs no more.
pub const BUFFER_BYTES_MAX: usize = 64 * 1024;

/// What a message costs beside its bytes, so that empty ones have a limit, too.
const MESSAGE_BYTES: usize = 64;

pub struct Exchange {
    pub id: CallId,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    head: HeaderMap,
    is_accepted: bool,
    answers: VecDeque<Bytes>,
    answers_bytes: usize,
    /// `send` has said that there is no room, and who sends waits to be told of some.
    is_full: bool,
    end: End,
    /// Nobody reads the answers any more.
    is_over: bool,
    unread_bytes: usize,
    writer: Option<Waker>,
    reader: Option<Waker>,
}

/// Whether all is said, and whether that has gone out.
#[derive(Default)]
enum End {
    #[default]
    Open,
    Said(HeaderMap),
    Gone,
}

impl State {
    fn is_ended(&self) -> bool {
        !matches!(self.end, End::Open)
    }

    /// The trailers, once.
    fn take_trailers(&mut self) -> Option<HeaderMap> {
        match std::mem::replace(&mut self.end, End::Gone) {
            End::Said(trailers) => Some(trailers),
            other => {
                self.end = other;
                None
            }
        }
    }
}

/// How an answer begins.
pub enum Head {
    /// Headers; answers and trailers follow.
    Headers(HeaderMap),
    /// Trailers, and nothing else.
    Trailers(HeaderMap),
}

/// What may be done about a call's further requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    Goes,
    Waits,
    Ends,
}

impl Exchange {
    pub fn new(id: CallId) -> Self {
        Self {
            id,
            state: Mutex::default(),
        }
    }

    /// Begin the answer, with `head` as initial metadata.
    pub fn accept(&self, head: HeaderMap) {
        let mut state = self.state.lock();
        if !state.is_ended() && !state.is_accepted {
            state.is_accepted = true;
            state.head = head;
        }
    }

    /// Add a framed message; whether there is room for another one.
    pub fn send(&self, frame: Bytes) -> bool {
        let mut state = self.state.lock();
        if state.is_ended() {
            return true;
        }
        state.answers_bytes += cost(frame.len());
        state.answers.push_back(frame);
        state.is_full = state.answers_bytes >= BUFFER_BYTES_MAX;
        !state.is_full
    }

    /// End after what was sent; the first end is the one that counts.
    pub fn end(&self, trailers: HeaderMap) {
        let mut state = self.state.lock();
        if !state.is_ended() {
            state.end = End::Said(trailers);
        }
    }

    /// End without what was sent and has not gone out; false if it has ended already.
    pub fn cut_off(&self, trailers: HeaderMap) -> bool {
        let mut state = self.state.lock();
        if state.is_ended() {
            return false;
        }
        state.end = End::Said(trailers);
        state.answers.clear();
        state.answers_bytes = 0;
        true
    }

    /// A request was read whose message had so many bytes.
    pub fn took(&self, size_bytes: usize) {
        let mut state = self.state.lock();
        state.unread_bytes = state.unread_bytes.saturating_sub(cost(size_bytes));
    }

    /// A request of so many bytes is on its way to who reads it.
    pub fn gave(&self, size_bytes: usize) {
        self.state.lock().unread_bytes += cost(size_bytes);
    }

    /// Let both sides look again.
    pub fn wake(&self) {
        let mut state = self.state.lock();
        let wakers = [state.writer.take(), state.reader.take()];
        drop(state);
        wakers.into_iter().flatten().for_each(Waker::wake);
    }

    /// Nobody reads the answers any more; false if the call had not ended.
    pub fn leave(&self) -> bool {
        let mut state = self.state.lock();
        state.is_over = true;
        state.answers.clear();
        let was_ended = state.is_ended();
        drop(state);
        self.wake();
        was_ended
    }

    pub fn is_ended(&self) -> bool {
        self.state.lock().is_ended()
    }

    pub fn poll_head(&self, cx: &mut Context<'_>) -> Poll<Head> {
        let mut state = self.state.lock();
        if state.is_accepted || !state.answers.is_empty() {
            state.is_accepted = true;
            return Poll::Ready(Head::Headers(std::mem::take(&mut state.head)));
        }
        if let Some(trailers) = state.take_trailers() {
            return Poll::Ready(Head::Trailers(trailers));
        }
        state.writer = Some(cx.waker().clone());
        Poll::Pending
    }

    /// The next frame of the answer, None after the trailers; and whether room is to be told of.
    pub fn poll_frame(&self, cx: &mut Context<'_>) -> (Poll<Option<Frame<Bytes>>>, bool) {
        let mut state = self.state.lock();
        if let Some(frame) = state.answers.pop_front() {
            state.answers_bytes -= cost(frame.len());
            let has_room = state.is_full && state.answers_bytes <= BUFFER_BYTES_MAX / 2;
            state.is_full &= !has_room;
            return (Poll::Ready(Some(Frame::data(frame))), has_room);
        }
        let poll = match state.take_trailers() {
            Some(trailers) => Poll::Ready(Some(Frame::trailers(trailers))),
            None if state.is_ended() => Poll::Ready(None),
            None => {
                state.writer = Some(cx.waker().clone());
                Poll::Pending
            }
        };
        (poll, false)
    }

    pub fn poll_reading(&self, cx: &mut Context<'_>) -> Reading {
        let mut state = self.state.lock();
        state.reader = Some(cx.waker().clone());
        if state.is_over {
            Reading::Ends
        } else if state.is_ended() || state.unread_bytes >= BUFFER_BYTES_MAX {
            Reading::Waits
        } else {
            Reading::Goes
        }
    }
}

fn cost(size_bytes: usize) -> usize {
    size_bytes + MESSAGE_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context() -> Context<'static> {
        Context::from_waker(Waker::noop())
    }

    fn trailers(status: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(
            http::HeaderName::from_static("grpc-status"),
            http::HeaderValue::from_static(status),
        )])
    }

    /// The status that the answer ends with, after so many messages.
    fn read(exchange: &Exchange) -> (usize, Option<String>) {
        let mut count = 0;
        loop {
            match exchange.poll_frame(&mut context()).0 {
                Poll::Ready(Some(frame)) if frame.is_data() => count += 1,
                Poll::Ready(Some(frame)) => {
                    let status = frame.into_trailers().unwrap()["grpc-status"].clone();
                    return (count, Some(status.to_str().unwrap().into()));
                }
                _ => return (count, None),
            }
        }
    }

    #[test]
    fn an_error_before_any_message_is_trailers_alone() {
        let exchange = Exchange::new(1);
        exchange.end(trailers("5"));

        let head = exchange.poll_head(&mut context());

        assert!(matches!(head, Poll::Ready(Head::Trailers(_))));
    }

    #[test]
    fn the_first_end_counts() {
        let exchange = Exchange::new(1);
        exchange.send(Bytes::from_static(b"one"));
        exchange.end(trailers("0"));

        assert!(!exchange.cut_off(trailers("4")));
        exchange.send(Bytes::from_static(b"late"));

        assert_eq!(read(&exchange), (1, Some("0".into())));
    }

    #[test]
    fn what_is_cut_off_goes_out_no_more() {
        let exchange = Exchange::new(1);
        exchange.send(Bytes::from_static(b"one"));

        assert!(exchange.cut_off(trailers("4")));

        assert_eq!(read(&exchange), (0, Some("4".into())));
    }

    #[test]
    fn a_full_buffer_is_told_of_and_room_once_half_of_it_is_free() {
        let exchange = Exchange::new(1);
        let chunk = Bytes::from(vec![0; BUFFER_BYTES_MAX / 4]);
        let rooms: Vec<bool> = (0..4).map(|_| exchange.send(chunk.clone())).collect();

        let told: Vec<bool> = (0..4)
            .map(|_| exchange.poll_frame(&mut context()).1)
            .collect();

        assert_eq!(rooms, [true, true, true, false]);
        assert_eq!(told, [false, false, true, false]);
    }

    #[test]
    fn requests_wait_while_what_was_given_is_not_taken() {
        let exchange = Exchange::new(1);
        exchange.gave(BUFFER_BYTES_MAX);
        let full = exchange.poll_reading(&mut context());

        exchange.took(BUFFER_BYTES_MAX);

        assert_eq!(full, Reading::Waits);
        assert_eq!(exchange.poll_reading(&mut context()), Reading::Goes);
    }

    #[test]
    fn requests_end_with_the_call() {
        let exchange = Exchange::new(1);

        assert!(!exchange.leave());

        assert_eq!(exchange.poll_reading(&mut context()), Reading::Ends);
    }
}
