//! [`Config::to_toml`]: the config as it holds, every default written out.

use std::fmt::{Display, Write};
use std::time::Duration;

use super::backend_endpoint::ADDRESSES;
use super::values::show_size;
use super::{
    AccessLog, Acme, CaLimits, CertificateChoice, Config, DnsSolver, Issuer, Limits, Listener, Log, OnDemand, Route,
    RouteMode, Storage, Timeouts,
};
use super::{Backend, BackendAddress, BackendCa, BackendProtocol, BackendSni, BackendTls, Endpoint};
use super::{Queue, Retry, Sticky};
use super::{acme, backend, backend_tls, listener, operate, route, sticky};

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
        if !self.untrusted_headers.is_empty() {
            out.list("untrusted_headers", &self.untrusted_headers);
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
        for backend in &self.backends {
            out.line("\n[[backend]]");
            out.text("name", &backend.name);
            out.backend(backend, "backend");
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
        let backend = &*route.backend;
        if !backend.name.is_empty() {
            self.text("backend", &backend.name);
        } else if backend.is_short() {
            self.list("backend", backend.endpoints.iter().map(|endpoint| short(backend.protocol, &endpoint.address)));
        }
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
        if backend.name.is_empty() && !backend.is_short() {
            self.line("[route.backend]");
            self.backend(backend, "route.backend");
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

    /// The keys of a backend besides its name.
    fn backend(&mut self, backend: &Backend, section: &str) {
        let endpoints: Vec<String> = backend.endpoints.iter().map(endpoint).collect();
        self.value("endpoints", format!("[{}]", endpoints.join(", ")));
        self.text("balance", &backend.balance);
        self.text("protocol", backend.protocol.word());
        if let Some(version) = &backend.proxy_protocol {
            self.text("proxy_protocol", word(&backend::PROXY_VERSIONS, version));
        }
        self.text("slow_start", duration(backend.slow_start));
        if let Some(most) = backend.max_connections {
            self.value("max_connections", most);
            let Queue { length, wait } = backend.queue;
            self.line(&format!("[{section}.queue]")).value("length", length).text("wait", duration(wait));
        }
        let Retry { attempts, per_second, .. } = backend.retry;
        self.line(&format!("[{section}.retry]")).value("attempts", attempts);
        self.value("share", format!("{:?}", backend.retry.share())).value("per_second", per_second);
        if let Some(sticky) = &backend.sticky {
            self.line(&format!("[{section}.sticky]"));
            self.sticky(sticky);
        }
        if backend.protocol.is_tls() {
            self.line(&format!("[{section}.tls]"));
            self.backend_tls(&backend.tls);
        }
        if let Some(check) = &backend.check {
            self.line(&format!("[{section}.check]"));
            if let Some(path) = &check.path {
                self.text("path", path);
            }
            if check.path.is_some() {
                self.text("status", &check.status);
            }
            if let Some(host) = &check.host {
                self.text("host", host);
            }
            self.text("interval", duration(check.interval)).text("timeout", duration(check.timeout));
            self.value("rise", check.rise).value("fall", check.fall);
        }
        self.line(&format!("[{section}.ejection]"));
        self.value("failures", backend.ejection.failures).text("time", duration(backend.ejection.time));
    }

    fn sticky(&mut self, sticky: &Sticky) {
        self.text("cookie", &sticky.cookie).text("path", &sticky.path);
        if let Some(lifetime) = sticky.lifetime {
            self.text("lifetime", duration(lifetime));
        }
        if let Some(secure) = sticky.secure {
            self.value("secure", secure);
        }
        self.value("http_only", sticky.http_only);
        self.text("same_site", word(&sticky::SAME_SITE, &sticky.same_site));
    }

    fn backend_tls(&mut self, tls: &BackendTls) {
        match &tls.ca {
            BackendCa::Default if !tls.checks_chain() => {}
            BackendCa::Default | BackendCa::System => drop(self.text("ca", "system")),
            BackendCa::File(path) => drop(self.text("ca", path.display())),
        }
        if let Some(name) = &tls.server_name {
            self.text("server_name", name);
        }
        match &tls.sni {
            BackendSni::Checked => {}
            BackendSni::Off => drop(self.value("sni", false)),
            BackendSni::Name(name) => drop(self.text("sni", name)),
        }
        if !tls.pins.is_empty() {
            self.list("pin_sha256", tls.pins.iter().map(backend_tls::show_pin));
        }
        if let Some((certificate, key)) = &tls.client {
            self.text("client_certificate", certificate.display()).text("client_key", key.display());
        }
        self.value("insecure", tls.insecure);
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
            .value("upload_rate", limits.upload_rate)
            .value("download_rate", limits.download_rate)
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

/// An endpoint: its address, and what is not as by default.
fn endpoint(endpoint: &Endpoint) -> String {
    let address = quoted(&endpoint.address);
    if *endpoint == Endpoint::new(endpoint.address.clone()) {
        return address;
    }
    let Endpoint { weight, backup, drain, addresses, .. } = endpoint;
    // Only names have addresses.
    let addresses = match endpoint.address {
        BackendAddress::Name(..) => format!(", addresses = \"{}\"", word(&ADDRESSES, addresses)),
        _ => String::new(),
    };
    format!("{{ address = {address}, weight = {weight}, backup = {backup}, drain = {drain}{addresses} }}")
}

/// An address that says what is spoken there.
fn short(protocol: BackendProtocol, address: &BackendAddress) -> String {
    match protocol {
        BackendProtocol::Http => address.to_string(),
        _ => format!("{}://{address}", protocol.word()),
    }
}

fn duration(value: Duration) -> impl Display {
    humantime::format_duration(value)
}

/// The word for a value of a closed set; each has one.
fn word<'w, T: PartialEq>(words: &[(&'w str, T)], value: &T) -> &'w str {
    words.iter().find(|(_, candidate)| candidate == value).map_or("", |(word, _)| *word)
}
