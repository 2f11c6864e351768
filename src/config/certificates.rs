//! `[certificates]`: the folders that operators put certificates into.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use super::reader::Section;

/// `[certificates]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Certificates {
    /// `directories`: each watched with all below it.
    pub directories: Vec<PathBuf>,
}

/// What a certificate is called: its folder's or file's name, or `cert-…` for one that doorward made.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CertificateId(Arc<str>);

impl CertificateId {
    /// An id. It may hold any text; what is shown of it goes through `Display`.
    pub fn new(text: impl Into<Arc<str>>) -> Self {
        Self(text.into())
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for CertificateId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for CertificateId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

/// Reads `[certificates]`.
pub(super) fn read(mut section: Section<'_>) -> Certificates {
    let mut this = Certificates::default();
    section.set("directories", &mut this.directories, |item| {
        item.list("\"/etc/doorward/certs\"", |element| element.folder())
    });
    section.finish();
    this
}
