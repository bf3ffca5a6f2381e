//! Fetching a file: streams to those who have it, chunks checked and written, the end.
//! Owns: one file that comes, and how far it is on the disk.
//! Must not know: which chunk is asked of whom (`protocol/fetch.rs`), who may have the file.
//! Invariants: a chunk is written only if its hash is right; what is noted as held is checked again
//! at the next start; a file is said to be here once all of it is on the disk under its own name.
//! Start reading at: [`begin`].

use std::cell::{Cell, RefCell};
use std::fs::File;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use tokio::sync::Notify;
use tokio::task::{spawn_blocking, spawn_local};
use tokio::time::{sleep, timeout};

use super::disk::{self, Part};
use super::frames::{End, Frame, frames};
use super::pen::{Due, Pen};
use super::seal::{Hashes, Sealer};
use super::{Hand, Stream};
use crate::ids::{FileId, NetworkId, PeerId};
use crate::limits::{FILE_FRAME_BYTES_MAX, FILE_SOURCES_MAX};
use crate::protocol::FileReport;
use crate::protocol::fetch::{Came, Fetch};
use crate::refusal::{Refusal, Refused};
use crate::terms::FileTerms;
use crate::time::{Millis, Mono};
use crate::wire::file::{Answer, Chunks, HASH_BYTES, Why, Wish};

/// Where in the frame of a chunk the chunk begins: behind its number.
const CHUNK_AT: usize = 4;
/// How often it is looked how far a file is, and told.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// How often what came is brought to the disk.
const SYNC_EVERY: Millis = Millis(1_000);
/// After a disk that takes nothing, this long until it is tried again.
const DISK_WAIT: Millis = Millis(3_000);
/// So much of what came on one stream is being written at once, or one chunk if that is more.
const WRITING_BYTES: u32 = 4 << 20;
/// How long a stream may take to open.
const OPENING: Duration = Duration::from_secs(10);

/// A file that is being fetched.
pub(super) struct Fetching {
    pub(super) terms: FileTerms,
    pub(super) sealer: Sealer,
    network: NetworkId,
    name: String,
    plan: RefCell<Fetch>,
    hashes: RefCell<Option<Hashes>>,
    part: RefCell<Option<(Arc<File>, PathBuf)>>,
    /// Something that those who wait should look at.
    news: Notify,
    is_over: Cell<bool>,
    is_syncing: Cell<bool>,
    /// Until when the disk is left alone.
    disk_wait: Cell<Mono>,
    pen: Arc<Pen>,
    /// What made the whole of it fail.
    failed: RefCell<Option<Refused>>,
    shelf: super::Shelf,
}

/// Begins to fetch a file, or goes on with it.
pub(super) fn begin(
    hand: &Rc<Hand>,
    network: NetworkId,
    terms: FileTerms,
    name: String,
    sources: &[PeerId],
) {
    let id = terms.id;
    if let Some(fetching) = hand.fetching.borrow().get(&id) {
        return fetching.set_sources(sources);
    }
    // What was here once is not: if it changes again, that is news again.
    hand.changed.borrow_mut().remove(&id);
    let fetching = Rc::new(Fetching::new(hand, network, terms, name));
    fetching.plan.borrow_mut().set_sources(sources);
    hand.fetching.borrow_mut().insert(id, Rc::clone(&fetching));
    let hand = Rc::clone(hand);
    spawn_local(async move {
        let report = run(&hand, &fetching).await;
        fetching.over();
        let is_ours = |it: &Rc<Fetching>| Rc::ptr_eq(it, &fetching);
        let was_ours = hand.fetching.borrow().get(&id).is_some_and(is_ours);
        if was_ours {
            hand.fetching.borrow_mut().remove(&id);
        }
        if let Some(report) = report {
            hand.report(report).await;
        }
    });
}

impl Fetching {
    /// Nothing of it is here yet, and nobody is known who may have it.
    fn new(hand: &Hand, network: NetworkId, terms: FileTerms, name: String) -> Self {
        let held = Chunks::none(terms.chunks());
        Self {
            sealer: Sealer::new(&terms.key),
            plan: RefCell::new(Fetch::new(terms.clone(), held, hand.setup.start)),
            terms,
            network,
            name,
            hashes: RefCell::default(),
            part: RefCell::default(),
            news: Notify::new(),
            is_over: Cell::new(false),
            is_syncing: Cell::new(false),
            disk_wait: Cell::new(Mono(0)),
            pen: Arc::default(),
            failed: RefCell::default(),
            shelf: hand.shelf.clone(),
        }
    }

    pub(super) fn set_sources(&self, sources: &[PeerId]) {
        self.plan.borrow_mut().set_sources(sources);
        self.news.notify_waiters();
    }

    fn make_part(&self, downloads: &Path) -> std::io::Result<()> {
        let Part { file, path } = Part::create(downloads, &self.name)?;
        *self.part.borrow_mut() = Some((Arc::new(file), path));
        self.note();
        Ok(())
    }

    /// What came of it is not there any more.
    fn start_anew(&self) {
        *self.part.borrow_mut() = None;
        self.shelf.forget_note(&self.terms.id);
        self.plan.borrow_mut().restart();
        self.news.notify_waiters();
    }

    /// It is wanted no more: what came of it goes.
    pub(super) fn stop(&self) {
        self.over();
        if let Some((_, path)) = self.part.borrow_mut().take() {
            drop(std::fs::remove_file(path));
        }
        self.shelf.forget(&self.terms.id);
    }

    fn over(&self) {
        self.is_over.set(true);
        self.news.notify_waiters();
    }

    pub(super) fn is_over(&self) -> bool {
        self.is_over.get()
    }

    pub(super) fn hashes(&self) -> Option<Hashes> {
        self.hashes.borrow().clone()
    }

    pub(super) fn held(&self) -> Chunks {
        self.plan.borrow().held().clone()
    }

    pub(super) fn file(&self) -> Option<Arc<File>> {
        self.part.borrow().as_ref().map(|(file, _)| Arc::clone(file))
    }

    /// Notes how far it came: a hint for the next start, which checks it.
    pub(super) fn note(&self) {
        if let Some((_, path)) = self.part.borrow().as_ref() {
            let held = self.held();
            drop(self.shelf.keep_note(&self.terms.id, path, &held));
        }
    }
}

fn no_disk(error: &std::io::Error) -> Refused {
    Refused::new(Refusal::DownloadsUnusable, error.to_string())
}

/// Fetches until it is here, fails or is stopped; gives what to report.
async fn run(hand: &Rc<Hand>, fetching: &Rc<Fetching>) -> Option<FileReport> {
    let id = fetching.terms.id;
    recall(hand, fetching).await;
    let (mut told, mut noted, mut is_paused) = (None, hand.now(), false);
    loop {
        if fetching.is_over() {
            return None;
        }
        if let Some(refused) = fetching.failed.borrow_mut().take() {
            fetching.note();
            return Some(FileReport::Failed { id, refused });
        }
        let now = hand.now();
        if fetching.part.borrow().is_none()
            && fetching.disk_wait.get() <= now
            && let Err(error) = fetching.make_part(&hand.setup.downloads)
        {
            fetching.disk_wait.set(now.after(DISK_WAIT));
            hand.report(FileReport::Paused { id, refused: no_disk(&error) }).await;
        }
        let has_part = fetching.part.borrow().is_some();
        if has_part && fetching.plan.borrow().held().is_whole() && fetching.hashes().is_some() {
            match finish(fetching).await {
                Ok(path) => return Some(FileReport::Completed { id, path }),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                    tracing::warn!(%error, "a file that was coming was taken away: it comes anew");
                    fetching.start_anew();
                    continue;
                }
                Err(error) => {
                    fetching.disk_wait.set(now.after(DISK_WAIT));
                    hand.report(FileReport::Paused { id, refused: no_disk(&error) }).await;
                    sleep(Duration::from_millis(DISK_WAIT.0)).await;
                    continue;
                }
            }
        }
        let have = fetching.plan.borrow().bytes();
        if told != Some(have) {
            fetching.note();
        }
        let waits = fetching.disk_wait.get() > now;
        if !waits && (told != Some(have) || is_paused) {
            told = Some(have);
            hand.report(FileReport::Progress { id, have }).await;
        }
        is_paused = waits;
        if now.since(noted) >= SYNC_EVERY && has_part {
            noted = now;
            bring_to_disk(fetching);
        }
        if has_part && !waits {
            open_streams(hand, fetching, now);
        }
        if fetching.plan.borrow().is_hopeless() {
            let refused = Refused::new(Refusal::FileChanged, "nobody connected has it as it was");
            return Some(FileReport::Failed { id, refused });
        }
        tokio::select! {
            () = fetching.news.notified() => {
                // Many chunks a second come; looking this often is enough, but for the last one.
                if !fetching.plan.borrow().held().is_whole() {
                    sleep(Duration::from_millis(20)).await;
                }
            }
            () = sleep(LOOK_EVERY) => {}
        }
    }
}

/// What an earlier start left: hashes that are right, and of the chunks those that are right.
async fn recall(hand: &Rc<Hand>, fetching: &Rc<Fetching>) {
    let terms = fetching.terms.clone();
    let known = hand.shelf.hashes(&terms.id);
    let Some(hashes) = known.and_then(|hashes| Hashes::check(&terms, &hashes)) else { return };
    *fetching.hashes.borrow_mut() = Some(hashes);
    let Some((path, bits)) = hand.shelf.note(&terms.id) else { return };
    let Some(noted) = Chunks::from_bits(terms.chunks(), &bits) else { return };
    let part = match Part::reopen(path) {
        Ok(part) => part,
        Err(error) => {
            tracing::warn!(%error, "a file that was coming is not there any more");
            return hand.shelf.forget_note(&terms.id);
        }
    };
    let (file, mut held) = (Arc::new(part.file), Chunks::none(terms.chunks()));
    let mut buffer = Vec::new();
    for index in (0..terms.chunks()).filter(|index| noted.has(*index)) {
        let length = usize::try_from(terms.length(index)).unwrap_or(0);
        buffer.resize(length, 0);
        let is_there = disk::read_at(&file, &mut buffer, terms.begin(index)).is_ok();
        let is_sealed = is_there && fetching.sealer.seal(index, &mut buffer).is_some();
        let is_right = is_sealed && fetching.hashes().is_some_and(|it| it.is(index, &buffer));
        if is_right {
            held.add(index);
        }
        // Other files go on meanwhile, and nobody takes this one for one of which nothing comes.
        if index % 16 == 0 {
            let have = u64::from(held.held()).saturating_mul(u64::from(terms.chunk));
            if have > 0 {
                hand.report(FileReport::Progress { id: terms.id, have: have.min(terms.size) })
                    .await;
            }
            tokio::task::yield_now().await;
        }
    }
    *fetching.part.borrow_mut() = Some((file, part.path));
    let mut plan = fetching.plan.borrow_mut();
    let sources = plan.sources();
    *plan = Fetch::new(terms, held, hand.setup.start);
    plan.set_sources(&sources);
}

/// Brings to the disk what came so far, beside all else, so that the end need not wait for it.
fn bring_to_disk(fetching: &Rc<Fetching>) {
    let Some(file) = fetching.file().filter(|_| !fetching.is_syncing.replace(true)) else { return };
    let fetching = Rc::clone(fetching);
    spawn_local(async move {
        // At the end it is synced again, and an error is one then.
        let _synced = spawn_blocking(move || file.sync_data()).await;
        fetching.is_syncing.set(false);
    });
}

async fn finish(fetching: &Rc<Fetching>) -> std::io::Result<String> {
    let part = fetching.part.borrow().as_ref().map(|(file, path)| (Arc::clone(file), path.clone()));
    let (file, path) = part.ok_or(std::io::ErrorKind::NotFound)?;
    let (size, name) = (fetching.terms.size, fetching.name.clone());
    let finish = move || {
        // Longer than it says it is no part was ever written; a file from before may be.
        file.set_len(size)?;
        file.sync_all()?;
        Part::finish(&path, &name)
    };
    let whole = spawn_blocking(finish).await.map_err(std::io::Error::other)??;
    fetching.over();
    fetching.shelf.forget_note(&fetching.terms.id);
    whole.into_os_string().into_string().map_err(|_| std::io::ErrorKind::InvalidFilename.into())
}

fn open_streams(hand: &Rc<Hand>, fetching: &Rc<Fetching>, now: Mono) {
    let peers = fetching.plan.borrow().to_open(FILE_SOURCES_MAX, now);
    for peer in peers {
        fetching.plan.borrow_mut().opened(peer, now);
        let (hand, fetching) = (Rc::clone(hand), Rc::clone(fetching));
        spawn_local(async move {
            let opened = timeout(OPENING, (hand.setup.open)(peer)).await;
            if let Ok(Some(stream)) = opened
                && let Err(End::Bad(refusal)) = fetch_from(&hand, &fetching, peer, stream).await
            {
                tracing::warn!(code = refusal.code(), peer = %peer, "refused");
                fetching.plan.borrow_mut().is_bad(&peer);
            }
            fetching.plan.borrow_mut().closed(&peer, hand.now());
            fetching.news.notify_waiters();
        });
    }
}

/// Fetches from one until it has no more, gives something wrong or is too slow.
async fn fetch_from(
    hand: &Rc<Hand>,
    fetching: &Rc<Fetching>,
    peer: PeerId,
    stream: Stream,
) -> Result<(), End> {
    let mut writing = FuturesUnordered::new();
    let end = fetch_and_write(hand, fetching, peer, stream, &mut writing).await;
    // What came is not lost because no more comes.
    while let Some(write) = writing.next().await {
        settle(hand, fetching, peer, write);
    }
    end
}

async fn fetch_and_write(
    hand: &Rc<Hand>,
    fetching: &Rc<Fetching>,
    peer: PeerId,
    stream: Stream,
    writing: &mut FuturesUnordered<Write>,
) -> Result<(), End> {
    // Its own chunks and the hashes of all of them: nothing else is long.
    let hashes = usize::try_from(fetching.terms.chunks()).unwrap_or(0).saturating_mul(HASH_BYTES);
    let chunk = usize::try_from(fetching.terms.chunk).unwrap_or(0);
    let bytes_max = hashes.max(chunk).saturating_add(64).min(FILE_FRAME_BYTES_MAX);
    let ahead = ahead(fetching.terms.chunk);
    let (mut answers, mut mouth) = frames(&hand.setup.beside, stream, OPENING, bytes_max, ahead);
    let mut wishes = Wish::Open(fetching.network, fetching.terms.id).encode();
    let mut has_asked_hashes = false;
    loop {
        if fetching.is_over() || fetching.failed.borrow().is_some() {
            return Ok(());
        }
        let now = hand.now();
        let is_ready = fetching.hashes().is_some();
        if !is_ready && !has_asked_hashes {
            wishes.extend(Wish::Hashes.encode());
            has_asked_hashes = true;
        }
        if is_ready && fetching.disk_wait.get() <= now {
            let asked = fetching.plan.borrow_mut().ask(&peer, now);
            runs(&asked).for_each(|wish| wishes.extend(wish.encode()));
        }
        if !wishes.is_empty() {
            timeout(OPENING, mouth.say(&wishes)).await.map_err(|_| End::Over)??;
            wishes.clear();
        }
        if fetching.plan.borrow().due(&peer).is_some_and(|due| due <= now) {
            return Err(End::Over);
        }
        tokio::select! {
            biased;
            Some(write) = writing.next(), if !writing.is_empty() => {
                settle(hand, fetching, peer, write);
            }
            frame = answers.next() => {
                let mut frame = frame?;
                if let Some(opened) = take(hand, fetching, peer, frame.kind, frame.body_mut())? {
                    writing.push(write(fetching, opened, frame));
                }
            }
            () = fetching.news.notified() => {}
            // What comes due is looked at this often.
            () = sleep(LOOK_EVERY.saturating_mul(2)) => {}
        }
    }
}

/// A chunk that came and was opened: which, where it belongs, and where it lies in its frame.
struct Opened {
    index: u32,
    file: Arc<File>,
    begin: u64,
    length: usize,
}

/// A chunk that is being written; gives it with how it went.
type Write = Pin<Box<dyn Future<Output = (Opened, std::io::Result<()>)>>>;

/// Writes a chunk beside all else: the next one is checked and opened meanwhile.
fn write(fetching: &Fetching, opened: Opened, frame: Frame) -> Write {
    let written = fetching.pen.write(Due {
        file: Arc::clone(&opened.file),
        at: opened.begin,
        chunk: CHUNK_AT..CHUNK_AT.saturating_add(opened.length),
        frame,
    });
    Box::pin(async move {
        let written = written.await;
        (opened, written.unwrap_or_else(|_| Err(std::io::Error::other("nobody wrote it"))))
    })
}

/// Notes what became of a chunk that was to be written.
fn settle(
    hand: &Rc<Hand>,
    fetching: &Rc<Fetching>,
    peer: PeerId,
    (opened, written): (Opened, std::io::Result<()>),
) {
    let Opened { index, file, .. } = opened;
    // It may have begun anew meanwhile, in another file.
    let is_there = fetching.file().is_some_and(|it| Arc::ptr_eq(&it, &file));
    match written {
        Ok(()) if is_there => {
            let mut plan = fetching.plan.borrow_mut();
            plan.stored(&peer, index);
            if plan.held().is_whole() {
                drop(plan);
                fetching.news.notify_waiters();
            }
        }
        Ok(()) => fetching.plan.borrow_mut().lost(index),
        Err(error) => {
            fetching.plan.borrow_mut().lost(index);
            let now = hand.now();
            if fetching.disk_wait.get() <= now {
                fetching.disk_wait.set(now.after(DISK_WAIT));
                let report = FileReport::Paused { id: fetching.terms.id, refused: no_disk(&error) };
                let hand = Rc::clone(hand);
                spawn_local(async move { hand.report(report).await });
            }
        }
    }
}

/// Chunks that follow each other are asked for at once.
fn runs(asked: &[u32]) -> impl Iterator<Item = Wish> {
    let follow = |one: &u32, other: &u32| one.checked_add(1) == Some(*other);
    asked.chunk_by(follow).filter_map(|run| {
        let count = u32::try_from(run.len()).ok()?;
        run.first().map(|first| Wish::Chunks { first: *first, count })
    })
}

/// Takes what somebody answered in; gives the chunk that is to be written, opened where it lies.
fn take(
    hand: &Rc<Hand>,
    fetching: &Rc<Fetching>,
    peer: PeerId,
    kind: u8,
    body: &mut [u8],
) -> Result<Option<Opened>, End> {
    let bad = || End::Bad(Refusal::FieldBad);
    // The chunk is opened where it lies, so the answer must not hold on to it.
    let index = match Answer::decode(kind, body).map_err(End::Bad)? {
        Answer::Has(chunks) => {
            fetching.plan.borrow_mut().has(&peer, chunks);
            return Ok(None);
        }
        Answer::Hashes(bytes) => {
            if fetching.hashes().is_none() {
                let hashes = Hashes::check(&fetching.terms, bytes).ok_or_else(bad)?;
                if let Err(error) = fetching.shelf.keep_hashes(&fetching.terms.id, bytes) {
                    tracing::warn!(%error, "the hashes of a file cannot be kept");
                }
                *fetching.hashes.borrow_mut() = Some(hashes);
                fetching.news.notify_waiters();
            }
            return Ok(None);
        }
        Answer::No(Why::Changed) => {
            fetching.plan.borrow_mut().is_bad(&peer);
            return Err(End::Over);
        }
        Answer::No(_) => return Err(End::Over),
        Answer::Chunk { index, .. } => index,
    };
    let came = fetching.plan.borrow_mut().came(&peer, index, hand.now());
    let sealed = body.get_mut(CHUNK_AT..).unwrap_or_default();
    match came {
        Came::Known => return Ok(None),
        Came::Unasked => return Err(End::Bad(Refusal::FrameUnexpected)),
        Came::Wanted => {}
    }
    let is_right = sealed.len()
        == usize::try_from(fetching.terms.sealed_length(index)).unwrap_or(0)
        && fetching.hashes().is_some_and(|hashes| hashes.is(index, sealed));
    if !is_right {
        fetching.plan.borrow_mut().lost(index);
        return Err(bad());
    }
    let Some(file) = fetching.file() else {
        fetching.plan.borrow_mut().lost(index);
        return Ok(None);
    };
    let Some(chunk) = fetching.sealer.open(index, sealed) else {
        // It is what was sent, and was not sealed under the key that was sent with it.
        let refused = Refused::new(Refusal::FileChanged, "it does not open under its own key");
        *fetching.failed.borrow_mut() = Some(refused);
        fetching.news.notify_waiters();
        return Ok(None);
    };
    let (begin, length) = (fetching.terms.begin(index), chunk.len());
    Ok(Some(Opened { index, file, begin, length }))
}

/// Which file, for the logs.
impl std::fmt::Debug for Fetching {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let id: FileId = self.terms.id;
        f.debug_struct("Fetching").field("id", &id).finish_non_exhaustive()
    }
}

/// Chunks of this length that are read before those before them are written: one more than may wait for that.
fn ahead(chunk: u32) -> usize {
    let waiting = (WRITING_BYTES / chunk.max(1)).max(1);
    usize::try_from(waiting.saturating_add(1)).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::seal;
    use crate::files::tests::hand;
    use crate::ids::DeviceKey;
    use crate::terms::FileKey;

    #[test]
    fn there_is_a_buffer_for_each_chunk_that_is_read_ahead() {
        assert_eq!(ahead(crate::limits::FILE_CHUNK_BYTES_MIN), crate::files::frames::BUFFERS_MAX);
        assert_eq!(ahead(crate::limits::FILE_CHUNK_BYTES_MAX), 2);
    }

    #[test]
    fn a_chunk_that_comes_while_there_is_no_file_to_write_it_to_is_asked_for_again() {
        let dir = tempfile::tempdir().unwrap();
        let (hand, _heard) = hand(dir.path());
        let key = FileKey([7; 32]);
        let mut sealed = vec![5; 1_000];
        Sealer::new(&key).seal(0, &mut sealed).unwrap();
        let (size, chunk, hashes) = (1_000, 256 << 10, seal::hash(&sealed));
        let terms = FileTerms { id: seal::id(size, chunk, &hashes), key, size, chunk };
        let network = NetworkId([9; 32]);
        let fetching = Rc::new(Fetching::new(&hand, network, terms.clone(), "a.bin".to_owned()));
        *fetching.hashes.borrow_mut() = Hashes::check(&terms, &hashes);
        let bob = PeerId::of_ed25519(&DeviceKey([2; 32]));
        {
            let mut plan = fetching.plan.borrow_mut();
            plan.set_sources(&[bob]);
            plan.opened(bob, Mono(1));
            plan.has(&bob, Chunks::all(1));
        }
        let ask = || fetching.plan.borrow_mut().ask(&bob, Mono(1));
        let comes = || {
            let mut body = [&0_u32.to_be_bytes()[..], &sealed].concat();
            let Ok(opened) = take(&hand, &fetching, bob, 19, &mut body) else { panic!("refused") };
            if let Some(opened) = opened {
                let chunk = &body[CHUNK_AT..CHUNK_AT + opened.length];
                let written = disk::write_at(&opened.file, chunk, opened.begin);
                settle(&hand, &fetching, bob, (opened, written));
            }
            fetching.plan.borrow().held().is_whole()
        };
        assert_eq!(ask(), [0]);
        assert!(!comes(), "it went nowhere");
        assert_eq!(ask(), [0], "so it is missing again");
        fetching.make_part(dir.path()).unwrap();
        assert!(comes());
        assert_eq!(std::fs::read(dir.path().join("a.bin.part")).unwrap(), [5; 1_000]);
        // Written to a file that was given up meanwhile, it counts as nothing.
        let old = fetching.file().unwrap();
        fetching.start_anew();
        fetching.make_part(dir.path()).unwrap();
        assert_eq!(ask(), [0]);
        assert_eq!(fetching.plan.borrow_mut().came(&bob, 0, Mono(1)), Came::Wanted);
        let opened = Opened { index: 0, file: old, begin: 0, length: 1_000 };
        settle(&hand, &fetching, bob, (opened, Ok(())));
        assert!(!fetching.plan.borrow().held().is_whole());
        assert_eq!(ask(), [0], "it comes again");
    }
}
