//! `p2pgroup demo`, as a picture, as lines or as JSON.
//! Owns: which of the three, and the exit code.
//! Must not know: how the demo runs, how the picture is drawn.
//! Invariants: exit code 0 only if all that the figures claim held.
//! Start reading at: [`run`].

use std::io::IsTerminal;
use std::process::ExitCode;

use tokio::sync::mpsc;

use super::args::Globals;
use super::{json, report, serve};
use crate::config::{Color, Config};
use crate::node::demo::{self, Scene, Step};
use crate::refusal::Refused;
use crate::tui::demo as picture;

/// Steps that wait to be shown.
const STEPS_MAX: usize = 256;

/// Plays the demo and shows it.
///
/// # Errors
/// What keeps it from being played to its end.
pub(super) fn run(config: &Config, globals: &Globals) -> Result<ExitCode, Refused> {
    let is_terminal = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
    let has_picture = is_terminal && !globals.json && !globals.is_plain() && !config.is_dumb;
    serve::runtime()?.block_on(async {
        let (told, mut steps) = mpsc::channel(STEPS_MAX);
        let show = async {
            let is_seen = if has_picture {
                picture::run(&mut steps, config.color != Color::Never).await
            } else {
                tokio::select! {
                    is_seen = lines(&mut steps, globals) => is_seen,
                    () = serve::signalled() => Ok(false),
                }
            };
            // The demo ends when nobody listens.
            steps.close();
            is_seen
        };
        let (played, is_seen) = tokio::join!(demo::play(told), show);
        if !is_seen? {
            return Ok(ExitCode::from(report::INTERRUPTED));
        }
        let figures = played?;
        if has_picture {
            // The screen is gone with what stood on it.
            report::print(figures_in_words(&figures).as_bytes())?;
        }
        Ok(if figures.holds() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    })
}

/// Prints every step; `false`: nobody reads any more.
async fn lines(steps: &mut mpsc::Receiver<Step>, globals: &Globals) -> Result<bool, Refused> {
    while let Some(step) = steps.recv().await {
        let mut out = Vec::new();
        if globals.json {
            json::demo(&step, &mut out);
        } else if let Scene::Done(figures) = &step.scene {
            out.extend_from_slice(figures_in_words(figures).as_bytes());
        } else if let Some(line) = picture::words(&step.scene).filter(|_| !globals.quiet) {
            let at = format!("{}.{}", step.at.0 / 1_000, step.at.0 % 1_000 / 100);
            out.extend_from_slice(format!("{at:>5} s  {line}\n").as_bytes());
        }
        if !out.is_empty() && !report::print(&out)? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn figures_in_words(figures: &demo::Figures) -> String {
    let lines = picture::figures(figures);
    lines.iter().map(|(what, much)| format!("{what:<18}{much}\n")).collect()
}
