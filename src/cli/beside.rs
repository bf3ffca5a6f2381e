//! The faces beside the main one: the local socket and the local API.
//! Owns: the thread they run on.
//! Must not know: what is said over them.
//! Invariants: none waits for the main face, and the main face for none; a socket that cannot be
//! opened keeps nobody from talking, an API that was asked for and cannot be opened does.
//! Start reading at: [`Beside::start`].

use crate::config::Config;
use crate::node::Node;
use crate::refusal::Refused;

/// What to open.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    /// The home; `None`: nothing at all.
    #[cfg(unix)]
    home: Option<std::path::PathBuf>,
    #[cfg(unix)]
    api: Option<crate::api::Address>,
    /// Whom what is posted elsewhere may go to.
    #[cfg(unix)]
    trust: crate::api::Trust,
}

#[cfg(not(unix))]
impl Wanted {
    pub(super) fn of(_: &Config) -> Result<Self, Refused> {
        Ok(Self::default())
    }
}

/// Whether `join` would take what the settings say of the API.
///
/// # Errors
/// As `join` has them.
#[cfg(unix)]
pub(super) fn check(config: &Config) -> Result<(), Refused> {
    if let Some(api) = &config.api {
        crate::api::Address::parse(api)?;
        crate::api::Trust::open(config.webhook_ca.clone())?;
    }
    Ok(())
}

#[cfg(not(unix))]
pub(super) fn check(_: &Config) -> Result<(), Refused> {
    Ok(())
}

/// The faces that run.
#[derive(Debug, Default)]
pub(super) struct Beside {
    #[cfg(unix)]
    ended: Option<std::sync::mpsc::Receiver<()>>,
    #[cfg(unix)]
    files: Vec<std::path::PathBuf>,
}

#[cfg(not(unix))]
impl Beside {
    pub(super) fn start(_: &Node, _: Wanted) -> Result<Self, Refused> {
        Ok(Self::default())
    }

    pub(super) fn end(self) {}
}

#[cfg(unix)]
impl Wanted {
    /// What the settings ask for.
    ///
    /// # Errors
    /// An address of the API that others could reach, or that is none; a file without roots.
    pub(super) fn of(config: &Config) -> Result<Self, Refused> {
        let api = config.api.as_deref().map(crate::api::Address::parse).transpose()?;
        // Judged before anything starts.
        let trust = api.is_some().then(|| crate::api::Trust::open(config.webhook_ca.clone()));
        let trust = trust.transpose()?.unwrap_or_default();
        Ok(Self { home: Some(config.member_home()?.to_owned()), api, trust })
    }
}

/// Where the API listens, for other programs; in the home while it does.
#[cfg(unix)]
pub(super) const ADDRESS: &str = "api.address";

#[cfg(unix)]
impl Beside {
    /// Opens them.
    ///
    /// # Errors
    /// What keeps the API from listening.
    pub(super) fn start(node: &Node, wanted: Wanted) -> Result<Self, Refused> {
        let Some(home) = wanted.home else { return Ok(Self::default()) };
        let handle = node.handle();
        let runtime = super::serve::runtime()?;
        let (end, ended) = std::sync::mpsc::channel();
        let (opened, opening) = std::sync::mpsc::channel();
        let path = super::local::path(&home);
        let mut files = vec![path.clone()];
        if let Some(api) = &wanted.api {
            files.push(home.join(ADDRESS));
            if let crate::api::Address::Unix(path) = api {
                files.push(path.clone());
            }
        }
        super::serve::spawn("faces", move || {
            runtime.block_on(async {
                let socket = super::local::server::listen(&path).inspect_err(|refused| {
                    tracing::warn!(%refused, "other programs cannot reach this member");
                });
                let api = match &wanted.api {
                    None => Ok(None),
                    Some(address) => open(address, &home, wanted.trust).await.map(Some),
                };
                let api = match api {
                    Ok(api) => api,
                    Err(refused) => {
                        if socket.is_ok() {
                            std::fs::remove_file(&path).ok();
                        }
                        return drop(opened.send(Err(refused)));
                    }
                };
                // Whoever started us may have gone.
                opened.send(Ok(())).ok();
                let api = async {
                    if let Some(api) = api {
                        api.serve(handle.clone(), std::sync::Arc::new(super::contract::Json)).await;
                    }
                };
                let socket = async {
                    if let Ok(socket) = socket {
                        super::local::server::serve(handle.clone(), socket).await;
                    }
                };
                tokio::join!(api, socket);
            });
            end.send(()).ok();
        })?;
        match opening.recv() {
            Ok(Ok(())) => Ok(Self { ended: Some(ended), files }),
            Ok(Err(refused)) => Err(refused),
            Err(_) => Ok(Self::default()),
        }
    }

    /// The node has ended: who is connected hears so, if it listens.
    pub(super) fn end(self) {
        for file in &self.files {
            std::fs::remove_file(file).ok();
        }
        if let Some(ended) = self.ended {
            // A deaf connection is no reason to stay.
            ended.recv_timeout(std::time::Duration::from_millis(500)).ok();
        }
    }
}

#[cfg(unix)]
async fn open(
    address: &crate::api::Address,
    home: &std::path::Path,
    trust: crate::api::Trust,
) -> Result<crate::api::Api, Refused> {
    let api = crate::api::Api::open(address, home, trust).await?;
    let place = api.place();
    tracing::info!(place, "the local API listens");
    let file = home.join(ADDRESS);
    if let Err(error) = std::fs::write(&file, format!("{place}\n")) {
        tracing::warn!(path = %file.display(), %error, "where the API listens is not noted");
    }
    Ok(api)
}
