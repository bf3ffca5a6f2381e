//! Networks of their own, with cables between them.
//! Owns: network namespaces, which end with the test.
//! Must not know: what runs in them.
//! Invariants: they need no privileges; where the system gives no namespaces, the first one is `None`.
//! Start reading at: [`Net`].

use std::io::Write;
use std::process::{Command, Stdio};

use crate::harness::{LOOK, Lab, Proc, Value};

/// A network of its own, as long as it lives.
pub struct Net(Proc);

const READY: &str = "ip link set lo up && echo up && exec sleep 600";

impl Net {
    /// The first one; the others come from it. `None`: the system allows none.
    pub fn first(lab: &Lab, name: &str) -> Option<Self> {
        Self::up(Proc::start(name, lab.wrapped("unshare", &["-rn", "sh", "-c", READY])))
    }

    /// One more, which can be cabled with this one.
    pub fn beside(&self, lab: &Lab, name: &str) -> Option<Self> {
        let id = self.0.id().to_string();
        let args = ["-t", &id, "-U", "--preserve-credentials", "unshare", "-n", "sh", "-c", READY];
        Self::up(Proc::start(name, lab.wrapped("nsenter", &args)))
    }

    fn up(proc: Proc) -> Option<Self> {
        loop {
            if proc.events().iter().any(|line| line == "up") {
                return Some(Self(proc));
            }
            if !proc.is_running() {
                return None;
            }
            std::thread::sleep(LOOK);
        }
    }

    /// A cable to another one: its end here, its end there.
    pub fn cable(&self, here: &str, other: &Self, there: &str) {
        self.ip(&format!("link add {here} type veth peer name {there}"));
        self.ip(&format!("link set {there} netns {}", other.0.id()));
        self.ip(&format!("link set {here} up"));
        other.ip(&format!("link set {there} up"));
    }

    /// What runs a program in it.
    fn inside<'a>(&'a self, id: &'a str) -> Vec<&'a str> {
        vec!["-t", id, "-U", "-n", "--preserve-credentials"]
    }

    /// Starts our program in it.
    pub fn start(&self, lab: &Lab, name: &str, args: &[&str]) -> Proc {
        let id = self.0.id().to_string();
        let program = crate::harness::program();
        let args = [self.inside(&id), vec![&program], args.to_vec()].concat();
        Proc::start(name, lab.wrapped("nsenter", &args))
    }

    /// Starts a bootstrap or an authority in it; gives what it says once it is ready.
    pub fn server(&self, lab: &Lab, role: &str, listen: &str) -> (Proc, Value) {
        let home = lab.home(role);
        let args = [role, "--json", "--listen", listen, "--home", home.to_str().unwrap()];
        let server = self.start(lab, role, &args);
        let ready = server.wait("it is ready", |it| it["event"] == "ready");
        (server, ready)
    }

    pub fn ip(&self, line: &str) {
        self.run(&format!("ip {line}"), "");
    }

    /// Runs a line of the shell in it, to its end.
    pub fn run(&self, line: &str, input: &str) {
        let id = self.0.id().to_string();
        let line = format!("PATH=$PATH:/usr/sbin:/sbin; {line}");
        let args = [self.inside(&id), vec!["sh", "-c", &line]].concat();
        let mut command = Command::new("nsenter");
        command.args(&args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        let done = child.wait_with_output().unwrap();
        assert!(done.status.success(), "{line}: {done:?}\n{input}");
    }
}
