//! `doorward config show`: the config as it holds, with every default.

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use crate::config::{Faults, Found, Machine, load_on};

/// Prints the effective config as TOML, secrets masked. 2 where the config has faults; files and folders that it
/// names need not be there.
#[must_use]
pub fn run(config: &Path) -> ExitCode {
    match show(config) {
        Ok(text) => match std::io::stdout().write_all(text.as_bytes()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE,
        },
        Err(faults) => {
            // Without a reader the exit code has to be enough.
            let _ = writeln!(std::io::stderr(), "{faults}");
            ExitCode::from(2)
        }
    }
}

fn show(config: &Path) -> Result<String, Faults> {
    // What is masked need not be read, by somebody who perhaps may not.
    let machine = Machine { look: |_| Found::Assumed, secret: |_| Ok("masked".to_owned()), ..Machine::this() };
    let loaded = load_on(config, machine)?;
    Ok(format!("# {}, with every default\n{}", config.display(), loaded.config.to_toml()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_are_elsewhere_and_secrets_are_no_hindrance() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("doorward.toml");
        let text = "[[listener]]\naddress = \":443\"\n[certificates]\ndirectories = [\"/no/such/folder\"]\n\
                    [acme.eab]\nkey_id = \"kid\"\nhmac_key = \"file:/no/such/secret\"\n";
        std::fs::write(&file, text).expect("a file");
        let shown = show(&file).unwrap_or_else(|faults| panic!("{faults}"));
        assert!(shown.contains("hmac_key = \"***\"") && shown.contains("first_byte = \"1m\""), "{shown}");
        std::fs::write(&file, "wrkers = 1").expect("a file");
        assert!(show(&file).is_err_and(|faults| faults.to_string().contains("did you mean workers?")));
    }
}
