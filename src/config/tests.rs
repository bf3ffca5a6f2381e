//! Tests of the settings: layers, origins, and every mistake that a file can hold.
//! Owns: group L of the catalogue of faults, as far as settings go.
//! Must not know: how the shapes are made.
//! Invariants: a changed line here is a changed promise to users.
//! Start reading at: the first test.

use super::*;

struct Home(tempfile::TempDir);

impl Home {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }
    fn sources(&self) -> Sources {
        let places = Places {
            data: Some(self.0.path().join("data")),
            config: Some(self.0.path().join("config")),
            downloads: None,
        };
        Sources { places, ..Sources::default() }
    }
    fn with_file(&self, text: &[u8]) -> Sources {
        let path = self.0.path().join("settings.yml");
        std::fs::write(&path, text).unwrap();
        Sources { file: Some(path), ..self.sources() }
    }
}

fn env(pairs: &[(&str, &str)]) -> Vec<(OsString, OsString)> {
    pairs.iter().map(|(name, value)| (name.into(), value.into())).collect()
}

fn flag(key: Key, flag: &'static str, text: &str) -> Flag {
    Flag { key, flag, value: Value::Text(text.to_owned()) }
}

fn refused(text: &[u8]) -> Refused {
    let home = Home::new();
    Config::load(RoleKind::Member, &home.with_file(text)).unwrap_err()
}

fn origin(config: &Config, path: &str) -> Origin {
    config.shown.iter().find(|shown| shown.path == path).unwrap().origin.clone()
}

#[test]
fn the_example_file_lists_every_setting_with_its_default() {
    let text = include_str!("../../config.yml");
    let said = file::parse(text).unwrap();
    let listed: Vec<_> = said.iter().map(|said| said.setting.path).collect();
    let all: Vec<_> = SETTINGS.iter().map(|setting| setting.path).collect();
    assert_eq!(listed, all, "config.yml has every setting, in this order");
    for said in &said {
        assert_eq!(said.value, said.setting.preset.value(), "{}", said.setting.path);
        assert!(text.contains(said.setting.env), "{} is not named", said.setting.env);
    }
}

#[test]
fn every_default_is_allowed_by_its_own_setting() {
    for setting in SETTINGS {
        let preset = setting.preset.value();
        assert_eq!(setting.check(preset.clone()), Ok(preset), "{}", setting.path);
    }
}

#[test]
fn the_timer_profiles_are_those_of_the_protocol() {
    use crate::protocol::Timers;
    let home = Home::new();
    let mut sources = home.sources();
    let config = Config::load(RoleKind::Member, &sources).unwrap();
    assert_eq!(Timers::from(config.timers), Timers::LAN);
    sources.env = env(&[("P2PGROUP_TIMERS_PROFILE", "wan")]);
    let config = Config::load(RoleKind::Member, &sources).unwrap();
    assert_eq!(Timers::from(config.timers), Timers::WAN);
    assert_eq!(origin(&config, "timers.heartbeat_ms"), Origin::Profile);
}

#[test]
fn flags_beat_the_environment_and_that_beats_the_file() {
    let home = Home::new();
    let mut sources = home.with_file(b"\nname: from-file\nkeyauth: file:1\nmdns: false\n");
    let config = Config::load(RoleKind::Member, &sources).unwrap();
    assert_eq!((config.name.as_str(), config.keyauth.as_str()), ("from-file", "file:1"));
    let path = sources.file.clone().unwrap();
    assert_eq!(origin(&config, "name"), Origin::File { path, line: 2 });
    sources.env =
        env(&[("P2PGROUP_NAME", "from-env"), ("P2PGROUP_KEYAUTH", "env:1"), ("HOME", "x")]);
    sources.flags = vec![flag(Key::Name, "--name", "from-flag")];
    let config = Config::load(RoleKind::Member, &sources).unwrap();
    assert_eq!((config.name.as_str(), config.keyauth.as_str()), ("from-flag", "env:1"));
    assert!(!config.mdns);
    assert_eq!(origin(&config, "name"), Origin::Flag("--name"));
    assert_eq!(origin(&config, "keyauth"), Origin::Env("P2PGROUP_KEYAUTH"));
    assert_eq!(origin(&config, "embedded"), Origin::Default);
    assert_eq!(origin(&config, "keyauth").to_string(), "env P2PGROUP_KEYAUTH");
}

#[test]
fn a_missing_default_file_is_fine_and_a_missing_named_one_is_not() {
    let home = Home::new();
    let mut sources = home.sources();
    assert!(Config::load(RoleKind::Member, &sources).is_ok());
    sources.file = Some(home.0.path().join("none.yml"));
    let refused = Config::load(RoleKind::Member, &sources).unwrap_err();
    assert_eq!(refused.refusal, Refusal::ConfigUnreadable);
    assert_eq!(refused.refusal.exit(), 3);
    assert!(refused.detail.contains("none.yml"));
    sources.file = None;
    sources.env = env(&[("P2PGROUP_CONFIG", "/nowhere/none.yml")]);
    let refused = Config::load(RoleKind::Member, &sources).unwrap_err();
    assert_eq!(refused.refusal, Refusal::ConfigUnreadable);
}

#[test]
fn the_default_file_is_read_where_it_is() {
    let home = Home::new();
    std::fs::create_dir(home.0.path().join("config")).unwrap();
    std::fs::write(home.0.path().join("config/config.yml"), "name: found\n").unwrap();
    assert_eq!(Config::load(RoleKind::Member, &home.sources()).unwrap().name, "found");
}

#[test]
fn an_unknown_key_names_its_line_and_the_nearest_one() {
    for (text, line, near) in [
        (&b"# a\nnmae: x\n"[..], ":2:", "\"name\""),
        (b"timers:\n  heartbeatms: 3\n", ":2:", "\"timers.heartbeat_ms\""),
        (b"name: a\nheartbeat_ms: 5\n", ":2:", "\"timers.heartbeat_ms\""),
        (b"listn:\n  member: [a:1]\n", ":1:", "\"listen\""),
        (b"reservations: 5\n", ":1:", "\"relay.reservations\""),
    ] {
        let refused = refused(text);
        assert_eq!(refused.refusal, Refusal::ConfigBad);
        assert!(refused.detail.contains(line), "{}", refused.detail);
        assert!(refused.detail.contains(&format!("did you mean {near}?")), "{}", refused.detail);
    }
    assert!(!refused(b"qqqqqq: 1\n").detail.contains("did you mean"));
}

#[test]
fn wrong_types_and_broken_files_are_one_line_each_and_start_nothing() {
    for (text, line, what) in [
        (&b"mdns: maybe\n"[..], ":1:", "expected true or false"),
        (b"name: a\nmax_networks: many\n", ":2:", "expected a whole number"),
        (b"max_networks: -1\n", ":1:", "fits no setting"),
        (b"max_networks: 1.5\n", ":1:", "fits no setting"),
        (b"max_networks: 0\n", ":1:", "a number from 1 to 65536"),
        (b"max_networks:\n", ":1:", "expected a whole number, found nothing"),
        (b"name: 12\n", ":1:", "expected text"),
        (b"name: [a]\n", ":1:", "expected text"),
        (b"name:\n  a: b\n", ":1:", "found settings below it"),
        (b"timers: 4\n", ":1:", "expected settings of its own"),
        (b"admission: shut\n", ":1:", "expected open or approve"),
        (b"listen:\n  member: []\n", ":2:", "at least one address"),
        (b"bootstrap: [1, 2]\n", ":1:", "expected a list of text"),
        (b"bootstrap: nowhere\n", ":1:", "expected host:port"),
        (b"name: a\nname: b\n", ":2:", "duplicate"),
        (b"name: [a\n", ":1:", "unclosed"),
        (b"timers:\n\tprofile: lan\n", ":2:", "tabs"),
        (b"- name\n", ":1:", "expected lines of the form"),
        (b"just words\n", ":1:", "expected lines of the form"),
        (b"name: a\n---\nname: b\n", ":3:", "multiple"),
        (b"\xef\xbb\xbfname: a\n", ":1:", "byte order mark"),
        (b"", "settings.yml:", "the file is empty"),
        (b" \n\n", "settings.yml:", "the file is empty"),
        (b"name: \xff\n", "settings.yml:", "not UTF-8"),
        (b"log: loud\n", ":1", "expected off, error"),
    ] {
        let refused = refused(text);
        let shown = String::from_utf8_lossy(text);
        assert_eq!(refused.refusal, Refusal::ConfigBad, "{shown}");
        assert!(refused.detail.contains(line), "{shown}: {}", refused.detail);
        assert!(refused.detail.contains(what), "{shown}: {}", refused.detail);
        assert!(!refused.detail.contains('\n'), "{}", refused.detail);
    }
}

#[test]
fn a_file_of_comments_says_nothing() {
    let home = Home::new();
    let sources = home.with_file(b"# name: alice\n\n  # more\n");
    assert_eq!(Config::load(RoleKind::Member, &sources).unwrap().name, "");
    // Sections whose settings are all commented out.
    let sources = home.with_file(b"timers:\n#  profile: wan\nname: a\n");
    assert_eq!(Config::load(RoleKind::Member, &sources).unwrap().name, "a");
}

#[test]
fn a_bomb_of_aliases_and_an_endless_file_are_refused() {
    let mut bomb = b"a0: &a0 [x]\n".to_vec();
    for step in 1..40 {
        let from = step - 1;
        bomb.extend_from_slice(format!("a{step}: &a{step} [*a{from}, *a{from}]\n").as_bytes());
    }
    assert_eq!(refused(&bomb).refusal, Refusal::ConfigBad);
    let long = vec![b'#'; crate::limits::CONFIG_BYTES_MAX + 1];
    assert_eq!(refused(&long).refusal, Refusal::ConfigUnreadable);
    let nested = [b"name: ".to_vec(), vec![b'['; 10_000]].concat();
    assert_eq!(refused(&nested).refusal, Refusal::ConfigBad);
}

#[test]
fn variables_are_checked_like_lines() {
    let home = Home::new();
    let load = |pairs: &[(&str, &str)]| {
        let sources = Sources { env: env(pairs), ..home.sources() };
        Config::load(RoleKind::Member, &sources)
    };
    let refused = load(&[("P2PGROUP_HOEM", "x")]).unwrap_err();
    assert!(refused.detail.contains("did you mean P2PGROUP_HOME?"));
    let refused = load(&[("P2PGROUP_MDNS", "2")]).unwrap_err();
    assert_eq!(refused.detail, "env P2PGROUP_MDNS: expected true or false, found \"2\"");
    let refused = load(&[("P2PGROUP_BOOTSTRAP", "a:1,b")]).unwrap_err();
    assert_eq!(refused.refusal, Refusal::AddressBad);
    // Some script's own variable stops nothing, but is told.
    let config = load(&[("P2PGROUP_XYZZY", "1"), ("P2PGROUP_NAME", "")]).unwrap();
    assert_eq!((config.warnings.len(), config.name.as_str()), (1, ""));
    let config = load(&[("P2PGROUP_BOOTSTRAP", "a:1, b:2")]).unwrap();
    assert_eq!(config.bootstrap, ["a:1", "b:2"]);
    let config = load(&[("NO_COLOR", "1")]).unwrap();
    assert_eq!(config.color, Color::Never);
    let config = load(&[("NO_COLOR", "1"), ("P2PGROUP_COLOR", "always")]).unwrap();
    assert_eq!(config.color, Color::Always);
}

#[test]
fn home_and_listen_of_the_environment_speak_of_the_role_that_runs() {
    let home = Home::new();
    let pairs = env(&[("P2PGROUP_HOME", "/h"), ("P2PGROUP_LISTEN", "127.0.0.1:1")]);
    let sources = Sources { env: pairs, ..home.sources() };
    for role in [RoleKind::Member, RoleKind::Bootstrap, RoleKind::Keyauth] {
        let config = Config::load(role, &sources).unwrap();
        assert_eq!(config.home, Path::new("/h"));
        assert_eq!(config.listen, ["127.0.0.1:1"]);
        let others = config.shown.iter().filter(|shown| shown.origin == Origin::Default);
        assert_eq!(others.filter(|shown| shown.path.starts_with("home.")).count(), 2);
    }
}

#[test]
fn all_roles_and_every_name_have_homes_of_their_own() {
    let home = Home::new();
    let named = |name: &str| {
        let flags = vec![flag(Key::Name, "--name", name)];
        let sources = Sources { flags, ..home.sources() };
        Config::load(RoleKind::Member, &sources).unwrap().home
    };
    let of = |role| Config::load(role, &home.sources()).unwrap().home;
    let mut homes = vec![
        of(RoleKind::Bootstrap),
        of(RoleKind::Keyauth),
        Config::load(RoleKind::Keyauth, &home.sources()).unwrap().embedded_home,
        named("alice"),
        named("bob"),
        named("../bob"),
        named("b/ob"),
        named(".."),
        named("żółw"),
    ];
    let data = home.0.path().join("data");
    for home in &homes {
        let inside = home.strip_prefix(&data).unwrap();
        let is_plain = |part| matches!(part, std::path::Component::Normal(_));
        assert!(inside.components().all(is_plain), "{inside:?}");
    }
    let count = homes.len();
    homes.sort();
    homes.dedup();
    assert_eq!(homes.len(), count);
}

#[test]
fn without_a_name_the_only_home_there_is_gets_used() {
    let home = Home::new();
    let load = || Config::load(RoleKind::Member, &home.sources()).unwrap();
    assert_eq!(load().member_home().unwrap_err().refusal, Refusal::NameMissing);
    let members = home.0.path().join("data/members");
    std::fs::create_dir_all(members.join("alice")).unwrap();
    assert_eq!(load().member_home().unwrap(), members.join("alice"));
    std::fs::create_dir_all(members.join("bob")).unwrap();
    assert_eq!(load().member_home().unwrap_err().refusal.exit(), 2);
}

#[test]
fn timers_that_would_elect_without_need_are_refused() {
    let home = Home::new();
    for (heartbeat, min, max, away, named) in [
        ("251", "750", "1500", "5000", "timers.election_min_ms"),
        ("250", "750", "750", "5000", "timers.election_max_ms"),
        ("250", "750", "1500", "1499", "timers.away_after_ms"),
        ("9", "750", "1500", "5000", "P2PGROUP_TIMERS_HEARTBEAT_MS"),
        ("60001", "300000", "600000", "3600000", "P2PGROUP_TIMERS_HEARTBEAT_MS"),
    ] {
        let pairs = env(&[
            ("P2PGROUP_TIMERS_HEARTBEAT_MS", heartbeat),
            ("P2PGROUP_TIMERS_ELECTION_MIN_MS", min),
            ("P2PGROUP_TIMERS_ELECTION_MAX_MS", max),
            ("P2PGROUP_TIMERS_AWAY_AFTER_MS", away),
        ]);
        let sources = Sources { env: pairs, ..home.sources() };
        let refused = Config::load(RoleKind::Member, &sources).unwrap_err();
        assert_eq!(refused.refusal, Refusal::ConfigBad);
        assert!(refused.detail.contains(named), "{}", refused.detail);
    }
    let pairs = env(&[("P2PGROUP_TIMERS_HEARTBEAT_MS", "50")]);
    let sources = Sources { env: pairs, ..home.sources() };
    let config = Config::load(RoleKind::Member, &sources).unwrap();
    assert_eq!(config.timers.heartbeat, Millis(50));
    assert_eq!(config.timers.election_min, Millis(750));
}

#[test]
fn addresses_are_host_and_port_or_multiaddrs() {
    let setting = settings::by_path("keyauth").unwrap();
    let is_good = |text: &str| setting.check(Value::Text(text.to_owned())).is_ok();
    for good in
        ["127.0.0.1:8999", "example.org:1", "[::1]:9001", "/dns4/x/tcp/1", "localhost:65535"]
    {
        assert!(is_good(good), "{good}");
    }
    let long = format!("{}:1", "x".repeat(300));
    for bad in [
        "",
        "host",
        ":1",
        "host:",
        "host:65536",
        "host:x",
        "::1:9",
        "[x]:1",
        "/",
        "/ip4",
        "a b:1",
        &long,
    ] {
        assert!(!is_good(bad), "{bad}");
    }
}
