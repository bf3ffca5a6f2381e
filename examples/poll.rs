//! A vote by messages for programs: signed by their authors, shown to no person as text.
//! `cargo run --example poll -- HOME yes|no`.
#![expect(clippy::print_stdout, reason = "a program for a terminal")]

use std::collections::BTreeMap;

use p2pgroup::node::{Followed, Node};
use p2pgroup::protocol::{About, Command};
use p2pgroup::refusal::Refused;

/// The name of what is said: one's own domain, what it is, and a version.
const KIND: &str = "org.example.poll/1";

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Refused> {
    let mut arguments = std::env::args().skip(1);
    let home = arguments.next().unwrap_or_else(|| "poll-home".to_owned());
    let vote = arguments.next().unwrap_or_else(|| "yes".to_owned());
    let handle = Node::builder().name("voter").home(home).start().await?;
    handle.ready().await?;
    let say = Command::Apply { room: "main".to_owned(), kind: KIND.to_owned(), text: vote };
    handle.command(say).await?;
    // From the beginning: everybody counts the same, whenever it came.
    let mut follow = handle.follow(Some(0)).await?;
    let mut votes: BTreeMap<String, String> = BTreeMap::new();
    while let Some(followed) = follow.next().await? {
        match followed {
            Followed::Message(_, message)
                if message.about == About::Application(KIND.to_owned()) =>
            {
                votes.insert(message.from, message.text);
            }
            Followed::CaughtUp(_) => println!("{votes:?}"),
            _ => {}
        }
    }
    Ok(())
}
