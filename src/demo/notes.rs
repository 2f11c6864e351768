//! One sentence for each header that a reader may wonder about.

/// Who put a header there, as far as its name tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// The proxy: what a client sends under this name does not reach the app.
    Proxy,
    /// The client, passed on as it came.
    Client,
}

const OTHER: &str = "Sent by your client, passed on as it came.";

const NOTES: &[(&str, &str)] = &[
    ("accept", "Which kinds of answer your client wants; this page is HTML, text or JSON by it."),
    ("accept-encoding", "Which compressions your client understands."),
    ("accept-language", "Which languages you would like to read."),
    ("authorization", "Credentials; passed on untouched."),
    ("cache-control", "How caches on the way should treat this request."),
    ("connection", "About the connection between proxy and app only, never passed through."),
    ("content-length", "How long the request's body is, in bytes."),
    ("content-type", "What the request's body is."),
    ("cookie", "Cookies of this host."),
    ("dnt", "Asks not to be tracked."),
    ("forwarded", "The standard form of the X-Forwarded-… headers (RFC 7239), on request in the config."),
    ("host", "The host and port that your client asked for, unchanged, so links and virtual hosts work."),
    ("if-modified-since", "Asks for the page only if it changed since then."),
    ("if-none-match", "Asks for the page only if it is another version than this."),
    ("origin", "Which site's page made this request."),
    ("priority", "How urgent your client thinks this request is (RFC 9218)."),
    ("range", "Asks for a part of the page only."),
    ("referer", "Which page led here."),
    ("te", "Which transfer codings your client takes, and whether it takes trailers."),
    ("traceparent", "Ties this request to a trace across services."),
    ("transfer-encoding", "The body comes in chunks, its length not known in advance."),
    ("upgrade-insecure-requests", "Your browser prefers HTTPS."),
    ("user-agent", "What your client calls itself."),
    ("via", "Which proxies the message passed."),
    ("x-forwarded-for", "Your address, for logs and rate limits; a value that a stranger makes up is replaced."),
    ("x-forwarded-host", "The host that you asked for, for apps whose Host is rewritten."),
    ("x-forwarded-port", "The port that you dialled; apps put it into absolute links."),
    ("x-forwarded-proto", "How you came: https or http. Apps that force HTTPS look here."),
    ("x-real-ip", "Your address alone, for apps that read this one."),
    ("x-request-id", "Names this request, so that logs of several services can be matched."),
    ("x-tls-alpn", "The protocol that your client and doorward agreed on within TLS."),
    ("x-tls-certificate", "Which certificate doorward answered with, by its id."),
    ("x-tls-cipher", "The cipher suite of your connection."),
    ("x-tls-sni", "The name that your client asked a certificate for, before any HTTP."),
    ("x-tls-version", "The TLS version of your connection."),
];

/// What the header `name` (lower case) is for.
pub(super) fn note(name: &str) -> &'static str {
    match NOTES.binary_search_by_key(&name, |(known, _)| known) {
        Ok(at) => NOTES[at].1,
        Err(_) if name.starts_with("sec-fetch-") => "Your browser tells what kind of request this is, and from where.",
        Err(_) if name.starts_with("sec-ch-") => "A hint from your browser on itself and its screen.",
        Err(_) => OTHER,
    }
}

/// Who put the header `name` (lower case) there.
pub(super) fn origin(name: &str) -> Origin {
    let proxy =
        name.starts_with("x-forwarded-") || name.starts_with("x-tls-") || matches!(name, "forwarded" | "x-real-ip");
    if proxy { Origin::Proxy } else { Origin::Client }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_order_and_found() {
        assert!(NOTES.is_sorted_by_key(|(name, _)| name));
        for (name, text) in NOTES {
            assert_eq!(note(name), *text);
        }
        assert_eq!(note("x-anything"), OTHER);
        assert_eq!(origin("x-tls-sni"), Origin::Proxy);
        assert_eq!(origin("host"), Origin::Client);
    }
}
