//! Outgoing webhooks: what is said is posted to other programs, signed, tried again, never lost
//! unseen.
//! Owns: the list of them in the home, how far each has come, and what could not be delivered.
//! Must not know: how a message is written as JSON.
//! Invariants: each goes on from its own cursor, so one that fails holds up no other and nothing
//! queues in memory; addresses of this machine and its neighbourhood are refused unless allowed; a
//! message is delivered at least once, or listed as dead; what is for `https` never goes in the
//! clear, and no answer sends it elsewhere.
//! Start reading at: [`run`].

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Extension, Path as InPath, State};
use axum::http::{StatusCode, Uri};
use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::Sha256;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::Here;
use super::access::Scope;
use super::guard::Granted;
use super::problem::Problem;
use super::tls::Trust;
use crate::limits::{API_DEAD_MAX, API_WEBHOOKS_MAX};
use crate::node::{self, Followed};
use crate::protocol::{MessageView, Notice};
use crate::refusal::{Refusal, Refused};

const FILE: &str = "api.webhooks";
const DEAD: &str = "api.dead";
const BYTES_MAX: u64 = 4 << 20;
/// How often a message is tried before it is dead.
const TRIES: u32 = 8;
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// How long a target may take.
const WITHIN: Duration = Duration::from_secs(10);
/// Addresses of one name that are tried.
const ADDRESSES_MAX: usize = 8;
/// What is read of its answer.
const ANSWER_BYTES: usize = 4 << 10;

/// An outgoing webhook.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Webhook {
    id: String,
    url: String,
    secret: String,
    /// Of this room alone; empty: of all.
    room: String,
    allow_local: bool,
    /// The last place that was delivered, or is dead.
    cursor: u64,
}

/// All of them.
#[derive(Debug)]
pub(super) struct Outgoing {
    home: PathBuf,
    hooks: Mutex<BTreeMap<String, Webhook>>,
    changed: Notify,
    trust: Trust,
    /// Why the last try of those failed whose message waits to be tried again.
    failing: Mutex<BTreeMap<String, String>>,
}

impl Outgoing {
    /// As an earlier process left them.
    pub(super) fn open(home: &Path, trust: Trust) -> Self {
        let hooks: Vec<Webhook> = read(&home.join(FILE))
            .and_then(|text| serde_json::from_str(&text).ok())
            .unwrap_or_default();
        let hooks = hooks.into_iter().map(|hook| (hook.id.clone(), hook)).collect();
        let (hooks, failing) = (Mutex::new(hooks), Mutex::default());
        Self { home: home.to_owned(), hooks, changed: Notify::new(), trust, failing }
    }

    fn hooks(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Webhook>> {
        self.hooks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn failing(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, String>> {
        self.failing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn store(&self, hooks: &BTreeMap<String, Webhook>) -> Result<(), Refused> {
        let path = self.home.join(FILE);
        let all: Vec<&Webhook> = hooks.values().collect();
        let text = json!(all).to_string();
        replace(&path, text.as_bytes()).map_err(|error| {
            Refused::new(Refusal::HomeUnusable, format!("{}: {error}", path.display()))
        })
    }

    /// How far one has come.
    fn passed(&self, id: &str, cursor: u64) {
        self.failing().remove(id);
        let mut hooks = self.hooks();
        let Some(hook) = hooks.get_mut(id) else { return };
        hook.cursor = cursor;
        if let Err(refused) = self.store(&hooks) {
            tracing::warn!(%refused, "how far a webhook has come is not noted");
        }
    }

    fn bury(&self, hook: &Webhook, cursor: u64, message: &Value, why: &str) {
        tracing::warn!(webhook = hook.id, cursor, why, "a message could not be delivered");
        let path = self.home.join(DEAD);
        let text = read(&path).unwrap_or_default();
        let row = json!({
            "webhook": hook.id, "cursor": cursor, "at": node::wall().rfc3339(), "why": why,
            "message": message,
        });
        let mut lines: Vec<&str> = text.lines().collect();
        let row = row.to_string();
        lines.push(&row);
        let first = lines.len().saturating_sub(API_DEAD_MAX);
        let mut kept = lines.split_off(first).join("\n");
        kept.push('\n');
        if let Err(error) = replace(&path, kept.as_bytes()) {
            tracing::warn!(path = %path.display(), %error, "what is dead is not noted");
        }
    }
}

fn read(path: &Path) -> Option<String> {
    let mut text = String::new();
    std::fs::File::open(path).ok()?.take(BYTES_MAX).read_to_string(&mut text).ok()?;
    Some(text)
}

fn replace(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let fresh = path.with_extension("new");
    let mut options = std::fs::OpenOptions::new();
    options.create(true).write(true).truncate(true);
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&fresh)?;
    file.write_all(bytes)?;
    std::fs::rename(&fresh, path)
}

/// Delivers, one task a webhook, until the member ends.
pub(super) async fn run(here: Here) {
    let mut tasks: BTreeMap<String, Task> = BTreeMap::new();
    loop {
        let wanted: Vec<Webhook> = here.outgoing.hooks().values().cloned().collect();
        tasks.retain(|id, _| wanted.iter().any(|hook| hook.id == *id));
        for hook in wanted {
            let here = Here::clone(&here);
            tasks.entry(hook.id.clone()).or_insert_with(|| {
                Task(tokio::spawn(async move { deliver_all(&here, hook).await }))
            });
        }
        here.outgoing.changed.notified().await;
    }
}

/// Ends with whoever holds it.
struct Task(JoinHandle<()>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn deliver_all(here: &Here, hook: Webhook) {
    let mut follow = match here.handle.follow(Some(hook.cursor)).await {
        Ok(follow) => follow,
        Err(refused) => {
            tracing::warn!(webhook = hook.id, %refused, "a webhook starts from now on");
            match here.handle.follow(None).await {
                Ok(follow) => follow,
                Err(_) => return,
            }
        }
    };
    while let Ok(Some(followed)) = follow.next().await {
        let (cursor, message) = match followed {
            Followed::Message(cursor, message) => (cursor, message),
            Followed::Gap(upto) => {
                let why = "messages up to this place were deleted before they were delivered";
                here.outgoing.bury(&hook, upto, &Value::Null, why);
                continue;
            }
            Followed::CaughtUp(_) | Followed::Live(_) => continue,
        };
        let is_meant = hook.room.is_empty() || hook.room == message.room;
        if is_meant {
            deliver(here, &hook, cursor, *message).await;
        }
        here.outgoing.passed(&hook.id, cursor);
    }
}

async fn deliver(here: &Here, hook: &Webhook, cursor: u64, message: MessageView) {
    let line = here.contract.event(Notice::Message(message));
    let mut fields: Value = serde_json::from_slice(&line).unwrap_or_default();
    if let Some(fields) = fields.as_object_mut() {
        fields.insert("cursor".to_owned(), cursor.into());
    }
    let body = fields.to_string();
    let mut pause = FIRST_PAUSE;
    let mut why = String::new();
    for round in 0..TRIES {
        if round > 0 {
            tokio::time::sleep(pause).await;
            pause = pause.saturating_mul(2).min(LONGEST_PAUSE);
        }
        let posting = post(&here.outgoing.trust, hook, cursor, &body);
        match tokio::time::timeout(WITHIN, posting).await {
            Ok(Ok(status)) if (200..300).contains(&status) => return,
            Ok(Ok(status)) => {
                why = match status {
                    300..400 => format!("status {status}; nothing is sent on to elsewhere"),
                    _ => format!("status {status}"),
                };
                // It says that the request is wrong; it would be again.
                if (400..500).contains(&status) && !matches!(status, 408 | 425 | 429) {
                    break;
                }
            }
            Ok(Err(error)) => why = error,
            Err(_) => why = format!("no answer within {} s", WITHIN.as_secs()),
        }
        here.outgoing.failing().insert(hook.id.clone(), why.clone());
    }
    here.outgoing.bury(hook, cursor, &fields, &why);
}

/// Posts once; the status of the answer, or why there is none.
async fn post(trust: &Trust, hook: &Webhook, cursor: u64, body: &str) -> Result<u16, String> {
    let target = Target::parse(&hook.url)?;
    let addresses = target.resolve(hook.allow_local).await?;
    let stamp = node::wall().0.checked_div(1_000).unwrap_or(0).to_string();
    let request = format!(
        "POST {} HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\nUser-Agent: p2pgroup/{}\r\nX-P2pgroup-Webhook: {}\r\n\
         X-P2pgroup-Cursor: {cursor}\r\nX-P2pgroup-Timestamp: {stamp}\r\n\
         X-P2pgroup-Signature: sha256={}\r\nConnection: close\r\n\r\n{body}",
        target.path,
        target.host,
        body.len(),
        env!("CARGO_PKG_VERSION"),
        hook.id,
        signature(&hook.secret, &stamp, body),
    );
    let stream = TcpStream::connect(&*addresses).await.map_err(|error| error.to_string())?;
    match target.is_sealed {
        true => exchange(trust.session(&target.name, stream).await?, &request).await,
        false => exchange(stream, &request).await,
    }
}

/// Says it, and hears the status.
async fn exchange(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    request: &str,
) -> Result<u16, String> {
    let plain = |error: std::io::Error| error.to_string();
    stream.write_all(request.as_bytes()).await.map_err(plain)?;
    stream.flush().await.map_err(plain)?;
    let mut answer = Vec::new();
    let mut part = [0; 512];
    while answer.len() < ANSWER_BYTES && !answer.contains(&b'\n') {
        let count = stream.read(&mut part).await.map_err(plain)?;
        if count == 0 {
            break;
        }
        answer.extend_from_slice(part.get(..count).unwrap_or_default());
    }
    status_of(&answer).ok_or_else(|| "the answer is no HTTP".to_owned())
}

fn status_of(answer: &[u8]) -> Option<u16> {
    let line = answer.split(|byte| *byte == b'\n').next()?;
    let line = std::str::from_utf8(line).ok()?;
    let mut words = line.split_ascii_whitespace();
    words.next().filter(|version| version.starts_with("HTTP/1."))?;
    words.next()?.parse().ok().filter(|status| (100..600).contains(status))
}

/// HMAC-SHA256 over the time and the body, with a dot between, in hex.
fn signature(secret: &str, stamp: &str, body: &str) -> String {
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.as_bytes()) else {
        // Every length is a key.
        return String::new();
    };
    for part in [stamp, ".", body] {
        mac.update(part.as_bytes());
    }
    mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Where to post.
#[derive(Debug, PartialEq, Eq)]
struct Target {
    /// Whether by TLS.
    is_sealed: bool,
    /// As it is called, without its port.
    name: String,
    host: String,
    at: String,
    path: String,
}

impl Target {
    fn parse(url: &str) -> Result<Self, String> {
        let uri: Uri = url.parse().map_err(|_| "this is no URL".to_owned())?;
        let is_sealed = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err("only https:// and http:// are known".to_owned()),
        };
        let authority = uri.authority().ok_or("the URL names no host")?;
        if authority.as_str().contains('@') {
            return Err("a URL holds no password here; the signature proves who posts".to_owned());
        }
        let host = authority.host();
        let port = authority.port_u16().unwrap_or(if is_sealed { 443 } else { 80 });
        let path = uri.path_and_query().map_or("/", |it| it.as_str());
        Ok(Self {
            is_sealed,
            name: host.to_owned(),
            host: authority.as_str().to_owned(),
            at: format!("{host}:{port}"),
            path: path.to_owned(),
        })
    }

    /// The addresses; each time anew, and checked as they are used: a name may come to mean another.
    async fn resolve(&self, allow_local: bool) -> Result<Vec<SocketAddr>, String> {
        let found = tokio::net::lookup_host(&self.at).await.map_err(|it| it.to_string())?;
        let addresses: Vec<SocketAddr> = found.take(ADDRESSES_MAX).collect();
        if addresses.is_empty() {
            return Err("the name has no address".to_owned());
        }
        if let Some(no) = addresses.iter().find(|it| is_forbidden(it.ip(), allow_local)) {
            return Err(format!("{} is an address of this machine or its network", no.ip()));
        }
        Ok(addresses)
    }
}

/// What a webhook does not reach. Link-local addresses lead to what hosts tell their guests about
/// themselves, secrets included: never.
fn is_forbidden(ip: IpAddr, allow_local: bool) -> bool {
    let ip = match ip {
        IpAddr::V6(six) => carried(six).map_or(IpAddr::V6(six), IpAddr::V4),
        four @ IpAddr::V4(_) => four,
    };
    let (is_never, is_local) = match ip {
        IpAddr::V4(four) => (
            four.is_link_local() || four.is_broadcast() || four.is_multicast(),
            four.is_loopback() || four.is_private() || is_near(four),
        ),
        IpAddr::V6(six) => (
            six.is_unicast_link_local() || six.is_multicast(),
            six.is_loopback() || six.is_unique_local() || six.is_unspecified(),
        ),
    };
    is_never || (is_local && !allow_local)
}

/// This network (0.0.0.0/8), and the one between a carrier and its customers (100.64.0.0/10), in
/// which some clouds tell their guests about themselves.
fn is_near(four: Ipv4Addr) -> bool {
    let [first, second, ..] = four.octets();
    first == 0 || (first == 100 && second & 0xC0 == 64)
}

/// The address of the older kind that one of the newer kind leads to: mapped, by NAT64 or by 6to4.
fn carried(six: Ipv6Addr) -> Option<Ipv4Addr> {
    let four = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        Some(Ipv4Addr::new(a, b, c, d))
    };
    match six.segments() {
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => four(high, low),
        [0x2002, high, low, ..] => four(high, low),
        _ => six.to_ipv4_mapped(),
    }
}

/// What is to be added.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    url: String,
    #[serde(default)]
    room: String,
    /// Whether it may be on this machine or in its network.
    #[serde(default)]
    allow_local: bool,
}

/// Adds one; from now on.
pub(super) async fn add(
    State(here): State<Here>,
    Extension(granted): Extension<Granted>,
    body: Result<Json<Wanted>, JsonRejection>,
) -> Result<(StatusCode, Json<Value>), Problem> {
    granted.needs(Scope::Admin)?;
    let Json(Wanted { url, room, allow_local }) =
        body.map_err(|error| Problem::bad(error.body_text()))?;
    let refused = |why: String| Problem::from(Refused::new(Refusal::WebhookRefused, why));
    let target = Target::parse(&url).map_err(refused)?;
    // A name that cannot be looked up now may be known later.
    if let Ok(mut found) = tokio::net::lookup_host(&target.at).await
        && found.any(|address| is_forbidden(address.ip(), allow_local))
    {
        let why = format!("{} is on this machine or in its network", target.host);
        return Err(refused(why));
    }
    let cursor = here.handle.since(u64::MAX, 0).await?.last;
    let secret = node::secret()?.as_str().to_owned();
    let id: String = node::secret()?.chars().take(16).collect();
    let room = room.strip_prefix('#').unwrap_or(&room).to_owned();
    let hook = Webhook { id: id.clone(), url, secret: secret.clone(), room, allow_local, cursor };
    {
        let mut hooks = here.outgoing.hooks();
        if hooks.len() >= API_WEBHOOKS_MAX {
            let detail = format!("there are {API_WEBHOOKS_MAX} webhooks");
            return Err(Refused::new(Refusal::TooMany, detail).into());
        }
        hooks.insert(id.clone(), hook);
        here.outgoing.store(&hooks)?;
    }
    here.outgoing.changed.notify_one();
    Ok((StatusCode::CREATED, Json(json!({ "id": id, "secret": secret, "cursor": cursor }))))
}

/// All of them; their secrets are shown once.
pub(super) async fn list(
    State(here): State<Here>,
    Extension(granted): Extension<Granted>,
) -> Result<Json<Value>, Problem> {
    granted.needs(Scope::Admin)?;
    let (hooks, failing) = (here.outgoing.hooks(), here.outgoing.failing());
    let shown = hooks.values().map(|hook| {
        json!({
            "id": hook.id, "url": hook.url, "room": hook.room, "allow_local": hook.allow_local,
            "cursor": hook.cursor, "failing": failing.get(&hook.id),
        })
    });
    Ok(Json(json!({ "webhooks": shown.collect::<Vec<_>>() })))
}

/// Removes one.
pub(super) async fn remove(
    State(here): State<Here>,
    Extension(granted): Extension<Granted>,
    InPath(id): InPath<String>,
) -> Result<StatusCode, Problem> {
    granted.needs(Scope::Admin)?;
    {
        let mut hooks = here.outgoing.hooks();
        if hooks.remove(&id).is_none() {
            let problem = Problem::bad("there is no such webhook");
            return Err(problem.with(StatusCode::NOT_FOUND));
        }
        here.outgoing.store(&hooks)?;
        here.outgoing.failing().remove(&id);
    }
    here.outgoing.changed.notify_one();
    Ok(StatusCode::NO_CONTENT)
}

/// What could not be delivered, the newest last.
pub(super) async fn dead(
    State(here): State<Here>,
    Extension(granted): Extension<Granted>,
) -> Result<Json<Value>, Problem> {
    granted.needs(Scope::Admin)?;
    let text = read(&here.outgoing.home.join(DEAD)).unwrap_or_default();
    let rows: Vec<Value> =
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    Ok(Json(json!({ "dead": rows })))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_webhook_reaches_neither_this_machine_nor_what_it_is_told_about_itself() {
        for (ip, allowed, always) in [
            ("169.254.169.254", false, true),
            ("::ffff:169.254.169.254", false, true),
            ("fe80::1", false, true),
            ("224.0.0.1", false, true),
            ("127.0.0.1", true, false),
            ("::1", true, false),
            ("::ffff:127.0.0.1", true, false),
            ("10.1.2.3", true, false),
            ("192.168.1.1", true, false),
            ("fd00::1", true, false),
            ("0.0.0.0", true, false),
            ("0.1.2.3", true, false),
            ("100.100.100.200", true, false),
            // By NAT64 and by 6to4.
            ("64:ff9b::a9fe:a9fe", false, true),
            ("2002:a9fe:a9fe::1", false, true),
            ("64:ff9b::7f00:1", true, false),
        ] {
            let ip: IpAddr = ip.parse().unwrap();
            assert!(is_forbidden(ip, false), "{ip}");
            assert_eq!(is_forbidden(ip, true), always && !allowed, "{ip}");
        }
        for ip in ["192.0.2.7", "100.128.0.1", "100.63.0.1", "64:ff9b::c000:207"] {
            assert!(!is_forbidden(ip.parse().unwrap(), false), "{ip}");
        }
        assert!(!is_forbidden("2001:db8::7".parse().unwrap(), false));
    }

    #[test]
    fn a_url_is_https_or_http_and_names_a_host() {
        let target = Target::parse("http://h.example:81/a?b=c").unwrap();
        let expected = ("h.example:81", "h.example:81", "/a?b=c");
        assert_eq!((target.host.as_str(), target.at.as_str(), target.path.as_str()), expected);
        assert_eq!(Target::parse("http://h.example").unwrap().at, "h.example:80");
        assert!(!target.is_sealed);
        let target = Target::parse("https://h.example/a").unwrap();
        assert!(target.is_sealed && target.at == "h.example:443" && target.host == "h.example");
        let target = Target::parse("https://[::1]:8443/a").unwrap();
        assert_eq!((target.at.as_str(), target.name.as_str()), ("[::1]:8443", "[::1]"));
        for wrong in ["", "h.example", "ftp://h/", "https://u:p@h/", "http://u:p@h/", "http:///x"] {
            assert!(Target::parse(wrong).is_err(), "{wrong}");
        }
        // No order of the protocol hides in a path.
        assert!(Target::parse("http://h/a b\r\nX: y").is_err());
    }

    #[test]
    fn a_signature_is_hmac_sha256_over_time_and_body() {
        // From the openssl command line: printf '1700000000.{}' | openssl dgst -sha256 -hmac key
        let expected = "9d713ed406bb7076d4123f0dc2c39d2df5c654ed4b0cd56b52c8b4c940bd63ae";
        let made = signature("key", "1700000000", "{}");
        assert_eq!(made, expected);
        assert_ne!(made, signature("key", "1700000001", "{}"));
        assert_ne!(made, signature("kez", "1700000000", "{}"));
    }

    #[test]
    fn an_answer_is_read_as_far_as_its_status() {
        assert_eq!(status_of(b"HTTP/1.1 204 No Content\r\n"), Some(204));
        for wrong in [&b""[..], b"HTTP/2 200\r\n", b"HTTP/1.1 99 x\n", b"SSH-2.0\n", b"\xff 200\n"]
        {
            assert_eq!(status_of(wrong), None);
        }
    }
}
