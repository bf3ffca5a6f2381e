//! The hub alone: no node, no network.

use super::*;
use crate::ids::{DeviceKey, PeerId, Seq};
use crate::protocol::{MessageId, MessageView};
use crate::time::Wall;

fn message(text: &str) -> MessageView {
    MessageView {
        id: MessageId([1; 16]),
        room: "main".to_owned(),
        from: "bob".to_owned(),
        peer: PeerId::of_ed25519(&DeviceKey([1; 32])),
        seq: Seq(7),
        lamport: 1,
        about: crate::protocol::About::Nothing,
        text: text.to_owned(),
        sent_at: Wall(1_795_269_910_123),
        expires_at: None,
        is_own: false,
        is_fork: false,
        missing: 0,
        is_ignored: false,
    }
}

fn said(text: &str) -> Notice {
    Notice::Message(message(text))
}

fn info(text: &str) -> Notice {
    Notice::Info { text: text.to_owned() }
}

fn answer(command: CommandId) -> Notice {
    Notice::Rekeying { command }
}

type Commands = tokio::sync::mpsc::Receiver<Batch>;

fn handle() -> (Handle, Hub, Commands) {
    let (input, commands, _) = Input::new();
    let hub = Hub::default();
    (Handle::new(input, hub.clone()), hub, commands)
}

fn read(face: &Face) -> Vec<Told> {
    std::iter::from_fn(|| face.try_next()).collect()
}

#[test]
fn who_asked_is_answered_and_what_happens_is_told_to_all() {
    let (handle, hub, _commands) = handle();
    let (a, b) = (handle.face().unwrap(), handle.face().unwrap());
    let of_main = numbered(MAIN, 3);
    assert!(hub.tell(&answer(of_main)));
    let of_a = a.number();
    assert!(!hub.tell(&answer(of_a)));
    assert!(hub.tell(&info("x")));
    assert_eq!(read(&a), [Ok(answer(of_a)), Ok(info("x"))]);
    assert_eq!(read(&b), [Ok(info("x"))]);
    // Whoever asked and left is missed by nobody.
    drop(a);
    assert!(!hub.tell(&answer(of_a)));
    assert_eq!(read(&b), []);
    // Nor is it taken for whoever comes next.
    let c = handle.face().unwrap();
    assert!(!hub.tell(&answer(of_a)));
    assert_eq!(read(&c), []);
    // At the end of the numbers it begins again, with those that are free.
    lock(&hub.0.desk).last = u16::MAX - 1;
    let ids = [(); 3].map(|()| handle.face().unwrap()).map(|face| face.id);
    assert_eq!(ids, [u16::MAX, AWAITED + 1, AWAITED + 4]);
    drop((b, c));
}

#[test]
fn what_one_face_sends_is_news_to_the_others() {
    let (handle, hub, _commands) = handle();
    let (a, b) = (handle.face().unwrap(), handle.face().unwrap());
    let sent = Notice::Sent { command: a.number(), message: message("hi") };
    assert!(hub.tell(&sent));
    assert_eq!(read(&a), [Ok(sent.clone())]);
    assert_eq!(read(&b), [Ok(sent)]);
    let sent = Notice::Sent { command: numbered(MAIN, 9), message: message("ho") };
    assert!(hub.tell(&sent));
    assert_eq!(read(&a), [Ok(sent)]);
}

#[test]
fn a_face_that_lags_is_told_so_once_and_still_gets_its_answers() {
    let (handle, hub, _commands) = handle();
    let (slow, quick) = (handle.face().unwrap(), handle.face().unwrap());
    for round in 0..FACE_NOTICES_MAX + 10 {
        let text = round.to_string();
        assert!(hub.tell(&said(&text)), "the main face gets all");
        assert_eq!(read(&quick), [Ok(said(&text))]);
    }
    let number = slow.number();
    assert!(!hub.tell(&answer(number)));
    let told = read(&slow);
    assert_eq!(told.len(), FACE_NOTICES_MAX + 2);
    assert_eq!(told[FACE_NOTICES_MAX..], [Err(Lagged), Ok(answer(number))]);
    assert!(hub.tell(&said("again")));
    assert_eq!(read(&slow), [Ok(said("again"))]);
}

#[test]
fn what_waits_for_a_face_is_bounded_in_bytes_too() {
    let (handle, hub, _commands) = handle();
    let face = handle.face().unwrap();
    let long = "x".repeat(crate::limits::TEXT_BYTES_MAX);
    for _ in 0..FACE_NOTICES_MAX {
        assert!(hub.tell(&said(&long)));
    }
    let told = read(&face);
    assert!(told.len() <= FACE_BYTES_MAX / long.len() + 1, "{}", told.len());
    assert_eq!(told.last(), Some(&Err(Lagged)));
}

#[tokio::test]
async fn a_command_is_answered_to_whoever_awaits_it() {
    let (handle, hub, mut commands) = handle();
    let asking = tokio::spawn({
        let handle = handle.clone();
        async move { handle.command(Command::Status).await }
    });
    let batch = commands.recv().await.unwrap();
    let (number, command) = &batch[0];
    assert_eq!((batch.len(), command), (1, &Command::Status));
    let refused = Refused::from(Refusal::NoKeys);
    let failed =
        Notice::Failed { command: Some(*number), refused: refused.clone(), is_fatal: false };
    assert!(!hub.tell(&failed));
    assert_eq!(asking.await.unwrap(), Err(refused));
    assert!(!hub.tell(&failed), "answered twice is heard once");
    assert_eq!(hub.0.others.load(Ordering::Acquire), 0);
}

#[tokio::test]
async fn a_command_that_nobody_awaits_any_more_is_forgotten() {
    let (handle, hub, mut commands) = handle();
    let asking = tokio::spawn({
        let handle = handle.clone();
        async move { handle.command(Command::Status).await }
    });
    let batch = commands.recv().await.unwrap();
    asking.abort();
    assert!(asking.await.is_err());
    assert!(lock(&hub.0.desk).answers.is_empty());
    assert_eq!(hub.0.others.load(Ordering::Acquire), 0);
    assert!(!hub.tell(&answer(batch[0].0)));
}

#[tokio::test]
async fn the_end_reaches_all_who_wait() {
    let (handle, hub, mut commands) = handle();
    let face = handle.face().unwrap();
    let asking = tokio::spawn({
        let handle = handle.clone();
        async move { handle.command(Command::Rooms).await }
    });
    commands.recv().await.unwrap();
    assert!(hub.tell(&Notice::Exited));
    hub.end();
    assert_eq!(asking.await.unwrap().unwrap_err().refusal, Refusal::NothingRunning);
    assert_eq!(face.next().await, Some(Ok(Notice::Exited)));
    assert_eq!(face.next().await, None);
    assert!(handle.face().is_err());
    let refused = handle.command(Command::Rooms).await.unwrap_err();
    assert_eq!(refused.refusal, Refusal::NothingRunning);
    assert_eq!(face.hand_over(vec![(face.number(), Command::Rooms)]).await, None);
}

#[tokio::test]
async fn how_far_something_is_is_told_to_who_asked_and_answers_nothing() {
    let (handle, hub, mut commands) = handle();
    let (asker, other) = (handle.face().unwrap(), handle.face().unwrap());
    let number = asker.number();
    let at = |command| {
        let doing = crate::protocol::Doing::Searching;
        Notice::Progress { command, doing, done: 1, of: 2 }
    };
    assert!(!hub.tell(&at(number)) && !hub.tell(&answer(number)));
    assert_eq!(read(&asker), [Ok(at(number)), Ok(answer(number))]);
    assert!(read(&other).is_empty());
    assert!(hub.tell(&at(CommandId(7))), "for the main face");
    let asking = tokio::spawn({
        let handle = handle.clone();
        async move { handle.command(Command::Rooms).await }
    });
    let (number, _) = commands.recv().await.unwrap().remove(0);
    assert!(!hub.tell(&at(number)) && !hub.tell(&answer(number)));
    assert_eq!(asking.await.unwrap(), Ok(answer(number)), "its answer is awaited");
    assert!(read(&asker).is_empty() && read(&other).is_empty());
}

#[tokio::test]
async fn a_face_that_reads_no_answers_may_not_ask_for_ever() {
    let (handle, hub, mut commands) = handle();
    let face = Arc::new(handle.face().unwrap());
    let mut numbers = Vec::new();
    for _ in 0..FACE_COMMANDS_MAX {
        face.hand_over(vec![(face.number(), Command::Rooms)]).await.unwrap();
        numbers.extend(commands.recv().await.unwrap().into_iter().map(|(number, _)| number));
    }
    let one_more = tokio::spawn({
        let face = Arc::clone(&face);
        async move { face.hand_over(vec![(face.number(), Command::Rooms)]).await }
    });
    for number in &numbers {
        assert!(!hub.tell(&answer(*number)));
    }
    tokio::task::yield_now().await;
    assert!(commands.try_recv().is_err(), "answers that wait unread count");
    assert_eq!(face.try_next(), Some(Ok(answer(numbers[0]))));
    assert_eq!(one_more.await.unwrap(), Some(()));
    assert!(commands.try_recv().is_ok());
}

#[test]
fn a_face_that_comes_late_learns_that_the_node_is_ready_and_who_leads_now() {
    let (handle, hub, _commands) = handle();
    let peer = PeerId::of_ed25519(&DeviceKey([1; 32]));
    let ready = Ready {
        role: "member",
        name: "alice".to_owned(),
        peer,
        network: String::new(),
        listen: Vec::new(),
        leader: None,
    };
    let leader =
        crate::protocol::LeaderView { name: "bob".to_owned(), peer, generation: 1, term: 2 };
    assert!(hub.tell(&Notice::Ready(ready.clone())));
    assert!(hub.tell(&Notice::Leader(Some(leader.clone()))));
    let told = read(&handle.face().unwrap());
    assert_eq!(told, [Ok(Notice::Ready(Ready { leader: Some(leader), ..ready }))]);
}

#[test]
fn of_many_messages_a_follower_is_told_one() {
    let (handle, hub, _commands) = handle();
    let follower = handle.news().unwrap();
    for text in ["a", "b", "c"] {
        assert!(hub.tell(&said(text)));
    }
    assert!(hub.tell(&info("x")));
    assert!(hub.tell(&said("d")));
    let told: Vec<Told> = std::iter::from_fn(|| follower.try_next()).collect();
    assert_eq!(told, [Ok(said("a")), Ok(info("x")), Ok(said("d"))]);
    assert!(hub.tell(&said("e")));
    assert_eq!(follower.try_next(), Some(Ok(said("e"))));
}

#[test]
fn faces_are_bounded() {
    let (handle, _hub, _commands) = handle();
    let faces: Vec<Face> = (0..FACES_MAX).map(|_| handle.face().unwrap()).collect();
    assert_eq!(handle.face().unwrap_err().refusal, Refusal::TooMany);
    drop(faces);
    assert!(handle.face().is_ok());
}
