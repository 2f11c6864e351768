//! From a file's bytes to its PEM blocks, or to what the operator has to do about it.

use rustls::pki_types::pem::{Error as PemError, PemObject, SectionKind};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::CertificateError;

/// The files that one certificate is made of. In a combined file, `certificate` and `key` are the same part.
#[derive(Clone, Copy)]
pub struct PemParts<'a> {
    /// The certificate, and maybe its chain.
    pub certificate: PemPart<'a>,
    /// The private key.
    pub key: PemPart<'a>,
    /// The chain, where it is apart.
    pub chain: Option<PemPart<'a>>,
}

/// A file's (or a storage entry's) bytes with the name that messages call it by.
#[derive(Clone, Copy)]
pub struct PemPart<'a> {
    /// The path, as a message shows it.
    pub file: &'a str,
    /// All of its bytes.
    pub bytes: &'a [u8],
}

/// What a file is read for: decides the command that a message recommends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// A certificate or a chain.
    Certificate,
    /// A private key.
    Key,
    /// A key and a certificate in one file.
    Combined,
}

impl<'a> PemPart<'a> {
    /// A part of the file called `file`.
    #[must_use]
    pub fn new(file: &'a str, bytes: &'a [u8]) -> Self {
        Self { file, bytes }
    }

    /// All certificates of the part, in the order of the file.
    pub(super) fn certificates(&self, role: Role) -> Result<Vec<CertificateDer<'static>>, CertificateError> {
        let sections = self.sections(role)?;
        let certificates = sections.into_iter().filter(|(kind, _)| *kind == SectionKind::Certificate);
        Ok(certificates.map(|(_, der)| CertificateDer::from(der)).collect())
    }

    /// The first private key of the part.
    pub(super) fn key(&self, role: Role) -> Result<PrivateKeyDer<'static>, CertificateError> {
        if contains(self.bytes, b"-----BEGIN ENCRYPTED PRIVATE KEY-----")
            || contains(self.bytes, b"Proc-Type: 4,ENCRYPTED")
        {
            return Err(CertificateError::Encrypted {
                file: self.file.to_owned(),
                command: self.decrypt_command(role),
            });
        }
        let sections = self.sections(role)?;
        let key = sections.into_iter().find_map(|(kind, der)| PrivateKeyDer::from_pem(kind, der));
        key.ok_or_else(|| CertificateError::NoKey { file: self.file.to_owned() })
    }

    /// That the key's bytes are no key of a kind that can be used.
    pub(super) fn unusable_key(&self) -> CertificateError {
        let (file, new) = (quoted(self.file), quoted(&format!("{}.new", self.file)));
        CertificateError::Key {
            file: self.file.to_owned(),
            look: format!("openssl pkey -noout -text -in {file} | head -1"),
            make: format!("openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out {new}"),
        }
    }

    fn sections(&self, role: Role) -> Result<Vec<(SectionKind, Vec<u8>)>, CertificateError> {
        let file = || self.file.to_owned();
        let bytes = self.bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(self.bytes);
        if bytes.iter().all(|byte| byte.is_ascii_whitespace() || *byte == 0) {
            return Err(CertificateError::Empty { file: file() });
        }
        if is_pkcs12(bytes) {
            return Err(CertificateError::Pkcs12 { file: file(), command: pkcs12_command(self.file, role) });
        }
        if is_der(bytes) {
            return Err(CertificateError::Der { file: file(), command: self.der_command(role) });
        }
        if contains(bytes, b"-----BEGIN PKCS7-----") {
            return Err(CertificateError::Pkcs7 { file: file(), command: self.pkcs7_command() });
        }
        if !contains(bytes, b"-----BEGIN ") {
            // A file cut off within its first line has the dashes already.
            return Err(if bytes.trim_ascii().starts_with(b"-") {
                CertificateError::Truncated { file: file() }
            } else {
                CertificateError::NotPem { file: file() }
            });
        }
        <(SectionKind, Vec<u8>)>::pem_slice_iter(bytes).collect::<Result<_, _>>().map_err(|error| match error {
            PemError::MissingSectionEnd { .. } | PemError::IllegalSectionStart { .. } => {
                CertificateError::Truncated { file: file() }
            }
            _ => CertificateError::Damaged { file: file() },
        })
    }

    fn decrypt_command(&self, role: Role) -> String {
        if role != Role::Combined {
            return convert(self.file, "openssl pkey");
        }
        // The file's certificates have to stay in it.
        let (file, new) = (quoted(self.file), quoted(&format!("{}.new", self.file)));
        format!(
            "openssl pkey -in {file} -out {new} && openssl crl2pkcs7 -nocrl -certfile {file} | openssl pkcs7 -print_certs >> {new} && mv {new} {file}"
        )
    }

    fn pkcs7_command(&self) -> String {
        convert(self.file, "openssl pkcs7 -print_certs")
    }

    fn der_command(&self, role: Role) -> String {
        match role {
            Role::Key => convert(self.file, "openssl pkey -inform DER"),
            Role::Certificate | Role::Combined => convert(self.file, "openssl x509 -inform DER"),
        }
    }
}

/// The command that takes from a PKCS#12 file what a file of this role holds, in place.
fn pkcs12_command(file: &str, role: Role) -> String {
    match role {
        Role::Key => convert(file, "openssl pkcs12 -nocerts -nodes"),
        Role::Certificate => convert(file, "openssl pkcs12 -nokeys"),
        Role::Combined => convert(file, "openssl pkcs12 -nodes"),
    }
}

/// The command that makes a combined PEM file of the PKCS#12 file `from`.
pub(super) fn pkcs12_to(from: &str, to: &str) -> String {
    format!("openssl pkcs12 -nodes -in {} -out {}", quoted(from), quoted(to))
}

/// A command that converts `file` in place: written beside it first, so that doorward never sees it half done.
fn convert(file: &str, command: &str) -> String {
    let new = quoted(&format!("{file}.new"));
    let file = quoted(file);
    format!("{command} -in {file} -out {new} && mv {new} {file}")
}

/// `text` as one word of a POSIX shell.
pub(super) fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:,@%".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

fn contains(bytes: &[u8], needle: &[u8]) -> bool {
    memchr::memmem::find(bytes, needle).is_some()
}

/// An ASN.1 SEQUENCE with a length of two or more octets: what every certificate and key starts with in DER.
fn is_der(bytes: &[u8]) -> bool {
    matches!(bytes, [0x30, 0x81..=0x84, ..])
        || matches!(bytes, [0x30, length, ..] if *length < 0x80 && bytes.len() == 2 + usize::from(*length))
}

/// PFX (RFC 7292 §4): a SEQUENCE (in BER, maybe of indefinite length) that starts with INTEGER 3.
fn is_pkcs12(bytes: &[u8]) -> bool {
    let [0x30, length, rest @ ..] = bytes else { return false };
    let skip = if *length > 0x80 { usize::from(length & 0x7f) } else { 0 };
    rest.get(skip..).is_some_and(|body| body.starts_with(&[0x02, 0x01, 0x03]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_quote_what_a_shell_would_split() {
        assert_eq!(quoted("/etc/a-b_c.pem"), "/etc/a-b_c.pem");
        assert_eq!(quoted("/etc/my certs/it's"), r"'/etc/my certs/it'\''s'");
        let command = PemPart::new("/c/ssl key", b"").decrypt_command(Role::Key);
        assert_eq!(command, "openssl pkey -in '/c/ssl key' -out '/c/ssl key.new' && mv '/c/ssl key.new' '/c/ssl key'");
    }

    #[test]
    fn binary_files_are_told_apart() {
        assert!(is_pkcs12(&[0x30, 0x82, 0x01, 0x00, 0x02, 0x01, 0x03, 0x30]));
        assert!(is_pkcs12(&[0x30, 0x80, 0x02, 0x01, 0x03, 0x30]));
        assert!(!is_pkcs12(&[0x30, 0x82, 0x01, 0x00, 0x30, 0x82]));
        assert!(!is_pkcs12(&[0x30, 0xff]));
        assert!(is_der(&[0x30, 0x82, 0x01, 0x00, 0x30, 0x82]));
        assert!(!is_der(b"0 is a digit"));
    }
}
