//! With whom a member says it is linked, as bytes and as values.
//! Owns: the encoding of that answer.
//! Must not know: whether it is true, who of them belongs.
//! Invariants: nobody is named twice; no address is told.
//! Start reading at: [`Neighbour`].

use bytes::Bytes;

use super::pb;
use crate::ids::PeerId;
use crate::limits::MEMBERS_MAX;
use crate::refusal::Refusal;

/// A link as one of its ends sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Neighbour {
    /// The other end.
    pub peer: PeerId,
    /// Whether it runs through a relay.
    pub is_relayed: bool,
    /// Round-trip time in microseconds, once measured.
    pub rtt_micros: Option<u32>,
}

pub(super) fn encode(links: &[Neighbour]) -> pb::Links {
    let links = links.iter().map(|link| pb::NeighbourLink {
        peer: Bytes::copy_from_slice(link.peer.as_bytes()),
        is_relayed: link.is_relayed,
        rtt_micros: link.rtt_micros,
    });
    pb::Links { links: links.collect() }
}

pub(super) fn decode(told: &pb::Links) -> Result<Vec<Neighbour>, Refusal> {
    if told.links.len() > MEMBERS_MAX {
        return Err(Refusal::FieldBad);
    }
    let link = |link: &pb::NeighbourLink| {
        Ok(Neighbour {
            peer: PeerId::from_bytes(&link.peer).ok_or(Refusal::FieldBad)?,
            is_relayed: link.is_relayed,
            rtt_micros: link.rtt_micros,
        })
    };
    let links: Vec<Neighbour> = told.links.iter().map(link).collect::<Result<_, Refusal>>()?;
    match links.is_sorted_by(|one, next| one.peer < next.peer) {
        true => Ok(links),
        false => Err(Refusal::FieldBad),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn links(count: usize) -> Vec<Neighbour> {
        let peer = |at: usize| PeerId::of_rsa_spki(&at.to_be_bytes());
        let rtt = |at: usize| (!at.is_multiple_of(3)).then(|| u32::try_from(at).unwrap());
        let link = |at| Neighbour {
            peer: peer(at),
            is_relayed: at.is_multiple_of(2),
            rtt_micros: rtt(at),
        };
        let mut links: Vec<Neighbour> = (0..count).map(link).collect();
        links.sort_by_key(|it| it.peer);
        links
    }

    #[test]
    fn a_whole_roster_fits_and_one_more_is_refused() {
        let all = links(MEMBERS_MAX);
        assert_eq!(decode(&encode(&all)), Ok(all));
        assert_eq!(decode(&encode(&links(MEMBERS_MAX + 1))), Err(Refusal::FieldBad));
    }

    #[test]
    fn who_is_named_twice_out_of_order_or_by_no_peer_id_is_refused() {
        let [one, two] = links(2).try_into().unwrap();
        assert_eq!(decode(&encode(&[two, one])), Err(Refusal::FieldBad));
        let other = Neighbour { is_relayed: !one.is_relayed, ..one };
        assert_eq!(decode(&encode(&[one, other])), Err(Refusal::FieldBad));
        let mut told = encode(&[one]);
        told.links[0].peer = Bytes::from_static(b"nobody");
        assert_eq!(decode(&told), Err(Refusal::FieldBad));
    }

    proptest! {
        #[test]
        fn what_is_told_comes_back(
            told in prop::collection::btree_map(any::<u64>(), (any::<bool>(), any::<Option<u32>>()), 0..40)
        ) {
            let mut links: Vec<Neighbour> = told
                .into_iter()
                .map(|(seed, (is_relayed, rtt_micros))| {
                    let peer = PeerId::of_rsa_spki(&seed.to_be_bytes());
                    Neighbour { peer, is_relayed, rtt_micros }
                })
                .collect();
            links.sort_by_key(|it| it.peer);
            prop_assert_eq!(decode(&encode(&links)), Ok(links));
        }
    }
}
