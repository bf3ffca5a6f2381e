//! Files between the core and the hand that carries them.
//! Owns: the two queues to that hand's thread, and where it works.
//! Must not know: what an order or a report means.
//! Invariants: nothing here waits on the node's thread; both queues are bounded.
//! Start reading at: [`Files`].

use std::collections::VecDeque;
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
use crate::refusal::{Refusal, Refused};

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
pub(super) struct Files {
    ends: Option<Ends>,
    /// Of orders that the hand did not get.
    missed: VecDeque<FileReport>,
}

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
        let ends = start(setup, queue, reporter)
            .inspect_err(|error| tracing::error!(%error, "files cannot be carried"))
            .map(|closed| Ends { jobs, reports, closed });
        Self { ends: ends.ok(), missed: VecDeque::new() }
    }

    /// Whoever waits for what it does is answered also if there is no hand.
    pub(super) fn order(&mut self, order: FileOrder) {
        let waiting = match &order {
            FileOrder::Prepare { command, .. } => Some(*command),
            _ => None,
        };
        if !self.hand_over(Job::Order(order))
            && let Some(command) = waiting
        {
            let refused = Refused::new(Refusal::Internal, "files are not carried any more");
            self.missed.push_back(FileReport::NotPrepared { command, refused });
        }
    }

    pub(super) fn serve(&self, from: PeerId, stream: FileStream) {
        self.hand_over(Job::Serve(from, Box::new(stream)));
    }

    /// Whether the hand gets it.
    fn hand_over(&self, job: Job) -> bool {
        // The hand takes what is in its queue at once; a full one is a hand that hangs.
        let Some(ends) = &self.ends else { return false };
        let handed = ends.jobs.try_send(job);
        handed
            .inspect_err(|error| tracing::warn!(%error, "something about a file was dropped"))
            .is_ok()
    }

    /// The next report; never, where there is no hand. Cancel safe.
    pub(super) async fn report(&mut self) -> FileReport {
        if let Some(missed) = self.missed.pop_front() {
            return missed;
        }
        if let Some(ends) = self.ends.as_mut() {
            match ends.reports.recv().await {
                Some(report) => return report,
                None => self.ends = None,
            }
        }
        std::future::pending().await
    }

    /// A report that is there already.
    pub(super) fn try_report(&mut self) -> Option<FileReport> {
        let missed = self.missed.pop_front();
        missed.or_else(|| self.ends.as_mut()?.reports.try_recv().ok())
    }

    /// Ends the hand.
    pub(super) async fn end(&mut self) {
        if let Some(Ends { jobs, mut reports, closed }) = self.ends.take() {
            drop(jobs);
            // Nobody waits for room in a queue that is read no more.
            reports.close();
            let _late = tokio::time::timeout(FAREWELL, closed).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::CommandId;
    use crate::terms::FileKey;

    #[tokio::test]
    async fn who_sends_a_file_is_answered_also_if_nobody_carries_it() {
        let mut files = Files::default();
        let prepare = |id| FileOrder::Prepare {
            command: CommandId(id),
            path: "/a".to_owned(),
            name: String::new(),
            key: FileKey([1; 32]),
        };
        files.order(prepare(1));
        files.order(prepare(2));
        let first = files.try_report();
        let second = files.report().await;
        for (report, id) in [(first.unwrap(), 1), (second, 2)] {
            let FileReport::NotPrepared { command, refused } = report else { panic!("{report:?}") };
            assert_eq!((command, refused.refusal), (CommandId(id), Refusal::Internal));
        }
        assert!(files.try_report().is_none());
    }
}
