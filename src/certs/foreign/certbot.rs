//! certbot: `live/NAME/{privkey,fullchain}.pem`, links into `archive`; `renewal/NAME.conf` beside it.

use std::fs;
use std::path::Path;

use super::super::directory;
use super::{ForeignError, Taken, entries, file_name, not};

pub(super) fn read(path: &Path) -> Result<Taken, ForeignError> {
    let live = if path.join("live").is_dir() { path.join("live") } else { path.to_owned() };
    let lineages = entries(&live).map_err(|error| not(path, "certbot's folder", error))?;
    let mut taken = Taken::default();
    for lineage in lineages.iter().filter(|lineage| lineage.is_dir()) {
        taken.found.extend(directory::gather(lineage).into_iter().filter(|gathered| gathered.path == *lineage));
    }
    if taken.found.is_empty() {
        return Err(not(path, "certbot's folder", "there is no NAME/privkey.pem and NAME/fullchain.pem in it"));
    }
    // What is beside `live`, where it was found at all.
    let root = live.parent().filter(|root| root.join("renewal").is_dir() || root.join("archive").is_dir());
    if let Some(root) = root {
        leave_rest(&mut taken, root);
    }
    Ok(taken)
}

fn leave_rest(taken: &mut Taken, root: &Path) {
    for lineage in entries(&root.join("archive")).unwrap_or_default() {
        let versions = entries(&lineage).unwrap_or_default();
        let versions = versions.iter().filter(|file| file_name(file).starts_with("privkey")).count();
        if versions > 1 {
            taken.leave(&lineage, &format!("{} older versions", versions - 1));
        }
    }
    for file in entries(&root.join("renewal")).unwrap_or_default() {
        let Ok(text) = fs::read_to_string(&file) else { continue };
        let value = |key: &str| {
            let mut lines = text.lines().filter_map(|line| line.split_once('='));
            lines.find(|(name, _)| name.trim() == key).map(|(_, value)| value.trim().to_owned())
        };
        let how = value("authenticator").unwrap_or_else(|| "unknown".to_owned());
        taken.leave(&file, &format!("how certbot renews it (authenticator {how}): doorward proves names by itself"));
        for hook in ["pre_hook", "post_hook", "renew_hook"] {
            if let Some(command) = value(hook) {
                taken.leave(&file, &format!("its {hook} is not run by doorward: {command}"));
            }
        }
    }
    if entries(&root.join("accounts")).is_ok_and(|accounts| !accounts.is_empty()) {
        taken.leave(&root.join("accounts"), "accounts: doorward makes its own");
    }
}
