//! A world for one test: a directory, addresses, settings, and the roles started in it.
//! Owns: what surrounds a process, and that only a few tests run processes at the same time.
//! Must not know: what any test is about.
//! Invariants: nothing of the person who runs the tests is read or touched.
//! Start reading at: [`Lab`].

use std::collections::BTreeMap;
use std::net::{TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};

use crate::harness::{Ended, LONG, Proc, lock, program, settled};

/// Tests that run processes at the same time: they wait for each other far more than they work.
const LABS_MAX: u32 = 5;

/// Members whose keys are stored.
const KEYS: [&str; 10] =
    ["alice", "bob", "carol", "dave", "erin", "frank", "grace", "heidi", "ivan", "judy"];

static LABS: (Mutex<u32>, Condvar) = (Mutex::new(0), Condvar::new());

/// Addresses below those that systems give out by themselves, so that nobody takes a free one
/// between the look and the use.
pub fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let start = std::process::id().wrapping_mul(211);
        let port = 11_000 + u16::try_from(start.wrapping_add(n) % 20_000).unwrap();
        let address = ("127.0.0.1", port);
        if TcpListener::bind(address).is_ok() && UdpSocket::bind(address).is_ok() {
            return port;
        }
    }
}

/// One test's world: a directory, the addresses of bootstrap and key authority, and settings.
pub struct Lab {
    pub dir: tempfile::TempDir,
    pub bootstrap: String,
    pub keyauth: String,
    pub env: BTreeMap<String, String>,
}

impl Drop for Lab {
    fn drop(&mut self) {
        *lock(&LABS.0) -= 1;
        LABS.1.notify_one();
    }
}

impl Lab {
    /// Waits for its turn.
    pub fn new() -> Self {
        let mut count = lock(&LABS.0);
        while *count >= LABS_MAX {
            count = LABS.1.wait(count).unwrap_or_else(PoisonError::into_inner);
        }
        *count += 1;
        drop(count);
        let dir = tempfile::Builder::new().prefix("p2pgroup-").tempdir().unwrap();
        Self {
            dir,
            bootstrap: format!("127.0.0.1:{}", free_port()),
            keyauth: format!("127.0.0.1:{}", free_port()),
            env: BTreeMap::new(),
        }
    }

    /// With a setting from the environment, such as `TIMERS_AWAY_AFTER_MS`.
    pub fn with(mut self, setting: &str, value: &str) -> Self {
        self.env.insert(format!("P2PGROUP_{setting}"), value.to_owned());
        self
    }

    pub fn home(&self, name: &str) -> PathBuf {
        self.dir.path().join("homes").join(name)
    }

    /// A home with a key, so that none is drawn: that takes long where nothing is optimised.
    pub fn prepare(&self, name: &str, key: &str) {
        let home = self.home(name);
        let file = home.join("member.key");
        let stored = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/keys").join(key);
        if file.exists() || !stored.exists() {
            return;
        }
        std::fs::create_dir_all(&home).unwrap();
        set_mode(&home, 0o700);
        std::fs::copy(stored, &file).unwrap();
        set_mode(&file, 0o600);
    }

    /// The program with this lab's surroundings and no others.
    pub fn command(&self, args: &[&str]) -> Command {
        self.wrapped(&program(), args)
    }

    /// Another program with the same surroundings.
    pub fn wrapped(&self, program: &str, args: &[&str]) -> Command {
        let mut command = Command::new(program);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("P2PGROUP_") {
                command.env_remove(name);
            }
        }
        let dir = self.dir.path();
        command
            .args(args)
            .current_dir(dir)
            .env("HOME", dir)
            .env("XDG_CONFIG_HOME", dir.join("config"))
            .env("XDG_DATA_HOME", dir.join("data"))
            .env("P2PGROUP_EMBEDDED_HOME", dir.join("embedded"))
            // Tests run side by side and must not find each other.
            .env("P2PGROUP_MDNS", "false")
            .env("TZ", "UTC")
            .envs(std::env::var("P2PGROUP_TEST_LOG").map(|log| ("P2PGROUP_LOG", log)))
            .envs(&self.env)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Runs the program to its end.
    pub fn run(&self, args: &[&str], input: &str) -> Ended {
        let proc = Proc::start("run", self.command(args));
        proc.feed(input);
        proc.close_input();
        proc.ended(LONG)
    }

    /// Starts the bootstrap.
    pub fn bootstrap(&self) -> Proc {
        let home = self.home("bootstrap");
        let home = home.to_str().unwrap();
        let args = ["bootstrap", "--json", "--listen", &self.bootstrap, "--home", home];
        let proc = Proc::start("bootstrap", self.command(&args));
        proc.wait("bootstrap is ready", |e| e["event"] == "ready");
        proc
    }

    /// Starts the key authority.
    pub fn keyauth(&self) -> Proc {
        let home = self.home("keyauth");
        let stored = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/keys/authority.pem");
        let key = home.join("authority.key");
        if !key.exists() && stored.exists() {
            std::fs::create_dir_all(&home).unwrap();
            set_mode(&home, 0o700);
            std::fs::copy(stored, &key).unwrap();
            set_mode(&key, 0o600);
        }
        let home = home.to_str().unwrap();
        let args = ["keyauth", "--json", "--listen", &self.keyauth, "--home", home];
        let proc = Proc::start("keyauth", self.command(&args));
        proc.wait("keyauth is ready", |e| e["event"] == "ready");
        proc
    }

    /// The command line of a member.
    pub fn join_args(&self, name: &str, more: &[&str]) -> Vec<String> {
        let home = self.home(name);
        let mut args: Vec<String> = [
            "join",
            "--json",
            "--name",
            name,
            "--listen",
            "127.0.0.1:0",
            "--bootstrap",
            &self.bootstrap,
            "--keyauth",
            &self.keyauth,
            "--home",
            home.to_str().unwrap(),
        ]
        .iter()
        .map(|&arg| arg.to_owned())
        .collect();
        args.extend(more.iter().map(|&arg| arg.to_owned()));
        args
    }

    /// Starts a member and returns at once.
    pub fn start_with(&self, name: &str, more: &[&str]) -> Proc {
        if KEYS.contains(&name) {
            self.prepare(name, &format!("{name}.pem"));
        }
        let args = self.join_args(name, more);
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        Proc::start(name, self.command(&args))
    }

    /// Starts a member that hosts nothing, and returns at once.
    pub fn start(&self, name: &str) -> Proc {
        self.start_with(name, &["--no-embedded"])
    }

    /// Starts a member that hosts nothing, and waits until it is in.
    pub fn join(&self, name: &str) -> Proc {
        let member = self.start(name);
        member.ready();
        member
    }

    /// Members that are all active in each other's eyes.
    pub fn group(&self, names: &[&str]) -> Vec<Proc> {
        let members: Vec<Proc> = names.iter().map(|name| self.join(name)).collect();
        settled(&members);
        members
    }
}

#[cfg(unix)]
pub fn set_mode(path: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}
