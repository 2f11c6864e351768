//! `doorward dev`: no config, no root, and what it prints works as printed.

use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use tempfile::TempDir;

use crate::support::{Origin, free, within};

struct Dev {
    child: Child,
    https: u16,
    http: u16,
    home: Arc<TempDir>,
    printed: Arc<Mutex<String>>,
}

impl Dev {
    fn start(args: &[&str]) -> Self {
        Self::start_in(tempfile::tempdir().expect("a folder").into(), args)
    }

    fn start_in(home: Arc<TempDir>, args: &[&str]) -> Self {
        let (https, http) = (free("127.0.0.1").port(), free("127.0.0.1").port());
        let mut child = Command::new(env!("CARGO_BIN_EXE_doorward"))
            .args(["dev", "--https-port", &https.to_string(), "--http-port", &http.to_string(), "--data-dir"])
            .arg(home.path())
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("doorward starts");
        let printed = Arc::new(Mutex::new(String::new()));
        let (out, err) = (child.stdout.take().expect("a pipe"), child.stderr.take().expect("a pipe"));
        collect(out, printed.clone());
        collect(err, printed.clone());
        let dev = Self { child, https, http, home, printed };
        within("the curl line is printed", || dev.curl_line());
        within("it listens", || std::net::TcpStream::connect(("127.0.0.1", https)).ok());
        dev
    }

    fn curl_line(&self) -> Option<String> {
        let text = self.printed.lock().expect("no panic").clone();
        let line = text.lines().find(|line| line.contains("curl --cacert"))?;
        Some(line[line.find("curl --cacert")?..].trim_end_matches(['"', '`', '\'']).to_owned())
    }

    /// Runs the line that was printed, with further arguments.
    fn curl(&self, more: &str) -> String {
        let line = self.curl_line().expect("it was printed");
        let output = Command::new("sh")
            .arg("-c")
            .arg(format!("{line} --silent --show-error --noproxy '*' {more}"))
            .output()
            .expect("sh runs");
        assert!(output.status.success(), "{line} {more}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn ca(&self) -> String {
        let line = self.curl_line().expect("it was printed");
        line.split_whitespace().nth(2).expect("a file").trim_matches(['"', '\'']).to_owned()
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            #[allow(clippy::print_stderr, reason = "a failed test shows what doorward said")]
            {
                eprintln!("{}", self.printed.lock().map(|text| text.clone()).unwrap_or_default());
            }
        }
    }
}

fn collect(from: impl std::io::Read + Send + 'static, into: Arc<Mutex<String>>) {
    std::thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            let mut text = into.lock().expect("no panic");
            text.push_str(&line);
            text.push('\n');
        }
    });
}

#[test]
fn the_printed_line_works_and_shows_what_an_app_sees() {
    let dev = Dev::start(&[]);
    let text = dev.curl("");
    for part in ["GET", "app.localhost", "x-forwarded-proto", "https", "TLS", "127.0.0.1"] {
        assert!(text.to_lowercase().contains(&part.to_lowercase()), "no {part}: {text}");
    }
    let json: serde_json::Value = serde_json::from_str(&dev.curl("-H 'Accept: application/json'")).expect("JSON");
    assert!(json.is_object(), "{json}");
    let page = dev.curl("-H 'Accept: text/html'");
    assert!(page.to_lowercase().starts_with("<!doctype html"), "{page}");
    assert!(!dev.curl("--http1.1").is_empty());
}

#[test]
fn what_a_client_sends_is_shown_as_text_not_as_markup() {
    let dev = Dev::start(&[]);
    let page = dev.curl("-H 'Accept: text/html' -H 'X-Evil: <script>alert(1)</script>'");
    assert!(!page.contains("<script>alert(1)"), "{page}");
}

#[test]
fn any_name_below_localhost_and_the_addresses_have_certificates() {
    let dev = Dev::start(&[]);
    let ca = dev.ca();
    for host in ["localhost", "any-name.localhost", "other.localhost", "127.0.0.1"] {
        let output = Command::new("curl")
            .args(["--silent", "--show-error", "--noproxy", "*", "--cacert", &ca])
            .args(["--write-out", "%{http_code}", "--output", "/dev/null"])
            .arg(format!("https://{host}:{}/", dev.https))
            .output()
            .expect("curl is installed");
        assert_eq!(String::from_utf8_lossy(&output.stdout), "200", "{host}: {output:?}");
    }
}

#[test]
fn the_cas_key_is_private_and_the_ca_is_kept() {
    let dev = Dev::start(&[]);
    let ca = std::fs::read(dev.ca()).expect("the CA");
    let mut keys = 0;
    let mut folders = vec![dev.home.path().to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("readable") {
            let path = entry.expect("readable").path();
            if path.is_dir() {
                folders.push(path);
            } else if std::fs::read_to_string(&path).is_ok_and(|text| text.contains("PRIVATE KEY")) {
                let mode = path.metadata().expect("a file").permissions().mode() & 0o777;
                assert_eq!(mode, 0o600, "{}", path.display());
                keys += 1;
            }
        }
    }
    assert!(keys > 0);
    let again = Dev::start_in(dev.home.clone(), &[]);
    assert_eq!(std::fs::read(again.ca()).expect("the CA"), ca);
}

#[test]
fn it_forwards_to_the_apps_that_are_named() {
    let (app, api) = (Origin::echo(), Origin::echo());
    let dev = Dev::start(&[
        &format!("app.localhost={}", app.address.port()),
        &format!("api.localhost=127.0.0.1:{}", api.address.port()),
    ]);
    // A second transfer on the printed line: to another name.
    dev.curl(&format!("https://api.localhost:{}/", dev.https));
    assert_eq!(app.only().header("x-forwarded-proto"), Some("https"));
    assert_eq!(api.only().header("host"), Some(format!("api.localhost:{}", dev.https).as_str()));
    let dev = Dev::start(&[&app.address.port().to_string()]);
    dev.curl("");
    assert_eq!(app.seen().len(), 2);
}

#[test]
fn plain_http_as_asked() {
    let status = |dev: &Dev| {
        let output = Command::new("curl")
            .args(["--silent", "--noproxy", "*", "--write-out", "%{http_code}", "--output", "/dev/null"])
            .arg(format!("http://app.localhost:{}/", dev.http))
            .output()
            .expect("curl is installed");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    assert_eq!(status(&Dev::start(&["--https", "redirect"])), "308");
    assert_eq!(status(&Dev::start(&["--https", "both"])), "200");
}
