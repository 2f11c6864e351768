//! Who may issue for a name: CAA (RFC 8659), the nearest records up the tree.

use hickory_proto::rr::{RData, RecordType};

use super::{DnsError, Resolver};

/// The CAA records that decide about a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caa {
    /// Where they are.
    pub at: String,
    /// Tags, in lower case, and values.
    pub records: Vec<(String, String)>,
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
                RData::CAA(caa) => Some((caa.tag.to_lowercase(), String::from_utf8_lossy(&caa.value).into_owned())),
                _ => None,
            };
            let records: Vec<_> = answers.iter().filter_map(|answer| record(&answer.data)).collect();
            if !records.is_empty() {
                return Ok(Some(Caa { at: name.to_owned(), records }));
            }
            at = name.split_once('.').map(|(_, rest)| rest);
        }
        Ok(None)
    }
}

impl Caa {
    /// Whether the CA that calls itself `ca` in these records may issue (RFC 8659 §4.2, §4.3). Parameters, as
    /// `accounturi`, are not judged.
    #[must_use]
    pub fn allows(&self, ca: &str, wildcard: bool) -> bool {
        let wild = wildcard && self.records.iter().any(|(tag, _)| tag == "issuewild");
        let tag = if wild { "issuewild" } else { "issue" };
        let mut relevant = self.records.iter().filter(|(found, _)| found == tag).peekable();
        let domain = |value: &str| value.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case(ca);
        relevant.peek().is_none() || relevant.any(|(_, value)| domain(value))
    }
}

impl std::fmt::Display for Caa {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let shown: Vec<_> = self.records.iter().map(|(tag, value)| format!("{tag} {value:?}")).collect();
        write!(f, "{} (at {})", shown.join(", "), self.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_records_that_matter_decide() {
        let caa = |records: &[(&str, &str)]| Caa {
            at: "example.org".to_owned(),
            records: records.iter().map(|(tag, value)| ((*tag).to_owned(), (*value).to_owned())).collect(),
        };
        for (records, wildcard, allowed) in [
            (&[("issue", "ca.test")][..], false, true),
            (&[("issue", "CA.test; accounturi=https://x/1")], true, true),
            (&[("issue", "other.test")], false, false),
            (&[("issue", ";")], false, false),
            (&[("issue", "ca.test"), ("issuewild", ";")], false, true),
            (&[("issue", "ca.test"), ("issuewild", ";")], true, false),
            (&[("issue", ";"), ("issuewild", "ca.test")], true, true),
            (&[("iodef", "mailto:ops@example.org")], false, true),
        ] {
            assert_eq!(caa(records).allows("ca.test", wildcard), allowed, "{records:?} {wildcard}");
        }
    }
}
