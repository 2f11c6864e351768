//! What `doorward status` shows.

use std::time::{SystemTime, UNIX_EPOCH};

use super::{State, endpoints};
use crate::acme;
use crate::admin::view::{
    AcmeState, AcmeView, CertificateState, CertificateView, IssuerView, ListenerView, StatusView,
};
use crate::certs::directory::ForceError;
use crate::certs::{Certificate, Warning, directory, unix_now};
use crate::config::CertificateId;

/// How things are now.
pub(super) fn view(state: &State) -> StatusView {
    let seconds = |time: SystemTime| time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let started = seconds(state.started);
    StatusView {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pid: std::process::id(),
        state: state.readiness.get(),
        started,
        uptime: seconds(SystemTime::now()).saturating_sub(started),
        config: state.options.config_file.is_some().then(|| state.config.file.clone()),
        last_reload: state.last_reload.clone(),
        after_restart: state.after_a_restart(),
        listeners: listeners(state),
        workers: state.workers.len(),
        routes: state.config.routes.len(),
        connections: state.workers.iter().map(crate::listen::Worker::connections).sum(),
        certificates: certificates(state),
        acme: state.certificates.acme().into_iter().map(acme_view).collect(),
        backends: endpoints::views(&state.shared.settings.load()),
        issuers: state.certificates.issuers().into_iter().map(issuer_view).collect(),
    }
}

impl State {
    /// Serves the certificate that is held back under `id`, whatever speaks against it; orders it now, where it is
    /// one of ACME's.
    pub(super) fn force(&self, id: &str) -> Result<(), String> {
        let id = CertificateId::new(id);
        match self.certificates.directory().force(&id) {
            Ok(()) => tracing::warn!(%id, "certificate taken by force, as an operator asked"),
            Err(ForceError::Unknown(_)) if self.certificates.order_now(&id) => {
                tracing::info!(%id, "certificate ordered now, as an operator asked");
            }
            Err(error) => return Err(error.to_string()),
        }
        Ok(())
    }
}

fn listeners(state: &State) -> Vec<ListenerView> {
    let view = |listener: &crate::listen::Listener| ListenerView {
        configured: listener.configured,
        address: listener.bound,
        protocol: listener.protocol().as_str().to_owned(),
        public_port: (listener.port() != listener.bound.port()).then(|| listener.port()),
    };
    let metrics = state.metrics.map(|(configured, address)| ListenerView {
        configured,
        address,
        protocol: "metrics".to_owned(),
        public_port: None,
    });
    state.listeners.iter().map(|listener| view(listener)).chain(metrics).collect()
}

fn certificates(state: &State) -> Vec<CertificateView> {
    let now = unix_now();
    let folders = state.certificates.directory().status();
    let mut views: Vec<CertificateView> = folders.iter().map(|status| from_folder(status, now)).collect();
    for certificate in state.options.table.list() {
        if !folders.iter().any(|status| status.id == *certificate.id()) {
            views.push(served(&certificate, now, "storage".to_owned()));
        }
    }
    views.sort_by(|a, b| a.id.cmp(&b.id));
    views
}

fn from_folder(status: &directory::Status, now: i64) -> CertificateView {
    let source = status.path.display().to_string();
    let message = match &status.state {
        directory::State::Served => None,
        directory::State::Pending(why) | directory::State::Refused(why) => Some(why.clone()),
    };
    match (&status.served, message) {
        (Some(certificate), None) => served(certificate, now, source),
        (Some(certificate), Some(message)) => CertificateView {
            state: CertificateState::Stale,
            message: Some(message),
            ..served(certificate, now, source)
        },
        (None, message) => CertificateView {
            id: status.id.to_string(),
            names: Vec::new(),
            expires: None,
            key: None,
            state: CertificateState::Failed,
            source,
            message,
        },
    }
}

fn served(certificate: &Certificate, now: i64, source: String) -> CertificateView {
    let warnings: Vec<String> = certificate.warnings(now).iter().map(Warning::to_string).collect();
    CertificateView {
        id: certificate.id().to_string(),
        names: certificate.names().iter().map(ToString::to_string).collect(),
        expires: Some(certificate.not_after()),
        key: Some(certificate.key_kind().to_string()),
        state: if warnings.is_empty() { CertificateState::Served } else { CertificateState::Warning },
        source,
        message: (!warnings.is_empty()).then(|| warnings.join("; ")),
    }
}

fn issuer_view(status: acme::IssuerStatus) -> IssuerView {
    let acme::IssuerStatus { issuer, down_since, next_probe, error } = status;
    IssuerView { issuer, down_since, next_probe, error }
}

fn acme_view(status: acme::Status) -> AcmeView {
    let unix = |seconds: Option<u64>| seconds.and_then(|seconds| i64::try_from(seconds).ok());
    AcmeView {
        id: status.id,
        names: status.names,
        issuer: status.issuer.unwrap_or_default(),
        state: match status.state {
            acme::State::Failing | acme::State::Disabled => AcmeState::Failing,
            acme::State::Starting | acme::State::Waiting => AcmeState::Waiting,
            acme::State::Ordering => AcmeState::Ordering,
            acme::State::Valid | acme::State::Covered => AcmeState::Issued,
        },
        next: unix(status.next_attempt.or(status.renew_at)),
        failures: status.failures,
        message: status.last_error,
    }
}
