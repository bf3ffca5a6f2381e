//! `p2pgroup doctor`: what is reachable and how, what is not, and what to do about it.
//! Owns: what is looked at, and the words for it.
//! Must not know: how a link comes about.
//! Invariants: it changes nothing; what it could not look at it does not call well.
//! Start reading at: [`run`], [`Report::of_status`].

#![expect(clippy::indexing_slicing, reason = "a JSON value gives null for what is not there")]

use std::net::ToSocketAddrs;
use std::process::ExitCode;
use std::time::Duration;

use serde_json::{Value, json};

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
/// How far a message may seem to come from the future before a clock is called wrong.
const SKEW_MS: u64 = 5_000;

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

    /// From where others can begin a link with us: what stands between is a NAT where our own
    /// addresses are good for the network around us alone.
    fn of_places(&mut self, status: &Value) {
        let listen = status["listen"].as_array().cloned().unwrap_or_default();
        let places: Vec<Place> =
            listen.iter().filter_map(|it| it.as_str()).filter_map(Place::of).collect();
        let has = |place| places.contains(&place);
        let (state, what, todo) = if has(Place::World) {
            let what = "an address of this machine is good everywhere: no NAT stands before it";
            (State::Well, what, "")
        } else if has(Place::Relay) {
            let what = "behind a NAT: its own addresses are private; from elsewhere others come by \
                        the relay of the bootstrap";
            let todo =
                "a direct link is quicker: pass a port on at the router and name it in --listen";
            (State::Note, what, todo)
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
                    let todo = "a direct link is quicker: listen on a port that your router passes \
                                on (--listen)";
                    self.say(State::Note, "member", format!("{shown}: {}", how(link)), todo);
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

    /// Whether what others wrote seems to come from the future.
    fn of_clocks(&mut self, newest: &[(String, Wall)], now: Wall) {
        let ahead = newest.iter().filter_map(|(name, at)| Some((name, at.0.checked_sub(now.0)?)));
        match ahead.max_by_key(|(_, ahead)| *ahead).filter(|(_, ahead)| *ahead > SKEW_MS) {
            Some((name, ahead)) => {
                let seconds = ahead / 1_000;
                let name = one_line(name);
                let what = format!("{name}'s clock is {seconds} s ahead of yours, or yours behind");
                let todo = "set both by the network (timedatectl set-ntp true); order does not \
                            depend on it, certificates do";
                self.say(State::Note, "clock", what, todo);
            }
            None => {
                let what = "no message comes from the future of this clock".to_owned();
                self.say(State::Well, "clock", what, "");
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
                report.of_status(status.last());
                let end = connection.ask(json!({ "cmd": "since", "last": 1 }), PATIENCE).await?;
                let after = end.last()["last"].as_u64().unwrap_or(0).saturating_sub(50);
                let newest = json!({ "cmd": "since", "after": after });
                let newest = connection.ask(newest, PATIENCE).await?;
                report.of_clocks(&said(newest.last()), node::wall());
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

    #[test]
    fn a_clock_that_is_off_is_noticed_by_what_others_wrote() {
        let now = Wall(1_795_269_910_123);
        let mut report = Report::default();
        report.of_clocks(&[("bob".to_owned(), Wall(now.0 + 61_000)), ("eve".to_owned(), now)], now);
        let (state, what) = found(&report, "clock");
        assert!(state == State::Note && what.starts_with("bob's clock is 61 s ahead"), "{what}");
        let mut report = Report::default();
        report.of_clocks(&[("bob".to_owned(), Wall(now.0 - 61_000))], now);
        assert_eq!(found(&report, "clock").0, State::Well);
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
