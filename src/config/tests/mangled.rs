//! Bytes from disk, however broken, are reported and never panicked on.

use super::*;

/// Tokens that TOML and the loader care about.
const TOKENS: [&str; 24] = [
    "[",
    "]",
    "[[",
    "]]",
    "{",
    "}",
    "\"",
    "'",
    "\"\"\"",
    "=",
    ".",
    ",",
    "\n",
    "#",
    "${",
    "}",
    "file:",
    "é",
    "\u{0}",
    "1e999",
    "-",
    "[[route]]\n",
    "[listener.tls]\n",
    "99999999999999999999999999999999999999999",
];

/// Loads `seed` changed in a few random places; returns whether it was still sound.
fn mangle(seed: &str, random: &mut fastrand::Rng) -> bool {
    let mut text: Vec<char> = seed.chars().collect();
    for _ in 0..random.usize(1..6) {
        let at = random.usize(0..=text.len());
        let end = (at + random.usize(0..30)).min(text.len());
        match random.u8(0..4) {
            0 => drop(text.drain(at..end)),
            1 => drop(text.splice(at..end, TOKENS[random.usize(0..TOKENS.len())].chars())),
            2 => {
                let copy: Vec<char> = text[at..end].to_vec();
                let to = random.usize(0..=text.len());
                text.splice(to..to, copy);
            }
            _ => text.truncate(if random.u8(0..20) == 0 { at } else { text.len() }),
        }
    }
    let text: String = text.into_iter().collect();
    match parse(&text) {
        Ok(Loaded { mut config, .. }) => {
            if let Some(eab) = config.acme.as_mut().and_then(|acme| acme.issuer.eab.as_mut()) {
                eab.hmac_key = "masked".to_owned();
            }
            for solver in &mut config.dns {
                let secret = |name: &str| solver.provider.setting(name).is_some_and(|setting| setting.secret);
                let secrets: Vec<String> = solver.settings.keys().filter(|name| secret(name)).cloned().collect();
                secrets.into_iter().for_each(|name| drop(solver.settings.insert(name, "masked".to_owned())));
            }
            let shown = config.to_toml().replace("***", "masked");
            // A secret's folder is watched; the mask has none.
            config.watched = vec![config.file.parent().expect("a folder").to_owned()];
            let again = parse(&shown).unwrap_or_else(|faults| panic!("{faults}\n{shown}\n{text}")).config;
            assert_eq!(again, config, "{text}");
            true
        }
        Err(faults) => {
            assert!(!faults.faults.is_empty(), "{text}");
            assert!(faults.faults.iter().all(|fault| !fault.message.is_empty() && !fault.remedy.is_empty()), "{text}");
            assert!(serde_json::to_string(&faults).is_ok(), "{text}");
            false
        }
    }
}

#[test]
fn mangled_configs_are_reported_and_never_panic() {
    let mut random = fastrand::Rng::with_seed(7);
    let seed = FULL.replace("include = []\n", "");
    let sound = (0..3000).filter(|_| mangle(&seed, &mut random)).count();
    assert!((1..3000).contains(&sound), "some mangling is harmless, some is not: {sound}");
}
