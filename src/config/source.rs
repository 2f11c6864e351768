//! [`Source`]: the text of one config file, and [`Place`]: a spot in it that a fault can point to.

use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::{Fault, Position};

/// One config file's text.
pub(super) struct Source {
    /// The path as it is shown.
    pub(super) path: PathBuf,
    /// The folder that relative paths in the file start from.
    pub(super) folder: PathBuf,
    /// When it was read among the others: 0 for the main file.
    pub(super) order: usize,
    text: String,
    /// The byte offset at which each line starts.
    lines: Vec<usize>,
}

/// A spot in a file, and the path of the key that stands there.
#[derive(Clone)]
pub(super) struct Place {
    pub(super) source: Rc<Source>,
    /// In bytes.
    pub(super) offset: usize,
    pub(super) key: String,
}

impl Source {
    pub(super) fn new(path: &Path, folder: &Path, order: usize, text: String) -> Self {
        let lines = std::iter::once(0).chain(memchr::memchr_iter(b'\n', text.as_bytes()).map(|at| at + 1)).collect();
        Self { path: path.to_owned(), folder: folder.to_owned(), order, text, lines }
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// The line and column of a byte offset; one beyond the text is its end.
    pub(super) fn position(&self, offset: usize) -> Position {
        position(&self.lines, &self.text, offset)
    }
}

impl Place {
    pub(super) fn fault(&self, message: impl Into<String>, remedy: impl Into<String>) -> Fault {
        Fault {
            file: self.source.path.clone(),
            position: Some(self.source.position(self.offset)),
            key: self.key.clone(),
            message: message.into(),
            remedy: remedy.into(),
        }
    }

    /// `file:line:column`, to name a second place in a message.
    pub(super) fn location(&self) -> String {
        let Position { line, column } = self.source.position(self.offset);
        format!("{}:{line}:{column}", self.source.path.display())
    }
}

fn position(lines: &[usize], text: &str, offset: usize) -> Position {
    let offset = text.floor_char_boundary(offset.min(text.len()));
    let line = lines.partition_point(|&start| start <= offset).max(1);
    let start = lines.get(line - 1).copied().unwrap_or(0);
    // Both ends are at a character's edge: a line starts after a newline, the offset was rounded down.
    let column = text.get(start..offset).map_or(0, |before| before.chars().count()) + 1;
    Position { line, column }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_count_characters_and_never_leave_the_text() {
        let source = Source::new(Path::new("x"), Path::new("."), 0, "ab\nü = 1\n\n".to_owned());
        for (offset, line, column) in [(0, 1, 1), (2, 1, 3), (3, 2, 1), (4, 2, 1), (5, 2, 2), (10, 3, 1), (99, 4, 1)] {
            assert_eq!(source.position(offset), Position { line, column }, "{offset}");
        }
        let empty = Source::new(Path::new("x"), Path::new("."), 0, String::new());
        assert_eq!(empty.position(7), Position { line: 1, column: 1 });
    }
}
