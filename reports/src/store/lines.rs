//! Files of lines, appended to as the run goes.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::PathBuf;

use serde::Serialize;

use super::StoreError;

/// One file of lines. What is buffered is lost with the process until it is flushed.
#[derive(Debug)]
pub(super) struct LineFile {
    path: PathBuf,
    file: BufWriter<File>,
}

impl LineFile {
    pub(super) fn create(path: PathBuf) -> Result<Self, StoreError> {
        let file = File::create_new(&path).map_err(|e| StoreError::new("make", &path, e))?;
        Ok(Self { path, file: BufWriter::new(file) })
    }

    /// The same with a first line that names the columns.
    pub(super) fn create_with(path: PathBuf, columns: &str) -> Result<Self, StoreError> {
        let mut file = Self::create(path)?;
        file.line(columns)?;
        file.flush()?;
        Ok(file)
    }

    pub(super) fn line(&mut self, text: &str) -> Result<(), StoreError> {
        self.with(|file| writeln!(file, "{text}"))
    }

    /// One row of numbers, without having it in memory as text.
    pub(super) fn numbers(&mut self, values: &[u64]) -> Result<(), StoreError> {
        self.with(|file| {
            for (i, value) in values.iter().enumerate() {
                write!(file, "{}{value}", if i == 0 { "" } else { "," })?;
            }
            writeln!(file)
        })
    }

    pub(super) fn json(&mut self, value: &impl Serialize) -> Result<(), StoreError> {
        self.with(|file| {
            serde_json::to_writer(&mut *file, value)?;
            writeln!(file)
        })
    }

    pub(super) fn flush(&mut self) -> Result<(), StoreError> {
        self.with(Write::flush)
    }

    pub(super) fn with(
        &mut self,
        write: impl FnOnce(&mut BufWriter<File>) -> std::io::Result<()>,
    ) -> Result<(), StoreError> {
        write(&mut self.file).map_err(|e| StoreError::new("write", &self.path, e))
    }
}

/// A text as a CSV field (RFC 4180).
pub(crate) fn csv_text(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}
