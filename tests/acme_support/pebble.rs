//! Real pebble: a process on free ports, ended by its own id.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use doorward::config;
use serde_json::json;

use super::net::{Responder, dns};
use super::ports::free;

/// The key ids and MAC keys that pebble knows with [`Options::eab`].
pub const EAB: (&str, &str) = ("key-of-the-test", "8Wgfsu4IWG-O5d--CCXModFcCxSaP2sVTGwRMTdM3dRbm3pdwq3rgdsmEq7HWcrp");

/// How pebble is to be.
#[derive(Clone, Default)]
pub struct Options {
    /// The lifetime of certificates in seconds.
    pub validity: Option<u32>,
    pub eab: bool,
    /// Of how many in a hundred nonces are refused; pebble's own default is 5.
    pub nonce_reject: Option<u32>,
    /// The DNS server that it asks; a fake that knows every name where there is none.
    pub dns: Option<SocketAddr>,
}

pub struct Pebble {
    child: Option<Child>,
    folder: tempfile::TempDir,
    options: Options,
    port: u16,
    dns: SocketAddr,
    pub responder: Responder,
}

impl Pebble {
    pub async fn start(options: Options) -> Self {
        let mut this = Self::prepare(options).await;
        this.run().await;
        this
    }

    /// All but the process.
    pub async fn prepare(options: Options) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
        std::fs::write(folder.path().join("api.crt"), made.cert.pem()).expect("writes");
        std::fs::write(folder.path().join("api.key"), made.signing_key.serialize_pem()).expect("writes");
        let responder = Responder::default();
        let (port, http, tls) = (free("127.0.0.1").port(), responder.start().await, responder.start_tls().await);
        let mut pebble = json!({
            "listenAddress": format!("127.0.0.1:{port}"),
            "managementListenAddress": free("127.0.0.1").to_string(),
            "certificate": folder.path().join("api.crt"),
            "privateKey": folder.path().join("api.key"),
            "httpPort": http,
            "tlsPort": tls,
            "ocspResponderURL": "",
            "externalAccountBindingRequired": options.eab,
            "externalAccountMACKeys": { EAB.0: EAB.1 },
        });
        if let Some(validity) = options.validity {
            pebble["certificateValidityPeriod"] = validity.into();
        }
        let config = json!({ "pebble": pebble }).to_string();
        std::fs::write(folder.path().join("pebble.json"), config).expect("writes");
        let dns = match options.dns {
            Some(server) => server,
            None => dns().await,
        };
        Self { child: None, folder, options, port, dns, responder }
    }

    /// Starts the process, on the same ports every time, with nothing remembered.
    pub async fn run(&mut self) {
        let mut command = Command::new("pebble");
        command.arg("-config").arg(self.folder.path().join("pebble.json"));
        command.arg("-dnsserver").arg(self.dns.to_string());
        command.env("PEBBLE_VA_NOSLEEP", "1").stdin(Stdio::null());
        let log = || std::fs::File::options().create(true).append(true).open(self.folder.path().join("log"));
        command.stdout(log().expect("a log")).stderr(log().expect("a log"));
        if let Some(percent) = self.options.nonce_reject {
            command.env("PEBBLE_WFE_NONCEREJECT", percent.to_string());
        }
        self.child = Some(command.spawn().expect("pebble starts; install it with `apt-get install pebble`"));
        let port = self.port;
        super::until("pebble listens", || std::net::TcpStream::connect(("127.0.0.1", port)).ok()).await;
    }

    /// Ends the process.
    pub fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("its own child");
            child.wait().expect("ends");
        }
    }

    pub fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    pub fn trust(&self) -> PathBuf {
        self.folder.path().join("api.crt")
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// `[acme]` for this CA.
    pub fn acme(&self) -> config::Acme {
        acme(&format!("https://localhost:{}/dir", self.port), self.trust())
    }
}

impl Drop for Pebble {
    fn drop(&mut self) {
        self.stop();
        if std::thread::panicking() {
            eprintln!("{}", self.log());
        }
    }
}

/// `[acme]` for a CA with this directory URL.
pub fn acme(directory: &str, trust: PathBuf) -> config::Acme {
    let mut issuer = config::Issuer::new("pebble", directory);
    issuer.trust = Some(trust);
    config::Acme {
        issuer,
        contact: vec!["ops@example.com".to_owned()],
        challenges: vec![config::Challenge::Http01, config::Challenge::Dns01],
        ..config::Acme::default()
    }
}
