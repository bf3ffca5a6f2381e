//! The net hand on loopback: two and more nodes in one process, free ports, no sleeps.
//! Owns: what may be seen of links, questions, relays and limits from outside.
//! Must not know: the tables inside.
//! Invariants: every wait has an end, so a fault fails instead of hanging.
//! Start reading at: [`Node`].

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use bytes::{BufMut, Bytes, BytesMut};
use futures::{AsyncReadExt, AsyncWriteExt, StreamExt};
use libp2p::{Multiaddr, Stream, SwarmBuilder, noise, swarm::SwarmEvent, tcp, yamux};
use rsa::pkcs8::EncodePrivateKey;
use tokio::{sync::mpsc, time::timeout};

use super::{
    Error, NetConfig, NetEvent, NetHandle, RelayLimits, TransportKey, Via, start,
    stream::{Happened, StreamEvent, Streams},
};
use crate::{
    ids::{PeerId, RequestId},
    limits::{ASK_BYTES_MAX, FRAME_BYTES_MAX, STRANGER_FRAME_BYTES_MAX},
    refusal::Refusal,
    time::Millis,
    wire::codec,
};

/// A node and its events.
struct Node {
    handle: NetHandle,
    id: PeerId,
    events: mpsc::Receiver<NetEvent>,
    addresses: Vec<String>,
}

const TCP: &str = "/ip4/127.0.0.1/tcp/0";
const QUIC: &str = "/ip4/127.0.0.1/udp/0/quic-v1";

fn ed25519(number: u8) -> TransportKey {
    TransportKey::Ed25519 { secret: [number; 32] }
}

fn rsa_key(seed: u8) -> TransportKey {
    use rand_core::SeedableRng;
    let mut chance = rand_chacha::ChaCha20Rng::from_seed([seed; 32]);
    let key = rsa::RsaPrivateKey::new(&mut chance, 2048).unwrap();
    TransportKey::Rsa { pkcs8_der: key.to_pkcs8_der().unwrap().as_bytes().to_vec() }
}

async fn in_time<T>(future: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(30), future).await.expect("in time")
}

impl Node {
    async fn new(number: u8) -> Self {
        Self::with(NetConfig::new(ed25519(number), vec![TCP.to_owned()])).await
    }

    async fn with(config: NetConfig) -> Self {
        let (handle, id, events) = start(config).await.unwrap();
        let mut node = Self { handle, id, events, addresses: Vec::new() };
        node.addresses = node
            .until(|event| match event {
                NetEvent::Listening { addresses } => Some(addresses),
                _ => None,
            })
            .await;
        node
    }

    async fn next(&mut self) -> NetEvent {
        in_time(self.events.recv()).await.expect("an event")
    }

    /// The first event that `wanted` takes; others are dropped.
    async fn until<T>(&mut self, mut wanted: impl FnMut(NetEvent) -> Option<T>) -> T {
        loop {
            if let Some(found) = wanted(self.next().await) {
                return found;
            }
        }
    }

    async fn link_up(&mut self) -> (PeerId, Via) {
        self.until(|event| match event {
            NetEvent::LinkUp { peer, transport, .. } => Some((peer, transport)),
            NetEvent::DialFailed { why, .. } => panic!("{why}"),
            _ => None,
        })
        .await
    }

    async fn link_down(&mut self) -> PeerId {
        self.until(|event| match event {
            NetEvent::LinkDown { peer } => Some(peer),
            _ => None,
        })
        .await
    }

    async fn frame(&mut self) -> Bytes {
        self.until(|event| match event {
            NetEvent::Frame { bytes, .. } => Some(bytes),
            NetEvent::LinkDown { .. } => panic!("the link ended"),
            _ => None,
        })
        .await
    }

    async fn refused(&mut self) -> Refusal {
        self.until(|event| match event {
            NetEvent::Refused { refusal, .. } => Some(refusal),
            _ => None,
        })
        .await
    }

    async fn answered(&mut self) -> (RequestId, Result<(PeerId, Bytes), String>) {
        self.until(|event| match event {
            NetEvent::Answered { id, result } => Some((id, result)),
            _ => None,
        })
        .await
    }

    async fn dial_failed(&mut self) -> String {
        self.until(|event| match event {
            NetEvent::DialFailed { why, .. } => Some(why),
            NetEvent::LinkUp { .. } => panic!("linked"),
            _ => None,
        })
        .await
    }
}

/// Two nodes, the first of which dialled the second.
async fn linked(a: NetConfig, b: NetConfig) -> (Node, Node, Via) {
    let (mut a, mut b) = (Node::with(a).await, Node::with(b).await);
    a.handle.dial(Some(b.id), b.addresses.clone());
    let (peer, via) = a.link_up().await;
    assert_eq!(peer, b.id);
    assert_eq!(b.link_up().await, (a.id, via));
    (a, b, via)
}

fn config(number: u8, listen: &str) -> NetConfig {
    NetConfig::new(ed25519(number), vec![listen.to_owned()])
}

/// A frame that says its number.
fn numbered(number: u32) -> Bytes {
    let mut bytes = BytesMut::zeroed(196);
    bytes.put_u32(number);
    bytes.freeze()
}

async fn send_all(handle: NetHandle, to: PeerId, count: u32) {
    for number in 0..count {
        if number % 64 == 0 {
            handle.room(to).await;
        }
        assert!(handle.frame(to, numbered(number)));
    }
}

async fn receive_all(node: &mut Node, count: u32) {
    for number in 0..count {
        assert_eq!(node.frame().await, numbered(number));
    }
}

async fn exchange(a: NetConfig, b: NetConfig) -> Via {
    let (mut a, mut b, via) = linked(a, b).await;
    let sending = [
        tokio::spawn(send_all(a.handle.clone(), b.id, 10_000)),
        tokio::spawn(send_all(b.handle.clone(), a.id, 10_000)),
    ];
    tokio::join!(receive_all(&mut a, 10_000), receive_all(&mut b, 10_000));
    for sent in sending {
        sent.await.unwrap();
    }
    via
}

#[tokio::test]
async fn ten_thousand_frames_each_way_arrive_in_order_over_tcp() {
    assert_eq!(exchange(config(1, TCP), config(2, TCP)).await, Via::Tcp);
}

#[tokio::test]
async fn ten_thousand_frames_each_way_arrive_in_order_over_quic() {
    assert_eq!(exchange(config(1, QUIC), config(2, QUIC)).await, Via::Quic);
}

#[tokio::test]
async fn rsa_and_ed25519_nodes_link_over_tcp_and_quic() {
    for listen in [TCP, QUIC] {
        let member = NetConfig::new(rsa_key(1), vec![listen.to_owned()]);
        let (a, b, _) = linked(member, config(2, listen)).await;
        assert!(a.id.to_string().starts_with("Qm"));
        assert!(b.id.to_string().starts_with("12D3KooW"));
    }
}

#[tokio::test]
async fn host_and_port_listen_on_both_transports_and_tcp_is_preferred() {
    let mut a = Node::new(1).await;
    let mut b = Node::with(config(2, "127.0.0.1:0")).await;
    assert_eq!(b.addresses.len(), 2);
    a.handle.dial(None, b.addresses.clone());
    let dialled = a
        .until(|event| match event {
            NetEvent::LinkUp { transport, is_outbound, dialled, peer, .. } => {
                assert!(is_outbound && peer == b.id && transport == Via::Tcp);
                Some(dialled)
            }
            _ => None,
        })
        .await;
    assert_eq!(dialled, b.addresses);
    assert_eq!(b.link_up().await.0, a.id);
}

#[tokio::test]
async fn the_round_trip_is_known_soon_after_a_link_is_up() {
    let (mut a, b, _) = linked(config(1, TCP), config(2, TCP)).await;
    a.until(|event| match event {
        NetEvent::RoundTrip { peer, micros } => {
            assert!(peer == b.id && micros > 0);
            Some(())
        }
        _ => None,
    })
    .await;
}

#[tokio::test]
async fn each_side_is_told_where_the_other_sees_it() {
    for transport in [TCP, QUIC] {
        let (mut a, mut b, _) = linked(config(1, transport), config(2, transport)).await;
        let seen = |by: PeerId, outbound: bool| {
            move |event| match event {
                NetEvent::SeenAt { peer, address, is_outbound } => {
                    assert!(peer == by && is_outbound == outbound);
                    Some(address)
                }
                _ => None,
            }
        };
        let (at_a, at_b) = (a.until(seen(b.id, true)).await, b.until(seen(a.id, false)).await);
        assert!(at_a.starts_with("/ip4/127.0.0.1/"), "{at_a}");
        // Who was dialled is seen where it listens.
        assert!(b.addresses.contains(&at_b), "{at_b} of {:?}", b.addresses);
    }
}

#[tokio::test]
async fn both_sides_dialling_at_once_have_one_link_and_lose_nothing() {
    for round in 0..10 {
        let (mut a, mut b) = (Node::new(1).await, Node::new(2).await);
        a.handle.dial(Some(b.id), b.addresses.clone());
        b.handle.dial(Some(a.id), a.addresses.clone());
        a.link_up().await;
        b.link_up().await;
        let sending = [
            tokio::spawn(send_all(a.handle.clone(), b.id, 500)),
            tokio::spawn(send_all(b.handle.clone(), a.id, 500)),
        ];
        // `frame` panics at a LinkDown.
        tokio::join!(receive_all(&mut a, 500), receive_all(&mut b, 500));
        for sent in sending {
            sent.await.unwrap();
        }
        a.handle.close(b.id);
        assert_eq!(a.link_down().await, b.id, "round {round}");
        assert_eq!(b.link_down().await, a.id, "round {round}");
    }
}

#[tokio::test]
async fn closing_writes_out_what_is_queued() {
    let (a, mut b, _) = linked(config(1, TCP), config(2, TCP)).await;
    for number in 0..200 {
        assert!(a.handle.frame(b.id, numbered(number)));
    }
    a.handle.close(b.id);
    assert!(!a.handle.frame(b.id, numbered(0)), "a closing link takes no more");
    receive_all(&mut b, 200).await;
    assert_eq!(b.link_down().await, a.id);
}

#[tokio::test]
async fn shutting_down_writes_out_what_is_queued_and_ends() {
    for listen in [TCP, QUIC] {
        let (a, mut b, _) = linked(config(1, listen), config(2, listen)).await;
        for number in 0..200 {
            assert!(a.handle.frame(b.id, numbered(number)));
        }
        tokio::join!(in_time(a.handle.clone().shutdown()), receive_all(&mut b, 200));
        assert_eq!(b.link_down().await, a.id);
        in_time(a.handle.shutdown()).await;
    }
}

#[tokio::test]
async fn a_peer_that_starts_again_is_linked_again() {
    let (mut a, b, _) = linked(config(1, TCP), config(2, TCP)).await;
    let b_id = b.id;
    drop(b);
    assert_eq!(a.link_down().await, b_id);
    let mut b = Node::new(2).await;
    b.handle.dial(Some(a.id), a.addresses.clone());
    assert_eq!(a.link_up().await.0, b_id);
    assert_eq!(b.link_up().await.0, a.id);
    assert!(a.handle.frame(b_id, numbered(7)));
    assert_eq!(b.frame().await, numbered(7));
}

#[tokio::test]
async fn questions_are_answered_with_and_without_a_known_peer() {
    let (mut a, mut b) = (Node::new(1).await, Node::new(2).await);
    let asked = [
        (1, Some(b.id), b.addresses.clone()),
        (2, None, b.addresses.clone()),
        (3, Some(b.id), vec![]),
    ];
    for (number, peer, addresses) in asked {
        let question = Bytes::from(vec![9; ASK_BYTES_MAX]);
        a.handle.ask(RequestId(number), peer, addresses, question.clone());
        let (from, id, bytes) = b
            .until(|event| match event {
                NetEvent::Asked { from, id, bytes } => Some((from, id, bytes)),
                NetEvent::LinkUp { .. } => panic!("a question makes no link"),
                _ => None,
            })
            .await;
        assert!(from == a.id && bytes == question);
        b.handle.answer(id, Bytes::from_static(b"yes"));
        let answer = Ok((b.id, Bytes::from_static(b"yes")));
        assert_eq!(a.answered().await, (RequestId(number), answer));
    }
}

#[tokio::test]
async fn questions_that_cannot_be_asked_fail_once() {
    let mut a = Node::new(1).await;
    let b = Node::new(2).await;
    let nowhere = vec!["127.0.0.1:1".to_owned(), "nonsense".to_owned()];
    a.handle.ask(RequestId(1), None, nowhere.clone(), Bytes::from_static(b"?"));
    let (id, result) = a.answered().await;
    assert_eq!(id, RequestId(1));
    assert!(result.unwrap_err().contains("the address is not understood"));
    a.handle.ask(RequestId(2), Some(b.id), nowhere, Bytes::from_static(b"?"));
    assert!(a.answered().await.1.is_err());
    let long = Bytes::from(vec![0; ASK_BYTES_MAX + 1]);
    a.handle.ask(RequestId(3), Some(b.id), b.addresses.clone(), long);
    assert_eq!(a.answered().await, (RequestId(3), Err("longer than allowed".to_owned())));
    a.handle.ask(RequestId(4), Some(a.id), b.addresses.clone(), Bytes::from_static(b"?"));
    assert_eq!(a.answered().await.1, Err("that is this node itself".to_owned()));
}

#[tokio::test]
async fn dials_that_cannot_succeed_fail_once_with_the_reason() {
    let (mut a, mut b) = (Node::new(1).await, Node::new(2).await);
    let c = Node::new(3).await;
    a.handle.dial(Some(a.id), a.addresses.clone());
    assert_eq!(a.dial_failed().await, "that is this node itself");
    a.handle.dial(None, a.addresses.clone());
    assert_eq!(a.dial_failed().await, "that address is our own");
    a.handle.dial(None, vec![]);
    assert_eq!(a.dial_failed().await, "no address is known");
    a.handle.dial(None, vec!["/ip4/127.0.0.1/tcp/1".to_owned()]);
    assert!(a.dial_failed().await.contains("refused"));
    a.handle.dial(Some(c.id), b.addresses.clone());
    assert!(a.dial_failed().await.contains("answered by another peer"));
    a.handle.dial(None, b.addresses.clone());
    a.link_up().await;
    b.link_up().await;
    a.handle.dial(Some(b.id), b.addresses.clone());
    a.handle.dial(None, b.addresses.clone());
    assert!(a.dial_failed().await.starts_with("already linked with"));
}

#[tokio::test]
async fn a_port_in_use_is_named_with_the_reason() {
    let a = Node::new(1).await;
    let port = a.addresses[0].clone();
    let socket = port.replace("/ip4/127.0.0.1/tcp/", "127.0.0.1:");
    for taken in [port, socket] {
        match start(config(2, &taken)).await {
            Err(Error::ListenFailed { address, reason }) => {
                assert_eq!(address, taken);
                assert!(reason.to_lowercase().contains("in use"), "{reason}");
            }
            other => panic!("{:?}", other.map(|_| ())),
        }
    }
    let error = start(config(2, "nonsense")).await.map(|_| ()).unwrap_err();
    assert_eq!(error.refusal(), Refusal::AddressBad);
}

/// A peer that speaks the link protocol as far as it likes.
struct Stranger {
    stream: Stream,
    /// A second one on the same connection.
    spare: Option<Stream>,
    /// Keeps the connection alive.
    _swarm: tokio::task::JoinHandle<()>,
}

impl Stranger {
    async fn new(to: &Node) -> Self {
        let mut swarm = SwarmBuilder::with_new_identity()
            .with_tokio()
            .with_tcp(tcp::Config::new(), noise::Config::new, yamux::Config::default)
            .unwrap()
            .with_behaviour(|_| Streams::default())
            .unwrap()
            .with_swarm_config(|config| {
                config.with_idle_connection_timeout(Duration::from_secs(60))
            })
            .build();
        swarm.dial(to.addresses[0].parse::<Multiaddr>().unwrap()).unwrap();
        let mut streams = Vec::new();
        in_time(async {
            while streams.len() < 2 {
                match swarm.select_next_some().await {
                    SwarmEvent::ConnectionEstablished { peer_id, connection_id, .. } => {
                        swarm.behaviour_mut().open(peer_id, connection_id);
                        swarm.behaviour_mut().open(peer_id, connection_id);
                    }
                    SwarmEvent::Behaviour(StreamEvent {
                        what: Happened::Opened(stream), ..
                    }) => {
                        streams.push(stream);
                    }
                    _ => {}
                }
            }
        })
        .await;
        let (spare, stream) = (streams.pop(), streams.remove(0));
        let _swarm = tokio::spawn(async move {
            loop {
                let _event = swarm.select_next_some().await;
            }
        });
        Self { stream, spare, _swarm }
    }

    async fn write(&mut self, bytes: &[u8]) {
        // It may be shut out while it writes.
        let _closed = self.stream.write_all(bytes).await;
        let _closed = self.stream.flush().await;
    }

    /// Whether the other side has ended the stream.
    async fn is_shut_out(&mut self) -> bool {
        let mut rest = Vec::new();
        let _reset = in_time(self.stream.read_to_end(&mut rest)).await;
        true
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        self._swarm.abort();
    }
}

fn framed(body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    codec::put_frame(&mut out, body);
    out
}

#[tokio::test]
async fn malformed_frames_end_that_link_and_no_other() {
    let (a, mut b, _) = linked(config(1, TCP), config(2, TCP)).await;
    let mut long_prefix = Vec::new();
    codec::put_prefix(&mut long_prefix, STRANGER_FRAME_BYTES_MAX + 1);
    let mut huge_prefix = Vec::new();
    codec::put_prefix(&mut huge_prefix, FRAME_BYTES_MAX + 1);
    let cases: [(&[u8], Refusal); 6] = [
        (&[0], Refusal::FrameBad),
        (&[0xff; 64], Refusal::FrameBad),
        (&[0x81, 0x80, 0x80, 0x80, 0x80, 0x80, 0x00], Refusal::FrameBad),
        (&[0x85, 0x00, 1, 2, 3, 4, 5], Refusal::FrameBad),
        (&long_prefix, Refusal::FrameTooLong),
        (&huge_prefix, Refusal::FrameTooLong),
    ];
    for (bytes, refusal) in cases {
        let mut stranger = Stranger::new(&b).await;
        stranger.write(bytes).await;
        assert_eq!(b.refused().await, refusal);
        b.link_down().await;
        assert!(stranger.is_shut_out().await);
    }
    assert!(a.handle.frame(b.id, numbered(1)));
    assert_eq!(b.frame().await, numbered(1));
}

#[tokio::test]
async fn a_peer_that_starts_afresh_on_a_new_stream_gets_a_new_link() {
    let mut b = Node::new(2).await;
    let mut stranger = Stranger::new(&b).await;
    let (peer, _) = b.link_up().await;
    stranger.write(&framed(b"old")).await;
    assert_eq!(b.frame().await, "old");
    let mut spare = stranger.spare.take().unwrap();
    spare.write_all(&framed(b"new")).await.unwrap();
    spare.flush().await.unwrap();
    assert_eq!(b.link_down().await, peer);
    assert_eq!(b.link_up().await.0, peer);
    assert_eq!(b.frame().await, "new");
    assert!(stranger.is_shut_out().await, "the old stream is closed");
    assert!(b.handle.frame(peer, Bytes::from_static(b"hello")));
    let mut answer = [0; 6];
    in_time(spare.read_exact(&mut answer)).await.unwrap();
    assert_eq!(&answer, b"\x05hello");
}

#[tokio::test]
async fn a_second_stream_that_is_not_used_changes_nothing() {
    let mut b = Node::new(2).await;
    let mut stranger = Stranger::new(&b).await;
    stranger.write(&framed(b"one")).await;
    assert_eq!(b.frame().await, "one");
    drop(stranger.spare.take());
    stranger.write(&framed(b"two")).await;
    // `frame` panics at a LinkDown.
    assert_eq!(b.frame().await, "two");
}

#[tokio::test]
async fn random_bytes_do_no_harm() {
    use rand_core::{Rng, SeedableRng};
    let (a, mut b, _) = linked(config(1, TCP), config(2, TCP)).await;
    let mut chance = rand_chacha::ChaCha20Rng::from_seed([7; 32]);
    for _ in 0..10 {
        let mut noise = vec![0; 50_000];
        chance.fill_bytes(&mut noise);
        let mut stranger = Stranger::new(&b).await;
        stranger.write(&noise).await;
        drop(stranger);
        assert_ne!(b.link_down().await, a.id);
    }
    assert!(a.handle.frame(b.id, numbered(1)));
    b.until(|event| matches!(event, NetEvent::Frame { from, .. } if from == a.id).then_some(()))
        .await;
}

#[tokio::test]
async fn half_a_frame_and_then_the_end_is_forgotten_without_a_word() {
    let mut b = Node::new(2).await;
    let mut stranger = Stranger::new(&b).await;
    stranger.write(&framed(&[1; 100])[..50]).await;
    drop(stranger);
    loop {
        match b.next().await {
            NetEvent::LinkDown { .. } => break,
            NetEvent::Frame { .. } | NetEvent::Refused { .. } => panic!("half a frame"),
            _ => {}
        }
    }
}

#[tokio::test]
async fn half_a_frame_and_then_silence_meets_the_deadline() {
    let mut config = config(2, TCP);
    config.frame_deadline = Millis(50);
    let mut b = Node::with(config).await;
    let mut stranger = Stranger::new(&b).await;
    stranger.write(&framed(&[1; 100])).await;
    assert_eq!(b.frame().await.len(), 100);
    stranger.write(&framed(&[1; 100])[..50]).await;
    assert_eq!(b.refused().await, Refusal::FrameSlow);
    b.link_down().await;
}

#[tokio::test]
async fn a_long_frame_passes_once_its_sender_is_admitted() {
    let (a, mut b, _) = linked(config(1, TCP), config(2, TCP)).await;
    let long = Bytes::from(vec![5; FRAME_BYTES_MAX]);
    assert!(a.handle.frame(b.id, numbered(1)));
    assert!(a.handle.frame(b.id, long.clone()));
    assert_eq!(b.frame().await, numbered(1));
    b.handle.admit(a.id);
    assert_eq!(b.frame().await, long);
    assert!(!a.handle.frame(b.id, Bytes::from(vec![5; FRAME_BYTES_MAX + 1])));
    assert!(!a.handle.frame(b.id, Bytes::new()));
    assert!(a.handle.frame(b.id, numbered(2)));
    assert_eq!(b.frame().await, numbered(2));
}

#[tokio::test]
async fn a_peer_that_never_reads_loses_its_link_and_nobody_elses() {
    let (mut a, mut b, _) = linked(config(1, TCP), config(2, TCP)).await;
    let stranger = Stranger::new(&a).await;
    let (idle, _) = a.link_up().await;
    let frame = Bytes::from(vec![1; 64 << 10]);
    let mut sent = 0_usize;
    while a.handle.frame(idle, frame.clone()) {
        sent += 1;
        assert!(sent < 100_000, "the queue has a bound");
        tokio::task::yield_now().await;
    }
    assert!(sent * frame.len() >= crate::limits::QUEUE_BYTES_MAX / 2);
    assert_eq!(a.link_down().await, idle);
    assert_eq!(a.handle.queued(idle), None);
    assert!(a.handle.frame(b.id, numbered(1)));
    assert_eq!(b.frame().await, numbered(1));
    drop(stranger);
}

#[tokio::test]
async fn a_driver_that_does_not_read_slows_the_sender_down() {
    let (a, mut b, _) = linked(config(1, TCP), config(2, TCP)).await;
    let frame = Bytes::from(vec![1; 16 << 10]);
    let mut sent = 0_u32;
    // Until no room comes: everything between the two is full.
    while timeout(Duration::from_millis(300), a.handle.room(b.id)).await.is_ok() {
        assert!(a.handle.frame(b.id, frame.clone()));
        sent += 1;
        assert!(sent < 100_000, "what is under way has a bound");
    }
    assert!(a.handle.queued(b.id).is_some(), "and nothing is lost");
    for _ in 0..sent {
        assert_eq!(b.frame().await, frame);
    }
}

#[tokio::test]
async fn three_hundred_idle_connections_do_not_keep_a_link_out() {
    let mut config = config(2, TCP);
    config.connections_max = 320;
    let mut b = Node::with(config).await;
    let socket = b.addresses[0].replace("/ip4/127.0.0.1/tcp/", "127.0.0.1:");
    let mut idle = Vec::new();
    for _ in 0..300 {
        idle.push(tokio::net::TcpStream::connect(&socket).await.unwrap());
    }
    let mut a = Node::new(1).await;
    a.handle.dial(Some(b.id), b.addresses.clone());
    assert_eq!(a.link_up().await.0, b.id);
    assert_eq!(b.link_up().await.0, a.id);
}

#[tokio::test]
async fn established_idle_connections_make_room_for_new_ones() {
    let mut config = config(2, TCP);
    config.connections_max = 8;
    let mut b = Node::with(config).await;
    let mut others = Vec::new();
    for number in 10..30 {
        let mut other = Node::new(number).await;
        other.handle.ask(RequestId(1), None, b.addresses.clone(), Bytes::from_static(b"?"));
        let id = b
            .until(|event| match event {
                NetEvent::Asked { id, .. } => Some(id),
                _ => None,
            })
            .await;
        b.handle.answer(id, Bytes::from_static(b"!"));
        assert!(other.answered().await.1.is_ok());
        others.push(other);
    }
}

#[tokio::test]
async fn a_member_is_reached_through_a_relay() {
    let mut relay_config = config(3, TCP);
    relay_config.relay_server = Some(RelayLimits::default());
    let relay = Node::with(relay_config).await;
    let (mut a, mut b) = (Node::new(1).await, Node::new(2).await);
    a.handle.reserve(relay.id, relay.addresses.clone());
    let through: Vec<String> = a
        .until(|event| match event {
            NetEvent::Listening { addresses } => {
                Some(addresses.into_iter().filter(|text| text.contains("p2p-circuit")).collect())
                    .filter(|through: &Vec<String>| !through.is_empty())
            }
            _ => None,
        })
        .await;
    b.handle.dial(Some(a.id), through);
    assert_eq!(b.link_up().await, (a.id, Via::Relay));
    assert_eq!(a.link_up().await, (b.id, Via::Relay));
    let sending = tokio::spawn(send_all(b.handle.clone(), a.id, 2_000));
    receive_all(&mut a, 2_000).await;
    sending.await.unwrap();
}

/// Two nodes that both listen over TCP and QUIC and are linked through a relay that sees both.
async fn relayed_pair(quic: bool, both_dial: bool) -> (Node, Node, Node) {
    let mut listen = vec![TCP.to_owned()];
    listen.extend(quic.then(|| QUIC.to_owned()));
    let mut relay_config = NetConfig::new(ed25519(3), listen.clone());
    relay_config.relay_server = Some(RelayLimits::default());
    let relay = Node::with(relay_config).await;
    let mut a = Node::with(NetConfig::new(ed25519(1), listen.clone())).await;
    let mut b = Node::with(NetConfig::new(ed25519(2), listen)).await;
    for node in [&mut a, &mut b] {
        node.handle.reserve(relay.id, relay.addresses.clone());
        node.addresses = node
            .until(|event| match event {
                NetEvent::Listening { addresses } => {
                    Some(addresses).filter(|all| all.iter().any(|it| it.contains("p2p-circuit")))
                }
                _ => None,
            })
            .await;
    }
    let through = |node: &Node| {
        node.addresses.iter().filter(|it| it.contains("p2p-circuit")).cloned().collect()
    };
    b.handle.dial(Some(a.id), through(&a));
    if both_dial {
        a.handle.dial(Some(b.id), through(&b));
    }
    assert_eq!(b.link_up().await, (a.id, Via::Relay));
    assert_eq!(a.link_up().await, (b.id, Via::Relay));
    (relay, a, b)
}

/// Sends numbered frames until the link has moved at both ends, some more, and an empty number.
async fn send_while_moving(handle: NetHandle, to: PeerId, moved: Arc<AtomicU32>) {
    let (mut number, mut last) = (0, u32::MAX);
    while number < last {
        if number % 64 == 0 {
            handle.room(to).await;
        }
        assert!(handle.frame(to, numbered(number)));
        number += 1;
        if moved.load(Ordering::Relaxed) == 2 {
            last = last.min(number + 1_000);
        }
    }
    assert!(handle.frame(to, Bytes::from_static(b"end")));
}

/// Takes numbered frames to their end; gives how the link runs then.
async fn receive_while_moving(node: &mut Node, moved: &AtomicU32) -> Via {
    let (mut next, mut via) = (0, Via::Relay);
    loop {
        match node.next().await {
            NetEvent::Frame { bytes, .. } if bytes == b"end"[..] => return via,
            NetEvent::Frame { bytes, .. } => {
                assert_eq!(bytes, numbered(next), "in order, none lost, none twice");
                next += 1;
            }
            NetEvent::Moved { transport, .. } => {
                via = transport;
                moved.fetch_add(1, Ordering::Relaxed);
            }
            // That the peer began it does not mean that others could.
            NetEvent::SeenAt { is_outbound, .. } => assert!(is_outbound),
            NetEvent::LinkDown { .. } => panic!("the link ended"),
            NetEvent::NotPunched { why, .. } => panic!("{why}"),
            _ => {}
        }
    }
}

#[tokio::test]
async fn a_relayed_link_moves_to_a_direct_connection_while_frames_go_both_ways() {
    for (quic, both_dial) in [(false, false), (true, false), (true, true)] {
        let (_relay, mut a, mut b) = relayed_pair(quic, both_dial).await;
        let moved = Arc::new(AtomicU32::new(0));
        let sends = [(a.handle.clone(), b.id), (b.handle.clone(), a.id)]
            .map(|(handle, to)| tokio::spawn(send_while_moving(handle, to, Arc::clone(&moved))));
        a.handle.punch(b.id, false);
        b.handle.punch(a.id, true);
        let (one, other) = tokio::join!(
            receive_while_moving(&mut a, &moved),
            receive_while_moving(&mut b, &moved)
        );
        assert!(one != Via::Relay && one == other, "{one} {other}");
        for send in sends {
            send.await.unwrap();
        }
        // It goes on, and its end is told once.
        assert!(a.handle.frame(b.id, Bytes::from_static(b"after")));
        assert_eq!(b.frame().await, b"after"[..]);
        a.handle.close(b.id);
        assert_eq!(b.link_down().await, a.id);
        assert_eq!(a.link_down().await, b.id);
    }
}

/// Both dialled, so each writes to a stream of its own: one's is left long before the other's.
#[tokio::test]
async fn a_link_with_two_streams_moves_although_one_side_reads_later() {
    let (_relay, mut a, mut b) = relayed_pair(false, true).await;
    // More than there is room for where nobody reads: the mark comes behind.
    let count = 4 * u32::try_from(super::EVENTS_MAX).unwrap();
    send_all(b.handle.clone(), a.id, count).await;
    a.handle.punch(b.id, false);
    b.handle.punch(a.id, true);
    let has_moved = |event| matches!(event, NetEvent::Moved { .. }).then_some(());
    b.until(has_moved).await;
    assert!(b.handle.frame(a.id, numbered(count)));
    receive_all(&mut a, count + 1).await;
    assert!(a.handle.frame(b.id, Bytes::from_static(b"after")));
    assert_eq!(b.frame().await, b"after"[..]);
}

/// Its connection is let alone then: without anything under way it ends by itself.
#[tokio::test]
async fn a_file_under_way_through_a_relay_comes_whole_although_its_link_has_moved() {
    const BYTES: usize = 256 << 10;
    let (_relay, mut a, mut b) = relayed_pair(false, false).await;
    let mut to = in_time(b.handle.open_file(a.id)).await.unwrap();
    in_time(to.write_all(&[1; 1_000])).await.unwrap();
    in_time(to.flush()).await.unwrap();
    let mut from = a
        .until(|event| match event {
            NetEvent::File { from, stream } => Some(stream).filter(|_| from == b.id),
            _ => None,
        })
        .await;
    a.handle.punch(b.id, false);
    b.handle.punch(a.id, true);
    for node in [&mut a, &mut b] {
        let via = node
            .until(|event| match event {
                NetEvent::Moved { transport, .. } => Some(transport),
                NetEvent::NotPunched { why, .. } => panic!("{why}"),
                _ => None,
            })
            .await;
        assert_ne!(via, Via::Relay);
    }
    let sending = tokio::spawn(async move {
        to.write_all(&vec![2; BYTES]).await.unwrap();
        to.close().await.unwrap();
    });
    let mut got = Vec::new();
    in_time(from.read_to_end(&mut got)).await.unwrap();
    sending.await.unwrap();
    assert_eq!(got.len(), 1_000 + BYTES);
    assert!(got.iter().take(1_000).all(|it| *it == 1) && got.iter().skip(1_000).all(|it| *it == 2));
    // A new one takes the direct way.
    assert!(in_time(b.handle.open_file(a.id)).await.is_some());
}

#[tokio::test]
async fn who_does_not_want_a_direct_connection_gets_none() {
    let (_relay, a, mut b) = relayed_pair(false, false).await;
    b.handle.punch(a.id, true);
    let peer = b
        .until(|event| match event {
            NetEvent::NotPunched { peer, .. } => Some(peer),
            NetEvent::Moved { .. } => panic!("it moved"),
            _ => None,
        })
        .await;
    assert_eq!(peer, a.id);
    let mut a = a;
    assert!(b.handle.frame(a.id, Bytes::from_static(b"still")));
    assert_eq!(a.frame().await, b"still"[..]);
}

#[tokio::test]
async fn a_direct_link_is_not_punched() {
    let (mut a, mut b) = (Node::new(1).await, Node::new(2).await);
    a.handle.dial(Some(b.id), b.addresses.clone());
    assert_eq!(a.link_up().await.0, b.id);
    assert_eq!(b.link_up().await.0, a.id);
    a.handle.punch(b.id, true);
    let why = a
        .until(|event| match event {
            NetEvent::NotPunched { why, .. } => Some(why),
            _ => None,
        })
        .await;
    assert_eq!(why, "the link is not relayed");
}

#[tokio::test]
async fn a_node_that_is_no_relay_refuses_to_be_one() {
    let (mut a, mut b) = (Node::new(1).await, Node::new(2).await);
    let c = Node::new(3).await;
    a.handle.reserve(c.id, c.addresses.clone());
    b.handle.dial(Some(a.id), vec![format!("{}/p2p/{}/p2p-circuit", c.addresses[0], c.id)]);
    b.dial_failed().await;
    assert!(a.events.try_recv().is_err(), "no relayed address is told");
}

#[tokio::test]
async fn tls_is_asked_for_first_and_noise_of_who_has_none() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let mut a = Node::new(1).await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    a.handle.dial(None, vec![format!("/ip4/127.0.0.1/tcp/{port}")]);
    let (mut socket, _) = in_time(listener.accept()).await.unwrap();
    let mut asked = [0; 32];
    in_time(socket.read_exact(&mut asked)).await.unwrap();
    assert_eq!(&asked, b"\x13/multistream/1.0.0\n\x0b/tls/1.0.0\n");
    socket.write_all(b"\x13/multistream/1.0.0\n\x03na\n").await.unwrap();
    let mut asked = [0; 8];
    in_time(socket.read_exact(&mut asked)).await.unwrap();
    assert_eq!(&asked, b"\x07/noise\n");
    drop(socket);
    a.dial_failed().await;
    // Who hangs up at once is told apart from libp2p's words for it.
    a.handle.dial(None, vec![format!("/ip4/127.0.0.1/tcp/{port}")]);
    let (mut socket, _) = in_time(listener.accept()).await.unwrap();
    socket.shutdown().await.unwrap();
    let why = a.dial_failed().await;
    assert!(why.contains("it hung up, or is no libp2p node"), "{why}");
}
