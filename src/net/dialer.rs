//! Attempts to reach a peer: which addresses are tried when, and what for.
//! Owns: the attempts under way, their order of addresses, why they failed.
//! Must not know: when to try again (the cores decide).
//! Invariants: an attempt ends exactly once; attempts are bounded.
//! Start reading at: [`Dialer`].
//!
//! TCP goes first: on the same path it costs less CPU a byte than QUIC. QUIC follows when TCP
//! failed or [`STAGGER`] has passed, relays after that. The first connection wins; those that
//! come later are closed.

use std::{collections::BTreeMap, error::Error as StdError, io, time::Duration};

use bytes::Bytes;
use libp2p::{
    Multiaddr, PeerId as TransportPeer, TransportError,
    core::upgrade::NegotiationError,
    swarm::{
        ConnectionId, DialError,
        dial_opts::{DialOpts, PeerCondition},
    },
};

use super::{Via, address};
use crate::{ids::RequestId, limits::ADDRESSES_MAX};

/// How long the better transports are waited for before the next ones are tried as well.
pub(super) const STAGGER: Duration = Duration::from_millis(300);
/// How long other transports get where TCP was refused: QUIC alone would be silent for seconds.
pub(super) const AFTER_REFUSAL: Duration = Duration::from_millis(750);
/// Attempts at once.
const ATTEMPTS_MAX: usize = 512;

/// What a connection is wanted for.
#[derive(Debug)]
pub(super) enum Purpose {
    /// A link; holds the addresses as they were given.
    Link(Vec<String>),
    /// A question.
    Ask(RequestId, Bytes),
}

/// An attempt's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct AttemptId(u64);

/// One wish to reach somebody.
#[derive(Debug)]
pub(super) struct Attempt {
    /// Whom; `None` for whoever answers.
    pub(super) peer: Option<TransportPeer>,
    pub(super) purpose: Purpose,
    /// What is still to be tried, in this order.
    stages: Vec<Vec<Multiaddr>>,
    /// Connections being made.
    pending: usize,
    /// The connection on which the link's stream is being opened.
    opening: Option<ConnectionId>,
    errors: Vec<String>,
    /// Everything so far was refused by a host that is there: its process is not.
    is_refused: Option<bool>,
}

/// What follows from a failure.
#[derive(Debug)]
pub(super) enum Next {
    /// Other connections of this attempt are still being made, or it ended before.
    Wait,
    /// The next addresses should be tried.
    Dial(AttemptId),
    /// Nothing is left to try.
    Failed(Box<Attempt>),
}

/// All attempts under way.
#[derive(Debug, Default)]
pub(super) struct Dialer {
    attempts: BTreeMap<AttemptId, Attempt>,
    connections: BTreeMap<ConnectionId, AttemptId>,
    last: u64,
}

impl Attempt {
    pub(super) fn new(peer: Option<TransportPeer>, purpose: Purpose) -> Self {
        Self {
            peer,
            purpose,
            stages: Vec::new(),
            pending: 0,
            opening: None,
            errors: Vec::new(),
            is_refused: None,
        }
    }

    /// Adds addresses as people write them. All of them naming one peer name the attempt's.
    pub(super) fn add_addresses(&mut self, texts: &[String]) {
        let mut found = Vec::new();
        for text in texts.iter().take(ADDRESSES_MAX) {
            match address::parse(text) {
                Ok(addresses) => found.extend(addresses),
                Err(refused) => self.errors.push(refused.to_string()),
            }
        }
        let mut named = found.iter().map(address::peer_of);
        if let (None, Some(Some(first))) = (self.peer, named.next())
            && named.all(|peer| peer == Some(first))
        {
            self.peer = Some(first);
        }
        for via in [Via::Relay, Via::Quic, Via::Tcp] {
            let mut stage: Vec<_> =
                found.iter().filter(|address| address::via(address) == via).cloned().collect();
            stage.dedup();
            if !stage.is_empty() {
                self.stages.push(stage);
            }
        }
    }

    /// The addresses that are still to be tried.
    pub(super) fn addresses(&self) -> impl Iterator<Item = &Multiaddr> {
        self.stages.iter().flatten()
    }

    /// Notes why something failed.
    pub(super) fn note(&mut self, why: String) {
        if self.errors.len() < ADDRESSES_MAX && !self.errors.contains(&why) {
            self.errors.push(why);
        }
    }

    /// Why it failed, as one line.
    pub(super) fn why(&self) -> String {
        if self.errors.is_empty() {
            return "no address is known".to_owned();
        }
        crate::text::one_line(&self.errors.join("; "))
    }

    /// The options for one stage: known peers take any of the addresses, unknown ones each.
    fn options(&mut self, stage: Vec<Multiaddr>) -> Vec<DialOpts> {
        let Some(peer) = self.peer else {
            return stage
                .into_iter()
                .map(|address| DialOpts::unknown_peer_id().address(address).build())
                .collect();
        };
        let (stage, others): (Vec<_>, Vec<_>) = stage
            .into_iter()
            .partition(|address| address::peer_of(address).is_none_or(|named| named == peer));
        for other in others {
            self.note(format!("{other} names another peer"));
        }
        if stage.is_empty() {
            return Vec::new();
        }
        let options = DialOpts::peer_id(peer)
            // There may be a connection that serves questions only, or one that is dead.
            .condition(PeerCondition::Always)
            .addresses(stage)
            .build();
        vec![options]
    }
}

impl Dialer {
    /// Takes an attempt; gives it back if there are too many.
    pub(super) fn start(&mut self, attempt: Attempt) -> Result<AttemptId, Box<Attempt>> {
        if self.attempts.len() >= ATTEMPTS_MAX {
            let mut attempt = Box::new(attempt);
            attempt.note("too many dials at once".to_owned());
            return Err(attempt);
        }
        self.last = self.last.saturating_add(1);
        let id = AttemptId(self.last);
        let _new = self.attempts.insert(id, attempt);
        Ok(id)
    }

    /// Whether what is dialled now deserves little patience.
    pub(super) fn is_refused(&self, id: AttemptId) -> bool {
        self.attempts.get(&id).is_some_and(|attempt| attempt.is_refused == Some(true))
    }

    /// Ends an attempt that has no connection yet.
    pub(super) fn give_up(&mut self, id: AttemptId) -> Option<Attempt> {
        if self.attempts.get(&id)?.opening.is_some() {
            return None;
        }
        self.attempts.remove(&id)
    }

    /// What to dial next, and whether more could follow; `None` if nothing is left or it ended.
    pub(super) fn next_stage(&mut self, id: AttemptId) -> Option<(Vec<DialOpts>, bool)> {
        let attempt = self.attempts.get_mut(&id)?;
        if attempt.opening.is_some() {
            return None;
        }
        while let Some(stage) = attempt.stages.pop() {
            let options = attempt.options(stage);
            if options.is_empty() {
                continue;
            }
            attempt.pending = attempt.pending.saturating_add(options.len());
            for option in &options {
                let _new = self.connections.insert(option.connection_id(), id);
            }
            return Some((options, !attempt.stages.is_empty()));
        }
        None
    }

    /// Gives up an attempt that has nothing under way.
    pub(super) fn end_if_idle(&mut self, id: AttemptId) -> Option<Attempt> {
        let attempt = self.attempts.get(&id)?;
        let is_idle = attempt.pending == 0 && attempt.opening.is_none();
        if is_idle { self.attempts.remove(&id) } else { None }
    }

    /// Whether a connection was made by us, and for which attempt if that still goes on.
    pub(super) fn established(&mut self, connection: ConnectionId) -> Option<Option<AttemptId>> {
        let id = self.connections.remove(&connection)?;
        let Some(attempt) = self.attempts.get_mut(&id) else { return Some(None) };
        attempt.pending = attempt.pending.saturating_sub(1);
        if attempt.opening.is_some() { Some(None) } else { Some(Some(id)) }
    }

    /// The attempt waits for its stream on this connection.
    pub(super) fn opening(&mut self, id: AttemptId, connection: ConnectionId) {
        if let Some(attempt) = self.attempts.get_mut(&id) {
            attempt.opening = Some(connection);
        }
    }

    /// An attempt under way.
    pub(super) fn attempt(&self, id: AttemptId) -> Option<&Attempt> {
        self.attempts.get(&id)
    }

    /// Ends an attempt.
    pub(super) fn end(&mut self, id: AttemptId) -> Option<Attempt> {
        self.attempts.remove(&id)
    }

    /// A stream was opened on this connection: the attempts that waited for it end.
    pub(super) fn opened(&mut self, connection: ConnectionId) -> Option<Attempt> {
        let id = self.opening_on(connection)?;
        self.attempts.remove(&id)
    }

    /// A connection could not be made.
    pub(super) fn dial_failed(&mut self, connection: ConnectionId, error: &DialError) -> Next {
        let Some(id) = self.connections.remove(&connection) else { return Next::Wait };
        let Some(attempt) = self.attempts.get_mut(&id) else { return Next::Wait };
        attempt.pending = attempt.pending.saturating_sub(1);
        attempt.is_refused = Some(is_refused(error) && attempt.is_refused != Some(false));
        attempt.note(why(error));
        self.after_failure(id)
    }

    /// A stream could not be opened on this connection, or it ended.
    pub(super) fn open_failed(&mut self, connection: ConnectionId, why: &str) -> Next {
        let Some(id) = self.opening_on(connection) else { return Next::Wait };
        let Some(attempt) = self.attempts.get_mut(&id) else { return Next::Wait };
        attempt.opening = None;
        attempt.note(why.to_owned());
        self.after_failure(id)
    }

    fn after_failure(&mut self, id: AttemptId) -> Next {
        let Some(attempt) = self.attempts.get(&id) else { return Next::Wait };
        if attempt.pending > 0 || attempt.opening.is_some() {
            return Next::Wait;
        }
        if !attempt.stages.is_empty() {
            return Next::Dial(id);
        }
        self.attempts.remove(&id).map_or(Next::Wait, |attempt| Next::Failed(Box::new(attempt)))
    }

    fn opening_on(&self, connection: ConnectionId) -> Option<AttemptId> {
        self.attempts
            .iter()
            .find(|(_, attempt)| attempt.opening == Some(connection))
            .map(|(id, _)| *id)
    }
}

/// Why a dial failed, in words for a person.
fn why(error: &DialError) -> String {
    match error {
        // Only our own were given: libp2p leaves out where we listen ourselves.
        DialError::LocalPeerId { .. } | DialError::NoAddresses => {
            "that address is our own".to_owned()
        }
        DialError::WrongPeerId { obtained, address } => {
            format!("{address} is answered by another peer, {obtained}")
        }
        DialError::Transport(errors) => {
            let lines: Vec<_> =
                errors.iter().map(|(address, error)| why_not(address, error)).collect();
            lines.join("; ")
        }
        other => other.to_string(),
    }
}

fn is_refused(error: &DialError) -> bool {
    let DialError::Transport(errors) = error else { return false };
    errors.iter().all(|(_, error)| match error {
        TransportError::MultiaddrNotSupported(_) => false,
        // The layer that resolves names hides the cause from `source`; it is only shown.
        TransportError::Other(error) => format!("{error:?}").contains("ConnectionRefused"),
    })
}

/// The cause of an error: what is around it only names layers.
fn deepest(error: &io::Error) -> &(dyn StdError + 'static) {
    let mut deepest: &(dyn StdError + 'static) = error;
    loop {
        // An `io::Error` calls the source of what it wraps its own.
        let wrapped = deepest.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        match wrapped.map(|wrapped| -> &(dyn StdError + 'static) { wrapped }).or(deepest.source()) {
            Some(cause) => deepest = cause,
            None => return deepest,
        }
    }
}

fn why_not(address: &Multiaddr, error: &TransportError<io::Error>) -> String {
    match error {
        TransportError::MultiaddrNotSupported(address) => format!("{address}: not supported"),
        TransportError::Other(error) => {
            let cause = deepest(error);
            let why = match cause.downcast_ref() {
                Some(NegotiationError::Failed) => "it hung up, or is no libp2p node".to_owned(),
                _ => cause.to_string(),
            };
            format!("{}: {why}", address::without_peer(address.clone()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attempt(addresses: &[&str]) -> Attempt {
        let mut attempt = Attempt::new(None, Purpose::Link(Vec::new()));
        let texts: Vec<String> = addresses.iter().map(|text| (*text).to_owned()).collect();
        attempt.add_addresses(&texts);
        attempt
    }

    fn failure(kind: io::ErrorKind) -> DialError {
        let address = "/ip4/127.0.0.1/tcp/1".parse().unwrap();
        let error = io::Error::other(io::Error::from(kind));
        DialError::Transport(vec![(address, TransportError::Other(error))])
    }

    #[test]
    fn tcp_is_tried_first_then_quic_then_failure_is_told_once() {
        let mut dialer = Dialer::default();
        let id = dialer.start(attempt(&["127.0.0.1:1"])).unwrap();
        let (tcp, has_more) = dialer.next_stage(id).unwrap();
        assert!(has_more && tcp.len() == 1);
        let refused = failure(io::ErrorKind::ConnectionRefused);
        let next = dialer.dial_failed(tcp[0].connection_id(), &refused);
        assert!(matches!(next, Next::Dial(again) if again == id));
        assert!(dialer.is_refused(id));
        let (quic, has_more) = dialer.next_stage(id).unwrap();
        assert!(!has_more);
        let silent = failure(io::ErrorKind::TimedOut);
        match dialer.dial_failed(quic[0].connection_id(), &silent) {
            Next::Failed(attempt) => {
                assert_eq!(attempt.is_refused, Some(false));
                assert_eq!(
                    attempt.why(),
                    "/ip4/127.0.0.1/tcp/1: connection refused; /ip4/127.0.0.1/tcp/1: timed out"
                );
            }
            other => panic!("{other:?}"),
        }
        let again = dialer.dial_failed(quic[0].connection_id(), &silent);
        assert!(matches!(again, Next::Wait));
    }

    #[test]
    fn the_second_connection_of_an_attempt_is_surplus() {
        let mut dialer = Dialer::default();
        let id = dialer.start(attempt(&["127.0.0.1:1"])).unwrap();
        let (tcp, _) = dialer.next_stage(id).unwrap();
        let (quic, _) = dialer.next_stage(id).unwrap();
        assert_eq!(dialer.established(quic[0].connection_id()), Some(Some(id)));
        dialer.opening(id, quic[0].connection_id());
        assert_eq!(dialer.established(tcp[0].connection_id()), Some(None));
        assert!(dialer.opened(quic[0].connection_id()).is_some());
    }

    #[test]
    fn attempts_are_bounded() {
        let mut dialer = Dialer::default();
        for _ in 0..ATTEMPTS_MAX {
            assert!(dialer.start(attempt(&["127.0.0.1:1"])).is_ok());
        }
        let refused = dialer.start(attempt(&["127.0.0.1:1"])).unwrap_err();
        assert_eq!(refused.why(), "too many dials at once");
    }

    #[test]
    fn addresses_that_name_one_peer_name_the_attempts() {
        let peer = "12D3KooWD3eckifWpRn9wQpMG9R9hX3sD158z7EqHWmweQAJU5SA";
        let named = format!("/ip4/127.0.0.1/tcp/1/p2p/{peer}");
        assert_eq!(attempt(&[&named]).peer, Some(peer.parse().unwrap()));
        assert_eq!(attempt(&[&named, "127.0.0.1:2"]).peer, None);
        assert_eq!(attempt(&["nonsense"]).addresses().count(), 0);
    }
}
