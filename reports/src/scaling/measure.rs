//! What can grow with the nodes: the figures of a size by name, each with its unit.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::Size;
use crate::format;

/// One figure of a size.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum Measure {
    /// Time of a wave of this entry until the last expected node has answered: the median.
    Wave(String),
    /// CPU time of the nodes for a wave that every node answers.
    EmulatorCpu,
    /// CPU time of all brokers for the same.
    BrokersCpu,
    /// Memory of the processes that carry nodes.
    EmulatorMemory,
    /// Memory of all brokers.
    BrokersMemory,
}

/// Unit of the values of a measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Unit {
    /// Milliseconds.
    Ms,
    /// Microseconds.
    Us,
    /// Bytes.
    Bytes,
}

/// What stands before the name of an entry.
const WAVE: &str = "wave:";

impl Measure {
    /// Those that every size has.
    const FIXED: [Self; 4] =
        [Self::EmulatorCpu, Self::BrokersCpu, Self::EmulatorMemory, Self::BrokersMemory];

    /// Those of several sizes: entries in run order, then the rest.
    pub(super) fn of_all(sizes: &[&Size]) -> Vec<Self> {
        let mut all = Vec::new();
        for wave in sizes.iter().flat_map(|size| &size.waves) {
            let measure = Self::Wave(wave.name.clone());
            if !all.contains(&measure) {
                all.push(measure);
            }
        }
        all.extend(Self::FIXED);
        all
    }

    /// Its name in files.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::Wave(name) => format!("{WAVE}{name}"),
            Self::EmulatorCpu => "emulator_cpu".to_owned(),
            Self::BrokersCpu => "brokers_cpu".to_owned(),
            Self::EmulatorMemory => "emulator_memory".to_owned(),
            Self::BrokersMemory => "brokers_memory".to_owned(),
        }
    }

    /// The figure of a size, if it has it.
    #[must_use]
    pub fn value(&self, size: &Size) -> Option<f64> {
        match self {
            Self::Wave(name) => size.waves.iter().find(|wave| wave.name == *name)?.median_ms,
            Self::EmulatorCpu => Some(size.emulator_cpu_us_per_answer? * size.nodes as f64),
            Self::BrokersCpu => Some(size.brokers_cpu_us_per_answer? * size.nodes as f64),
            Self::EmulatorMemory => size.emulator_rss_bytes.map(|bytes| bytes as f64),
            Self::BrokersMemory => size.brokers_rss_bytes.map(|bytes| bytes as f64),
        }
    }

    /// The unit of its values.
    #[must_use]
    pub fn unit(&self) -> Unit {
        match self {
            Self::Wave(_) => Unit::Ms,
            Self::EmulatorCpu | Self::BrokersCpu => Unit::Us,
            Self::EmulatorMemory | Self::BrokersMemory => Unit::Bytes,
        }
    }

    /// What it is, for a person.
    #[must_use]
    pub fn title(&self) -> String {
        match self {
            Self::Wave(name) => format!("wave {name}"),
            Self::EmulatorCpu => "CPU of a wave, nodes".to_owned(),
            Self::BrokersCpu => "CPU of a wave, brokers".to_owned(),
            Self::EmulatorMemory => "memory, nodes".to_owned(),
            Self::BrokersMemory => "memory, brokers".to_owned(),
        }
    }
}

impl Unit {
    /// A value for a person.
    #[must_use]
    pub fn show(self, value: f64) -> String {
        // The formats are made for what is there; of a law, a part can be less than nothing.
        let sign = if value < 0.0 { "-" } else { "" };
        let value = value.abs();
        let text = match self {
            Self::Ms => format::micros(value * 1e3),
            Self::Us => format::micros(value),
            Self::Bytes => format::bytes(value),
        };
        format!("{sign}{text}")
    }

    /// Its name in files.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ms => "ms",
            Self::Us => "us",
            Self::Bytes => "bytes",
        }
    }
}

/// A name that no measure has.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is no measure\nread it with the version that wrote it")]
pub struct UnknownMeasure(String);

impl FromStr for Measure {
    type Err = UnknownMeasure;

    fn from_str(text: &str) -> Result<Self, UnknownMeasure> {
        if let Some(name) = text.strip_prefix(WAVE) {
            return Ok(Self::Wave(name.to_owned()));
        }
        let found = Self::FIXED.into_iter().find(|measure| measure.name() == text);
        found.ok_or_else(|| UnknownMeasure(text.to_owned()))
    }
}

impl From<Measure> for String {
    fn from(measure: Measure) -> Self {
        measure.name()
    }
}

impl TryFrom<String> for Measure {
    type Error = UnknownMeasure;

    fn try_from(text: String) -> Result<Self, UnknownMeasure> {
        text.parse()
    }
}
