//! The API against a core that answers by rote: what passes the guard, and what the table says.

use super::*;

#[test]
fn the_api_listens_on_this_machine_alone() {
    let parse = |text: &str| Address::parse(text).map_err(|refused| refused.refusal);
    assert!(matches!(parse("127.0.0.1:8700"), Ok(Address::Loopback(_))));
    assert!(matches!(parse("localhost:0"), Ok(Address::Loopback(_))));
    assert!(matches!(parse("[::1]:8700"), Ok(Address::Loopback(_))));
    assert_eq!(parse("unix:/run/x.sock"), Ok(Address::Unix(PathBuf::from("/run/x.sock"))));
    for exposed in ["0.0.0.0:8700", "192.0.2.1:8700", "[::]:8700"] {
        assert_eq!(parse(exposed), Err(Refusal::ApiExposed), "{exposed}");
    }
    for wrong in ["", "8700", "unix:", "h.example:8700", "127.0.0.1"] {
        assert_eq!(parse(wrong), Err(Refusal::AddressBad), "{wrong}");
    }
}

#[test]
fn a_command_without_a_path_needs_what_its_paths_need() {
    for (cmd, scope) in [
        ("status", Scope::Read),
        ("leader", Scope::Read),
        ("requests", Scope::Read),
        ("history", Scope::Read),
        ("send", Scope::Send),
        ("msg", Scope::Send),
        ("reply", Scope::Send),
        ("delete", Scope::Send),
        ("get", Scope::Send),
        // To read and to change.
        ("seen", Scope::Send),
        ("ignore", Scope::Admin),
        ("code", Scope::Admin),
        ("room_create", Scope::Admin),
        // Any file of this machine.
        ("send_file", Scope::Admin),
        ("slash", Scope::Admin),
        ("exit", Scope::Admin),
        ("", Scope::Admin),
        ("nothing", Scope::Admin),
    ] {
        assert_eq!(routes::scope_of(cmd), scope, "{cmd}");
    }
}

#[test]
fn what_is_served_is_described_and_every_row_is_a_command_of_the_contract() {
    let document = openapi::document();
    assert_eq!(document["openapi"], "3.1.0");
    let mut seen = std::collections::BTreeSet::new();
    for route in routes::ROUTES {
        assert!(seen.insert((route.verb.name(), route.path)), "{} is there twice", route.path);
        let described = &document["paths"][route.path][route.verb.name()];
        assert!(
            described["summary"].as_str().is_some_and(|it| it.ends_with('.')),
            "{}",
            route.path
        );
    }
    let paths = document["paths"].as_object().unwrap();
    let described: usize = paths.values().map(|it| it.as_object().unwrap().len()).sum();
    assert!(described > routes::ROUTES.len());
}
