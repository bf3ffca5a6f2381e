//! The local API: what a member can do, over HTTP, for programs on the same machine.
//! Owns: where it listens, and what a request passes on its way in.
//! Must not know: how a command or an event is written as JSON: that is the contract's.
//! Invariants: nobody from another machine is answered, and nobody without a token but by `/healthz`
//! and the files of the web page, which are the same for all;
//! every request is bounded before it is read; a client that is slow slows only itself.
//! Start reading at: [`Api::serve`], then `routes.rs`.
//!
//! ```text
//!   request ─► guard (host, origin, size, token) ─► table of routes ─► Contract ─► Handle
//!                                                └► events: Follow ─► SSE or WebSocket
//! ```

mod access;
mod bounded;
mod drain;
mod export;
mod files;
mod group;
mod guard;
mod once;
mod openapi;
mod outgoing;
mod page;
mod problem;
mod routes;
mod schemas;
mod send;
mod stream;
#[cfg(test)]
mod tests;
mod tls;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{get, post};
use futures::future::BoxFuture;
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{Semaphore, mpsc};

use self::access::Access;
pub use self::access::{
    Grant, Scope, Token, create_hook, create_token, first_token, list_tokens, revoke_token,
};
use self::bounded::Bounded;
use self::group::Timeline;
use self::once::Once;
pub use self::openapi::{PathHelp, paths};
use self::outgoing::Outgoing;
#[cfg(test)]
pub(crate) use self::routes::commands;
pub use self::tls::Trust;
use crate::limits::{API_BODY_BYTES_MAX, API_CONNECTIONS_MAX, API_STREAMS_MAX};
use crate::node::Handle;
use crate::protocol::{Command, Notice};
use crate::refusal::{Refusal, Refused};

/// How long whoever waits for an answer has to take it, once the node has ended.
const LAST_ANSWERS: Duration = Duration::from_secs(1);

/// How commands and events are written: the `--json` contract, which the door keeps.
pub trait Contract: std::fmt::Debug + Send + Sync + 'static {
    /// Understands a command.
    ///
    /// # Refusals
    /// What keeps it from being one.
    fn understand(&self, line: &[u8]) -> Result<Asking, Refused>;

    /// An event as a line.
    fn event(&self, notice: Notice) -> Vec<u8>;

    /// Writes messages down, as far as they are taken.
    ///
    /// # Refusals
    /// What keeps them from being told.
    fn export(&self, handle: Handle, what: Written) -> BoxFuture<'static, Result<(), Refused>>;
}

/// What is to be written down.
#[derive(Debug)]
pub struct Written {
    /// Of which room; `None`: of all.
    pub room: Option<String>,
    /// `jsonl`, `md` or `txt`.
    pub format: String,
    /// Where the parts go, in their order.
    pub give: mpsc::Sender<Result<String, Refused>>,
}

/// A command that was understood.
pub struct Asking {
    /// What to ask.
    pub command: Command,
    /// Writes the answer as lines.
    pub answer: Box<dyn FnOnce(Notice) -> Vec<u8> + Send>,
}

impl std::fmt::Debug for Asking {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Asking").field("command", &self.command).finish_non_exhaustive()
    }
}

/// Files taken in at once.
const UPLOADS_AT_ONCE: usize = 4;

/// Where the API listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// On a port of this machine alone.
    Loopback(std::net::SocketAddr),
    /// On a socket in the file system, 0600.
    Unix(PathBuf),
}

impl Address {
    /// From `127.0.0.1:8700`, `localhost:8700`, `[::1]:8700` or `unix:PATH`.
    ///
    /// # Refusals
    /// [`Refusal::ApiExposed`] for an address that other machines reach, [`Refusal::AddressBad`].
    pub fn parse(text: &str) -> Result<Self, Refused> {
        if let Some(path) = text.strip_prefix("unix:").filter(|path| !path.is_empty()) {
            return Ok(Self::Unix(PathBuf::from(path)));
        }
        let text = match text.strip_prefix("localhost:") {
            Some(port) => format!("127.0.0.1:{port}"),
            None => text.to_owned(),
        };
        let address: std::net::SocketAddr = text
            .parse()
            .map_err(|_| Refused::new(Refusal::AddressBad, format!("{text}, for the API")))?;
        match address.ip().is_loopback() {
            true => Ok(Self::Loopback(address)),
            false => Err(Refused::new(Refusal::ApiExposed, text)),
        }
    }
}

/// What a request can reach.
#[derive(Debug)]
struct Shared {
    handle: Handle,
    contract: Arc<dyn Contract>,
    access: Access,
    once: Once,
    outgoing: Outgoing,
    timeline: Timeline,
    streams: Arc<Semaphore>,
    uploads: Semaphore,
    exports: Arc<Semaphore>,
    home: PathBuf,
    requests: AtomicU64,
    refused: AtomicU64,
}

type Here = Arc<Shared>;

/// An opened API, not yet serving.
#[derive(Debug)]
pub struct Api {
    listener: Listener,
    home: PathBuf,
    trust: Trust,
}

#[derive(Debug)]
enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener, PathBuf),
}

impl Api {
    /// Opens the socket; the first time also makes a token for everything, in `api.token` of the
    /// home. What is posted elsewhere goes to whom `trust` says.
    ///
    /// # Refusals
    /// [`Refusal::ListenFailed`], [`Refusal::HomeUnusable`].
    pub async fn open(address: &Address, home: &Path, trust: Trust) -> Result<Self, Refused> {
        first_token(home)?;
        let failed = |error: std::io::Error, place: String| {
            Refused::new(Refusal::ListenFailed, format!("the API on {place}: {error}"))
        };
        let listener = match address {
            Address::Loopback(at) => {
                let bound = TcpListener::bind(at).await;
                Listener::Tcp(bound.map_err(|error| failed(error, at.to_string()))?)
            }
            Address::Unix(path) => {
                let bound = crate::node::local_socket(path);
                let bound = bound.map_err(|error| failed(error, path.display().to_string()))?;
                Listener::Unix(bound, path.clone())
            }
        };
        Ok(Self { listener, home: home.to_owned(), trust })
    }

    /// Where it listens, for a person.
    pub fn place(&self) -> String {
        match &self.listener {
            Listener::Tcp(listener) => match listener.local_addr() {
                Ok(address) => format!("http://{address}"),
                Err(error) => error.to_string(),
            },
            // The socket was bound under another name, and renamed.
            Listener::Unix(_, path) => format!("unix:{}", path.display()),
        }
    }

    /// Serves until the node has ended.
    pub async fn serve(self, handle: Handle, contract: Arc<dyn Contract>) {
        let port = match &self.listener {
            Listener::Tcp(listener) => listener.local_addr().ok().map(|address| address.port()),
            Listener::Unix(..) => None,
        };
        let here = Arc::new(Shared {
            access: Access::new(&self.home, port),
            once: Once::open(&self.home),
            outgoing: Outgoing::open(&self.home, self.trust),
            timeline: Timeline::default(),
            streams: Arc::new(Semaphore::new(API_STREAMS_MAX)),
            uploads: Semaphore::new(UPLOADS_AT_ONCE),
            exports: Arc::new(Semaphore::new(export::AT_ONCE)),
            home: self.home,
            requests: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            handle: handle.clone(),
            contract,
        });
        let beside = [
            tokio::spawn(group::watch(Arc::clone(&here))),
            tokio::spawn(outgoing::run(Arc::clone(&here))),
        ];
        let app = router(here);
        let ended = {
            let handle = handle.clone();
            async move { handle.ended().await }
        };
        let served = async {
            match self.listener {
                Listener::Tcp(listener) => {
                    let listener = Bounded::new(listener, API_CONNECTIONS_MAX);
                    axum::serve(listener, app).with_graceful_shutdown(ended).await
                }
                Listener::Unix(listener, _) => {
                    let listener = Bounded::new(listener, API_CONNECTIONS_MAX);
                    axum::serve(listener, app).with_graceful_shutdown(ended).await
                }
            }
        };
        tokio::select! {
            // Streams that are open end with the node by themselves; who had it leave is told so.
            () = async {
                handle.ended().await;
                tokio::time::sleep(LAST_ANSWERS).await;
            } => {}
            served = served => {
                if let Err(error) = served {
                    tracing::warn!(%error, "the API has ended");
                }
            }
        }
        for task in beside {
            task.abort();
        }
    }
}

/// Everything that is served.
fn router(here: Here) -> Router {
    let mut app = Router::new()
        .route("/healthz", get(group::health))
        .route("/metrics", get(group::metrics))
        .route("/v1/openapi.json", get(openapi::serve))
        .route("/v1/group", get(group::picture))
        .route("/v1/events", get(stream::events))
        .route("/v1/socket", get(stream::socket))
        .route("/v1/rooms/{room}/messages", post(send::to_room))
        .route("/v1/rooms/{room}/files", post(files::upload))
        .route("/v1/rooms/{room}/export", get(export::of_room))
        .route("/v1/export", get(export::of_all))
        .route("/v1/files/{id}/content", get(files::content))
        .route("/v1/members/{name}/messages", post(send::to_member))
        .route("/v1/hooks/{token}", post(send::by_hook))
        .route("/v1/webhooks", get(outgoing::list).post(outgoing::add))
        .route("/v1/webhooks/dead", get(outgoing::dead))
        .route("/v1/webhooks/{id}", axum::routing::delete(outgoing::remove));
    app = page::add(routes::add(app));
    app.fallback(problem::not_found)
        .method_not_allowed_fallback(problem::not_allowed)
        .layer(axum::middleware::from_fn_with_state(Arc::clone(&here), guard::pass))
        .layer(DefaultBodyLimit::max(API_BODY_BYTES_MAX))
        .with_state(here)
}
