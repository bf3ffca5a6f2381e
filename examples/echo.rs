//! A member that says again what others say: `cargo run --example echo -- HOME`.
#![expect(clippy::print_stderr, reason = "a program for a terminal")]

use p2pgroup::node::Node;
use p2pgroup::protocol::{About, Command, Notice};
use p2pgroup::refusal::Refused;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Refused> {
    let home = std::env::args().nth(1).unwrap_or_else(|| "echo-home".to_owned());
    let handle = Node::builder().name("echo").home(home).start().await?;
    let events = handle.events()?;
    let ready = handle.ready().await?;
    eprintln!("{} is in, under {}", ready.name, ready.peer);
    while let Some(told) = events.next().await {
        match told {
            // What is about another message is no word of its own.
            Ok(Notice::Message(message)) if message.about == About::Nothing => {
                let text = format!("{} said: {}", message.from, message.text);
                handle.command(Command::Send { room: message.room, text }).await?;
            }
            Ok(_) => {}
            Err(_) => eprintln!("too slow: some events were left out"),
        }
    }
    Ok(())
}
