//! `p2pgroup doctor`: what is reachable and how, what is not, and what to do about it.
//! Owns: what is looked at, and the words for it.
//! Must not know: how a link comes about.
//! Invariants: it changes nothing; what it could not look at it does not call well.
//! Start reading at: [`run`], [`Report::of_status`].

#![expect(clippy::indexing_slicing, reason = "a JSON value gives null for what is not there")]

mod clock;
mod nat;

use std::collections::BTreeMap;
use std::net::ToSocketAddrs;
use std::process::ExitCode;
use std::time::Duration;

use serde_json::{Value, json};

use self::clock::{Clocks, SKEW_MS, span};
use self::nat::{Mapping, Nat, Sight};
use super::client::Connection;
use super::verbs::PATIENCE;
use crate::cli::{json, report, serve};
use crate::config::Config;
use crate::node;
use crate::refusal::{Refusal, Refused};
use crate::text::one_line;
use crate::time::Wall;

/// How long a server may take to be reached.
const REACH: Duration = Duration::from_secs(3);

/// What helps behind a NAT.
const ADVICE_EASY: &str = "nothing to do: links that others begin come by the relay of the bootstrap and \
                         become direct where the other side's NAT lets them (setting hole_punching); \
                         a port that the router passes on (--listen) needs neither";
const ADVICE_HARD: &str = "pass a port on at the router and name it in --listen, or let a bootstrap at \
                         a public address relay";
/// What helps where a link goes through a relay.
const ADVICE_RELAYED: &str = "a direct link is quicker: hole punching (setting hole_punching, on both sides) \
                            makes one within a minute where both NATs let it, and is tried again at \
                            times; else listen on a port that your router passes on (--listen)";

/// How something stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum State {
    Well,
    Note,
    Bad,
}

impl State {
    const fn name(self) -> &'static str {
        match self {
            Self::Well => "ok",
            Self::Note => "note",
            Self::Bad => "bad",
        }
    }
}

/// From where an address can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Here,
    Near,
    Relay,
    World,
}

impl Place {
    fn of(address: &str) -> Option<Self> {
        let is_relayed = address.contains("/p2p-circuit");
        // A relay is as far away as it can be reached from.
        Self::of_host(address).map(|place| match place {
            Self::World if is_relayed => Self::Relay,
            place => place,
        })
    }

    fn of_host(address: &str) -> Option<Self> {
        let mut parts = address.split('/').skip(1);
        let (kind, host) = (parts.next()?, parts.next()?);
        match (kind, host.parse::<std::net::IpAddr>()) {
            (_, Ok(ip)) if ip.is_loopback() => Some(Self::Here),
            (_, Ok(std::net::IpAddr::V4(ip))) => {
                // 100.64.0.0/10 is what providers put before many customers (RFC 6598), and VPNs use.
                let [first, second, ..] = ip.octets();
                let is_shared = first == 100 && (64..128).contains(&second);
                let is_near = ip.is_private() || ip.is_link_local() || is_shared;
                Some(if is_near { Self::Near } else { Self::World })
            }
            (_, Ok(std::net::IpAddr::V6(ip))) => {
                let is_near = ip.is_unique_local() || ip.is_unicast_link_local();
                Some(if is_near { Self::Near } else { Self::World })
            }
            // A name was chosen for others.
            ("dns" | "dns4" | "dns6", Err(_)) => Some(Self::World),
            _ => None,
        }
    }
}

/// What was found.
#[derive(Debug, Default)]
struct Report {
    findings: Vec<(State, &'static str, String, &'static str)>,
}

impl Report {
    fn say(&mut self, state: State, about: &'static str, what: String, todo: &'static str) {
        self.findings.push((state, about, what, todo));
    }

    /// How a running member stands, by its own account.
    fn of_status(&mut self, status: &Value) {
        self.of_leadership(status);
        self.of_places(status);
        self.of_links(status);
        let queued = status["queued"].as_u64().unwrap_or(0);
        if queued > 0 {
            let what = format!("{queued} of your messages are not yet held by every linked member");
            self.say(State::Note, "queue", what, "nothing to do: they go as soon as they can");
        } else {
            let what = "every linked member holds what you said".to_owned();
            self.say(State::Well, "queue", what, "");
        }
    }

    fn of_leadership(&mut self, status: &Value) {
        match status["leader"]["name"].as_str() {
            Some(name) => {
                let term = &status["leader"]["term"];
                let what = format!("{} leads in term {term}", one_line(name));
                self.say(State::Well, "leader", what, "");
            }
            None => {
                let what = "nobody leads just now; messages go all the same".to_owned();
                let todo = "wait some seconds; if it stays so, see about the voters below";
                self.say(State::Note, "leader", what, todo);
            }
        }
        if status["quorum"] == true {
            self.say(State::Well, "voters", "a majority is there".to_owned(), "");
        } else {
            let why = status["frozen_because"].as_str().unwrap_or_default();
            let todo = "start the members named, or the bootstrap if it is the witness; until then \
                        nobody can be let in or removed";
            self.say(State::Bad, "voters", one_line(why), todo);
        }
    }

    /// From where others can begin a link with us: by what they see of us; where nobody from
    /// elsewhere is linked, by our own addresses.
    fn of_places(&mut self, status: &Value) {
        let listen = texts(&status["listen"]);
        let (state, what, todo) = match nat::judge(&sights(status), &listen) {
            Nat::Unseen => return self.of_own_places(&listen),
            Nat::Reached(by) => {
                let what = format!("reachable directly: {} began a link here", by.who());
                (State::Well, what, "")
            }
            Nat::Absent(by) => {
                let what = format!(
                    "no NAT stands before this machine: {} sees it at an address of its own; \
                     nobody who is linked now has begun the link from outside",
                    by.who()
                );
                let todo = "nothing to do; if others cannot link with it, look for a firewall";
                (State::Well, what, todo)
            }
            Nat::Present(by, Mapping::Same) => {
                let what = format!(
                    "behind a NAT of the easy kind: {} and others elsewhere see the same port \
                     (endpoint-independent mapping): hole punching makes links direct that begin \
                     by a relay, but with those whose NAT is of the hard kind",
                    by.who()
                );
                (State::Note, what, ADVICE_EASY)
            }
            Nat::Present(by, Mapping::Differs) => {
                let what = format!(
                    "behind a NAT of the hard kind: {} sees another port than others elsewhere \
                     (address-dependent mapping): hole punching as good as never gets through, \
                     from outside it is linked by a relay",
                    by.who()
                );
                (State::Note, what, ADVICE_HARD)
            }
            Nat::Present(by, Mapping::Unknown) => {
                let what = format!(
                    "behind a NAT: {}; two who look from different places would tell its kind",
                    by.who()
                );
                (State::Note, what, ADVICE_EASY)
            }
        };
        self.say(state, "nat", what, todo);
    }

    /// What stands between is a NAT where our own addresses are good for the network around us
    /// alone.
    fn of_own_places(&mut self, listen: &[String]) {
        let places: Vec<Place> = listen.iter().filter_map(|it| Place::of(it)).collect();
        let has = |place| places.contains(&place);
        let (state, what, todo) = if has(Place::World) {
            let what = "an address of this machine is good everywhere: no NAT stands before it";
            (State::Well, what, "")
        } else if has(Place::Relay) {
            let what = "behind a NAT: its own addresses are private; from elsewhere others come by \
                        the relay of the bootstrap";
            (State::Note, what, ADVICE_EASY)
        } else if has(Place::Near) {
            let what = "its addresses are private: whoever is in the same network or VPN reaches it, \
                        from elsewhere nobody does";
            let todo = "for others a bootstrap at a public address, whose relay is then used, or a \
                        port that the router passes on (--listen)";
            (State::Note, what, todo)
        } else if has(Place::Here) {
            let todo = "--listen without a loopback address, for others";
            (State::Note, "it listens for this machine alone", todo)
        } else {
            (State::Bad, "it listens nowhere: others cannot begin a link", "see the setting listen")
        };
        self.say(state, "nat", what.to_owned(), todo);
    }

    fn of_links(&mut self, status: &Value) {
        let links = status["links"].as_array().cloned().unwrap_or_default();
        let link_to = |name: &str| links.iter().find(|link| link["name"] == *name);
        let how = |link: &Value| {
            let way = match link["transport"].as_str() {
                Some("relay") => "through the relay".to_owned(),
                Some(transport) => format!("directly by {transport}"),
                None => "somehow".to_owned(),
            };
            match link["rtt_ms"].as_f64() {
                Some(rtt) => format!("{way}, {rtt} ms there and back"),
                None => way,
            }
        };
        match link_to("bootstrap") {
            Some(link) => self.say(State::Well, "bootstrap", how(link), ""),
            None => {
                let what = "not linked; members that know each other go on without it".to_owned();
                let todo = "start it, or check the setting bootstrap; new members need it";
                self.say(State::Note, "bootstrap", what, todo);
            }
        }
        let members = status["members"].as_array().cloned().unwrap_or_default();
        let is_other = |member: &&Value| {
            member["self"] != true && !matches!(member["state"].as_str(), Some("removed" | "left"))
        };
        for member in members.iter().filter(is_other) {
            let name = member["name"].as_str().unwrap_or_default();
            let shown = one_line(name);
            match (link_to(name), member["state"].as_str()) {
                (Some(link), _) if link["transport"] == "relay" => {
                    let what = format!("{shown}: {}", how(link));
                    self.say(State::Note, "member", what, ADVICE_RELAYED);
                }
                (Some(link), _) => {
                    self.say(State::Well, "member", format!("{shown}: {}", how(link)), "");
                }
                (None, Some("active")) => {
                    let todo = "a firewall may stand between you; the relay of the bootstrap helps \
                                where both reach it";
                    let what = format!("{shown}: others reach it, you do not");
                    self.say(State::Bad, "member", what, todo);
                }
                (None, state) => {
                    let what = format!("{shown}: {}", state.unwrap_or("unknown"));
                    let todo = "it gets what was said when it comes back";
                    self.say(State::Note, "member", what, todo);
                }
            }
        }
    }

    /// Whose clock is off, if one is.
    fn of_clocks(&mut self, others: &[clock::Clock]) {
        let todo = "set it by the network (timedatectl set-ntp true); order does not depend on it, \
                    certificates and messages with an end do";
        let of = |(name, ahead): &clock::Clock| {
            let way = if *ahead > 0 { "ahead of" } else { "behind" };
            format!("{}'s clock is {} {way} yours", one_line(name), span(*ahead))
        };
        match clock::judge(others) {
            Clocks::Same if others.is_empty() => {
                let what = "nobody on another machine is linked to compare clocks with".to_owned();
                self.say(State::Note, "clock", what, "nothing to do");
            }
            Clocks::Same => {
                let what = "about the same as those of the others".to_owned();
                self.say(State::Well, "clock", what, "");
            }
            Clocks::OursWrong { ahead, agree } => {
                let way = if ahead > 0 { "slow" } else { "fast" };
                let what = format!(
                    "your clock is {} {way}: {agree} of {} others agree with each other and not \
                     with it",
                    span(ahead),
                    others.len()
                );
                self.say(State::Note, "clock", what, todo);
            }
            Clocks::TheirsWrong(off) => {
                for clock in &off {
                    let what = format!("{}; most others agree with yours", of(clock));
                    self.say(State::Note, "clock", what, "its owner should set it by the network");
                }
            }
            Clocks::Undecided(off) => {
                for clock in &off {
                    let what = format!("{}; too few agree to tell which is right", of(clock));
                    self.say(State::Note, "clock", what, todo);
                }
            }
        }
    }

    fn worst(&self) -> State {
        self.findings.iter().map(|(state, ..)| *state).max().unwrap_or(State::Note)
    }

    fn print(&self, is_json: bool) -> Result<(), Refused> {
        let mut out = Vec::new();
        if is_json {
            let rows: Vec<Value> = self
                .findings
                .iter()
                .map(|(state, about, what, todo)| {
                    json!({ "state": state.name(), "about": about, "what": what, "todo": todo })
                })
                .collect();
            let ok = self.worst() < State::Bad;
            json::doctor(ok, &rows, &mut out);
        } else {
            for (state, about, what, todo) in &self.findings {
                let mut line = format!("{}\t{about}\t{what}", state.name());
                if !todo.is_empty() {
                    line.push_str(&format!("\n\t\ttry: {todo}"));
                }
                line.push('\n');
                out.extend_from_slice(line.as_bytes());
            }
        }
        report::print(&out).map(drop)
    }
}

/// Looks, and says what it saw. The exit code tells whether something is bad.
///
/// # Errors
/// What keeps it from looking at all.
pub(in crate::cli) fn run(config: &Config, is_json: bool) -> Result<ExitCode, Refused> {
    let home = config.member_home()?.to_owned();
    let mut report = Report::default();
    serve::runtime()?.block_on(async {
        match Connection::open(&home, true).await {
            Ok(mut connection) => {
                let status = connection.ask(json!({ "cmd": "status" }), PATIENCE).await?;
                let status = status.last();
                report.of_status(status);
                let end = connection.ask(json!({ "cmd": "since", "last": 1 }), PATIENCE).await?;
                let after = end.last()["last"].as_u64().unwrap_or(0).saturating_sub(50);
                let newest = json!({ "cmd": "since", "after": after });
                let newest = connection.ask(newest, PATIENCE).await?;
                report.of_clocks(&clocks(status, &said(newest.last()), node::wall()));
            }
            Err(refused) if refused.refusal == Refusal::NothingRunning => {
                let what = format!("no member runs on {}", home.display());
                let todo = "p2pgroup join --name NAME, or the --home of one that runs";
                report.say(State::Bad, "member", what, todo);
            }
            Err(refused) => return Err(refused),
        }
        let servers = config.bootstrap.iter().map(|address| ("bootstrap", address));
        for (about, address) in servers.chain([("keyauth", &config.keyauth)]) {
            report.of_server(about, address).await;
        }
        Ok(())
    })?;
    report.print(is_json)?;
    let is_well = report.worst() < State::Bad;
    Ok(if is_well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

impl Report {
    /// Whether something answers at an address; of names and host:port alone, by TCP.
    async fn of_server(&mut self, about: &'static str, address: &str) {
        let Some(at) = socket_of(address) else { return };
        let connecting = tokio::net::TcpStream::connect(at.as_str());
        let shown = one_line(address);
        match tokio::time::timeout(REACH, connecting).await {
            Ok(Ok(_)) => self.say(State::Well, about, format!("{shown} takes connections"), ""),
            Ok(Err(error)) => {
                let todo = "groups go on without it, and nobody new comes in; is the address right \
                            and is it started?";
                self.say(State::Note, about, format!("{shown}: {error}"), todo);
            }
            Err(_) => {
                let todo = "a firewall may swallow what is sent there";
                self.say(State::Note, about, format!("{shown} does not answer"), todo);
            }
        }
    }
}

/// `host:port` of an address, if it is one for TCP.
fn socket_of(address: &str) -> Option<String> {
    if !address.starts_with('/') {
        return Some(address.to_owned());
    }
    let parts: Vec<&str> = address.split('/').collect();
    match parts.as_slice() {
        ["", "ip6", host, "tcp", port, ..] => Some(format!("[{host}]:{port}")),
        ["", _, host, "tcp", port, ..] => Some(format!("{host}:{port}")),
        _ => None,
    }
    .filter(|at| !at.is_empty() && at.to_socket_addrs().is_ok())
}

fn texts(list: &Value) -> Vec<String> {
    let list = list.as_array().map(Vec::as_slice).unwrap_or_default();
    list.iter().filter_map(Value::as_str).map(str::to_owned).collect()
}

/// Where each one who is linked is: the address of its link.
fn links(status: &Value) -> BTreeMap<&str, &str> {
    let links = status["links"].as_array().map(Vec::as_slice).unwrap_or_default();
    links.iter().filter_map(|it| Some((it["name"].as_str()?, it["address"].as_str()?))).collect()
}

/// What others see of this machine.
fn sights(status: &Value) -> Vec<Sight> {
    let links = links(status);
    let of = |seen: &Value| {
        let by = seen["by"].as_str()?;
        Some(Sight {
            by: by.to_owned(),
            from: links.get(by).and_then(|at| nat::host(at)),
            at: seen["address"].as_str()?.to_owned(),
            is_dialled: seen["dialled"] == true,
        })
    };
    let seen = status["seen_at"].as_array().map(Vec::as_slice).unwrap_or_default();
    seen.iter().filter_map(of).collect()
}

impl Sight {
    /// Who sees what, harmless.
    fn who(&self) -> String {
        format!("{} ({})", one_line(&self.by), one_line(&self.at))
    }
}

/// How far others' clocks are from ours: as they said when they linked; of those who are not
/// linked, as far as what they wrote seems to come from the future. Whoever runs on this machine
/// has the same clock, and is left out.
fn clocks(status: &Value, newest: &[(String, Wall)], now: Wall) -> Vec<clock::Clock> {
    let own: Vec<_> = texts(&status["listen"]).iter().filter_map(|at| nat::host(at)).collect();
    let is_here = |at: &str| {
        Place::of(at) == Some(Place::Here) || nat::host(at).is_some_and(|ip| own.contains(&ip))
    };
    let links = links(status);
    let mut clocks: BTreeMap<String, i64> = BTreeMap::new();
    for clock in status["clocks"].as_array().map(Vec::as_slice).unwrap_or_default() {
        if let (Some(name), Some(ahead)) = (clock["name"].as_str(), clock["ahead_ms"].as_i64()) {
            clocks.insert(name.to_owned(), ahead);
        }
    }
    let known: Vec<String> = clocks.keys().cloned().collect();
    for (name, at) in newest.iter().filter(|(name, _)| status["name"] != **name) {
        let ahead = i64::try_from(at.since(now).0).unwrap_or(i64::MAX);
        if !known.contains(name) && ahead.unsigned_abs() > SKEW_MS {
            let newest = clocks.entry(name.clone()).or_default();
            *newest = ahead.max(*newest);
        }
    }
    clocks.retain(|name, _| !links.get(name.as_str()).is_some_and(|at| is_here(at)));
    clocks.into_iter().collect()
}

/// Who wrote the messages of an answer, and when by their own clocks.
fn said(page: &Value) -> Vec<(String, Wall)> {
    let messages = page["messages"].as_array().cloned().unwrap_or_default();
    let of = |message: &Value| {
        let format = &time::format_description::well_known::Rfc3339;
        let at = time::OffsetDateTime::parse(message["sent_at"].as_str()?, format).ok()?;
        let millis = at.unix_timestamp_nanos().checked_div(1_000_000)?;
        Some((message["from"].as_str()?.to_owned(), Wall(u64::try_from(millis).ok()?)))
    };
    messages.iter().filter_map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(report: &Report, about: &str) -> (State, String) {
        let mut found = report.findings.iter().filter(|(_, it, ..)| *it == about);
        let (state, _, what, _) = found.next().unwrap();
        (*state, what.clone())
    }

    #[test]
    fn what_is_not_well_is_said_in_words_with_what_to_do() {
        let status = json!({
            "leader": null, "quorum": false, "frozen_because": "2 of 3 voters are away (bob, carol)",
            "queued": 3,
            "links": [
                { "name": "dave", "transport": "relay", "rtt_ms": 40.5 },
                { "name": "erin", "transport": "quic", "rtt_ms": null },
            ],
            "members": [
                { "name": "alice", "self": true, "state": "active" },
                { "name": "bob", "self": false, "state": "away" },
                { "name": "carol", "self": false, "state": "active" },
                { "name": "dave", "self": false, "state": "active" },
                { "name": "erin", "self": false, "state": "active" },
            ],
        });
        let mut report = Report::default();
        report.of_status(&status);
        assert_eq!(found(&report, "leader").0, State::Note);
        let voters = (State::Bad, "2 of 3 voters are away (bob, carol)".to_owned());
        assert_eq!(found(&report, "voters"), voters);
        assert_eq!(found(&report, "bootstrap").0, State::Note);
        let members: Vec<(State, &str)> = report
            .findings
            .iter()
            .filter(|(_, about, ..)| *about == "member")
            .map(|(state, _, what, _)| (*state, what.as_str()))
            .collect();
        let expected = [
            (State::Note, "bob: away"),
            (State::Bad, "carol: others reach it, you do not"),
            (State::Note, "dave: through the relay, 40.5 ms there and back"),
            (State::Well, "erin: directly by quic"),
        ];
        assert_eq!(members, expected);
        let is_told = |(state, _, _, todo): &(State, &str, String, &str)| {
            *state == State::Well || !todo.is_empty()
        };
        assert!(report.findings.iter().all(is_told));
        assert_eq!(report.worst(), State::Bad);
    }

    fn of_clocks(status: &Value, newest: &[(String, Wall)], now: Wall) -> Report {
        let mut report = Report::default();
        report.of_clocks(&clocks(status, newest, now));
        report
    }

    #[test]
    fn a_clock_that_is_off_is_noticed_by_what_others_wrote() {
        let now = Wall(1_795_269_910_123);
        let alone = json!({ "name": "alice" });
        let newest = [("bob".to_owned(), Wall(now.0 + 61_000)), ("eve".to_owned(), now)];
        let (state, what) = found(&of_clocks(&alone, &newest, now), "clock");
        let expected = "bob's clock is 61 s ahead of yours; too few agree to tell which is right";
        assert_eq!((state, what.as_str()), (State::Note, expected));
        // What was written before says nothing of now.
        let (_, what) =
            found(&of_clocks(&alone, &[("bob".to_owned(), Wall(now.0 - 61_000))], now), "clock");
        assert!(what.starts_with("nobody on another machine"), "{what}");
        // What one wrote oneself has one's own clock.
        let own = [("alice".to_owned(), Wall(now.0 + 61_000))];
        assert!(clocks(&alone, &own, now).is_empty());
    }

    #[test]
    fn it_is_said_whose_clock_is_wrong_also_if_it_is_ones_own() {
        let status = |bob: i64, carol: i64, dave: i64| {
            json!({
                "name": "alice",
                "listen": ["/ip4/192.168.1.7/tcp/4001"],
                "links": [
                    { "name": "bob", "address": "/ip4/198.51.100.1/tcp/1" },
                    { "name": "carol", "address": "/ip4/198.51.100.2/tcp/1" },
                    // On this machine, as its own address and as loopback: no second opinion.
                    { "name": "dave", "address": "/ip4/192.168.1.7/tcp/1" },
                    { "name": "bootstrap", "address": "/ip4/127.0.0.1/tcp/1" },
                ],
                "clocks": [
                    { "name": "bob", "ahead_ms": bob },
                    { "name": "carol", "ahead_ms": carol },
                    { "name": "dave", "ahead_ms": dave },
                    { "name": "bootstrap", "ahead_ms": 1 },
                ],
            })
        };
        let said = |status| found(&of_clocks(&status, &[], Wall(9)), "clock");
        let (state, what) = said(status(61_000, 60_500, 0));
        let expected =
            "your clock is 61 s slow: 2 of 2 others agree with each other and not with it";
        assert_eq!((state, what.as_str()), (State::Note, expected));
        let (_, what) = said(status(-3_600_000, -3_600_100, 0));
        assert!(what.starts_with("your clock is 60 min fast"), "{what}");
        let (_, what) = said(status(200, -61_000, 0));
        assert_eq!(what, "carol's clock is 61 s behind yours; most others agree with yours");
        assert_eq!(said(status(200, -300, 70_000)).0, State::Well);
    }

    #[test]
    fn what_others_see_of_this_machine_is_said_in_plain_words() {
        let told = |seen: &[(&str, &str, bool)]| {
            let seen: Vec<Value> = seen
                .iter()
                .map(|(by, at, dialled)| json!({ "by": by, "address": at, "dialled": dialled }))
                .collect();
            let status = json!({
                "listen": ["/ip4/192.168.1.7/udp/4001/quic-v1"],
                "seen_at": seen,
                "links": [
                    { "name": "bob\u{7}", "address": "/ip4/198.51.100.1/udp/1/quic-v1" },
                    { "name": "carol", "address": "/ip4/198.51.100.2/udp/1/quic-v1" },
                ],
            });
            let mut report = Report::default();
            report.of_places(&status);
            found(&report, "nat")
        };
        let (nine, ten) = ("/ip4/203.0.113.7/udp/9/quic-v1", "/ip4/203.0.113.7/udp/10/quic-v1");
        for (seen, state, words) in [
            (&[("bob\u{7}", nine, false)][..], State::Well, "reachable directly: bob\\u{7} ("),
            (&[("bob\u{7}", nine, true)], State::Note, "would tell its kind"),
            (&[("bob\u{7}", nine, true), ("carol", nine, true)], State::Note, "the easy kind"),
            (&[("bob\u{7}", nine, true), ("carol", ten, true)], State::Note, "the hard kind"),
            (&[("carol", "/ip4/192.168.1.7/tcp/1", true)], State::Note, "same network"),
        ] {
            let (said, what) = told(seen);
            assert!(said == state && what.contains(words), "{seen:?}: {what}");
        }
    }

    #[test]
    fn a_nat_is_told_by_the_addresses_one_has() {
        let told = |listen: &[&str]| {
            let mut report = Report::default();
            report.of_places(&json!({ "listen": listen }));
            found(&report, "nat")
        };
        let near = "/ip4/192.168.1.7/tcp/4001";
        let relayed = "/ip4/203.0.113.9/tcp/9001/p2p/12D3KooW/p2p-circuit";
        for (listen, state, words) in [
            (&[near, "/ip4/203.0.113.7/tcp/4001"][..], State::Well, "no NAT"),
            (&["/dns/chat.example/tcp/4001"], State::Well, "no NAT"),
            (&[near, relayed], State::Note, "behind a NAT"),
            (&[near, "/ip4/10.0.0.1/tcp/9/p2p/12D3KooW/p2p-circuit"], State::Note, "same network"),
            (&[near, "/ip4/127.0.0.1/tcp/4001"], State::Note, "same network"),
            (&["/ip4/100.64.3.4/udp/4001/quic-v1"], State::Note, "same network"),
            (&["/ip6/fd00::1/tcp/4001"], State::Note, "same network"),
            (&["/ip4/127.0.0.1/tcp/4001"], State::Note, "this machine alone"),
            (&[], State::Bad, "listens nowhere"),
        ] {
            let (seen, what) = told(listen);
            assert!(seen == state && what.contains(words), "{listen:?}: {what}");
        }
    }

    #[test]
    fn addresses_are_tried_where_tcp_is_meant() {
        assert_eq!(socket_of("h:1").as_deref(), Some("h:1"));
        assert_eq!(socket_of("/ip4/127.0.0.1/tcp/9").as_deref(), Some("127.0.0.1:9"));
        assert_eq!(socket_of("/ip6/::1/tcp/9").as_deref(), Some("[::1]:9"));
        assert_eq!(socket_of("/ip4/127.0.0.1/udp/9/quic-v1"), None);
    }
}
