//! Carries what is said in one room into another, each message once, also over restarts:
//! `cargo run --example bridge -- HOME FROM TO`.
#![expect(clippy::print_stderr, reason = "a program for a terminal")]

use std::path::PathBuf;

use p2pgroup::node::{Followed, Node};
use p2pgroup::protocol::{About, Command};
use p2pgroup::refusal::{Refusal, Refused};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Refused> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [home, from, to] = arguments.as_slice() else {
        return Err(Refused::new(Refusal::CommandBad, "bridge HOME FROM TO"));
    };
    let place = PathBuf::from(home).join("bridge.cursor");
    let handle = Node::builder().name("bridge").home(home).start().await?;
    handle.ready().await?;
    let cursor = std::fs::read_to_string(&place).ok().and_then(|text| text.trim().parse().ok());
    let mut follow = handle.follow(cursor).await?;
    while let Some(followed) = follow.next().await? {
        let Followed::Message(number, message) = followed else { continue };
        let is_meant = message.room == *from && !message.is_own && message.about == About::Nothing;
        if is_meant {
            let text = format!("<{}> {}", message.from, message.text);
            handle.command(Command::Send { room: to.clone(), text }).await?;
        }
        // After the send: a crash in between carries a message twice rather than never.
        if let Err(error) = std::fs::write(&place, number.to_string()) {
            eprintln!("{}: {error}", place.display());
        }
    }
    Ok(())
}
