//! What other tools hold: certificates in certbot's, Caddy's, Traefik's and lego's own storage.
//!
//! Each reader takes what can be served, and says line by line what it could not take or left out on purpose.
//! Nothing is changed there.

mod caddy;
mod certbot;
mod lego;
mod traefik;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::directory::Gathered;
use super::{Bundle, CertificateError, PemPart, PemParts, unix_now};
use crate::config::CertificateId;

/// A tool whose storage can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tool {
    /// certbot: `/etc/letsencrypt`, or its `live` folder.
    Certbot,
    /// Caddy: its data folder (`~/.local/share/caddy`, `/var/lib/caddy/.local/share/caddy`), or `certificates` in it.
    Caddy,
    /// Traefik: `acme.json`.
    Traefik,
    /// lego: `.lego`, or `certificates` in it.
    Lego,
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Taken {
    /// What was found, sound or not, each under an id that is its own here.
    pub found: Vec<Gathered>,
    /// What is there and was left, a line each.
    pub left: Vec<String>,
}

/// Why nothing could be read.
#[derive(Debug, thiserror::Error)]
#[error("{path} is not {what}: {reason}", path = path.display())]
pub struct ForeignError {
    path: PathBuf,
    what: &'static str,
    reason: String,
}

/// Reads what `tool` holds at `path`.
///
/// # Errors
/// [`ForeignError`]: there is no storage of that tool. A single certificate that cannot be used is no error here.
pub fn read(tool: Tool, path: &Path) -> Result<Taken, ForeignError> {
    let mut taken = match tool {
        Tool::Certbot => certbot::read(path),
        Tool::Caddy => caddy::read(path),
        Tool::Traefik => traefik::read(path),
        Tool::Lego => lego::read(path),
    }?;
    taken.keep_newest();
    Ok(taken)
}

impl Taken {
    /// Two of one name, as from two CAs: the one that lasts longer is taken.
    fn keep_newest(&mut self) {
        let end = |gathered: &Gathered| gathered.result.as_ref().map_or(i64::MIN, |b| b.certificate.not_after());
        self.found.sort_by(|a, b| (&a.name, std::cmp::Reverse(end(a))).cmp(&(&b.name, std::cmp::Reverse(end(b)))));
        let mut kept: Vec<Gathered> = Vec::new();
        for gathered in std::mem::take(&mut self.found) {
            match kept.last().filter(|last| last.name == gathered.name) {
                Some(last) => self.left.push(format!(
                    "{}: {} lasts longer and has the same name",
                    gathered.path.display(),
                    last.path.display()
                )),
                None => kept.push(gathered),
            }
        }
        self.found = kept;
    }

    fn leave(&mut self, path: &Path, why: &str) {
        self.left.push(format!("{}: {why}", path.display()));
    }
}

/// What a certificate of this name is called here: an asterisk is awkward in a shell.
fn id_of(name: &str) -> String {
    let base = ["*.", "wildcard_.", "_."].iter().find_map(|prefix| name.strip_prefix(prefix));
    base.map_or_else(|| name.to_owned(), |base| format!("wildcard.{base}"))
}

/// A certificate and its key in two files.
fn pair(name: &str, certificate: &Path, key: &Path) -> Gathered {
    let read = |path: &Path| {
        let file = path.display().to_string();
        fs::read(path)
            .map(|bytes| (file.clone(), bytes))
            .map_err(|error| CertificateError::Read { file, reason: error.to_string() })
    };
    let bundle = || {
        let ((certificate_file, certificate), (key_file, key)) = (read(certificate)?, read(key)?);
        let (certificate, key) = (PemPart::new(&certificate_file, &certificate), PemPart::new(&key_file, &key));
        Bundle::from_parts(CertificateId::new(name), PemParts { certificate, key, chain: None }, unix_now())
    };
    Gathered { name: name.to_owned(), path: certificate.to_owned(), result: bundle() }
}

/// The entries of a folder, sorted.
fn entries(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut all = fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<_>, _>>()?;
    all.sort();
    Ok(all)
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn not(path: &Path, what: &'static str, reason: impl ToString) -> ForeignError {
    ForeignError { path: path.to_owned(), what, reason: reason.to_string() }
}

#[cfg(test)]
mod tests;
