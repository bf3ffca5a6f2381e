//! The node as the screen sees it: the one place that knows how commands and notices travel.
//! Owns: the queue of commands on their way.
//! Must not know: what they mean.
//! Invariants: handing over never waits, so notices are read on while the node takes no commands.
//! Start reading at: [`Link`].

use std::collections::VecDeque;

use futures::FutureExt;
use tokio::sync::mpsc;

use crate::ids::CommandId;
use crate::limits::EVENTS_PER_TURN_MAX;
use crate::node::{Batch, Input, Node};
use crate::protocol::{Command, Notice};

/// Commands that may wait; a person does not type more.
const WAITING_MAX: usize = 10_000;

/// A running member.
#[derive(Debug)]
pub struct Link {
    node: Node,
    input: Input,
    waiting: VecDeque<(CommandId, Command)>,
    carrier: mpsc::Sender<Batch>,
}

impl Link {
    /// A face on this node; inside a runtime.
    pub fn new(node: Node) -> Self {
        let input = node.input();
        let (carrier, mut batches) = mpsc::channel::<Batch>(1);
        let way = input.clone();
        // It waits while the node takes none, so that who reads notices need not.
        tokio::spawn(async move {
            while let Some(batch) = batches.recv().await {
                if way.hand_over(batch).await.is_none() {
                    return;
                }
            }
        });
        Self { node, input, waiting: VecDeque::new(), carrier }
    }

    /// Puts a command behind those that wait.
    pub fn hand(&mut self, number: CommandId, command: Command) {
        if self.waiting.len() < WAITING_MAX {
            self.waiting.push_back((number, command));
        }
    }

    /// Leave now.
    pub fn leave(&self) {
        self.input.leave();
    }

    /// The end without a screen: the node leaves, and nobody hears it.
    pub async fn end(self) {
        self.node.leave().await;
    }

    /// A notice that is there already; `Some(None)`: the node has ended.
    pub fn now(&mut self) -> Option<Option<Notice>> {
        self.node.notice().now_or_never()
    }

    /// The next notice, while commands go out as the node takes them; `None`: the node has ended.
    /// Cancel safe.
    pub async fn next(&mut self) -> Option<Notice> {
        loop {
            if self.waiting.is_empty() {
                return self.node.notice().await;
            }
            tokio::select! {
                notice = self.node.notice() => return notice,
                permit = self.carrier.reserve() => {
                    let Ok(permit) = permit else {
                        // It has ended; its last notices are read on.
                        self.waiting.clear();
                        continue;
                    };
                    let count = self.waiting.len().min(EVENTS_PER_TURN_MAX);
                    let batch: Batch = self.waiting.drain(..count).collect();
                    permit.send(batch);
                }
            }
        }
    }
}
