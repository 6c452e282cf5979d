//! How long things took.

use std::{
    fmt::Write,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// Upper bounds in milliseconds; the last is none.
const BOUNDS: [u64; 14] =
    [5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000, 30_000, 60_000, 300_000];

/// Durations in buckets.
#[derive(Debug, Default)]
pub(super) struct Histogram {
    /// Those within each bound and beyond the one before.
    buckets: [AtomicU64; BOUNDS.len()],
    beyond: AtomicU64,
    microseconds: AtomicU64,
}

impl Histogram {
    pub(super) fn record(&self, time: Duration) {
        let bucket = BOUNDS.iter().position(|&bound| time <= Duration::from_millis(bound));
        let bucket = bucket.map_or(&self.beyond, |bucket| &self.buckets[bucket]);
        bucket.fetch_add(1, Ordering::Relaxed);
        let microseconds = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        self.microseconds.fetch_add(microseconds, Ordering::Relaxed);
    }

    pub(super) fn write(&self, out: &mut String, name: &str) {
        let mut sum = 0;
        for (bound, bucket) in BOUNDS.iter().zip(&self.buckets) {
            sum += bucket.load(Ordering::Relaxed);
            let seconds = *bound as f64 / 1e3;
            let _ = writeln!(out, "{name}_bucket{{le=\"{seconds}\"}} {sum}");
        }
        sum += self.beyond.load(Ordering::Relaxed);
        let seconds = self.microseconds.load(Ordering::Relaxed) as f64 / 1e6;
        let _ = writeln!(
            out,
            "{name}_bucket{{le=\"+Inf\"}} {sum}\n{name}_sum {seconds}\n{name}_count {sum}"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_add_up_to_the_count() {
        let histogram = Histogram::default();
        for millis in [1, 5, 6, 400_000] {
            histogram.record(Duration::from_millis(millis));
        }
        let mut text = String::new();
        histogram.write(&mut text, "t");
        for line in [
            "t_bucket{le=\"0.005\"} 2",
            "t_bucket{le=\"300\"} 3",
            "t_bucket{le=\"+Inf\"} 4",
            "t_sum 400.012",
            "t_count 4",
        ] {
            assert!(text.lines().any(|found| found == line), "{text}");
        }
    }
}
