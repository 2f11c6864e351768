//! The real curl and the real openssl.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

/// One call of curl, with the CA trusted and every name sent to doorward.
pub(crate) struct Curl {
    url: String,
    args: Vec<String>,
}

/// What curl got.
#[derive(Debug)]
pub(crate) struct Answer {
    /// 0 where there was none.
    pub(crate) status: u16,
    /// `1.1` or `2`.
    pub(crate) version: String,
    /// The final head's, names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    /// The status codes of all heads before the final one.
    pub(crate) interim: Vec<u16>,
    /// As it came.
    pub(crate) body: Vec<u8>,
    /// curl's exit code: 18 for a body that was cut short, 92 for a stream that was reset.
    pub(crate) exit: i32,
    /// What curl complained of.
    #[expect(dead_code, reason = "a failed test prints it")]
    pub(crate) complaint: String,
}

impl Curl {
    /// To `url`, whatever its host and port, at these addresses of doorward's listeners.
    pub(crate) fn new(url: &str, https: SocketAddr, http: SocketAddr, ca: &Path) -> Self {
        let to = if url.starts_with("https:") { https } else { http };
        let args = vec!["--connect-to".into(), format!("::{to}"), "--cacert".into(), ca.display().to_string()];
        Self { url: url.into(), args }
    }

    /// Further arguments.
    pub(crate) fn args(mut self, args: &[&str]) -> Self {
        self.args.extend(args.iter().map(ToString::to_string));
        self
    }

    /// One header more.
    pub(crate) fn header(self, header: &str) -> Self {
        self.args(&["-H", header])
    }

    /// Runs it.
    pub(crate) fn run(self) -> Answer {
        let folder = tempfile::tempdir().expect("a folder");
        let file = |name: &str| -> PathBuf { folder.path().join(name) };
        let output = Command::new("curl")
            .args(["--silent", "--show-error", "--max-time", "60", "--noproxy", "*", "--path-as-is"])
            .args(&self.args)
            .arg("--dump-header")
            .arg(file("heads"))
            .arg("--output")
            .arg(file("body"))
            .args(["--write-out", "%{http_code} %{http_version}", &self.url])
            .stdin(Stdio::null())
            .output()
            .expect("curl is installed");
        let facts = String::from_utf8_lossy(&output.stdout).into_owned();
        let (status, version) = facts.split_once(' ').unwrap_or(("0", ""));
        let heads = std::fs::read(file("heads")).unwrap_or_default();
        let (interim, headers) = heads_of(&String::from_utf8_lossy(&heads));
        Answer {
            status: status.parse().unwrap_or(0),
            version: version.into(),
            headers,
            interim,
            body: std::fs::read(file("body")).unwrap_or_default(),
            exit: output.status.code().unwrap_or(-1),
            complaint: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

impl Answer {
    /// The first header of this name.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The body as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|fault| panic!("no JSON ({fault}): {self:?}"))
    }

    /// What the echo backend says that it saw in this header, several joined with ` | `.
    pub(crate) fn seen(&self, name: &str) -> Option<String> {
        let seen = self.json();
        let values: Vec<_> = seen["headers"]
            .as_array()
            .expect("headers")
            .iter()
            .filter(|pair| pair[0].as_str().is_some_and(|key| key.eq_ignore_ascii_case(name)))
            .filter_map(|pair| pair[1].as_str())
            .collect();
        (!values.is_empty()).then(|| values.join(" | "))
    }
}

/// `openssl ARGS`, with `input` on stdin; its stdout and stderr together.
pub(crate) fn openssl(args: &[&str], input: &[u8]) -> String {
    let mut child = Command::new("openssl")
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("openssl is installed");
    // It may have gone already; what it said tells why.
    let _ = child.stdin.take().expect("stdin").write_all(input);
    let output = child.wait_with_output().expect("openssl ends");
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn heads_of(text: &str) -> (Vec<u16>, Vec<(String, String)>) {
    let mut interim = Vec::new();
    let mut headers = Vec::new();
    let mut status = 0;
    for line in text.lines() {
        if line.starts_with("HTTP/") {
            if status != 0 {
                interim.push(status);
            }
            status = line.split_whitespace().nth(1).and_then(|code| code.parse().ok()).unwrap_or(0);
            headers.clear();
        } else if let Some((name, value)) = line.split_once(':') {
            headers.push((name.trim().to_ascii_lowercase(), value.trim().to_owned()));
        }
    }
    (interim, headers)
}
