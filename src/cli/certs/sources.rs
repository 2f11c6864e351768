//! Where `certs import` reads from: folders, files, stdin, and other tools' storage.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use crate::certs::foreign::{self, Tool};
use crate::certs::{Bundle, CertificateError, PemPart, PemParts, directory, unix_now};
use crate::config::CertificateId;
use crate::read;

/// A file that is larger holds no certificate, in bytes.
const MOST: u64 = 1024 * 1024;

/// A certificate that was found, and where.
pub(super) struct Found {
    /// What it is called there.
    pub(super) name: String,
    /// Where, for people.
    pub(super) from: String,
    /// What is there, or what the operator has to do about it.
    pub(super) result: Result<Bundle, CertificateError>,
}

/// What there is, and what was left.
pub(super) type Collected = (Vec<Found>, Vec<String>);

/// Everything that the arguments name.
pub(super) fn collect(paths: &[PathBuf], tool: Option<Tool>) -> Result<Collected, String> {
    match (paths, tool) {
        ([path], Some(tool)) => {
            let taken = foreign::read(tool, path).map_err(|error| error.to_string())?;
            Ok((taken.found.into_iter().map(found).collect(), taken.left))
        }
        (_, Some(_)) => Err("--from takes one path: the tool's folder or file".to_owned()),
        ([dash], None) if dash.as_os_str() == "-" => Ok((vec![stdin()?], Vec::new())),
        (paths, None) if paths.iter().all(|path| path.is_dir()) => {
            let all: Vec<_> = paths.iter().flat_map(|path| directory::gather(path)).map(found).collect();
            if all.is_empty() {
                let layouts = "privkey.pem + fullchain.pem, ssl.key + ssl.crt (+ ssl.chain), tls.key + tls.crt, key.pem + cert.pem, NAME.pem";
                return Err(format!(
                    "there is no certificate in the folder; it may be in one of these layouts: {layouts}; what certbot, Caddy, Traefik or lego holds is taken with --from"
                ));
            }
            Ok((all, Vec::new()))
        }
        (paths, None) if paths.iter().any(|path| path.is_dir()) => {
            Err("name folders, or the files of one certificate, but not both".to_owned())
        }
        (paths, None) => Ok((vec![files(paths)?], Vec::new())),
    }
}

fn found(gathered: directory::Gathered) -> Found {
    Found { name: gathered.name, from: gathered.path.display().to_string(), result: gathered.result }
}

fn stdin() -> Result<Found, String> {
    let mut bytes = Vec::new();
    let read = std::io::stdin().lock().take(MOST).read_to_end(&mut bytes);
    read.map_err(|error| format!("stdin cannot be read: {error}"))?;
    let result = Bundle::from_text(CertificateId::new("-"), "stdin", &bytes, unix_now());
    Ok(Found { name: name_of(&result).unwrap_or_default(), from: "stdin".to_owned(), result })
}

/// One certificate in one file or in several: which is the key, their contents tell.
fn files(paths: &[PathBuf]) -> Result<Found, String> {
    let read = |path: &PathBuf| -> Result<(String, Vec<u8>), String> {
        let file = path.display().to_string();
        let bytes = read::file(path, MOST).map_err(|error| format!("{file} cannot be read: {error}"))?;
        Ok((file, bytes))
    };
    let files = paths.iter().map(read).collect::<Result<Vec<_>, _>>()?;
    let has_key = |(_, bytes): &&(String, Vec<u8>)| has(bytes, b"PRIVATE KEY-----");
    let (key_file, key) = match files.iter().filter(has_key).collect::<Vec<_>>()[..] {
        [one] => one,
        // Whatever is wrong with a single file, reading it says best.
        [] if files.len() == 1 => &files[0],
        [] => {
            return Err(
                "none of the files has a private key (-----BEGIN PRIVATE KEY-----): name that one too".to_owned()
            );
        }
        _ => return Err("several of the files have a private key: name the files of one certificate".to_owned()),
    };
    let others: Vec<_> = files.iter().filter(|(file, _)| file != key_file).collect();
    let name = stem(paths, key_file);
    let id = CertificateId::new(name.as_str());
    let key_part = PemPart::new(key_file, key);
    let chain: Vec<u8> = others.iter().skip(1).flat_map(|(_, bytes)| [bytes, &b"\n"[..]].concat()).collect();
    let certificate = others.first().map_or(key_part, |(file, bytes)| PemPart::new(file, bytes));
    let chain_file = others.get(1).map(|(file, _)| file.as_str());
    let chain = chain_file.map(|file| PemPart::new(file, &chain));
    let result = Bundle::from_parts(id, PemParts { certificate, key: key_part, chain }, unix_now());
    let name = match paths {
        [_] => name,
        _ => name_of(&result).unwrap_or(name),
    };
    let from = paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(" ");
    Ok(Found { name, from, result })
}

/// A certificate's first name, as an id that a shell leaves alone.
fn name_of(result: &Result<Bundle, CertificateError>) -> Option<String> {
    let name = result.as_ref().ok()?.certificate.names().first()?.to_string();
    Some(name.strip_prefix("*.").map_or_else(|| name.clone(), |base| format!("wildcard.{base}")))
}

fn stem(paths: &[PathBuf], fallback: &str) -> String {
    let stem = paths.first().and_then(|path| Path::new(path).file_stem());
    stem.map_or_else(|| fallback.to_owned(), |stem| stem.to_string_lossy().into_owned())
}

fn has(bytes: &[u8], needle: &[u8]) -> bool {
    memchr::memmem::find(bytes, needle).is_some()
}
