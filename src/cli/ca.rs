//! `doorward ca …`: doorward's own certificate authority, in the storage of the config.

use std::io::Read as _;
use std::net::IpAddr;
use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::certs::{Common, export, hand_over, print_json, refuse, tell};
use super::output::{Style, safe, say, styled};
use super::{CONFIG_FILE, DONE, clock, private};
use crate::admin::certs::{Import, Secret};
use crate::app::own_ca_folder;
use crate::certs::{LocalCa, MAX_LEAF_DAYS, signing_request};
use crate::config;
use crate::names::{HostPattern, Hostname};
use crate::storage::files::adopt;

/// A signing request that is larger is none, in bytes.
const REQUEST: u64 = 64 * 1024;

/// Doorward's own certificate authority: for names that no public CA issues for
#[derive(Debug, Subcommand)]
#[command(
    after_help = "Examples:\n  doorward ca init\n  doorward ca issue nas.home.arpa --ip 192.168.1.2\n  doorward ca trust --print"
)]
pub(super) enum CaVerb {
    Init(InitArgs),
    Issue(IssueArgs),
    Csr(CsrArgs),
    Sign(SignArgs),
    Export(ExportArgs),
    Trust(TrustArgs),
}

/// Make the root and the intermediate, where there are none yet; keys with mode 0600.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  doorward ca init")]
pub(super) struct InitArgs {
    #[command(flatten)]
    common: Common,
}

/// Issue a certificate for names and addresses, and serve it; with --out, write it into a folder instead.
///
/// The key has no passphrase and mode 0600. `certs list` marks it as untrusted: only clients that trust this CA
/// (`ca trust`) accept it. It is not renewed by itself; a route with `certificate = "self-signed"` has one that is.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  doorward ca issue nas.home.arpa --ip 192.168.1.2\n  doorward ca issue db.internal --days 365 --out ./db.internal"
)]
pub(super) struct IssueArgs {
    /// Names; wildcards in quotes
    #[arg(value_name = "NAME", required_unless_present = "ip")]
    names: Vec<String>,
    /// An address, too; may be given several times
    #[arg(long, value_name = "ADDRESS")]
    ip: Vec<IpAddr>,
    /// How long it lasts; never longer than the CA
    #[arg(long, default_value_t = 90, value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_LEAF_DAYS)))]
    days: u32,
    /// What to call it; default: the first name
    #[arg(long)]
    id: Option<String>,
    /// Write it into this folder, and don't serve it
    #[arg(long, value_name = "DIR", conflicts_with = "id")]
    out: Option<PathBuf>,
    /// Put it in the place of the one of this id
    #[arg(long, conflicts_with = "out")]
    replace: bool,
    #[command(flatten)]
    common: Common,
}

/// Make a key and a signing request for another CA: `privkey.pem` (mode 0600) and `request.csr`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  doorward ca csr www.example.com --out ./www.example.com")]
pub(super) struct CsrArgs {
    /// Names; wildcards in quotes
    #[arg(value_name = "NAME", required_unless_present = "ip")]
    names: Vec<String>,
    /// An address, too; may be given several times
    #[arg(long, value_name = "ADDRESS")]
    ip: Vec<IpAddr>,
    /// The folder; default: one of the first name. A key that is there is never replaced
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// The answer as JSON
    #[arg(long)]
    json: bool,
}

/// Sign somebody's request with this CA, and print the certificate with its chain.
///
/// The names and the key are the request's; all else that it asks for is passed over.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  doorward ca sign request.csr --days 365 > fullchain.pem")]
pub(super) struct SignArgs {
    /// The request, PEM; - for stdin
    request: PathBuf,
    /// How long it lasts; never longer than the CA
    #[arg(long, default_value_t = 90, value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_LEAF_DAYS)))]
    days: u32,
    #[command(flatten)]
    common: Common,
}

/// Print the root's certificate, which clients have to trust; never a key.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  doorward ca export > doorward-ca.crt")]
pub(super) struct ExportArgs {
    /// The intermediate, too
    #[arg(long)]
    chain: bool,
    #[command(flatten)]
    common: Common,
}

/// Print how clients come to trust this CA. Nothing is changed on this machine.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  doorward ca trust --print")]
pub(super) struct TrustArgs {
    /// Print the commands; there is nothing else that this verb does
    #[arg(long, required = true)]
    print: bool,
    #[command(flatten)]
    common: Common,
}

pub(super) fn run(verb: &CaVerb) -> u8 {
    let (json, done) = match verb {
        CaVerb::Init(args) => (args.common.json, init(args)),
        CaVerb::Issue(args) => (args.common.json, issue(args)),
        CaVerb::Csr(args) => (args.json, csr(args)),
        CaVerb::Sign(args) => (args.common.json, sign(args)),
        CaVerb::Export(args) => (args.common.json, export_root(args)),
        CaVerb::Trust(args) => (args.common.json, trust(args)),
    };
    done.unwrap_or_else(|error| refuse(json, &error))
}

/// The CA of the storage that the config names.
fn open(common: &Common, create: bool) -> Result<LocalCa, String> {
    let file = common.daemon.config.clone().unwrap_or_else(|| CONFIG_FILE.into());
    let loaded = config::load(&file)
        .map_err(|faults| format!("the config has to say where the storage is (--config FILE):\n{faults}"))?;
    let folder = own_ca_folder(&loaded.config);
    if !create && !LocalCa::is_in(&folder) {
        return Err(format!("there is no CA in {} yet; `doorward ca init` makes one", folder.display()));
    }
    let ca = LocalCa::open_or_create(&folder).map_err(|error| error.to_string())?;
    if let (true, Some(root)) = (ca.is_new(), folder.parent()) {
        std::fs::read_dir(&folder).into_iter().flatten().flatten().for_each(|file| adopt(root, &file.path()));
    }
    Ok(ca)
}

fn init(args: &InitArgs) -> Result<u8, String> {
    let ca = open(&args.common, true)?;
    let (path, until) = (ca.certificate_path().display().to_string(), clock::date(ca.not_after()));
    if args.common.json {
        print_json(&serde_json::json!({ "root": path, "made": ca.is_new(), "not_after": ca.not_after() }));
        return Ok(DONE);
    }
    let what = if ca.is_new() { "made a CA" } else { "there is a CA already" };
    say(format_args!("{} {what}: {} (until {until})\n", styled(Style::Green, "OK,"), safe(&path)));
    say("  clients have to be told to trust it: doorward ca trust --print\n");
    Ok(DONE)
}

fn issue(args: &IssueArgs) -> Result<u8, String> {
    let names = patterns(&args.names, &args.ip)?;
    let ca = open(&args.common, true)?;
    let pair = ca.issue(&names, args.days).map_err(|error| error.to_string())?;
    let text = format!("{}{}", pair.key, pair.certificate);
    let id = args.id.clone().unwrap_or_else(|| first(&names));
    if let Some(folder) = &args.out {
        let files = export::write(folder, &id, &text)?;
        if args.common.json {
            print_json(&serde_json::json!({ "folder": folder, "files": files }));
        } else {
            let (folder, files) = (folder.display().to_string(), files.join(", "));
            say(format_args!("{} it is in {}: {files}\n", styled(Style::Green, "OK,"), safe(&folder)));
        }
        return Ok(DONE);
    }
    let from = "doorward's own CA".to_owned();
    let import = Import { id, bundle: Secret(text), from, own_ca: true, replace: args.replace, force: false };
    // The socket is the config's, or the one that is named beside it.
    hand_over(&args.common.daemon, import).map(|done| tell(args.common.json, &done))
}

fn csr(args: &CsrArgs) -> Result<u8, String> {
    let names = patterns(&args.names, &args.ip)?;
    let folder = args.out.clone().unwrap_or_else(|| PathBuf::from(format!("./{}", first(&names))));
    let (key_file, request_file) = (folder.join("privkey.pem"), folder.join("request.csr"));
    if key_file.exists() {
        return Err(format!("{} is there already and is not replaced; choose another --out", key_file.display()));
    }
    let (key, request) = signing_request(&names).map_err(|error| error.to_string())?;
    private::write(&key_file, &key)?;
    private::write_public(&request_file, &request)?;
    if args.json {
        print_json(&serde_json::json!({ "key": key_file, "request": request_file }));
        return Ok(DONE);
    }
    let (key, request) = (key_file.display().to_string(), request_file.display().to_string());
    say(format_args!("{} {} is for the CA; keep {} here\n", styled(Style::Green, "OK,"), safe(&request), safe(&key)));
    say("  with the CA's answer: doorward certs import FULLCHAIN PRIVKEY\n");
    Ok(DONE)
}

fn sign(args: &SignArgs) -> Result<u8, String> {
    let mut text = String::new();
    let read = match args.request.as_os_str() == "-" {
        true => std::io::stdin().lock().take(REQUEST).read_to_string(&mut text),
        false => std::fs::File::open(&args.request).and_then(|file| file.take(REQUEST).read_to_string(&mut text)),
    };
    read.map_err(|error| format!("{} cannot be read: {error}", args.request.display()))?;
    // Also `NEW CERTIFICATE REQUEST`, as some write it.
    if !text.contains("CERTIFICATE REQUEST-----") {
        let begin = "-----BEGIN CERTIFICATE REQUEST-----";
        return Err(format!("{} is no signing request: it should have a line {begin}", args.request.display()));
    }
    let signed = open(&args.common, false)?.sign(&text, args.days).map_err(|error| error.to_string())?;
    if args.common.json {
        print_json(&serde_json::json!({ "certificate": signed }));
    } else {
        say(signed);
    }
    Ok(DONE)
}

fn export_root(args: &ExportArgs) -> Result<u8, String> {
    let ca = open(&args.common, false)?;
    if args.common.json {
        print_json(&serde_json::json!({ "root": ca.certificate(), "intermediate": ca.intermediate() }));
        return Ok(DONE);
    }
    say(ca.certificate());
    if args.chain {
        say(ca.intermediate().unwrap_or_default());
    }
    Ok(DONE)
}

fn trust(args: &TrustArgs) -> Result<u8, String> {
    let ca = open(&args.common, false)?;
    let path = ca.certificate_path().display().to_string();
    let steps = steps(&path);
    if args.common.json {
        let steps: Vec<_> = steps
            .iter()
            .map(|(system, commands)| serde_json::json!({ "system": system, "commands": commands }))
            .collect();
        print_json(&serde_json::json!({ "root": path, "steps": steps }));
        return Ok(DONE);
    }
    say(format_args!("The root is {}; copy it to each client, and there:\n", safe(&path)));
    for (system, commands) in steps {
        say(format_args!("\n{}\n", styled(Style::Bold, system)));
        commands.iter().for_each(|command| say(format_args!("  {}\n", safe(command))));
    }
    say("\nWhoever has its keys can make certificates for any name for these clients: keep the folder private.\n");
    Ok(DONE)
}

fn steps(path: &str) -> Vec<(&'static str, Vec<String>)> {
    vec![
        (
            "Debian, Ubuntu, Alpine",
            vec![
                format!("sudo cp '{path}' /usr/local/share/ca-certificates/doorward-ca.crt"),
                "sudo update-ca-certificates".to_owned(),
            ],
        ),
        ("Fedora, RHEL, Arch", vec![format!("sudo trust anchor '{path}'")]),
        (
            "macOS",
            vec![format!(
                "sudo security add-trusted-cert -d -r trustRoot -k /Library/Keychains/System.keychain '{path}'"
            )],
        ),
        ("Windows, as administrator", vec!["certutil -addstore -f Root ca.crt".to_owned()]),
        (
            "Firefox, and Chromium on Linux, each with a store of its own",
            vec![format!("certutil -d sql:$HOME/.pki/nssdb -A -t C,, -n doorward -i '{path}'")],
        ),
        ("curl, for one request", vec![format!("curl --cacert '{path}' https://…")]),
    ]
}

fn patterns(names: &[String], addresses: &[IpAddr]) -> Result<Vec<HostPattern>, String> {
    let parse = |name: &String| HostPattern::parse(name).map_err(|error| format!("{name:?} is no name: {error}"));
    let mut patterns = names.iter().map(parse).collect::<Result<Vec<_>, _>>()?;
    patterns.extend(addresses.iter().map(|address| HostPattern::Exact(Hostname::from(*address))));
    Ok(patterns)
}

fn first(names: &[HostPattern]) -> String {
    let name = names.first().map(ToString::to_string).unwrap_or_default();
    name.strip_prefix("*.").map_or_else(|| name.clone(), |base| format!("wildcard.{base}"))
}
