//! Hole punching: what is under way with whom, and what two peers say to each other before it.
//! Owns: the protocol's name, who may, which addresses are told and which are dialled.
//! Must not know: connections, when to try again (the cores decide).
//! Invariants: with peers that the core named alone; one at a time with each; few addresses, and
//! none that reaches less far than where we are seen ourselves.
//! Start reading at: [`Punches`], [`exchange`].
//!
//! ```text
//!  who leads                                       who follows
//!    looks where it is seen                          looks where it is seen
//!    addresses ---- through the relay ----------------->
//!    <------------- through the relay ------------ addresses
//!    now, which measures the way there and back ------->
//!    <------------------------------------------------ now
//!    go ----------------------------------------------->
//!    dials after half of that time                   dials
//!    moves the link to the first connection that is there (see `moving`)
//! ```
//!
//! This is what libp2p calls DCUtR. Its own behaviour is not used: it speaks with whoever comes
//! through a relay, as often as that one likes; it dials whatever it is told; it tries three times at
//! once and never again; and `identify` gives it the port we listen on instead of the one that a NAT
//! gave us.

use std::{collections::BTreeMap, io, time::Duration};

use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use libp2p::{Multiaddr, PeerId as TransportPeer, Stream, StreamProtocol, swarm::ConnectionId};
use tokio::time::{Instant, sleep, timeout};

use super::{
    Via,
    address::{self, Reach},
    link::Leads,
};

/// On a connection through a relay: addresses; on a direct one: the link moves to it.
pub(super) const PUNCH: StreamProtocol = StreamProtocol::new("/p2pgroup/1/punch");

/// How long it is waited for who says where we are seen.
pub(super) const LOOK_TIME: Duration = Duration::from_millis(1_500);
/// How long both dial: QUIC tries for 3 s, TCP again after 1 and 3 s.
pub(super) const DIAL_TIME: Duration = Duration::from_secs(6);
/// How long all of it may take, with the words before and the move behind.
pub(super) const PUNCH_TIME: Duration = Duration::from_secs(25);
/// How long a peer that we followed must wait until we follow again.
pub(super) const REST: Duration = Duration::from_secs(5);
/// Peers that we punch with at the same time.
pub(super) const PUNCHES_MAX: usize = 32;
/// Addresses that each side tells, and that are dialled: two protocols, and IPv4 and IPv6.
const TOLD_MAX: usize = 4;
/// Their bytes as text.
const TOLD_BYTES_MAX: usize = 1_024;
/// How long the words before it may take.
const EXCHANGE_TIME: Duration = Duration::from_secs(8);
/// Half of a way there and back is no longer than this.
const HALF_MAX: Duration = Duration::from_millis(500);

/// How far a punch is.
#[derive(Debug)]
pub(super) enum Stage {
    /// It is asked where we are seen. Who follows holds the stream meanwhile.
    Looks(Option<Stream>),
    /// Addresses are exchanged.
    Talks,
    /// Both dial.
    Dials,
    /// The link moves to this connection.
    Moves(ConnectionId),
}

/// One punch.
#[derive(Debug)]
pub(super) struct Punch {
    /// Its number: timers of one before it mean nothing.
    pub(super) number: u64,
    pub(super) leads: Leads,
    pub(super) stage: Stage,
}

/// Who may punch with us, and with whom we do.
#[derive(Debug, Default)]
pub(super) struct Punches {
    /// By peer, whether it must wait.
    allowed: BTreeMap<TransportPeer, bool>,
    under_way: BTreeMap<TransportPeer, Punch>,
    last: u64,
}

impl Punches {
    /// The core wants a direct link with this peer.
    pub(super) fn allow(&mut self, peer: TransportPeer) {
        let _before = self.allowed.entry(peer).or_default();
    }

    pub(super) fn is_allowed(&self, peer: &TransportPeer) -> bool {
        self.allowed.contains_key(peer)
    }

    /// The peer has no link any more.
    pub(super) fn forget(&mut self, peer: &TransportPeer) {
        self.allowed.remove(peer);
        self.under_way.remove(peer);
    }

    /// Begins one; `None`: not now. A peer that is followed must then rest.
    pub(super) fn begin(
        &mut self,
        peer: TransportPeer,
        leads: Leads,
        stream: Option<Stream>,
    ) -> Option<u64> {
        let is_full = self.under_way.len() >= PUNCHES_MAX || self.under_way.contains_key(&peer);
        let must_rest = self.allowed.get_mut(&peer)?;
        if is_full || (*must_rest && !leads) {
            return None;
        }
        *must_rest |= !leads;
        self.last = self.last.saturating_add(1);
        let punch = Punch { number: self.last, leads, stage: Stage::Looks(stream) };
        let _new = self.under_way.insert(peer, punch);
        Some(self.last)
    }

    /// The peer has rested.
    pub(super) fn rested(&mut self, peer: &TransportPeer) {
        if let Some(must_rest) = self.allowed.get_mut(peer) {
            *must_rest = false;
        }
    }

    pub(super) fn get(&mut self, peer: &TransportPeer) -> Option<&mut Punch> {
        self.under_way.get_mut(peer)
    }

    /// Those that still ask where we are seen.
    pub(super) fn looking(&self) -> Vec<TransportPeer> {
        let looks = |punch: &Punch| matches!(punch.stage, Stage::Looks(_));
        self.under_way.iter().filter(|(_, it)| looks(it)).map(|(peer, _)| *peer).collect()
    }

    pub(super) fn end(&mut self, peer: &TransportPeer) -> Option<Punch> {
        self.under_way.remove(peer)
    }
}

/// Which of the addresses at which we are seen are told.
pub(super) fn told<'a>(seen: impl Iterator<Item = &'a str>) -> Vec<Multiaddr> {
    let mut told: Vec<Multiaddr> = Vec::new();
    for address in seen.filter_map(|text| text.parse().ok()) {
        if told.len() < TOLD_MAX && address::reach(&address).is_some() && !told.contains(&address) {
            told.push(address);
        }
    }
    told
}

/// Which of a peer's addresses are dialled, by protocol. What reaches less far than where a relay sees
/// us belongs to some network of ours that is none of the peer's business.
pub(super) fn dialled(theirs: Vec<Multiaddr>, ours: &[Multiaddr]) -> [Vec<Multiaddr>; 2] {
    let least = ours.iter().filter_map(address::reach).min().unwrap_or(Reach::World);
    let good = theirs.into_iter().map(address::without_peer);
    let good = good.filter(|it| address::reach(it).is_some_and(|reach| reach >= least));
    good.take(TOLD_MAX).partition(|it| address::via(it) == Via::Tcp).into()
}

/// What both say before they dial; gives the addresses of the other one.
///
/// # Errors
/// The stream broke, the peer said what makes no sense or took too long.
pub(super) async fn exchange<S>(
    mut stream: S,
    leads: Leads,
    ours: &[Multiaddr],
) -> io::Result<Vec<Multiaddr>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let io = &mut stream;
    let both = async {
        if leads {
            tell(io, ours).await?;
            let theirs = hear(io).await?;
            let began = Instant::now();
            say(io, NOW).await?;
            expect(io, NOW).await?;
            let half = began.elapsed() / 2;
            say(io, GO).await?;
            sleep(half.min(HALF_MAX)).await;
            Ok(theirs)
        } else {
            let theirs = hear(io).await?;
            tell(io, ours).await?;
            expect(io, NOW).await?;
            say(io, NOW).await?;
            expect(io, GO).await?;
            Ok(theirs)
        }
    };
    timeout(EXCHANGE_TIME, both).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

async fn tell<W: AsyncWrite + Unpin>(io: &mut W, addresses: &[Multiaddr]) -> io::Result<()> {
    let lines: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    let text = lines.join("\n");
    let length = u16::try_from(text.len()).ok().filter(|it| usize::from(*it) <= TOLD_BYTES_MAX);
    let length = length.ok_or(io::ErrorKind::InvalidInput)?;
    io.write_all(&length.to_be_bytes()).await?;
    io.write_all(text.as_bytes()).await?;
    io.flush().await
}

async fn hear<R: AsyncRead + Unpin>(io: &mut R) -> io::Result<Vec<Multiaddr>> {
    let mut length = [0; 2];
    io.read_exact(&mut length).await?;
    let length = usize::from(u16::from_be_bytes(length));
    if length > TOLD_BYTES_MAX {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut text = vec![0; length];
    io.read_exact(&mut text).await?;
    let text = String::from_utf8(text).map_err(|_| io::ErrorKind::InvalidData)?;
    // What does not parse is of a later version.
    Ok(text.lines().filter_map(|line| line.parse().ok()).collect())
}

async fn say<W: AsyncWrite + Unpin>(io: &mut W, word: u8) -> io::Result<()> {
    io.write_all(&[word]).await?;
    io.flush().await
}

async fn expect<R: AsyncRead + Unpin>(io: &mut R, word: u8) -> io::Result<()> {
    let mut said = [0];
    io.read_exact(&mut said).await?;
    if said == [word] { Ok(()) } else { Err(io::ErrorKind::InvalidData.into()) }
}

const NOW: u8 = 1;
const GO: u8 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(texts: &[&str]) -> Vec<Multiaddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn nothing_is_dialled_that_reaches_less_far_than_where_we_are_seen() {
        let theirs = addresses(&[
            "/ip4/192.168.1.1/tcp/80",
            "/ip4/127.0.0.1/tcp/22",
            "/dns/intern.example.org/tcp/1",
            "/ip4/169.254.169.254/tcp/80",
            "/ip4/203.0.113.7/tcp/9001",
            "/ip4/203.0.113.7/udp/9001/quic-v1",
        ]);
        let world = addresses(&["/ip4/198.51.100.3/tcp/1"]);
        let [tcp, quic] = dialled(theirs.clone(), &world);
        assert_eq!((tcp, quic), (vec![theirs[4].clone()], vec![theirs[5].clone()]));
        // Nobody said where we are seen: as if from everywhere.
        assert_eq!(dialled(theirs.clone(), &[]).map(|it| it.len()), [1, 1]);
        // A company's relay sees both at addresses of the company.
        let near = addresses(&["/ip4/10.3.0.1/udp/1/quic-v1"]);
        assert_eq!(dialled(theirs.clone(), &near)[0].len(), 2, "but not this machine");
        let here = addresses(&["/ip4/127.0.0.1/tcp/5"]);
        assert_eq!(dialled(theirs, &here)[0].len(), 3);
    }

    #[test]
    fn few_addresses_are_told_and_dialled_and_none_twice() {
        let many: Vec<String> = (1..=9).map(|n| format!("/ip4/203.0.113.{n}/tcp/1")).collect();
        let twice = many.iter().chain(&many).map(String::as_str);
        assert_eq!(told(twice).len(), TOLD_MAX);
        assert_eq!(told(["/ip4/203.0.113.1/tcp/1"; 3].into_iter()).len(), 1);
        let texts: Vec<&str> = many.iter().map(String::as_str).collect();
        let [tcp, quic] = dialled(addresses(&texts), &[]);
        assert_eq!((tcp.len(), quic.len()), (TOLD_MAX, 0));
    }

    #[test]
    fn a_peer_is_followed_one_at_a_time_after_a_rest_and_only_if_the_core_named_it() {
        let mut punches = Punches::default();
        let peer = TransportPeer::random();
        assert_eq!(punches.begin(peer, false, None), None);
        punches.allow(peer);
        assert!(punches.begin(peer, false, None).is_some());
        assert_eq!(punches.begin(peer, false, None), None, "one is under way");
        assert!(punches.end(&peer).is_some());
        assert_eq!(punches.begin(peer, false, None), None, "too soon");
        punches.allow(peer);
        assert_eq!(punches.begin(peer, false, None), None, "to be named again is no rest");
        punches.rested(&peer);
        assert!(punches.begin(peer, false, None).is_some());
        punches.forget(&peer);
        assert_eq!(punches.begin(peer, true, None), None);
    }

    #[test]
    fn punches_are_bounded() {
        let mut punches = Punches::default();
        for number in 0..=PUNCHES_MAX {
            let peer = TransportPeer::random();
            punches.allow(peer);
            assert_eq!(punches.begin(peer, true, None).is_some(), number < PUNCHES_MAX);
        }
    }

    #[tokio::test]
    async fn what_is_told_is_heard_and_what_is_too_long_or_no_text_is_not() {
        let ours = addresses(&["/ip4/192.0.2.1/tcp/1", "/ip6/2001:db8::1/udp/1/quic-v1"]);
        let mut wire = Vec::new();
        tell(&mut wire, &ours).await.unwrap();
        assert_eq!(hear(&mut wire.as_slice()).await.unwrap(), ours);
        let heard = hear(&mut [0, 5, b'/', b'x', b'\n', b'/', b'y'].as_slice()).await.unwrap();
        assert!(heard.is_empty(), "of a later version");
        for nonsense in [&[0xff; 9][..], &[0, 2, 0xff, 0xff]] {
            let error = hear(&mut &nonsense[..]).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        }
        assert!(expect(&mut [GO].as_slice(), NOW).await.is_err());
    }
}
