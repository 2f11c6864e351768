//! [`Section`] and [`Item`]: a TOML document walked so that nothing in it goes unseen.
//!
//! A section hands out its keys one by one and complains about those that nobody asked for. A value that is
//! wrong is reported and read as absent: reading goes on, and the report holds every fault. As one fault is
//! enough to refuse the whole config, what is read beside a fault is never used.

use std::cell::RefCell;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::rc::Rc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::source::{Place, Source};
use super::{Fault, Faults, Machine};

/// What all files of one load share: the machine, and the report.
pub(super) struct Reading {
    pub(super) machine: Machine,
    report: RefCell<Vec<Entry>>,
    /// Files besides the config files that its values came from.
    pub(super) secrets: RefCell<Vec<PathBuf>>,
}

struct Entry {
    /// The file and the offset in it, to sort by.
    at: (usize, usize),
    warning: bool,
    fault: Fault,
}

/// A table, and which of its keys were asked for.
pub(super) struct Section<'a> {
    pub(super) reading: &'a Reading,
    source: &'a Rc<Source>,
    table: &'a DeTable<'a>,
    offset: usize,
    path: String,
    known: Vec<&'static str>,
    /// Keys that stand here and that the report has already.
    refused: Vec<&'static str>,
}

/// A value, and where it stands.
pub(super) struct Item<'a> {
    pub(super) reading: &'a Reading,
    pub(super) source: &'a Rc<Source>,
    pub(super) value: &'a Spanned<DeValue<'a>>,
    path: String,
}

impl Reading {
    pub(super) fn new(machine: Machine) -> Self {
        Self { machine, report: RefCell::default(), secrets: RefCell::default() }
    }

    pub(super) fn fault(&self, place: &Place, message: impl Into<String>, remedy: impl Into<String>) {
        self.note((place.source.order, place.offset), false, place.fault(message, remedy));
    }

    pub(super) fn warning(&self, place: &Place, message: impl Into<String>, remedy: impl Into<String>) {
        self.note((place.source.order, place.offset), true, place.fault(message, remedy));
    }

    /// Reports something that has no place in a text that could be read.
    pub(super) fn note(&self, at: (usize, usize), warning: bool, fault: Fault) {
        self.report.borrow_mut().push(Entry { at, warning, fault });
    }

    pub(super) fn fault_count(&self) -> usize {
        self.report.borrow().iter().filter(|entry| !entry.warning).count()
    }

    /// The report, in the order of the files.
    pub(super) fn finish(self) -> Faults {
        let mut entries = self.report.into_inner();
        entries.sort_by_key(|entry| entry.at);
        let (warnings, faults): (Vec<_>, Vec<_>) = entries.into_iter().partition(|entry| entry.warning);
        let strip = |entries: Vec<Entry>| entries.into_iter().map(|entry| entry.fault).collect();
        Faults { faults: strip(faults), warnings: strip(warnings) }
    }
}

impl<'a> Section<'a> {
    /// A file's root table.
    pub(super) fn root(reading: &'a Reading, source: &'a Rc<Source>, table: &'a DeTable<'a>) -> Self {
        Self { reading, source, table, offset: 0, path: String::new(), known: Vec::new(), refused: Vec::new() }
    }

    /// The value of `key`, which from now on counts as known.
    pub(super) fn item(&mut self, key: &'static str) -> Option<Item<'a>> {
        self.known.push(key);
        let value = self.table.get(key)?;
        Some(Item { reading: self.reading, source: self.source, value, path: join(&self.path, key) })
    }

    /// What `read` makes of the value of `key`; none where it is absent, or wrong and reported.
    pub(super) fn optional<T>(&mut self, key: &'static str, read: impl FnOnce(&Item<'a>) -> Option<T>) -> Option<T> {
        self.item(key).and_then(|item| read(&item))
    }

    /// As [`Section::optional`]; that it is absent is a fault. `example` shows what to write.
    pub(super) fn required<T>(
        &mut self,
        key: &'static str,
        example: &str,
        read: impl FnOnce(&Item<'a>) -> Option<T>,
    ) -> Option<T> {
        let item = self.item(key);
        if item.is_none() {
            let place = Place { key: join(&self.path, key), ..self.place() };
            self.reading.fault(&place, "the key is missing", format!("add {key} = {example}"));
        }
        item.and_then(|item| read(&item))
    }

    /// Overwrites `target`, which holds the default, with the value of `key` where one is written.
    pub(super) fn set<T>(
        &mut self,
        key: &'static str,
        target: &mut T,
        read: impl FnOnce(&Item<'a>) -> Option<T>,
    ) -> &mut Self {
        if let Some(value) = self.optional(key, read) {
            *target = value;
        }
        self
    }

    /// Where the section starts.
    pub(super) fn place(&self) -> Place {
        Place { source: self.source.clone(), offset: self.offset, key: self.path.clone() }
    }

    /// Where the value of `key` stands, or where the section starts.
    pub(super) fn place_of(&self, key: &str) -> Place {
        let offset = self.table.get(key).map_or(self.offset, |value| value.span().start);
        Place { source: self.source.clone(), offset, key: join(&self.path, key) }
    }

    /// Where the name of `key` stands, if it is written.
    pub(super) fn place_of_name(&self, key: &str) -> Option<Place> {
        let (name, _) = self.table.get_key_value(key)?;
        Some(Place { source: self.source.clone(), offset: name.span().start, key: join(&self.path, key) })
    }

    /// Reports `key` where it is written.
    pub(super) fn refuse(&mut self, key: &'static str, message: &str, remedy: &str) {
        if let Some(place) = self.place_of_name(key) {
            self.refused.push(key);
            self.reading.fault(&place, message, remedy);
        }
    }

    /// Reports every key that was not asked for.
    pub(super) fn finish(self) {
        for name in self.table.keys() {
            let key: &str = name.get_ref();
            if self.known.contains(&key) || self.refused.contains(&key) {
                continue;
            }
            let place = Place { source: self.source.clone(), offset: name.span().start, key: join(&self.path, key) };
            let remedy = match nearest(key, &self.known) {
                Some(near) => format!("did you mean {near}?"),
                None => format!("the keys here are: {}", self.known.join(", ")),
            };
            self.reading.fault(&place, "unknown key", remedy);
        }
    }
}

impl<'a> Item<'a> {
    /// Where the value stands.
    pub(super) fn place(&self) -> Place {
        Place { source: self.source.clone(), offset: self.value.span().start, key: self.path.clone() }
    }

    /// Reports a fault at the value, and reads it as absent.
    pub(super) fn fault<T>(&self, message: impl Into<String>, remedy: impl Into<String>) -> Option<T> {
        self.reading.fault(&self.place(), message, remedy);
        None
    }

    /// Reports that the value has the wrong type. `example` is what could be written after the `=`.
    pub(super) fn wrong_type<T>(&self, expected: &str, example: &str) -> Option<T> {
        let found = match self.value.get_ref() {
            DeValue::String(_) => "a string",
            DeValue::Integer(_) => "an integer",
            DeValue::Float(_) => "a float",
            DeValue::Boolean(_) => "a boolean",
            DeValue::Datetime(_) => "a date",
            DeValue::Array(_) => "a list",
            DeValue::Table(_) => "a table",
        };
        let key = self.path.rsplit('.').next().unwrap_or_default();
        let key = key.split('[').next().unwrap_or_default();
        self.fault(format!("expected {expected}, found {found}"), format!("write it as in {key} = {example}"))
    }

    pub(super) fn boolean(&self) -> Option<bool> {
        match self.value.get_ref() {
            DeValue::Boolean(value) => Some(*value),
            _ => self.wrong_type("true or false", "true"),
        }
    }

    /// The value where it is an integer that fits; says nothing where it is none.
    pub(super) fn as_integer(&self) -> Option<i128> {
        let DeValue::Integer(integer) = self.value.get_ref() else { return None };
        i128::from_str_radix(integer.as_str(), integer.radix()).ok()
    }

    /// An integer within `range`.
    pub(super) fn integer<T: TryFrom<u64>>(&self, range: RangeInclusive<u64>) -> Option<T> {
        if !matches!(self.value.get_ref(), DeValue::Integer(_)) {
            return self.wrong_type("an integer", &range.start().to_string());
        }
        let value = self.as_integer().and_then(|value| u64::try_from(value).ok());
        match value.filter(|value| range.contains(value)).and_then(|value| T::try_from(value).ok()) {
            Some(value) => Some(value),
            None => self.out_of_range(range.start(), range.end()),
        }
    }

    pub(super) fn out_of_range<T>(&self, least: impl std::fmt::Display, most: impl std::fmt::Display) -> Option<T> {
        self.fault("the value is out of range", format!("choose one from {least} to {most}"))
    }

    /// Whether the value is a list.
    pub(super) fn is_list(&self) -> bool {
        matches!(self.value.get_ref(), DeValue::Array(_))
    }

    /// Every element of a list, each read by `read`; those that are wrong are reported and left out.
    pub(super) fn list<T>(&self, example: &str, mut read: impl FnMut(&Item<'a>) -> Option<T>) -> Option<Vec<T>> {
        let DeValue::Array(array) = self.value.get_ref() else {
            return self.wrong_type("a list", &format!("[{example}]"));
        };
        let element = |(index, value)| {
            let path = format!("{}[{index}]", self.path);
            read(&Item { reading: self.reading, source: self.source, value, path })
        };
        Some(array.iter().enumerate().filter_map(element).collect())
    }

    /// As [`Item::list`], of one element at least. `what` is what they are, `instead` what could be listed.
    pub(super) fn some<T>(
        &self,
        what: &str,
        example: &str,
        instead: &str,
        read: impl FnMut(&Item<'a>) -> Option<T>,
    ) -> Option<Vec<T>> {
        if matches!(self.value.get_ref(), DeValue::Array(array) if array.is_empty()) {
            return self.fault(format!("no {what} is listed"), format!("list at least one, {instead}"));
        }
        self.list(example, read)
    }

    /// A table, `[name]` or inline.
    pub(super) fn section(&self) -> Option<Section<'a>> {
        let DeValue::Table(table) = self.value.get_ref() else {
            let written = self.path.split('[').next().unwrap_or_default();
            return match self.value.get_ref() {
                DeValue::Array(_) => self.fault("expected one table, found a list", format!("write [{written}], once")),
                _ => self.wrong_type("a table", "{ … }"),
            };
        };
        Some(Section {
            reading: self.reading,
            source: self.source,
            table,
            offset: self.value.span().start,
            path: self.path.clone(),
            known: Vec::new(),
            refused: Vec::new(),
        })
    }

    /// A list of tables, `[[name]]`.
    pub(super) fn sections(&self) -> Vec<Section<'a>> {
        if matches!(self.value.get_ref(), DeValue::Table(_)) {
            let written = &self.path;
            self.fault::<()>(
                "expected a list of tables, found one table",
                format!("write [[{written}]], in double brackets"),
            );
            return Vec::new();
        }
        self.list("{ … }", Item::section).unwrap_or_default()
    }
}

/// The candidate that the writer of `text` most likely meant.
pub(super) fn nearest<'c>(text: &str, candidates: &[&'c str]) -> Option<&'c str> {
    let text = text.to_lowercase().replace('-', "_");
    let distance = |candidate: &&str| strsim::damerau_levenshtein(&text, &candidate.replace('-', "_"));
    let best = candidates.iter().copied().min_by_key(distance)?;
    let near = distance(&best) <= 1 + best.len() / 4;
    // `listeners`, `backend_address`: one is the start of the other.
    let part = text.len() >= 4 && (best.starts_with(&text) || text.starts_with(best));
    (near || part).then_some(best)
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}
