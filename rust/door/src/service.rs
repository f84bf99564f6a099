//! From an HTTP/2 request to an announced call, and from its answers to an HTTP/2 response.

use std::collections::HashMap;
use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Method as Verb, Request, Response, StatusCode};
use http_body::{Body, Frame};
use hyper::body::Incoming;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::api::{Call, Event, Method, Requests};
use crate::calls::{Calls, Ticket};
use crate::exchange::{Exchange, Head, Reading};
use crate::frame::{Encoding, Messages};
use crate::metadata;
use crate::refusal::Refusal;

const GRPC: &str = "application/grpc";

/// The methods that are served.
pub struct Service {
    calls: Arc<Calls>,
    routes: HashMap<String, (usize, Requests)>,
    message_bytes_max: usize,
}

impl Service {
    pub fn new(calls: Arc<Calls>, methods: Vec<Method>, message_bytes_max: usize) -> Self {
        let indexed = methods.into_iter().enumerate();
        Self {
            calls,
            routes: indexed
                .map(|(index, method)| (method.path, (index, method.requests)))
                .collect(),
            message_bytes_max,
        }
    }

    /// Answer one request; it is abandoned when the future, or the response's body, is dropped.
    pub async fn answer(&self, peer: Arc<str>, request: Request<Incoming>) -> Response<Answer> {
        if request.method() != Verb::POST {
            return plain(StatusCode::METHOD_NOT_ALLOWED);
        }
        if !is_grpc(request.headers()) {
            return plain(StatusCode::UNSUPPORTED_MEDIA_TYPE);
        }
        match self.call(peer, request).await {
            Ok(response) => response,
            Err(refusal) => response(refusal.trailers(), Answer::Nothing),
        }
    }

    async fn call(
        &self,
        peer: Arc<str>,
        request: Request<Incoming>,
    ) -> Result<Response<Answer>, Refusal> {
        let (parts, body) = request.into_parts();
        let route = self.routes.get(parts.uri.path());
        let (method, requests) = *route.ok_or(Refusal::NoSuchMethod)?;
        let timeout = metadata::timeout(&parts.headers)?;
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let encoding = Encoding::of(&parts.headers)?;
        let mut messages = Messages::new(body, encoding, self.message_bytes_max);
        let metadata = metadata::of(&parts.headers)?;
        let ticket = self.calls.admit()?;
        let request = match requests {
            Requests::One => {
                let request = within(deadline, only(&mut messages)).await;
                Some(request.ok_or(Refusal::DeadlinePassed)??)
            }
            Requests::Many => None,
        };
        ticket.announce(Call {
            id: ticket.id(),
            method,
            request,
            deadline: deadline.map(Instant::into_std),
            metadata,
            peer,
        })?;
        if requests == Requests::Many {
            let reading = read(ticket.calls().clone(), ticket.exchange().clone(), messages);
            tokio::spawn(reading);
        }
        Ok(respond(ticket, deadline).await)
    }
}

async fn respond(ticket: Ticket, deadline: Option<Instant>) -> Response<Answer> {
    let in_time = within(deadline, ticket.head()).await;
    let head = if let Some(head) = in_time {
        head
    } else {
        ticket.cut_off(&Refusal::DeadlinePassed);
        ticket.head().await
    };
    match head {
        Head::Trailers(trailers) => response(trailers, Answer::Nothing),
        Head::Headers(headers) => {
            let (calls, exchange) = (ticket.calls(), ticket.exchange());
            let deadline = deadline.filter(|_| !exchange.is_ended());
            let watch = deadline.map(|deadline| {
                let watching = watch(calls.clone(), exchange.clone(), deadline);
                tokio::spawn(watching).abort_handle()
            });
            response(headers, Answer::Messages { ticket, watch })
        }
    }
}

/// Cut the call off when its deadline passes, also while a slow reader keeps it from being written.
async fn watch(calls: Arc<Calls>, exchange: Arc<Exchange>, deadline: Instant) {
    sleep_until(deadline).await;
    calls.cut_off(&exchange, &Refusal::DeadlinePassed);
    exchange.wake();
}

/// Announce requests one by one, as there is room for them, until they or the call end.
async fn read(calls: Arc<Calls>, exchange: Arc<Exchange>, mut messages: Messages<Incoming>) {
    let id = exchange.id;
    loop {
        let next = poll_fn(|cx| match exchange.poll_reading(cx) {
            Reading::Goes => messages.poll_next(cx).map(Some),
            Reading::Waits => Poll::Pending,
            Reading::Ends => Poll::Ready(None),
        });
        match next.await {
            Some(Some(Ok(message))) => {
                exchange.gave(message.len());
                calls.post(Event::Message { id, message });
            }
            Some(Some(Err(refusal))) => {
                calls.cut_off(&exchange, &refusal);
                exchange.wake();
                return;
            }
            Some(None) => return calls.post(Event::LastMessage { id }),
            None => return,
        }
    }
}

/// The request of a call that has one, once it is clear that no other follows.
async fn only(messages: &mut Messages<Incoming>) -> Result<Bytes, Refusal> {
    let first = poll_fn(|cx| messages.poll_next(cx)).await;
    let first = first.unwrap_or_else(|| Err(Refusal::Malformed("there is no request".into())))?;
    match poll_fn(|cx| messages.poll_next(cx)).await {
        None => Ok(first),
        Some(Err(refusal)) => Err(refusal),
        Some(Ok(_)) => Err(Refusal::Malformed(
            "there is more than one request, and the method takes one".into(),
        )),
    }
}

async fn within<T>(deadline: Option<Instant>, work: impl Future<Output = T>) -> Option<T> {
    match deadline {
        None => Some(work.await),
        Some(deadline) => timeout_at(deadline, work).await.ok(),
    }
}

fn is_grpc(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    let rest = kind.and_then(|kind| kind.strip_prefix(GRPC.as_bytes()));
    matches!(rest.map(<[u8]>::first), Some(None | Some(b'+' | b';')))
}

fn response(mut headers: HeaderMap, answer: Answer) -> Response<Answer> {
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(GRPC));
    let mut response = Response::new(answer);
    *response.headers_mut() = headers;
    response
}

/// For what is no gRPC (gRPC over HTTP/2: "HTTP status other than 200").
fn plain(status: StatusCode) -> Response<Answer> {
    let mut response = Response::new(Answer::Nothing);
    *response.status_mut() = status;
    response
}

/// What follows an answer's headers.
pub enum Answer {
    /// They say all.
    Nothing,
    /// Messages and trailers. `watch` is the task that minds the deadline.
    Messages {
        ticket: Ticket,
        watch: Option<AbortHandle>,
    },
}

impl Body for Answer {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match &*self {
            Self::Nothing => Poll::Ready(None),
            Self::Messages { ticket, .. } => ticket.poll_frame(cx).map(|frame| frame.map(Ok)),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Nothing)
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        if let Self::Messages {
            watch: Some(watch), ..
        } = self
        {
            watch.abort();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grpc_is_told_by_its_content_type() {
        let of = |value: &'static str| {
            is_grpc(&HeaderMap::from_iter([(
                CONTENT_TYPE,
                HeaderValue::from_static(value),
            )]))
        };

        assert!(of("application/grpc"));
        assert!(of("application/grpc+proto"));
        assert!(of("application/grpc;charset=utf-8"));
        assert!(!of("application/grpc-web"));
        assert!(!of("application/json"));
        assert!(!is_grpc(&HeaderMap::new()));
    }
}
