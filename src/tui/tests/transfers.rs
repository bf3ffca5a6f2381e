//! Files on their way, and what the status line tells where there is little room.
//! Owns: what a person sees of both.
//! Must not know: terminals, how files are carried.
//! Invariants: none.
//! Start reading at: the first test.

use super::*;
use crate::ids::FileId;
use crate::protocol::{Doing, FileCommand, FileView};
use crate::refusal::{Refusal, Refused};
use crate::terms::FileState;

fn file(number: u8, name: &str, have: u64, state: FileState) -> FileView {
    FileView {
        id: FileId([number; 32]),
        room: "main".to_owned(),
        message: id(number.into()),
        name: name.to_owned(),
        size: 100 << 20,
        from: "bob".to_owned(),
        is_own: false,
        have: have << 20,
        state,
        reason: None,
        path: (state == FileState::Complete).then(|| format!("/d/{name}")),
        expires_at: None,
    }
}

fn came(number: u8, name: &str, have: u64, state: FileState) -> Notice {
    Notice::File { command: None, file: Box::new(file(number, name, have, state)) }
}

#[test]
fn a_file_that_comes_has_a_bar_once_it_takes_over_a_second() {
    let mut desk = Desk::joined(100, 20);
    desk.tell(came(1, "film\u{1b}.mkv", 0, FileState::Fetching));
    desk.wait(900);
    assert!(!desk.shows("fetching"), "{:#?}", desk.screen());
    assert!(desk.state.wake_at().unwrap() <= desk.now.mono.after(Millis(100)));
    desk.tell(came(1, "film\u{1b}.mkv", 35, FileState::Fetching));
    desk.wait(100);
    assert!(desk.shows("fetching film\\u{1b}.mkv ███░░░░░░░ 35%"), "{:#?}", desk.screen());
    // Another one: both in one bar, and not in its first second.
    desk.tell(came(2, "more.iso", 15, FileState::Fetching));
    assert!(desk.shows("fetching film"));
    desk.wait(1_000);
    assert!(desk.shows("fetching 2 files ██░░░░░░░░ 25%"), "{:#?}", desk.screen());
    // How far it is stands nowhere else; that it is here does.
    assert!(!desk.shows("% of"), "{:#?}", desk.screen());
    desk.tell(came(1, "film.mkv", 100, FileState::Complete));
    desk.tell(came(2, "more.iso", 60, FileState::Paused));
    assert!(!desk.shows("fetching"), "{:#?}", desk.screen());
    assert!(desk.shows("film.mkv: 100.0 MiB, is here") && desk.shows("paused at 60%"));
}

#[test]
fn a_file_to_be_sent_is_read_first_and_that_is_told_of() {
    let mut desk = Desk::joined(100, 20);
    desk.line("/send /srv/disk.img");
    let (number, command) = desk.handed.pop().unwrap();
    assert!(matches!(command, Command::File(FileCommand::Send { .. })), "{command:?}");
    desk.wait(900);
    assert!(!desk.shows("reading"));
    desk.wait(100);
    assert!(desk.shows("reading disk.img… 1 s"), "{:#?}", desk.screen());
    assert!(desk.state.wake_at().unwrap() <= desk.now.mono.after(Millis(1_000)));
    desk.wait(2_500);
    assert!(desk.shows("reading disk.img… 3 s"), "{:#?}", desk.screen());
    let (doing, of) = (Doing::Reading, 1 << 30);
    desk.tell(Notice::Progress { command: number, doing, done: 3 << 28, of });
    assert!(desk.shows("reading disk.img ███████░░░ 75%"), "{:#?}", desk.screen());
    let refused = Refused::from(Refusal::FileUnread);
    desk.tell(Notice::Failed { command: Some(number), refused, is_fatal: false });
    assert!(!desk.shows("reading disk.img"), "{:#?}", desk.screen());
}

#[test]
fn a_frozen_membership_is_told_of_also_where_there_is_little_room() {
    for columns in [60, 80] {
        let mut desk = Desk::joined(columns, 15);
        let frozen_because = "a majority of the voters is needed, and bob and carol are away";
        let status = Status { frozen_because: frozen_because.to_owned(), ..Status::default() };
        desk.wait(30_000);
        let asked = desk.handed.iter().find(|it| matches!(it.1, Command::Status));
        let command = asked.map(|(number, _)| *number).unwrap();
        desk.tell(Notice::Status { command, status: Box::new(status) });
        let status = desk.screen()[13].clone();
        assert!(status.contains("membership frozen: a majority of"), "{status}");
    }
}
