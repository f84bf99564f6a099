//! One connection: HTTP/2 with limits, until the peer or the door ends it.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http2::Builder;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio::time::sleep;

use crate::service::Service;

/// Calls on one connection at once. The door's own limit on all of them is the one that answers.
const STREAMS_MAX: u32 = 1 << 20;
/// What a peer may send ahead on one call. Less, and large messages wait for round trips.
const STREAM_WINDOW_BYTES: u32 = 1 << 20;
/// What a peer may send ahead on all calls: so many times a call's share that some calls whose
/// requests nobody reads don't stop the others.
const CONNECTION_WINDOW_BYTES: u32 = 32 << 20;
/// As gRPC's own servers.
const HEADERS_BYTES_MAX: u32 = 16 * 1024;
/// Calls that a peer may reset before we have seen them, beyond which it is taken for an attack.
/// hyper's 20 are soon reached by a client that gives up many calls at once.
const RESETS_MAX: usize = 1024;
/// A peer that is gone without a word, as when its machine loses power, is found by asking.
const PING_EVERY: Duration = Duration::from_secs(60);
const PING_TIMEOUT: Duration = Duration::from_secs(20);
/// What connections get to take the last answers once the door closes.
pub const LINGER: Duration = Duration::from_secs(1);

/// How far the door has come. None of them is left for an earlier one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    Serving,
    /// No new connections and calls.
    Draining,
    /// No calls.
    Closing,
}

pub type Phases = watch::Receiver<Phase>;

/// Return when the door has come to `phase`, or is dropped.
pub async fn reached(phases: &mut Phases, phase: Phase) {
    // An error says that the door, which holds the sender, is gone.
    let _ = phases.wait_for(|now| *now >= phase).await;
}

/// Serve what comes over `io`; an error is the peer's or the network's.
pub async fn serve<I>(
    io: I,
    peer: Arc<str>,
    service: Arc<Service>,
    phases: &mut Phases,
) -> hyper::Result<()>
where
    I: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let answer = service_fn(move |request| {
        let (service, peer) = (service.clone(), peer.clone());
        async move { Ok::<_, Infallible>(service.answer(peer, request).await) }
    });
    let serving = builder().serve_connection(TokioIo::new(io), answer);
    let mut serving = pin!(serving);
    tokio::select! {
        ended = serving.as_mut() => return ended,
        () = reached(phases, Phase::Draining) => serving.as_mut().graceful_shutdown(),
    }
    tokio::select! {
        ended = serving => ended,
        () = async { reached(phases, Phase::Closing).await; sleep(LINGER).await } => Ok(()),
    }
}

fn builder() -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .auto_date_header(false) // clients would see it as metadata
        .max_concurrent_streams(STREAMS_MAX)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_header_list_size(HEADERS_BYTES_MAX)
        .max_pending_accept_reset_streams(RESETS_MAX)
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_TIMEOUT);
    builder
}
