//! What our libp2p node is made of: the list of behaviours and their settings.
//! Owns: transports, timeouts and limits of libp2p.
//! Must not know: what is done with a connection.
//! Invariants: everything libp2p lets a stranger do has a number here.
//! Start reading at: [`Behaviour`].

use std::{error::Error as StdError, num::NonZeroU32, time::Duration};

use libp2p::{
    Swarm, SwarmBuilder, connection_limits, dns, identify,
    identity::Keypair,
    mdns, noise, ping, quic, relay, request_response,
    swarm::{Config, NetworkBehaviour, behaviour::toggle::Toggle},
    tcp, yamux,
};

use super::{
    Error, NetConfig, RelayLimits, TransportKey, ask, file, gate, muxer, punch, stream, tls,
};
use crate::limits::STREAMS_PER_PEER_MAX;

/// One node's behaviours; the order is the order in which they are asked.
#[derive(NetworkBehaviour)]
pub(super) struct Behaviour {
    limits: connection_limits::Behaviour,
    pub(super) streams: stream::Streams,
    pub(super) files: stream::Streams,
    pub(super) punches: stream::Streams,
    pub(super) asks: request_response::Behaviour<ask::Raw>,
    ping: ping::Behaviour,
    identify: identify::Behaviour,
    relay_client: relay::client::Behaviour,
    relay_server: Toggle<relay::Behaviour>,
    mdns: Toggle<mdns::tokio::Behaviour>,
}

/// Builds the node; it listens nowhere yet.
pub(super) fn build(config: &NetConfig) -> Result<Swarm<Behaviour>, Error> {
    let keypair = keypair(&config.key)?;
    // Two ways that differ in the types of libp2p's builder only.
    macro_rules! finish {
        ($builder:expr) => {
            $builder
                .with_relay_client(noise::Config::new, yamux)
                .map_err(not_started)?
                .with_behaviour(|key, relay_client| behaviour(config, key, relay_client))
                .map_err(not_started)?
                .with_swarm_config(swarm)
                .build()
        };
    }
    let transports = || {
        let transports = SwarmBuilder::with_existing_identity(keypair.clone())
            .with_tokio()
            .with_tcp(
                tcp::Config::new().nodelay(true),
                // Noise for those who have nothing else.
                (tls::Tls::new, noise::Config::new),
                direct,
            )
            .map_err(not_started)?
            .with_quic_config(quic);
        Ok::<_, Error>(transports)
    };
    match transports()?.with_dns() {
        Ok(builder) => Ok(finish!(builder)),
        Err(error) => {
            tracing::warn!(%error, "no name servers are configured on this system");
            let (servers, options) = (dns::ResolverConfig::default(), dns::ResolverOpts::default());
            Ok(finish!(transports()?.with_dns_config(servers, options)))
        }
    }
}

fn behaviour(
    config: &NetConfig,
    key: &Keypair,
    relay_client: relay::client::Behaviour,
) -> Result<Behaviour, Box<dyn StdError + Send + Sync>> {
    let this = key.public().to_peer_id();
    let identify = identify::Config::new("/p2pgroup/1".to_owned(), key.public())
        .with_agent_version(concat!("p2pgroup/", env!("CARGO_PKG_VERSION")).to_owned());
    let mdns = if config.has_mdns {
        // A machine without a usable interface chats on through addresses it is given.
        mdns::tokio::Behaviour::new(mdns::Config::default(), this)
            .inspect_err(|error| tracing::warn!(%error, "no discovery on the local network"))
            .ok()
    } else {
        None
    };
    Ok(Behaviour {
        limits: gate::limits(config.connections_max),
        streams: stream::Streams::default(),
        files: stream::Streams::of(file::FILE),
        punches: stream::Streams::of(punch::PUNCH),
        asks: ask::behaviour(),
        ping: ping::Behaviour::new(ping::Config::new().with_interval(PING_INTERVAL)),
        identify: identify::Behaviour::new(identify),
        relay_client,
        relay_server: config
            .relay_server
            .as_ref()
            .map(|limits| relay::Behaviour::new(this, relay_server(limits)))
            .into(),
        mdns: mdns.into(),
    })
}

fn relay_server(limits: &RelayLimits) -> relay::Config {
    let per_minute = |limit: u32| NonZeroU32::new(limit).unwrap_or(NonZeroU32::MIN);
    let minute = Duration::from_secs(60);
    let config = relay::Config {
        max_reservations: limits.reservations_max,
        max_reservations_per_peer: 4,
        reservation_rate_limiters: Vec::new(),
        max_circuits: limits.circuits_max,
        max_circuits_per_peer: limits.circuits_per_peer_max,
        max_circuit_duration: Duration::from_millis(limits.circuit_life.0),
        max_circuit_bytes: limits.circuit_bytes_max,
        circuit_src_rate_limiters: Vec::new(),
        ..relay::Config::default()
    };
    // A whole office may sit behind one address.
    config
        .reservation_rate_per_peer(per_minute(limits.requests_per_minute_max), minute)
        .reservation_rate_per_ip(
            per_minute(limits.requests_per_minute_max.saturating_mul(8)),
            minute,
        )
        .circuit_src_per_peer(per_minute(limits.requests_per_minute_max), minute)
        .circuit_src_per_ip(per_minute(limits.requests_per_minute_max.saturating_mul(8)), minute)
}

/// Straight to a peer.
fn direct() -> muxer::Yamux {
    muxer::Yamux::new(STREAMS_MAX)
}

/// Through a relay, where every byte is another one's: in short frames.
fn yamux() -> yamux::Config {
    let mut config = yamux::Config::default();
    let _set = config.set_max_num_streams(STREAMS_MAX);
    config
}

fn quic(mut config: quic::Config) -> quic::Config {
    config.handshake_timeout = HANDSHAKE_TIME;
    config.max_concurrent_stream_limit = u32::try_from(STREAMS_MAX).unwrap_or(u32::MAX);
    config
}

fn swarm(config: Config) -> Config {
    config
        .with_idle_connection_timeout(IDLE_TIME)
        .with_max_negotiating_inbound_streams(STREAMS_PER_PEER_MAX)
}

fn keypair(key: &TransportKey) -> Result<Keypair, Error> {
    let keypair = match key {
        // libp2p's `zeroize`s what it is given, so it gets a copy.
        TransportKey::Rsa { pkcs8_der } => Keypair::rsa_from_pkcs8(&mut pkcs8_der.clone()),
        TransportKey::Ed25519 { secret } => Keypair::ed25519_from_bytes(*secret),
    };
    keypair.map_err(|error| Error::Key { reason: error.to_string() })
}

pub(super) fn not_started(error: impl std::fmt::Display) -> Error {
    Error::NotStarted { reason: crate::text::one_line(&error.to_string()) }
}

/// QUIC says nothing where nobody listens; this is how long it is tried.
const HANDSHAKE_TIME: Duration = Duration::from_secs(3);
/// How often a link's round trip is measured.
const PING_INTERVAL: Duration = Duration::from_secs(15);
/// A connection that carries nothing is closed after this time.
const IDLE_TIME: Duration = Duration::from_secs(60);
/// Streams of one connection, both directions and all protocols together.
const STREAMS_MAX: usize = 2 * STREAMS_PER_PEER_MAX;
