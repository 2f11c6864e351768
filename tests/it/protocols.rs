//! Real protocols and real clients through listeners that know none of them: Redis, PostgreSQL, WebSockets, openssl.

use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::process::{Command, Stdio};

use crate::support::{Doorward, Origin, Program, Setup, Tls, ca, client_config, free};

const HOST: &str = "app.example.test";
const CACHE: &str = "cache.example.test";
const TLS: &str = "127.0.0.7:0";
const TCP: &str = "127.0.0.8:0";
/// A second listener `tls`.
const DIRECT: &str = "127.0.0.9:0";

fn setup() -> Setup {
    Setup::new()
        .certificate("app", &ca().leaf(&[HOST]).issue())
        .certificate("cache", &ca().leaf(&[CACHE]).issue())
        .section(&format!("[[listener]]\naddress = \"{TLS}\"\nprotocol = \"tls\""))
}

fn tcp_listener(route: &str) -> String {
    format!("[[listener]]\naddress = \"{TCP}\"\nprotocol = \"tcp\"\ndefault_route = \"{route}\"")
}

/// `redis-cli` with these arguments, its commands on stdin.
fn redis_cli(address: SocketAddr, args: &[&str], commands: &str) -> String {
    let mut child = Command::new("redis-cli")
        .args(["-h", &address.ip().to_string(), "-p", &address.port().to_string()])
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("redis-cli is installed");
    child.stdin.take().expect("stdin").write_all(commands.as_bytes()).expect("written");
    let output = child.wait_with_output().expect("it ends");
    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
}

#[test]
fn redis_over_tls_whose_end_is_here() {
    let setup = setup();
    let address = free("127.0.0.1");
    let redis = Program::redis(setup.home(), address, &["--port", &address.port().to_string()]);
    let door = setup
        .section(&tcp_listener("cache"))
        .route(&format!("name = \"cache\"\nhosts = [\"{CACHE}\"]\nmode = \"tcp\"\nbackend = \"{}\"", redis.address))
        .start();
    let ca_file = door.home().join("ca.pem").display().to_string();
    let tls = ["--tls", "--sni", CACHE, "--cacert", &ca_file];
    let large = "x".repeat(200_000);
    let commands = format!("SET greeting hello\nGET greeting\nSET large {large}\nSTRLEN large\nGET large\nINCR n\n");
    let said = redis_cli(door.bound(TLS), &tls, &commands);
    assert_eq!(said, format!("OK\nhello\nOK\n200000\n{large}\n1\n"));
    assert_eq!(redis_cli(door.bound(TCP), &[], "GET greeting\nINCR n\n"), "hello\n2\n", "and as it is, by the port");
    let line = door.wait_log(0, "the connection", |line| line["message"] == "connection" && line["sni"] == CACHE);
    assert!(line["bytes_in"].as_u64() > Some(200_000) && line["bytes_out"].as_u64() > Some(200_000), "{line}");
}

#[test]
fn a_redis_that_speaks_tls_itself_behind_either_listener_and_untouched() {
    let setup = setup();
    let address = free("127.0.0.1");
    let own = ca().leaf(&["redis.internal", "own.example.test"]).issue();
    own.write(&setup.home().join("redis"));
    let file = |name: &str| setup.home().join(name).display().to_string();
    let (certificate, key, ca_file) = (file("redis/fullchain.pem"), file("redis/privkey.pem"), file("ca.pem"));
    let port = address.port().to_string();
    let args = [
        "--port",
        "0",
        "--tls-port",
        &port,
        "--tls-cert-file",
        &certificate,
        "--tls-key-file",
        &key,
        "--tls-ca-cert-file",
        &ca_file,
        "--tls-auth-clients",
        "no",
    ];
    let redis = Program::redis(setup.home(), address, &args);
    let door = setup
        .section(&tcp_listener("cache"))
        .route(&format!(
            "name = \"cache\"\nhosts = [\"{CACHE}\"]\nmode = \"tcp\"\n[route.backend]\nendpoints = [\"tls://{0}\"]\n\
             tls = {{ ca = \"ca.pem\", server_name = \"redis.internal\" }}\n\
             [[route]]\nhosts = [\"own.example.test\"]\nmode = \"passthrough\"\nbackend = \"{0}\"",
            redis.address
        ))
        .start();
    let tls =
        |name: &str| redis_cli(door.bound(TLS), &["--tls", "--sni", name, "--cacert", &ca_file], "PING\nINCR n\n");
    assert_eq!(tls(CACHE), "PONG\n1\n", "TLS on both sides");
    assert_eq!(tls("own.example.test"), "PONG\n2\n", "its own TLS");
    assert_eq!(redis_cli(door.bound(TCP), &[], "PING\nINCR n\n"), "PONG\n3\n", "a client that knows no TLS");
}

#[test]
fn websockets_are_bytes_like_others() {
    let origin = Origin::websocket();
    let door = setup()
        .route(&format!("name = \"ws\"\nhosts = [\"{HOST}\"]\nmode = \"tcp\"\nbackend = \"{}\"", origin.address))
        .start();
    let client = Tls::connect(door.bound(TLS), HOST).stream;
    let (mut socket, _) =
        tokio_tungstenite::tungstenite::client(format!("wss://{HOST}/chat"), client).expect("an upgrade");
    for text in ["hello", &"long ".repeat(50_000)] {
        socket.send(tokio_tungstenite::tungstenite::Message::text(text)).expect("sent");
        assert_eq!(socket.read().expect("an echo").into_text().expect("text"), text);
    }
    socket.close(None).expect("a close");
    while socket.read().is_ok() {}
    drop(socket);
    let line = door.wait_log(0, "the connection", |line| line["message"] == "connection");
    assert_eq!((&line["outcome"], &line["protocol"]), (&"ok".into(), &"tcp".into()));
}

/// Both ends are openssl's.
#[test]
fn openssl_speaks_with_openssl() {
    let setup = setup();
    let leaf = ca().leaf(&["app.internal"]).issue();
    let server = Program::s_server(setup.home(), "server", &leaf, &["-alpn", "talk"]);
    let door = setup
        .route(&format!(
            "name = \"talk\"\nhosts = [\"{HOST}\"]\nmode = \"tcp\"\n[route.backend]\nendpoints = [\"tls://{}\"]\n\
             tls = {{ ca = \"ca.pem\", server_name = \"app.internal\" }}",
            server.address
        ))
        .start();
    let talk = |door: &Doorward, version: &str| {
        let target = door.bound(TLS).to_string();
        let ca_file = door.home().join("ca.pem").display().to_string();
        let mut child = Command::new("openssl")
            .args(["s_client", "-connect", &target, "-servername", HOST, "-CAfile", &ca_file, version])
            .args(["-verify_return_error", "-quiet", "-verify_quiet"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("openssl is installed");
        let mut stdin = child.stdin.take().expect("stdin");
        stdin.write_all(b"drawkcab\n").expect("written");
        let mut line = String::new();
        let mut stdout = std::io::BufReader::new(child.stdout.take().expect("stdout"));
        std::io::BufRead::read_line(&mut stdout, &mut line).expect("a line");
        let _ = child.kill();
        let _ = child.wait();
        line
    };
    for version in ["-tls1_3", "-tls1_2"] {
        assert_eq!(talk(&door, version), "backward\n", "{version}");
    }
}

/// PostgreSQL's own server and client. The server runs as nobody, as it refuses to be root.
#[test]
fn postgresql_in_the_clear_and_with_its_own_tls() {
    let Some(bin) = postgres_folder() else { panic!("postgresql is installed") };
    let data = tempfile::tempdir().expect("a folder");
    let folder = data.path().display().to_string();
    let address = free("127.0.0.1");
    // What it needs of TLS is for its own words: it asks for it in the middle of its protocol (SSLRequest).
    let leaf = ca().leaf(&["db.example.test"]).issue();
    let as_user = |command: &str| {
        let is_root = std::fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0);
        let mut shell = if is_root { Command::new("setpriv") } else { Command::new("sh") };
        if is_root {
            shell.args(["--reuid=nobody", "--regid=nogroup", "--clear-groups", "sh"]);
        }
        shell.args(["-c", command]).env("LC_ALL", "C").stdin(Stdio::null());
        shell
    };
    let (crt, key) = (data.path().join("server.crt"), data.path().join("server.key"));
    std::fs::write(&crt, leaf.full_chain()).and_then(|()| std::fs::write(&key, &leaf.key_pem)).expect("files");
    let own = Command::new("sh")
        .args(["-c", &format!("if [ $(id -u) = 0 ]; then chown -R nobody:nogroup {folder}; fi; chmod 700 {folder}; chmod 600 {folder}/server.key")])
        .status()
        .expect("a shell");
    assert!(own.success());
    let made =
        as_user(&format!("{bin}/initdb -D {folder}/db -U app --auth=trust --no-sync")).output().expect("initdb runs");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let options = format!(
        "-c listen_addresses=127.0.0.1 -c unix_socket_directories= -c fsync=off -c ssl=on -c ssl_cert_file={folder}/server.crt -c ssl_key_file={folder}/server.key"
    );
    let server = Program::start(
        &mut as_user(&format!("exec {bin}/postgres -D {folder}/db -p {} {options}", address.port())),
        address,
    );
    let door = setup()
        .section(&tcp_listener("db"))
        .section(&format!(
            "[[listener]]\naddress = \"{DIRECT}\"\nprotocol = \"tls\"\ntls = {{ alpn = [\"postgresql\"] }}"
        ))
        .route(&format!("name = \"db\"\nmode = \"tcp\"\nbackend = \"{}\"", server.address))
        .route(&format!("name = \"ws\"\nhosts = [\"{HOST}\"]\nmode = \"tcp\"\nbackend = \"{}\"", server.address))
        .start();
    let psql = |port: u16, host: &str, mode: &str| {
        let at = format!(
            "host={host} hostaddr=127.0.0.8 port={port} user=app dbname=postgres sslmode={mode} sslrootcert={}",
            door.home().join("ca.pem").display()
        );
        let query =
            "select 6 * 7, (select ssl from pg_stat_ssl where pid = pg_backend_pid()), length(repeat('x', 300000))";
        let output =
            Command::new("psql").args(["-XAtqc", query, &at]).stdin(Stdio::null()).output().expect("psql runs");
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).trim().to_owned()
    };
    let port = door.bound(TCP).port();
    assert_eq!(psql(port, "db.example.test", "disable"), "42|f|300000");
    assert_eq!(psql(port, "db.example.test", "verify-full"), "42|t|300000", "its own TLS, from end to end");
    // Through TLS that ends here, by a tunnel that wraps what psql says: HAProxy as the client's side.
    let tunnel = Program::haproxy(
        door.home(),
        &format!(
            "listen db\n  mode tcp\n  bind ADDRESS\n  server door {} ssl verify required ca-file {}/ca.pem sni str({HOST}) verifyhost {HOST}",
            door.bound(TLS),
            door.home().display()
        ),
    );
    let at = format!("host=127.0.0.1 port={} user=app dbname=postgres sslmode=disable", tunnel.address.port());
    let output =
        Command::new("psql").args(["-XAtqc", "select 6 * 7", &at]).stdin(Stdio::null()).output().expect("psql runs");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "42\n", "{}", String::from_utf8_lossy(&output.stderr));
    // And by TLS from the start, as newer clients have it.
    let direct = door.bound(DIRECT);
    assert_eq!(ask_directly(direct, "select 6 * 7"), b"42");
    let other = Tls::with(client_config(&["mqtt"]), direct, HOST).err().expect("another protocol");
    assert!(other.to_string().contains("NoApplicationProtocol"), "{other}");
    assert!(Tls::with(client_config(&[]), direct, HOST).is_ok(), "who names none is let in");
}

/// PostgreSQL by "direct TLS", as clients from version 17 on do it: the handshake first, with ALPN `postgresql`, then
/// what is otherwise said in the clear (protocol 3.0, message formats). The first row of the answer.
fn ask_directly(address: SocketAddr, query: &str) -> Vec<u8> {
    let mut client = Tls::with(client_config(&["postgresql"]), address, HOST).expect("TLS");
    assert_eq!(client.stream.conn.alpn_protocol(), Some(&b"postgresql"[..]));
    let message = |kind: &[u8], body: &[u8]| {
        let length = u32::try_from(body.len() + 4).expect("short").to_be_bytes();
        [kind, &length, body].concat()
    };
    client.send(message(b"", b"\x00\x03\x00\x00user\0app\0database\0postgres\0\0"));
    client.send(message(b"Q", format!("{query}\0").as_bytes()));
    loop {
        let mut head = [0; 5];
        client.stream.read_exact(&mut head).expect("a message");
        let length = u32::from_be_bytes(head[1..].try_into().expect("four bytes"));
        let mut body = vec![0; length as usize - 4];
        client.stream.read_exact(&mut body).expect("all of it");
        match head[0] {
            // A row of one column: how many columns, how long.
            b'D' => return body.split_off(6),
            b'E' => panic!("{}", String::from_utf8_lossy(&body)),
            _ => {}
        }
    }
}

/// Where Debian keeps the server's programs.
fn postgres_folder() -> Option<String> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?;
    let mut folders: Vec<_> = versions.filter_map(|entry| Some(entry.ok()?.path().join("bin"))).collect();
    folders.sort();
    folders.pop().map(|folder| folder.display().to_string())
}
