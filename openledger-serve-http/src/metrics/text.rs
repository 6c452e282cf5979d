//! The text form of Prometheus, version 0.0.4.

use std::{
    fmt::{Display, Write},
    sync::atomic::Ordering,
};

use openledger_serve::Stats;

use super::{Metrics, lock};

/// Tokens of a page of the engine's cache.
const PAGE: usize = 16;
/// What routers read where adapters are not bounded in number: the largest they can.
const UNBOUNDED: i32 = i32::MAX;

impl Metrics {
    /// Writes all of it; `now` in seconds since 1970.
    pub(crate) fn text(&self, stats: Option<Stats>, model: &str, now: u64) -> String {
        let mut out = String::new();
        let under_way = lock(&self.under_way).clone();
        let names = |which: usize| {
            let adapters = under_way.iter().filter(|(_, counts)| counts[which] > 0);
            label(&adapters.filter_map(|(name, _)| name.as_deref()).collect::<Vec<_>>().join(","))
        };
        let counted = |which: usize| under_way.values().map(|counts| counts[which]).sum::<usize>();
        let all = counted(0) + counted(1);
        // The engine knows which of them it has begun; a prompt that is read is no longer queued.
        let running = stats.as_ref().map_or_else(|| counted(1), |stats| stats.running.min(all));
        let model = label(model);
        let of_model = format!("{{model_name=\"{model}\"}}");
        gauge(
            &mut out,
            "vllm:num_requests_running",
            "Answers that are written.",
            &of_model,
            running,
        );
        gauge(
            &mut out,
            "vllm:num_requests_waiting",
            "Requests that wait in the queue.",
            &of_model,
            all - running,
        );
        let labels = format!(
            "{{max_lora=\"{UNBOUNDED}\",running_lora_adapters=\"{}\",waiting_lora_adapters=\"{}\"}}",
            names(1),
            names(0)
        );
        gauge(
            &mut out,
            "vllm:lora_requests_info",
            "Adapters in use; the value is the time.",
            &labels,
            now,
        );
        if let Some(stats) = stats {
            let help = "Part of the cache that is held, 0 to 1.";
            let usage = stats.pages_used as f64 / stats.pages_total.max(1) as f64;
            for name in ["vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc"] {
                gauge(&mut out, name, help, &of_model, usage);
            }
            let pages = stats.pages_total;
            let labels = format!("{{block_size=\"{PAGE}\",num_gpu_blocks=\"{pages}\"}}");
            gauge(&mut out, "vllm:cache_config_info", "Tokens of a page, and pages.", &labels, 1);
        }
        head(&mut out, "openledger_requests_total", "Requests by route and status.", "counter");
        for ((route, status), count) in &*lock(&self.requests) {
            let labels = format!("{{route=\"{route}\",status=\"{status}\"}}");
            let _ = writeln!(out, "openledger_requests_total{labels} {count}");
        }
        for (name, help, counter) in [
            ("openledger_prompt_tokens_total", "Tokens read.", &self.tokens_in),
            (
                "openledger_cached_tokens_total",
                "Tokens read that a cache held.",
                &self.tokens_cached,
            ),
            ("openledger_generated_tokens_total", "Tokens written.", &self.tokens_out),
            (
                "openledger_abandoned_total",
                "Answers that did not come to their end.",
                &self.abandoned,
            ),
            ("openledger_adapters_loaded_total", "Adapters loaded.", &self.adapters_loaded),
            (
                "openledger_adapters_refused_total",
                "Adapters that could not be loaded.",
                &self.adapters_refused,
            ),
        ] {
            head(&mut out, name, help, "counter");
            let _ = writeln!(out, "{name} {}", counter.load(Ordering::Relaxed));
        }
        for (name, help, histogram) in [
            (
                "openledger_time_to_first_token_seconds",
                "From request to first token.",
                &self.first_token,
            ),
            ("openledger_answer_seconds", "From request to the end of the answer.", &self.answer),
        ] {
            head(&mut out, name, help, "histogram");
            histogram.write(&mut out, name);
        }
        out
    }
}

fn head(out: &mut String, name: &str, help: &str, kind: &str) {
    let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

fn gauge(out: &mut String, name: &str, help: &str, labels: &str, value: impl Display) {
    head(out, name, help, "gauge");
    let _ = writeln!(out, "{name}{labels} {value}");
}

/// A text within the quotes of a label.
fn label(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::metrics::{Flight, MAX_NAMES};

    #[test]
    fn routers_find_who_waits_and_who_runs() {
        let metrics = Arc::new(Metrics::default());
        let mut runs = Flight::new(&metrics, Some("law"));
        runs.token();
        let waits = Flight::new(&metrics, Some("tax"));
        let base = Flight::new(&metrics, None);
        let mut stats = Stats::default();
        (stats.pages_used, stats.pages_total) = (100, 400);
        // It reads another's prompt already.
        stats.running = 2;
        let text = metrics.text(Some(stats), "a\"b", 1700);
        for line in [
            "vllm:num_requests_running{model_name=\"a\\\"b\"} 2",
            "vllm:num_requests_waiting{model_name=\"a\\\"b\"} 1",
            "vllm:lora_requests_info{max_lora=\"2147483647\",running_lora_adapters=\"law\",waiting_lora_adapters=\"tax\"} 1700",
            "vllm:kv_cache_usage_perc{model_name=\"a\\\"b\"} 0.25",
            "vllm:cache_config_info{block_size=\"16\",num_gpu_blocks=\"400\"} 1",
        ] {
            assert!(text.lines().any(|found| found == line), "{text}");
        }
        drop((runs, waits, base));
        let text = metrics.text(None, "m", 1701);
        assert!(text.contains("waiting_lora_adapters=\"\"} 1701"), "{text}");
        assert!(text.contains("openledger_abandoned_total 3"), "{text}");
        assert!(!text.contains("kv_cache"));
    }

    #[test]
    fn names_are_bounded() {
        let metrics = Arc::new(Metrics::default());
        let flights: Vec<_> =
            (0..2 * MAX_NAMES).map(|n| Flight::new(&metrics, Some(&n.to_string()))).collect();
        assert_eq!(lock(&metrics.under_way).len(), MAX_NAMES + 1);
        drop(flights);
        assert!(lock(&metrics.under_way).is_empty());
    }
}
