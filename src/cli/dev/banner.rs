//! What `dev` prints when it listens: where, what goes where, how to try it, how to trust it.

use std::fmt::Write as _;
use std::path::Path;

use crate::cli::output::{Style, styled};
use crate::config::{HttpsPolicy, Route, RouteHost};
use crate::names::HostPattern;

/// What the banner tells of.
#[derive(Clone, Debug)]
pub(super) struct Banner<'a> {
    /// The port for TLS that was bound.
    pub(super) https_port: u16,
    /// The port without.
    pub(super) http_port: u16,
    /// The routes.
    pub(super) routes: Vec<&'a Route>,
    /// Whether the one route goes to the demo.
    pub(super) demo: bool,
    /// The CA's certificate.
    pub(super) ca: &'a Path,
    /// Whether the CA was made just now.
    pub(super) ca_is_new: bool,
}

impl Banner<'_> {
    /// The text, with its last line's end.
    pub(super) fn render(&self) -> String {
        let mut out = String::from("\n");
        // Writing to a String cannot fail, here and below.
        let _ = writeln!(
            out,
            "  {} {}\n",
            styled(Style::Bold, "doorward dev"),
            styled(Style::Dim, env!("CARGO_PKG_VERSION"))
        );
        for route in &self.routes {
            let app = route.backend.first().map(ToString::to_string).unwrap_or_default();
            let app = if self.demo {
                "the demo app (start `doorward dev 3000` for yours on port 3000)".to_owned()
            } else {
                app
            };
            let _ = writeln!(out, "  {} {} {app}", styled(Style::Green, &self.url(route)), styled(Style::Dim, "→"));
            if matches!(route.hosts.first(), Some(RouteHost::Any)) {
                let any = match route.https {
                    HttpsPolicy::Off => format!("and any name: http://NAME.localhost:{}/", self.http_port),
                    HttpsPolicy::Redirect | HttpsPolicy::Both => {
                        format!("and any name: https://NAME.localhost:{}/", self.https_port)
                    }
                };
                let _ = writeln!(out, "  {}", styled(Style::Dim, &any));
            }
        }
        let _ = writeln!(out, "  {}\n", styled(Style::Dim, &self.plain()));

        let ca = quoted(&self.ca.display().to_string());
        let _ = writeln!(out, "  Try it:");
        if self.routes.iter().all(|route| route.https == HttpsPolicy::Off) {
            let _ = writeln!(out, "    curl {}\n", self.example());
        } else {
            let _ = writeln!(out, "    curl --cacert {ca} {}\n", self.example());
            self.trust(&mut out, &ca);
        }
        let _ = writeln!(out, "  {}", styled(Style::Dim, "Requests are shown below; Ctrl-C stops."));
        for host in self.strangers() {
            let _ = writeln!(
                out,
                "  {} {host} has to lead to this machine: add `127.0.0.1 {host}` to /etc/hosts",
                styled(Style::Yellow, "note:")
            );
        }
        out.push('\n');
        out
    }

    /// How clients come to trust the CA.
    fn trust(&self, out: &mut String, ca: &str) {
        let made = if self.ca_is_new { ", made just now and yours alone" } else { "" };
        let _ = writeln!(out, "  Trust it, so that browsers do not warn (the CA is on this machine only{made}):");
        for (system, line) in trust_lines(ca) {
            let _ = writeln!(out, "    {}{line}", styled(Style::Dim, &format!("{system:<21}")));
        }
        let _ = writeln!(
            out,
            "    {}settings, certificates, authorities, import {ca}\n",
            styled(Style::Dim, &format!("{:<21}", "Firefox"))
        );
    }

    /// A URL that a browser can open.
    fn url(&self, route: &Route) -> String {
        let host = match route.hosts.first() {
            Some(RouteHost::Pattern(HostPattern::Exact(host))) if host.as_str().contains(':') => format!("[{host}]"),
            Some(RouteHost::Pattern(HostPattern::Exact(host))) => host.to_string(),
            Some(RouteHost::Pattern(HostPattern::Wildcard(base))) => format!("app.{base}"),
            Some(RouteHost::Any) | None => "localhost".to_owned(),
        };
        match route.https {
            HttpsPolicy::Off => format!("http://{host}:{}/", self.http_port),
            HttpsPolicy::Redirect | HttpsPolicy::Both => format!("https://{host}:{}/", self.https_port),
        }
    }

    /// The URL to try. curl resolves every name under localhost by itself; for others the first route's.
    fn example(&self) -> String {
        match self.routes.first() {
            Some(route) if !matches!(route.hosts.first(), Some(RouteHost::Any)) => self.url(route),
            Some(Route { https: HttpsPolicy::Off, .. }) => format!("http://app.localhost:{}/", self.http_port),
            _ => format!("https://app.localhost:{}/", self.https_port),
        }
    }

    fn plain(&self) -> String {
        let port = self.http_port;
        match self.routes.first().map_or(HttpsPolicy::Redirect, |route| route.https) {
            HttpsPolicy::Redirect => {
                format!("http://localhost:{port}/ redirects to https (--https both answers on both)")
            }
            HttpsPolicy::Both => format!("http://localhost:{port}/ answers too, without TLS"),
            HttpsPolicy::Off => format!("without TLS, as --https off says; port {} refuses", self.https_port),
        }
    }

    /// Hosts that do not lead to this machine by themselves, as names under localhost do (RFC 6761 §6.3).
    fn strangers(&self) -> Vec<String> {
        let hosts = self.routes.iter().flat_map(|route| &route.hosts);
        hosts
            .filter_map(|host| match host {
                RouteHost::Pattern(HostPattern::Exact(host)) if host.ip().is_none() && !is_local(host.as_str()) => {
                    Some(host.to_string())
                }
                _ => None,
            })
            .collect()
    }
}

/// `localhost` and every name under it.
pub(super) fn is_local(host: &str) -> bool {
    host == "localhost" || host.ends_with(".localhost")
}

fn trust_lines(ca: &str) -> [(&'static str, String); 4] {
    [
        (
            "Debian, Ubuntu",
            format!("sudo cp {ca} /usr/local/share/ca-certificates/doorward-dev.crt && sudo update-ca-certificates"),
        ),
        (
            "Fedora, RHEL",
            format!("sudo cp {ca} /etc/pki/ca-trust/source/anchors/doorward-dev.crt && sudo update-ca-trust"),
        ),
        ("macOS", format!("security add-trusted-cert -r trustRoot -k ~/Library/Keychains/login.keychain-db {ca}")),
        (
            "Chromium on Linux",
            format!("mkdir -p $HOME/.pki/nssdb && certutil -d sql:$HOME/.pki/nssdb -A -t C,, -n doorward-dev -i {ca}"),
        ),
    ]
}

/// A path as a shell takes it.
fn quoted(path: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "/._-+:,@%".contains(c);
    if path.chars().all(plain) { path.to_owned() } else { format!("'{}'", path.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::dev::target::Target;

    fn routes(texts: &[&str], https: HttpsPolicy) -> Vec<Route> {
        let targets = texts.iter().map(|text| text.parse::<Target>().expect("a target"));
        targets.map(|t| Route { https, ..Route::new(vec![t.host], vec![t.app]) }).collect()
    }

    fn banner<'a>(routes: &'a [Route], demo: bool) -> Banner<'a> {
        Banner {
            https_port: 8443,
            http_port: 8080,
            routes: routes.iter().collect(),
            demo,
            ca: Path::new("/home/ann/.local/share/doorward/ca.crt"),
            ca_is_new: true,
        }
    }

    #[test]
    fn the_curl_line_works_as_printed() {
        let routes = routes(&["*=1"], HttpsPolicy::Redirect);
        let text = banner(&routes, true).render();
        let line = "    curl --cacert /home/ann/.local/share/doorward/ca.crt https://app.localhost:8443/\n";
        assert!(text.contains(line), "{text}");
        assert!(text.contains("update-ca-certificates") && text.contains("http://localhost:8080/ redirects"), "{text}");
    }

    #[test]
    fn without_tls_nothing_speaks_of_it() {
        let routes = routes(&["*=3000"], HttpsPolicy::Off);
        let text = banner(&routes, false).render();
        assert!(text.contains("    curl http://app.localhost:8080/\n") && !text.contains("https://"), "{text}");
        assert!(!text.contains("Trust it") && text.contains("Requests are shown below"), "{text}");
    }

    #[test]
    fn each_app_is_named_with_its_address() {
        let routes = routes(&["app.localhost=3000", "shop.test=127.0.0.1:4000"], HttpsPolicy::Both);
        let text = banner(&routes, false).render();
        assert!(text.contains("https://app.localhost:8443/ → localhost:3000\n"), "{text}");
        assert!(text.contains("https://shop.test:8443/ → 127.0.0.1:4000\n"), "{text}");
        assert!(text.contains("curl --cacert /home/ann/.local/share/doorward/ca.crt https://app.localhost:8443/\n"));
        assert!(text.contains("add `127.0.0.1 shop.test` to /etc/hosts") && !text.contains("127.0.0.1 app.localhost`"));
    }

    #[test]
    fn a_path_with_spaces_is_quoted() {
        assert_eq!(quoted("/a/b-c.crt"), "/a/b-c.crt");
        assert_eq!(quoted("/My Files/it's"), r"'/My Files/it'\''s'");
    }
}
