//! Which files make a certificate: the layouts that operators and their tools use.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::super::pem::pkcs12_to;
use super::super::{Bundle, Certificate, CertificateError, PemPart, PemParts, Warning, unix_now};
use crate::config::CertificateId;

/// Key, certificate, and chain where there may be one, in a folder of their own. A complete pair goes before one
/// with a missing half, then the order decides.
const PAIRS: [Pair; 4] = [
    Pair { key: "ssl.key", certificate: "ssl.crt", chain: Some("ssl.chain") },
    Pair { key: "privkey.pem", certificate: "fullchain.pem", chain: None },
    Pair { key: "tls.key", certificate: "tls.crt", chain: None },
    Pair { key: "key.pem", certificate: "cert.pem", chain: Some("chain.pem") },
];

/// A file that is larger holds no certificate: 1 MiB.
const MAX_FILE: u64 = 1024 * 1024;
/// Folders deeper than this are not looked into: symbolic links can make circles.
const MAX_DEPTH: usize = 16;

/// The names of one pair's files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pair {
    key: &'static str,
    certificate: &'static str,
    chain: Option<&'static str>,
}

/// Where a certificate is, and in what layout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Source {
    /// The folder of a pair, else the file.
    pub(super) path: PathBuf,
    layout: Layout,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Layout {
    Pair(Pair),
    /// Key and certificate in one PEM file. Beside a pair, a PEM file may as well be something else.
    Combined {
        beside_pair: bool,
    },
    /// A PKCS#12 file that nobody converted yet.
    Pkcs12,
}

/// What is seen of files without reading them: when it changes, they are read again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stamp(Vec<Option<[i64; 7]>>);

/// What a path holds now.
pub(super) enum Found {
    /// No certificate (any more).
    Gone,
    /// A certificate, sound or not.
    Read {
        /// What it is called by its folder or file.
        name: String,
        /// As it was before the files were read.
        stamp: Stamp,
        /// Whether it is most likely something that only lies beside a pair: a CA's certificate, DH parameters.
        stray: bool,
        /// What came of it.
        result: Result<Box<Certificate>, CertificateError>,
    },
}

/// What a walk through folders finds.
#[derive(Default)]
pub(super) struct Scan {
    /// The certificates.
    pub(super) sources: Vec<Source>,
    /// Folders that could not be listed, and why: what is below them is not known to be gone.
    pub(super) unreadable: Vec<(PathBuf, io::Error)>,
}

/// One folder's contents.
#[derive(Default)]
pub(super) struct Listing {
    /// The certificates in it.
    pub(super) sources: Vec<Source>,
    /// The folders in it.
    pub(super) folders: Vec<PathBuf>,
}

/// Walks `folder` and all below it.
pub(super) fn scan(folder: &Path) -> Scan {
    let mut scan = Scan::default();
    let mut folders = vec![(folder.to_owned(), 0)];
    while let Some((folder, depth)) = folders.pop() {
        match list(&folder) {
            Ok(listing) => {
                scan.sources.extend(listing.sources);
                if depth < MAX_DEPTH {
                    folders.extend(listing.folders.into_iter().map(|folder| (folder, depth + 1)));
                }
            }
            Err(error) => scan.unreadable.push((folder, error)),
        }
    }
    scan.sources.sort_by(|a, b| a.path.cmp(&b.path));
    scan.sources.dedup_by(|a, b| a.path == b.path);
    scan
}

/// Lists one folder. Hidden entries (Kubernetes' `..data`, editors' swap files) are not looked at.
pub(super) fn list(folder: &Path) -> io::Result<Listing> {
    let mut listing = Listing::default();
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        if name.starts_with('.') {
            continue;
        }
        let Ok(kind) = entry.file_type() else { continue };
        let is_link_to_folder = || kind.is_symlink() && !is_layout_file(&name) && entry.path().is_dir();
        if kind.is_dir() || is_link_to_folder() {
            listing.folders.push(entry.path());
        } else {
            files.push(name);
        }
    }
    listing.folders.retain(|below| below.file_name().is_none_or(|name| !is_passed_over(folder, name)));
    listing.sources = sources(folder, &files);
    Ok(listing)
}

/// Whether the folder `name` in `folder` is certbot's, but not the one where all that is current is: `archive` and
/// `keys` beside `live` have loose halves.
pub(super) fn is_passed_over(folder: &Path, name: &OsStr) -> bool {
    ["archive", "keys", "csr", "accounts", "renewal"].iter().any(|other| name == *other)
        && folder.join("live").is_dir()
        && folder.join("archive").is_dir()
}

fn sources(folder: &Path, files: &[String]) -> Vec<Source> {
    let has = |name: &str| files.iter().any(|file| file == name);
    let pair = pair(has);
    let mut sources = Vec::new();
    sources.extend(pair.map(|pair| Source { path: folder.to_owned(), layout: Layout::Pair(pair) }));
    for file in files.iter().filter(|file| !is_layout_file(file)) {
        let converted = || has(&format!("{}.pem", stem(file)));
        if let Some(layout) = file_layout(file, pair.is_some(), converted) {
            sources.push(Source { path: folder.join(file), layout });
        }
    }
    sources
}

fn file_layout(file: &str, beside_pair: bool, converted: impl Fn() -> bool) -> Option<Layout> {
    match Path::new(file).extension()?.to_str()? {
        "pem" => Some(Layout::Combined { beside_pair }),
        "p12" | "pfx" if !beside_pair && !converted() => Some(Layout::Pkcs12),
        _ => None,
    }
}

fn pair(has: impl Fn(&str) -> bool) -> Option<Pair> {
    let complete = PAIRS.iter().find(|pair| has(pair.key) && has(pair.certificate));
    complete.or_else(|| PAIRS.iter().find(|pair| has(pair.key) || has(pair.certificate))).copied()
}

fn stem(file: &str) -> &str {
    file.rsplit_once('.').map_or(file, |(stem, _)| stem)
}

/// Whether a file of this name belongs to its folder's certificate.
pub(super) fn is_layout_file(name: &str) -> bool {
    PAIRS.iter().any(|pair| name == pair.key || name == pair.certificate || Some(name) == pair.chain)
}

/// The certificate at `path`, which is a folder or a file, as [`Source::path`].
pub(super) fn at(path: &Path) -> Option<Source> {
    if path.is_dir() {
        let pair = pair(|name| path.join(name).symlink_metadata().is_ok())?;
        return Some(Source { path: path.to_owned(), layout: Layout::Pair(pair) });
    }
    path.symlink_metadata().ok()?;
    let (folder, name) = (path.parent()?, path.file_name()?.to_str()?);
    if is_layout_file(name) {
        return None;
    }
    let beside_pair = pair(|name| folder.join(name).symlink_metadata().is_ok()).is_some();
    let converted = || folder.join(format!("{}.pem", stem(name))).exists();
    file_layout(name, beside_pair, converted).map(|layout| Source { path: path.to_owned(), layout })
}

/// Reads what is at `path` now.
pub(super) fn look(path: &Path) -> Found {
    match path.metadata() {
        Err(error) if !is_absence(&error) => {
            let name = name_of(path, path.extension().is_some_and(|extension| extension == "pem"));
            Found::Read { name, stamp: Stamp(Vec::new()), stray: false, result: Err(read_error(path, &error)) }
        }
        _ => at(path).map_or(Found::Gone, |source| source.read()),
    }
}

impl Source {
    /// The folder's or file's name: the certificate's id where no other has it.
    pub(super) fn name(&self) -> String {
        name_of(&self.path, !matches!(self.layout, Layout::Pair(_)))
    }

    /// The files' sizes, times and places.
    pub(super) fn stamp(&self) -> Stamp {
        Stamp(self.files().iter().map(|file| file.metadata().ok().map(|meta| identity(&meta))).collect())
    }

    /// Reads the files and checks what is in them.
    pub(super) fn read(&self) -> Found {
        let stamp = self.stamp();
        let result = self.certificate().map(Box::new);
        // A file that vanished while it was read was deleted with all others, or is on its way: look again.
        if matches!(result, Err(CertificateError::Read { .. })) && !self.path.exists() {
            return Found::Gone;
        }
        let lacks_half = matches!(result, Err(CertificateError::NoKey { .. } | CertificateError::NoCertificate { .. }));
        let stray = lacks_half && self.layout == Layout::Combined { beside_pair: true };
        Found::Read { name: self.name(), stamp, stray, result }
    }

    fn certificate(&self) -> Result<Certificate, CertificateError> {
        let mut certificate = self.with_parts(|id, parts| Certificate::from_pem(id, parts, unix_now()))?;
        let key = match self.layout {
            Layout::Pair(pair) => self.path.join(pair.key),
            Layout::Combined { .. } | Layout::Pkcs12 => self.path.clone(),
        };
        if is_exposed(&key) {
            certificate.warn(Warning::ExposedKey(key.display().to_string()));
        }
        Ok(certificate)
    }

    /// As [`Source::read`], with the key.
    pub(super) fn bundle(&self) -> Result<Bundle, CertificateError> {
        self.with_parts(|id, parts| Bundle::from_parts(id, parts, unix_now()))
    }

    fn with_parts<T>(
        &self,
        make: impl FnOnce(CertificateId, PemParts<'_>) -> Result<T, CertificateError>,
    ) -> Result<T, CertificateError> {
        let id = CertificateId::new(self.name());
        match self.layout {
            Layout::Pair(pair) => {
                let (key, certificate) = (self.path.join(pair.key), self.path.join(pair.certificate));
                for (there, missing) in [(&key, &certificate), (&certificate, &key)] {
                    if missing.symlink_metadata().is_err() {
                        let missing = missing.file_name().unwrap_or_default().to_string_lossy().into_owned();
                        return Err(CertificateError::Missing { file: there.display().to_string(), missing });
                    }
                }
                let chain = pair.chain.map(|chain| self.path.join(chain)).filter(|chain| chain.exists());
                let (key, certificate) = (File::read(&key)?, File::read(&certificate)?);
                let chain = chain.map(|chain| File::read(&chain)).transpose()?;
                let (certificate, key) = (certificate.part(), key.part());
                let parts = PemParts { certificate, key, chain: chain.as_ref().map(File::part) };
                make(id, parts)
            }
            Layout::Combined { .. } => {
                let file = File::read(&self.path)?;
                let parts = PemParts { certificate: file.part(), key: file.part(), chain: None };
                make(id, parts)
            }
            Layout::Pkcs12 => {
                let file = self.path.display().to_string();
                let command = pkcs12_to(&file, &self.path.with_extension("pem").display().to_string());
                Err(CertificateError::Pkcs12 { file, command })
            }
        }
    }

    fn files(&self) -> Vec<PathBuf> {
        match self.layout {
            Layout::Pair(pair) => {
                let names = [Some(pair.key), Some(pair.certificate), pair.chain];
                names.into_iter().flatten().map(|name| self.path.join(name)).collect()
            }
            Layout::Combined { .. } | Layout::Pkcs12 => vec![self.path.clone()],
        }
    }
}

#[cfg(test)]
impl Stamp {
    /// A stamp of files with these sizes.
    pub(super) fn of(sizes: &[i64]) -> Self {
        Self(sizes.iter().map(|size| Some([0, 0, *size, 0, 0, 0, 0])).collect())
    }
}

struct File {
    name: String,
    bytes: Vec<u8>,
}

impl File {
    fn read(path: &Path) -> Result<Self, CertificateError> {
        let error = |error: io::Error| read_error(path, &error);
        let meta = path.metadata().map_err(error)?;
        // A named pipe would never end.
        if !meta.is_file() {
            return Err(error(io::Error::other("it is no regular file")));
        }
        if meta.len() > MAX_FILE {
            return Err(error(io::Error::other("it is larger than 1 MiB")));
        }
        Ok(Self { name: path.display().to_string(), bytes: fs::read(path).map_err(error)? })
    }

    fn part(&self) -> PemPart<'_> {
        PemPart::new(&self.name, &self.bytes)
    }
}

/// What a path is called as a certificate.
fn name_of(path: &Path, is_file: bool) -> String {
    let name = if is_file { path.file_stem() } else { path.file_name() };
    name.map_or_else(|| path.display().to_string(), |name| name.to_string_lossy().into_owned())
}

fn identity(meta: &fs::Metadata) -> [i64; 7] {
    let number = |n: u64| n.cast_signed();
    [
        number(meta.dev()),
        number(meta.ino()),
        number(meta.len()),
        meta.mtime(),
        meta.mtime_nsec(),
        meta.ctime(),
        meta.ctime_nsec(),
    ]
}

/// Whether any user may read the file: it says so, and so do the folders on the way to where it really is.
fn is_exposed(path: &Path) -> bool {
    let Ok(path) = path.canonicalize() else { return false };
    let allows = |path: &Path, bit| path.metadata().is_ok_and(|meta| meta.permissions().mode() & bit != 0);
    allows(&path, 0o004) && path.ancestors().skip(1).all(|folder| allows(folder, 0o001))
}

fn is_absence(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

fn read_error(path: &Path, error: &io::Error) -> CertificateError {
    CertificateError::Read { file: path.display().to_string(), reason: error.to_string() }
}
