//! Why a certificate is not taken, with the file and the remedy.

/// Why the files are no certificate that doorward could serve.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// The file could not be read.
    #[error("{file} can't be read: {reason}")]
    Read {
        /// The file.
        file: String,
        /// What the system said.
        reason: String,
    },
    /// One half of a pair is there, the other not.
    #[error("{missing} is missing beside {file}")]
    Missing {
        /// The file that is there.
        file: String,
        /// The name of the one that is not.
        missing: String,
    },
    /// Nothing in it.
    #[error("{file} is empty: copy it again")]
    Empty {
        /// The file.
        file: String,
    },
    /// It ends in the middle of a block.
    #[error("{file} ends in the middle of a PEM block: it was copied only in part, copy it again")]
    Truncated {
        /// The file.
        file: String,
    },
    /// A block that is not base64.
    #[error("{file} has a damaged PEM block: copy it again")]
    Damaged {
        /// The file.
        file: String,
    },
    /// Neither PEM nor anything known.
    #[error("{file} is no PEM file: it should have a line that starts with -----BEGIN")]
    NotPem {
        /// The file.
        file: String,
    },
    /// DER instead of PEM.
    #[error("{file} is DER, and PEM is needed; convert it with: {command}")]
    Der {
        /// The file.
        file: String,
        /// What converts it.
        command: String,
    },
    /// PKCS#12 instead of PEM.
    #[error("{file} is PKCS#12, and PEM is needed; convert it with: {command}")]
    Pkcs12 {
        /// The file.
        file: String,
        /// What converts it.
        command: String,
    },
    /// PKCS#7 instead of certificates.
    #[error("{file} is PKCS#7, and plain PEM certificates are needed; convert it with: {command}")]
    Pkcs7 {
        /// The file.
        file: String,
        /// What converts it.
        command: String,
    },
    /// A key that needs a passphrase.
    #[error("the private key in {file} is protected by a passphrase; take it off with: {command}")]
    Encrypted {
        /// The file.
        file: String,
        /// What takes the passphrase off.
        command: String,
    },
    /// No certificate block.
    #[error("{file} has no certificate (no -----BEGIN CERTIFICATE-----)")]
    NoCertificate {
        /// The file.
        file: String,
    },
    /// No private key block.
    #[error("{file} has no private key (no -----BEGIN PRIVATE KEY-----)")]
    NoKey {
        /// The file.
        file: String,
    },
    /// A key that can't be used.
    #[error(
        "the private key in {file} is damaged, or of a kind that can't be used: RSA of 2048 to 8192 bits, ECDSA P-256, P-384, P-521 and Ed25519 can; this shows what it is: {look}; this makes a new one, to have a certificate issued for: {make}"
    )]
    Key {
        /// The file.
        file: String,
        /// What shows its kind.
        look: String,
        /// What makes one that can be used.
        make: String,
    },
    /// The key belongs to another certificate.
    #[error(
        "the private key in {key} does not belong to the certificate in {certificate}; these two print the same for a pair: {command}"
    )]
    Mismatch {
        /// The certificate's file.
        certificate: String,
        /// The key's file.
        key: String,
        /// What shows it.
        command: String,
    },
    /// A certificate that can't be parsed.
    #[error("a certificate in {file} can't be parsed: {reason}")]
    Parse {
        /// The file.
        file: String,
        /// What the parser said.
        reason: String,
    },
    /// No DNS name or IP address in it.
    #[error(
        "the certificate in {file} has no usable name: it needs a DNS name or an IP address as subjectAltName, ask its CA for one"
    )]
    NoName {
        /// The file.
        file: String,
    },
}

impl CertificateError {
    /// Whether a copy that is still under way looks like this: worth another look before it is reported.
    #[must_use]
    pub fn may_settle(&self) -> bool {
        match self {
            Self::Read { .. }
            | Self::Missing { .. }
            | Self::Empty { .. }
            | Self::Truncated { .. }
            | Self::Damaged { .. }
            | Self::NotPem { .. }
            | Self::NoCertificate { .. }
            | Self::NoKey { .. }
            | Self::Mismatch { .. }
            | Self::Parse { .. } => true,
            Self::Der { .. }
            | Self::Pkcs12 { .. }
            | Self::Pkcs7 { .. }
            | Self::Encrypted { .. }
            | Self::Key { .. }
            | Self::NoName { .. } => false,
        }
    }
}
