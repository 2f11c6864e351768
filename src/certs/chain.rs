//! The chain put right: leaf first, each certificate followed by its issuer, nothing twice, no root.

use rustls::pki_types::CertificateDer;
use x509_parser::certificate::X509Certificate;
use x509_parser::der_parser::Oid;
use x509_parser::extensions::ParsedExtension;
use x509_parser::oid_registry::{OID_X509_EXT_AUTHORITY_KEY_IDENTIFIER, OID_X509_EXT_SUBJECT_KEY_IDENTIFIER};
use x509_parser::prelude::FromDer;

use super::Warning;

/// A parsed certificate with its bytes.
pub(super) struct Link<'a> {
    /// As it came.
    pub(super) der: &'a CertificateDer<'static>,
    /// What it says.
    pub(super) parsed: X509Certificate<'a>,
}

impl<'a> Link<'a> {
    /// Parses `der`; nothing may follow the certificate.
    pub(super) fn parse(der: &'a CertificateDer<'static>) -> Result<Self, String> {
        let (rest, parsed) = X509Certificate::from_der(der).map_err(|error| match error {
            x509_parser::nom::Err::Error(error) | x509_parser::nom::Err::Failure(error) => error.to_string(),
            x509_parser::nom::Err::Incomplete(_) => "it ends too early".to_owned(),
        })?;
        if rest.is_empty() { Ok(Self { der, parsed }) } else { Err("bytes follow it".to_owned()) }
    }

    /// Whether it names itself as its issuer: a root, or a self-signed leaf.
    pub(super) fn is_self_issued(&self) -> bool {
        self.parsed.issuer().as_raw() == self.parsed.subject().as_raw()
    }

    fn is_valid_at(&self, now: i64) -> bool {
        let validity = self.parsed.validity();
        (validity.not_before.timestamp()..=validity.not_after.timestamp()).contains(&now)
    }

    /// Whether this could have issued `child`: the names agree, and the key ids where both state one.
    fn may_have_issued(&self, child: &Link<'_>) -> bool {
        if self.parsed.subject().as_raw() != child.parsed.issuer().as_raw() {
            return false;
        }
        match (self.subject_key(), child.authority_key()) {
            (Some(subject), Some(authority)) => subject == authority,
            _ => true,
        }
    }

    fn extension(&self, oid: &Oid<'_>) -> Option<&ParsedExtension<'a>> {
        self.parsed
            .iter_extensions()
            .find(|extension| extension.oid == *oid)
            .map(|extension| extension.parsed_extension())
    }

    fn subject_key(&self) -> Option<&[u8]> {
        match self.extension(&OID_X509_EXT_SUBJECT_KEY_IDENTIFIER)? {
            ParsedExtension::SubjectKeyIdentifier(id) => Some(id.0),
            _ => None,
        }
    }

    fn authority_key(&self) -> Option<&[u8]> {
        match self.extension(&OID_X509_EXT_AUTHORITY_KEY_IDENTIFIER)? {
            ParsedExtension::AuthorityKeyIdentifier(id) => id.key_identifier.as_ref().map(|key| key.0),
            _ => None,
        }
    }
}

/// The chain that a handshake sends for `leaf`, out of `others` in any order.
///
/// A root is dropped, for clients have it or don't believe it (RFC 8446 §4.4.2). Of several certificates of
/// one issuer (cross-signed) the one that is valid at `now`, no root, and newest is taken.
pub(super) fn order(
    leaf: &Link<'_>,
    others: &[Link<'_>],
    now: i64,
    warnings: &mut Vec<Warning>,
) -> Vec<CertificateDer<'static>> {
    let mut chain = vec![leaf.der.clone()];
    let mut used = vec![false; others.len()];
    let mut last = leaf;
    let mut anchored = leaf.is_self_issued();
    while !last.is_self_issued() {
        let issuers = others.iter().enumerate().filter(|(index, other)| !used[*index] && other.may_have_issued(last));
        let best = issuers.max_by_key(|(_, other)| {
            (other.is_valid_at(now), !other.is_self_issued(), other.parsed.validity().not_before.timestamp())
        });
        let Some((index, issuer)) = best else { break };
        used[index] = true;
        anchored = true;
        if !issuer.is_self_issued() {
            chain.push(issuer.der.clone());
        }
        last = issuer;
    }
    if !anchored {
        warnings.push(Warning::MissingIntermediate { issuer: leaf.parsed.issuer().to_string() });
    }
    for (_, other) in others.iter().enumerate().filter(|(index, other)| !used[*index] && !other.is_self_issued()) {
        warnings.push(Warning::Unrelated { subject: other.parsed.subject().to_string() });
    }
    chain
}
