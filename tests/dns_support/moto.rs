//! moto's server (Route 53 and STS), in a virtual environment under `target/` that `tests/run.sh` makes.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use doorward::dns::aws::{Aws, Environment, Settings};

use crate::acme::ports::free;

pub struct Moto {
    child: Child,
    pub endpoint: String,
}

impl Moto {
    pub async fn start() -> Self {
        let port = free("127.0.0.1").port();
        let child = Command::new(bin("moto_server"))
            .args(["-H", "127.0.0.1", "-p", &port.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("moto starts; tests/run.sh installs it into target/moto");
        let this = Self { child, endpoint: format!("http://127.0.0.1:{port}") };
        let deadline = Instant::now() + Duration::from_secs(40);
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < deadline, "moto does not listen");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        this
    }

    /// Access with fixed keys.
    pub fn aws(&self) -> Aws {
        let settings = Settings {
            keys: Some(("AKIAIOSFODNN7EXAMPLE".to_owned(), "secret".to_owned())),
            endpoint: Some(self.endpoint.clone()),
            ..Settings::default()
        };
        Aws::new(settings, Environment::of(|_| None)).expect("roots")
    }

    /// Runs boto3, Amazon's own client, on it, and gives what the program prints.
    pub fn boto3(&self, program: &str) -> String {
        let head = format!(
            "import boto3\nr53 = boto3.client('route53', endpoint_url='{0}', aws_access_key_id='a', aws_secret_access_key='b', region_name='us-east-1')\n",
            self.endpoint
        );
        python(&format!("{head}{program}"))
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a program in moto's environment, which holds botocore too.
pub fn python(program: &str) -> String {
    let output = Command::new(bin("python")).arg("-c").arg(program).output().expect("python runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

fn bin(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/moto/bin").join(name)
}
