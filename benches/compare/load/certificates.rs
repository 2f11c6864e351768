//! Certificates for the comparison: leaf and intermediate below a root, as public CAs issue them.

use std::fs;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair, PKCS_RSA_SHA256, RsaKeySize,
};
use serde_json::{Value, json};

/// What to make.
#[derive(Args)]
pub(crate) struct Order {
    /// The CA's folder, made where it is missing: `root.pem`, `intermediate.pem`, `intermediate.key`.
    #[arg(long)]
    ca: PathBuf,
    /// Where to write `folders/NAME/{privkey,fullchain}.pem` and `bundles/NAME.pem`; what is there is replaced.
    #[arg(long)]
    out: PathBuf,
    /// The keys.
    #[arg(long, value_enum, default_value = "ecdsa")]
    kind: Kind,
    /// So many numbered names, besides those given.
    #[arg(long, default_value_t = 0)]
    count: usize,
    /// The names.
    names: Vec<String>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Kind {
    /// P-256.
    Ecdsa,
    /// RSA, 2048 bits.
    Rsa,
}

/// Makes them, on all cores.
pub(crate) fn make(order: &Order) -> Value {
    if !order.ca.exists() {
        make_ca(&order.ca);
    }
    let key = KeyPair::from_pem(&text(&order.ca.join("intermediate.key"))).expect("a key in PEM");
    let intermediate = text(&order.ca.join("intermediate.pem"));
    let issuer = Issuer::from_ca_cert_pem(&intermediate, key).expect("a CA's certificate in PEM");
    let numbered = (0..order.count).map(|n| format!("app-{n}.customer-{}.example.com", n % 100));
    let names: Vec<String> = order.names.iter().cloned().chain(numbered).collect();
    fs::create_dir_all(order.out.join("bundles")).expect("a folder");
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let (names, issuer, intermediate) = (&names, &issuer, &intermediate);
            scope.spawn(move || {
                for name in names.iter().skip(thread).step_by(threads) {
                    let (key, leaf) = leaf(order.kind, name, issuer);
                    let folder = order.out.join("folders").join(name);
                    fs::create_dir_all(&folder).expect("a folder");
                    replace(&folder.join("privkey.pem"), &key);
                    replace(&folder.join("fullchain.pem"), &format!("{leaf}{intermediate}"));
                    let bundle = order.out.join("bundles").join(format!("{name}.pem"));
                    replace(&bundle, &format!("{leaf}{intermediate}{key}"));
                }
            });
        }
    });
    json!({ "made": names.len() })
}

fn leaf(kind: Kind, name: &str, issuer: &Issuer<'_, KeyPair>) -> (String, String) {
    let key = match kind {
        Kind::Ecdsa => KeyPair::generate(),
        Kind::Rsa => KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048),
    }
    .expect("a key");
    let params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
    let leaf = params.signed_by(&key, issuer).expect("a certificate");
    (key.serialize_pem(), leaf.pem())
}

fn make_ca(folder: &Path) {
    let authority = |name: &str| {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        (params, KeyPair::generate().expect("a key"))
    };
    let (root, root_key) = authority("comparison root");
    let root_pem = root.self_signed(&root_key).expect("a root").pem();
    let issuer = Issuer::new(root, root_key);
    let (intermediate, key) = authority("comparison intermediate");
    let intermediate = intermediate.signed_by(&key, &issuer).expect("an intermediate").pem();
    fs::create_dir_all(folder).expect("a folder");
    replace(&folder.join("root.pem"), &root_pem);
    replace(&folder.join("intermediate.pem"), &intermediate);
    replace(&folder.join("intermediate.key"), &key.serialize_pem());
}

/// As a deployer does it: beside the old file, then renamed over it.
fn replace(path: &Path, text: &str) {
    let beside = path.with_extension("new");
    fs::write(&beside, text).expect("a file");
    fs::rename(beside, path).expect("a file");
}

fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
