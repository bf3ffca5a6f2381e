//! Listening: binds the given addresses and knows at which ones we can be reached.
//! Owns: the set of our addresses, the check that a port is free.
//! Must not know: who connects.
//! Invariants: an address that cannot be bound stops the start, with its name and the reason.
//! Start reading at: [`start`].

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::SocketAddr,
    time::Duration,
};

use libp2p::{Multiaddr, Swarm, TransportError, core::transport::ListenerId};
use tokio::net::{TcpListener, lookup_host};

use super::{Error, address, behaviour::Behaviour};

/// How long listeners may take to say where they listen, before what is known is told.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);

/// Our addresses, and the listeners that have not reported yet.
#[derive(Debug, Default)]
pub(super) struct Listening {
    addresses: BTreeMap<Multiaddr, ListenerId>,
    waiting: Vec<ListenerId>,
    is_told: bool,
}

/// Listens on everything given.
pub(super) async fn start(
    swarm: &mut Swarm<Behaviour>,
    texts: &[String],
) -> Result<Listening, Error> {
    let mut wanted = Vec::new();
    for text in texts {
        let addresses = resolve(text).await?;
        for address in &addresses {
            probe(address).await.map_err(|error| failed(text, &error))?;
        }
        wanted.push((text, addresses));
    }
    let mut listening = Listening::default();
    for (text, addresses) in wanted {
        for address in addresses {
            match swarm.listen_on(address.clone()) {
                Ok(listener) => {
                    listening.waiting.push(listener);
                }
                Err(TransportError::Other(error)) if is_missing_ipv6(&address, &error) => {
                    tracing::debug!(%address, "this system has no IPv6");
                }
                Err(TransportError::Other(error)) => return Err(failed(text, &error)),
                Err(TransportError::MultiaddrNotSupported(_)) => {
                    return Err(Error::AddressBad { address: shown(text) });
                }
            }
        }
    }
    Ok(listening)
}

/// Names of this machine (`localhost:9001`) become its addresses: only those can be bound.
async fn resolve(text: &str) -> Result<Vec<Multiaddr>, Error> {
    let bad = |_| Error::AddressBad { address: shown(text) };
    let addresses = address::parse(text).map_err(bad)?;
    if text.starts_with('/') || text.parse::<SocketAddr>().is_ok() {
        return Ok(addresses);
    }
    let sockets = lookup_host(text).await.map_err(|error| failed(text, &error))?;
    Ok(sockets.collect::<BTreeSet<_>>().into_iter().flat_map(address::of_socket).collect())
}

/// libp2p binds TCP ports with `SO_REUSEPORT`, so two of our processes could share one unnoticed.
async fn probe(address: &Multiaddr) -> io::Result<()> {
    let Some(socket) = address::tcp_socket(address).filter(|socket| socket.port() != 0) else {
        return Ok(());
    };
    match TcpListener::bind(socket).await {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => Err(error),
        // Whatever else is wrong, libp2p will find it too.
        _ => Ok(()),
    }
}

fn is_missing_ipv6(address: &Multiaddr, error: &io::Error) -> bool {
    let is_any_v6 = address.to_string().starts_with("/ip6/::/");
    let is_missing =
        matches!(error.kind(), io::ErrorKind::AddrNotAvailable | io::ErrorKind::Unsupported);
    // EAFNOSUPPORT has no kind of its own.
    is_any_v6 && (is_missing || error.raw_os_error() == Some(97))
}

fn failed(text: &str, error: &io::Error) -> Error {
    Error::ListenFailed { address: shown(text), reason: crate::text::one_line(&error.to_string()) }
}

fn shown(text: &str) -> String {
    crate::text::one_line(text)
}

impl Listening {
    /// Adds an address; whether the set should be told.
    pub(super) fn add(&mut self, listener: ListenerId, address: Multiaddr) -> bool {
        self.waiting.retain(|other| *other != listener);
        let is_new = address::is_worth_telling(&address)
            && self.addresses.insert(address, listener).is_none();
        let is_complete = self.waiting.is_empty();
        let should_tell = is_complete && (is_new || !self.is_told);
        self.is_told |= should_tell;
        should_tell
    }

    /// Removes an address; whether the set should be told.
    pub(super) fn remove(&mut self, address: &Multiaddr) -> bool {
        self.addresses.remove(address).is_some() && self.is_told
    }

    /// Time is up for the first report; whether the set should be told.
    pub(super) fn give_up_waiting(&mut self) -> bool {
        self.waiting.clear();
        !std::mem::replace(&mut self.is_told, true)
    }

    /// The set, the furthest reaching addresses first.
    pub(super) fn addresses(&self) -> Vec<String> {
        let mut addresses: Vec<_> = self.addresses.keys().collect();
        addresses.sort_by_key(|address| address::rank(address));
        addresses.into_iter().map(ToString::to_string).collect()
    }
}
