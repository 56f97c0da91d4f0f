//! Records what is measured.

use std::{
    collections::BTreeMap,
    mem,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use metrics::{
    Counter, CounterFn, Gauge, GaugeFn, Histogram, HistogramFn, Key, KeyName, Metadata,
    SharedString, Unit,
};

/// Keeps what came of each metric. A clone is the same.
#[derive(Clone, Default)]
pub(super) struct Recorder {
    metrics: Arc<Mutex<BTreeMap<String, Arc<Metric>>>>,
    described: Arc<Mutex<Vec<(String, Unit)>>>,
}

/// What came since it was last looked at: a difference, or the values of a histogram.
#[derive(Default)]
struct Metric {
    sum: Mutex<f64>,
    values: Mutex<Vec<f64>>,
    /// What all differences come to.
    total: Mutex<f64>,
    broken: AtomicBool,
}

impl Metric {
    fn add(&self, value: f64) {
        assert!(!self.broken.load(Ordering::Relaxed), "told to");
        *self.sum.lock().unwrap() += value;
        *self.total.lock().unwrap() += value;
    }
}

impl CounterFn for Metric {
    fn increment(&self, value: u64) {
        assert!(value > 0, "nothing is told where nothing has changed");
        self.add(value as f64);
    }

    fn absolute(&self, _: u64) {
        panic!("connections know what they add alone");
    }
}

impl GaugeFn for Metric {
    fn increment(&self, value: f64) {
        self.add(value);
    }

    fn decrement(&self, value: f64) {
        self.add(-value);
    }

    fn set(&self, _: f64) {
        panic!("connections know what they add alone");
    }
}

impl HistogramFn for Metric {
    fn record(&self, value: f64) {
        assert!(!self.broken.load(Ordering::Relaxed), "told to");
        self.values.lock().unwrap().push(value);
    }
}

impl Recorder {
    /// Is the recorder for as long as that takes.
    pub(super) fn during<T>(&self, build: impl FnOnce() -> T) -> T {
        metrics::with_local_recorder(self, build)
    }

    /// What has moved since this was last asked, and how, in the order of the names.
    pub(super) fn moved(&self) -> Vec<String> {
        let mut moved = Vec::new();
        for (name, metric) in &*self.metrics.lock().unwrap() {
            let sum = mem::take(&mut *metric.sum.lock().unwrap());
            let values = mem::take(&mut *metric.values.lock().unwrap());
            let name = name.strip_prefix("wireframe_").unwrap();
            if sum != 0.0 {
                moved.push(format!("{name} {sum:+}"));
            }
            if !values.is_empty() {
                moved.push(format!("{name} {values:?}"));
            }
        }
        moved
    }

    /// Panics at whatever it is told from now on.
    pub(super) fn break_down(&self) {
        for metric in self.metrics.lock().unwrap().values() {
            metric.broken.store(true, Ordering::Relaxed);
        }
    }

    /// What is not zero of what may fall.
    pub(super) fn standing(&self) -> Vec<String> {
        let metrics = self.metrics.lock().unwrap();
        let gauges = metrics.iter().filter(|(name, _)| !name.contains("_total"));
        let standing = gauges.filter(|(_, metric)| *metric.total.lock().unwrap() != 0.0);
        standing.map(|(name, _)| name.clone()).collect()
    }

    /// Names with their labels.
    pub(super) fn names(&self) -> Vec<String> {
        self.metrics.lock().unwrap().keys().cloned().collect()
    }

    /// Names without labels, and their units.
    pub(super) fn described(&self) -> Vec<(String, Unit)> {
        let mut described = self.described.lock().unwrap().clone();
        described.sort_by(|a, b| a.0.cmp(&b.0));
        described
    }

    fn metric(&self, key: &Key) -> Arc<Metric> {
        let labels = key
            .labels()
            .map(|l| format!("{{{}={}}}", l.key(), l.value()));
        let name = key.name().to_owned() + &labels.collect::<String>();
        let mut metrics = self.metrics.lock().unwrap();
        Arc::clone(metrics.entry(name).or_default())
    }

    fn describe(&self, name: &KeyName, unit: Option<Unit>, description: &SharedString) {
        assert!(description.ends_with('.'), "{description}");
        let described = (name.as_str().to_owned(), unit.unwrap());
        self.described.lock().unwrap().push(described);
    }
}

impl metrics::Recorder for Recorder {
    fn describe_counter(&self, name: KeyName, unit: Option<Unit>, description: SharedString) {
        self.describe(&name, unit, &description);
    }

    fn describe_gauge(&self, name: KeyName, unit: Option<Unit>, description: SharedString) {
        self.describe(&name, unit, &description);
    }

    fn describe_histogram(&self, name: KeyName, unit: Option<Unit>, description: SharedString) {
        self.describe(&name, unit, &description);
    }

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(self.metric(key))
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(self.metric(key))
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::from_arc(self.metric(key))
    }
}
