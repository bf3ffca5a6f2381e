//! Giving a file to somebody who may have it, chunk by chunk as it asks.
//! Owns: one stream of somebody who fetches.
//! Must not know: who may have what; the core says it.
//! Invariants: a few chunks of each stream are in memory, or one; a chunk that is not what was sent
//! never leaves.
//! Start reading at: [`serve`].

use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use futures::FutureExt as _;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::fetch::Fetching;
use super::frames::{End, Frames, Mouth, frames};
use super::seal::{Hashes, Sealer};
use super::{Hand, Stream, disk};
use crate::ids::{FileId, PeerId};
use crate::limits::{FILE_STREAMS_MAX, FILE_STREAMS_PER_PEER_MAX, FILE_WISH_BYTES_MAX};
use crate::protocol::{FileReport, GivenFile};
use crate::refusal::Refusal;
use crate::terms::FileTerms;
use crate::wire::file::{Answer, CHUNK_HEAD_BYTES, Chunks, Why, Wish, chunk_head};

/// How long who opened a stream may take to say what for, and the core to judge it.
const OPENING: Duration = Duration::from_secs(10);
/// A stream on which nothing is asked for so long, or nothing of what is given is read, is closed.
pub(super) const IDLE: Duration = Duration::from_secs(60);
/// How often one who waits is told that there is more, while the file is being fetched here.
const NEWS: Duration = Duration::from_millis(500);
/// Of the chunks of one stream so much is sealed, waits and is being written at once, or one chunk if
/// that is more.
const AHEAD_BYTES: u32 = 768 << 10;
/// Chunks that were asked for and not given yet, of one stream.
const WISHES_MAX: usize = 1_024;
/// Wishes that are read before they are looked at.
const WISHES_AHEAD: usize = 4;

/// Serves one stream until it ends.
pub(super) async fn serve(hand: Rc<Hand>, from: PeerId, stream: Stream) {
    let is_one_more = {
        let mut serving = hand.serving.borrow_mut();
        let all: usize = serving.values().sum();
        let theirs = serving.entry(from).or_default();
        let may = *theirs < FILE_STREAMS_PER_PEER_MAX && all < FILE_STREAMS_MAX;
        *theirs = theirs.saturating_add(usize::from(may));
        may
    };
    let patience = if is_one_more { hand.idle } else { OPENING };
    let (mut wishes, mut mouth) =
        frames(&hand.setup.beside, stream, patience, FILE_WISH_BYTES_MAX, WISHES_AHEAD);
    if !is_one_more {
        let _over = mouth.say(&Answer::No(Why::Busy).encode()).await;
        return;
    }
    let end = give(&hand, from, &mut wishes, &mut mouth).await;
    if let Err(End::Bad(refusal)) = end {
        tracing::warn!(code = refusal.code(), peer = %from, "refused");
    }
    // It counts as served until what it was given is read, or is not.
    mouth.end().await;
    let mut serving = hand.serving.borrow_mut();
    if let Some(theirs) = serving.get_mut(&from) {
        *theirs = theirs.saturating_sub(1);
        if *theirs == 0 {
            serving.remove(&from);
        }
    }
}

/// What a file is read from.
enum Source {
    /// It is here.
    Whole(Box<Sealer>, FileTerms, std::fs::File, Hashes),
    /// It is being fetched.
    Part(Rc<Fetching>),
}

impl Source {
    fn terms(&self) -> &FileTerms {
        match self {
            Self::Whole(_, terms, ..) => terms,
            Self::Part(fetching) => &fetching.terms,
        }
    }

    fn hashes(&self) -> Option<Hashes> {
        match self {
            Self::Whole(.., hashes) => Some(hashes.clone()),
            Self::Part(fetching) => fetching.hashes(),
        }
    }

    fn has(&self) -> Chunks {
        match self {
            Self::Whole(_, terms, ..) => Chunks::all(terms.chunks()),
            Self::Part(fetching) => fetching.held(),
        }
    }

    /// Whether it may have more than a moment ago: a whole one never does.
    fn grows(&self) -> bool {
        matches!(self, Self::Part(_))
    }

    /// The frame of a chunk, sealed, if it is still what was sent.
    fn seal(&self, index: u32, frame: &mut Vec<u8>) -> Option<()> {
        let terms = self.terms();
        let length = usize::try_from(terms.length(index)).ok()?;
        frame.resize(CHUNK_HEAD_BYTES.saturating_add(length), 0);
        let (head, chunk) = frame.split_at_mut_checked(CHUNK_HEAD_BYTES)?;
        head.copy_from_slice(&chunk_head(index, terms.sealed_length(index)));
        let at = terms.begin(index);
        let sealer = match self {
            Self::Whole(sealer, _, file, _) => {
                disk::read_at(file, chunk, at).ok()?;
                sealer
            }
            Self::Part(fetching) => {
                disk::read_at(&*fetching.file()?, chunk, at).ok()?;
                &fetching.sealer
            }
        };
        sealer.seal_behind(CHUNK_HEAD_BYTES, index, frame)?;
        self.hashes()?.is(index, frame.get(CHUNK_HEAD_BYTES..)?).then_some(())
    }
}

/// What is wanted on a stream, and what of it may be given by the core's word.
async fn wanted(
    hand: &Rc<Hand>,
    from: PeerId,
    wishes: &mut Frames,
) -> Result<(FileId, Result<Source, Why>), End> {
    let first = timeout(OPENING, wishes.next()).await.map_err(|_| End::Over)??;
    let Wish::Open(network, id) = Wish::decode(first.kind, first.body()).map_err(End::Bad)? else {
        return Err(End::Bad(Refusal::FrameUnexpected));
    };
    let (answer, answered) = oneshot::channel();
    let ticket = {
        let mut asked = hand.asked.borrow_mut();
        asked.last = asked.last.wrapping_add(1);
        let ticket = asked.last;
        asked.waiting.insert(ticket, answer);
        ticket
    };
    hand.report(FileReport::Asked { from, network, id, ticket }).await;
    let given = timeout(OPENING, answered).await;
    hand.asked.borrow_mut().waiting.remove(&ticket);
    let given = given.ok().and_then(Result::ok).flatten();
    Ok((id, given.ok_or(Why::Unknown).and_then(|given| source_of(hand, given))))
}

async fn give(
    hand: &Rc<Hand>,
    from: PeerId,
    wishes: &mut Frames,
    mouth: &mut Mouth,
) -> Result<(), End> {
    let (id, source) = match wanted(hand, from, wishes).await? {
        (id, Ok(source)) => (id, source),
        (id, Err(Why::Changed)) => return changed(hand, &id, mouth).await,
        (_, Err(why)) => return mouth.say(&Answer::No(why).encode()).await,
    };
    let ahead = AHEAD_BYTES / source.terms().chunk.max(1);
    mouth.widen(usize::try_from(ahead).unwrap_or(1));
    let mut told = source.has();
    mouth.say(&Answer::Has(told.clone()).encode()).await?;
    let mut due: VecDeque<u32> = VecDeque::new();
    let mut idle = Duration::ZERO;
    loop {
        // Everything that came meanwhile, then one chunk, so that a wish is never far behind.
        // A timer, even one of no length, takes a millisecond or two: as long as a chunk.
        let wish = if due.is_empty() {
            timeout(NEWS, wishes.next()).await.ok()
        } else {
            wishes.next().now_or_never()
        };
        match wish {
            Some(frame) => {
                let frame = frame?;
                idle = Duration::ZERO;
                match Wish::decode(frame.kind, frame.body()).map_err(End::Bad)? {
                    Wish::Open(..) => return Err(End::Bad(Refusal::FrameUnexpected)),
                    Wish::Hashes => {
                        if let Some(hashes) = source.hashes() {
                            mouth.say(&Answer::Hashes(hashes.bytes()).encode()).await?;
                        }
                    }
                    Wish::Chunks { first, count } => {
                        let room = WISHES_MAX.saturating_sub(due.len());
                        let end = first.saturating_add(count).min(source.terms().chunks());
                        due.extend((first..end).take(room));
                    }
                }
                continue;
            }
            None if due.is_empty() => {
                idle = idle.saturating_add(NEWS);
                if idle >= hand.idle || source.is_over() {
                    return Ok(());
                }
            }
            None => {}
        }
        if source.grows() && source.has().held() != told.held() {
            told = source.has();
            mouth.say(&Answer::Has(told.clone()).encode()).await?;
        }
        let Some(index) = due.pop_front().filter(|index| told.has(*index)) else { continue };
        let mut frame = mouth.buffer().await?;
        if source.seal(index, &mut frame).is_none() {
            return changed(hand, &id, mouth).await;
        }
        // On its way while the next one is sealed.
        mouth.give(frame).await?;
    }
}

impl Source {
    /// Whether it is fetched no further here, so that who asks again finds the whole, or nothing.
    fn is_over(&self) -> bool {
        matches!(self, Self::Part(fetching) if fetching.is_over())
    }
}

async fn changed(hand: &Rc<Hand>, id: &FileId, mouth: &mut Mouth) -> Result<(), End> {
    if hand.changed.borrow_mut().insert(*id) {
        hand.report(FileReport::Changed { id: *id }).await;
    }
    mouth.say(&Answer::No(Why::Changed).encode()).await
}

fn source_of(hand: &Rc<Hand>, given: GivenFile) -> Result<Source, Why> {
    let GivenFile { terms, path } = given;
    if path.is_empty() {
        let fetching = hand.fetching.borrow().get(&terms.id).map(Rc::clone);
        return fetching.map(Source::Part).ok_or(Why::Unknown);
    }
    let hashes = hand.shelf.hashes(&terms.id).ok_or(Why::Unknown)?;
    let hashes = Hashes::check(&terms, &hashes).ok_or(Why::Unknown)?;
    let file = disk::open_source(std::path::Path::new(&path)).map_err(|_| Why::Changed)?;
    match file.metadata() {
        Ok(it) if it.len() == terms.size => {}
        _ => return Err(Why::Changed),
    }
    Ok(Source::Whole(Box::new(Sealer::new(&terms.key)), terms, file, hashes))
}
