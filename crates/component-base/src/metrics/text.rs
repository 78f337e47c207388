//! Prometheus' text format 0.0.4, and the metrics of the process itself.

use std::fmt::Write;
use std::sync::atomic::Ordering::Relaxed;

use super::{Family, Histogram, Kind, REGISTRY, Series};

/// The content type of [`render`]'s text.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8; escaping=underscores";

/// Every metric of the process as text.
pub fn render() -> String {
    let mut out = String::with_capacity(16 * 1024);
    let families: Vec<_> = REGISTRY.families.read().iter().map(|(n, f)| (n.clone(), f.clone())).collect();
    for (name, family) in families {
        write_family(&mut out, &name, &family);
    }
    process(&mut out);
    out
}

fn write_family(out: &mut String, name: &str, family: &Family) {
    let mut series: Vec<_> = family.series.read().iter().map(|(k, v)| (k.0.clone(), v.clone())).collect();
    if series.is_empty() {
        return;
    }
    series.sort_by(|a, b| a.0.cmp(&b.0));
    let kind = match family.kind {
        Kind::Counter => "counter",
        Kind::Gauge => "gauge",
        Kind::Histogram => "histogram",
    };
    let help = family.help.replace('\\', "\\\\").replace('\n', "\\n");
    let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
    for (values, one) in series {
        let labels = labels(&family.labels, &values);
        match one {
            Series::Counter(c) => drop(writeln!(out, "{name}{} {}", braces(&labels), c.value())),
            Series::Gauge(g) => drop(writeln!(out, "{name}{} {}", braces(&labels), number(g.value()))),
            Series::Histogram(h) => write_histogram(out, name, &labels, &h),
        }
    }
}

fn write_histogram(out: &mut String, name: &str, labels: &str, histogram: &Histogram) {
    let comma = if labels.is_empty() { "" } else { "," };
    let mut total = 0;
    for (at, count) in histogram.0.counts.iter().enumerate() {
        total += count.load(Relaxed);
        let bound = histogram.0.bounds.get(at).map_or_else(|| "+Inf".into(), |b| number(*b));
        let _ = writeln!(out, "{name}_bucket{{{labels}{comma}le=\"{bound}\"}} {total}");
    }
    let sum = number(f64::from_bits(histogram.0.sum.load(Relaxed)));
    let _ = writeln!(out, "{name}_sum{0} {sum}\n{name}_count{0} {total}", braces(labels));
}

fn labels(names: &[String], values: &[String]) -> String {
    let pairs = names.iter().zip(values).map(|(name, value)| {
        let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        format!("{name}=\"{value}\"")
    });
    pairs.collect::<Vec<_>>().join(",")
}

fn braces(labels: &str) -> String {
    if labels.is_empty() { String::new() } else { format!("{{{labels}}}") }
}

/// A float as Go's `%g` with the shortest digits.
fn number(value: f64) -> String {
    if value.is_infinite() {
        return if value > 0.0 { "+Inf" } else { "-Inf" }.into();
    }
    let magnitude = value.abs();
    if magnitude != 0.0 && !(1e-4..1e21).contains(&magnitude) {
        let text = format!("{value:e}");
        let Some((digits, exponent)) = text.split_once('e') else { return text };
        let (sign, exponent) = exponent.strip_prefix('-').map_or(('+', exponent), |e| ('-', e));
        return format!("{digits}e{sign}{exponent:0>2}");
    }
    format!("{value}")
}

/// CPU time and memory, as Prometheus' clients name them.
fn process(out: &mut String) {
    let Ok(usage) = nix::sys::resource::getrusage(nix::sys::resource::UsageWho::RUSAGE_SELF) else { return };
    let seconds = |t: nix::sys::time::TimeVal| t.tv_sec() as f64 + t.tv_usec() as f64 / 1e6;
    let cpu = seconds(usage.user_time()) + seconds(usage.system_time());
    let _ = writeln!(
        out,
        "# HELP process_cpu_seconds_total CPU time of the process in seconds\n# TYPE process_cpu_seconds_total counter\nprocess_cpu_seconds_total {}",
        number(cpu)
    );
    let pages = std::fs::read_to_string("/proc/self/statm").ok();
    let resident = pages.and_then(|text| text.split(' ').nth(1)?.parse::<u64>().ok()).unwrap_or(0) * 4096;
    let _ = writeln!(
        out,
        "# HELP process_resident_memory_bytes Resident memory in bytes\n# TYPE process_resident_memory_bytes gauge\nprocess_resident_memory_bytes {resident}"
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{counter, gauge, histogram};

    #[test]
    fn text_format() {
        counter("t_requests", "Requests", &[("code", "200"), ("verb", "a\"b")]).add(3);
        gauge("t_depth", "Depth", &[]).set(1.5);
        let h = histogram("t_seconds", "Seconds", &[], &[0.1, 1.0]);
        h.observe(0.1);
        h.observe(5.0);
        let text = render();
        assert!(text.contains("# TYPE t_requests counter\nt_requests{code=\"200\",verb=\"a\\\"b\"} 3\n"));
        assert!(text.contains("t_depth 1.5\n"));
        assert!(text.contains("t_seconds_bucket{le=\"0.1\"} 1\nt_seconds_bucket{le=\"1\"} 1\nt_seconds_bucket{le=\"+Inf\"} 2\nt_seconds_sum 5.1\nt_seconds_count 2\n"));
    }

    #[test]
    fn numbers_as_go_writes_them() {
        for (value, text) in [(1e-8, "1e-08"), (0.005, "0.005"), (10.0, "10"), (1e22, "1e+22"), (0.0, "0")] {
            assert_eq!(number(value), text);
        }
    }
}
