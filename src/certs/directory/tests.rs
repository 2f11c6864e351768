//! Real folders, really watched. Waits are for the change itself, and bounded.

use std::fs;
use std::os::unix::fs::symlink;
use std::time::Duration;

use tempfile::TempDir;

use super::*;
use crate::certs::testing::{Issued, Order, TestCa};

/// The issue's bound on how long a change may take; nothing here comes near it on a quiet machine.
const SOON: Duration = Duration::from_secs(10);

struct World {
    ca: TestCa,
    dir: TempDir,
    table: Arc<Table>,
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        Self { ca: TestCa::new("test"), dir, table: Arc::new(Table::new()) }
    }

    fn start(&self) -> DirectoryHandle {
        Directory::start(vec![self.dir.path().to_owned()], Arc::clone(&self.table))
    }

    fn folder(&self, name: &str) -> PathBuf {
        let folder = self.dir.path().join(name);
        fs::create_dir_all(&folder).expect("a folder");
        folder
    }

    fn issue(&self, name: &str) -> (Issued, String) {
        let issued = self.ca.issue(Order::new(&[name]));
        let chain = self.ca.intermediate.pem();
        let fingerprint = issued.certificate("any", &chain).fingerprint().to_owned();
        (Issued { certificate: format!("{}{chain}", issued.certificate), ..issued }, fingerprint)
    }

    /// Writes a new pair and returns its fingerprint.
    fn put(&self, folder: &str, name: &str) -> String {
        let (issued, fingerprint) = self.issue(name);
        let folder = self.folder(folder);
        write(&folder, "ssl.key", &issued.key);
        write(&folder, "ssl.crt", &issued.certificate);
        fingerprint
    }

    fn served(&self, id: &str) -> Option<String> {
        self.table.get(&CertificateId::new(id)).map(|certificate| certificate.fingerprint().to_owned())
    }

    /// Waits until the table serves this under the id.
    async fn serves(&self, id: &str, fingerprint: &str) {
        let mut changed = self.table.changed();
        let wait = async {
            while self.served(id).as_deref() != Some(fingerprint) {
                changed.changed().await.expect("the table lives");
            }
        };
        if tokio::time::timeout(SOON, wait).await.is_err() {
            panic!("{id} is not served: {:?}", self.served(id));
        }
    }
}

fn write(folder: &Path, name: &str, text: &str) {
    fs::write(folder.join(name), text).expect("a file");
}

fn refusal(handle: &DirectoryHandle, id: &str) -> String {
    let all = handle.status();
    let status = all.iter().find(|status| status.id.as_str() == id).unwrap_or_else(|| panic!("{id} in {all:?}"));
    match &status.state {
        State::Refused(message) => message.clone(),
        other => panic!("{id} is {other:?}"),
    }
}

#[test]
fn every_layout_is_loaded_before_start_returns() {
    let world = World::new();
    let mut expected = Vec::new();
    let chain = world.ca.intermediate.pem();
    for (id, key, certificate, apart) in [
        ("ssl", "ssl.key", "ssl.crt", Some("ssl.chain")),
        ("certbot", "privkey.pem", "fullchain.pem", None),
        ("deep/in/kube", "tls.key", "tls.crt", None),
        ("plain", "key.pem", "cert.pem", Some("chain.pem")),
    ] {
        let issued = world.ca.issue(Order::new(&["a.example"]));
        let folder = world.folder(id);
        write(&folder, key, &issued.key);
        match apart {
            Some(apart) => {
                write(&folder, certificate, &issued.certificate);
                write(&folder, apart, &chain);
            }
            None => write(&folder, certificate, &format!("{}{chain}", issued.certificate)),
        }
        // What lies beside a pair is no certificate of its own.
        write(&folder, "dhparam.pem", "-----BEGIN DH PARAMETERS-----\nAAAA\n-----END DH PARAMETERS-----\n");
        write(&folder, "README", "hello");
        expected
            .push((id.rsplit('/').next().expect("a name"), issued.certificate("any", &chain).fingerprint().to_owned()));
    }
    let (issued, fingerprint) = world.issue("b.example");
    write(world.dir.path(), "combined.pem", &format!("{}{}", issued.key, issued.certificate));
    expected.push(("combined", fingerprint));

    let handle = world.start();
    for (id, fingerprint) in &expected {
        assert_eq!(world.served(id).as_deref(), Some(fingerprint.as_str()), "{id}");
    }
    assert_eq!(world.table.list().len(), expected.len());
    assert!(world.table.list().iter().all(|certificate| certificate.chain().count() == 2));
    assert!(handle.status().iter().all(|status| status.state == State::Served), "{:?}", handle.status());
    let examined = examine(world.dir.path());
    assert_eq!(examined.len(), expected.len());
    assert!(examined.iter().all(|(_, result)| result.is_ok()));
}

#[test]
fn one_bad_certificate_takes_no_other_down() {
    let world = World::new();
    let good = world.put("good", "good.example");
    let (issued, _) = world.issue("bad.example");
    write(&world.folder("half"), "ssl.key", &issued.key);
    write(&world.folder("cut"), "ssl.key", &issued.key);
    write(&world.folder("cut"), "ssl.crt", &issued.certificate[..100]);
    write(&world.folder("loose"), "only.pem", &issued.certificate);
    fs::write(world.folder("windows").join("site.pfx"), [0x30, 0x82, 1, 0, 2, 1, 3]).expect("a file");
    let handle = world.start();
    assert_eq!(world.served("good"), Some(good));
    assert_eq!(world.table.list().len(), 1);
    assert!(refusal(&handle, "half").contains("ssl.crt is missing beside"));
    assert!(refusal(&handle, "cut").contains("copied only in part"));
    assert!(refusal(&handle, "only").contains("no private key"));
    let pkcs12 = refusal(&handle, "site");
    assert!(pkcs12.contains("openssl pkcs12 -nodes -in") && pkcs12.contains("site.pem"), "{pkcs12}");
    let examined = examine(world.dir.path());
    assert_eq!(examined.iter().filter(|(_, result)| result.is_err()).count(), 4);
    assert!(matches!(&examine(Path::new("/nonexistent/dir"))[..], [(_, Err(CertificateError::Read { .. }))]));
}

#[tokio::test]
async fn a_stray_half_takes_none_of_its_neighbours_down() {
    let world = World::new();
    let (issued, fingerprint) = world.issue("a.example");
    write(world.dir.path(), "a.pem", &format!("{}{}", issued.certificate, issued.key));
    let handle = world.start();
    write(world.dir.path(), "cert.pem", &issued.certificate);
    write(world.dir.path(), "ca.pem", &world.ca.root.pem());
    handle.rescan().await;
    assert_eq!(world.served("a"), Some(fingerprint));
    let states: Vec<_> = handle.status().into_iter().map(|status| (status.path, status.state)).collect();
    assert!(states.contains(&(world.dir.path().join("a.pem"), State::Served)), "{states:?}");
    assert!(!states.iter().any(|(path, _)| path.ends_with("ca.pem")), "{states:?}");
}

#[tokio::test]
async fn changes_and_new_folders_are_served() {
    let world = World::new();
    let first = world.put("a", "a.example");
    let _handle = world.start();
    assert_eq!(world.served("a"), Some(first));
    let second = world.put("a", "a.example");
    world.serves("a", &second).await;
    let new = world.put("new/deep/b", "b.example");
    world.serves("b", &new).await;
    let (issued, fingerprint) = world.issue("c.example");
    write(world.dir.path(), "c.pem", &format!("{}{}", issued.certificate, issued.key));
    world.serves("c", &fingerprint).await;
    assert_eq!(world.served("a"), Some(second), "the others are as they were");
}

#[tokio::test]
async fn kubernetes_swaps_its_data_link() {
    let world = World::new();
    let folder = world.folder("kube");
    let version = |name: &str| {
        let (issued, fingerprint) = world.issue("kube.example");
        let data = folder.join(name);
        fs::create_dir(&data).expect("a folder");
        write(&data, "tls.key", &issued.key);
        write(&data, "tls.crt", &issued.certificate);
        fingerprint
    };
    let first = version("..2026_01");
    symlink("..2026_01", folder.join("..data")).expect("a link");
    for file in ["tls.key", "tls.crt"] {
        symlink(Path::new("..data").join(file), folder.join(file)).expect("a link");
    }
    let _handle = world.start();
    assert_eq!(world.served("kube"), Some(first));
    for name in ["..2026_02", "..2026_03"] {
        let next = version(name);
        symlink(name, folder.join("..data_tmp")).expect("a link");
        fs::rename(folder.join("..data_tmp"), folder.join("..data")).expect("a swap");
        world.serves("kube", &next).await;
    }
    assert_eq!(world.table.list().len(), 1);
}

#[tokio::test]
async fn certbot_renews_through_its_archive() {
    let world = World::new();
    let (archive, live) = (world.folder("archive/site"), world.folder("live/site"));
    world.folder("keys");
    write(&world.folder("keys"), "0000_key-certbot.pem", "loose");
    let renew = |number: u32| {
        let (issued, fingerprint) = world.issue("site.example");
        for (name, text) in
            [("privkey", &issued.key), ("fullchain", &issued.certificate), ("cert", &issued.certificate)]
        {
            write(&archive, &format!("{name}{number}.pem"), text);
            let link = live.join(format!("{name}.pem"));
            let _ = fs::remove_file(&link);
            symlink(format!("../../archive/site/{name}{number}.pem"), link).expect("a link");
        }
        fingerprint
    };
    let first = renew(1);
    let handle = world.start();
    assert_eq!(world.served("site"), Some(first));
    let second = renew(2);
    world.serves("site", &second).await;
    assert_eq!(handle.status().len(), 1, "neither the archive nor the keys are certificates: {:?}", handle.status());
}

#[tokio::test]
async fn a_slow_copy_is_waited_for_and_then_served() {
    let world = World::new();
    let first = world.put("a", "a.example");
    let handle = world.start();
    let (issued, second) = world.issue("a.example");
    let folder = world.folder("a");
    // Half of the certificate, beside the old key; then all of it; then the key.
    write(&folder, "ssl.crt", &issued.certificate[..300]);
    handle.rescan().await;
    assert_eq!(world.served("a"), Some(first.clone()));
    write(&folder, "ssl.crt", &issued.certificate);
    handle.rescan().await;
    assert_eq!(world.served("a"), Some(first));
    write(&folder, "ssl.key", &issued.key);
    world.serves("a", &second).await;
    assert!(handle.status().iter().all(|status| status.state == State::Served));
}

#[tokio::test]
async fn what_was_served_stays_when_the_folder_goes_bad_or_away() {
    let world = World::new();
    let first = world.put("a", "a.example");
    let handle = world.start();
    fs::write(world.folder("a").join("ssl.key"), "-----BEGIN ENCRYPTED PRIVATE KEY-----\n").expect("a file");
    handle.rescan().await;
    assert!(refusal(&handle, "a").contains("passphrase"));
    assert_eq!(world.served("a"), Some(first.clone()));
    fs::remove_dir_all(world.dir.path().join("a")).expect("a removal");
    handle.rescan().await;
    assert_eq!(world.served("a"), Some(first), "in case it comes back");
    assert!(matches!(&handle.status()[0].state, State::Pending(message) if message.contains("gone")));
    let back = world.put("a", "a.example");
    world.serves("a", &back).await;
}

#[tokio::test]
async fn a_root_may_come_later_and_roots_may_change() {
    let world = World::new();
    let (one, two) = (world.dir.path().join("one"), world.dir.path().join("two"));
    let handle = Directory::start(vec![one.clone()], Arc::clone(&world.table));
    let later = world.put("one/a", "a.example");
    world.serves("a", &later).await;
    let other = world.put("two/b", "b.example");
    handle.update(vec![two]).await;
    assert_eq!((world.served("a"), world.served("b")), (None, Some(other)));
    let changed = world.put("two/b", "b.example");
    world.serves("b", &changed).await;
}

/// Runs a shell command as an operator would, in `folder`.
fn shell(folder: &Path, command: &str) {
    let done = std::process::Command::new("sh").args(["-c", command]).current_dir(folder).output().expect("a shell");
    assert!(done.status.success(), "{command}: {}", String::from_utf8_lossy(&done.stderr));
}

#[tokio::test]
async fn the_commands_in_the_messages_mend_what_they_name() {
    let world = World::new();
    let (issued, fingerprint) = world.issue("a.example");
    let handle = world.start();
    let spoil = [
        ("pkcs8", "openssl pkcs8 -topk8 -passout pass:x -in ssl.key -out n && mv n ssl.key"),
        ("legacy", "openssl ec -aes256 -passout pass:x -in ssl.key -out n && mv n ssl.key"),
        ("der-key", "openssl pkey -outform DER -in ssl.key -out n && mv n ssl.key"),
        ("der", "openssl x509 -outform DER -in ssl.crt -out n && mv n ssl.crt"),
        ("pkcs7", "openssl crl2pkcs7 -nocrl -certfile ssl.crt -out n && mv n ssl.crt"),
        ("pkcs12-key", "openssl pkcs12 -export -passout pass:x -inkey ssl.key -in ssl.crt -out n && mv n ssl.key"),
        ("pkcs12", "openssl pkcs12 -export -passout pass:x -inkey ssl.key -in ssl.crt -out n && mv n ssl.crt"),
        (
            "combined",
            "openssl pkcs8 -topk8 -passout pass:x -in ssl.key -out k && cat ssl.crt k > all.pem && rm ssl.* k",
        ),
        ("it's a pfx", "openssl pkcs12 -export -passout pass:x -inkey ssl.key -in ssl.crt -out site.pfx && rm ssl.*"),
    ];
    for (name, command) in spoil {
        let folder = world.folder(name);
        write(&folder, "ssl.key", &issued.key);
        write(&folder, "ssl.crt", &issued.certificate);
        shell(&folder, command);
        let spoilt: Vec<_> = examine(&folder).into_iter().filter_map(|(_, result)| result.err()).collect();
        let [error] = &spoilt[..] else { panic!("{name}: {spoilt:?}") };
        let message = error.to_string();
        let remedy = &message[message.find("openssl").unwrap_or_else(|| panic!("{name}: {message}"))..];
        let remedy = match name {
            "pkcs8" | "legacy" | "pkcs12-key" | "pkcs12" | "it's a pfx" => remedy.replace("-in", "-passin pass:x -in"),
            "combined" => remedy.replace("pkey -in", "pkey -passin pass:x -in"),
            _ => remedy.to_owned(),
        };
        shell(&folder, &remedy);
        let mended: Vec<_> =
            examine(&folder).into_iter().map(|(_, result)| result.map_err(|e| e.to_string())).collect();
        assert!(
            matches!(&mended[..], [Ok(certificate)] if certificate.fingerprint() == fingerprint),
            "{name}: {mended:?}"
        );
    }
    handle.rescan().await;
    assert_eq!(world.served("site"), Some(fingerprint));
}
