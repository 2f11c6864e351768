//! lego: `certificates/NAME.{crt,key,issuer.crt,json}`; a wildcard's NAME begins with `_.`.

use std::path::Path;

use super::{ForeignError, Taken, entries, file_name, id_of, not, pair};

pub(super) fn read(path: &Path) -> Result<Taken, ForeignError> {
    let folder = if path.join("certificates").is_dir() { path.join("certificates") } else { path.to_owned() };
    let mut taken = Taken::default();
    for file in entries(&folder).map_err(|error| not(path, "lego's folder", error))? {
        let full = file_name(&file);
        let Some(name) = full.strip_suffix(".crt").filter(|name| !name.ends_with(".issuer")) else { continue };
        let key = folder.join(format!("{name}.key"));
        if key.is_file() {
            taken.found.push(pair(&id_of(name), &file, &key));
        } else {
            taken.leave(&file, "its key is not there (lego was given a CSR)");
        }
    }
    if taken.found.is_empty() && taken.left.is_empty() {
        return Err(not(path, "lego's folder", "there is no certificates/NAME.crt in it"));
    }
    let accounts = folder.parent().unwrap_or(path).join("accounts");
    if accounts.is_dir() {
        taken.leave(&accounts, "accounts: doorward makes its own");
    }
    Ok(taken)
}
