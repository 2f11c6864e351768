//! [`Seen`]: one request, as the app saw it.

use std::collections::BTreeMap;

use http::request::Parts;
use serde_json::json;

/// One request. All of it is text that a client may have chosen: whoever shows it, escapes it.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) method: String,
    /// Without the query.
    pub(super) path: String,
    pub(super) query: Option<String>,
    /// What doorward spoke with the app, as `HTTP/1.1`.
    pub(super) version: String,
    /// Every header in the order received, names in lower case.
    pub(super) headers: Vec<(String, String)>,
    /// Bytes of the request's body.
    pub(super) body: u64,
}

/// What the proxy tells of the client's TLS, by `X-Tls-…` (a route with `tls_headers = true`).
#[derive(Clone, Debug)]
pub(super) struct Tls<'a> {
    pub(super) version: &'a str,
    pub(super) cipher: Option<&'a str>,
    pub(super) sni: Option<&'a str>,
    pub(super) alpn: Option<&'a str>,
    pub(super) certificate: Option<&'a str>,
}

impl Seen {
    pub(super) fn new(head: &Parts, body: u64) -> Self {
        let headers = head.headers.iter();
        Self {
            method: head.method.to_string(),
            path: head.uri.path().to_owned(),
            query: head.uri.query().map(str::to_owned),
            version: format!("{:?}", head.version),
            headers: headers
                .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
                .collect(),
            body,
        }
    }

    /// The first value of the header `name` (lower case).
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(given, _)| given == name).map(|(_, value)| value.as_str())
    }

    /// Path and query.
    pub(super) fn target(&self) -> String {
        self.query.as_ref().map_or_else(|| self.path.clone(), |query| format!("{}?{query}", self.path))
    }

    /// `https` or `http` as the proxy says; none where there is no proxy in front.
    pub(super) fn scheme(&self) -> Option<&str> {
        self.header("x-forwarded-proto")
    }

    /// Whether the client came over TLS.
    pub(super) fn is_https(&self) -> bool {
        self.scheme() == Some("https")
    }

    /// The host asked for.
    pub(super) fn host(&self) -> Option<&str> {
        self.header("x-forwarded-host").or_else(|| self.header("host"))
    }

    /// The port that the client dialled.
    pub(super) fn port(&self) -> Option<&str> {
        self.header("x-forwarded-port")
    }

    /// The client's address: the first in `X-Forwarded-For`.
    pub(super) fn peer(&self) -> Option<&str> {
        self.header("x-forwarded-for").and_then(|list| list.split(',').next()).map(str::trim)
    }

    /// The client's TLS, where it came over TLS and the proxy tells.
    pub(super) fn tls(&self) -> Option<Tls<'_>> {
        let version = self.header("x-tls-version").filter(|_| self.is_https())?;
        Some(Tls {
            version,
            cipher: self.header("x-tls-cipher"),
            sni: self.header("x-tls-sni"),
            alpn: self.header("x-tls-alpn"),
            certificate: self.header("x-tls-certificate"),
        })
    }

    /// As JSON, with a final newline. `headers` maps a name to the list of its values.
    pub(super) fn json(&self) -> String {
        let mut headers: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (name, value) in &self.headers {
            headers.entry(name).or_default().push(value);
        }
        let tls = self.tls().map(|tls| {
            json!({
                "version": tls.version,
                "cipher": tls.cipher,
                "sni": tls.sni,
                "alpn": tls.alpn,
                "certificate": tls.certificate,
            })
        });
        let view = json!({
            "https": self.is_https(),
            "scheme": self.scheme(),
            "host": self.host(),
            "port": self.port(),
            "peer": self.peer(),
            "tls": tls,
            "method": self.method,
            "path": self.path,
            "query": self.query,
            "protocol": self.version,
            "body_bytes": self.body,
            "headers": headers,
        });
        format!("{view:#}\n")
    }

    /// One sentence on how the request travelled.
    pub(super) fn headline(&self) -> &'static str {
        match self.scheme() {
            Some("https") => "Your connection is HTTPS",
            Some(_) => "Your connection is plain HTTP",
            None => "Nobody stands in front of this app",
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// What doorward sends on for a browser's request.
    pub(in crate::demo) fn sample(more: &[(&str, &str)]) -> Seen {
        let mut request = http::Request::builder().method("GET").uri("/hello?a=1");
        let usual = [
            ("host", "app.localhost:8443"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-port", "8443"),
            ("x-forwarded-for", "127.0.0.1"),
            ("x-forwarded-host", "app.localhost:8443"),
            ("x-real-ip", "127.0.0.1"),
            ("x-tls-version", "TLSv1.3"),
            ("x-tls-cipher", "TLS13_AES_256_GCM_SHA384"),
            ("x-tls-sni", "app.localhost"),
            ("x-tls-alpn", "h2"),
            ("x-tls-certificate", "local-app.localhost"),
            ("cookie", "a=1"),
        ];
        for (name, value) in usual.iter().filter(|(name, _)| more.iter().all(|(other, _)| other != name)).chain(more) {
            request = request.header(*name, *value);
        }
        Seen::new(&request.body(()).expect("a request").into_parts().0, 0)
    }

    #[test]
    fn what_the_proxy_tells_is_told_on() {
        let seen = sample(&[("x-forwarded-for", "192.0.2.7, 10.0.0.1"), ("set", "1"), ("set", "2")]);
        let view: serde_json::Value = serde_json::from_str(&seen.json()).expect("JSON");
        assert_eq!(view["https"], true);
        assert_eq!(view["peer"], "192.0.2.7");
        assert_eq!(view["port"], "8443");
        assert_eq!(view["tls"]["version"], "TLSv1.3");
        assert_eq!(view["tls"]["sni"], "app.localhost");
        assert_eq!(view["path"], "/hello");
        assert_eq!(view["query"], "a=1");
        assert_eq!(view["headers"]["set"], json!(["1", "2"]));
        assert_eq!(view["headers"]["cookie"], json!(["a=1"]));
    }

    #[test]
    fn tls_is_not_believed_of_plain_http() {
        let seen = sample(&[("x-forwarded-proto", "http")]);
        assert!(seen.tls().is_none());
        let view: serde_json::Value = serde_json::from_str(&seen.json()).expect("JSON");
        assert_eq!((&view["https"], &view["tls"]), (&json!(false), &json!(null)));
    }
}
