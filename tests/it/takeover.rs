//! Taking over what other tools hold: files that Debian's certbot, Caddy and lego made themselves, with pebble.
//! Traefik is not in Debian: its `acme.json` is read as documented, in the unit tests of `certs::foreign`.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

use crate::support::{Pebble, Setup, Tls, ca, client_config, free, json, ok, within};

const HOST: &str = "moved.example.test";

/// A CA for another client, and where that one has to answer.
struct Ca {
    _pebble: Pebble,
    directory: String,
    http: SocketAddr,
    home: tempfile::TempDir,
}

impl Ca {
    fn start() -> Self {
        let plan = Pebble::plan(free("127.0.0.2"), 3600 * 24 * 90).patient();
        let (http, directory) = (plan.http(), plan.directory());
        let home = tempfile::tempdir().expect("a folder");
        std::fs::write(home.path().join("ca.pem"), &ca().root_pem).expect("the root");
        Self { _pebble: plan.start(), directory, http, home }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    fn run(&self, program: &str, arguments: &[&str]) {
        let output = self.command(program).args(arguments).stdin(Stdio::null()).output();
        let output = output.unwrap_or_else(|fault| panic!("{program}, of Debian's package of that name: {fault}"));
        assert!(output.status.success(), "{program}: {output:?}");
    }

    fn command(&self, program: &str) -> Command {
        let root = self.path("ca.pem");
        let mut command = Command::new(program);
        command
            .env("HOME", self.home.path())
            .env("REQUESTS_CA_BUNDLE", &root)
            .env("LEGO_CA_CERTIFICATES", &root)
            .env("SSL_CERT_FILE", &root);
        command
    }
}

/// Imports it into a running doorward; what that one says, and the origin's id of what it serves for [`HOST`].
fn take_over(tool: &str, path: &Path) -> Value {
    let door = Setup::new().route(&format!("hosts = [\"{HOST}\"]\nbackend = \"127.0.0.1:1\"")).start();
    let path = path.to_str().expect("a path");
    let dry = json(&door.verb(&["certs", "import", "--from", tool, path, "--dry-run", "--json"]));
    let would = &dry["would_import"][0];
    assert_eq!((&would["id"], &would["names"][0]), (&HOST.into(), &HOST.into()), "{dry:#}");
    let text = ok(&door.verb(&["certs", "import", "--from", tool, path, "--dry-run"]));
    assert!(text.contains(&format!("would import {HOST}: {HOST}, until 20")), "{text}");
    let list = json(&door.verb(&["certs", "list", "--json"])).to_string();
    assert!(!list.contains(HOST), "nothing has changed: {list}");
    let output: Output = door.verb(&["certs", "import", "--from", tool, path, "--json"]);
    assert!(output.status.success(), "{output:?}");
    let said: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(said["imported"][0]["serving"], true, "{said:#}");
    assert_eq!((&said["left"], &said["failed"]), (&dry["left"], &dry["failed"]), "{said:#}");
    let shown = door.verb(&["certs", "show", HOST, "--json"]);
    let shown: Value = serde_json::from_slice(&shown.stdout).expect("JSON");
    assert_eq!(shown["id"], HOST, "{shown:#}");
    assert_eq!(shown["chain"].as_array().map(Vec::len), Some(2), "with its chain: {shown:#}");
    // The handshake is done with its key: the client's verdict about the issuer comes after that.
    let fault = Tls::with(client_config(&[]), door.https, HOST).err().expect("an issuer that nobody trusts");
    assert!(fault.to_string().contains("UnknownIssuer"), "{fault}");
    said
}

#[test]
fn certbots_lineages() {
    let ca = Ca::start();
    let [config, work, logs] = ["config", "work", "logs"].map(|name| ca.path(name).display().to_string());
    let (port, address) = (ca.http.port().to_string(), ca.http.ip().to_string());
    let folders = ["--config-dir", &config, "--work-dir", &work, "--logs-dir", &logs];
    let who = ["--server", &ca.directory, "-n", "--agree-tos", "--register-unsafely-without-email"];
    let how = ["--standalone", "--http-01-port", &port, "--http-01-address", &address, "-d", HOST];
    ca.run("certbot", &[&["certonly"][..], &folders, &who, &how].concat());
    let said = take_over("certbot", &ca.path("config"));
    let left = said["left"].to_string();
    assert!(left.contains("authenticator standalone") && left.contains("accounts"), "{said:#}");
    take_over("certbot", &ca.path("config/live"));
}

#[test]
fn legos_folder() {
    let ca = Ca::start();
    let (folder, address) = (ca.path("lego").display().to_string(), ca.http.to_string());
    let who = ["--server", &ca.directory, "--accept-tos", "--email", "ops@example.test", "--path", &folder];
    ca.run("lego", &[&who[..], &["--domains", HOST, "--http", "--http.port", &address, "run"]].concat());
    // Before the first start, too: with no doorward running it goes into the storage.
    let setup = Setup::new();
    let offline = json(&setup.run(&["certs", "import", "--from", "lego", &folder, "--json"]));
    assert_eq!((&offline["imported"][0]["id"], &offline["imported"][0]["serving"]), (&HOST.into(), &false.into()));
    let said = take_over("lego", &ca.path("lego"));
    assert!(said["left"].to_string().contains("accounts"), "{said:#}");
}

#[test]
fn caddys_storage() {
    let ca = Ca::start();
    let storage = ca.path("caddy");
    let challenges =
        serde_json::json!({ "http": { "alternate_port": ca.http.port() }, "tls-alpn": { "disabled": true } });
    let issuer = serde_json::json!({
        "module": "acme", "ca": ca.directory, "email": "ops@example.test", "challenges": challenges,
        "trusted_roots_pem_files": [ca.path("ca.pem")],
    });
    let config = serde_json::json!({
        "admin": { "disabled": true },
        "storage": { "module": "file_system", "root": storage },
        "apps": {
            "http": {
                "http_port": ca.http.port(),
                "servers": {
                    "plain": { "listen": [ca.http.to_string()] },
                    "tls": {
                        "listen": [free("127.0.0.1").to_string()],
                        "routes": [{ "match": [{ "host": [HOST] }] }],
                        "tls_connection_policies": [{}],
                    },
                },
            },
            "tls": {
                "certificates": { "automate": [HOST] },
                "automation": { "policies": [{ "subjects": [HOST], "issuers": [issuer] }] },
            },
        },
    });
    std::fs::write(ca.path("caddy.json"), config.to_string()).expect("written");
    let log = std::fs::File::create(ca.path("caddy.log")).expect("a file");
    let mut caddy = Running(
        ca.command("caddy")
            .args(["run", "--config"])
            .arg(ca.path("caddy.json"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("caddy, of Debian's package of that name"),
    );
    let issued = |folder: &Path| {
        let mut issuers = std::fs::read_dir(folder.join("certificates")).ok()?.flatten();
        issuers.any(|issuer| issuer.path().join(HOST).join(format!("{HOST}.json")).is_file()).then_some(())
    };
    within("Caddy has a certificate", || {
        if let Ok(Some(status)) = caddy.0.try_wait() {
            panic!("caddy: {status}: {}", std::fs::read_to_string(ca.path("caddy.log")).unwrap_or_default());
        }
        issued(&storage)
    });
    drop(caddy);
    let said = take_over("caddy", &storage);
    assert!(said["left"].to_string().contains("accounts"), "{said:#}");
}

/// A process that ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
