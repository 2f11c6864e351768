//! Real BIND, primary for one zone that the test changes.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::{free, signal, within};

/// A BIND that runs; killed when it is dropped.
pub(crate) struct Named {
    /// Where it answers.
    pub(crate) address: SocketAddr,
    folder: tempfile::TempDir,
    child: Child,
    serial: u32,
}

impl Named {
    /// With the zone `names.test` of these records, which hold for a second.
    pub(crate) fn start(records: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let address = free("127.0.0.1");
        let config = format!(
            "options {{ directory \"{}\"; listen-on port {} {{ 127.0.0.1; }}; listen-on-v6 {{ none; }}; pid-file none; \
             recursion no; dnssec-validation no; allow-query {{ any; }}; session-keyfile \"session.key\"; }};\n\
             controls {{ }};\nzone \"names.test\" {{ type primary; file \"zone\"; }};\n",
            folder.path().display(),
            address.port()
        );
        fs::write(folder.path().join("named.conf"), config).expect("a file");
        fs::write(folder.path().join("zone"), zone(1, records)).expect("a file");
        let log = fs::File::create(folder.path().join("log")).expect("a file");
        // Debian keeps it where users do not look.
        let there = Path::new("/usr/sbin/named");
        let child = Command::new(if there.exists() { there } else { Path::new("named") })
            .args(["-g", "-n", "1", "-c"])
            .arg(folder.path().join("named.conf"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("BIND is installed");
        let this = Self { address, folder, child, serial: 1 };
        within("BIND answers", || {
            (this.log().contains("running") && TcpStream::connect(this.address).is_ok()).then_some(())
        });
        this
    }

    /// Has other records from now on.
    pub(crate) fn change(&mut self, records: &str) {
        self.serial += 1;
        fs::write(self.folder.path().join("zone"), zone(self.serial, records)).expect("a file");
        signal(self.child.id(), "HUP");
        within("BIND has read its zone", || {
            self.log().contains(&format!("names.test/IN: loaded serial {}", self.serial)).then_some(())
        });
    }

    /// Ends it.
    pub(crate) fn stop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Named {
    fn drop(&mut self) {
        self.stop();
    }
}

fn zone(serial: u32, records: &str) -> String {
    format!("$TTL 1\n@ SOA ns hostmaster {serial} 3600 600 86400 1\n@ NS ns\nns A 127.0.0.1\n{records}\n")
}
