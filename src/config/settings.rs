//! The table of settings: what each is called, what it may hold, where else it can be set.
//! Owns: [`SETTINGS`], the default of every setting and the check of a single value.
//! Must not know: files, the environment, roles that run.
//! Invariants: paths are unique; `config.yml` at the top of the repository shows the same defaults.
//! Start reading at: [`SETTINGS`].

use std::fmt;

use super::keys;

/// A setting, as a program names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the table below says what each means")]
pub enum Key {
    Name,
    HomeMember,
    HomeBootstrap,
    HomeKeyauth,
    ListenMember,
    ListenBootstrap,
    ListenKeyauth,
    Bootstrap,
    Keyauth,
    Authority,
    Embedded,
    EmbeddedHome,
    TimersProfile,
    HeartbeatMs,
    ElectionMinMs,
    ElectionMaxMs,
    AwayAfterMs,
    Admission,
    WorkBits,
    Mdns,
    RelayReservations,
    RelayCircuits,
    RelayCircuitBytes,
    RelayCircuitSeconds,
    MaxNetworks,
    MaxLinks,
    HolePunching,
    HistoryOnJoin,
    Direct,
    QuotaAuthorMib,
    QuotaAuthorRate,
    FilesDownloads,
    FilesAcceptMib,
    FilesQuotaMib,
    Keep,
    KeepQuota,
    KeepDays,
    Notify,
    NotifyCommand,
    Api,
    WebhookCa,
    Keys,
    Aliases,
    Log,
    Color,
}

/// What a setting may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Any text.
    Text,
    /// Text that may be absent.
    TextOrNone,
    /// A list of addresses.
    Addresses,
    /// One address.
    Address,
    /// Yes or no.
    Switch,
    /// A whole number between the two, both included.
    Number(u64, u64),
    /// As [`Kind::Number`], or absent.
    NumberOrNone(u64, u64),
    /// Names with text, one a line below the setting.
    Pairs,
    /// One of these words.
    Choice(&'static [&'static str]),
}

/// A value as written, of the right kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// Absent.
    None,
    /// Yes or no.
    Switch(bool),
    /// A whole number.
    Number(u64),
    /// Text.
    Text(String),
    /// A list of text.
    List(Vec<String>),
    /// Names with text.
    Pairs(Vec<(String, String)>),
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::Switch(on) => on.fmt(f),
            Self::Number(number) => number.fmt(f),
            Self::Text(text) => f.write_str(text),
            Self::List(items) => f.write_str(&items.join(", ")),
            Self::Pairs(pairs) if pairs.is_empty() => f.write_str("none"),
            Self::Pairs(pairs) => {
                let pairs: Vec<String> =
                    pairs.iter().map(|(name, text)| format!("{name}={text}")).collect();
                f.write_str(&pairs.join(", "))
            }
        }
    }
}

/// The variable that may hold an invite. It is no setting: `config show` must not print a secret.
pub const INVITE_ENV: &str = "P2PGROUP_INVITE";

/// The value a setting has when nobody says otherwise.
#[derive(Clone, Copy, Debug)]
pub enum Preset {
    /// Found out when starting: a directory of this machine, a number of the timer profile.
    Found,
    /// Yes or no.
    Switch(bool),
    /// A whole number.
    Number(u64),
    /// Text.
    Text(&'static str),
    /// A list.
    List(&'static [&'static str]),
    /// No names with text.
    NoPairs,
}

impl Preset {
    /// As a value.
    pub fn value(self) -> Value {
        match self {
            Self::Found => Value::None,
            Self::Switch(on) => Value::Switch(on),
            Self::Number(number) => Value::Number(number),
            Self::Text(text) => Value::Text(text.to_owned()),
            Self::NoPairs => Value::Pairs(Vec::new()),
            Self::List(items) => Value::List(items.iter().map(|&item| item.to_owned()).collect()),
        }
    }
}

/// A setting.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// As a program names it.
    pub key: Key,
    /// As `config.yml` names it: `section.setting`.
    pub path: &'static str,
    /// As the environment names it. Settings that differ by role share one name, which then
    /// speaks of the role that runs.
    pub env: &'static str,
    /// What it may hold.
    pub kind: Kind,
    /// The default.
    pub preset: Preset,
}

const fn setting(
    key: Key,
    path: &'static str,
    env: &'static str,
    kind: Kind,
    preset: Preset,
) -> Setting {
    Setting { key, path, env, kind, preset }
}

/// Every setting, in the order of `config.yml`.
pub const SETTINGS: &[Setting] = &[
    setting(Key::Name, "name", "P2PGROUP_NAME", Kind::TextOrNone, Preset::Found),
    setting(Key::HomeMember, "home.member", "P2PGROUP_HOME", Kind::TextOrNone, Preset::Found),
    setting(Key::HomeBootstrap, "home.bootstrap", "P2PGROUP_HOME", Kind::TextOrNone, Preset::Found),
    setting(Key::HomeKeyauth, "home.keyauth", "P2PGROUP_HOME", Kind::TextOrNone, Preset::Found),
    setting(
        Key::ListenMember,
        "listen.member",
        "P2PGROUP_LISTEN",
        Kind::Addresses,
        Preset::List(&[
            "/ip4/0.0.0.0/tcp/0",
            "/ip4/0.0.0.0/udp/0/quic-v1",
            "/ip6/::/tcp/0",
            "/ip6/::/udp/0/quic-v1",
        ]),
    ),
    setting(
        Key::ListenBootstrap,
        "listen.bootstrap",
        "P2PGROUP_LISTEN",
        Kind::Addresses,
        Preset::List(&["/ip4/0.0.0.0/tcp/9001", "/ip4/0.0.0.0/udp/9001/quic-v1"]),
    ),
    setting(
        Key::ListenKeyauth,
        "listen.keyauth",
        "P2PGROUP_LISTEN",
        Kind::Addresses,
        Preset::List(&["/ip4/0.0.0.0/tcp/8999"]),
    ),
    setting(
        Key::Bootstrap,
        "bootstrap",
        "P2PGROUP_BOOTSTRAP",
        Kind::Addresses,
        Preset::List(&["127.0.0.1:9001"]),
    ),
    setting(
        Key::Keyauth,
        "keyauth",
        "P2PGROUP_KEYAUTH",
        Kind::Address,
        Preset::Text("127.0.0.1:8999"),
    ),
    setting(Key::Authority, "authority", "P2PGROUP_AUTHORITY", Kind::TextOrNone, Preset::Found),
    setting(Key::Embedded, "embedded", "P2PGROUP_EMBEDDED", Kind::Switch, Preset::Switch(true)),
    setting(
        Key::EmbeddedHome,
        "embedded_home",
        "P2PGROUP_EMBEDDED_HOME",
        Kind::TextOrNone,
        Preset::Found,
    ),
    setting(
        Key::TimersProfile,
        "timers.profile",
        "P2PGROUP_TIMERS_PROFILE",
        Kind::Choice(&["lan", "wan"]),
        Preset::Text("lan"),
    ),
    setting(
        Key::HeartbeatMs,
        "timers.heartbeat_ms",
        "P2PGROUP_TIMERS_HEARTBEAT_MS",
        Kind::NumberOrNone(10, 60_000),
        Preset::Found,
    ),
    setting(
        Key::ElectionMinMs,
        "timers.election_min_ms",
        "P2PGROUP_TIMERS_ELECTION_MIN_MS",
        Kind::NumberOrNone(30, 300_000),
        Preset::Found,
    ),
    setting(
        Key::ElectionMaxMs,
        "timers.election_max_ms",
        "P2PGROUP_TIMERS_ELECTION_MAX_MS",
        Kind::NumberOrNone(40, 600_000),
        Preset::Found,
    ),
    setting(
        Key::AwayAfterMs,
        "timers.away_after_ms",
        "P2PGROUP_TIMERS_AWAY_AFTER_MS",
        Kind::NumberOrNone(50, 3_600_000),
        Preset::Found,
    ),
    setting(
        Key::Admission,
        "admission",
        "P2PGROUP_ADMISSION",
        Kind::Choice(&["open", "approve", "voucher"]),
        Preset::Text("open"),
    ),
    setting(
        Key::WorkBits,
        "work_bits",
        "P2PGROUP_WORK_BITS",
        Kind::NumberOrNone(0, 28),
        Preset::Found,
    ),
    setting(Key::Mdns, "mdns", "P2PGROUP_MDNS", Kind::Switch, Preset::Switch(true)),
    setting(
        Key::RelayReservations,
        "relay.reservations",
        "P2PGROUP_RELAY_RESERVATIONS",
        Kind::Number(0, 65_536),
        Preset::Number(512),
    ),
    setting(
        Key::RelayCircuits,
        "relay.circuits",
        "P2PGROUP_RELAY_CIRCUITS",
        Kind::Number(0, 65_536),
        Preset::Number(256),
    ),
    setting(
        Key::RelayCircuitBytes,
        "relay.circuit_bytes",
        "P2PGROUP_RELAY_CIRCUIT_BYTES",
        Kind::Number(65_536, 1 << 40),
        Preset::Number(256 << 20),
    ),
    setting(
        Key::RelayCircuitSeconds,
        "relay.circuit_seconds",
        "P2PGROUP_RELAY_CIRCUIT_SECONDS",
        Kind::Number(10, 7 * 24 * 3_600),
        Preset::Number(3_600),
    ),
    setting(
        Key::MaxNetworks,
        "max_networks",
        "P2PGROUP_MAX_NETWORKS",
        Kind::Number(1, 65_536),
        Preset::Number(1_024),
    ),
    setting(
        Key::MaxLinks,
        "max_links",
        "P2PGROUP_MAX_LINKS",
        Kind::Number(2, 4_096),
        Preset::Number(32),
    ),
    setting(
        Key::HolePunching,
        "hole_punching",
        "P2PGROUP_HOLE_PUNCHING",
        Kind::Switch,
        Preset::Switch(true),
    ),
    setting(
        Key::HistoryOnJoin,
        "history_on_join",
        "P2PGROUP_HISTORY_ON_JOIN",
        Kind::Number(0, 10_000),
        Preset::Number(0),
    ),
    setting(
        Key::Direct,
        "direct",
        "P2PGROUP_DIRECT",
        Kind::Choice(&["everyone", "known", "code"]),
        Preset::Text("known"),
    ),
    setting(
        Key::QuotaAuthorMib,
        "quota.author_mib",
        "P2PGROUP_QUOTA_AUTHOR_MIB",
        Kind::Number(0, 1 << 24),
        Preset::Number(4_096),
    ),
    setting(
        Key::QuotaAuthorRate,
        "quota.author_rate",
        "P2PGROUP_QUOTA_AUTHOR_RATE",
        Kind::Number(0, 1 << 24),
        Preset::Number(2_000),
    ),
    setting(
        Key::FilesDownloads,
        "files.downloads",
        "P2PGROUP_FILES_DOWNLOADS",
        Kind::TextOrNone,
        Preset::Found,
    ),
    setting(
        Key::FilesAcceptMib,
        "files.accept_mib",
        "P2PGROUP_FILES_ACCEPT_MIB",
        Kind::Number(0, 65_536),
        Preset::Number(10),
    ),
    setting(
        Key::FilesQuotaMib,
        "files.quota_mib",
        "P2PGROUP_FILES_QUOTA_MIB",
        Kind::Number(0, 1 << 24),
        Preset::Number(10_240),
    ),
    setting(Key::Keep, "keep", "P2PGROUP_KEEP", Kind::Switch, Preset::Switch(false)),
    setting(
        Key::KeepQuota,
        "keep_quota",
        "P2PGROUP_KEEP_QUOTA",
        Kind::Number(65_536, 1 << 40),
        Preset::Number(256 << 20),
    ),
    setting(
        Key::KeepDays,
        "keep_days",
        "P2PGROUP_KEEP_DAYS",
        Kind::Number(1, 366),
        Preset::Number(30),
    ),
    setting(
        Key::Notify,
        "notify",
        "P2PGROUP_NOTIFY",
        Kind::Choice(&["none", "bell", "osc9"]),
        Preset::Text("bell"),
    ),
    setting(
        Key::NotifyCommand,
        "notify_command",
        "P2PGROUP_NOTIFY_COMMAND",
        Kind::TextOrNone,
        Preset::Found,
    ),
    setting(Key::Api, "api", "P2PGROUP_API", Kind::TextOrNone, Preset::Found),
    setting(Key::WebhookCa, "webhook_ca", "P2PGROUP_WEBHOOK_CA", Kind::TextOrNone, Preset::Found),
    setting(Key::Keys, "keys", "P2PGROUP_KEYS", Kind::Pairs, Preset::NoPairs),
    setting(Key::Aliases, "aliases", "P2PGROUP_ALIASES", Kind::Pairs, Preset::NoPairs),
    setting(Key::Log, "log", "P2PGROUP_LOG", Kind::Text, Preset::Text("warn")),
    setting(
        Key::Color,
        "color",
        "P2PGROUP_COLOR",
        Kind::Choice(&["auto", "always", "never"]),
        Preset::Text("auto"),
    ),
];

/// The setting of this path.
pub(super) fn by_path(path: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.path == path)
}

/// Whether the path is that of a section.
pub(super) fn is_section(path: &str) -> bool {
    SETTINGS
        .iter()
        .any(|setting| setting.path.strip_prefix(path).is_some_and(|rest| rest.starts_with('.')))
}

/// The candidate nearest to `wrong`, if one is near enough to be meant.
pub fn nearest<'a>(wrong: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let wrong = wrong.to_lowercase();
    candidates
        .map(|known| (strsim::normalized_damerau_levenshtein(&wrong, &known.to_lowercase()), known))
        .filter(|(likeness, _)| *likeness >= 0.5)
        .max_by(|(one, _), (other, _)| one.total_cmp(other))
        .map(|(_, known)| known)
}

impl Setting {
    /// Reads a value written as text: in the environment or after a flag. Lists are separated by
    /// commas there.
    ///
    /// # Errors
    /// What was expected instead, for a person.
    pub fn read_text(&self, text: &str) -> Result<Value, String> {
        let value = match self.kind {
            Kind::Switch => match text {
                "true" | "yes" | "on" | "1" => Value::Switch(true),
                "false" | "no" | "off" | "0" => Value::Switch(false),
                _ => return Err(format!("expected true or false, found \"{text}\"")),
            },
            Kind::Number(..) | Kind::NumberOrNone(..) => match text.parse() {
                Ok(number) => Value::Number(number),
                Err(_) => return Err(format!("expected a whole number, found \"{text}\"")),
            },
            Kind::Addresses => Value::List(
                text.split(',')
                    .map(|item| item.trim().to_owned())
                    .filter(|a| !a.is_empty())
                    .collect(),
            ),
            Kind::Pairs => Value::Pairs(
                text.split(',')
                    .filter(|pair| !pair.trim().is_empty())
                    .map(|pair| {
                        let (name, text) = pair.split_once('=').ok_or_else(|| {
                            format!("expected name=text pairs with commas, found \"{pair}\"")
                        })?;
                        Ok((name.trim().to_owned(), text.trim().to_owned()))
                    })
                    .collect::<Result<_, String>>()?,
            ),
            Kind::TextOrNone if text.is_empty() => Value::None,
            Kind::Text | Kind::TextOrNone | Kind::Address | Kind::Choice(_) => {
                Value::Text(text.to_owned())
            }
        };
        self.check(value)
    }

    /// Accepts a value of the right kind and within its bounds.
    ///
    /// # Errors
    /// What was expected instead, for a person.
    pub fn check(&self, value: Value) -> Result<Value, String> {
        let wrong = |expected: &str| Err(format!("expected {expected}, found {}", shown(&value)));
        match (self.kind, &value) {
            // An empty setting in the file means the default, found out later.
            (_, Value::None) => match self.kind {
                Kind::TextOrNone | Kind::NumberOrNone(..) => Ok(value),
                Kind::Switch => wrong("true or false"),
                Kind::Number(..) => wrong("a whole number"),
                Kind::Addresses => wrong("a list of addresses"),
                Kind::Choice(words) => wrong(&words.join(" or ")),
                // All of it commented out.
                Kind::Pairs => Ok(Value::Pairs(Vec::new())),
                Kind::Text | Kind::Address => wrong("text"),
            },
            (Kind::Switch, Value::Switch(_)) | (Kind::Text | Kind::TextOrNone, Value::Text(_)) => {
                Ok(value)
            }
            (Kind::Number(min, max) | Kind::NumberOrNone(min, max), Value::Number(number)) => {
                if (min..=max).contains(number) {
                    Ok(value)
                } else {
                    wrong(&format!("a number from {min} to {max}"))
                }
            }
            (Kind::Choice(words), Value::Text(text)) => {
                if words.contains(&text.as_str()) {
                    Ok(value)
                } else {
                    wrong(&words.join(" or "))
                }
            }
            (Kind::Address, Value::Text(text)) => check_address(text).map(|()| value),
            (Kind::Addresses, Value::Text(text)) => {
                check_address(text)?;
                Ok(Value::List(vec![text.clone()]))
            }
            (Kind::Addresses, Value::List(items)) => {
                if items.len() > crate::limits::ADDRESSES_MAX {
                    return Err(format!(
                        "expected at most {} addresses, found {}",
                        crate::limits::ADDRESSES_MAX,
                        items.len()
                    ));
                }
                if items.is_empty() {
                    return wrong("at least one address");
                }
                items.iter().try_for_each(|item| check_address(item))?;
                Ok(value)
            }
            (Kind::Pairs, Value::Pairs(pairs)) => {
                match self.key {
                    Key::Keys => keys::bindings(pairs).map(|_| ())?,
                    _ => keys::check_aliases(pairs)?,
                }
                Ok(value)
            }
            (Kind::Pairs, _) => wrong("names with text, one a line below it"),
            (Kind::Switch, _) => wrong("true or false"),
            (Kind::Number(..) | Kind::NumberOrNone(..), _) => wrong("a whole number"),
            (Kind::Addresses, _) => wrong("a list of addresses"),
            (Kind::Choice(words), _) => wrong(&words.join(" or ")),
            (Kind::Text | Kind::TextOrNone | Kind::Address, _) => wrong("text (in quotes)"),
        }
    }
}

fn shown(value: &Value) -> String {
    match value {
        Value::None => "nothing".to_owned(),
        Value::Switch(on) => on.to_string(),
        Value::Number(number) => number.to_string(),
        Value::Text(text) => format!("\"{text}\""),
        Value::List(_) => "a list".to_owned(),
        Value::Pairs(_) => "names with text".to_owned(),
    }
}

/// The shape of an address: `host:port`, or a multiaddr, whose parts `net` judges.
fn check_address(text: &str) -> Result<(), String> {
    let is_good = if text.len() > crate::limits::ADDRESS_BYTES_MAX
        || text.chars().any(|c| c.is_whitespace() || c.is_control())
    {
        false
    } else if text.starts_with('/') {
        text.split('/').nth(2).is_some_and(|part| !part.is_empty())
    } else {
        text.rsplit_once(':').is_some_and(|(host, port)| {
            let is_host = match host.strip_prefix('[') {
                Some(rest) => rest
                    .strip_suffix(']')
                    .is_some_and(|ip| ip.parse::<std::net::Ipv6Addr>().is_ok()),
                None => !host.is_empty() && !host.contains(':'),
            };
            is_host && port.parse::<u16>().is_ok()
        })
    };
    if is_good {
        Ok(())
    } else {
        Err(format!("expected host:port or a multiaddr, found \"{text}\""))
    }
}
