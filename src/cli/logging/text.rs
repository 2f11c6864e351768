//! Log lines for people: `12:03:11 INFO  listening  address=127.0.0.1:8443 protocol=https`.

use std::fmt::{self, Write as _};

use time::OffsetDateTime;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use crate::cli::output::{self, Style};

/// The format. Times are UTC.
#[derive(Debug)]
pub(super) struct Readable {
    colour: bool,
}

impl Readable {
    pub(super) fn new(colour: bool) -> Self {
        Self { colour }
    }
}

impl<S, N> FormatEvent<S, N> for Readable
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut out: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let now = OffsetDateTime::now_utc();
        let level = *event.metadata().level();
        let time = format!("{:02}:{:02}:{:02}", now.hour(), now.minute(), now.second());
        write!(out, "{} {} ", self.paint(Style::Dim, &time), self.paint(style(level), name(level)))?;
        write!(out, "{}", self.paint(if level <= Level::WARN { Style::Bold } else { Style::Plain }, &fields.message))?;
        for (at, (name, value)) in fields.others.iter().enumerate() {
            let gap = if at == 0 { "  " } else { " " };
            write!(out, "{gap}{}{value}", self.paint(Style::Dim, &format!("{name}=")))?;
        }
        writeln!(out)?;
        // Indented, so that none of these lines can pass for one of the log's own.
        fields
            .long
            .iter()
            .flat_map(|text| text.lines())
            .try_for_each(|line| writeln!(out, "    {}", output::safe(line)))
    }
}

impl Readable {
    fn paint(&self, style: Style, text: &str) -> String {
        output::paint(self.colour, style, text)
    }
}

/// An event's fields as text that a terminal shows and does not obey.
#[derive(Default)]
struct Fields {
    message: String,
    others: Vec<(&'static str, String)>,
    /// Values of several lines, which stand below.
    long: Vec<String>,
}

impl Fields {
    fn put(&mut self, field: &Field, value: String) {
        if field.name() == "message" {
            self.message = output::safe(&value);
        } else if value.contains('\n') {
            self.long.push(value);
        } else {
            let plain = !value.is_empty() && value.chars().all(|c| !c.is_control() && !c.is_whitespace() && c != '"');
            self.others.push((field.name(), if plain { value } else { format!("{value:?}") }));
        }
    }
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let mut text = String::new();
        // A Debug that fails leaves what it wrote.
        let _ = write!(text, "{value:?}");
        self.put(field, text);
    }
}

fn name(level: Level) -> &'static str {
    match level {
        Level::ERROR => "ERROR",
        Level::WARN => "WARN ",
        Level::INFO => "INFO ",
        Level::DEBUG => "DEBUG",
        Level::TRACE => "TRACE",
    }
}

fn style(level: Level) -> Style {
    match level {
        Level::ERROR => Style::Red,
        Level::WARN => Style::Yellow,
        Level::INFO => Style::Green,
        Level::DEBUG | Level::TRACE => Style::Dim,
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("unpoisoned").extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(event: impl FnOnce()) -> String {
        let kept = Kept::default();
        let writer = kept.clone();
        let layer = tracing_subscriber::fmt::layer().with_writer(move || writer.clone());
        let subscriber = tracing_subscriber::registry().with(layer.event_format(Readable::new(false)));
        tracing::subscriber::with_default(subscriber, event);
        String::from_utf8(kept.0.lock().expect("unpoisoned").clone()).expect("UTF-8")
    }

    #[test]
    fn a_line_is_time_level_message_fields() {
        let line = logged(|| tracing::warn!(address = %"127.0.0.1:443", count = 3, "watch out"));
        assert_eq!(&line[8..], " WARN  watch out  address=127.0.0.1:443 count=3\n");
        assert!(line[..8].split(':').all(|part| part.len() == 2), "{line}");
    }

    #[test]
    fn a_value_of_several_lines_stands_below() {
        let line = logged(|| tracing::error!(faults = "a.toml:1:2: b\n  remedy: \u{1b}c", count = 1, "no"));
        assert_eq!(&line[8..], " ERROR no  count=1\n    a.toml:1:2: b\n      remedy: \\u{1b}c\n");
    }

    #[test]
    fn what_came_from_outside_is_shown_and_not_obeyed() {
        let line = logged(|| tracing::info!(path = "/\u{1b}[2J", name = "a b", empty = "", "odd\u{1b}[31m\nline"));
        assert!(!line.contains('\u{1b}') && line.lines().count() == 1, "{line:?}");
        assert!(line.contains(r#"path="/\u{1b}[2J" name="a b" empty="""#), "{line}");
    }
}
