//! What the command line says to whoever typed it: answers on stdout, complaints on stderr.

use std::fmt;
use std::io::{self, IsTerminal as _, Write as _};

/// How a piece of text stands out on a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    /// As it is.
    Plain,
    /// What matters.
    Bold,
    /// What may be overlooked.
    Dim,
    /// Well.
    Green,
    /// Take care.
    Yellow,
    /// Failed.
    Red,
}

/// Writes to stdout. A reader that went away (`| head`) is no error.
pub(super) fn say(text: impl fmt::Display) {
    let _ = write!(io::stdout().lock(), "{text}");
}

/// Writes `doorward: …` and a line's end to stderr.
pub(super) fn complain(text: impl fmt::Display) {
    let _ = writeln!(io::stderr().lock(), "doorward: {text}");
}

/// `text` in `style` where stdout is a terminal that wants colours.
#[must_use]
pub(super) fn styled(style: Style, text: &str) -> String {
    paint(io::stdout().is_terminal() && wants_colour(), style, text)
}

/// Whether the environment leaves colours on (<https://no-color.org>).
#[must_use]
pub(super) fn wants_colour() -> bool {
    let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    !set("NO_COLOR") && std::env::var_os("TERM").is_none_or(|terminal| terminal != "dumb")
}

/// `text` in `style` where `colour` says so.
#[must_use]
pub(super) fn paint(colour: bool, style: Style, text: &str) -> String {
    let code = match style {
        Style::Plain => return text.to_owned(),
        Style::Bold => 1,
        Style::Dim => 2,
        Style::Green => 32,
        Style::Yellow => 33,
        Style::Red => 31,
    };
    if colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
}

/// `text` with control characters, which a terminal would obey, as escapes.
#[must_use]
pub(super) fn safe(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() { out.extend(c.escape_default()) } else { out.push(c) }
    }
    out
}
