//! Files between the core and the hand that carries them.
//! Owns: the two queues to that hand's thread, and where it works.
//! Must not know: what an order or a report means.
//! Invariants: nothing here waits on the node's thread; both queues are bounded.
//! Start reading at: [`Files`].

use std::path::PathBuf;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use super::clock::Clock;
use crate::config::Config;
use crate::files::{Job, Opened, Setup, Stream, start};
use crate::ids::PeerId;
use crate::limits::FILE_ORDERS_MAX;
use crate::net::{FileStream, NetHandle};
use crate::protocol::{FileOrder, FileReport};

/// How long the hand may take to note how far it came.
const FAREWELL: Duration = Duration::from_secs(1);

/// Where files lie.
#[derive(Clone, Debug)]
pub(super) struct Places {
    /// In the home: what must be known again.
    pub(super) shelf: PathBuf,
    /// Those from others.
    pub(super) downloads: PathBuf,
    /// Drawn for this process.
    pub(super) start: u32,
}

impl Places {
    /// As configured.
    pub(super) fn of(config: &Config, home: &std::path::Path, start: u32) -> Self {
        // What lies there is found again by a process that starts in another directory.
        let absolute = |path: PathBuf| std::path::absolute(&path).unwrap_or(path);
        let shelf = absolute(home.join("files"));
        let received = || shelf.join("received");
        let downloads = config.downloads.clone().map_or_else(received, absolute);
        Self { shelf, downloads, start }
    }
}

/// The way to the hand and back; of roles without files to nobody.
#[derive(Debug, Default)]
pub(super) struct Files(Option<Ends>);

#[derive(Debug)]
struct Ends {
    jobs: mpsc::Sender<Job>,
    reports: mpsc::Receiver<FileReport>,
    closed: oneshot::Receiver<()>,
}

impl Files {
    /// Starts the hand.
    pub(super) fn start(places: Places, net: &NetHandle, clock: Clock) -> Self {
        let (jobs, queue) = mpsc::channel(FILE_ORDERS_MAX);
        let (reporter, reports) = mpsc::channel(FILE_ORDERS_MAX);
        let here = tokio::runtime::Handle::current();
        let net = net.clone();
        let open = move |peer: PeerId| -> Opened {
            let net = net.clone();
            Box::pin(async move {
                let stream: Stream = Box::new(net.open_file(peer).await?);
                Some(stream)
            })
        };
        let setup = Setup {
            shelf: places.shelf,
            downloads: places.downloads,
            open: Box::new(open),
            beside: Box::new(move |task| drop(here.spawn(task))),
            clock: Box::new(move || clock.now().mono),
            start: places.start,
        };
        match start(setup, queue, reporter) {
            Ok(closed) => Self(Some(Ends { jobs, reports, closed })),
            Err(error) => {
                tracing::error!(%error, "files cannot be carried");
                Self(None)
            }
        }
    }

    pub(super) fn order(&self, order: FileOrder) {
        self.hand_over(Job::Order(order));
    }

    pub(super) fn serve(&self, from: PeerId, stream: FileStream) {
        self.hand_over(Job::Serve(from, Box::new(stream)));
    }

    fn hand_over(&self, job: Job) {
        // The hand takes what is in its queue at once; a full one is a hand that hangs.
        if let Some(ends) = &self.0
            && let Err(error) = ends.jobs.try_send(job)
        {
            tracing::warn!(%error, "something about a file was dropped");
        }
    }

    /// The next report; never, where there is no hand. Cancel safe.
    pub(super) async fn report(&mut self) -> FileReport {
        if let Some(ends) = self.0.as_mut() {
            match ends.reports.recv().await {
                Some(report) => return report,
                None => self.0 = None,
            }
        }
        std::future::pending().await
    }

    /// A report that is there already.
    pub(super) fn try_report(&mut self) -> Option<FileReport> {
        self.0.as_mut()?.reports.try_recv().ok()
    }

    /// Ends the hand.
    pub(super) async fn end(&mut self) {
        if let Some(Ends { jobs, mut reports, closed }) = self.0.take() {
            drop(jobs);
            // Nobody waits for room in a queue that is read no more.
            reports.close();
            let _late = tokio::time::timeout(FAREWELL, closed).await;
        }
    }
}
