//! The links of a whole group as shown: one's own, and those of others by their word.
//! Owns: [`LinksView`], and how others see this machine: [`Vantage`].
//! Must not know: how it is printed, and who was asked.
//! Invariants: of others' links no address is known here.
//! Start reading at: [`LinksView`].

use super::{Address, LinkView};

/// Who is linked with whom.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LinksView {
    /// One's own links.
    pub own: Vec<LinkView>,
    /// Links between two others, by name.
    pub others: Vec<ToldLink>,
    /// Members of whom it is not known with whom they are linked, by name: not linked with us, of an
    /// older version, or they have not answered.
    pub untold: Vec<String>,
}

/// A link between two others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToldLink {
    /// The names of its ends.
    pub between: [String; 2],
    /// Whether it runs through a relay.
    pub is_relayed: bool,
    /// Round-trip time in microseconds, once measured there.
    pub rtt_micros: Option<u64>,
    /// Which of the two told of it, by name: what they say is theirs to answer for.
    pub told_by: Vec<String>,
}

/// What a peer says of where it sees us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeenAt {
    /// A multiaddr.
    pub address: Address,
    /// Whether we began the connection on which it sees us.
    pub is_outbound: bool,
}

/// How linked peers see this machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Vantage {
    /// Where.
    pub seen_at: Vec<SeenView>,
    /// How far their clocks are from this machine's, as far as they told.
    pub clocks: Vec<ClockView>,
}

/// At which address somebody sees this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeenView {
    /// The member's name, `bootstrap`, or a peer id.
    pub by: String,
    /// What it says.
    pub seen: SeenAt,
}

/// Where somebody else's clock stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClockView {
    /// The member's name, `bootstrap`, or a peer id.
    pub name: String,
    /// So many milliseconds ahead of ours; less than zero: behind it.
    pub ahead: i64,
}
