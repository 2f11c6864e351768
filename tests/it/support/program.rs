//! Real programs that run beside doorward for as long as a test needs them.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::{Leaf, free, within};

/// A program that listens; killed when it is dropped.
pub(crate) struct Program {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    child: Child,
}

impl Program {
    /// Starts `command`, which is to listen at `address`.
    pub(crate) fn start(command: &mut Command, address: SocketAddr) -> Self {
        let name = command.get_program().display().to_string();
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let mut this = Self { address, child: child.unwrap_or_else(|fault| panic!("{name}: {fault}")) };
        within(&format!("{name} listens"), || {
            let ended = this.child.try_wait().expect("it can be waited for");
            assert!(ended.is_none(), "{name} ended before it listened: {ended:?}");
            TcpStream::connect(address).ok()
        });
        this
    }

    /// HAProxy, with these sections behind `defaults`; `ADDRESS` in them stands for its address.
    pub(crate) fn haproxy(folder: &Path, sections: &str) -> Self {
        let address = free("127.0.0.1");
        let text = format!(
            "global\n  maxconn 100\n  stats socket {}/haproxy.sock\ndefaults\n  timeout connect 5s\n  timeout client 30s\n  \
             timeout server 30s\n{}\n",
            folder.display(),
            sections.replace("ADDRESS", &address.to_string())
        );
        let file = folder.join("haproxy.cfg");
        fs::write(&file, text).expect("a file");
        Self::start(Command::new(beside("haproxy")).arg("-db").arg("-f").arg(file), address)
    }

    /// `openssl s_server` with this certificate: says what it is sent back, each line in reverse.
    pub(crate) fn s_server(folder: &Path, name: &str, leaf: &Leaf, args: &[&str]) -> Self {
        let at = folder.join(name);
        leaf.write(&at);
        let address = free("127.0.0.1");
        let mut command = Command::new("openssl");
        command.args(["s_server", "-rev", "-quiet", "-accept", &address.to_string(), "-cert"]);
        command.arg(at.join("fullchain.pem")).arg("-cert_chain").arg(at.join("fullchain.pem"));
        command.arg("-key").arg(at.join("privkey.pem")).args(args);
        Self::start(&mut command, address)
    }

    /// Redis without a file on disk, with these further arguments.
    pub(crate) fn redis(folder: &Path, address: SocketAddr, args: &[&str]) -> Self {
        let mut command = Command::new("redis-server");
        command.args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir"]).arg(folder).args(args);
        Self::start(&mut command, address)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A daemon of Debian's, which may be where users do not look.
fn beside(name: &str) -> String {
    let there = format!("/usr/sbin/{name}");
    if Path::new(&there).exists() { there } else { name.to_owned() }
}
