//! What stands between this machine and the others, as far as what they see of it tells.
//! Owns: the kinds of NAT that are told apart, and by what.
//! Must not know: links, and how it is said.
//! Invariants: nothing is said of a NAT that fewer observers than it takes have seen.
//! Start reading at: [`judge`].

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::Place;

/// Somebody sees this machine at an address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Sight {
    /// Who, by name.
    pub(super) by: String,
    /// Where that one is, as its link has it.
    pub(super) from: Option<IpAddr>,
    /// Which address.
    pub(super) at: String,
    /// Whether we began the connection on which it is seen.
    pub(super) is_dialled: bool,
}

/// What follows from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Nat {
    /// Nobody outside of this network says anything.
    Unseen,
    /// Somebody outside of it began a direct link here.
    Reached(Sight),
    /// It is seen at an address of its own: no NAT.
    Absent(Sight),
    /// It is seen at another address than its own.
    Present(Sight, Mapping),
}

/// How a NAT maps what goes out from one port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mapping {
    /// To one port, whoever it goes to (RFC 4787: endpoint-independent).
    Same,
    /// To another port for others (address-dependent).
    Differs,
    /// Too few look from different places.
    Unknown,
}

/// Judges by what others see, and by the addresses this machine listens on.
pub(super) fn judge(sights: &[Sight], listen: &[String]) -> Nat {
    let outside: Vec<&Sight> =
        sights.iter().filter(|it| Place::of(&it.at) == Some(Place::World)).collect();
    if let Some(sight) = outside.iter().find(|it| !it.is_dialled) {
        return Nat::Reached((*sight).clone());
    }
    let own: BTreeSet<IpAddr> = listen.iter().filter_map(|at| host(at)).collect();
    let is_own = |it: &&&Sight| host(&it.at).is_some_and(|ip| own.contains(&ip));
    if let Some(sight) = outside.iter().find(is_own) {
        return Nat::Absent((*sight).clone());
    }
    match outside.first() {
        Some(first) => Nat::Present((*first).clone(), mapping(&outside)),
        None => Nat::Unseen,
    }
}

fn mapping(outside: &[&Sight]) -> Mapping {
    // QUIC always leaves from the port it listens on. TCP tries to, and takes another one where
    // that fails: different ports of TCP tell nothing of the NAT.
    match (one_port(outside, "udp"), one_port(outside, "tcp")) {
        (Some(true), _) | (None, Some(true)) => Mapping::Same,
        (Some(false), _) => Mapping::Differs,
        (None, _) => Mapping::Unknown,
    }
}

/// Whether all see one port; `None` if too few look from different places.
fn one_port(outside: &[&Sight], protocol: &str) -> Option<bool> {
    let seen = outside.iter().filter_map(|it| {
        let (ip, kind, port) = socket(&it.at)?;
        (kind == protocol && ip.is_ipv4()).then_some((it.from?, (ip, port)))
    });
    let (from, at): (BTreeSet<IpAddr>, BTreeSet<(IpAddr, u16)>) = seen.unzip();
    (from.len() > 1).then_some(at.len() == 1)
}

/// The IP address that a multiaddr begins with.
pub(super) fn host(address: &str) -> Option<IpAddr> {
    address.split('/').nth(2)?.parse().ok()
}

fn socket(address: &str) -> Option<(IpAddr, &str, u16)> {
    let mut parts = address.split('/').skip(3);
    let (kind, port) = (parts.next()?, parts.next()?);
    Some((host(address)?, kind, port.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sight(by: &str, from: &str, at: &str, is_dialled: bool) -> Sight {
        Sight { by: by.to_owned(), from: from.parse().ok(), at: at.to_owned(), is_dialled }
    }

    fn kind(sights: &[Sight]) -> Option<Mapping> {
        match judge(sights, &["/ip4/192.168.1.7/udp/4001/quic-v1".to_owned()]) {
            Nat::Present(_, mapping) => Some(mapping),
            _ => None,
        }
    }

    #[test]
    fn who_is_called_from_outside_is_reachable_whatever_its_own_addresses_say() {
        let at = "/ip4/203.0.113.7/tcp/4001";
        let called = sight("bob", "198.51.100.1", at, false);
        let calls = sight("carol", "198.51.100.2", "/ip4/203.0.113.7/tcp/5", true);
        let own = ["/ip4/192.168.1.7/tcp/4001".to_owned()];
        assert_eq!(judge(&[calls.clone(), called.clone()], &own), Nat::Reached(called.clone()));
        assert_eq!(
            judge(std::slice::from_ref(&calls), &["/ip4/203.0.113.7/tcp/1".to_owned()]),
            Nat::Absent(calls)
        );
        // Somebody of the same network says nothing of what stands before it.
        let near = sight("dave", "192.168.1.9", "/ip4/192.168.1.7/tcp/4001", false);
        assert_eq!(judge(&[near], &own), Nat::Unseen);
        assert_eq!(judge(&[], &own), Nat::Unseen);
    }

    #[test]
    fn the_kind_of_nat_is_told_by_the_ports_that_others_see() {
        let quic = |by, from, port: u16| {
            sight(by, from, &format!("/ip4/203.0.113.7/udp/{port}/quic-v1"), true)
        };
        let tcp =
            |by, from, port: u16| sight(by, from, &format!("/ip4/203.0.113.7/tcp/{port}"), true);
        let (b, c) = ("198.51.100.1", "198.51.100.2");
        assert_eq!(kind(&[quic("bob", b, 9), quic("carol", c, 9)]), Some(Mapping::Same));
        assert_eq!(kind(&[quic("bob", b, 9), quic("carol", c, 10)]), Some(Mapping::Differs));
        assert_eq!(kind(&[tcp("bob", b, 9), tcp("carol", c, 9)]), Some(Mapping::Same));
        for too_little in [
            vec![quic("bob", b, 9)],
            // From one place, a NAT that goes by places looks like one that does not.
            vec![quic("bob", b, 9), quic("carol", b, 9)],
            vec![tcp("bob", b, 9), tcp("carol", c, 10)],
            vec![quic("bob", b, 9), tcp("carol", c, 9)],
            vec![quic("bob", "", 9), quic("carol", "", 9)],
        ] {
            assert_eq!(kind(&too_little), Some(Mapping::Unknown), "{too_little:?}");
        }
        let both = [quic("bob", b, 9), quic("carol", c, 9), tcp("bob", b, 1), tcp("carol", c, 2)];
        assert_eq!(kind(&both), Some(Mapping::Same), "QUIC says more than TCP");
    }
}
