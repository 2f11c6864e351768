//! Caddy (certmagic): `certificates/ISSUER/NAME/NAME.{crt,key,json}`; a wildcard's NAME begins with `wildcard_.`.

use std::path::Path;

use super::{ForeignError, Taken, entries, file_name, id_of, not, pair};

pub(super) fn read(path: &Path) -> Result<Taken, ForeignError> {
    let folder = if path.join("certificates").is_dir() { path.join("certificates") } else { path.to_owned() };
    let mut taken = Taken::default();
    for issuer in entries(&folder).map_err(|error| not(path, "Caddy's data folder", error))? {
        for site in entries(&issuer).unwrap_or_default() {
            let name = file_name(&site);
            let (certificate, key) = (site.join(format!("{name}.crt")), site.join(format!("{name}.key")));
            if !certificate.is_file() && !key.is_file() {
                continue;
            }
            if file_name(&issuer) == "local" {
                let why = "issued by Caddy's own CA for hours: use certificate = \"self-signed\"";
                taken.leave(&site, why);
            } else {
                taken.found.push(pair(&id_of(&name), &certificate, &key));
            }
        }
    }
    if taken.found.is_empty() && taken.left.is_empty() {
        let reason = "there is no certificates/ISSUER/NAME/NAME.crt in it";
        return Err(not(path, "Caddy's data folder", reason));
    }
    let root = folder.parent().unwrap_or(path);
    for (name, why) in [
        ("acme", "accounts and challenges: doorward makes its own"),
        ("pki", "Caddy's own CA: clients would have to trust doorward's (doorward ca trust)"),
        ("ocsp", "OCSP answers: not needed"),
    ] {
        if root.join(name).is_dir() {
            taken.leave(&root.join(name), why);
        }
    }
    Ok(taken)
}
