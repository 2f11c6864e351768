//! What values look like: text with `${NAME}`, durations, sizes, paths, addresses, one-of-a-set, secrets.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::IpNet;
use toml::de::DeValue;

use super::Found;
use super::reader::{Item, nearest};

impl Item<'_> {
    /// The text as it is written, for messages: what `${NAME}` stands for may be a secret.
    pub(super) fn written(&self) -> &str {
        if let DeValue::String(text) = self.value.get_ref() { text } else { "" }
    }

    /// A string, with `${NAME}` replaced by the environment variable of that name (`$${` writes `${`).
    pub(super) fn text(&self) -> Option<String> {
        let DeValue::String(written) = self.value.get_ref() else {
            return self.wrong_type("a string", "\"…\"");
        };
        let mut text = String::with_capacity(written.len());
        let mut rest: &str = written;
        let mut sound = true;
        while let Some(at) = rest.find("${") {
            if rest[..at].ends_with('$') {
                text.push_str(&rest[..at - 1]);
                text.push_str("${");
                rest = &rest[at + 2..];
                continue;
            }
            text.push_str(&rest[..at]);
            let Some((name, after)) = rest[at + 2..].split_once('}') else {
                return self.fault("a ${ has no }", "write ${NAME}, or $${ where a plain ${ is meant");
            };
            match self.variable(name) {
                Some(value) => text.push_str(&value),
                None => sound = false,
            }
            rest = after;
        }
        text.push_str(rest);
        sound.then_some(text)
    }

    fn variable(&self, name: &str) -> Option<String> {
        let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
        if name.is_empty() || !name.bytes().all(word) {
            return self.fault(
                format!("${{{name}}} names no environment variable"),
                "use letters, digits and _ only, as in ${NAME}; $${ where a plain ${ is meant",
            );
        }
        (self.reading.machine.variable)(name).or_else(|| {
            let remedy = format!("set {name} where doorward is started, or write the value itself");
            self.fault(format!("the environment variable {name} is not set"), remedy)
        })
    }

    /// A string with something in it and no control characters.
    pub(super) fn words(&self) -> Option<String> {
        let text = self.text()?;
        if text.trim().is_empty() {
            return self.fault("the text is empty", "write something, or leave the key out");
        }
        if text.chars().any(char::is_control) {
            return self.fault("the text has a control character", "remove it");
        }
        Some(text)
    }

    /// A field's name (RFC 9110 §5.1), in lower case.
    pub(super) fn field_name(&self) -> Option<String> {
        let name = self.text()?;
        if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b)) {
            return self.fault(format!("{:?} is no header's name", self.written()), "write it as in \"X-Our-Client\"");
        }
        Some(name.to_ascii_lowercase())
    }

    /// One of a fixed set of words.
    pub(super) fn choice<T: Clone>(&self, choices: &[(&str, T)]) -> Option<T> {
        let example = choices.first().map_or_else(String::new, |(word, _)| format!("\"{word}\""));
        let text = match self.value.get_ref() {
            toml::de::DeValue::String(_) => self.text()?,
            _ => return self.wrong_type("a word", &example),
        };
        if let Some((_, value)) = choices.iter().find(|(word, _)| *word == text) {
            return Some(value.clone());
        }
        let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
        let list = words.iter().map(|word| format!("\"{word}\"")).collect::<Vec<_>>().join(", ");
        let remedy = match nearest(self.written(), &words) {
            Some(near) => format!("did you mean \"{near}\"? one of: {list}"),
            None => format!("write one of: {list}"),
        };
        self.fault(format!("unknown value {:?}", self.written()), remedy)
    }

    /// A path; a relative one starts from the folder of the file that it is written in.
    pub(super) fn path(&self) -> Option<PathBuf> {
        let text = self.words()?;
        Some(normal(&self.source.folder.join(text)))
    }

    /// A path at which there has to be a folder.
    pub(super) fn folder(&self) -> Option<PathBuf> {
        let path = self.path()?;
        match (self.reading.machine.look)(&path) {
            Found::Folder | Found::Assumed => Some(path),
            Found::File => {
                self.fault(format!("{} is not a folder", path.display()), "name the folder that the file is in")
            }
            Found::Nothing => self.fault(
                format!("the folder {} does not exist, or may not be read", path.display()),
                format!("create it (mkdir -p {}), or put the path right", path.display()),
            ),
        }
    }

    /// A path at which there has to be a file.
    pub(super) fn file(&self) -> Option<PathBuf> {
        let path = self.path()?;
        match (self.reading.machine.look)(&path) {
            Found::File | Found::Assumed => Some(path),
            Found::Folder => self.fault(format!("{} is a folder", path.display()), "name a file in it"),
            Found::Nothing => self.fault(
                format!("the file {} does not exist, or may not be read", path.display()),
                "create it, or put the path right",
            ),
        }
    }

    /// A duration, as in `"10s"` or `"1h 30m"`.
    pub(super) fn duration(&self, range: RangeInclusive<Duration>) -> Option<Duration> {
        if !matches!(self.value.get_ref(), DeValue::String(_)) {
            return self.wrong_type("a duration", "\"10s\"");
        }
        let text = self.text()?;
        let Ok(value) = humantime::parse_duration(&text) else {
            return self.fault(
                format!("{:?} is not a duration", self.written()),
                "write a number and a unit, as in \"500ms\", \"10s\", \"5m\" or \"1h\"",
            );
        };
        if range.contains(&value) {
            return Some(value);
        }
        let show = humantime::format_duration;
        self.out_of_range(show(*range.start()), show(*range.end()))
    }

    /// A number of bytes: an integer, or a string with a unit, as in `"32KiB"`.
    pub(super) fn size<T: TryFrom<u64>>(&self, range: RangeInclusive<u64>) -> Option<T> {
        let value = match self.value.get_ref() {
            DeValue::Integer(_) => self.as_integer().and_then(|value| u64::try_from(value).ok()),
            DeValue::String(_) => {
                let text = self.text()?;
                let Some(size) = parse_size(&text) else {
                    return self.fault(
                        format!("{:?} is not a size", self.written()),
                        "write a number of bytes, or one with a unit, as in \"32KiB\" or \"10MiB\"",
                    );
                };
                Some(size)
            }
            _ => return self.wrong_type("a size", "\"32KiB\""),
        };
        match value.filter(|value| range.contains(value)).and_then(|value| T::try_from(value).ok()) {
            Some(value) => Some(value),
            None => self.out_of_range(show_size(*range.start()), show_size(*range.end())),
        }
    }

    /// An address to listen on: `"0.0.0.0:80"`, `"[::]:443"`, or `":443"` for `[::]:443`.
    pub(super) fn listen_address(&self) -> Option<SocketAddr> {
        const REMEDY: &str = "write an IP address and a port, as in \"[::]:443\", \"0.0.0.0:443\" or \":443\"";
        if matches!(self.value.get_ref(), DeValue::Integer(_)) {
            return self.fault("expected an address, found an integer", REMEDY);
        }
        let text = self.text()?;
        let address = match text.strip_prefix(':') {
            Some(port) if port.bytes().all(|b| b.is_ascii_digit()) => {
                port.parse().ok().map(|port| SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)))
            }
            _ => text.parse().ok(),
        };
        match address {
            Some(address) => Some(address),
            None => self.fault(format!("{:?} is not an address to listen on", self.written()), REMEDY),
        }
    }

    /// A network in CIDR form, or a single address.
    pub(super) fn network(&self) -> Option<IpNet> {
        let text = self.text()?;
        let network = text.parse().map(|net: IpNet| net.trunc()).ok();
        match network.or_else(|| text.parse().map(|address: IpAddr| address.into()).ok()) {
            Some(network) => Some(network),
            None => self.fault(
                format!("{:?} is not a network", self.written()),
                "write an address or a CIDR, as in \"10.0.0.0/8\" or \"2001:db8::/32\"",
            ),
        }
    }

    /// A secret: the text itself, `${NAME}`, or `file:/path` for the text of that file without its last newline.
    pub(super) fn secret(&self) -> Option<String> {
        let text = self.text()?;
        let secret = match text.strip_prefix("file:") {
            None => text,
            Some(path) => {
                let path = normal(&self.source.folder.join(path));
                match (self.reading.machine.secret)(&path) {
                    Ok(text) => {
                        self.reading.secrets.borrow_mut().push(path);
                        text.trim_end_matches(['\r', '\n']).to_owned()
                    }
                    Err(error) => {
                        let message = format!("the secret's file {} cannot be read: {error}", path.display());
                        return self.fault(message, "create it, readable for the user that doorward runs as");
                    }
                }
            }
        };
        if secret.is_empty() {
            return self.fault("the secret is empty", "write it as text, as ${NAME} or as file:/path");
        }
        Some(secret)
    }
}

/// The path without its `.` parts; `..` stays, as it means something else behind a symlink.
pub(super) fn normal(path: &Path) -> PathBuf {
    path.components().collect()
}

const UNITS: [(&str, u64); 10] = [
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("KB", 1000),
    ("kB", 1000),
    ("kiB", 1 << 10),
    ("B", 1),
    ("", 1),
];

fn parse_size(text: &str) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let (_, factor) = UNITS.iter().find(|(name, _)| *name == unit.trim_start())?;
    number.parse::<u64>().ok()?.checked_mul(*factor)
}

/// The size in the largest binary unit that shows it exactly.
pub(super) fn show_size(size: u64) -> String {
    let exact = |(_, factor): &&(&str, u64)| size > 0 && size.is_multiple_of(*factor);
    UNITS[..3].iter().find(exact).map_or_else(|| size.to_string(), |(unit, factor)| format!("{}{unit}", size / factor))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_they_are_shown() {
        for size in [0, 1, 1000, 1024, 1536, 32 << 10, 5 << 20, (1 << 30) + 1, 7 << 30] {
            assert_eq!(parse_size(&show_size(size)), Some(size));
        }
        assert_eq!(parse_size("10 MB"), Some(10_000_000));
        for bad in ["", "KiB", "-1", "1.5MiB", "1 TiB", "18446744073709551615KiB", "1KiB "] {
            assert_eq!(parse_size(bad), None, "{bad:?}");
        }
    }
}
