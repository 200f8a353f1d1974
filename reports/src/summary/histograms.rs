//! Whole distributions as `summary.json` has them: texts.

use serde::{Deserialize, Serialize};

use crate::latency::{HistogramTextError, Latency};
use crate::wave::WaveResult;

/// Distributions in microseconds: base64 of HdrHistogram V2 in deflate form.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HistogramTexts {
    /// Intended instant to reply.
    pub response_time: String,
    /// Sending to reply.
    pub service_time: String,
    /// Intended instant to sending.
    pub send_delay: String,
}

impl HistogramTexts {
    /// The distributions of one wave.
    #[must_use]
    pub fn of_wave(wave: &WaveResult) -> Self {
        Self::of([&wave.response_time, &wave.service_time, &wave.send_delay])
    }

    pub(super) fn of(latencies: [&Latency; 3]) -> Self {
        let [response_time, service_time, send_delay] = latencies.map(Latency::to_base64);
        Self { response_time, service_time, send_delay }
    }

    /// How many bytes the texts have.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let Self { response_time, service_time, send_delay } = self;
        response_time.len() + service_time.len() + send_delay.len()
    }

    /// The response times.
    ///
    /// # Errors
    /// When the text is no histogram.
    pub fn response_time(&self) -> Result<Latency, HistogramTextError> {
        Latency::from_base64(&self.response_time)
    }

    /// The service times.
    ///
    /// # Errors
    /// When the text is no histogram.
    pub fn service_time(&self) -> Result<Latency, HistogramTextError> {
        Latency::from_base64(&self.service_time)
    }

    /// The send delays.
    ///
    /// # Errors
    /// When the text is no histogram.
    pub fn send_delay(&self) -> Result<Latency, HistogramTextError> {
        Latency::from_base64(&self.send_delay)
    }
}
