//! The settings: `config.yml`, then the environment, then flags, checked once and typed afterwards.
//! Owns: [`Config`], and for every setting where its value came from.
//! Must not know: who uses a setting; the terminal.
//! Invariants: a `Config` exists only if every layer is free of mistakes; every mistake is one line.
//! Start reading at: [`Config::load`].
//!
//! This folder is the only place that reads YAML and the environment.

mod file;
pub mod keys;
mod looks;
mod parts;
mod places;
mod settings;
mod shares;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::refusal::{Refusal, Refused};
use crate::terms::{Direct, FilesRule, KeeperRule};
use crate::time::Millis;

pub use looks::{Color, Notify};
pub use parts::{Admission, Origin, RelayLimits};
pub use places::{Places, runtime_dir};
pub use settings::{INVITE_ENV, Key, Kind, Preset, SETTINGS, Setting, Value, nearest};

/// Which role the settings are for: homes and listening addresses differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RoleKind {
    /// `p2pgroup join`.
    Member,
    /// `p2pgroup bootstrap`.
    Bootstrap,
    /// `p2pgroup keyauth`.
    Keyauth,
}

/// All settings, checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where this process keeps its state. Empty if it follows from a name that nobody gave:
    /// see [`Config::member_home`].
    pub home: PathBuf,
    /// The member's name; empty means the one stored in the home.
    pub name: String,
    /// Where to listen: `host:port` (TCP and QUIC as the role has them) or multiaddrs.
    pub listen: Vec<String>,
    /// Where the bootstrap answers; also where the embedded one listens.
    pub bootstrap: Vec<String>,
    /// Where the key authority answers; also where the embedded one listens.
    pub keyauth: String,
    /// The pinned authority: a PEM file, or a fingerprint in hex.
    pub authority: Option<String>,
    /// Whether `join` may host bootstrap and authority when nobody does.
    pub embedded: bool,
    /// Where the embedded roles keep their state; shared by one user's processes.
    pub embedded_home: PathBuf,
    /// The timers of the protocol.
    pub timers: TimerSettings,
    /// Whom the key authority certifies.
    pub admission: Admission,
    /// How much work it asks of newcomers; `None`: by where it listens.
    pub work_bits: Option<u64>,
    /// Whether to find members on the local network.
    pub mdns: bool,
    /// What the bootstrap relays.
    pub relay: RelayLimits,
    /// Networks one bootstrap serves.
    pub max_networks: usize,
    /// Up to so many links everybody keeps one with everybody; past it a few.
    pub max_links: usize,
    /// Whether relayed links become direct by hole punching.
    pub hole_punching: bool,
    /// How many earlier messages line mode shows when it starts.
    pub history_on_join: usize,
    /// Who may write to this member alone without asking first.
    pub direct: Direct,
    /// Bytes of sealed entries that one author may have this member store; `None`: as many as it
    /// likes.
    pub quota_bytes: Option<u64>,
    /// Entries a second of one author, over some minutes; `None`: as many as it likes.
    pub quota_rate: Option<u64>,
    /// Which files are fetched by themselves, and how much of the disk they may take.
    pub files: FilesRule,
    /// Where files from others go; `None`: into the home.
    pub downloads: Option<PathBuf>,
    /// Whether to keep what others leave for those who are away, and how much of it.
    pub keep: Option<KeeperRule>,
    /// How the terminal interface calls a person who is named or written to.
    pub notify: Notify,
    /// A program that is run for that, too: no shell, no arguments, the message on its stdin.
    pub notify_command: Option<PathBuf>,
    /// Whether the terminal says that it knows no more than lines (`TERM=dumb`).
    pub is_dumb: bool,
    /// Where the local API listens; `None`: nowhere.
    pub api: Option<String>,
    /// A PEM file of roots that outgoing webhooks trust beside the system's.
    pub webhook_ca: Option<PathBuf>,
    /// Keys of the terminal interface.
    pub keys: Vec<keys::Binding>,
    /// Names that stand for a line when they are typed as a command.
    pub aliases: Vec<(String, String)>,
    /// Where each of those stands that the file has.
    pub alias_places: BTreeMap<String, Origin>,
    /// What is logged: a level, or `target=level` pairs separated by commas.
    pub log: String,
    /// Whether to use colours.
    pub color: Color,
    /// What looked odd but stops nothing, one line each.
    pub warnings: Vec<String>,
    /// Every setting as `config show` prints it.
    pub shown: Vec<Shown>,
}

/// The timers as configured; the protocol takes the same four.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimerSettings {
    /// How often a leader says that it leads.
    pub heartbeat: Millis,
    /// The shortest election timeout.
    pub election_min: Millis,
    /// The longest election timeout.
    pub election_max: Millis,
    /// When a member that is not heard counts as away.
    pub away_after: Millis,
}

impl TimerSettings {
    const LAN: Self = Self {
        heartbeat: Millis(250),
        election_min: Millis(750),
        election_max: Millis(1_500),
        away_after: Millis(5_000),
    };

    fn wan() -> Self {
        Self {
            heartbeat: Self::LAN.heartbeat.times(4),
            election_min: Self::LAN.election_min.times(4),
            election_max: Self::LAN.election_max.times(4),
            away_after: Self::LAN.away_after.times(4),
        }
    }
}

/// A setting as `config show` prints it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// Its name in the file.
    pub path: &'static str,
    /// The value in force.
    pub value: Value,
    /// Where it came from.
    pub origin: Origin,
}

/// A flag that sets something.
#[derive(Clone, Debug)]
pub struct Flag {
    /// What it sets.
    pub key: Key,
    /// As typed, such as `--name`.
    pub flag: &'static str,
    /// To what.
    pub value: Value,
}

/// What a `Config` is made from.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// The file named by `--config`; without it the default file is read if it is there.
    pub file: Option<PathBuf>,
    /// The environment.
    pub env: Vec<(OsString, OsString)>,
    /// The flags.
    pub flags: Vec<Flag>,
    /// Where things lie by default.
    pub places: Places,
}

type Layers = BTreeMap<Key, (Value, Origin)>;

impl Config {
    /// Reads all layers, the later ones on top, and checks the result.
    ///
    /// # Errors
    /// [`Refusal::ConfigUnreadable`], [`Refusal::ConfigBad`], [`Refusal::AddressBad`], each with
    /// the place of the mistake.
    pub fn load(role: RoleKind, sources: &Sources) -> Result<Self, Refused> {
        let mut layers = Layers::new();
        let vars = variables(&sources.env)?;
        let named = sources.file.clone().or_else(|| vars.get("P2PGROUP_CONFIG").map(PathBuf::from));
        let alias_places = read_file(named, &sources.places, &mut layers)?;
        let warnings = read_env(role, &vars, &mut layers)?;
        for flag in &sources.flags {
            let Some(setting) = SETTINGS.iter().find(|setting| setting.key == flag.key) else {
                continue;
            };
            let value = setting
                .check(flag.value.clone())
                .map_err(|what| bad(setting, format!("{}: {what}", flag.flag)))?;
            layers.insert(flag.key, (value, Origin::Flag(flag.flag)));
        }
        for setting in SETTINGS {
            // An empty line in the file says as little as none.
            if layers.get(&setting.key).is_none_or(|(value, _)| *value == Value::None) {
                layers.insert(setting.key, (setting.preset.value(), Origin::Default));
            }
        }
        let is_dumb = vars.get("TERM") == Some(&"dumb");
        Ok(Self { warnings, is_dumb, alias_places, ..build(role, &sources.places, layers)? })
    }

    /// The home, if it is known.
    ///
    /// # Errors
    /// [`Refusal::NameMissing`]: it follows from the name, and none was given.
    pub fn member_home(&self) -> Result<&Path, Refused> {
        if self.home.as_os_str().is_empty() {
            return Err(Refusal::NameMissing.into());
        }
        Ok(&self.home)
    }
}

fn bad(setting: &Setting, detail: String) -> Refused {
    match setting.kind {
        Kind::Address | Kind::Addresses => Refused::new(Refusal::AddressBad, detail),
        _ => Refused::new(Refusal::ConfigBad, detail),
    }
}

/// The variables that are ours, as text. An empty one counts as not set.
fn variables(env: &[(OsString, OsString)]) -> Result<BTreeMap<&str, &str>, Refused> {
    let mut vars = BTreeMap::new();
    for (name, value) in env {
        let Some(name) = name.to_str() else { continue };
        if value.is_empty()
            || !(name.starts_with("P2PGROUP_") || matches!(name, "NO_COLOR" | "TERM"))
        {
            continue;
        }
        let value = value
            .to_str()
            .ok_or_else(|| Refused::new(Refusal::ConfigBad, format!("env {name}: not UTF-8")))?;
        vars.insert(name, value);
    }
    Ok(vars)
}

/// Gives the place of each alias in the file.
fn read_file(
    named: Option<PathBuf>,
    places: &Places,
    layers: &mut Layers,
) -> Result<BTreeMap<String, Origin>, Refused> {
    let mut alias_places = BTreeMap::new();
    let is_named = named.is_some();
    let Some(path) = named.or_else(|| places.config.as_ref().map(|dir| dir.join("config.yml")))
    else {
        return Ok(alias_places);
    };
    let unreadable = |why: &std::io::Error| {
        Refused::new(Refusal::ConfigUnreadable, format!("{}: {why}", path.display()))
    };
    let bytes = match bounded_read(&path) {
        Ok(bytes) => bytes,
        Err(error) if !is_named && error.kind() == std::io::ErrorKind::NotFound => {
            return Ok(alias_places);
        }
        Err(error) => return Err(unreadable(&error)),
    };
    let wrong = |line: Option<u64>, what: &str| {
        let place = match line {
            Some(line) => format!("{}:{line}", path.display()),
            None => path.display().to_string(),
        };
        format!("{place}: {what}")
    };
    let Ok(text) = String::from_utf8(bytes) else {
        return Err(Refused::new(Refusal::ConfigBad, wrong(None, "the file is not UTF-8")));
    };
    let said = file::parse(&text)
        .map_err(|mistake| Refused::new(Refusal::ConfigBad, wrong(mistake.line, &mistake.what)))?;
    for said in said {
        let place = |line| Origin::File { path: path.clone(), line };
        if said.setting.key == Key::Aliases {
            alias_places = said.names.into_iter().map(|(name, line)| (name, place(line))).collect();
        }
        layers.insert(said.setting.key, (said.value, place(said.line)));
    }
    Ok(alias_places)
}

fn bounded_read(path: &Path) -> std::io::Result<Vec<u8>> {
    use std::io::Read;
    let limit = u64::try_from(crate::limits::CONFIG_BYTES_MAX).unwrap_or(u64::MAX);
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(limit + 1).read_to_end(&mut bytes)?;
    if bytes.len() > crate::limits::CONFIG_BYTES_MAX {
        return Err(std::io::Error::other(format!("longer than {limit} bytes")));
    }
    Ok(bytes)
}

fn read_env(
    role: RoleKind,
    vars: &BTreeMap<&str, &str>,
    layers: &mut Layers,
) -> Result<Vec<String>, Refused> {
    let mut warnings = Vec::new();
    if vars.contains_key("NO_COLOR") {
        layers.insert(Key::Color, (Value::Text("never".to_owned()), Origin::Env("NO_COLOR")));
    }
    for (&name, &text) in vars {
        if matches!(name, "NO_COLOR" | "TERM" | "P2PGROUP_CONFIG" | INVITE_ENV) {
            continue;
        }
        let found = SETTINGS.iter().find(|setting| {
            setting.env == name && role_of(setting.key).is_none_or(|its| its == role)
        });
        if let Some(setting) = found {
            let value = setting
                .read_text(text)
                .map_err(|what| bad(setting, format!("env {name}: {what}")))?;
            layers.insert(setting.key, (value, Origin::Env(setting.env)));
        } else {
            let known = SETTINGS.iter().map(|setting| setting.env);
            let short = |name: &'static str| name.strip_prefix("P2PGROUP_").unwrap_or(name);
            let word = name.strip_prefix("P2PGROUP_").unwrap_or(name);
            match nearest(word, known.map(short)) {
                Some(near) => {
                    let what =
                        format!("env {name}: unknown setting; did you mean P2PGROUP_{near}?");
                    return Err(Refused::new(Refusal::ConfigBad, what));
                }
                // Like none of ours: some script's own variable, so it stops nothing.
                None => warnings.push(format!("env {name} is no setting and was ignored")),
            }
        }
    }
    Ok(warnings)
}

/// The role a setting is for, where settings differ by role.
fn role_of(key: Key) -> Option<RoleKind> {
    match key {
        Key::HomeMember | Key::ListenMember => Some(RoleKind::Member),
        Key::HomeBootstrap | Key::ListenBootstrap => Some(RoleKind::Bootstrap),
        Key::HomeKeyauth | Key::ListenKeyauth => Some(RoleKind::Keyauth),
        _ => None,
    }
}

/// Typed access to checked layers: a value of another kind cannot be there, so the fallbacks
/// below are never taken.
struct Checked(Layers);

impl Checked {
    fn text(&self, key: Key) -> Option<String> {
        match self.0.get(&key) {
            Some((Value::Text(text), _)) => Some(text.clone()),
            _ => None,
        }
    }
    fn list(&self, key: Key) -> Vec<String> {
        match self.0.get(&key) {
            Some((Value::List(items), _)) => items.clone(),
            _ => Vec::new(),
        }
    }
    fn pairs(&self, key: Key) -> Vec<(String, String)> {
        match self.0.get(&key) {
            Some((Value::Pairs(pairs), _)) => pairs.clone(),
            _ => Vec::new(),
        }
    }
    fn is_on(&self, key: Key) -> bool {
        matches!(self.0.get(&key), Some((Value::Switch(true), _)))
    }
    fn number(&self, key: Key) -> Option<u64> {
        match self.0.get(&key) {
            Some((Value::Number(number), _)) => Some(*number),
            _ => None,
        }
    }
    fn size(&self, key: Key) -> usize {
        self.number(key).and_then(|number| usize::try_from(number).ok()).unwrap_or(usize::MAX)
    }
    /// Fills in what was found out; the origin stays a default.
    fn found(&mut self, key: Key, value: Value, origin: Origin) {
        if let Some(slot @ (Value::None, _)) = self.0.get_mut(&key) {
            *slot = (value, origin);
        }
    }
}

fn build(role: RoleKind, places: &Places, layers: Layers) -> Result<Config, Refused> {
    let mut checked = Checked(layers);
    let name = checked.text(Key::Name).map(|name| crate::text::nfc(&name)).unwrap_or_default();
    for (key, kind) in [
        (Key::HomeMember, RoleKind::Member),
        (Key::HomeBootstrap, RoleKind::Bootstrap),
        (Key::HomeKeyauth, RoleKind::Keyauth),
    ] {
        if let Some(path) = default_home(kind, places, &name) {
            checked.found(key, Value::Text(path.display().to_string()), Origin::Default);
        }
    }
    if let Some(path) = &places.downloads {
        let path = Value::Text(path.display().to_string());
        checked.found(Key::FilesDownloads, path, Origin::Default);
    }
    if let Some(data) = &places.data {
        let path = data.join("embedded").display().to_string();
        checked.found(Key::EmbeddedHome, Value::Text(path), Origin::Default);
    }
    let timers = timers(&mut checked)?;
    let (home, listen) = match role {
        RoleKind::Member => (Key::HomeMember, Key::ListenMember),
        RoleKind::Bootstrap => (Key::HomeBootstrap, Key::ListenBootstrap),
        RoleKind::Keyauth => (Key::HomeKeyauth, Key::ListenKeyauth),
    };
    let home = checked.text(home).map(PathBuf::from).unwrap_or_default();
    let log = checked.text(Key::Log).unwrap_or_default();
    check_log(&checked, &log)?;
    if places.data.is_none() && (role != RoleKind::Member) && home.as_os_str().is_empty() {
        let detail = "this user has no data directory; say where with --home";
        return Err(Refused::new(Refusal::ConfigBad, detail));
    }
    Ok(Config {
        home,
        name,
        listen: checked.list(listen),
        bootstrap: checked.list(Key::Bootstrap),
        keyauth: checked.text(Key::Keyauth).unwrap_or_default(),
        authority: checked.text(Key::Authority),
        embedded: checked.is_on(Key::Embedded),
        embedded_home: checked.text(Key::EmbeddedHome).map(PathBuf::from).unwrap_or_default(),
        timers,
        admission: match checked.text(Key::Admission).as_deref() {
            Some("approve") => Admission::Approve,
            Some("voucher") => Admission::Voucher,
            _ => Admission::Open,
        },
        work_bits: checked.number(Key::WorkBits),
        mdns: checked.is_on(Key::Mdns),
        relay: checked.relay(),
        max_networks: checked.size(Key::MaxNetworks),
        max_links: checked.size(Key::MaxLinks),
        hole_punching: checked.is_on(Key::HolePunching),
        api: checked.text(Key::Api),
        webhook_ca: checked.text(Key::WebhookCa).map(PathBuf::from),
        // Each was checked; that they fit together was, too.
        keys: keys::bindings(&checked.pairs(Key::Keys)).unwrap_or_default(),
        aliases: checked.pairs(Key::Aliases),
        alias_places: BTreeMap::new(),
        history_on_join: checked.size(Key::HistoryOnJoin),
        direct: checked.text(Key::Direct).and_then(|text| Direct::parse(&text)).unwrap_or_default(),
        quota_bytes: checked
            .number(Key::QuotaAuthorMib)
            .filter(|mib| *mib > 0)
            .map(|mib| mib.saturating_mul(1 << 20)),
        quota_rate: checked.number(Key::QuotaAuthorRate).filter(|rate| *rate > 0),
        files: checked.files(),
        downloads: checked.text(Key::FilesDownloads).map(PathBuf::from),
        keep: checked.keep(),
        notify: Notify::of(checked.text(Key::Notify).as_deref()),
        notify_command: checked.text(Key::NotifyCommand).map(PathBuf::from),
        is_dumb: false,
        log,
        color: Color::of(checked.text(Key::Color).as_deref()),
        warnings: Vec::new(),
        shown: SETTINGS
            .iter()
            .filter_map(|setting| {
                let (value, origin) = checked.0.get(&setting.key)?.clone();
                Some(Shown { path: setting.path, value, origin })
            })
            .collect(),
    })
}

/// Two members of one person have two homes, so the default follows the name. Without a name it
/// is the only home there is.
fn default_home(role: RoleKind, places: &Places, name: &str) -> Option<PathBuf> {
    let data = places.data.as_ref()?;
    match role {
        RoleKind::Bootstrap => Some(data.join("bootstrap")),
        RoleKind::Keyauth => Some(data.join("keyauth")),
        RoleKind::Member if !name.is_empty() => Some(data.join("members").join(file_name(name))),
        RoleKind::Member => {
            let mut homes = std::fs::read_dir(data.join("members")).ok()?.flatten();
            let only = homes.next()?.path();
            homes.next().is_none().then_some(only)
        }
    }
}

/// A name as the name of a directory: letters and digits as they are, the rest escaped.
fn file_name(name: &str) -> String {
    use std::fmt::Write;
    let mut safe = String::new();
    for c in name.chars().take(crate::limits::NAME_CHARS_MAX) {
        if c.is_alphanumeric() || c == '-' || c == '_' {
            safe.push(c);
        } else {
            let mut bytes = [0; 4];
            for byte in c.encode_utf8(&mut bytes).bytes() {
                // Writing into a String cannot fail.
                let _ = write!(safe, "%{byte:02X}");
            }
        }
    }
    safe
}

fn timers(checked: &mut Checked) -> Result<TimerSettings, Refused> {
    let profile = match checked.text(Key::TimersProfile).as_deref() {
        Some("wan") => TimerSettings::wan(),
        _ => TimerSettings::LAN,
    };
    let mut take = |key: Key, default: Millis| {
        checked.found(key, Value::Number(default.0), Origin::Profile);
        Millis(checked.number(key).unwrap_or(default.0))
    };
    let timers = TimerSettings {
        heartbeat: take(Key::HeartbeatMs, profile.heartbeat),
        election_min: take(Key::ElectionMinMs, profile.election_min),
        election_max: take(Key::ElectionMaxMs, profile.election_max),
        away_after: take(Key::AwayAfterMs, profile.away_after),
    };
    // One lost heartbeat, and one late, must not start an election.
    let rules = [
        (
            timers.election_min >= timers.heartbeat.times(3),
            Key::ElectionMinMs,
            "must be at least 3 times timers.heartbeat_ms",
        ),
        (
            timers.election_max > timers.election_min,
            Key::ElectionMaxMs,
            "must be more than timers.election_min_ms",
        ),
        (
            timers.away_after >= timers.election_max,
            Key::AwayAfterMs,
            "must be at least timers.election_max_ms",
        ),
    ];
    if let Some((_, key, rule)) = rules.into_iter().find(|(holds, ..)| !holds) {
        return Err(Refused::new(Refusal::ConfigBad, broken(checked, key, rule)));
    }
    Ok(timers)
}

fn check_log(checked: &Checked, log: &str) -> Result<(), Refused> {
    let is_level = |text: &str| {
        ["off", "error", "warn", "info", "debug", "trace"].contains(&text.to_lowercase().as_str())
    };
    let is_target = |text: &str| {
        !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || "_:".contains(c))
    };
    let is_good = log.split(',').all(|part| match part.split_once('=') {
        Some((target, level)) => is_target(target) && is_level(level),
        None => is_level(part),
    });
    if is_good {
        return Ok(());
    }
    let rule = "expected off, error, warn, info, debug, trace, or target=level pairs";
    Err(Refused::new(Refusal::ConfigBad, broken(checked, Key::Log, rule)))
}

fn broken(checked: &Checked, key: Key, rule: &str) -> String {
    let path = SETTINGS.iter().find(|setting| setting.key == key).map_or("", |s| s.path);
    match checked.0.get(&key) {
        Some((value, origin)) => format!("{path}: {rule}, found {value} ({origin})"),
        None => format!("{path}: {rule}"),
    }
}
