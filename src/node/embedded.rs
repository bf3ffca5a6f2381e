//! Bootstrap and key authority inside a member's process, when nobody else runs them.
//! Owns: the lock that says who hosts, and the two hosted roles.
//! Must not know: what the roles do.
//! Invariants: at most one process of a user hosts; their state outlives the process that hosted.
//! Start reading at: [`Embedded::host`].

use std::fs::{File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use super::{Node, Role, start};
use crate::config::Config;
use crate::protocol::Notice;
use crate::refusal::{Refusal, Refused};
use crate::store::Held;

/// How long to wait after the addresses were found taken by others.
const RETRY: Duration = Duration::from_millis(1_000);

/// The hosting of both roles, or the wait for it.
#[derive(Debug)]
pub(super) struct Embedded {
    stop: Option<oneshot::Sender<()>>,
    done: Option<oneshot::Receiver<()>>,
}

/// Both roles, running here.
struct Hosted {
    bootstrap: Node,
    authority: Node,
    _lock: Held,
}

impl Embedded {
    /// Hosts now if nobody does, and takes over whenever the one who hosts ends.
    pub(super) async fn host(config: Config, infos: mpsc::Sender<Notice>) -> Self {
        let (stop, stopped) = oneshot::channel();
        let (finished, done) = oneshot::channel();
        let first = match try_lock(&config.embedded_home) {
            Ok(Some(lock)) => begin(&config, lock, &infos).await,
            Ok(None) => None,
            Err(refused) => {
                tracing::warn!(%refused, "cannot host bootstrap and key authority");
                None
            }
        };
        tokio::spawn(async move {
            keep(config, infos, first, stopped).await;
            // Nobody waiting is fine: the process is ending.
            finished.send(()).ok();
        });
        Self { stop: Some(stop), done: Some(done) }
    }

    /// Ends the hosted roles, so that another process takes over. Cancel safe.
    pub(super) async fn end(&mut self) {
        drop(self.stop.take());
        if let Some(done) = self.done.as_mut() {
            // An error is the end, too.
            done.await.ok();
            self.done = None;
        }
    }
}

/// Hosts, or waits for its turn, until told to stop.
async fn keep(
    config: Config,
    infos: mpsc::Sender<Notice>,
    first: Option<Hosted>,
    mut stopped: oneshot::Receiver<()>,
) {
    let mut hosted = first;
    loop {
        match hosted.take() {
            Some(mut running) => {
                tokio::select! {
                    _ = &mut stopped => return running.end().await,
                    () = running.ended() => {}
                }
            }
            None => {
                let turn = next_turn(config.embedded_home.clone());
                let lock = tokio::select! {
                    _ = &mut stopped => return,
                    lock = turn => lock,
                };
                if let Some(lock) = lock {
                    hosted = begin(&config, lock, &infos).await;
                }
                if hosted.is_none() {
                    tokio::select! {
                        _ = &mut stopped => return,
                        () = tokio::time::sleep(RETRY) => {}
                    }
                }
            }
        }
    }
}

impl Hosted {
    async fn end(&mut self) {
        self.bootstrap.input().leave();
        self.authority.input().leave();
        self.ended().await;
        while self.bootstrap.notice().await.is_some() {}
        while self.authority.notice().await.is_some() {}
    }

    /// Reads what the roles say until one of them ends.
    async fn ended(&mut self) {
        loop {
            let notice = tokio::select! {
                notice = self.bootstrap.notice() => notice,
                notice = self.authority.notice() => notice,
            };
            match notice {
                None | Some(Notice::Exited) => return,
                Some(Notice::Failed { refused, .. }) => tracing::warn!(%refused, "embedded role"),
                Some(_) => {}
            }
        }
    }
}

/// Starts both roles; `None` if their addresses are taken or belong to another machine.
async fn begin(config: &Config, lock: Held, infos: &mpsc::Sender<Notice>) -> Option<Hosted> {
    let role = |home: &str, listen: Vec<String>| Config {
        home: config.embedded_home.join(home),
        listen,
        mdns: false,
        ..config.clone()
    };
    let bootstrap = role("bootstrap", config.bootstrap.clone());
    let authority = role("keyauth", vec![config.keyauth.clone()]);
    let started = async {
        let bootstrap = start::start(Role::Bootstrap, bootstrap).await?;
        let authority = start::start(Role::Authority, authority).await?;
        Ok::<_, Refused>((bootstrap, authority))
    };
    match started.await {
        Ok((bootstrap, authority)) => {
            let text = format!(
                "hosting the bootstrap ({}) and the key authority ({}) in this process",
                config.bootstrap.join(", "),
                config.keyauth
            );
            drop(infos.try_send(Notice::Info { text }));
            Some(Hosted { bootstrap, authority, _lock: lock })
        }
        Err(refused) if refused.refusal == Refusal::ListenFailed => {
            tracing::debug!(%refused, "somebody else hosts");
            None
        }
        Err(refused) => {
            let text = format!("cannot host bootstrap and key authority: {refused}");
            drop(infos.try_send(Notice::Info { text }));
            None
        }
    }
}

fn open(home: &Path) -> std::io::Result<File> {
    std::fs::create_dir_all(home)?;
    OpenOptions::new().create(true).truncate(false).write(true).open(home.join("lock"))
}

fn try_lock(home: &Path) -> Result<Option<Held>, Refused> {
    let unusable = |error: std::io::Error| {
        Refused::new(Refusal::HomeUnusable, format!("{}: {error}", home.display()))
    };
    match Held::try_new(open(home).map_err(unusable)?) {
        Ok(held) => Ok(Some(held)),
        Err((_, TryLockError::WouldBlock)) => Ok(None),
        Err((_, TryLockError::Error(error))) => Err(unusable(error)),
    }
}

/// Waits until the one who hosts ends: the system then gives the lock on at once.
async fn next_turn(home: PathBuf) -> Option<Held> {
    let (give, take) = oneshot::channel();
    let wait = move || {
        let locked = open(&home).and_then(Held::wait);
        // Nobody may wait any more; the lock then goes on to the next.
        drop(give.send(locked.ok()));
    };
    std::thread::Builder::new().name("turn".to_owned()).spawn(wait).ok()?;
    take.await.ok().flatten()
}
