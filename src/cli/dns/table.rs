//! A table for people: columns as wide as their widest cell.

use crate::cli::output::{Style, safe, styled};

/// Rows below a heading.
pub(super) struct Table {
    rows: Vec<(Style, Vec<String>)>,
}

impl Table {
    pub(super) fn new<const N: usize>(heading: [&str; N]) -> Self {
        Self { rows: vec![(Style::Dim, heading.iter().map(|cell| (*cell).to_owned()).collect())] }
    }

    pub(super) fn row<const N: usize>(&mut self, style: Style, cells: [String; N]) {
        self.rows.push((style, cells.iter().map(|cell| safe(cell)).collect()));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rows.len() == 1
    }
}

impl std::fmt::Display for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let width = |column: usize| self.rows.iter().map(|(_, cells)| cells[column].chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..self.rows[0].1.len()).map(width).collect();
        for (style, cells) in &self.rows {
            let padded: Vec<String> = cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
            writeln!(f, "{}", styled(*style, padded.join("  ").trim_end()))?;
        }
        Ok(())
    }
}
