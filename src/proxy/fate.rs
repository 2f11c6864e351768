//! What becomes of a field that a client sends: one rule, and the one list of names that apps are known to trust.
//!
//! A name is folded as the apps behind fold it (case, and as in CGI variables, where `_` stands for `-`, and with some
//! servers for any other mark); what then reads like one of ours, like framing or like a hop's own business does
//! not pass. docs/headers.md tells operators of the list, and a test holds it against this file.

/// What happens to a field on its way to the app.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// Passed on.
    Pass,
    /// Between two hops only, or written anew by us (RFC 9110 §7.6.1).
    Hop,
    /// Says where the request came from or what it was: believed from trusted peers alone.
    Forwarded,
    /// Of those, the ones that doorward states itself even where it believes the peer's.
    Stated,
    /// Never passed, whoever sends it: a spelling that an app would take for another name, or an attack.
    Never,
}

/// Fields of one hop, and those that frame a message.
const HOP: [&str; 11] = [
    "connection",
    "content-length",
    "host",
    "http2-settings",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "transfer-encoding",
    "upgrade",
];

/// What doorward states itself.
const STATED: [&str; 6] =
    ["forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-port", "x-forwarded-proto", "x-real-ip"];

/// Names that apps are known to take a client's address, scheme, host, path or certificate from, besides those with
/// one of [`PREFIXES`].
pub(super) const FORWARDED: [&str; 52] = [
    "ali-cdn-real-ip",
    "base-url",
    "cdn-src-ip",
    "cf-connecting-ip",
    "cf-connecting-ipv6",
    "cf-pseudo-ipv4",
    "cf-visitor",
    "client-cert",
    "client-cert-chain",
    "client-ip",
    "cloudfront-forwarded-proto",
    "cloudfront-viewer-address",
    "fastly-client-ip",
    "fastly-ssl",
    "fly-client-ip",
    "forwarded-for",
    "forwarded-for-ip",
    "forwarded-host",
    "forwarded-proto",
    "front-end-https",
    "https",
    "incap-client-ip",
    "remote-addr",
    "remote-host",
    "script-name",
    "true-client-ip",
    "wl-proxy-client-ip",
    "wl-proxy-ssl",
    "x-accel-mapping",
    "x-appengine-user-ip",
    "x-azure-clientip",
    "x-azure-socketip",
    "x-client-cert",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-envoy-external-address",
    "x-forward-for",
    "x-forwarded",
    "x-host",
    "x-http-destinationurl",
    "x-http-host-override",
    "x-http-method-override-uri",
    "x-https",
    "x-middleware-subrequest",
    "x-override-url",
    "x-proto",
    "x-proxyuser-ip",
    "x-rewrite-url",
    "x-scheme",
    "x-script-name",
    "x-sendfile-type",
    "x-url-scheme",
];

/// Beginnings of further such names.
pub(super) const PREFIXES: [&str; 8] =
    ["ssl-client-", "x-arr-", "x-forwarded-", "x-original-", "x-real-", "x-remote-", "x-ssl", "x-tls-"];

/// Names that an app must not get from anybody: `Proxy` becomes `HTTP_PROXY` in CGI environments ("httpoxy").
const NEVER: [&str; 1] = ["proxy"];

/// So much of a name is folded: more than the longest above.
const LONGEST: usize = 32;

/// A name as apps fold it.
pub(crate) fn folded(name: &str) -> String {
    name.bytes().map(|byte| char::from(fold(byte))).collect()
}

/// What becomes of a field of this name, where `more` are further (folded) names that only trusted peers may send.
pub(super) fn fate(name: &[u8], more: &[String]) -> Fate {
    let fate = known(name);
    if fate == Fate::Pass && more.iter().any(|other| is_folded(name, other)) {
        return if is_odd(name) { Fate::Never } else { Fate::Forwarded };
    }
    fate
}

fn known(name: &[u8]) -> Fate {
    let mut start = [0; LONGEST];
    let mut odd = false;
    for (to, &from) in start.iter_mut().zip(name) {
        odd |= is_mark(from) && from != b'-';
        *to = fold(from);
    }
    let start = &start[..name.len().min(LONGEST)];
    // A folded name is ASCII, as tokens are.
    let Ok(start) = std::str::from_utf8(start) else { return Fate::Never };
    let whole = (name.len() <= LONGEST).then_some(start);
    let is_in = |list: &[&str]| whole.is_some_and(|whole| list.contains(&whole));
    let fate = if is_in(&HOP) {
        Fate::Hop
    } else if is_in(&STATED) {
        Fate::Stated
    } else if is_in(&NEVER) {
        Fate::Never
    } else if is_in(&FORWARDED) || PREFIXES.iter().any(|prefix| start.starts_with(prefix)) {
        Fate::Forwarded
    } else {
        Fate::Pass
    };
    if odd && fate != Fate::Pass { Fate::Never } else { fate }
}

/// Whether a trailer field may pass (RFC 9110 §6.5.1): nothing that frames, routes, authenticates or tells of the
/// sender.
pub(super) fn passes_as_trailer(name: &[u8], more: &[String]) -> bool {
    const UNFIT: [&str; 10] = [
        "authorization",
        "cache-control",
        "content-encoding",
        "content-range",
        "content-type",
        "cookie",
        "expect",
        "max-forwards",
        "set-cookie",
        "trailer",
    ];
    fate(name, more) == Fate::Pass && !UNFIT.iter().any(|unfit| is_folded(name, unfit))
}

fn is_mark(byte: u8) -> bool {
    !byte.is_ascii_alphanumeric()
}

fn fold(byte: u8) -> u8 {
    if is_mark(byte) { b'-' } else { byte.to_ascii_lowercase() }
}

fn is_odd(name: &[u8]) -> bool {
    name.iter().any(|&byte| is_mark(byte) && byte != b'-')
}

fn is_folded(name: &[u8], folded: &str) -> bool {
    name.len() == folded.len() && name.iter().zip(folded.bytes()).all(|(&byte, other)| fold(byte) == other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_spelling_of_ours_passes() {
        for name in [
            "X-Forwarded-For",
            "x-forwarded-proto",
            "X_Forwarded_Proto",
            "x-forwarded_Port",
            "X-FORWARDED-HOST",
            "Forwarded",
            "X-Real-IP",
            "x_real_ip",
            "X.Forwarded.Proto",
            "X-Forwarded~For",
            "X-Forwarded-Ssl",
            "X-Forwarded-Scheme",
            "X-Forwarded-Anything-That-Somebody-May-Have-Thought-Of",
            "X-Scheme",
            "X-Url-Scheme",
            "Front-End-Https",
            "X-Original-URL",
            "X-Rewrite-URL",
            "True-Client-IP",
            "Client-IP",
            "X-Cluster-Client-IP",
            "Proxy",
            "PROXY",
            "Host",
            "Connection",
            "Content_Length",
            "Transfer_Encoding",
            "TE",
            "Upgrade",
            "X-Tls-Version",
            "Client_Cert",
        ] {
            assert_ne!(fate(name.as_bytes(), &[]), Fate::Pass, "{name}");
            assert!(!passes_as_trailer(name.as_bytes(), &[]), "{name}");
        }
        for name in ["Accept", "X-Forward", "Cookie", "X-Request-Id", "My_Header", "Trailer", "Expect", "X-Realm"] {
            assert_eq!(fate(name.as_bytes(), &[]), Fate::Pass, "{name}");
        }
    }

    #[test]
    fn further_names_are_folded_too() {
        let more = [folded("X_My-Scheme")];
        assert_eq!(fate(b"x-my-scheme", &more), Fate::Forwarded);
        assert_eq!(fate(b"X-My_Scheme", &more), Fate::Never);
        assert_eq!(fate(b"X-My-Scheme2", &more), Fate::Pass);
        assert!(!passes_as_trailer(b"X.My.Scheme", &more));
    }

    #[test]
    fn the_lists_are_in_order_and_documented() {
        let docs = include_str!("../../docs/headers.md");
        for list in [&HOP[..], &STATED, &FORWARDED, &PREFIXES, &NEVER] {
            assert!(list.is_sorted(), "{list:?}");
            for name in list {
                assert!(name.len() <= LONGEST, "{name}");
                assert_eq!(&folded(name), name);
            }
        }
        for name in FORWARDED.iter().chain(&STATED) {
            assert!(docs.contains(&format!("`{name}`")), "docs/headers.md lacks {name}");
        }
        for prefix in PREFIXES {
            assert!(docs.contains(&format!("`{prefix}…`")), "docs/headers.md lacks {prefix}");
        }
    }
}
