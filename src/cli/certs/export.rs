//! `doorward certs export`.

use std::path::{Path, PathBuf};

use clap::Args;

use super::super::output::{Style, safe, say, styled};
use super::{Common, DONE, ask, folder_for, print_json, refuse, unexpected};
use crate::admin::certs::{Reply, Request};
use crate::certs::Bundle;
use crate::cli::{complete, private};
use crate::config::CertificateId;

/// Write a certificate with its key into a folder, as certbot lays it out; the key with mode 0600.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  doorward certs export example.com --to ./example.com")]
pub(in crate::cli) struct ExportArgs {
    /// The certificate's id, or a name that it serves
    #[arg(add = complete::ids_and_names(), value_name = "ID|NAME")]
    id: String,
    /// The folder; default: one of its name
    #[arg(long, value_name = "DIR")]
    to: Option<PathBuf>,
    #[command(flatten)]
    common: Common,
}

pub(super) fn run(args: &ExportArgs) -> u8 {
    let (id, bundle) = match ask(&args.common.daemon, Request::Export { id: args.id.clone() }) {
        Ok(Reply::Export { id, bundle }) => (id, bundle),
        Ok(_) => return unexpected(),
        Err(error) => return refuse(args.common.json, &error),
    };
    let folder = folder_for(&id, args.to.as_ref());
    match write(&folder, &id, &bundle.0) {
        Ok(files) if args.common.json => {
            print_json(&serde_json::json!({ "id": id, "folder": folder, "files": files }));
            DONE
        }
        Ok(files) => {
            let (folder, files) = (folder.display().to_string(), files.join(", "));
            say(format_args!("{} {} is in {}: {}\n", styled(Style::Green, "OK,"), safe(&id), safe(&folder), files));
            DONE
        }
        Err(error) => refuse(args.common.json, &error),
    }
}

/// `privkey.pem`, `fullchain.pem`, `cert.pem` and, where there is one, `chain.pem`.
pub(in crate::cli) fn write(folder: &Path, id: &str, text: &str) -> Result<Vec<&'static str>, String> {
    let now = super::super::clock::now();
    let bundle = Bundle::from_text(CertificateId::new(id), "the exported certificate", text.as_bytes(), now)
        .map_err(|error| error.to_string())?;
    let end = "-----END CERTIFICATE-----\n";
    let (leaf, rest) = bundle.chain().split_at(bundle.chain().find(end).map_or(0, |at| at + end.len()));
    let mut files = vec!["privkey.pem", "fullchain.pem", "cert.pem"];
    private::write(&folder.join("privkey.pem"), bundle.key())?;
    private::write_public(&folder.join("fullchain.pem"), bundle.chain())?;
    private::write_public(&folder.join("cert.pem"), leaf)?;
    if !rest.is_empty() {
        private::write_public(&folder.join("chain.pem"), rest)?;
        files.push("chain.pem");
    }
    Ok(files)
}
