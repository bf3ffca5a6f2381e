//! What is said about a message: replies, edits, deletions, marks.
//! Owns: which message is meant, and whether one may say that of it.
//! Must not know: how it is shown, what becomes of it elsewhere (`protocol/fold.rs`).
//! Invariants: what is said of an edited message is said of the message, not of the edit.
//! Start reading at: [`Member::on_say`].

use super::{Context, Member};
use crate::ids::{CommandId, MessageId};
use crate::protocol::{About, Deed, MessageView, Saying};
use crate::refusal::{Refusal, Refused};

/// Stands for the newest message that may be meant.
const LAST: &str = "last";
/// Entries looked through for it.
const LOOKED_MAX: usize = 512;

impl Member {
    pub(super) fn on_say(
        &mut self,
        command: CommandId,
        here: &str,
        to: &str,
        deed: Deed,
        cx: &mut Context<'_>,
    ) {
        match self.meant(here, to, &deed, cx) {
            Ok((target, room)) => {
                let saying = match deed {
                    Deed::Reply { text } => Saying { text, about: About::Reply(target) },
                    Deed::Edit { text } => Saying { text, about: About::Edit(target) },
                    Deed::Delete => Saying { text: String::new(), about: About::Deletion(target) },
                    Deed::React { mark, is_removed } => {
                        let about = About::Reaction { to: target, is_removed };
                        Saying { text: mark, about }
                    }
                };
                if matches!(saying.about, About::Reaction { .. }) && saying.check().is_err() {
                    return cx.fail(command, Refusal::MarkBad);
                }
                self.on_posts(&room, vec![(command, saying.into())], cx);
            }
            Err(refused) => cx.fail(command, refused),
        }
    }

    pub(super) fn on_apply(
        &mut self,
        command: CommandId,
        room: &str,
        kind: String,
        text: String,
        cx: &mut Context<'_>,
    ) {
        let saying = Saying { text, about: About::Application(kind) };
        self.on_posts(room, vec![(command, saying.into())], cx);
    }

    /// The message that is meant, and its room.
    fn meant(
        &mut self,
        here: &str,
        to: &str,
        deed: &Deed,
        cx: &Context<'_>,
    ) -> Result<(MessageId, String), Refused> {
        let is_of_own = matches!(deed, Deed::Edit { .. } | Deed::Delete);
        let view = if to == LAST {
            let newest = self.history(here, LOOKED_MAX, cx.reads)?;
            newest.into_iter().rev().find(|it| it.about.is_said() && it.is_own == is_of_own)
        } else {
            let (entry, _) = self.message_called(to, cx.reads)?;
            self.message_of(&entry).filter(|view| view.about.is_said())
        };
        let Some(MessageView { id, about, is_own, room, .. }) = view else {
            return Err(Refused::new(Refusal::MessageUnknown, to));
        };
        if is_of_own && !is_own {
            return Err(Refused::new(Refusal::NotAllowed, "that message is not yours"));
        }
        match about {
            About::File(_) if matches!(deed, Deed::Edit { .. }) => {
                Err(Refused::new(Refusal::NotAllowed, "a file keeps its name; send it again"))
            }
            About::Edit(of) => Ok((of, room)),
            _ => Ok((id, room)),
        }
    }
}
