//! The list of files of a member without links: what is ordered of the hand, what stays, what goes.
//! Owns: nothing but its cases.
//! Must not know: how a file is carried.
//! Invariants: see each test's name.
//! Start reading at: the first test.

use super::*;
use crate::identity::testkeys;
use crate::protocol::Write;
use crate::protocol::tests::{Disk, NOW, disk_of, genesis_of, load, setup};
use crate::protocol::{Actions, Core as _, Event};
use crate::terms::FilesRule;
use crate::time::{Millis, Now};

const RULE: FilesRule = FilesRule { accept: 1 << 20, quota: Some(1 << 40) };

fn terms(id: u16, key: u8) -> FileTerms {
    let mut of = [0; 32];
    of[..2].copy_from_slice(&id.to_be_bytes());
    FileTerms { id: FileId(of), key: FileKey([key; 32]), size: 1_000, chunk: 256 << 10 }
}

fn author(n: u8) -> PeerId {
    PeerId::of_rsa_spki(&[n])
}

/// A row, and the message that brought it, both of this number.
fn row(number: u16, state: FileState) -> StoredFile {
    let mut message = [9; 16];
    message[..2].copy_from_slice(&number.to_be_bytes());
    StoredFile {
        terms: terms(number, 1),
        name: format!("{number}.bin"),
        room: RoomId::MAIN,
        author: author(7),
        message: MessageId(message),
        state,
        path: if state == FileState::Complete { format!("/d/{number}.bin") } else { String::new() },
        is_own: false,
        rename: String::new(),
        at: Wall(u64::from(number)),
        expires_at: None,
    }
}

/// Carol, who knows these.
fn knowing(rows: impl IntoIterator<Item = StoredFile>) -> (Member, Disk) {
    let mut disk = disk_of("carol", 3, Some(&genesis_of(&testkeys::authority_key())));
    for row in rows {
        if let Write::Setting { key, value: Some(value) } = write(&row) {
            disk.0.insert(key, value);
        }
    }
    let setup = crate::protocol::member::Setup { files: RULE, ..setup("carol", 3) };
    (load(setup, 3, &disk).unwrap(), disk)
}

fn at(millis: u64) -> Now {
    Now { mono: NOW.mono.after(Millis(millis)), wall: Wall(NOW.wall.0 + millis) }
}

fn orders(actions: &Actions) -> Vec<&FileOrder> {
    let orders = actions.sends.iter().filter_map(|it| match it {
        Send::File(order) => Some(order),
        _ => None,
    });
    orders.collect()
}

/// Whose fetching was ordered, and under which key.
fn fetched(actions: &Actions) -> Vec<(FileId, u8)> {
    let fetched = orders(actions).into_iter().filter_map(|it| match it {
        FileOrder::Fetch { terms, .. } => Some((terms.id, terms.key.0[0])),
        _ => None,
    });
    fetched.collect()
}

fn told(actions: &Actions) -> Vec<&FileView> {
    let told = actions.notices.iter().filter_map(|it| match it {
        Notice::File { file, .. } => Some(&**file),
        _ => None,
    });
    told.collect()
}

fn refused(actions: &Actions) -> Option<Refusal> {
    actions.notices.iter().find_map(|it| match it {
        Notice::Failed { refused, .. } => Some(refused.refusal),
        _ => None,
    })
}

fn message(terms: FileTerms, from: u8) -> MessageView {
    MessageView {
        id: MessageId([from; 16]),
        room: "main".to_owned(),
        from: "x".to_owned(),
        peer: author(from),
        seq: crate::ids::Seq(1),
        lamport: 1,
        text: "x.bin".to_owned(),
        about: About::File(Box::new(terms)),
        sent_at: NOW.wall,
        expires_at: None,
        is_own: false,
        is_fork: false,
        missing: 0,
        is_ignored: false,
    }
}

fn note(member: &mut Member, disk: &Disk, message: &MessageView) -> Actions {
    let mut cx = Context { now: NOW, reads: disk, actions: Actions::default() };
    member.note_file(RoomId::MAIN, message, &mut cx);
    cx.actions
}

fn ask(member: &mut Member, disk: &Disk, asked: FileCommand, now: Now) -> Actions {
    let command = crate::protocol::Command::File(asked);
    member.handle(Event::Command { id: CommandId(1), command }, now, disk)
}

#[test]
fn three_that_stand_still_no_longer_hold_the_three_places() {
    let (mut member, disk) = knowing((1..=5).map(|n| row(n, FileState::Fetching)));
    let begun = member.handle(Event::Started, at(0), &disk);
    let id = |n| (terms(n, 1).id, 1);
    assert_eq!(fetched(&begun), [id(1), id(2), id(3)]);
    assert!(begun.wake_at.is_some_and(|it| it <= at(10_000).mono), "{:?}", begun.wake_at);
    // Something of the second one came: it keeps its place.
    let progress = FileReport::Progress { id: id(2).0, have: 10 };
    assert!(fetched(&member.handle(Event::File(progress), at(5_000), &disk)).is_empty());
    assert!(fetched(&member.handle(Event::Woke, at(9_999), &disk)).is_empty());
    assert_eq!(fetched(&member.handle(Event::Woke, at(10_000), &disk)), [id(4), id(5)]);
}

#[test]
fn no_more_files_are_known_than_there_may_be_whatever_waits_and_what_is_here_stays_known() {
    let count = u16::try_from(FILES_MAX).unwrap();
    // All of them wait to be fetched: the one whose turn is last makes way.
    let (mut member, disk) = knowing((1..=count).map(|n| row(n, FileState::Fetching)));
    let _ = note(&mut member, &disk, &message(terms(count + 1, 1), 1));
    assert_eq!(member.files.known.len(), FILES_MAX);
    assert!(member.files.of(&terms(count, 1).id).next().is_none());
    assert!(member.files.of(&terms(count + 1, 1).id).next().is_some());
    // All of them are here, and count: the new one is not known, and that is said once.
    let (mut member, disk) = knowing((1..=count).map(|n| row(n, FileState::Complete)));
    let used = member.files.used();
    let first = note(&mut member, &disk, &message(terms(count + 1, 1), 1));
    let second = note(&mut member, &disk, &message(terms(count + 2, 1), 2));
    assert_eq!((member.files.known.len(), member.files.used()), (FILES_MAX, used));
    assert!(matches!(first.notices[..], [Notice::Info { .. }]) && second.notices.is_empty());
    let (room, path, name) = ("main".to_owned(), "/a".to_owned(), String::new());
    let send = FileCommand::Send { room, path, name, life: None };
    let send = || send.clone();
    assert_eq!(refused(&ask(&mut member, &disk, send(), at(0))), Some(Refusal::TooMany));
    // One that is dropped may make way, and counts no more.
    let id = terms(3, 1).id.to_string();
    let _ = ask(&mut member, &disk, FileCommand::Drop { id }, at(0));
    assert!(orders(&ask(&mut member, &disk, send(), at(0))).len() == 1);
    let _ = note(&mut member, &disk, &message(terms(count + 3, 1), 3));
    assert_eq!((member.files.known.len(), member.files.used()), (FILES_MAX, used - 1_000));
    assert!(member.files.of(&terms(count + 3, 1).id).next().is_some());
}

#[test]
fn who_posts_an_id_first_under_a_wrong_key_does_not_keep_the_file_from_anybody() {
    let (mut member, disk) = knowing([]);
    let _ = member.handle(Event::Started, at(0), &disk);
    let id = terms(1, 0).id;
    for (from, key) in [(1, 66), (2, 1)] {
        let _ = note(&mut member, &disk, &message(terms(1, key), from));
    }
    let begun = member.handle(Event::Woke, at(0), &disk);
    assert_eq!(fetched(&begun), [(id, 66)], "one at a time under one id");
    let then = member.handle(Event::Woke, at(10_000), &disk);
    assert_eq!(orders(&then)[0], &FileOrder::Stop { id });
    assert_eq!(fetched(&then), [(id, 1)]);
    // What came of it keeps its place.
    let _ = member.handle(Event::File(FileReport::Progress { id, have: 5 }), at(11_000), &disk);
    assert!(orders(&member.handle(Event::Woke, at(40_000), &disk)).is_empty());
    let path = "/d/x.bin".to_owned();
    let done = member.handle(Event::File(FileReport::Completed { id, path }), at(40_000), &disk);
    let view = told(&done)[0];
    assert_eq!((view.message, view.state), (MessageId([2; 16]), FileState::Complete));
    assert!(fetched(&done).is_empty(), "nothing else under this id is wanted");
    let called = member.files.called(&id.to_string()).unwrap();
    assert_eq!(called, (id, MessageId([2; 16])), "the one that is here is meant");
    assert_eq!(member.files.called(&MessageId([1; 16]).to_string()).unwrap().1.0, [1; 16]);
    // The other one goes, and what is kept of the file stays.
    let mut cx = Context { now: NOW, reads: &disk, actions: Actions::default() };
    member.take_back(MessageId([1; 16]), author(1), &mut cx);
    assert!(orders(&cx.actions).is_empty() && member.files.known.len() == 1);
    // Sent on in the same room it stays one file.
    let _ = note(&mut member, &disk, &message(terms(1, 1), 3));
    assert_eq!(member.files.known.len(), 1);
}

#[test]
fn a_file_of_ones_own_that_is_dropped_or_changed_is_not_told_as_if_it_were_to_be_had() {
    let own = StoredFile { is_own: true, ..row(1, FileState::Complete) };
    let (mut member, disk) = knowing([own]);
    let id = terms(1, 1).id;
    let changed = member.handle(Event::File(FileReport::Changed { id }), at(0), &disk);
    let view = told(&changed)[0];
    assert_eq!((view.state, view.is_own), (FileState::Failed, true));
    assert_eq!(view.reason.as_ref().unwrap().refusal, Refusal::FileChanged);
    let drop = FileCommand::Drop { id: id.to_string() };
    let dropped = ask(&mut member, &disk, drop, at(0));
    let view = told(&dropped)[0];
    assert_eq!((view.state, view.is_own, &view.path), (FileState::Offered, false, &None));
    let path = "/d/1.bin".to_owned();
    assert_eq!(orders(&dropped), [&FileOrder::Forget { id, path }]);
    assert_eq!(
        member.given_file(author(1), testkeys::authority_key().network(), &id, NOW.wall),
        None
    );
}

#[test]
fn how_far_a_file_to_be_sent_is_read_is_told_to_who_sends_it_until_it_is() {
    let (mut member, disk) = knowing([]);
    let (room, path, name) = ("main".to_owned(), "/a".to_owned(), String::new());
    let sent = ask(&mut member, &disk, FileCommand::Send { room, path, name, life: None }, at(0));
    assert_eq!(refused(&sent), None);
    let mut read = |command: u64, done: u64| {
        let reading = FileReport::Reading { command: CommandId(command), done, of: 9 };
        member.handle(Event::File(reading), at(1), &disk).notices
    };
    let told = read(1, 4);
    let [Notice::Progress { command: CommandId(1), doing: Doing::Reading, done: 4, of: 9 }] =
        told[..]
    else {
        panic!("{told:?}");
    };
    assert!(read(2, 4).is_empty(), "nobody asked for that");
    let (command, refused) = (CommandId(1), Refusal::FileChanged.into());
    let failed = FileReport::NotPrepared { command, refused };
    let told = member.handle(Event::File(failed), at(2), &disk).notices;
    assert!(matches!(told[..], [Notice::Failed { command: Some(CommandId(1)), .. }]), "{told:?}");
    let late = FileReport::Reading { command, done: 5, of: 9 };
    assert!(member.handle(Event::File(late), at(3), &disk).notices.is_empty());
}

#[test]
fn what_changed_here_is_fetched_from_who_has_it_as_it_was() {
    let (mut member, disk) = knowing([row(1, FileState::Complete)]);
    let id = terms(1, 1).id;
    let _ = member.handle(Event::File(FileReport::Changed { id }), at(0), &disk);
    let get = FileCommand::Get { id: id.to_string(), name: String::new() };
    let asked = ask(&mut member, &disk, get, at(0));
    assert_eq!((refused(&asked), fetched(&asked)), (None, vec![(id, 1)]));
}

#[test]
fn another_name_is_taken_before_a_file_has_one_and_ends_with_the_file() {
    let (mut member, disk) = knowing([row(1, FileState::Offered), row(2, FileState::Complete)]);
    let get =
        |n, name: &str| FileCommand::Get { id: terms(n, 1).id.to_string(), name: name.to_owned() };
    let named = |actions: &Actions| {
        orders(actions).into_iter().find_map(|it| match it {
            FileOrder::Fetch { name, .. } => Some(name.clone()),
            _ => None,
        })
    };
    let begun = ask(&mut member, &disk, get(1, "new.bin"), at(0));
    assert_eq!(named(&begun).as_deref(), Some("new.bin"));
    for n in [1, 2] {
        let late = ask(&mut member, &disk, get(n, "newer.bin"), at(0));
        assert_eq!(refused(&late), Some(Refusal::CommandBad), "{n}");
    }
    let drop = FileCommand::Drop { id: terms(1, 1).id.to_string() };
    let _ = ask(&mut member, &disk, drop, at(0));
    let again = ask(&mut member, &disk, get(1, ""), at(0));
    assert_eq!(named(&again).as_deref(), Some("1.bin"));
}

#[test]
fn a_file_whose_message_has_ended_is_known_no_more_and_nothing_of_it_is_kept_for_others() {
    let ends = |file: StoredFile, millis| StoredFile {
        expires_at: Some(Wall(NOW.wall.0 + millis)),
        ..file
    };
    let here = ends(row(1, FileState::Complete), 5_000);
    let comes = ends(row(2, FileState::Fetching), 5_000);
    let later = ends(row(3, FileState::Offered), 9_000);
    let (mut member, disk) = knowing([here, comes, later, row(4, FileState::Offered)]);
    let begun = member.handle(Event::Started, at(0), &disk);
    assert!(begun.wake_at.is_some_and(|it| it <= at(5_000).mono), "{:?}", begun.wake_at);
    let before = member.handle(Event::Woke, at(4_999), &disk);
    assert!(orders(&before).is_empty() && member.files.known.len() == 4);
    let ended = member.handle(Event::Woke, at(5_000), &disk);
    let (one, two) = (terms(1, 1).id, terms(2, 1).id);
    let path = "/d/1.bin".to_owned();
    let expected = [&FileOrder::Forget { id: one, path }, &FileOrder::Stop { id: two }];
    assert_eq!(orders(&ended), expected);
    // The key, too.
    let is_erased = |id: FileId| {
        let key = format!("files/{id}/");
        ended
            .writes
            .iter()
            .any(|it| matches!(it, Write::Setting { key: of, value: None } if of.starts_with(&key)))
    };
    assert!(is_erased(one) && is_erased(two) && !is_erased(terms(3, 1).id));
    assert!(ended.wake_at.is_some_and(|it| it <= at(9_000).mono), "{:?}", ended.wake_at);
    let _ = member.handle(Event::Woke, at(9_000), &disk);
    assert_eq!(member.files.known.len(), 1, "what has no end stays");
    // One that comes with its message, and one whose end came while nothing ran.
    let view = MessageView { expires_at: Some(at(12_000).wall), ..message(terms(5, 1), 1) };
    let _ = note(&mut member, &disk, &view);
    assert_eq!(member.files.known.len(), 2);
    let _ = member.handle(Event::Woke, at(12_000), &disk);
    assert_eq!(member.files.known.len(), 1);
    let (mut member, disk) = knowing([ends(row(1, FileState::Complete), 1)]);
    assert_eq!(orders(&member.handle(Event::Started, at(2), &disk)).len(), 1);
    assert!(member.files.known.is_empty());
}

#[test]
fn a_file_lives_as_long_as_a_message_may() {
    let (mut member, disk) = knowing([]);
    let _ = member.handle(Event::Started, at(0), &disk);
    let send = |life| FileCommand::Send {
        room: "main".to_owned(),
        path: "/a".to_owned(),
        name: String::new(),
        life: Some(Millis(life)),
    };
    let no = ask(&mut member, &disk, send(10), at(0));
    assert_eq!((refused(&no), orders(&no).len()), (Some(Refusal::CommandBad), 0));
    assert_eq!(orders(&ask(&mut member, &disk, send(86_400_000), at(0))).len(), 1);
}
