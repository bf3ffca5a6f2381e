//! The demo's play: who runs, what is heard of them, and what happens next.
//! Owns: the running roles.
//! Must not know: how it is shown, where the homes come from.
//! Invariants: a member that was killed is heard no more until it is back; what it holds then is what
//! it tells from its store.
//! Start reading at: [`Stage::play`].

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use super::{Figures, NAMES, Scene, Step};
use crate::config::{Config, Flag, Key, Places, RoleKind, Sources, Value};
use crate::ids::{CommandId, PeerId};
use crate::limits::HISTORY_MAX;
use crate::node::clock::Clock;
use crate::node::hub::{Face, Told};
use crate::node::{Node, Role, start};
use crate::protocol::{Command, MessageId, Notice};
use crate::refusal::{Refusal, Refused};
use crate::time::{Millis, Mono};

const ROOM: &str = "main";
/// How often somebody says something.
const SAY_EVERY: Millis = Millis(60);
/// How often it is told how far the talk has come.
const TELL_EVERY: Millis = Millis(100);
/// How often it is looked whether all are linked.
const LOOK_EVERY: Millis = Millis(50);
/// How long the talk is looked at before the next thing happens.
const CALM: Millis = Millis(2_000);
/// How long any one thing may take, on a slow and busy machine.
const PATIENCE: Millis = Millis(60_000);
/// Notices of all members that wait to be looked at.
const NEWS_MAX: usize = 1_024;

/// A member, running or dead.
struct Actor {
    /// Its life here: what is heard of an earlier one does not count.
    life: usize,
    node: Option<Node>,
    face: Option<Arc<Face>>,
    peer: Option<PeerId>,
    began: Mono,
    is_in: bool,
    leader: Option<(PeerId, u64)>,
    /// Members it is linked with, where it was asked and has answered.
    links: Option<usize>,
    /// What it showed, told, or had stored.
    held: BTreeSet<MessageId>,
    /// The answer to the last question for its history, in its order.
    history: Option<Vec<MessageId>>,
    asked: Option<CommandId>,
    under_way: usize,
}

/// All who play, and what was heard of them.
pub(super) struct Stage {
    clock: Clock,
    began: Mono,
    told: mpsc::Sender<Step>,
    servers: Vec<Node>,
    actors: Vec<Actor>,
    news: mpsc::Sender<(usize, usize, Told)>,
    heard: mpsc::Receiver<(usize, usize, Told)>,
    /// Everything said, with who said it.
    said: Vec<(usize, MessageId)>,
    is_talking: bool,
    next_said: Mono,
    next_told: Mono,
    turn: usize,
    /// Messages handed over, stored by now or not.
    spoken: usize,
    /// Of bootstrap and authority.
    address: [String; 2],
}

fn settings(role: RoleKind, flags: Vec<Flag>) -> Result<Config, Refused> {
    let places = Places { config: None, ..Places::of_this_user() };
    Config::load(role, &Sources { file: None, env: Vec::new(), flags, places })
}

fn flag(key: Key, value: Value) -> Flag {
    Flag { key, flag: "demo", value }
}

fn text(value: impl Into<String>) -> Value {
    Value::Text(value.into())
}

fn list(value: &str) -> Value {
    Value::List(vec![value.to_owned()])
}

/// Nobody listens any more: it ends here.
fn unheard() -> Refused {
    Refused::new(Refusal::Internal, "nobody watches the demo any more")
}

impl Stage {
    pub(super) fn new(told: mpsc::Sender<Step>) -> Self {
        let clock = Clock::start();
        let (news, heard) = mpsc::channel(NEWS_MAX);
        Self {
            clock,
            began: clock.now().mono,
            told,
            servers: Vec::new(),
            actors: Vec::new(),
            news,
            heard,
            said: Vec::new(),
            is_talking: false,
            next_said: Mono(0),
            next_told: Mono(0),
            turn: 0,
            spoken: 0,
            address: [String::new(), String::new()],
        }
    }

    fn now(&self) -> Mono {
        self.clock.now().mono
    }

    async fn tell(&self, scene: Scene) -> Result<(), Refused> {
        let at = self.now().since(self.began);
        self.told.send(Step { at, scene }).await.map_err(|_| unheard())
    }

    /// Plays all of it on homes in this directory.
    pub(super) async fn play(&mut self, homes: &Path) -> Result<Figures, Refused> {
        self.serve(homes).await?;
        self.join(homes).await?;
        let (leader, term) = self.settle().await?;
        self.is_talking = true;
        self.linger(CALM).await?;
        let said_before = self.spoken;
        let killed_at = self.kill(leader).await?;
        // However soon the others have a leader, somebody speaks before.
        self.say().await?;
        let (next, next_term) = self.elect(leader).await?;
        let leaderless = self.now().since(killed_at);
        let said_leaderless = self.spoken.saturating_sub(said_before);
        let (leader_now, term_now) = (next, next_term);
        self.tell(Scene::Elected { leader: leader_now, term: term_now, after: leaderless }).await?;
        self.linger(CALM).await?;
        let (catch_up, missed) = self.restart(leader, homes).await?;
        self.linger(Millis(CALM.0 / 2)).await?;
        self.is_talking = false;
        self.until("every member holds every message", |stage| {
            stage.actors.iter().all(|actor| {
                actor.under_way == 0 && stage.said.iter().all(|(_, id)| actor.held.contains(id))
            })
        })
        .await?;
        self.tell_talk().await?;
        let figures = Figures {
            members: self.actors.len(),
            leaderless,
            terms: (term, term_now),
            said_leaderless,
            catch_up,
            missed,
            took: self.now().since(self.began),
            ..self.compare().await?
        };
        self.tell(Scene::Done(figures.clone())).await?;
        Ok(figures)
    }

    /// Bootstrap and authority, on ports that are free.
    async fn serve(&mut self, homes: &Path) -> Result<(), Refused> {
        let roles = [
            (Role::Bootstrap, RoleKind::Bootstrap, "bootstrap"),
            (Role::Authority, RoleKind::Keyauth, "keyauth"),
        ];
        for (at, (role, kind, name)) in roles.into_iter().enumerate() {
            let (home, listen) = match kind {
                RoleKind::Keyauth => (Key::HomeKeyauth, Key::ListenKeyauth),
                _ => (Key::HomeBootstrap, Key::ListenBootstrap),
            };
            let home = flag(home, text(homes.join(name).display().to_string()));
            let config = settings(kind, vec![home, flag(listen, list("/ip4/127.0.0.1/tcp/0"))])?;
            let node = start::start(role, config).await?;
            let ready = node.handle();
            let ready = self.within(name, ready.ready()).await??;
            let address = ready.listen.into_iter().next().unwrap_or_default();
            if let Some(slot) = self.address.get_mut(at) {
                slot.clone_from(&address);
            }
            self.servers.push(drained(node));
            self.tell(Scene::Serving { role: name, address }).await?;
        }
        Ok(())
    }

    async fn within<T>(&self, what: &str, work: impl Future<Output = T>) -> Result<T, Refused> {
        match tokio::time::timeout(Duration::from_millis(PATIENCE.0), work).await {
            Ok(done) => Ok(done),
            Err(_) => Err(late(what)),
        }
    }

    /// One founds the group, then the others come in together.
    async fn join(&mut self, homes: &Path) -> Result<(), Refused> {
        for member in 0..NAMES.len() {
            let actor = self.start(member, 0, homes).await?;
            self.actors.push(actor);
            if member == 0 {
                self.until("the first member is in", |stage| stage.are_in()).await?;
            }
        }
        self.until("all members are in", |stage| stage.are_in()).await
    }

    fn are_in(&self) -> bool {
        self.actors.iter().all(|actor| actor.is_in)
    }

    async fn start(&self, member: usize, life: usize, homes: &Path) -> Result<Actor, Refused> {
        let name = NAMES.get(member).copied().unwrap_or_default();
        let [bootstrap, keyauth] = &self.address;
        let began = self.now();
        let config = settings(
            RoleKind::Member,
            vec![
                flag(Key::Name, text(name)),
                flag(Key::HomeMember, text(homes.join(name).display().to_string())),
                flag(Key::ListenMember, list("/ip4/127.0.0.1/tcp/0")),
                flag(Key::Bootstrap, list(bootstrap)),
                flag(Key::Keyauth, text(keyauth.as_str())),
                flag(Key::Embedded, Value::Switch(false)),
                flag(Key::Mdns, Value::Switch(false)),
            ],
        )?;
        let name = name.to_owned();
        let role = Role::Member { name, can_ask: false, invite: None, passphrase: None };
        let node = start::start(role, config).await?;
        let face = Arc::new(node.handle().face()?);
        let (ear, news) = (Arc::clone(&face), self.news.clone());
        tokio::spawn(async move {
            while let Some(told) = ear.next().await {
                if news.send((member, life, told)).await.is_err() {
                    return;
                }
            }
        });
        Ok(Actor {
            life,
            node: Some(drained(node)),
            face: Some(face),
            peer: None,
            began,
            is_in: false,
            leader: None,
            links: None,
            held: BTreeSet::new(),
            history: None,
            asked: None,
            under_way: 0,
        })
    }

    /// Who leads, as all who live know it.
    fn leader(&self) -> Option<(usize, u64)> {
        let mut known = self.actors.iter().filter(|it| it.node.is_some()).map(|it| it.leader);
        let (peer, term) = known.next()??;
        if !known.all(|it| it == Some((peer, term))) {
            return None;
        }
        let who = self.actors.iter().position(|it| it.peer == Some(peer))?;
        Some((who, term))
    }

    /// Waits until all are linked with all and know one leader.
    async fn settle(&mut self) -> Result<(usize, u64), Refused> {
        let others = self.actors.len().saturating_sub(1);
        let end = self.now().after(PATIENCE);
        let (leader, term) = loop {
            for actor in &mut self.actors {
                actor.links = None;
                if let Some(face) = &actor.face {
                    face.hand_over(vec![(face.number(), Command::Status)]).await;
                }
            }
            self.until("every member tells how it stands", |stage| {
                stage.actors.iter().all(|it| it.links.is_some())
            })
            .await?;
            match self.leader() {
                Some(known) if self.actors.iter().all(|it| it.links == Some(others)) => {
                    break known;
                }
                _ if self.now() >= end => return Err(late("all are linked and know one leader")),
                _ => self.linger(LOOK_EVERY).await?,
            }
        };
        self.tell(Scene::Settled { leader, term }).await?;
        Ok((leader, term))
    }

    async fn kill(&mut self, member: usize) -> Result<Mono, Refused> {
        let killed_at = self.now();
        let node = self.actors.get_mut(member).and_then(|actor| {
            actor.face = None;
            actor.asked = None;
            actor.under_way = 0;
            actor.is_in = false;
            actor.node.take()
        });
        if let Some(node) = node {
            node.kill().await;
        }
        self.tell(Scene::Killed { member }).await?;
        Ok(killed_at)
    }

    /// Waits until all who are left know one leader, another one.
    async fn elect(&mut self, dead: usize) -> Result<(usize, u64), Refused> {
        let is_new = |stage: &Self| stage.leader().filter(|(leader, _)| *leader != dead).is_some();
        self.until("the others elect a leader", is_new).await?;
        self.leader().ok_or_else(|| late("a leader"))
    }

    /// Starts the dead one again; gives how long it took to have what it had missed, and how much
    /// that was.
    async fn restart(&mut self, member: usize, homes: &Path) -> Result<(Millis, usize), Refused> {
        let before = self.actors.get(member).map(|it| it.held.clone()).unwrap_or_default();
        let life = self.actors.get(member).map_or(0, |it| it.life).saturating_add(1);
        let meant: Vec<MessageId> = self.said.iter().map(|(_, id)| *id).collect();
        let missed = meant.iter().filter(|id| !before.contains(id)).count();
        let restarted = self.now();
        self.tell(Scene::Restarted { member }).await?;
        let actor = self.start(member, life, homes).await?;
        if let Some(slot) = self.actors.get_mut(member) {
            *slot = actor;
        }
        // What it has stored counts, not what it once showed.
        self.ask_history(member).await?;
        self.until("the restarted member has caught up", |stage| {
            stage
                .actors
                .get(member)
                .is_some_and(|actor| actor.is_in && meant.iter().all(|id| actor.held.contains(id)))
        })
        .await?;
        let after = self.now().since(restarted);
        self.tell(Scene::CaughtUp { member, after, missed }).await?;
        Ok((after, missed))
    }

    async fn ask_history(&mut self, member: usize) -> Result<(), Refused> {
        let Some(actor) = self.actors.get_mut(member) else { return Ok(()) };
        let Some(face) = actor.face.clone() else { return Ok(()) };
        let number = face.number();
        actor.asked = Some(number);
        actor.history = None;
        let command = Command::History { room: ROOM.to_owned(), last: HISTORY_MAX };
        face.hand_over(vec![(number, command)]).await.ok_or_else(|| late("a member's answer"))
    }

    /// What every store holds, against what was said.
    async fn compare(&mut self) -> Result<Figures, Refused> {
        for member in 0..self.actors.len() {
            self.ask_history(member).await?;
        }
        self.until("every member tells its history", |stage| {
            stage.actors.iter().all(|actor| actor.history.is_some())
        })
        .await?;
        let said: BTreeSet<MessageId> = self.said.iter().map(|(_, id)| *id).collect();
        let mut figures = Figures { said: said.len(), ..Figures::default() };
        let others = self.actors.len().saturating_sub(1);
        figures.expected = figures.said.saturating_mul(others);
        let mut orders: Vec<&[MessageId]> = Vec::new();
        for (member, actor) in self.actors.iter().enumerate() {
            let history = actor.history.as_deref().unwrap_or_default();
            let found: BTreeSet<MessageId> = history.iter().copied().collect();
            figures.doubled =
                figures.doubled.saturating_add(history.len().saturating_sub(found.len()));
            figures.lost = figures.lost.saturating_add(said.difference(&found).count());
            let of_others = |(by, id): &&(usize, MessageId)| *by != member && found.contains(id);
            let delivered = self.said.iter().filter(of_others).count();
            figures.delivered = figures.delivered.saturating_add(delivered);
            orders.push(history);
        }
        figures.is_same = orders.windows(2).all(|pair| pair.first() == pair.last());
        Ok(figures)
    }

    /// Lets time pass, and the talk go on.
    async fn linger(&mut self, time: Millis) -> Result<(), Refused> {
        let end = self.now().after(time);
        loop {
            if self.now() >= end {
                return Ok(());
            }
            self.turn(end).await?;
        }
    }

    async fn until(&mut self, what: &str, is: impl Fn(&Self) -> bool) -> Result<(), Refused> {
        let end = self.now().after(PATIENCE);
        while !is(self) {
            if self.now() >= end {
                return Err(late(what));
            }
            self.turn(end).await?;
        }
        Ok(())
    }

    /// One thing that happens, or the next moment at which something is due.
    async fn turn(&mut self, end: Mono) -> Result<(), Refused> {
        let now = self.now();
        if self.is_talking && now >= self.next_said {
            self.next_said = now.after(SAY_EVERY);
            self.say().await?;
        }
        if !self.said.is_empty() && now >= self.next_told {
            self.next_told = now.after(TELL_EVERY);
            self.tell_talk().await?;
        }
        let mut due = end;
        if self.is_talking {
            due = due.min(self.next_said);
        }
        if !self.said.is_empty() {
            due = due.min(self.next_told);
        }
        let at = self.clock.instant(due);
        let heard = tokio::select! {
            heard = self.heard.recv() => heard,
            () = tokio::time::sleep_until(at.into()) => None,
            () = self.told.closed() => return Err(unheard()),
        };
        match heard {
            Some((member, life, told)) => self.note(member, life, told).await,
            None => Ok(()),
        }
    }

    /// The next one who lives says something.
    async fn say(&mut self) -> Result<(), Refused> {
        let living = |actor: &Actor| actor.is_in && actor.face.is_some();
        let count = self.actors.len().max(1);
        let next = (0..count)
            .map(|step| self.turn.saturating_add(step).checked_rem(count).unwrap_or(0))
            .find(|at| self.actors.get(*at).is_some_and(living));
        let Some(member) = next else { return Ok(()) };
        self.turn = member.saturating_add(1);
        let number = self.said.len().saturating_add(1);
        let text = format!("{number}: {}", LINES.get(number % LINES.len()).unwrap_or(&""));
        let Some(actor) = self.actors.get_mut(member) else { return Ok(()) };
        let Some(face) = actor.face.clone() else { return Ok(()) };
        actor.under_way = actor.under_way.saturating_add(1);
        let command = Command::Send { room: ROOM.to_owned(), text: text.clone() };
        let handed = face.hand_over(vec![(face.number(), command)]).await;
        handed.ok_or_else(|| late("a member takes a message"))?;
        self.spoken = self.spoken.saturating_add(1);
        self.tell(Scene::Said { member, text }).await
    }

    async fn tell_talk(&self) -> Result<(), Refused> {
        let said: BTreeSet<MessageId> = self.said.iter().map(|(_, id)| *id).collect();
        let held = self.actors.iter().map(|it| it.held.intersection(&said).count()).collect();
        self.tell(Scene::Talk { said: said.len(), held }).await
    }

    async fn note(&mut self, member: usize, life: usize, told: Told) -> Result<(), Refused> {
        let now = self.now();
        let Some(actor) = self.actors.get_mut(member).filter(|it| it.life == life) else {
            return Ok(());
        };
        // A dead one's last words are none: what it stored, it tells when it is back.
        if actor.node.is_none() {
            return Ok(());
        }
        let Ok(notice) = told else {
            return Err(Refused::new(Refusal::Internal, "the demo heard too little"));
        };
        let mut scene = None;
        match notice {
            Notice::Ready(ready) => {
                actor.is_in = true;
                actor.peer = Some(ready.peer);
                actor.leader = ready.leader.map(|it| (it.peer, it.term));
                scene = Some(Scene::Joined { member, took: now.since(actor.began) });
            }
            Notice::Leader(leader) => {
                actor.leader = leader.map(|it| (it.peer, it.term));
                let leader = actor.leader.and_then(|(peer, term)| {
                    let who = self.actors.iter().position(|it| it.peer == Some(peer))?;
                    Some((who, term))
                });
                scene = Some(Scene::Knows { member, leader });
            }
            Notice::Status { status, .. } => {
                let linked = status.members.iter().filter(|it| it.is_linked && !it.is_self);
                actor.links = Some(linked.count());
            }
            Notice::Message(message) => {
                actor.held.insert(message.id);
            }
            Notice::Sent { message, .. } => {
                actor.held.insert(message.id);
                actor.under_way = actor.under_way.saturating_sub(1);
                self.said.push((member, message.id));
            }
            Notice::History { command, messages } if actor.asked == Some(command) => {
                actor.held.extend(messages.iter().map(|it| it.id));
                actor.history = Some(messages.iter().map(|it| it.id).collect());
            }
            Notice::Failed { refused, .. } => return Err(refused),
            _ => {}
        }
        match scene {
            Some(scene) => self.tell(scene).await,
            None => Ok(()),
        }
    }

    /// Ends whoever still runs.
    pub(super) async fn end(&mut self) {
        self.heard.close();
        let nodes = self.actors.iter_mut().filter_map(|actor| actor.node.take());
        let nodes: Vec<Node> = nodes.chain(self.servers.drain(..)).collect();
        // Nothing is left that a farewell would be for.
        for node in nodes {
            node.kill().await;
        }
    }
}

/// Leaves the main face to nobody: what happens is heard by another.
fn drained(mut node: Node) -> Node {
    let (_, none) = mpsc::channel(1);
    let mut notices = std::mem::replace(&mut node.notices, none);
    tokio::spawn(async move { while notices.recv().await.is_some() {} });
    node
}

/// What they say.
const LINES: [&str; 7] = [
    "good morning",
    "did the build go through?",
    "it did, all of it",
    "who deploys today?",
    "I do, right after lunch",
    "the graphs look calm",
    "then let us begin",
];

fn late(what: &str) -> Refused {
    let seconds = PATIENCE.0 / 1_000;
    Refused::new(Refusal::TimedOut, format!("within {seconds} s this did not happen: {what}"))
}
