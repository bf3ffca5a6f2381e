//! The links of a whole group as shown: one's own, and those of others by their word.
//! Owns: [`LinksView`].
//! Must not know: how it is printed, and who was asked.
//! Invariants: of others' links no address is known here.
//! Start reading at: [`LinksView`].

use super::LinkView;

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
