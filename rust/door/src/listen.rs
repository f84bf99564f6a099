//! Addresses: binding them, and what comes in over them.

use std::io;
use std::net::{SocketAddr, TcpListener as StdTcp, ToSocketAddrs};
use std::os::unix::net::UnixListener as StdUnix;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};
use tokio_rustls::TlsAcceptor;

use crate::api::Event;
use crate::authority::Legible;
use crate::calls::Calls;
use crate::connection::{Phase, Phases, reached, serve};
use crate::error::{Error, Result};
use crate::service::Service;

/// What a new connection gets to say its first byte, and to agree on TLS.
const HANDSHAKE: Duration = Duration::from_secs(20);
/// Descriptors are all in use; some connection has to end first.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Between two notes about connections that failed.
const NOTES_APART: Duration = Duration::from_secs(1);
/// A port that is free for one address of a host name may be taken for the next one.
const PORT_TRIES: usize = 8;

/// gRPC's name of every peer on a Unix socket.
const UNIX: &str = "unix:";

/// A bound socket.
pub enum Listener {
    Tcp(StdTcp),
    Unix(StdUnix),
}

/// Listen on every address that `host` has here, on one port, which is told; 0 takes a free one.
pub fn tcp(host: &str, port: u16) -> Result<(u16, Vec<Listener>)> {
    let refused = |error: io::Error| Error::Address {
        address: format!("{host}:{port}"),
        cause: error.to_string(),
    };
    let bare = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    let mut addresses: Vec<SocketAddr> = (bare.unwrap_or(host), port)
        .to_socket_addrs()
        .map_err(refused)?
        .collect();
    addresses.sort_by_key(SocketAddr::is_ipv6); // v4 first
    addresses.dedup();
    let mut tries = if port == 0 { PORT_TRIES } else { 1 };
    loop {
        tries -= 1;
        match bind_all(&addresses) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && tries > 0 => {}
            bound => return bound.map_err(refused),
        }
    }
}

fn bind_all(addresses: &[SocketAddr]) -> io::Result<(u16, Vec<Listener>)> {
    let (mut found, mut listeners, mut missing) = (None, Vec::new(), None);
    for address in addresses {
        let address = SocketAddr::new(address.ip(), found.unwrap_or(address.port()));
        match StdTcp::bind(address) {
            Ok(listener) => {
                listener.set_nonblocking(true)?;
                found = Some(listener.local_addr()?.port());
                listeners.push(Listener::Tcp(listener));
            }
            // As `localhost`, which is ::1, too, where the machine has no IPv6.
            Err(error) if is_missing(&error) => missing = Some(error),
            Err(error) => return Err(error),
        }
    }
    let none = || io::Error::new(io::ErrorKind::AddrNotAvailable, "the name has no address");
    let port = found.ok_or_else(|| missing.unwrap_or_else(none))?;
    Ok((port, listeners))
}

fn is_missing(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::AddrNotAvailable | io::ErrorKind::Unsupported
    )
}

/// Listen on a Unix socket, whose file is made.
pub fn unix(path: &Path) -> Result<Listener> {
    let bound =
        StdUnix::bind(path).and_then(|listener| listener.set_nonblocking(true).map(|()| listener));
    bound.map(Listener::Unix).map_err(|error| Error::Address {
        address: format!("unix:{}", path.display()),
        cause: error.to_string(),
    })
}

/// What every connection needs; the last of its copies ends with the last connection.
#[derive(Clone)]
pub struct Front {
    pub service: Arc<Service>,
    pub calls: Arc<Calls>,
    pub tls: Option<TlsAcceptor>,
    pub phases: Phases,
    pub failures: Arc<Failures>,
    /// Never sent to: its receiver learns when the last copy is gone.
    pub _open: mpsc::Sender<()>,
}

/// Serve what comes in over `listener` until the door drains.
pub async fn accept(listener: Listener, front: Front) {
    let mut phases = front.phases.clone();
    tokio::select! {
        result = accept_all(listener, &front) => {
            if let Err(error) = result {
                let text = format!("listening failed: {error}");
                front.calls.post(Event::Warning(text));
            }
        }
        () = reached(&mut phases, Phase::Draining) => {}
    }
}

async fn accept_all(listener: Listener, front: &Front) -> io::Result<()> {
    match listener {
        Listener::Tcp(listener) => {
            let listener = TcpListener::from_std(listener)?;
            loop {
                if let Some((stream, from)) = front.accepted(listener.accept().await).await {
                    tokio::spawn(front.clone().tcp(stream, from));
                }
            }
        }
        Listener::Unix(listener) => {
            let listener = UnixListener::from_std(listener)?;
            loop {
                if let Some((stream, _)) = front.accepted(listener.accept().await).await {
                    tokio::spawn(front.clone().unix(stream));
                }
            }
        }
    }
}

impl Front {
    /// A new connection; after a failure a pause.
    async fn accepted<T>(&self, accepted: io::Result<T>) -> Option<T> {
        match accepted {
            Ok(connection) => Some(connection),
            Err(error) => {
                let text = format!("a connection can't be accepted: {error}");
                self.failed(Event::Warning, &text);
                sleep(ACCEPT_PAUSE).await;
                None
            }
        }
    }

    async fn tcp(self, stream: TcpStream, from: SocketAddr) {
        let version = if from.is_ipv4() { "ipv4" } else { "ipv6" };
        let peer: Arc<str> = format!("{version}:{from}").into();
        // Answers are written in one piece; waiting for more would only delay them.
        let is_usable = stream.set_nodelay(true).is_ok();
        if is_usable && self.has_spoken(stream.readable()).await {
            self.connection(stream, peer).await;
        }
    }

    async fn unix(self, stream: UnixStream) {
        if self.has_spoken(stream.readable()).await {
            self.connection(stream, UNIX.into()).await;
        }
    }

    /// Whether a connection says something in time, as each that means to call does at once.
    async fn has_spoken(&self, readable: impl Future<Output = io::Result<()>>) -> bool {
        let mut phases = self.phases.clone();
        tokio::select! {
            spoken = timeout(HANDSHAKE, readable) => matches!(spoken, Ok(Ok(()))),
            () = reached(&mut phases, Phase::Draining) => false,
        }
    }

    async fn connection<I>(mut self, io: I, peer: Arc<str>)
    where
        I: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin + 'static,
    {
        let (service, phases) = (self.service.clone(), &mut self.phases);
        let is_unix = *peer == *UNIX;
        let served = match &self.tls {
            None => serve(Legible::new(io, is_unix), peer.clone(), service, phases).await,
            Some(tls) => match timeout(HANDSHAKE, tls.accept(io)).await {
                Ok(Ok(io)) => serve(Legible::new(io, is_unix), peer.clone(), service, phases).await,
                Ok(Err(error)) => {
                    return self.failed(Event::Note, &format!("TLS with {peer} failed: {error}"));
                }
                Err(_) => {
                    return self.failed(Event::Note, &format!("TLS with {peer} took too long"));
                }
            },
        };
        if let Err(error) = served {
            self.failed(
                Event::Note,
                &format!("the connection from {peer} ended: {error:?}"),
            );
        }
    }

    fn failed(&self, event: fn(String) -> Event, text: &str) {
        if let Some(more) = self.failures.is_due() {
            self.calls.post(event(format!("{text}{more}")));
        }
    }
}

/// Connections that failed, told of once in a while, since any peer can make them fail.
#[derive(Default)]
pub struct Failures(Mutex<(Option<Instant>, usize)>);

impl Failures {
    /// Count one; what to add to its note, None if there is to be no note yet.
    fn is_due(&self) -> Option<String> {
        let (told_at, count) = &mut *self.0.lock();
        if told_at.is_some_and(|at| at.elapsed() < NOTES_APART) {
            *count += 1;
            return None;
        }
        *told_at = Some(Instant::now());
        let untold = std::mem::take(count);
        Some(match untold {
            0 => String::new(),
            _ => format!(" (and {untold} more before it)"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_bound_on_one_port_for_all_its_addresses() {
        let (port, listeners) = tcp("localhost", 0).unwrap();

        assert!(!listeners.is_empty());
        for listener in listeners {
            let Listener::Tcp(listener) = listener else {
                panic!("a Unix socket for a host name");
            };
            assert_eq!(listener.local_addr().unwrap().port(), port);
        }
    }

    #[test]
    fn a_taken_port_is_refused() {
        let (port, _listeners) = tcp("127.0.0.1", 0).unwrap();

        let refused = tcp("127.0.0.1", port).err();

        let address = format!("127.0.0.1:{port}");
        assert!(matches!(refused, Some(Error::Address { address: named, .. }) if named == address));
    }

    #[test]
    fn an_address_of_another_machine_is_refused() {
        assert!(tcp("192.0.2.1", 0).is_err());
    }

    #[tokio::test]
    async fn failures_are_told_of_once_in_a_while() {
        let failures = Failures::default();

        assert_eq!(failures.is_due(), Some(String::new()));
        assert_eq!(failures.is_due(), None);
    }
}
