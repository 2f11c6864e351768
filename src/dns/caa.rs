//! Who may issue for a name: CAA (RFC 8659, RFC 8657), the nearest records up the tree.

use std::fmt;

use hickory_proto::rr::{RData, RecordType};

use super::{DnsError, Resolver};

/// The CAA records that decide about a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caa {
    /// Where they are.
    pub at: String,
    /// All of them.
    pub records: Vec<Property>,
}

/// One CAA record (RFC 8659 §4.1).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Property {
    /// Whether a CA that does not know the tag must not issue.
    pub critical: bool,
    /// In lower case.
    pub tag: String,
    /// As it is written.
    pub value: String,
}

/// Who wants to issue, and as whom it was asked.
#[derive(Clone, Copy, Debug)]
pub struct Issuance<'a> {
    /// The domains by which the CA calls itself in these records; any will do.
    pub ca: &'a [String],
    /// The URL of the account with it (RFC 8657 §3); none: it is not made yet, and no record can name it.
    pub account: Option<&'a str>,
    /// The challenges that can be answered (RFC 8657 §4), by their ACME names.
    pub methods: &'a [&'a str],
    /// Whether it is for a wildcard.
    pub wildcard: bool,
}

/// Why CAA forbids an issuance.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum Forbidden {
    /// What decides is critical, and nobody knows what it means.
    #[error("there is a critical property {0:?} that CAs do not know: remove it")]
    Critical(String),
    /// Other CAs may issue, or none.
    #[error("add `{tag} \"{ca}\"`")]
    OtherCa {
        /// `issue` or `issuewild`.
        tag: &'static str,
        /// The CA.
        ca: String,
    },
    /// The CA may issue to other accounts.
    #[error("only the account {theirs} may ask {ca}: {remedy}", remedy = match ours {
        Some(ours) => format!("set accounturi={ours}"),
        None => "doorward has no account there yet, add accounturi once it has".to_owned(),
    })]
    OtherAccount {
        /// The CA.
        ca: String,
        /// The account that the record names.
        theirs: String,
        /// Doorward's, where there is one.
        ours: Option<String>,
    },
    /// The CA may issue after other challenges.
    #[error("{ca} may issue after {theirs} only: add one of {ours} to validationmethods")]
    OtherMethod {
        /// The CA.
        ca: String,
        /// The methods that the record names.
        theirs: String,
        /// Those that can be answered.
        ours: String,
    },
}

impl Resolver {
    /// The CAA records that decide about a name; none: every CA may issue.
    ///
    /// # Errors
    /// [`DnsError`]: then a CA does not issue (RFC 8659 §3).
    pub async fn permissions(&self, name: &str) -> Result<Option<Caa>, DnsError> {
        let mut at = Some(name);
        while let Some(name) = at.filter(|name| !name.is_empty()) {
            let answers = self.look_up(name, RecordType::CAA).await?;
            let record = |data: &RData| match data {
                RData::CAA(caa) => Some(Property {
                    critical: caa.issuer_critical,
                    tag: caa.tag.to_lowercase(),
                    value: String::from_utf8_lossy(&caa.value).into_owned(),
                }),
                _ => None,
            };
            let mut records: Vec<_> = answers.iter().filter_map(|answer| record(&answer.data)).collect();
            if !records.is_empty() {
                // Servers take turns with the order.
                records.sort();
                return Ok(Some(Caa { at: name.to_owned(), records }));
            }
            at = name.split_once('.').map(|(_, rest)| rest);
        }
        Ok(None)
    }
}

impl Caa {
    /// Whether the CA may issue (RFC 8659 §4.2 and §4.3, RFC 8657 §3 and §4).
    ///
    /// # Errors
    /// [`Forbidden`]: what has to change; where several records stand in the way, the one that comes nearest.
    pub fn permits(&self, who: &Issuance<'_>) -> Result<(), Forbidden> {
        const KNOWN: [&str; 6] = ["issue", "issuewild", "iodef", "issuemail", "contactemail", "contactphone"];
        if let Some(unknown) = self.records.iter().find(|p| p.critical && !KNOWN.contains(&p.tag.as_str())) {
            return Err(Forbidden::Critical(unknown.tag.clone()));
        }
        let tag = match who.wildcard && self.records.iter().any(|property| property.tag == "issuewild") {
            true => "issuewild",
            false => "issue",
        };
        let relevant: Vec<_> = self.records.iter().filter(|property| property.tag == tag).collect();
        let verdicts = relevant.iter().map(|property| property.permits(tag, who));
        // Any record that permits is enough; of those that do not, the one that names the CA says most.
        verdicts
            .reduce(|best, next| if best.is_ok() { best } else { next.or_else(|next| best.max(Err(next))) })
            .unwrap_or(Ok(()))
    }
}

impl Property {
    fn permits(&self, tag: &'static str, who: &Issuance<'_>) -> Result<(), Forbidden> {
        let mut parts = self.value.split(';').map(str::trim);
        let domain = parts.next().unwrap_or_default();
        let Some(ca) = who.ca.iter().find(|ca| ca.eq_ignore_ascii_case(domain)) else {
            return Err(Forbidden::OtherCa { tag, ca: who.ca.first().cloned().unwrap_or_default() });
        };
        let parameters: Vec<(&str, &str)> =
            parts.filter_map(|part| part.split_once('=')).map(|(name, value)| (name.trim(), value.trim())).collect();
        let all = |name: &str| -> Vec<&str> {
            parameters.iter().filter(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| *value).collect()
        };
        // More than one account is one that nobody has (RFC 8657 §3).
        let accounts = all("accounturi");
        if !accounts.is_empty() && who.account.is_none_or(|ours| accounts != [ours]) {
            let (ca, ours) = (ca.clone(), who.account.map(str::to_owned));
            return Err(Forbidden::OtherAccount { ca, theirs: accounts.join(" and "), ours });
        }
        let methods = all("validationmethods");
        let listed = |list: &&str| list.split(',').any(|method| who.methods.contains(&method.trim()));
        if !methods.iter().all(listed) {
            let (ca, theirs) = (ca.clone(), methods.join(" and "));
            return Err(Forbidden::OtherMethod { ca, theirs, ours: who.methods.join(", ") });
        }
        Ok(())
    }
}

impl fmt::Display for Caa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown: Vec<_> = self.records.iter().map(|record| format!("{} {:?}", record.tag, record.value)).collect();
        write!(f, "{} (at {})", shown.join(", "), self.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: &str = "https://ca.test/acct/1";

    fn verdict(records: &[(&str, &str)], wildcard: bool, account: Option<&str>) -> Result<(), Forbidden> {
        let property = |(tag, value): &(&str, &str)| Property {
            critical: tag.ends_with('!'),
            tag: tag.trim_end_matches('!').to_owned(),
            value: (*value).to_owned(),
        };
        let caa = Caa { at: "example.org".to_owned(), records: records.iter().map(property).collect() };
        let ca = ["ca.test".to_owned(), "brand.test".to_owned()];
        caa.permits(&Issuance { ca: &ca, account, methods: &["http-01", "dns-01"], wildcard })
    }

    #[test]
    fn the_records_that_matter_decide() {
        for (records, wildcard, allowed) in [
            (&[("issue", "ca.test")][..], false, true),
            (&[("issue", "BRAND.test ; x = y")], true, true),
            (&[("issue", "other.test")], false, false),
            (&[("issue", ";")], false, false),
            (&[("issue", "")], false, false),
            (&[("issue", "ca.test"), ("issuewild", ";")], false, true),
            (&[("issue", "ca.test"), ("issuewild", ";")], true, false),
            (&[("issue", ";"), ("issuewild", "ca.test")], true, true),
            (&[("issue", "other.test"), ("issue", "ca.test")], false, true),
            (&[("issue", "ca.test"), ("issue", "other.test")], false, true),
            (&[("iodef", "mailto:ops@example.org")], false, true),
            (&[("issue!", "ca.test"), ("future", "x")], false, true),
            (&[("issue", "ca.test"), ("future!", "x")], false, false),
        ] {
            assert_eq!(verdict(records, wildcard, Some(OURS)).is_ok(), allowed, "{records:?} {wildcard}");
        }
    }

    #[test]
    fn accounts_and_methods_bind() {
        let says = |value: &str, account: Option<&str>| {
            verdict(&[("issue", "other.test"), ("issue", value)], false, account)
                .map_or_else(|why| why.to_string(), |()| String::new())
        };
        assert_eq!(says(&format!("ca.test; accounturi={OURS}; validationmethods=dns-01"), Some(OURS)), "");
        assert!(
            says("ca.test; accounturi=https://ca.test/acct/2", Some(OURS)).ends_with(&format!("accounturi={OURS}"))
        );
        assert!(says(&format!("ca.test; accounturi={OURS}"), None).contains("no account there yet"));
        assert!(says(&format!("ca.test; accounturi={OURS}; accounturi=https://x"), Some(OURS)).contains(" and "));
        assert!(says("ca.test; validationmethods=tls-alpn-01", None).contains("http-01, dns-01"));
        assert_eq!(says("ca.test; validationmethods=tls-alpn-01,http-01", None), "");
        assert_eq!(says("nobody.test", None), "add `issue \"ca.test\"`");
    }
}
