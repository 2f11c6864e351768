//! `doorward reload`: the running daemon reads its config again.

use clap::Args;

use super::output::{Style, complain, safe, say, styled};
use super::{DONE, Daemon, FAILED, WRONG, admin_socket};
use crate::admin::client::Client;
use crate::admin::view::{ReloadOutcome, ReloadView};

/// Have a running doorward read its config again, and wait for the outcome.
///
/// Prints what changed, or everything that is wrong; then the old config stays in force. Exits with 0 where the
/// config is in force, with 2 where it has faults, and with 1 where it could not be put in force or no doorward
/// answers.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  doorward reload --config /etc/doorward/doorward.toml\n  doorward reload --force apps"
)]
pub(super) struct ReloadArgs {
    /// Besides, serve the new certificate with this id that is held back because it would make things worse
    /// (expired, or without a name that the old one has); or order it anew now, where it is one of ACME's. May be
    /// given several times
    #[arg(long, value_name = "ID")]
    force: Vec<String>,
    #[command(flatten)]
    daemon: Daemon,
}

pub(super) fn run(args: &ReloadArgs) -> u8 {
    let client = match admin_socket::find(&args.daemon) {
        Ok(socket) => Client::new(socket),
        Err(error) => {
            complain(error);
            return FAILED;
        }
    };
    let reloaded = match super::wait_for(client.reload()) {
        Ok(reload) => {
            say(render(&reload));
            code(&reload)
        }
        Err(error) => {
            complain(error);
            return FAILED;
        }
    };
    let forced = args.force.iter().map(|id| match super::wait_for(client.force(id)) {
        Ok(()) => {
            say(format_args!("certificate {}: done, `doorward status` shows it\n", safe(id)));
            DONE
        }
        Err(error) => {
            complain(error);
            FAILED
        }
    });
    forced.fold(reloaded, u8::max)
}

fn code(reload: &ReloadView) -> u8 {
    match reload.outcome {
        ReloadOutcome::Applied | ReloadOutcome::Unchanged => DONE,
        ReloadOutcome::Failed => FAILED,
        ReloadOutcome::Refused => WRONG,
    }
}

fn render(reload: &ReloadView) -> String {
    let (style, headline) = match reload.outcome {
        ReloadOutcome::Applied => (Style::Green, "reloaded"),
        ReloadOutcome::Unchanged => (Style::Green, "nothing changed"),
        ReloadOutcome::Refused => (Style::Red, "refused: the config has faults, the old one stays in force"),
        ReloadOutcome::Failed => (Style::Red, "failed: the config could not be put in force, the old one stays"),
    };
    let mut text = format!("{}\n", styled(style, headline));
    for line in reload.changes.iter().chain(&reload.faults) {
        // A fault may have a second line with the remedy.
        text.push_str(&format!("  {}\n", line.replace('\n', "\n  ")));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exit_code_tells_faults_from_failures() {
        let view =
            |outcome| ReloadView { at: 0, outcome, changes: vec![], faults: vec!["a:1:2: b\n  remedy: c".to_owned()] };
        for (outcome, expected) in [
            (ReloadOutcome::Applied, 0),
            (ReloadOutcome::Unchanged, 0),
            (ReloadOutcome::Failed, 1),
            (ReloadOutcome::Refused, 2),
        ] {
            assert_eq!(code(&view(outcome)), expected);
        }
        assert!(render(&view(ReloadOutcome::Refused)).ends_with("\n  a:1:2: b\n    remedy: c\n"));
    }
}
