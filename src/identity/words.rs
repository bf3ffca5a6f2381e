//! Safety words: two keys as words that two people compare aloud.
//! Owns: the word list, and which words a key stands for.
//! Must not know: who compares them, and what follows.
//! Invariants: both sides see the same words in the same order; whoever would put a key of its own
//! in somebody's place has to find one with the very words of that somebody.
//! Start reading at: [`safety`].
//!
//! Each of the two keys gives its own six words. One hash over both keys would be cheaper to
//! cheat: who stands between two people chooses two keys, and needs only any two of them to agree
//! (half the bits); this way each of the two keys must meet six words that are given. Six words
//! are 66 bits, and each guess costs `ROUNDS` hashes, 14 bits more.

use sha2::{Digest, Sha256};

use crate::ids::{NetworkId, PeerId};

/// 2,048 words that differ in their first four letters: the English list of BIP 39, as in the
/// `bip39` crate, which is in the public domain (CC0 1.0).
const LIST: &str = include_str!("words.txt");
/// Words of one key.
const WORDS: usize = 6;
/// Bits of one word.
const BITS: usize = 11;
/// Hashes over one key: some milliseconds for one look, years more for whoever tries keys.
const ROUNDS: u32 = 1 << 14;

/// The words of two members of a network, to be compared over another channel: the words of the
/// lower peer id first, so they are the same on both sides.
pub fn safety(network: &NetworkId, one: (&PeerId, &str), other: (&PeerId, &str)) -> Vec<String> {
    let mut both = [one, other];
    both.sort();
    both.iter().flat_map(|(peer, name)| words(&of_key(network, peer, name))).collect()
}

/// A contact code: six words, 66 bits of these, as one argument of a command.
pub fn code(random: &[u8; 32]) -> String {
    words(random).join("-")
}

/// What a key stands for: its network, its name, and the key itself, of which the peer id is the
/// fingerprint.
fn of_key(network: &NetworkId, peer: &PeerId, name: &str) -> [u8; 32] {
    let name_len = u64::try_from(name.len()).unwrap_or(u64::MAX);
    let key = [
        b"p2pgroup/1 safety words".as_slice(),
        network.as_bytes(),
        &name_len.to_be_bytes(),
        name.as_bytes(),
        peer.as_bytes(),
    ]
    .concat();
    let mut hash: [u8; 32] = Sha256::digest(&key).into();
    for _ in 0..ROUNDS {
        let mut next = Sha256::new();
        next.update(hash);
        next.update(&key);
        hash = next.finalize().into();
    }
    hash
}

fn words(hash: &[u8; 32]) -> Vec<String> {
    let list: Vec<&str> = LIST.lines().collect();
    let bit = |at: usize| hash.get(at / 8).is_some_and(|byte| byte >> (7 - at % 8) & 1 == 1);
    (0..WORDS)
        .map(|word| {
            (0..BITS).fold(0, |number, at| number << 1 | usize::from(bit(word * BITS + at)))
        })
        .map(|number| list.get(number).copied().unwrap_or_default().to_owned())
        .collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const NETWORK: NetworkId = NetworkId([7; 32]);
    /// As another program computes them.
    const FROZEN: &str =
        "fruit lamp twelve fiber budget project find six scheme jacket glance lucky";

    fn of(network: &NetworkId, one: (u8, &str), other: (u8, &str)) -> Vec<String> {
        let peer = |seed: u8| PeerId::of_rsa_spki(&[seed; 422]);
        safety(network, (&peer(one.0), one.1), (&peer(other.0), other.1))
    }

    #[test]
    fn the_list_has_2048_words_that_their_first_four_letters_tell_apart() {
        let words: BTreeSet<&str> = LIST.lines().collect();
        let heads: BTreeSet<&str> =
            words.iter().map(|word| word.get(..4).unwrap_or(word)).collect();
        assert_eq!((words.len(), heads.len(), LIST.lines().count()), (2_048, 2_048, 2_048));
        assert!(words.iter().all(|word| word.bytes().all(|byte| byte.is_ascii_lowercase())));
        assert!(words.iter().all(|word| (3..=8).contains(&word.len())));
    }

    #[test]
    fn both_sides_see_the_same_twelve_words() {
        let words = of(&NETWORK, (1, "alice"), (2, "bob"));
        assert_eq!(words, of(&NETWORK, (2, "bob"), (1, "alice")));
        assert_eq!(words.len(), 12);
        assert!(words.iter().all(|word| LIST.lines().any(|known| known == word)));
    }

    #[test]
    fn another_key_name_or_network_changes_the_words_of_that_side_alone() {
        let words = of(&NETWORK, (1, "alice"), (2, "bob"));
        let common = |other: &[String]| {
            let halves = |words: &[String]| -> Vec<Vec<String>> {
                words.chunks(6).map(<[String]>::to_vec).collect()
            };
            halves(other).iter().filter(|half| halves(&words).contains(half)).count()
        };
        assert_eq!(common(&of(&NETWORK, (1, "alice"), (3, "bob"))), 1);
        assert_eq!(common(&of(&NETWORK, (1, "alice"), (2, "bot"))), 1);
        assert_eq!(common(&of(&NETWORK, (1, "al"), (2, "icebob"))), 0);
        assert_eq!(common(&of(&NetworkId([8; 32]), (1, "alice"), (2, "bob"))), 0);
    }

    #[test]
    fn words_are_frozen() {
        // Whoever changes how they are made must change the tag, too: people compare across
        // versions.
        assert_eq!(of(&NETWORK, (1, "alice"), (2, "bob")).join(" "), FROZEN);
    }
}
