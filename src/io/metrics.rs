//! The recorder behind the `metrics` facade, and its text for Prometheus.

use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};

/// Buckets in seconds for everything that takes between a millisecond and a minute.
const SECONDS: [f64; 14] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0,
];

/// Where metrics are kept.
#[derive(Clone, Debug)]
pub struct Recorder(PrometheusHandle);

impl Recorder {
    /// Installs the recorder of this process. Histograms whose name ends in `_seconds` get buckets.
    ///
    /// # Errors
    /// When another recorder is there already.
    pub fn install() -> Result<Self, BuildError> {
        let builder = PrometheusBuilder::new()
            .set_buckets_for_metric(Matcher::Suffix("_seconds".into()), &SECONDS)?;
        Ok(Self(builder.install_recorder()?))
    }

    /// The metrics in Prometheus' text format.
    #[must_use]
    pub fn render(&self) -> String {
        self.0.render()
    }

    /// Folds histogram samples; to be called every few seconds, or they pile up.
    pub fn upkeep(&self) {
        self.0.run_upkeep();
    }
}
