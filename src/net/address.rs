//! Addresses as people write them, `host:port` or multiaddr, turned into what libp2p dials.
//! Owns: the parsing, the order in which addresses are tried and shown.
//! Must not know: who lives at an address.
//! Invariants: nothing that does not parse is dialled; the text is bounded before it is read.
//! Start reading at: [`parse`].

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use libp2p::{Multiaddr, PeerId as TransportPeer, multiaddr::Protocol};

use super::Via;
use crate::{
    ids::PeerId,
    limits::ADDRESS_BYTES_MAX,
    refusal::{Refusal, Refused},
};

/// What an address stands for: `host:port` means TCP and QUIC, TCP first.
///
/// # Refusals
/// `AddressBad`.
pub(super) fn parse(text: &str) -> Result<Vec<Multiaddr>, Refused> {
    let bad = || Refused::new(Refusal::AddressBad, text.get(..64).unwrap_or(text));
    if text.is_empty() || text.len() > ADDRESS_BYTES_MAX {
        return Err(bad());
    }
    if text.starts_with('/') {
        let address: Multiaddr = text.parse().map_err(|_| bad())?;
        return if is_dialable(&address) { Ok(vec![address]) } else { Err(bad()) };
    }
    if let Ok(socket) = text.parse::<SocketAddr>() {
        return Ok(of_socket(socket));
    }
    let (host, port) = text.rsplit_once(':').ok_or_else(bad)?;
    let port: u16 = port.parse().map_err(|_| bad())?;
    if !is_host_name(host) {
        return Err(bad());
    }
    let host = || Protocol::Dns(host.to_owned().into());
    Ok(vec![
        Multiaddr::empty().with(host()).with(Protocol::Tcp(port)),
        Multiaddr::empty().with(host()).with(Protocol::Udp(port)).with(Protocol::QuicV1),
    ])
}

/// Whether the text is an address, `host:port` or multiaddr; for settings and command lines.
///
/// # Refusals
/// `AddressBad`.
pub fn check(text: &str) -> Result<(), Refused> {
    parse(text).map(|_| ())
}

/// The peer an address names at its end (`/p2p/Qm...`), if it does.
pub fn peer_in(text: &str) -> Option<PeerId> {
    let address: Multiaddr = text.parse().ok()?;
    peer_of(&address).and_then(|peer| PeerId::from_bytes(&peer.to_bytes()))
}

/// TCP and QUIC at a socket address.
pub(super) fn of_socket(socket: SocketAddr) -> Vec<Multiaddr> {
    let host = || Multiaddr::from(socket.ip());
    let port = socket.port();
    vec![host().with(Protocol::Tcp(port)), host().with(Protocol::Udp(port)).with(Protocol::QuicV1)]
}

/// An address that a peer told, as text and without a peer at its end; only if it is a direct one
/// that we would dial.
pub(super) fn told(address: &Multiaddr) -> Option<String> {
    let address = without_peer(address.clone());
    let text = address.to_string();
    let is_good = text.len() <= ADDRESS_BYTES_MAX && is_dialable(&address);
    (is_good && via(&address) != Via::Relay).then_some(text)
}

/// The peer that an address ends with.
pub(super) fn peer_of(address: &Multiaddr) -> Option<TransportPeer> {
    match address.iter().last() {
        Some(Protocol::P2p(peer)) => Some(peer),
        _ => None,
    }
}

/// The address without the peer it ends with.
pub(super) fn without_peer(mut address: Multiaddr) -> Multiaddr {
    if peer_of(&address).is_some() {
        let _peer = address.pop();
    }
    address
}

/// How bytes travel to an address.
pub(super) fn via(address: &Multiaddr) -> Via {
    let mut via = Via::Tcp;
    for protocol in address {
        match protocol {
            Protocol::P2pCircuit => return Via::Relay,
            Protocol::QuicV1 => via = Via::Quic,
            _ => {}
        }
    }
    via
}

/// The TCP socket an address names without a name lookup.
pub(super) fn tcp_socket(address: &Multiaddr) -> Option<SocketAddr> {
    let mut parts = address.iter();
    let ip = match parts.next()? {
        Protocol::Ip4(ip) => IpAddr::V4(ip),
        Protocol::Ip6(ip) => IpAddr::V6(ip),
        _ => return None,
    };
    match parts.next()? {
        Protocol::Tcp(port) => Some(SocketAddr::new(ip, port)),
        _ => None,
    }
}

/// How far an address reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Reach {
    /// This machine.
    Here,
    /// A network of somebody's own, of a company or a provider.
    Near,
    /// The world.
    World,
}

/// How far a direct address with an IP reaches; `None` where no one machine is meant, or a name would
/// have to be looked up.
pub(super) fn reach(address: &Multiaddr) -> Option<Reach> {
    if via(address) == Via::Relay || !is_dialable(address) {
        return None;
    }
    let (is_here, is_near, is_none) = match address.iter().next()? {
        Protocol::Ip4(ip) => {
            // 100.64.0.0/10 is what providers put before many customers (RFC 6598).
            let [first, second, ..] = ip.octets();
            let is_shared = first == 100 && (64..128).contains(&second);
            let is_none = first == 0 || ip.is_multicast() || ip.is_broadcast() || first >= 240;
            (ip.is_loopback(), ip.is_private() || is_shared, is_none || ip.is_link_local())
        }
        Protocol::Ip6(ip) => {
            // An IPv4 address in disguise is not judged twice.
            let is_none = ip.is_multicast() || ip.is_unspecified() || ip.to_ipv4_mapped().is_some();
            (ip.is_loopback(), ip.is_unique_local(), is_none || is_link_local(ip))
        }
        _ => return None,
    };
    let has_port = !address.iter().any(|it| matches!(it, Protocol::Tcp(0) | Protocol::Udp(0)));
    match (is_none, is_here, is_near) {
        (true, ..) => None,
        _ if !has_port => None,
        (_, true, _) => Some(Reach::Here),
        (_, _, true) => Some(Reach::Near),
        _ => Some(Reach::World),
    }
}

/// The same host and port over TCP and over QUIC: ours listen on both.
pub(super) fn over_both(address: &Multiaddr) -> Vec<Multiaddr> {
    let mut parts = address.iter();
    let (Some(host), Some(Protocol::Tcp(port) | Protocol::Udp(port))) =
        (parts.next(), parts.next())
    else {
        return Vec::new();
    };
    let host = || Multiaddr::empty().with(host.clone());
    vec![host().with(Protocol::Tcp(port)), host().with(Protocol::Udp(port)).with(Protocol::QuicV1)]
}

/// Whether others can use the address: link-local ones need a zone that only we know.
pub(super) fn is_worth_telling(address: &Multiaddr) -> bool {
    !address.iter().any(|part| matches!(part, Protocol::Ip6(ip) if is_link_local(ip)))
}

/// Sorts by usefulness to others: reachable ones first, loopback then, relayed last.
pub(super) fn rank(address: &Multiaddr) -> (u8, u8) {
    let is_loopback = address.iter().any(|part| match part {
        Protocol::Ip4(ip) => ip.is_loopback(),
        Protocol::Ip6(ip) => ip.is_loopback(),
        _ => false,
    });
    match via(address) {
        Via::Tcp => (u8::from(is_loopback), 0),
        Via::Quic => (u8::from(is_loopback), 1),
        Via::Relay => (2, 0),
    }
}

fn is_link_local(ip: Ipv6Addr) -> bool {
    ip.segments().first().is_some_and(|first| first & 0xffc0 == 0xfe80)
}

/// Only forms that one of our transports takes: a TCP or QUIC part, perhaps a circuit behind it.
fn is_dialable(address: &Multiaddr) -> bool {
    let parts: Vec<Protocol<'_>> = address.iter().collect();
    let (Some(host), Some(transport)) = (parts.first(), parts.get(1)) else {
        return false;
    };
    let has_host = matches!(
        host,
        Protocol::Ip4(_)
            | Protocol::Ip6(_)
            | Protocol::Dns(_)
            | Protocol::Dns4(_)
            | Protocol::Dns6(_)
    );
    let rest = match transport {
        Protocol::Tcp(_) => parts.get(2..),
        Protocol::Udp(_) if parts.get(2) == Some(&Protocol::QuicV1) => parts.get(3..),
        _ => None,
    };
    let is_rest_known = matches!(
        rest.unwrap_or_default(),
        [] | [Protocol::P2p(_)]
            | [Protocol::P2p(_), Protocol::P2pCircuit]
            | [Protocol::P2p(_), Protocol::P2pCircuit, Protocol::P2p(_)]
    );
    has_host && rest.is_some() && is_rest_known
}

fn is_host_name(host: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    !host.is_empty() && host.len() <= 253 && host.chars().all(allowed) && !host.starts_with('.')
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: &str = "12D3KooWD3eckifWpRn9wQpMG9R9hX3sD158z7EqHWmweQAJU5SA";

    fn texts(text: &str) -> Vec<String> {
        parse(text).unwrap().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn host_and_port_mean_tcp_and_quic() {
        assert_eq!(
            texts("127.0.0.1:9001"),
            ["/ip4/127.0.0.1/tcp/9001", "/ip4/127.0.0.1/udp/9001/quic-v1"]
        );
        assert_eq!(texts("[::1]:9001"), ["/ip6/::1/tcp/9001", "/ip6/::1/udp/9001/quic-v1"]);
        assert_eq!(
            texts("chat.example.org:9001"),
            ["/dns/chat.example.org/tcp/9001", "/dns/chat.example.org/udp/9001/quic-v1"]
        );
    }

    #[test]
    fn multiaddrs_stand_for_themselves_with_and_without_a_peer() {
        for text in [
            "/ip4/192.0.2.1/tcp/9001".to_owned(),
            format!("/ip4/192.0.2.1/tcp/9001/p2p/{PEER}"),
            format!("/dns4/example.org/udp/9001/quic-v1/p2p/{PEER}"),
            format!("/ip6/::1/tcp/1/p2p/{PEER}/p2p-circuit/p2p/{PEER}"),
        ] {
            assert_eq!(texts(&text), [text]);
        }
        let named = format!("/ip4/192.0.2.1/tcp/9001/p2p/{PEER}");
        assert_eq!(peer_in(&named), PeerId::parse(PEER));
        assert_eq!(peer_in("/ip4/192.0.2.1/tcp/9001"), None);
        let address = without_peer(named.parse().unwrap());
        assert_eq!(address.to_string(), "/ip4/192.0.2.1/tcp/9001");
    }

    #[test]
    fn what_is_no_address_is_refused_by_its_code() {
        let long = "a".repeat(300) + ":1";
        for text in [
            "",
            ":",
            "9001",
            "host",
            "host:",
            ":9001",
            "host:99999",
            "host:-1",
            "::1:9001",
            "[::1]",
            "ho st:1",
            "host\u{1b}[2J:1",
            "/ip4/1.2.3.4",
            "/ip4/1.2.3.4/udp/1",
            "/ip4/300.1.1.1/tcp/1",
            "/tcp/9001",
            "/memory/7",
            "/ip4/1.2.3.4/tcp/1/ws",
            "/",
            &long,
        ] {
            let refused = parse(text).unwrap_err();
            assert_eq!(refused.refusal, Refusal::AddressBad, "{text:?}");
            assert!(check(text).is_err());
        }
    }

    #[test]
    fn how_far_an_address_reaches_is_judged_by_its_ip_alone() {
        for (text, reaches) in [
            ("/ip4/203.0.113.7/tcp/9001", Some(Reach::World)),
            ("/ip6/2001:db8::7/udp/9001/quic-v1", Some(Reach::World)),
            ("/ip4/192.168.1.1/tcp/80", Some(Reach::Near)),
            ("/ip4/100.64.0.9/udp/1/quic-v1", Some(Reach::Near)),
            ("/ip6/fd00::1/tcp/1", Some(Reach::Near)),
            ("/ip4/127.0.0.1/tcp/1", Some(Reach::Here)),
            ("/ip6/::1/tcp/1", Some(Reach::Here)),
            ("/ip4/0.0.0.0/tcp/1", None),
            ("/ip4/169.254.169.254/tcp/80", None),
            ("/ip4/224.0.0.1/tcp/1", None),
            ("/ip4/255.255.255.255/tcp/1", None),
            ("/ip6/fe80::1/tcp/1", None),
            ("/ip6/ff02::1/tcp/1", None),
            ("/ip6/::/tcp/1", None),
            ("/ip6/::ffff:10.0.0.1/tcp/1", None),
            ("/ip4/203.0.113.7/tcp/0", None),
            ("/ip4/203.0.113.7/udp/1", None),
            ("/dns/example.org/tcp/1", None),
        ] {
            assert_eq!(reach(&text.parse().unwrap()), reaches, "{text}");
        }
        let relayed = format!("/ip4/203.0.113.7/tcp/1/p2p/{PEER}/p2p-circuit");
        assert_eq!(reach(&relayed.parse().unwrap()), None);
        let both = |text: &str| -> Vec<String> {
            over_both(&text.parse().unwrap()).iter().map(ToString::to_string).collect()
        };
        let wanted = ["/ip4/192.0.2.1/tcp/1", "/ip4/192.0.2.1/udp/1/quic-v1"];
        assert_eq!(both(wanted[0]), wanted);
        assert_eq!(both(wanted[1]), wanted);
    }

    #[test]
    fn addresses_that_reach_furthest_come_first() {
        let mut addresses: Vec<Multiaddr> = [
            format!("/ip4/192.0.2.1/tcp/1/p2p/{PEER}/p2p-circuit"),
            "/ip4/127.0.0.1/tcp/1".to_owned(),
            "/ip4/192.0.2.1/udp/1/quic-v1".to_owned(),
            "/ip4/192.0.2.1/tcp/1".to_owned(),
        ]
        .iter()
        .map(|text| text.parse().unwrap())
        .collect();
        addresses.sort_by_key(rank);
        let vias: Vec<Via> = addresses.iter().map(via).collect();
        assert_eq!(vias, [Via::Tcp, Via::Quic, Via::Tcp, Via::Relay]);
        assert!(!is_worth_telling(&"/ip6/fe80::1/tcp/1".parse().unwrap()));
        assert!(is_worth_telling(&addresses[0]));
    }
}
