//! `summary.md`: the report as GitHub-flavoured Markdown, for job summaries and merge requests.

use super::content::{Content, Mood, Section, Table};
use crate::summary::Summary;

/// The report of a summary.
#[must_use]
pub fn render(summary: &Summary) -> String {
    page(&Content::of(summary))
}

/// What a report says.
#[must_use]
pub fn page(content: &Content) -> String {
    let Content { headline, sections, verdict } = content;
    let mut text = format!("## {}\n\n**{}**\n", escaped(headline), escaped(&verdict.text));
    for section in sections {
        push_section(&mut text, section);
    }
    text
}

fn push_section(text: &mut String, section: &Section) {
    text.push_str(&format!("\n### {}\n\n", section.title));
    if let Some(table) = &section.table {
        push_table(text, table);
        if !section.lines.is_empty() {
            text.push('\n');
        }
    }
    for line in &section.lines {
        text.push_str(&format!("- {}\n", escaped(&line.text)));
    }
}

fn push_table(text: &mut String, table: &Table) {
    let titles: Vec<_> = table.columns.iter().map(|(title, _)| (*title).to_owned()).collect();
    let rules = table.columns.iter().map(|(_, numeric)| if *numeric { "---:" } else { "---" });
    push_row(text, &titles);
    push_row(text, &rules.map(str::to_owned).collect::<Vec<_>>());
    for (mood, cells) in &table.rows {
        let cells = cells.iter().map(|cell| escaped(cell));
        let cells: Vec<_> = match mood {
            Mood::Bad => cells.map(|cell| format!("**{cell}**")).collect(),
            _ => cells.collect(),
        };
        push_row(text, &cells);
    }
}

fn push_row(text: &mut String, cells: &[String]) {
    text.push_str(&format!("| {} |\n", cells.join(" | ")));
}

/// Names and messages are text, never markup: neither a table's border nor HTML.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '|' | '*' | '_' | '`' | '~' | '[' | ']' | '\\' | '#' => {
                safe.push('\\');
                safe.push(c);
            }
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '\n' => safe.push_str("<br>"),
            c => safe.push(c),
        }
    }
    safe
}
