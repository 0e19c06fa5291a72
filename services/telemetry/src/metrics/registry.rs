//! Families and series.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::{Mutex, RwLock};

use super::cells::{AtomicF64, Counter, Gauge, Timer, TimerCell, TimerFigures};

/// Key-value pairs of a series, sorted by key.
pub(super) type Tags = Vec<(String, String)>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Counter,
    Gauge,
    /// Of times, in seconds.
    Timer,
    /// Of other quantities.
    Summary,
}

/// All series of the process. Cheap to clone; clones are the same registry.
#[derive(Clone)]
pub struct Registry {
    inner: Arc<Inner>,
}

pub(super) struct Inner {
    families: RwLock<BTreeMap<String, Family>>,
    global_tags: Tags,
    max_series: usize,
    window: Duration,
    collectors: Mutex<Vec<Collector>>,
}

/// Brings gauges up to date before they are read.
type Collector = Arc<dyn Fn(&Registry) + Send + Sync>;

struct Family {
    kind: Kind,
    series: HashMap<Tags, Cell, ahash::RandomState>,
}

#[derive(Clone)]
enum Cell {
    Number(Arc<AtomicF64>),
    Timer(Arc<TimerCell>),
}

/// The figures of one series.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// Sorted by key.
    pub tags: Vec<(String, String)>,
    pub value: SampleValue,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum SampleValue {
    Number(f64),
    /// Total and maximum in seconds for timers.
    Timer {
        count: u64,
        sum: f64,
        max: f64,
    },
}

/// A family as of one moment.
pub(super) struct Snapshot {
    pub(super) name: String,
    pub(super) kind: Kind,
    pub(super) samples: Vec<Sample>,
}

impl Registry {
    /// `global_tags` go on every series. A name holds at most `max_series` series: what comes beyond is counted nowhere,
    /// since its number of label values has no bound. `window`: how long the maximum of a timer is remembered.
    pub fn new(global_tags: Vec<(String, String)>, max_series: usize, window: Duration) -> Self {
        let inner =
            Inner { families: RwLock::default(), global_tags, max_series, window, collectors: Mutex::default() };
        Self { inner: Arc::new(inner) }
    }

    /// The counter of this dotted name and these tags; the same one each time.
    pub fn counter(&self, name: &str, tags: &[(&str, &str)]) -> Counter {
        Counter(self.number(name, Kind::Counter, tags))
    }

    pub fn gauge(&self, name: &str, tags: &[(&str, &str)]) -> Gauge {
        Gauge(self.number(name, Kind::Gauge, tags))
    }

    pub fn timer(&self, name: &str, tags: &[(&str, &str)]) -> Timer {
        Timer(self.timed(name, Kind::Timer, tags))
    }

    /// Like a timer, over a quantity that is not a time.
    pub fn summary(&self, name: &str, tags: &[(&str, &str)]) -> Timer {
        Timer(self.timed(name, Kind::Summary, tags))
    }

    /// Called before each reading.
    pub fn on_read(&self, collect: impl Fn(&Registry) + Send + Sync + 'static) {
        self.inner.collectors.lock().push(Arc::new(collect));
    }

    /// Dotted names of all families, sorted.
    pub fn names(&self) -> Vec<String> {
        self.collect();
        self.inner.families.read().keys().cloned().collect()
    }

    /// All series of a name; empty when there is none.
    pub fn samples(&self, name: &str) -> Vec<Sample> {
        self.snapshot_of(name).map(|snapshot| snapshot.samples).unwrap_or_default()
    }

    pub(super) fn snapshot_of(&self, name: &str) -> Option<Snapshot> {
        self.collect();
        let families = self.inner.families.read();
        families.get(name).map(|family| family.snapshot(name))
    }

    pub(super) fn snapshots(&self) -> Vec<Snapshot> {
        self.collect();
        self.inner.families.read().iter().map(|(name, family)| family.snapshot(name)).collect()
    }

    fn collect(&self) {
        let collectors = self.inner.collectors.lock().clone();
        collectors.iter().for_each(|collect| collect(self));
    }

    fn number(&self, name: &str, kind: Kind, tags: &[(&str, &str)]) -> Arc<AtomicF64> {
        match self.cell(name, kind, tags) {
            Some(Cell::Number(cell)) => cell,
            _ => Arc::default(),
        }
    }

    fn timed(&self, name: &str, kind: Kind, tags: &[(&str, &str)]) -> Arc<TimerCell> {
        match self.cell(name, kind, tags) {
            Some(Cell::Timer(cell)) => cell,
            _ => Arc::new(TimerCell::new(self.inner.window)),
        }
    }

    /// `None`: the name is taken by another kind, or full. The caller's handle then works and shows nowhere.
    fn cell(&self, name: &str, kind: Kind, tags: &[(&str, &str)]) -> Option<Cell> {
        let tags = self.tags(tags);
        if let Some(family) = self.inner.families.read().get(name) {
            if family.kind != kind {
                return None;
            }
            if let Some(cell) = family.series.get(&tags) {
                return Some(cell.clone());
            }
        }
        let mut families = self.inner.families.write();
        let family = families.entry(name.to_owned()).or_insert_with(|| Family { kind, series: HashMap::default() });
        if family.kind != kind {
            return None;
        }
        if family.series.len() >= self.inner.max_series && !family.series.contains_key(&tags) {
            return None;
        }
        let new = || match kind {
            Kind::Counter | Kind::Gauge => Cell::Number(Arc::default()),
            Kind::Timer | Kind::Summary => Cell::Timer(Arc::new(TimerCell::new(self.inner.window))),
        };
        Some(family.series.entry(tags).or_insert_with(new).clone())
    }

    fn tags(&self, tags: &[(&str, &str)]) -> Tags {
        let own = tags.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        let mut all: Tags = own.collect();
        for (key, value) in &self.inner.global_tags {
            if !all.iter().any(|(known, _)| known == key) {
                all.push((key.clone(), value.clone()));
            }
        }
        all.sort();
        all.dedup_by(|later, earlier| later.0 == earlier.0);
        all
    }
}

impl Family {
    fn snapshot(&self, name: &str) -> Snapshot {
        let now = Instant::now();
        let mut samples: Vec<Sample> =
            self.series.iter().map(|(tags, cell)| Sample { tags: tags.clone(), value: cell.value(now) }).collect();
        samples.sort_by(|a, b| a.tags.cmp(&b.tags));
        Snapshot { name: name.to_owned(), kind: self.kind, samples }
    }
}

impl Cell {
    fn value(&self, now: Instant) -> SampleValue {
        match self {
            Cell::Number(cell) => SampleValue::Number(cell.get()),
            Cell::Timer(cell) => {
                let TimerFigures { count, sum, max } = cell.figures(now);
                SampleValue::Timer { count, sum, max }
            }
        }
    }
}
