//! The families of [`crate::metrics`], registered and rendered with the `prometheus` crate.
//!
//! Label sets are bounded: a family takes at most `SERIES_MAX` series, more are counted into the label value `other`.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use prometheus::{CounterVec, Encoder, GaugeVec, HistogramOpts, HistogramVec, Opts, Registry, TextEncoder};

use crate::metrics::{ALL, BUILD_INFO, Family, Kind};

/// Series a family may have.
const SERIES_MAX: usize = 1_000;

enum Series {
    Counter(CounterVec),
    Gauge(GaugeVec),
    Histogram(HistogramVec),
}

struct Registered {
    series: Series,
    seen: Mutex<HashSet<Vec<String>>>,
}

struct Inner {
    registry: Registry,
    families: HashMap<&'static str, Registered>,
}

/// All metrics of this process. Clones share them.
#[derive(Clone)]
pub struct Metrics(Arc<Inner>);

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Metrics({} families)", self.0.families.len())
    }
}

impl Metrics {
    /// Registers every family of the contract, and the process's own (memory, CPU, file handles).
    ///
    /// # Errors
    /// When the contract itself is wrong (a name that stands twice).
    pub fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let mut families = HashMap::new();
        for family in ALL {
            let series = register(&registry, family)?;
            families.insert(family.name, Registered { series, seen: Mutex::new(HashSet::new()) });
        }
        registry.register(Box::new(prometheus::process_collector::ProcessCollector::for_self()))?;
        let metrics = Self(Arc::new(Inner { registry, families }));
        metrics.set(&BUILD_INFO, &[env!("CARGO_PKG_VERSION")], 1.0);
        Ok(metrics)
    }

    /// Adds to a counter.
    pub fn add(&self, family: &Family, labels: &[&str], count: u64) {
        self.with(family, labels, |series, labels| {
            if let Series::Counter(counter) = series
                && let Ok(counter) = counter.get_metric_with_label_values(labels)
            {
                #[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^52")]
                counter.inc_by(count as f64);
            }
        });
    }

    /// Sets a gauge.
    pub fn set(&self, family: &Family, labels: &[&str], value: f64) {
        self.with(family, labels, |series, labels| {
            if let Series::Gauge(gauge) = series
                && let Ok(gauge) = gauge.get_metric_with_label_values(labels)
            {
                gauge.set(value);
            }
        });
    }

    /// Puts a value into a histogram.
    pub fn observe(&self, family: &Family, labels: &[&str], value: f64) {
        self.with(family, labels, |series, labels| {
            if let Series::Histogram(histogram) = series
                && let Ok(histogram) = histogram.get_metric_with_label_values(labels)
            {
                histogram.observe(value);
            }
        });
    }

    /// Takes a series out of a gauge, and makes room for another: the partition is not ours any more.
    pub fn forget(&self, family: &Family, labels: &[&str]) {
        let Some(registered) = self.0.families.get(family.name) else { return };
        if let Series::Gauge(gauge) = &registered.series
            && registered.seen().remove(&owned(labels))
        {
            drop(gauge.remove_label_values(labels));
        }
    }

    /// Everything in Prometheus' text format.
    #[must_use]
    pub fn render(&self) -> String {
        let mut page = Vec::new();
        if let Err(error) = TextEncoder::new().encode(&self.0.registry.gather(), &mut page) {
            tracing::error!(%error, "the metrics could not be rendered");
        }
        String::from_utf8_lossy(&page).into_owned()
    }

    fn with(&self, family: &Family, labels: &[&str], change: impl FnOnce(&Series, &[&str])) {
        let Some(registered) = self.0.families.get(family.name) else { return };
        if labels.is_empty() || registered.admits(labels) {
            change(&registered.series, labels);
        } else {
            change(&registered.series, &vec!["other"; labels.len()]);
        }
    }
}

impl Registered {
    fn seen(&self) -> MutexGuard<'_, HashSet<Vec<String>>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn admits(&self, labels: &[&str]) -> bool {
        let (mut seen, key) = (self.seen(), owned(labels));
        seen.contains(&key) || (seen.len() < SERIES_MAX && seen.insert(key))
    }
}

fn owned(labels: &[&str]) -> Vec<String> {
    labels.iter().map(|label| (*label).to_owned()).collect()
}

fn register(registry: &Registry, family: &Family) -> Result<Series, prometheus::Error> {
    let opts = Opts::new(family.name, family.help);
    Ok(match family.kind {
        Kind::Counter => {
            let counter = CounterVec::new(opts, family.labels)?;
            registry.register(Box::new(counter.clone()))?;
            Series::Counter(counter)
        }
        Kind::Gauge => {
            let gauge = GaugeVec::new(opts, family.labels)?;
            registry.register(Box::new(gauge.clone()))?;
            Series::Gauge(gauge)
        }
        Kind::Histogram(buckets) => {
            let opts = HistogramOpts::from(opts).buckets(buckets.to_vec());
            let histogram = HistogramVec::new(opts, family.labels)?;
            registry.register(Box::new(histogram.clone()))?;
            Series::Histogram(histogram)
        }
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::metrics::{DEAD_LETTERS, INFERENCE, LAG, READY};

    #[test]
    fn what_is_counted_is_rendered() {
        let metrics = Metrics::new().unwrap();
        metrics.add(&DEAD_LETTERS, &["score", "malformed"], 3);
        metrics.set(&READY, &["score"], 1.0);
        metrics.observe(&INFERENCE, &[], 0.02);
        let page = metrics.render();
        assert!(page.contains("bellwether_dead_letters_total{reason=\"malformed\",stage=\"score\"} 3"), "{page}");
        assert!(page.contains("bellwether_ready{stage=\"score\"} 1"));
        assert!(page.contains("bellwether_inference_seconds_count 1"));
        assert!(page.contains("process_resident_memory_bytes"));
    }

    #[test]
    fn a_label_set_is_bounded() {
        let metrics = Metrics::new().unwrap();
        for number in 0..SERIES_MAX + 50 {
            metrics.add(&DEAD_LETTERS, &["score", &number.to_string()], 1);
        }
        assert!(metrics.render().contains("bellwether_dead_letters_total{reason=\"other\",stage=\"other\"} 50"));
    }

    #[test]
    fn what_is_forgotten_makes_room() {
        let metrics = Metrics::new().unwrap();
        // Partitions come and go, one at a time.
        for number in 0..SERIES_MAX + 50 {
            metrics.set(&LAG, &["score", "posts", &number.to_string()], 1.0);
            metrics.forget(&LAG, &["score", "posts", &number.to_string()]);
        }
        metrics.set(&LAG, &["score", "posts", "7"], 3.0);
        let page = metrics.render();
        let lags: Vec<&str> = page.lines().filter(|line| line.starts_with(LAG.name)).collect();
        assert_eq!(lags, [r#"bellwether_consumer_lag_records{partition="7",stage="score",topic="posts"} 3"#]);
    }

    #[test]
    fn nothing_is_forgotten_for_a_series_that_never_was_or_that_counts() {
        let metrics = Metrics::new().unwrap();
        for number in 0..=SERIES_MAX {
            metrics.set(&LAG, &["score", "posts", &number.to_string()], 2.0);
        }
        metrics.forget(&LAG, &["score", "posts", &SERIES_MAX.to_string()]);
        metrics.add(&DEAD_LETTERS, &["score", "malformed"], 3);
        metrics.forget(&DEAD_LETTERS, &["score", "malformed"]);
        let page = metrics.render();
        assert_eq!(page.lines().filter(|line| line.starts_with(LAG.name)).count(), SERIES_MAX + 1);
        assert!(page.contains(r#"bellwether_consumer_lag_records{partition="other",stage="other",topic="other"} 2"#));
        assert!(page.contains(r#"bellwether_dead_letters_total{reason="malformed",stage="score"} 3"#));
    }
}
