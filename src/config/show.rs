//! [`Config::to_toml`]: the config as it holds, every default written out.

use std::fmt::{Display, Write};
use std::time::Duration;

use super::values::show_size;
use super::{
    AccessLog, Acme, CaLimits, CertificateChoice, Config, DnsSolver, Issuer, Limits, Listener, Log, OnDemand, Route,
    RouteMode, Storage, Timeouts,
};
use super::{acme, listener, operate, route};

impl Config {
    /// The effective config as one TOML file: includes are in it, every default is filled in, secrets are `"***"`.
    /// But for these it loads again, to an equal config.
    #[must_use]
    pub fn to_toml(&self) -> String {
        let mut out = Toml(String::new());
        out.value("workers", self.workers);
        if !self.resolvers.is_empty() {
            out.list("resolvers", &self.resolvers);
        }
        for listener in &self.listeners {
            out.listener(listener);
        }
        out.section("certificates");
        out.list("directories", self.certificates.directories.iter().map(|path| path.display()));
        let Storage::File { path } = &self.storage;
        out.section("storage").text("kind", "file").text("path", path.display());
        if let Some(acme) = &self.acme {
            out.acme(acme);
        }
        if let Some(on_demand) = &self.on_demand {
            out.on_demand(on_demand);
        }
        for solver in &self.dns {
            out.dns(solver);
        }
        for route in &self.routes {
            out.route(route);
        }
        out.timeouts(&self.timeouts);
        out.limits(&self.limits);
        out.section("admin").text("socket", self.admin.socket.display());
        if let Some(metrics) = &self.metrics {
            out.section("metrics").text("address", metrics.address);
        }
        out.log(&self.log);
        out.0
    }
}

struct Toml(String);

impl Toml {
    fn listener(&mut self, listener: &Listener) {
        self.line("\n[[listener]]");
        self.text("address", listener.address).text("protocol", word(&listener::PROTOCOLS, &listener.protocol));
        if let Some(port) = listener.public_port {
            self.value("public_port", port);
        }
        if let Some(id) = &listener.default_certificate {
            self.text("default_certificate", id);
        }
        self.list("trusted_proxies", &listener.trusted_proxies);
        if let Some(name) = &listener.default_route {
            self.text("default_route", name);
        }
        self.value("proxy_protocol", listener.proxy_protocol);
        if listener.protocol.has_tls() {
            self.line("[listener.tls]");
            self.text("min_version", word(&listener::TLS_VERSIONS, &listener.tls.min_version));
            self.value("http2", listener.tls.http2);
            if let Some(alpn) = &listener.tls.alpn {
                self.list("alpn", alpn);
            }
        }
    }

    fn acme(&mut self, acme: &Acme) {
        self.section("acme");
        if acme.fallback.is_empty() {
            self.text("issuer", &acme.issuer.name);
        } else {
            self.list("issuer", acme.issuers().map(|issuer| &issuer.name));
        }
        self.list("contact", &acme.contact);
        self.text("key", word(&acme::KEYS, &acme.key));
        self.list("challenges", &acme.challenges).value("staging_first", acme.staging_first);
        for issuer in acme.issuers() {
            self.issuer(issuer);
        }
    }

    fn issuer(&mut self, issuer: &Issuer) {
        self.line("\n[[issuer]]");
        self.text("name", &issuer.name).text("directory", &issuer.directory);
        if let Some(trust) = &issuer.trust {
            self.text("trust", trust.display());
        }
        if let Some(profile) = &issuer.profile {
            self.text("profile", profile);
        }
        if let Some(challenges) = &issuer.challenges {
            self.list("challenges", challenges);
        }
        if let Some(staging) = &issuer.staging {
            self.text("staging", staging);
        }
        if let Some(eab) = &issuer.eab {
            self.line("[issuer.eab]");
            self.text("key_id", &eab.key_id).text("hmac_key", "***");
        }
        self.line("[issuer.limits]");
        let CaLimits { orders, per_domain, duplicates, failures, renewals_exempt } = issuer.limits;
        let rates =
            [("orders", orders), ("per_domain", per_domain), ("duplicates", duplicates), ("failures", failures)];
        for (key, rate) in rates {
            if let Some(rate) = rate {
                self.text(key, rate);
            }
        }
        self.value("renewals_exempt", renewals_exempt);
    }

    fn on_demand(&mut self, on_demand: &OnDemand) {
        self.section("on_demand").text("ask", &on_demand.ask);
        if let Some(trust) = &on_demand.trust {
            self.text("trust", trust.display());
        }
        self.text("ask_timeout", duration(on_demand.ask_timeout))
            .text("wait", duration(on_demand.wait))
            .value("under_way", on_demand.under_way)
            .value("labels", on_demand.labels)
            .text("per_client", on_demand.per_client)
            .text("per_domain", on_demand.per_domain)
            .text("allowed_for", duration(on_demand.allowed_for))
            .text("refused_for", duration(on_demand.refused_for));
    }

    fn dns(&mut self, solver: &DnsSolver) {
        self.line("\n[[dns]]");
        self.text("id", &solver.id).text("provider", solver.provider.name);
        self.list("zones", &solver.zones);
        for name in solver.settings.keys() {
            self.text(name, solver.shown(name));
        }
        self.value("ttl", solver.ttl).text("propagation_timeout", duration(solver.propagation_timeout));
        self.list("nameservers", &solver.nameservers);
    }

    fn route(&mut self, route: &Route) {
        self.line("\n[[route]]");
        self.text("name", &route.name);
        if !route.hosts.is_empty() {
            self.list("hosts", &route.hosts);
        }
        self.text("mode", word(&route::MODES, &route.mode));
        if !route.listeners.is_empty() {
            self.list("listeners", &route.listeners);
        }
        self.list("backend", &route.backend);
        self.text("https", word(&route::HTTPS, &route.https));
        if route.mode != RouteMode::Passthrough {
            self.certificate(route);
        }
        if route.mode == RouteMode::Http {
            self.text("path", &route.path);
            if let Some(host) = &route.rewrite_host {
                self.text("host", host);
            }
            self.value("forwarded", route.forwarded).value("tls_headers", route.tls_headers);
        }
    }

    fn certificate(&mut self, route: &Route) {
        self.text(
            "certificate",
            match &route.certificate {
                CertificateChoice::Directory => "directory",
                CertificateChoice::Auto => "auto",
                CertificateChoice::SelfSigned => "self-signed",
                CertificateChoice::OnDemand => "on-demand",
                CertificateChoice::Id(id) => id.as_str(),
            },
        );
        self.value("self_signed_until_issued", route.self_signed_until_issued);
    }

    fn timeouts(&mut self, timeouts: &Timeouts) {
        self.section("timeouts");
        for (key, value, _) in timeouts.clone().fields() {
            self.text(key, duration(*value));
        }
    }

    fn limits(&mut self, limits: &Limits) {
        let size = |bytes: usize| show_size(bytes as u64);
        self.section("limits")
            .text("header_bytes", size(limits.header_bytes))
            .value("header_count", limits.header_count)
            .text("response_header_bytes", size(limits.response_header_bytes))
            .text("request_body_bytes", limits.request_body_bytes.map_or_else(|| "unlimited".to_owned(), show_size))
            .value("connections", limits.connections)
            .value("handshakes", limits.handshakes)
            .value("h2_streams", limits.h2_streams)
            .value("h2_resets", limits.h2_resets)
            .value("backend_idle_connections", limits.backend_idle_connections);
    }

    fn log(&mut self, log: &Log) {
        self.section("log").text("level", word(&operate::LEVELS, &log.level));
        self.text("format", word(&operate::FORMATS, &log.format));
        match log.access {
            AccessLog::Off => self.value("access", false),
            AccessLog::Share(share) if share >= 1.0 => self.value("access", true),
            // `{:?}` always has a point or an exponent, as a TOML float needs.
            AccessLog::Share(share) => self.value("access", format!("{share:?}")),
        };
    }

    fn section(&mut self, name: &str) -> &mut Self {
        self.line(&format!("\n[{name}]"))
    }

    fn text(&mut self, key: &str, value: impl Display) -> &mut Self {
        self.line(&format!("{key} = {}", quoted(value)))
    }

    fn list(&mut self, key: &str, values: impl IntoIterator<Item = impl Display>) -> &mut Self {
        let values: Vec<String> = values.into_iter().map(quoted).collect();
        self.line(&format!("{key} = [{}]", values.join(", ")))
    }

    fn value(&mut self, key: &str, value: impl Display) -> &mut Self {
        self.line(&format!("{key} = {value}"))
    }

    fn line(&mut self, line: &str) -> &mut Self {
        // Writing to a String does not fail.
        let _ = writeln!(self.0, "{line}");
        self
    }
}

/// A TOML string that means the value, and in which nothing is looked up in the environment.
fn quoted(value: impl Display) -> String {
    toml::Value::String(value.to_string().replace("${", "$${")).to_string()
}

fn duration(value: Duration) -> impl Display {
    humantime::format_duration(value)
}

/// The word for a value of a closed set; each has one.
fn word<'w, T: PartialEq>(words: &[(&'w str, T)], value: &T) -> &'w str {
    words.iter().find(|(_, candidate)| candidate == value).map_or("", |(word, _)| *word)
}
