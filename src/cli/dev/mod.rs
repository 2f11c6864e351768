//! `doorward dev`: HTTPS for an app on this machine, with no config and no root.
//!
//! It builds the config that a file would hold, and starts the same app as `run`; only the certificates come
//! from a CA of the user's own, name by name.

mod banner;
mod local_names;
mod place;
mod plan;
mod target;

use std::io::IsTerminal as _;
use std::net::{Ipv6Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args, ValueEnum};

use self::banner::Banner;
use self::plan::Plan;
use self::target::Target;
use super::logging::{LogLevel, Logging};
use super::output::{complain, say};
use super::{FAILED, WRONG};
use crate::app::{self, App, StartError};
use crate::certs::{LocalCa, LocalCaError, LocalIssuerError, Table};
use crate::config::{Config, HttpsPolicy, ListenerProtocol, Log};
use crate::demo::{self, Demo};
use crate::net::{BindError, bind_tcp};
use crate::storage::MemoryStorage;

/// The CA's certificate, beside its key, as [`LocalCa`] names it.
const CA_FILE: &str = "ca.crt";

/// Try it on this machine: HTTPS for your app on localhost, no config, no root.
///
/// TLS on 127.0.0.1:8443, plain HTTP on 127.0.0.1:8080. TARGET is your app: 3000, HOST=3000 or HOST=ADDR:3000; several with a host each. Without one, a demo app shows
/// what an app sees. Certificates for localhost, every name under it and the hosts named come from a CA of your
/// own, made at the first start and kept in your data directory.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  doorward dev\n  doorward dev 3000\n  doorward dev app.localhost=3000 api.localhost=127.0.0.1:4000"
)]
pub(super) struct DevArgs {
    /// Your apps: PORT, HOST=PORT or HOST=ADDR:PORT
    #[arg(value_name = "TARGET")]
    targets: Vec<Target>,
    /// The port for TLS; 0 takes any free one
    #[arg(long, value_name = "PORT", default_value_t = 8443)]
    https_port: u16,
    /// The port without TLS; 0 takes any free one
    #[arg(long, value_name = "PORT", default_value_t = 8080)]
    http_port: u16,
    /// What the port without TLS does: send to https, answer as well, or answer alone
    #[arg(long, value_enum, default_value_t = Https::Redirect)]
    https: Https,
    /// Where the CA is kept, in place of the user's data directory
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// From which level on to log
    #[arg(long, value_enum, value_name = "LEVEL")]
    log_level: Option<LogLevel>,
}

/// `--https`. `redirect` is the default as in production: what works here works there, and an app that has never
/// been asked over plain HTTP shows its absolute links and secure cookies as they will be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Https {
    Redirect,
    Both,
    Off,
}

pub(super) fn run(args: &DevArgs) -> ExitCode {
    match start(args) {
        Ok(code) => code,
        Err(error) => {
            let code = if matches!(error, DevError::Plan(_)) { WRONG } else { FAILED };
            complain(error);
            ExitCode::from(code)
        }
    }
}

fn start(args: &DevArgs) -> Result<ExitCode, DevError> {
    let Prepared { config, ca, ca_is_new, demo } = prepare(args)?;
    // On a terminal the banner tells what the first lines would.
    let quiet = Log { level: tracing::Level::WARN, ..Log::default() };
    let logging = Logging::start(if std::io::stderr().is_terminal() { &quiet } else { &config.log }, args.log_level);
    let log = config.log.clone();

    let ca_path = ca.certificate_path().to_owned();
    let table = Arc::new(Table::new());
    let folder = ca_path.parent().map(Path::to_owned).unwrap_or_default();
    let local = Arc::new(local_names::issuer(folder, Arc::clone(&table), &config)?);
    let routes = config.routes.clone();
    let options = app::Options {
        table,
        on_demand: Some(local.clone()),
        local: Some(local),
        // Nothing but the CA is kept.
        storage: Some(Arc::new(MemoryStorage::new())),
        readable_log: logging.is_readable(),
        ..app::Options::default()
    };
    let app = App::start(config, options)?;
    let port = |wanted| {
        app.listening().into_iter().find(|(_, _, protocol)| *protocol == wanted).map_or(0, |(_, bound, _)| bound.port())
    };
    let banner = Banner {
        https_port: port(ListenerProtocol::Https),
        http_port: port(ListenerProtocol::Http),
        routes: routes.iter().map(|route| &**route).collect(),
        demo: demo.is_some(),
        ca: &ca_path,
        ca_is_new,
    };
    say(banner.render());
    logging.apply(&log);
    Ok(app.run_until_stopped())
}

/// Everything that is needed to start, checked.
#[derive(Debug)]
struct Prepared {
    config: Config,
    ca: LocalCa,
    ca_is_new: bool,
    /// The demo app, where it is what is forwarded to; it runs as long as this is held.
    demo: Option<Demo>,
}

/// Why `dev` cannot start. Each says what to do.
#[derive(Debug, thiserror::Error)]
enum DevError {
    #[error(transparent)]
    Place(#[from] place::PlaceError),
    #[error(transparent)]
    Plan(#[from] plan::PlanError),
    #[error(transparent)]
    Ca(#[from] LocalCaError),
    #[error("{error} ({option} sets it)")]
    Port { error: BindError, option: &'static str },
    #[error("the demo app cannot start: {0}")]
    Demo(std::io::Error),
    #[error(transparent)]
    Names(#[from] LocalIssuerError),
    #[error(transparent)]
    Start(#[from] StartError),
}

fn prepare(args: &DevArgs) -> Result<Prepared, DevError> {
    let folder = place::find(args.data_dir.as_deref(), |name| std::env::var_os(name))?;
    let folder = place::prepare(&folder)?;
    let demo = args.targets.is_empty().then(demo::start).transpose().map_err(DevError::Demo)?;
    let plan = Plan {
        targets: &args.targets,
        demo: demo.as_ref().map(Demo::address),
        https_port: args.https_port,
        http_port: args.http_port,
        https: args.https.into(),
        ipv6: TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok(),
        folder: &folder,
    };
    let config = plan.config()?;
    // Tried before anything starts, for an error that names the option.
    for listener in &config.listeners {
        let option = match listener.protocol {
            ListenerProtocol::Https | ListenerProtocol::Tls => "--https-port",
            ListenerProtocol::Http | ListenerProtocol::Tcp => "--http-port",
        };
        bind_tcp(listener.address, 1, &[]).map_err(|error| DevError::Port { error, option })?;
    }
    let ca_is_new = !folder.join(CA_FILE).exists();
    Ok(Prepared { config, ca: LocalCa::open_or_create(&folder)?, ca_is_new, demo })
}

impl From<Https> for HttpsPolicy {
    fn from(https: Https) -> Self {
        match https {
            Https::Redirect => Self::Redirect,
            Https::Both => Self::Both,
            Https::Off => Self::Off,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        dev: DevArgs,
    }

    fn parse(words: &[&str]) -> Result<DevArgs, String> {
        let words = ["dev"].iter().chain(words);
        Line::try_parse_from(words).map(|line| line.dev).map_err(|error| error.to_string())
    }

    #[test]
    fn the_defaults_are_those_of_the_readme() {
        let args = parse(&[]).expect("no argument is needed");
        assert_eq!((args.https_port, args.http_port, args.https), (8443, 8080, Https::Redirect));
        let args = parse(&["a.localhost=1", "b.localhost=2", "--https", "both", "--https-port", "1"]).expect("sound");
        assert_eq!((args.targets.len(), args.https, args.https_port), (2, Https::Both, 1));
        let error = parse(&["nonsense"]).expect_err("no target");
        assert!(error.contains("nonsense") && error.contains("app.localhost=3000"), "{error}");
    }

    #[test]
    fn what_is_needed_is_made_in_the_folder() {
        let folder = tempfile::tempdir().expect("a folder");
        let place = folder.path().to_str().expect("UTF-8");
        let args = parse(&["--https-port", "0", "--http-port", "0", "--data-dir", place]).expect("sound");
        let first = prepare(&args).expect("prepared");
        assert!(first.ca_is_new && first.demo.is_some());
        assert_eq!(first.ca.certificate_path(), folder.path().join(CA_FILE));
        assert!(!prepare(&args).expect("prepared").ca_is_new);
    }

    #[test]
    fn a_port_in_use_names_the_option() {
        let folder = tempfile::tempdir().expect("a folder");
        let place = folder.path().to_str().expect("UTF-8");
        let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = taken.local_addr().expect("bound").port().to_string();
        for (option, other) in [("--https-port", "--http-port"), ("--http-port", "--https-port")] {
            let args = parse(&[option, &port, other, "0", "3000", "--data-dir", place]).expect("sound");
            let error = prepare(&args).expect_err("taken").to_string();
            assert!(error.contains(option) && error.contains(&port), "{error}");
        }
    }
}
