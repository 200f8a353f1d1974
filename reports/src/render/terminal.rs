//! The report for a person at a terminal: plain text, 100 columns, colours only if asked.
//!
//! It knows no terminal: whether colours suit is the caller's to say.

use std::path::Path;

use super::content::{Content, Line, Mood, Section, Table};
use crate::summary::Summary;

/// Columns of the report.
const WIDTH: usize = 100;
const INDENT: usize = 2;

/// How the text may look.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Style {
    /// With ANSI colours.
    pub color: bool,
}

/// The report of a summary, and where its folder is.
#[must_use]
pub fn render(summary: &Summary, folder: Option<&Path>, style: Style) -> String {
    page(&Content::of(summary), folder, style)
}

/// What a report says, and where its folder is.
#[must_use]
pub fn page(content: &Content, folder: Option<&Path>, style: Style) -> String {
    let Content { headline, sections, verdict } = content;
    let mut page = Page { text: String::new(), style };
    page.wrapped(0, "1", headline);
    for section in sections {
        page.section(section);
    }
    page.text.push('\n');
    page.wrapped(0, verdict_code(verdict.mood), &verdict.text);
    if let Some(folder) = folder {
        // Paths are for copying: never broken into lines.
        page.text.push_str(&folder.display().to_string());
        page.text.push('\n');
    }
    page.text
}

struct Page {
    text: String,
    style: Style,
}

impl Page {
    fn section(&mut self, section: &Section) {
        self.text.push('\n');
        self.wrapped(0, "1", section.title);
        if let Some(table) = &section.table {
            self.table(table);
        }
        for Line { mood, text } in &section.lines {
            self.wrapped(INDENT, code(*mood), text);
        }
    }

    /// Columns as wide as their widest cell; a last column that does not fit goes on below.
    fn table(&mut self, table: &Table) {
        let widths: Vec<usize> = (0..table.columns.len())
            .map(|i| {
                let cells = table.rows.iter().filter_map(|(_, cells)| cells.get(i));
                let widest = cells.map(|cell| columns(cell)).max().unwrap_or_default();
                widest.max(columns(table.columns[i].0))
            })
            .collect();
        let titles: Vec<_> = table.columns.iter().map(|(title, _)| (*title).to_owned()).collect();
        self.row(table, &widths, &titles, "2");
        for (mood, cells) in &table.rows {
            self.row(table, &widths, cells, code(*mood));
        }
    }

    fn row(&mut self, table: &Table, widths: &[usize], cells: &[String], code: &str) {
        let mut line = String::new();
        for (i, ((cell, width), (_, numeric))) in
            cells.iter().zip(widths).zip(&table.columns).enumerate()
        {
            let pad = " ".repeat(width.saturating_sub(columns(cell)));
            line.push_str(if i == 0 { "" } else { "  " });
            line.push_str(&if *numeric { pad + cell } else { cell.clone() + &pad });
        }
        self.wrapped(INDENT, code, line.trim_end());
    }

    /// A text with its indent; what is too long goes on in further lines, two columns deeper.
    fn wrapped(&mut self, indent: usize, code: &str, text: &str) {
        for (i, line) in wrap(text, WIDTH - indent - INDENT).into_iter().enumerate() {
            let deeper = if i == 0 { indent } else { indent + INDENT };
            self.text.push_str(&" ".repeat(deeper));
            if self.style.color && !code.is_empty() {
                self.text.push_str(&format!("\x1b[{code}m{line}\x1b[0m"));
            } else {
                self.text.push_str(&line);
            }
            self.text.push('\n');
        }
    }
}

/// Lines of at most `width` columns, broken at spaces; a longer word stays whole. Spaces inside a
/// line are kept: tables are aligned by them. Line breaks in the text are kept too.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    for part in text.lines() {
        // Names come from the network: no control sequence of theirs reaches the terminal.
        let shown = |c: char| match c {
            '\t' => ' ',
            c if c.is_control() => '\u{fffd}',
            c => c,
        };
        let part: String = part.chars().map(shown).collect();
        let mut rest = part.as_str();
        while columns(rest) > width {
            let limit = rest.char_indices().nth(width).map_or(rest.len(), |(at, _)| at);
            let fits = rest[..limit].rfind(' ');
            let Some(at) = fits.or_else(|| rest.find(' ')) else { break };
            lines.push(rest[..at].trim_end().to_owned());
            rest = rest[at..].trim_start();
        }
        lines.push(rest.to_owned());
    }
    lines
}

fn columns(text: &str) -> usize {
    text.chars().count()
}

/// ANSI codes: text is never only told by its colour.
fn code(mood: Mood) -> &'static str {
    match mood {
        Mood::Plain => "",
        Mood::Good => "32",
        Mood::Warning => "33",
        Mood::Bad => "31",
    }
}

fn verdict_code(mood: Mood) -> &'static str {
    match mood {
        Mood::Plain => "1",
        Mood::Good => "1;32",
        Mood::Warning => "1;33",
        Mood::Bad => "1;31",
    }
}
