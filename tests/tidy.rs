//! The rules of the house, checked on every file of `src/`: who may import whom, which foreign
//! crate lives in which room, what a core must not touch, and that every no is tested.
//!
//! A failure names the file, what is wrong, and what to do instead. The rules with their reasons
//! are in ARCHITECTURE.md. `a_bad_file_is_found` is the test of this test.

#![allow(
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test: what is wrong shall stop it"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use syn::visit::{self, Visit};

/// Which rooms a room may import, itself aside. What is not here must not exist.
/// `protocol` alone is the contract, `protocol/mod.rs`; `words` are the six files of floor 0.
const IMPORTS: &[(&str, &[&str])] = &[
    ("lib", &[]),
    ("main", &["cli"]),
    // floor 0: words
    ("ids", &["words"]),
    ("time", &["words"]),
    ("limits", &["words"]),
    ("refusal", &["words"]),
    ("text", &["words"]),
    ("terms", &["words"]),
    // floor 1: shapes and proofs
    ("wire", &["words"]),
    ("identity", &["words", "wire"]),
    // floor 2: decisions
    ("protocol", &["words", "protocol/search", "protocol/view"]),
    ("protocol/view", &["words", "protocol"]),
    ("protocol/chance", &["words"]),
    ("protocol/search", &["words"]),
    (
        "protocol/check",
        &[
            "words",
            "protocol/control",
            "wire",
            "identity",
            "protocol",
            "protocol/ledger",
            "protocol/roster",
            "protocol/room",
        ],
    ),
    ("protocol/ledger", &["words", "identity", "protocol", "protocol/control", "protocol/roster"]),
    ("protocol/control", &["words", "wire", "identity", "protocol", "protocol/chance"]),
    ("protocol/roster", &["words", "wire", "identity", "protocol"]),
    ("protocol/room", &["words", "wire", "identity", "protocol", "protocol/roster"]),
    ("protocol/sync", &["words", "wire", "protocol"]),
    ("protocol/fetch", &["words", "wire"]),
    ("protocol/mesh", &["words"]),
    ("protocol/keeper", &["words", "wire", "identity", "protocol", "protocol/roster"]),
    (
        "protocol/member",
        &[
            "words",
            "wire",
            "identity",
            "protocol",
            "protocol/chance",
            "protocol/ledger",
            "protocol/control",
            "protocol/keeper",
            "protocol/mesh",
            "protocol/roster",
            "protocol/room",
            "protocol/search",
            "protocol/sync",
        ],
    ),
    (
        "protocol/bootstrap",
        &[
            "words",
            "wire",
            "identity",
            "protocol",
            "protocol/chance",
            "protocol/ledger",
            "protocol/control",
            "protocol/roster",
        ],
    ),
    ("protocol/authority", &["words", "wire", "identity", "protocol"]),
    // settings: checked values for the driver; the timers are the protocol's
    ("config", &["words", "protocol"]),
    // floor 3: hands
    ("store", &["words", "protocol", "protocol/check"]),
    // how a frame's length is written, not what is in it
    ("net", &["words", "wire"]),
    // what goes over a stream that it is given, and who is asked for what
    ("files", &["words", "wire", "protocol", "protocol/fetch"]),
    // floor 4: the driver
    (
        "node",
        &[
            "words",
            "wire",
            "identity",
            "protocol",
            "protocol/member",
            "protocol/bootstrap",
            "protocol/authority",
            "protocol/check",
            "protocol/control",
            "config",
            "store",
            "net",
            "files",
        ],
    ),
    // floor 5: faces that are not the door's own
    ("tui", &["words", "protocol", "node"]),
    ("api", &["words", "protocol", "node"]),
    // floor 6: the door
    ("cli", &["words", "protocol", "protocol/check", "config", "node", "tui", "api"]),
];

const WORDS: &[&str] = &["ids", "time", "limits", "refusal", "text", "terms"];

/// One foreign crate, one room: a crate that is not here may be used anywhere.
const FOREIGN: &[(&str, &[&str])] = &[
    ("libp2p", &["net/"]),
    ("libp2p_stream", &["net/"]),
    ("yamux", &["net/muxer.rs"]),
    ("rusqlite", &["store/"]),
    ("prost", &["wire/"]),
    ("rsa", &["identity/"]),
    ("x509_cert", &["identity/"]),
    ("ed25519_dalek", &["identity/"]),
    ("unicode_security", &["identity/"]),
    ("unicode_normalization", &["identity/", "text.rs"]),
    (
        "sha2",
        &[
            "identity/",
            "ids.rs",
            "protocol/room/keys/",
            "store/sealed.rs",
            "store/archive.rs",
            "api/outgoing.rs",
        ],
    ),
    ("openmls", &["protocol/room/keys/"]),
    ("openmls_traits", &["protocol/room/keys/"]),
    ("openmls_rust_crypto", &["protocol/room/keys/"]),
    ("aes_gcm", &["protocol/room/keys/", "store/sealed.rs", "store/archive.rs"]),
    ("aws_lc_rs", &["files/seal.rs"]),
    ("blake3", &["files/seal.rs", "api/access.rs", "api/once.rs", "cli/local.rs"]),
    ("hkdf", &["protocol/room/keys/", "store/sealed.rs", "store/archive.rs"]),
    ("argon2", &["store/sealed.rs"]),
    ("bs58", &["ids.rs"]),
    ("clap", &["cli/"]),
    ("serde_json", &["cli/", "api/"]),
    ("axum", &["api/"]),
    ("hmac", &["api/outgoing.rs"]),
    ("rustls", &["api/tls", "net/tls.rs"]),
    ("futures_rustls", &["net/tls.rs"]),
    ("tokio_rustls", &["api/tls"]),
    ("rustls_native_certs", &["api/tls.rs"]),
    ("clap_complete", &["cli/"]),
    ("clap_mangen", &["cli/manual.rs"]),
    ("unicode_width", &["cli/"]),
    ("unicode_segmentation", &["tui/"]),
    ("ratatui", &["tui/"]),
    ("rpassword", &["cli/"]),
    ("qrcode", &["cli/", "api/page.rs"]),
    ("tracing_subscriber", &["cli/"]),
    ("serde", &["cli/", "config/", "api/"]),
    ("serde_saphyr", &["config/"]),
    ("strsim", &["config/"]),
    ("directories", &["config/"]),
    ("rustix", &["node/clock.rs", "cli/shown.rs", "files/disk.rs"]),
    ("getrandom", &["node/keys.rs", "store/vault.rs"]),
    ("tokio", &["net/", "files/", "node/", "tui/", "api/", "cli/"]),
    ("tokio_util", &["net/", "node/"]),
    ("futures", &["net/", "files/", "node/", "tui/", "api/", "cli/"]),
];

/// What the floors below the hands must not touch, and what to use instead.
const PURE: &[&str] =
    &["protocol", "wire", "identity", "ids", "time", "limits", "refusal", "text", "terms"];
const IMPURE: &[(&str, &str)] = &[
    ("std::fs", "a Write, or Reads"),
    ("std::net", "Send::Dial, with addresses as text"),
    ("std::thread", "an Event"),
    ("std::process", "Notice::Failed"),
    ("std::env", "a field of the core's Setup, from config"),
    ("std::time::Instant", "Now, given to handle"),
    ("std::time::SystemTime", "Now, given to handle"),
    ("tracing_subscriber", "tracing alone"),
];

/// Nowhere at all, save where named.
const BANNED: &[(&str, &[&str], &str)] = &[
    ("std::collections::HashMap", &[], "BTreeMap: order must not depend on chance"),
    ("std::collections::HashSet", &[], "BTreeSet: order must not depend on chance"),
    ("std::time::Instant::now", &["node/clock.rs"], "node/clock.rs, and Now below it"),
    ("std::time::SystemTime::now", &["node/clock.rs"], "node/clock.rs, and Now below it"),
    ("tokio::sync::mpsc::unbounded_channel", &[], "channel: every queue has a bound"),
];

const PRINTING: &[&str] = &["print", "println", "eprint", "eprintln", "dbg"];

/// Module names that say nothing about what is inside.
const EMPTY_WORDS: &[&str] =
    &["common", "util", "utils", "helpers", "misc", "base", "manager", "types", "prelude"];

const HEADER: [&str; 4] = ["Owns:", "Must not know:", "Invariants:", "Start reading at:"];

const FILE_LINES_MAX: usize = 600;

#[test]
fn the_source_keeps_the_rules_of_the_house() {
    let found: Vec<String> =
        sources("src").iter().flat_map(|(path, text)| check(path, text)).collect();
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
}

#[test]
fn every_refusal_occurs_in_a_test() {
    let mut said = String::new();
    for (path, text) in sources("src") {
        said.push_str(&if is_test_file(&path) { text } else { split_tests(&text).1 });
    }
    for (path, text) in sources("tests") {
        if path != "tidy.rs" {
            said.push_str(&text);
        }
    }
    let untested: BTreeSet<&str> = p2pgroup::refusal::Refusal::ALL
        .iter()
        .filter(|refusal| !is_provoked(&said, &format!("{refusal:?}"), refusal.code()))
        .map(|refusal| refusal.code())
        .collect();
    assert!(untested.is_empty(), "no test provokes {untested:?}: write one");
}

#[test]
fn what_the_handbook_names_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let handbook = fs::read_to_string(root.join("ARCHITECTURE.md")).expect("ARCHITECTURE.md");
    let all: String =
        sources("src").into_iter().chain(sources("tests")).map(|(_, text)| text).collect();
    let mut missing = Vec::new();
    for quoted in handbook.split('`').skip(1).step_by(2) {
        let is_path = quoted.contains('/') && (quoted.ends_with(".rs") || quoted.ends_with('/'));
        if is_path && !quoted.contains(['{', '<', ' ']) {
            let places = ["", "src/", "src/protocol/"];
            if !places.iter().any(|place| root.join(format!("{place}{quoted}")).exists()) {
                missing.push(format!("the file {quoted}"));
            }
        }
        // A test is named in the handbook by its whole sentence, a simulator's check as it prints.
        let is_test = quoted.matches('_').count() >= 4
            && quoted.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
        let is_there = [format!("fn {quoted}("), format!("\"{quoted}\"")];
        if is_test && !is_there.iter().any(|name| all.contains(name)) {
            missing.push(format!("the test {quoted}"));
        }
    }
    assert!(missing.is_empty(), "ARCHITECTURE.md names what is not there: {missing:#?}");
}

#[test]
fn a_bad_file_is_found() {
    let header = "//! What.\n//! Owns: a.\n//! Must not know: b.\n//! Invariants: c.\n\
                  //! Start reading at: d.\n";
    let finds = |path: &str, body: &str, what: &str| {
        let found = check(path, &format!("{header}{body}"));
        assert!(
            found.iter().any(|line| line.contains(what)),
            "{body:?} in {path}: {what:?} not in {found:?}"
        );
    };
    let control = "protocol/control/election.rs";
    // who imports whom, however it is written
    finds(control, "use crate::protocol::room::Room;", "protocol/control imports protocol/room");
    finds(control, "use super::super::room::Room;", "protocol/control imports protocol/room");
    finds(control, "use crate::{ids::Seq, store::Store};", "protocol/control imports store");
    finds(control, "fn f() { crate::net::start() }", "protocol/control imports net");
    finds(control, "fn f() { assert!(crate::cli::run()) }", "protocol/control imports cli");
    finds("tui/draw.rs", "use crate::store::Store;", "tui imports store");
    finds("tui/draw.rs", "use crate::cli::run;", "tui imports cli");
    finds("cli/screen.rs", "use ratatui::Frame;", "ratatui belongs to tui/");
    finds("net/link.rs", "use crate::protocol::Core;", "net imports protocol");
    finds("net/link.rs", "use crate::protocol; fn f(_: protocol::Core) {}", "net imports protocol");
    finds("cli/mod.rs", "use crate::store::Store;", "cli imports store");
    finds("attic/mod.rs", "", "attic has no place in the map");
    // one foreign crate, one room
    finds("cli/mod.rs", "use libp2p::Swarm;", "libp2p belongs to net/");
    finds("cli/mod.rs", "fn f(_: rusqlite::Connection) {}", "rusqlite belongs to store/");
    finds("node/driver.rs", "fn f() { rustix::time::now() }", "rustix belongs to node/clock.rs");
    // what a core must not touch
    finds(control, "use std::fs;", "std::fs");
    finds(control, "use std::time::{Duration, Instant};", "std::time::Instant");
    finds(control, "async fn f() {}", "async");
    finds(control, "fn f() { let _ = async { 1 }; }", "async");
    finds(control, "fn f() { println!() }", "println!");
    finds(control, "use std::collections::HashMap;", "HashMap");
    finds(control, "fn f() { tokio::spawn(1) }", "tokio belongs to net/");
    finds("node/mod.rs", "use std::time::Instant; fn f() { Instant::now() }", "Instant::now");
    finds("net/mod.rs", "fn f() { eprintln!() }", "eprintln!");
    // names and re-exports
    finds("net/mod.rs", "pub use link::*;", "glob");
    finds("net/mod.rs", "mod utils;", "utils");
    finds("net/util.rs", "", "util");
    finds("identity/keys.rs", "#[derive(Clone, Debug)] struct Key;", "derive(Debug)");
    // form
    finds("net/mod.rs", &"\n".repeat(600), "lines");
    let found = check("net/mod.rs", "//! What.\n//! Must not know: b.\n//! Owns: a.\n");
    assert!(found.iter().any(|line| line.contains("Must not know:")), "{found:?}");
    assert!(check("net/mod.rs", "fn f() {}").iter().any(|line| line.contains("header")));

    // Good ones, and what is allowed to tests.
    for (path, body) in [
        (control, "use crate::protocol::Core; use super::ballot::Ballot; use crate::ids::Seq;"),
        ("net/link.rs", "#[cfg(test)]\nmod tests {\n    use crate::store::Store;\n}\n"),
        ("net/link.rs", "#[cfg(test)] use crate::store::Store;"),
        ("protocol/member/mod.rs", "use crate::protocol::{self, room::Room};"),
        ("node/clock.rs", "use std::time::Instant; fn f() { Instant::now(); }"),
    ] {
        assert_eq!(check(path, &format!("{header}{body}")), Vec::<String>::new(), "{path}");
    }
    assert!(is_provoked("Refusal::NameTaken)", "NameTaken", "name_taken"));
    assert!(is_provoked(r#"code":"name_taken""#, "NameTaken", "name_taken"));
    assert!(!is_provoked("Refusal::NameTakenTwice", "NameTaken", "name_taken"));
    assert!(!is_provoked("a_name_taken_twice_is_refused", "NameTaken", "name_taken"));
}

/// Everything wrong with one file; `path` is below `src/`.
fn check(path: &str, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    if path.split(['/', '.']).any(|word| EMPTY_WORDS.contains(&word)) {
        found.push(format!("{path}: this name says nothing; name the file after what it holds"));
    }
    if is_test_file(path) {
        return found;
    }
    let lines = split_tests(text).0.lines().count();
    if lines > FILE_LINES_MAX {
        found.push(format!("{path}: {lines} lines without tests; {FILE_LINES_MAX} at most"));
    }
    if path != "lib.rs" {
        found.extend(check_header(path, text));
    }
    let file = match syn::parse_file(text) {
        Ok(file) => file,
        Err(error) => {
            found.push(format!("{path}: {error}"));
            return found;
        }
    };
    let mut seen = Seen { module: module_of(path), ..Seen::default() };
    seen.visit_file(&file);
    found.extend(check_seen(path, &seen));
    found.sort();
    found.dedup();
    found
}

/// Five lines in this order: what, `Owns:`, `Must not know:`, `Invariants:`, `Start reading at:`.
/// Each may run on over further lines.
fn check_header(path: &str, text: &str) -> Option<String> {
    let docs: Vec<&str> =
        text.lines().map_while(|line| line.strip_prefix("//!")).map(str::trim).collect();
    if docs.first().is_none_or(|first| first.is_empty() || first.starts_with(HEADER[0])) {
        return Some(format!("{path}: no header; its first line says what the file is"));
    }
    let mut at = 0;
    for word in HEADER {
        match docs.iter().skip(at + 1).position(|line| line.starts_with(word)) {
            Some(more) => at += more + 1,
            None => return Some(format!("{path}: the header lacks {word:?} in its place")),
        }
    }
    None
}

fn check_seen(path: &str, seen: &Seen) -> Vec<String> {
    let mut found = seen.found.iter().map(|what| format!("{path}: {what}")).collect::<Vec<_>>();
    let room = room_of(&seen.module);
    let Some((_, allowed)) = IMPORTS.iter().find(|(name, _)| *name == room) else {
        return vec![format!("{path}: {room} has no place in the map of tests/tidy.rs")];
    };
    let is_pure = PURE.contains(&room.split('/').next().unwrap_or_default());
    for used in seen.resolved() {
        let segments: Vec<&str> = used.split("::").collect();
        if segments[0] == "crate" {
            let other = room_of(&segments[1..].iter().map(ToString::to_string).collect::<Vec<_>>());
            let floor = if WORDS.contains(&other.as_str()) { "words" } else { other.as_str() };
            let is_known = IMPORTS.iter().any(|(name, _)| *name == other);
            if is_known && other != room && !allowed.contains(&floor) {
                found.push(format!(
                    "{path}: {room} imports {other} ({used}); it may import {allowed:?}"
                ));
            }
        }
        if let Some((_, rooms)) = FOREIGN.iter().find(|(name, _)| *name == segments[0])
            && !rooms.iter().any(|room| path.starts_with(room))
        {
            found.push(format!("{path}: {} belongs to {}", segments[0], rooms.join(", ")));
        }
        if is_pure && let Some((what, instead)) = IMPURE.iter().find(|(what, _)| is_in(&used, what))
        {
            found.push(format!("{path}: {what} has no place in {room}; use {instead}"));
        }
        if let Some((what, _, instead)) =
            BANNED.iter().find(|(what, rooms, _)| is_in(&used, what) && !rooms.contains(&path))
        {
            found.push(format!("{path}: {what}; use {instead}"));
        }
    }
    for name in seen.macros.iter().filter(|name| PRINTING.contains(&name.as_str())) {
        if room != "cli" {
            found.push(format!("{path}: {name}!; only cli prints, use a Notice or tracing"));
        }
    }
    if is_pure && seen.is_async {
        found.push(format!("{path}: async; a core answers at once"));
    }
    if path == "identity/keys.rs" && seen.derives.contains("Debug") {
        found.push(format!("{path}: derive(Debug) would print keys; write it by hand"));
    }
    found
}

/// Whether `path` is `what` or lies below it.
fn is_in(path: &str, what: &str) -> bool {
    path.strip_prefix(what).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

/// What one file mentions outside its tests.
#[derive(Default)]
struct Seen {
    /// Where we are: `["protocol", "control", "election"]`.
    module: Vec<String>,
    /// Local names from `use`: `Instant` stands for `std::time::Instant`.
    names: BTreeMap<String, String>,
    paths: BTreeSet<String>,
    macros: BTreeSet<String>,
    derives: BTreeSet<String>,
    is_async: bool,
    found: Vec<String>,
}

impl Seen {
    /// The paths in full: local names replaced by what they stand for.
    fn resolved(&self) -> BTreeSet<String> {
        let full = |path: &String| {
            let (first, rest) = path.split_once("::").unwrap_or((path.as_str(), ""));
            match self.names.get(first) {
                Some(name) if rest.is_empty() => name.clone(),
                Some(name) => format!("{name}::{rest}"),
                None => path.clone(),
            }
        };
        self.paths.iter().map(full).chain(self.names.values().cloned()).collect()
    }

    /// `self` and `super` replaced by where they lead, from `crate` on.
    fn absolute(&self, segments: &[String]) -> String {
        let mut at = self.module.clone();
        let mut rest = segments;
        let is_relative = matches!(rest.first().map(String::as_str), Some("self" | "super"));
        while let Some((first, more)) = rest.split_first() {
            match first.as_str() {
                "super" => drop(at.pop()),
                "self" => {}
                _ => break,
            }
            rest = more;
        }
        if !is_relative {
            return segments.join("::");
        }
        at.extend(rest.iter().cloned());
        format!("crate::{}", at.join("::"))
    }

    fn use_tree(&mut self, tree: &syn::UseTree, before: &[String], is_public: bool) {
        let with = |name: &syn::Ident| [before, &[name.to_string()]].concat();
        match tree {
            syn::UseTree::Path(path) => self.use_tree(&path.tree, &with(&path.ident), is_public),
            syn::UseTree::Group(group) => {
                group.items.iter().for_each(|item| self.use_tree(item, before, is_public));
            }
            syn::UseTree::Name(name) if name.ident == "self" => {
                let local = before.last().cloned().unwrap_or_default();
                self.names.insert(local, self.absolute(before));
            }
            syn::UseTree::Name(name) => {
                let full = self.absolute(&with(&name.ident));
                self.names.insert(name.ident.to_string(), full);
            }
            syn::UseTree::Rename(name) => {
                let full = self.absolute(&with(&name.ident));
                self.names.insert(name.rename.to_string(), full.clone());
                self.paths.insert(full);
            }
            syn::UseTree::Glob(_) => {
                self.paths.insert(self.absolute(before));
                if is_public {
                    let from = before.join("::");
                    self.found.push(format!("glob re-export of {from}; name what is exported"));
                }
            }
        }
    }

    /// Macros hold tokens, not syntax: whatever in them looks like a path counts as one.
    fn tokens(&mut self, text: &str) {
        let text = text.replace(" :: ", "::").replace(":: ", "::").replace(" ::", "::");
        let is_word = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
        for word in text.split(|c| !is_word(c)).filter(|word| word.contains("::")) {
            let segments: Vec<String> =
                word.split("::").filter(|one| !one.is_empty()).map(str::to_owned).collect();
            self.paths.insert(self.absolute(&segments));
        }
        for name in PRINTING {
            if text.contains(&format!("{name} !")) || text.contains(&format!("{name}!")) {
                self.macros.insert((*name).to_owned());
            }
        }
    }
}

impl<'ast> Visit<'ast> for Seen {
    fn visit_item(&mut self, item: &'ast syn::Item) {
        let attrs = match item {
            syn::Item::Const(item) => &item.attrs,
            syn::Item::Enum(item) => &item.attrs,
            syn::Item::Fn(item) => &item.attrs,
            syn::Item::Impl(item) => &item.attrs,
            syn::Item::Mod(item) => &item.attrs,
            syn::Item::Static(item) => &item.attrs,
            syn::Item::Struct(item) => &item.attrs,
            syn::Item::Use(item) => &item.attrs,
            _ => return visit::visit_item(self, item),
        };
        if !is_for_tests(attrs) {
            visit::visit_item(self, item);
        }
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        if !is_for_tests(&item.attrs) {
            visit::visit_impl_item_fn(self, item);
        }
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        let is_public = !matches!(item.vis, syn::Visibility::Inherited);
        self.use_tree(&item.tree, &[], is_public);
    }

    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        let name = item.ident.to_string();
        if EMPTY_WORDS.contains(&name.as_str()) {
            self.found.push(format!("mod {name} says nothing; name it after what it holds"));
        }
        self.module.push(name);
        visit::visit_item_mod(self, item);
        self.module.pop();
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let segments: Vec<String> =
            path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        self.paths.insert(self.absolute(&segments));
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        if let Some(last) = call.path.segments.last() {
            self.macros.insert(last.ident.to_string());
        }
        self.tokens(&call.tokens.to_string());
        visit::visit_macro(self, call);
    }

    fn visit_attribute(&mut self, attribute: &'ast syn::Attribute) {
        if attribute.path().is_ident("derive")
            && let syn::Meta::List(list) = &attribute.meta
        {
            let names = list.tokens.to_string();
            self.derives.extend(names.split(',').map(|name| name.trim().to_owned()));
        }
        visit::visit_attribute(self, attribute);
    }

    fn visit_signature(&mut self, signature: &'ast syn::Signature) {
        self.is_async |= signature.asyncness.is_some();
        visit::visit_signature(self, signature);
    }

    fn visit_expr(&mut self, expr: &'ast syn::Expr) {
        self.is_async |= matches!(expr, syn::Expr::Async(_) | syn::Expr::Await(_));
        visit::visit_expr(self, expr);
    }
}

fn is_for_tests(attrs: &[syn::Attribute]) -> bool {
    attrs.iter().any(|attribute| match &attribute.meta {
        syn::Meta::List(list) if list.path.is_ident("cfg") => list.tokens.to_string() == "test",
        _ => attribute.path().is_ident("test"),
    })
}

/// Files that exist for tests alone: their module is declared under `#[cfg(test)]`.
fn is_test_file(path: &str) -> bool {
    path.ends_with("/tests.rs") || path.contains("/tests/") || path == "identity/testkeys.rs"
}

/// `["protocol", "control"]` for `protocol/control/mod.rs` and `protocol/control.rs`.
fn module_of(path: &str) -> Vec<String> {
    let path = path.trim_end_matches(".rs").trim_end_matches("/mod");
    path.split('/').map(str::to_owned).collect()
}

/// The room a module belongs to, by the longest name in the map.
fn room_of(module: &[String]) -> String {
    let first = module.first().cloned().unwrap_or_default();
    let two = module.iter().take(2).cloned().collect::<Vec<_>>().join("/");
    if IMPORTS.iter().any(|(name, _)| *name == two) { two } else { first }
}

/// A file without its inline test modules, and those.
fn split_tests(text: &str) -> (String, String) {
    let (mut code, mut tests) = (String::new(), String::new());
    let mut lines = text.lines().peekable();
    let mut is_inside = false;
    while let Some(line) = lines.next() {
        let opens = line == "#[cfg(test)]"
            && lines.peek().is_some_and(|next| next.starts_with("mod ") && next.ends_with('{'));
        is_inside |= opens;
        let part = if is_inside { &mut tests } else { &mut code };
        part.push_str(line);
        part.push('\n');
        is_inside &= line != "}";
    }
    (code, tests)
}

/// Whether a text names a refusal: `::NameTaken`, or its code as a word of its own.
fn is_provoked(text: &str, variant: &str, code: &str) -> bool {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let stands_alone = |needle: &str| {
        text.match_indices(needle).any(|(at, _)| {
            let before = text[..at].chars().next_back();
            let after = text[at + needle.len()..].chars().next();
            !before.is_some_and(is_word) && !after.is_some_and(is_word)
        })
    };
    stands_alone(&format!("::{variant}")) || stands_alone(variant) || stands_alone(code)
}

/// The Rust files below a folder of the project, with their paths in it, in order.
fn sources(folder: &str) -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut files = Vec::new();
    for entry in walkdir::WalkDir::new(&root).sort_by_file_name() {
        let entry = entry.expect("the folder can be read");
        if entry.path().extension().is_some_and(|kind| kind == "rs") {
            let path = entry.path().strip_prefix(&root).expect("below it");
            let path = path.to_string_lossy().replace('\\', "/");
            files.push((path, fs::read_to_string(entry.path()).expect("UTF-8")));
        }
    }
    assert!(!files.is_empty(), "no sources in {}", root.display());
    files
}
