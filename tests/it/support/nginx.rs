//! The real nginx, as an app behind doorward.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::{free, within};

/// An nginx that runs; killed when it is dropped.
pub(crate) struct Nginx {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    child: Child,
}

impl Nginx {
    /// One `server` with these directives, in which `ADDRESS` stands for its address; paths start from `folder`.
    pub(crate) fn start(folder: &Path, server: &str) -> Self {
        let address = free("127.0.0.1");
        let server = server.replace("ADDRESS", &address.to_string());
        let config = format!(
            "daemon off; master_process off; worker_processes 1; pid nginx.pid; error_log stderr; \
             events {{ worker_connections 64; }} \
             http {{ access_log off; client_body_temp_path tmp1; proxy_temp_path tmp2; fastcgi_temp_path tmp3; \
             uwsgi_temp_path tmp4; scgi_temp_path tmp5; server {{ {server} }} }}"
        );
        let file = folder.join("nginx.conf");
        fs::write(&file, config).expect("a file");
        let child = Command::new("nginx")
            .arg("-p")
            .arg(folder)
            .arg("-c")
            .arg(&file)
            .args(["-e", "stderr"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .expect("nginx is installed");
        within("nginx listens", || TcpStream::connect(address).ok());
        Self { address, child }
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
