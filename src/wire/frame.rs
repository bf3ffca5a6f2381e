//! The frame: one thing that one peer tells another on their direct stream.
//! Owns: the list of frames there are.
//! Must not know: what any of them leads to.
//! Invariants: `decode` gives complete, bounded values or a refusal; it never panics.
//! Start reading at: [`Body`].

use bytes::Bytes;
use prost::Message as _;

use super::control::Message as Control;
use super::{keep, links, pb, roster, sync};
use crate::ids::{Incarnation, NetworkId, SessionSalt};
use crate::limits::{
    CERTIFICATE_BYTES_MAX, CONTROL_ENTRY_BYTES_MAX, CREDENTIAL_BYTES_MAX, FRAME_BYTES_MAX,
    INTENT_BYTES_MAX, ORDER_BYTES_MAX,
};
use crate::refusal::Refusal;
use crate::time::Wall;

/// The protocol version spoken here.
pub const VERSION: u32 = 1;

/// A frame.
#[derive(Clone, Debug, PartialEq)]
pub struct Frame {
    /// Which network it is about.
    pub network: NetworkId,
    /// What it says.
    pub body: Body,
}

/// What a frame says.
#[expect(clippy::large_enum_variant, reason = "made and consumed at once, never stored")]
#[derive(Clone, Debug, PartialEq)]
pub enum Body {
    /// Who the sender is. The first frame in each direction.
    Hello(Hello),
    /// A no.
    Refused {
        /// Which.
        refusal: Refusal,
        /// About what; made harmless.
        detail: String,
    },
    /// The sender leaves.
    Goodbye,
    /// Election and replication.
    Control(Control),
    /// "Order this."
    Submit(Bytes),
    /// The answer to it.
    Submitted(roster::Submitted),
    /// Where the members are, from the leader.
    Presence {
        /// Grows with every change.
        version: u64,
        /// By member.
        members: Vec<roster::Presence>,
    },
    /// Author logs.
    Sync(sync::Sync),
    /// To the bootstrap: "tell me now and whenever it changes".
    WhoLeads,
    /// From the bootstrap.
    Leads {
        /// The encoded statement; empty while none is known.
        statement: Bytes,
        /// The encoded genesis; empty while the network is not founded here.
        genesis: Bytes,
        /// How long ago the statement came, in milliseconds.
        age_ms: u64,
    },
    /// From a leader to the bootstrap: the encoded statement.
    Statement(Bytes),
    /// What does not fit together, and proves it.
    Evidence(Evidence),
    /// Between a member and a keeper.
    Keep(keep::Keep),
    /// "With whom are you linked?"
    LinksAsk,
    /// The answer: the members with whom the sender is linked, each once.
    Links(Vec<links::Neighbour>),
}

/// Two things that one of the network signed and that do not fit together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evidence {
    /// Two encoded credentials: they contradict each other, or are those of the entries' leader.
    pub credentials: [Bytes; 2],
    /// Two encoded control entries of one leader, each signed by the key in its credential.
    pub entries: Option<[Bytes; 2]>,
}

/// Who the sender of a link's first frame is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// The authority's certificate (DER); empty from a bootstrap.
    pub authority: Bytes,
    /// The encoded credential; empty from a bootstrap.
    pub credential: Bytes,
    /// The encoded genesis; empty while not known.
    pub genesis: Bytes,
    /// The life of the sender's database.
    pub incarnation: Incarnation,
    /// Where the sender listens.
    pub addresses: Vec<String>,
    /// Whether the sender is a bootstrap.
    pub is_bootstrap: bool,
    /// Whether the sender stores what others deposit.
    pub keeps: bool,
    /// Whether the sender answers [`Body::LinksAsk`]; a version that does not know it says nothing.
    pub tells_links: bool,
    /// The sender's process; none from a bootstrap.
    pub session: Option<SessionSalt>,
    /// When it was said, by the sender's clock; a version that does not know it says nothing.
    pub at: Option<Wall>,
}

impl Frame {
    /// The bytes to send.
    pub fn encode(&self) -> Bytes {
        use pb::frame::Body as Out;
        let body = match &self.body {
            Body::Hello(hello) => Out::Hello(pb::Hello {
                version: VERSION,
                authority: hello.authority.clone(),
                credential: hello.credential.clone(),
                genesis: hello.genesis.clone(),
                incarnation: hello.incarnation.0,
                addresses: hello.addresses.clone(),
                is_bootstrap: hello.is_bootstrap,
                keeps: hello.keeps,
                tells_links: hello.tells_links,
                session: hello
                    .session
                    .map(|it| Bytes::copy_from_slice(it.as_bytes()))
                    .unwrap_or_default(),
                at: hello.at.unwrap_or_default().0,
            }),
            Body::Refused { refusal, detail } => Out::Refused(pb::Refused {
                code: refusal.code().to_owned(),
                detail: super::clip(detail, 200),
            }),
            Body::Goodbye => Out::Goodbye(pb::Goodbye {}),
            Body::Control(message) => Out::Control(message.into()),
            Body::Submit(intent) => Out::Submit(pb::Submit { intent: intent.clone() }),
            Body::Submitted(it) => Out::Submitted(roster::encode_submitted(it)),
            Body::Presence { version, members } => {
                Out::Presence(roster::encode_presence(*version, members))
            }
            Body::Sync(it) => Out::Sync(sync::encode(it)),
            Body::WhoLeads => Out::WhoLeads(pb::WhoLeads {}),
            Body::Leads { statement, genesis, age_ms } => Out::Leads(pb::Leads {
                statement: statement.clone(),
                genesis: genesis.clone(),
                age_ms: *age_ms,
            }),
            Body::Statement(bytes) => Out::Statement(bytes.clone()),
            Body::Evidence(it) => {
                let ([one, other], entries) = (it.credentials.clone(), it.entries.clone());
                let [one_entry, other_entry] = entries.unwrap_or_default();
                Out::Evidence(pb::Evidence { one, other, one_entry, other_entry })
            }
            Body::Keep(it) => Out::Keep(keep::encode(it)),
            Body::LinksAsk => Out::LinksAsk(pb::LinksAsk {}),
            Body::Links(it) => Out::Links(links::encode(it)),
        };
        let network = Bytes::copy_from_slice(self.network.as_bytes());
        pb::Frame { network, body: Some(body) }.encode_to_vec().into()
    }

    /// Reads a frame.
    ///
    /// # Refusals
    /// [`Refusal::FrameTooLong`], [`Refusal::FrameBad`], [`Refusal::FieldBad`],
    /// [`Refusal::VersionOther`].
    pub fn decode(bytes: &Bytes) -> Result<Self, Refusal> {
        if bytes.len() > FRAME_BYTES_MAX {
            return Err(Refusal::FrameTooLong);
        }
        let frame = pb::Frame::decode(bytes.clone()).map_err(|_| Refusal::FrameBad)?;
        let network = NetworkId::from_bytes(&frame.network).ok_or(Refusal::FieldBad)?;
        let body = decode_body(frame.body.ok_or(Refusal::FrameBad)?)?;
        Ok(Self { network, body })
    }
}

fn decode_body(body: pb::frame::Body) -> Result<Body, Refusal> {
    use pb::frame::Body as In;
    Ok(match body {
        In::Hello(hello) => Body::Hello(decode_hello(hello)?),
        In::Refused(it) => Body::Refused {
            refusal: Refusal::from_code(&it.code).unwrap_or(Refusal::Internal),
            detail: crate::text::one_line(&super::clip(&it.detail, 200)),
        },
        In::Goodbye(_) => Body::Goodbye,
        In::Control(it) => Body::Control(it.try_into()?),
        In::Submit(it) if it.intent.len() <= INTENT_BYTES_MAX => Body::Submit(it.intent),
        In::Submit(_) => return Err(Refusal::FrameTooLong),
        In::Submitted(it) => Body::Submitted(roster::decode_submitted(it)?),
        In::Presence(it) => {
            let (version, members) = roster::decode_presence(it)?;
            Body::Presence { version, members }
        }
        In::Sync(it) => Body::Sync(sync::decode(it)?),
        In::WhoLeads(_) => Body::WhoLeads,
        In::Leads(it) => {
            Body::Leads { statement: it.statement, genesis: it.genesis, age_ms: it.age_ms }
        }
        In::Statement(bytes) => Body::Statement(bytes),
        In::Evidence(it) => Body::Evidence(decode_evidence(it)?),
        In::Keep(it) => Body::Keep(keep::decode(it)?),
        In::LinksAsk(_) => Body::LinksAsk,
        In::Links(it) => Body::Links(links::decode(&it)?),
    })
}

fn decode_evidence(it: pb::Evidence) -> Result<Evidence, Refusal> {
    let is_long = it.one.len().max(it.other.len()) > CREDENTIAL_BYTES_MAX
        || it.one_entry.len().max(it.other_entry.len()) > CONTROL_ENTRY_BYTES_MAX;
    if is_long {
        return Err(Refusal::FrameTooLong);
    }
    let entries = match (it.one_entry.is_empty(), it.other_entry.is_empty()) {
        (true, true) => None,
        (false, false) => Some([it.one_entry, it.other_entry]),
        _ => return Err(Refusal::FieldBad),
    };
    Ok(Evidence { credentials: [it.one, it.other], entries })
}

fn decode_hello(hello: pb::Hello) -> Result<Hello, Refusal> {
    if hello.version != VERSION {
        return Err(Refusal::VersionOther);
    }
    if hello.authority.len() > CERTIFICATE_BYTES_MAX || hello.credential.len() > ORDER_BYTES_MAX {
        return Err(Refusal::FrameTooLong);
    }
    Ok(Hello {
        authority: hello.authority,
        credential: hello.credential,
        genesis: hello.genesis,
        incarnation: Incarnation(hello.incarnation),
        addresses: roster::addresses(hello.addresses)?,
        is_bootstrap: hello.is_bootstrap,
        keeps: hello.keeps,
        tells_links: hello.tells_links,
        session: match hello.session.len() {
            0 => None,
            _ => Some(SessionSalt::from_bytes(&hello.session).ok_or(Refusal::FieldBad)?),
        },
        at: Some(Wall(hello.at)).filter(|at| at.0 != 0),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::ids::{Hash, LogId, PeerId, RoomId, Seq, Signature};
    use crate::wire::links::Neighbour;
    use crate::wire::sync::{Head, Page, Sync};

    const NETWORK: NetworkId = NetworkId([7; 32]);

    fn log() -> LogId {
        let author = PeerId::of_rsa_spki(b"somebody");
        LogId { room: RoomId::MAIN, author, incarnation: Incarnation(9) }
    }

    fn heads(seqs: &[u64]) -> Vec<Head> {
        seqs.iter().map(|seq| Head { log: log(), seq: Seq(*seq), hash: Hash([3; 32]) }).collect()
    }

    fn survives(body: Body) {
        let frame = Frame { network: NETWORK, body };
        assert_eq!(Frame::decode(&frame.encode()), Ok(frame));
    }

    #[test]
    fn frames_survive_their_bytes() {
        let hello = Hello {
            authority: Bytes::from_static(b"authority"),
            credential: Bytes::from_static(b"credential"),
            genesis: Bytes::new(),
            incarnation: Incarnation(5),
            addresses: vec!["/ip4/127.0.0.1/tcp/9001".to_owned()],
            is_bootstrap: false,
            keeps: true,
            tells_links: true,
            session: None,
            at: Some(Wall(7)),
        };
        survives(Body::Hello(hello));
        survives(Body::Goodbye);
        survives(Body::WhoLeads);
        survives(Body::LinksAsk);
        survives(Body::Links(vec![Neighbour {
            peer: log().author,
            is_relayed: true,
            rtt_micros: Some(250),
        }]));
        let credentials = [Bytes::from_static(b"one"), Bytes::new()];
        let entries = Some([Bytes::from_static(b"entry"), Bytes::from_static(b"other")]);
        survives(Body::Evidence(Evidence { credentials: credentials.clone(), entries: None }));
        survives(Body::Evidence(Evidence { credentials, entries }));
        survives(Body::Refused { refusal: Refusal::NameTaken, detail: "alice".to_owned() });
        survives(Body::Submit(Bytes::from_static(b"intent")));
        survives(Body::Sync(Sync::Ack { room: RoomId::MAIN, heads: heads(&[1, 2]) }));
        let vector = Sync::Vector {
            room: RoomId::MAIN,
            heads: heads(&[u64::MAX]),
            wants_answer: true,
            pending: Vec::new(),
        };
        survives(Body::Sync(vector));
        let want = Sync::Want { log: log(), from: Seq(4), previous: Hash::ZERO };
        survives(Body::Sync(want));
        survives(Body::Sync(Sync::Entries(Page {
            log: log(),
            envelopes: vec![Bytes::from_static(b"one"), Bytes::from_static(b"two")],
            signatures: vec![(Seq(2), Signature([1; 64]))],
        })));
    }

    #[test]
    fn another_version_is_told_apart_from_garbage() {
        let hello = pb::Hello { version: VERSION + 1, ..pb::Hello::default() };
        let frame = pb::Frame {
            network: Bytes::copy_from_slice(&NETWORK.0),
            body: Some(pb::frame::Body::Hello(hello)),
        };
        let bytes = frame.encode_to_vec().into();
        assert_eq!(Frame::decode(&bytes), Err(Refusal::VersionOther));
        assert_eq!(Frame::decode(&Bytes::from_static(b"\xff\xff")), Err(Refusal::FrameBad));
        assert_eq!(Frame::decode(&Bytes::new()), Err(Refusal::FieldBad));
    }

    #[test]
    fn a_hello_from_before_links_were_told_says_that_it_does_not_answer() {
        // As such a version encodes it: without the field.
        let hello = pb::Hello { version: VERSION, incarnation: 5, ..pb::Hello::default() };
        let frame = pb::Frame {
            network: Bytes::copy_from_slice(&NETWORK.0),
            body: Some(pb::frame::Body::Hello(hello)),
        };
        let body = Frame::decode(&frame.encode_to_vec().into()).map(|frame| frame.body);
        assert!(
            matches!(body, Ok(Body::Hello(Hello { tells_links: false, at: None, .. }))),
            "{body:?}"
        );
        // And a frame that it does not know it refuses, as we refuse what we do not know: so it must
        // not be asked.
        let mut unknown = Frame { network: NETWORK, body: Body::LinksAsk }.encode().to_vec();
        let at = unknown.len() - 3;
        assert_eq!(unknown[at..], [0x92, 0x01, 0], "field 18, a message, empty");
        unknown[at] = 0xfa;
        assert_eq!(Frame::decode(&unknown.into()), Err(Refusal::FrameBad));
    }

    #[test]
    fn a_no_of_a_newer_version_is_still_a_no() {
        let (code, detail) = ("not_thought_of_yet".to_owned(), "why".to_owned());
        let frame = pb::Frame {
            network: Bytes::copy_from_slice(&NETWORK.0),
            body: Some(pb::frame::Body::Refused(pb::Refused { code, detail: detail.clone() })),
        };
        let body = Frame::decode(&frame.encode_to_vec().into()).map(|frame| frame.body);
        assert_eq!(body, Ok(Body::Refused { refusal: Refusal::Internal, detail }));
    }

    #[test]
    fn pages_without_a_signature_or_with_descending_ones_are_refused() {
        let page = |signatures| {
            let envelopes = vec![Bytes::from_static(b"one"), Bytes::from_static(b"two")];
            Body::Sync(Sync::Entries(Page { log: log(), envelopes, signatures }))
        };
        let decode = |body| Frame::decode(&Frame { network: NETWORK, body }.encode());
        assert_eq!(decode(page(vec![])), Err(Refusal::FieldBad));
        let descending = vec![(Seq(2), Signature([1; 64])), (Seq(1), Signature([1; 64]))];
        assert_eq!(decode(page(descending)), Err(Refusal::FieldBad));
    }

    #[test]
    fn addresses_with_control_characters_or_too_many_are_refused() {
        let hello = |addresses: Vec<String>| Hello {
            authority: Bytes::new(),
            credential: Bytes::new(),
            genesis: Bytes::new(),
            incarnation: Incarnation(5),
            addresses,
            is_bootstrap: true,
            keeps: true,
            tells_links: false,
            session: None,
            at: None,
        };
        let decode = |addresses| {
            let body = Body::Hello(hello(addresses));
            Frame::decode(&Frame { network: NETWORK, body }.encode())
        };
        assert_eq!(decode(vec!["/ip4/\u{1b}[2J".to_owned()]), Err(Refusal::FieldBad));
        assert_eq!(decode(vec!["/ip4/1".to_owned(); 17]), Err(Refusal::FieldBad));
        assert!(decode(vec!["/ip4/1".to_owned(); 16]).is_ok());
    }

    proptest! {
        #[test]
        fn no_bytes_make_decoding_panic(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
            drop(Frame::decode(&bytes.into()));
        }

        #[test]
        fn a_flipped_byte_is_refused_or_read_whole(at in 0_usize..200, by in 1_u8..) {
            let body = Body::Sync(Sync::Ack { room: RoomId::MAIN, heads: heads(&[1, 2, 3]) });
            let mut bytes = Frame { network: NETWORK, body }.encode().to_vec();
            let at = at % bytes.len();
            bytes[at] ^= by;
            drop(Frame::decode(&bytes.into()));
        }
    }
}
