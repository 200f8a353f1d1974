//! The folder of a series: `scaling.json`, `scaling.csv` and `scaling.md`, beside one result folder for
//! each size. They are replaced after every size, so that a series that was ended keeps what it has.

use std::fs;
use std::path::{Path, PathBuf};

use super::{Law, Scaling};
use crate::render;
use crate::store::{FolderName, StoreError, replace_file};

/// Name of the file with everything.
pub const FILE_NAME: &str = "scaling.json";
/// Name of the table.
pub const CSV_FILE_NAME: &str = "scaling.csv";
/// Name of the report.
const MARKDOWN_FILE_NAME: &str = "scaling.md";

const CSV_COLUMNS: &str = "measure,unit,nodes,kind,value,expected,low,high,departure,departs";

/// A folder of a series that is being written.
#[derive(Debug)]
pub struct ScalingFolder(PathBuf);

impl ScalingFolder {
    /// Makes `<out>/<scenario>-scale-<timestamp>-<id>/`.
    ///
    /// # Errors
    /// When the folder exists, or cannot be made.
    pub fn create(out: &Path, name: &FolderName) -> Result<Self, StoreError> {
        let scenario = format!("{}-scale", name.scenario);
        let path = out.join(FolderName { scenario, ..name.clone() }.folder());
        fs::create_dir_all(out).map_err(|e| StoreError::new("make folder", out, e))?;
        fs::create_dir(&path).map_err(|e| StoreError::new("make folder", &path, e))?;
        Ok(Self(path))
    }

    /// Where it is; result folders of the sizes are made in it.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Writes what there is so far.
    ///
    /// # Errors
    /// When a file cannot be written; the one before stays.
    pub fn write(&self, scaling: &Scaling) -> Result<(), StoreError> {
        let unwritable = |e: serde_json::Error| StoreError::new("write", &self.0, e.into());
        let json = serde_json::to_string_pretty(scaling).map_err(unwritable)? + "\n";
        replace_file(&self.0, CSV_FILE_NAME, csv(scaling).as_bytes())?;
        let markdown = render::markdown::page(&render::scaling::content(scaling));
        replace_file(&self.0, MARKDOWN_FILE_NAME, markdown.as_bytes())?;
        replace_file(&self.0, FILE_NAME, json.as_bytes())
    }
}

/// One row for each figure of each size, measured or predicted; what is not known is empty.
fn csv(scaling: &Scaling) -> String {
    let rows = scaling.laws.iter().flat_map(law_rows);
    rows.fold(CSV_COLUMNS.to_owned() + "\n", |text, row| text + &row + "\n")
}

fn law_rows(law: &Law) -> Vec<String> {
    let name = crate::store::csv_text(&law.measure.name());
    let unit = law.unit.name();
    let number = |value: Option<f64>| value.map_or_else(String::new, |value| format!("{value:.6}"));
    let ends = |interval: Option<[f64; 2]>| {
        format!("{},{}", number(interval.map(|i| i[0])), number(interval.map(|i| i[1])))
    };
    let measured = law.sizes.iter().map(|size| {
        format!(
            "{name},{unit},{},measured,{},{},{},{},{}",
            size.nodes,
            number(size.measured),
            number(Some(size.expected)),
            ends(size.interval),
            number(size.departure),
            size.judged && size.departs,
        )
    });
    let predicted = law.predictions.iter().map(|size| {
        let (nodes, value) = (size.nodes, number(Some(size.value)));
        format!("{name},{unit},{nodes},predicted,,{value},{},,", ends(size.interval))
    });
    measured.chain(predicted).collect()
}
