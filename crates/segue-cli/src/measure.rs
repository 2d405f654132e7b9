//! What a step cost: seconds and peak memory of this process.

use std::time::Instant;

use serde::Serialize;

/// The cost of one named step.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct StepCost {
    /// Name of the step.
    pub(crate) name: String,
    /// Wall-clock seconds.
    pub(crate) seconds: f64,
    /// Most memory resident at once during the step, in bytes; absent where the system does not tell.
    pub(crate) peak_memory_bytes: Option<u64>,
}

/// Measures steps one after the other.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    /// Finished steps.
    pub(crate) steps: Vec<StepCost>,
}

impl Meter {
    /// Runs `step` and notes its cost, also when it fails.
    pub(crate) fn step<T>(&mut self, name: &str, step: impl FnOnce() -> T) -> T {
        reset_peak();
        let began = Instant::now();
        let out = step();
        self.steps.push(StepCost {
            name: name.to_owned(),
            seconds: (began.elapsed().as_secs_f64() * 1000.0).round() / 1000.0,
            peak_memory_bytes: peak_memory_bytes(),
        });
        out
    }
}

/// Starts a new peak where Linux lets a process do so; elsewhere the peak is that of the whole run.
pub(crate) fn reset_peak() {
    // "5" resets VmHWM (proc(5), clear_refs). Failure only makes the figure an upper bound.
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}

/// Most memory resident at once since the last reset.
pub(crate) fn peak_memory_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

/// `1.2 GB`, `34.5 MB`, for people.
pub(crate) fn bytes_for_people(bytes: u64) -> String {
    let b = bytes as f64;
    match bytes {
        0..1_000 => format!("{bytes} B"),
        1_000..1_000_000 => format!("{:.1} kB", b / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} MB", b / 1e6),
        _ => format!("{:.2} GB", b / 1e9),
    }
}

/// `12,345,678`, for people.
pub(crate) fn count_for_people(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!(count_for_people(0), "0");
        assert_eq!(count_for_people(999), "999");
        assert_eq!(count_for_people(1_234_567), "1,234,567");
        assert_eq!(bytes_for_people(999), "999 B");
        assert_eq!(bytes_for_people(34_500_000), "34.5 MB");
    }

    #[test]
    fn a_step_is_noted_with_its_time() {
        let mut meter = Meter::default();
        assert_eq!(meter.step("add", || 1 + 1), 2);
        assert_eq!(meter.steps[0].name, "add");
        assert!(meter.steps[0].seconds >= 0.0);
    }
}
