//! Writing the chunks of one file, one after the other, while others are checked and opened.
//! Owns: what waits to be written to a file.
//! Must not know: what is in a chunk, what follows from one that is written.
//! Invariants: one thread at most writes to a file, for several would only wait for each other; it goes
//! on for as long as something waits, and holds no thread while nothing does.
//! Start reading at: [`Pen::write`].

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::oneshot;
use tokio::task::spawn_blocking;

use super::disk;
use super::frames::Frame;

/// A chunk that is to be written.
pub(super) struct Due {
    pub(super) file: Arc<File>,
    pub(super) at: u64,
    /// Where it lies in the frame in which it came.
    pub(super) chunk: Range<usize>,
    pub(super) frame: Frame,
}

/// Who writes to one file.
#[derive(Default)]
pub(super) struct Pen(Mutex<Desk>);

#[derive(Default)]
struct Desk {
    due: VecDeque<(Due, oneshot::Sender<io::Result<()>>)>,
    is_writing: bool,
}

impl Pen {
    /// Writes it when its turn comes, and says how it went.
    pub(super) fn write(self: &Arc<Self>, due: Due) -> oneshot::Receiver<io::Result<()>> {
        let (done, written) = oneshot::channel();
        let is_writing = {
            let mut desk = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            desk.due.push_back((due, done));
            std::mem::replace(&mut desk.is_writing, true)
        };
        if !is_writing {
            let pen = Arc::clone(self);
            drop(spawn_blocking(move || pen.write_all()));
        }
        written
    }

    fn write_all(&self) {
        while let Some((due, done)) = self.next() {
            let chunk = due.frame.body().get(due.chunk).unwrap_or_default();
            let written = disk::write_at(&due.file, chunk, due.at);
            // Room for the next one first.
            drop(due.frame);
            // Who wants to know may be gone.
            let _gone = done.send(written);
        }
    }

    fn next(&self) -> Option<(Due, oneshot::Sender<io::Result<()>>)> {
        let mut desk = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let next = desk.due.pop_front();
        desk.is_writing = next.is_some();
        next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn all_that_waits_is_written_and_what_comes_later_too() {
        let file = Arc::new(tempfile::tempfile().unwrap());
        let pen = Arc::new(Pen::default());
        let due = |file: &Arc<File>, at, byte| {
            let (file, frame) = (Arc::clone(file), Frame::of(vec![0, byte, byte, 0]));
            pen.write(Due { file, at, chunk: 1..3, frame })
        };
        for round in 0..3 {
            let written: Vec<_> = (0..4).map(|n| due(&file, n * 2, 4 * round + 1)).collect();
            for one in written {
                one.await.unwrap().unwrap();
            }
            let mut read = [0; 8];
            disk::read_at(&file, &mut read, 0).unwrap();
            assert_eq!(read, [4 * round + 1; 8]);
        }
        // One that cannot be written is told, and keeps nobody from writing the next one.
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("a"), "").unwrap();
        let unwritable = Arc::new(File::open(dir.path().join("a")).unwrap());
        let (bad, good) = (due(&unwritable, 0, 9), due(&file, 0, 9));
        assert!(bad.await.unwrap().is_err());
        good.await.unwrap().unwrap();
    }
}
