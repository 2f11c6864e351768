//! Shell completions, by the shells themselves: real bash, zsh and fish complete what this doorward has.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::support::{Doorward, Setup, ca, ok};

/// Types a line and TAB into a shell on a terminal of its own, then has it print the line as it is then. Arguments: the
/// shell's command, what is typed first, the line.
const TYPIST: &str = r#"
import os, pty, select, sys, time
shell, first, line = sys.argv[1].split(), sys.argv[2], sys.argv[3]
pid, terminal = pty.fork()
if pid == 0:
    os.execvp(shell[0], shell)
seen = b""
def read_until(mark, seconds):
    global seen
    end = time.monotonic() + seconds
    while mark not in seen and time.monotonic() < end:
        if select.select([terminal], [], [], 0.2)[0]:
            try:
                seen += os.read(terminal, 65536)
            except OSError:
                break
    return mark in seen
os.write(terminal, first.encode() + b"; echo rea''dy\n")
ready = read_until(b"ready", 30)
seen = b""
os.write(terminal, line.encode() + b"\t")
# The shell asks doorward; then the line is printed in place of being run.
read_until(b"never", 4)
seen = b""
os.write(terminal, b"\x01echo 'IS:' \x05 :END\n")
read_until(b":END\r\n", 10)
read_until(b"\nIS:", 10)
os.close(terminal)
print("ready:", ready)
print(seen.decode(errors="replace"))
"#;

fn setup() -> Doorward {
    let leaf = |name: &str| ca().leaf(&[name]).issue();
    let (one, two) = (leaf("www.alpha.example.test"), leaf("*.beta.example.test"));
    Setup::new()
        .certificate("first-alpha", &one)
        .certificate("second-beta", &two)
        .section("[[backend]]\nname = \"app\"\nendpoints = [\"127.0.0.1:9\", \"127.0.0.5:9\"]")
        .route("hosts = [\"www.alpha.example.test\"]\nbackend = \"app\"")
        .start()
}

/// A PATH that begins with the folder of the built doorward.
fn path() -> String {
    let folder = Path::new(env!("CARGO_BIN_EXE_doorward")).parent().expect("a folder").display();
    format!("{folder}:{}", std::env::var("PATH").unwrap_or_default())
}

fn typed(door: &Doorward, shell: &str, first: &str, line: &str) -> String {
    let output = Command::new("python3")
        .args(["-c", TYPIST, shell, first, line])
        .env("PATH", path())
        .env("HOME", door.home())
        .env("TERM", "dumb")
        .stdin(Stdio::null())
        .output()
        .expect("python3 runs");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn config(door: &Doorward) -> String {
    door.home().join("doorward.toml").display().to_string()
}

#[test]
fn bash_completes_the_ids_of_certificates() {
    let door = setup();
    let line = format!("doorward certs show --config {} fir", config(&door));
    let seen = typed(&door, "bash --norc -i", "source <(doorward completions bash)", &line);
    assert!(seen.contains("show --config") && seen.contains(" first-alpha"), "{seen}");
}

#[test]
fn zsh_completes_the_ids_of_certificates() {
    let door = setup();
    let line = format!("doorward certs delete --config {} sec", config(&door));
    let first = "autoload -U compinit; compinit -u; source <(doorward completions zsh)";
    let seen = typed(&door, "zsh -f -i", first, &line);
    assert!(seen.contains(" second-beta"), "{seen}");
}

#[test]
fn fish_completes_what_each_argument_takes() {
    let door = setup();
    ok(&door.verb(&["certs", "disable", "www.alpha.example.test"]));
    let config = config(&door);
    let key = door.home().join("key");
    std::fs::write(&key, "hmac-sha256:acme:bm90IGEgc2VjcmV0").expect("written");
    let key = key.display().to_string();
    let add = ["dns", "rfc2136", "add", "--config", &config, "--id", "ns-one", "--dns-zones", "example.test"];
    let added = Command::new(env!("CARGO_BIN_EXE_doorward"))
        .args(add)
        .args(["--server", "127.0.0.1:53", "--tsig-key", &key])
        .output()
        .expect("it runs");
    ok(&added);
    for (line, has, lacks) in [
        (
            "certs show --config C ",
            &["first-alpha\twww.alpha.example.test", "second-beta", "*.beta.example.test"][..],
            "",
        ),
        ("certs delete --config C ", &["first-alpha", "second-beta"], "beta.example.test\t"),
        ("certs explain --config C w", &["www.alpha.example.test\tfirst-alpha"], "second-beta"),
        ("certs enable --config C ", &["www.alpha.example.test\tHTTPS is off"], "second-beta"),
        (
            "certs generate --config C --issuer lets",
            &["letsencrypt\thttps://acme-v02.api.letsencrypt.org/directory"],
            "zerossl",
        ),
        ("dns test --config C ", &["ns-one\texample.test"], "first-alpha"),
        ("dns remove --config C n", &["ns-one\texample.test"], "first-alpha"),
        ("backends drain --config C 127.0", &["127.0.0.1:9\tapp"], "first-alpha"),
        ("backends enable --config C ", &["127.0.0.1:9\tapp", "127.0.0.5:9\tapp"], "first-alpha"),
        ("certs gen", &["generate\tOrder a certificate now"], "show"),
        ("completions ", &["bash", "fish", "zsh"], ""),
        ("dns cloudfl", &["cloudflare"], "route53"),
    ] {
        let line = line.replace('C', &config);
        let script = format!("doorward completions fish | source; complete -C 'doorward {line}'");
        let output = Command::new("fish")
            .args(["--no-config", "-c", &script])
            .env("PATH", path())
            .env("HOME", door.home())
            .output()
            .expect("fish runs");
        let seen = String::from_utf8_lossy(&output.stdout).into_owned();
        for has in has {
            assert!(seen.contains(has), "{line}: {has}: {seen}");
        }
        assert!(lacks.is_empty() || !seen.contains(lacks), "{line}: {lacks}: {seen}");
    }
}
