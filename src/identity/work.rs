//! Proof of work: what a stranger spends before an open authority spends anything on it.
//! Owns: what is to be found, the search for it, the check.
//! Must not know: how much is asked for, of whom.
//! Invariants: a check costs some hashes; work for one network, key, name and time is none for
//! another.
//! Start reading at: [`Challenge`], [`check`].
//!
//! SHA-256 and not a memory-hard function: the check must cost less than the RSA it guards, or it
//! were itself the way to flood the authority. A miner's machine is ahead of a laptop by more than
//! it would be with argon2; what a newcomer asks for, a name, is worth less than its electricity.

use std::fmt;

use sha2::{Digest, Sha256};

use crate::ids::NetworkId;
use crate::limits::{CLOCK_SKEW_MAX, WORK_PARTS};
use crate::refusal::{Refusal, Refused};
use crate::time::Wall;
use crate::wire::identity::Work;

/// The work is found in so many parts of equal size: one alone would sometimes take ten times as
/// long as usual. Their count as a power of two.
const PARTS_BITS: u32 = WORK_PARTS.ilog2();
const TAG: &str = "p2pgroup/1 work";

/// What the work is for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Challenge([u8; 32]);

impl fmt::Debug for Challenge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Challenge(..)")
    }
}

impl Challenge {
    /// The work of this key for this name in this network, begun at this time.
    pub fn of(network: &NetworkId, name: &str, spki: &[u8], at: Wall) -> Self {
        let mut hash = Sha256::new();
        hash.update(TAG.as_bytes());
        hash.update(network.as_bytes());
        hash.update(Sha256::digest(name.as_bytes()));
        hash.update(Sha256::digest(spki));
        hash.update(at.0.to_be_bytes());
        Self(hash.finalize().into())
    }

    /// Leading zero bits of one try.
    fn zeros(&self, part: usize, counter: u64) -> u32 {
        let mut block = [0; 48];
        let (head, tail) = block.split_at_mut(32);
        head.copy_from_slice(&self.0);
        let (first, second) = tail.split_at_mut(8);
        first.copy_from_slice(&u64::try_from(part).unwrap_or(u64::MAX).to_be_bytes());
        second.copy_from_slice(&counter.to_be_bytes());
        let hash = Sha256::digest(block);
        let mut zeros: u32 = 0;
        for byte in hash {
            zeros = zeros.saturating_add(byte.leading_zeros());
            if byte != 0 {
                break;
            }
        }
        zeros
    }
}

/// How many leading zeros each part has, for so many tries in all (as a power of two).
fn part_bits(bits: u32) -> u32 {
    bits.saturating_sub(PARTS_BITS)
}

/// Looks for the work, some tries at a time.
#[derive(Clone, Debug)]
pub struct Search {
    challenge: Challenge,
    at: Wall,
    bits: u32,
    found: Vec<u64>,
    next: u64,
}

impl Search {
    /// From the beginning.
    pub fn new(network: &NetworkId, name: &str, spki: &[u8], at: Wall, bits: u32) -> Self {
        let challenge = Challenge::of(network, name, spki, at);
        Self { challenge, at, bits, found: Vec::new(), next: 0 }
    }

    /// How much is looked for.
    pub fn bits(&self) -> u32 {
        self.bits
    }

    /// So many tries more; the work, once all of it is found.
    pub fn step(&mut self, tries: u32) -> Option<Work> {
        for _ in 0..tries {
            let Ok(counters) = <[u64; WORK_PARTS]>::try_from(self.found.as_slice()) else {
                if self.challenge.zeros(self.found.len(), self.next) >= part_bits(self.bits) {
                    self.found.push(self.next);
                    self.next = 0;
                } else {
                    self.next = self.next.saturating_add(1);
                }
                continue;
            };
            return Some(Work { at: self.at, counters });
        }
        None
    }
}

/// Whether somebody has done the work for this name and key lately.
///
/// # Refusals
/// [`Refusal::WorkMissing`] if there is none, or none of these days; [`Refusal::WorkTooLittle`].
pub fn check(
    network: &NetworkId,
    name: &str,
    spki: &[u8],
    work: Option<&Work>,
    bits: u32,
    now: Wall,
) -> Result<(), Refused> {
    let wanted = format!("{bits} bits are needed");
    let Some(work) = work else {
        return Err(Refused::new(Refusal::WorkMissing, wanted));
    };
    if now.since(work.at).max(work.at.since(now)) > CLOCK_SKEW_MAX {
        let detail = format!("{wanted}; it was begun at {}, and here it is {now}", work.at);
        return Err(Refused::new(Refusal::WorkMissing, detail));
    }
    let challenge = Challenge::of(network, name, spki, work.at);
    let mut parts = work.counters.iter().enumerate();
    if parts.all(|(part, counter)| challenge.zeros(part, *counter) >= part_bits(bits)) {
        Ok(())
    } else {
        Err(Refused::new(Refusal::WorkTooLittle, wanted))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Millis;

    const NETWORK: NetworkId = NetworkId([7; 32]);
    const NOW: Wall = Wall(1_795_254_067_249);

    fn done(bits: u32) -> Work {
        let mut search = Search::new(&NETWORK, "alice", b"key", NOW, bits);
        std::iter::repeat_with(|| search.step(1_000)).flatten().next().unwrap()
    }

    fn checked(name: &str, spki: &[u8], work: &Work, bits: u32) -> Result<(), Refusal> {
        check(&NETWORK, name, spki, Some(work), bits, NOW).map_err(|it| it.refusal)
    }

    #[test]
    fn work_found_in_steps_is_enough_and_not_for_more() {
        let work = done(10);
        assert_eq!(checked("alice", b"key", &work, 10), Ok(()));
        assert_eq!(checked("alice", b"key", &work, 4), Ok(()));
        assert_eq!(checked("alice", b"key", &work, 24), Err(Refusal::WorkTooLittle));
        let missing = check(&NETWORK, "alice", b"key", None, 10, NOW).unwrap_err();
        assert_eq!(missing.refusal, Refusal::WorkMissing);
        assert_eq!(missing.detail, "10 bits are needed");
    }

    #[test]
    fn work_for_another_key_name_network_or_time_is_none() {
        let work = done(14);
        assert_eq!(checked("alicf", b"key", &work, 14), Err(Refusal::WorkTooLittle));
        assert_eq!(checked("alice", b"kez", &work, 14), Err(Refusal::WorkTooLittle));
        let other = check(&NetworkId([8; 32]), "alice", b"key", Some(&work), 14, NOW);
        assert_eq!(other.unwrap_err().refusal, Refusal::WorkTooLittle);
        let redated = Work { at: NOW.after(Millis(1)), ..work.clone() };
        assert_eq!(checked("alice", b"key", &redated, 14), Err(Refusal::WorkTooLittle));
        let reused = Work { counters: [work.counters[0]; WORK_PARTS], ..work };
        assert_eq!(checked("alice", b"key", &reused, 14), Err(Refusal::WorkTooLittle));
    }

    #[test]
    fn work_is_good_for_a_day_whose_clock_ever_is_wrong() {
        let work = done(4);
        let at = |now| check(&NETWORK, "alice", b"key", Some(&work), 4, now).map_err(|e| e.refusal);
        let (day, more) = (CLOCK_SKEW_MAX, Millis(CLOCK_SKEW_MAX.0 + 1));
        assert_eq!(at(NOW.after(day)), Ok(()));
        assert_eq!(at(Wall(NOW.0 - day.0)), Ok(()));
        assert_eq!(at(NOW.after(more)), Err(Refusal::WorkMissing));
        assert_eq!(at(Wall(NOW.0 - more.0)), Err(Refusal::WorkMissing));
    }
}
