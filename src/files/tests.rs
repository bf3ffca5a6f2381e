//! Two and more hands in one process, joined by pipes in memory; the test stands in for the cores.

use std::collections::VecDeque;
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::time::timeout;

use super::frames::frames;
use super::*;
use crate::ids::{CommandId, DeviceKey, NetworkId};
use crate::limits::FILE_WISH_BYTES_MAX;
use crate::refusal::Refusal;
use crate::terms::{FileKey, FileTerms};
use crate::wire::file::{Answer, Chunks, Wish};

/// What one end wrote and the other did not read yet.
#[derive(Default)]
struct Way {
    bytes: VecDeque<u8>,
    is_closed: bool,
    waker: Option<Waker>,
}

pub(super) struct End {
    from: Arc<Mutex<Way>>,
    to: Arc<Mutex<Way>>,
    /// Written and not flushed: the other end sees nothing of it.
    held: Vec<u8>,
}

impl End {
    fn let_go(&mut self) -> io::Result<()> {
        let mut way = self.to.lock().unwrap();
        if way.is_closed {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        way.bytes.extend(self.held.drain(..));
        way.waker.take().into_iter().for_each(Waker::wake);
        Ok(())
    }
}

pub(super) fn pipe() -> (End, End) {
    let ways: [Arc<Mutex<Way>>; 2] = Default::default();
    let [one, other] = ways;
    let end = End { from: Arc::clone(&one), to: Arc::clone(&other), held: Vec::new() };
    (end, End { from: other, to: one, held: Vec::new() })
}

fn close(way: &Mutex<Way>) {
    let mut way = way.lock().unwrap();
    way.is_closed = true;
    way.waker.take().into_iter().for_each(Waker::wake);
}

impl Drop for End {
    fn drop(&mut self) {
        close(&self.from);
        close(&self.to);
    }
}

impl AsyncRead for End {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let mut way = self.from.lock().unwrap();
        if way.bytes.is_empty() && !way.is_closed {
            way.waker = Some(cx.waker().clone());
            return Poll::Pending;
        }
        // In pieces, as streams have it.
        let count = way.bytes.len().min(buffer.len()).min(70_000);
        buffer.iter_mut().zip(way.bytes.drain(..count)).for_each(|(to, byte)| *to = byte);
        Poll::Ready(Ok(count))
    }
}

impl AsyncWrite for End {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.to.lock().unwrap().is_closed {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        self.held.extend(bytes);
        Poll::Ready(Ok(bytes.len()))
    }
    fn poll_flush(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.let_go())
    }
    fn poll_close(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        drop(self.let_go());
        close(&self.to);
        Poll::Ready(Ok(()))
    }
}

const NETWORK: NetworkId = NetworkId([9; 32]);

fn peer(n: u8) -> PeerId {
    PeerId::of_ed25519(&DeviceKey([n; 32]))
}

/// A hand, and the test in the place of its core.
struct Member {
    jobs: mpsc::Sender<Job>,
    reports: mpsc::Receiver<FileReport>,
}

impl Member {
    fn new(dir: &Path, open: impl Fn(PeerId) -> Opened + Send + 'static) -> Self {
        let (jobs, queue) = mpsc::channel(64);
        let (reporter, reports) = mpsc::channel(64);
        let began = tokio::time::Instant::now();
        let here = tokio::runtime::Handle::current();
        let setup = Setup {
            shelf: dir.join("shelf"),
            downloads: dir.join("received"),
            open: Box::new(open),
            beside: Box::new(move |task| drop(here.spawn(task))),
            clock: Box::new(move || {
                Mono(1_000 + u64::try_from(began.elapsed().as_millis()).unwrap())
            }),
            start: 5,
        };
        let _ends_alone = start(setup, queue, reporter).unwrap();
        Self { jobs, reports }
    }

    async fn order(&self, order: FileOrder) {
        self.jobs.send(Job::Order(order)).await.unwrap();
    }

    async fn report(&mut self) -> FileReport {
        timeout(Duration::from_secs(60), self.reports.recv()).await.unwrap().unwrap()
    }

    async fn prepare(&mut self, path: &Path) -> (FileTerms, String) {
        let (command, path) = (CommandId(1), path.to_str().unwrap().to_owned());
        let (name, key) = (String::new(), FileKey([7; 32]));
        self.order(FileOrder::Prepare { command, path, name, key }).await;
        loop {
            match self.report().await {
                FileReport::Prepared { terms, path, .. } => return (terms, path),
                FileReport::Reading { .. } => {}
                other => panic!("{other:?}"),
            }
        }
    }

    /// The end of a fetch.
    async fn end(&mut self) -> FileReport {
        loop {
            match self.report().await {
                FileReport::Progress { .. } => {}
                other => return other,
            }
        }
    }
}

/// Streams to a hand go to its queue, to others to whoever plays them.
fn opener(
    hand: mpsc::Sender<Job>,
    liar: impl Fn(Stream) + Send + Sync + 'static,
) -> impl Fn(PeerId) -> Opened + Send + 'static {
    let liar = Arc::new(liar);
    move |to: PeerId| -> Opened {
        let (hand, liar) = (hand.clone(), Arc::clone(&liar));
        Box::pin(async move {
            let (here, there) = pipe();
            let (here, there): (Stream, Stream) = (Box::new(here), Box::new(there));
            if to == peer(1) {
                hand.send(Job::Serve(peer(2), there)).await.ok()?;
            } else {
                liar(there);
            }
            Some(here)
        })
    }
}

/// Claims to have everything, and gives so many bytes for each chunk.
async fn lie(stream: Stream, count: u32, length: usize) {
    let beside = |task| drop(tokio::spawn(task));
    let (mut wishes, mut mouth) = frames(&beside, stream, serve::IDLE, FILE_WISH_BYTES_MAX, 1);
    while let Ok(wish) = wishes.next().await {
        let answer = match Wish::decode(wish.kind, wish.body()).unwrap() {
            Wish::Open(..) => Answer::Has(Chunks::all(count)).encode(),
            Wish::Hashes => continue,
            Wish::Chunks { first, .. } => {
                Answer::Chunk { index: first, sealed: &vec![1; length] }.encode()
            }
        };
        if mouth.say(&answer).await.is_err() {
            return;
        }
    }
}

fn content(length: usize) -> Vec<u8> {
    (0..length).map(|n| u8::try_from(n * 7 % 251).unwrap()).collect()
}

#[tokio::test]
async fn a_file_comes_from_who_has_it_and_nothing_from_who_lies() {
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("a.bin");
    let bytes = content(3 * (256 << 10) + 77);
    std::fs::write(&source, &bytes).unwrap();
    let mut alice = Member::new(&dir.path().join("alice"), |_| Box::pin(async { None }));
    let (terms, path) = alice.prepare(&source).await;
    // One gives other bytes, one more than was declared: neither is written.
    for length in [(256 << 10) + 16, (1 << 20) + 16] {
        let lies = tokio::runtime::Handle::current();
        let count = terms.chunks();
        let liar = move |stream| drop(lies.spawn(lie(stream, count, length)));
        let bob_dir = dir.path().join(format!("bob{length}"));
        let mut bob = Member::new(&bob_dir, opener(alice.jobs.clone(), liar));
        let (name, sources) = ("a.bin".to_owned(), vec![peer(1), peer(3)]);
        bob.order(FileOrder::Fetch { network: NETWORK, terms: terms.clone(), name, sources }).await;
        let asked = alice.report().await;
        let FileReport::Asked { from, network, id, ticket } = asked else { panic!("{asked:?}") };
        assert_eq!((from, network, id), (peer(2), NETWORK, terms.id));
        let given = Some(GivenFile { terms: terms.clone(), path: path.clone() });
        alice.order(FileOrder::Answer { ticket, given }).await;
        let end = bob.end().await;
        let FileReport::Completed { path, .. } = end else { panic!("{end:?}") };
        assert!(std::fs::read(&path).unwrap() == bytes);
        let dir = Path::new(&path).parent().unwrap();
        assert_eq!(std::fs::read_dir(dir).unwrap().count(), 1, "no part is left");
    }
}

#[tokio::test]
async fn a_part_that_is_taken_away_comes_anew() {
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("a.bin");
    let bytes = content(300_000);
    std::fs::write(&source, &bytes).unwrap();
    let mut alice = Member::new(&dir.path().join("alice"), |_| Box::pin(async { None }));
    let (terms, path) = alice.prepare(&source).await;
    let bob_dir = dir.path().join("bob");
    let mut bob = Member::new(&bob_dir, opener(alice.jobs.clone(), |_| {}));
    let (name, sources) = ("a.bin".to_owned(), vec![peer(1)]);
    bob.order(FileOrder::Fetch { network: NETWORK, terms: terms.clone(), name, sources }).await;
    let asked = alice.report().await;
    let FileReport::Asked { ticket, .. } = asked else { panic!("{asked:?}") };
    // Before anything came of it: all of it goes where it has no name any more.
    std::fs::remove_file(bob_dir.join("received/a.bin.part")).unwrap();
    alice.order(FileOrder::Answer { ticket, given: Some(GivenFile { terms, path }) }).await;
    let end = bob.end().await;
    let FileReport::Completed { path, .. } = end else { panic!("{end:?}") };
    assert!(std::fs::read(&path).unwrap() == bytes);
}

#[tokio::test]
#[cfg(unix)]
async fn a_link_is_sent_under_its_own_name() {
    let dir = tempfile::tempdir().unwrap();
    let (target, link) = (dir.path().join("v1.2-final.bin"), dir.path().join("release.bin"));
    std::fs::write(&target, "x").unwrap();
    std::os::unix::fs::symlink(&target, &link).unwrap();
    let mut alice = Member::new(&dir.path().join("alice"), |_| Box::pin(async { None }));
    let (command, path) = (CommandId(1), link.to_str().unwrap().to_owned());
    let (name, key) = (String::new(), FileKey([7; 32]));
    alice.order(FileOrder::Prepare { command, path, name, key }).await;
    let report = alice.report().await;
    let FileReport::Prepared { name, path, .. } = report else { panic!("{report:?}") };
    assert_eq!(name, "release.bin");
    assert_eq!(Path::new(&path), target.canonicalize().unwrap());
}

#[tokio::test]
async fn how_far_the_reading_of_a_large_file_is_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("film.mkv");
    let size = 60 << 20;
    std::fs::File::create(&path).unwrap().set_len(size).unwrap();
    let mut alice = Member::new(&dir.path().join("alice"), |_| Box::pin(async { None }));
    let (command, path) = (CommandId(1), path.to_str().unwrap().to_owned());
    let (name, key) = (String::new(), FileKey([7; 32]));
    alice.order(FileOrder::Prepare { command, path, name, key }).await;
    let mut told = Vec::new();
    loop {
        match alice.report().await {
            FileReport::Reading { command: CommandId(1), done, of } if of == size => {
                told.push(done);
            }
            FileReport::Prepared { .. } => break,
            other => panic!("{other:?}"),
        }
    }
    assert!((5..=7).contains(&told.len()) && told.is_sorted_by(|a, b| a < b), "{told:?}");
    assert!(told.iter().all(|done| *done <= size), "{told:?}");
}

/// Says one thing, and takes nothing.
struct Deaf(VecDeque<u8>);

impl AsyncRead for Deaf {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        if self.0.is_empty() {
            return Poll::Pending;
        }
        let count = self.0.len().min(buffer.len());
        buffer.iter_mut().zip(self.0.drain(..count)).for_each(|(to, byte)| *to = byte);
        Poll::Ready(Ok(count))
    }
}

impl AsyncWrite for Deaf {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Pending
    }
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Pending
    }
    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// A hand that opens no streams, and what it reports.
pub(super) fn hand(dir: &Path) -> (Rc<Hand>, mpsc::Receiver<FileReport>) {
    let setup = Setup {
        shelf: dir.to_owned(),
        downloads: dir.to_owned(),
        open: Box::new(|_| Box::pin(async { None })),
        beside: Box::new(|task| drop(tokio::spawn(task))),
        clock: Box::new(|| Mono(0)),
        start: 0,
    };
    let (reports, heard) = mpsc::channel(4);
    let hand = Rc::new(Hand {
        shelf: Shelf::new(setup.shelf.clone()),
        setup,
        reports,
        fetching: RefCell::default(),
        asked: RefCell::default(),
        serving: RefCell::default(),
        changed: RefCell::default(),
        idle: Duration::from_millis(50),
    });
    (hand, heard)
}

#[tokio::test]
async fn who_asks_and_does_not_read_holds_its_stream_no_longer_than_it_may_stand_still() {
    let dir = tempfile::tempdir().unwrap();
    let (hand, mut heard) = hand(dir.path());
    let tasks = tokio::task::LocalSet::new();
    let (asked, deaf) = (Wish::Open(NETWORK, FileId([1; 32])).encode(), peer(2));
    let stream: Stream = Box::new(Deaf(asked.into()));
    let serving = tasks.spawn_local(serve::serve(Rc::clone(&hand), deaf, stream));
    let core = async {
        let report = heard.recv().await;
        let Some(FileReport::Asked { ticket, .. }) = report else { panic!("{report:?}") };
        hand.asked.borrow_mut().waiting.remove(&ticket).unwrap().send(None).unwrap();
        assert_eq!(hand.serving.borrow().get(&deaf), Some(&1));
        timeout(Duration::from_secs(30), serving).await.expect("it is given up").unwrap();
    };
    tasks.run_until(core).await;
    assert!(hand.serving.borrow().is_empty());
}

#[tokio::test]
async fn a_source_that_changed_gives_nothing_and_who_may_not_have_a_file_gets_none() {
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("a.bin");
    std::fs::write(&source, content(300_000)).unwrap();
    let mut alice = Member::new(&dir.path().join("alice"), |_| Box::pin(async { None }));
    let (terms, path) = alice.prepare(&source).await;
    // The same length, other bytes.
    std::fs::write(&source, content(300_001).split_off(1)).unwrap();
    let mut bob = Member::new(&dir.path().join("bob"), opener(alice.jobs.clone(), |_| {}));
    let (name, sources) = ("a.bin".to_owned(), vec![peer(1)]);
    bob.order(FileOrder::Fetch { network: NETWORK, terms: terms.clone(), name, sources }).await;
    // A no that may turn into a yes: it asks again.
    for given in [None, Some(GivenFile { terms: terms.clone(), path })] {
        let asked = alice.report().await;
        let FileReport::Asked { ticket, .. } = asked else { panic!("{asked:?}") };
        alice.order(FileOrder::Answer { ticket, given }).await;
    }
    assert_eq!(alice.report().await, FileReport::Changed { id: terms.id });
    let end = bob.end().await;
    let FileReport::Failed { refused, .. } = end else { panic!("{end:?}") };
    assert_eq!(refused.refusal, Refusal::FileChanged);
}
