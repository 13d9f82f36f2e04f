//! Rates and CPU time of rounds, and their lines in the table. Not here: any work to measure.

use std::time::Instant;

/// Clock ticks of `/proc` in a second: the kernel's USER_HZ, 100 on every Linux that Rust runs on.
const TICKS_PER_SECOND: f64 = 100.0;

/// Rounds of one kind of work.
pub struct Series {
    name: String,
    unit: &'static str,
    rates: Vec<f64>,
    cpu_micros: Vec<f64>,
}

impl Series {
    pub fn new(name: impl Into<String>, unit: &'static str) -> Self {
        Self { name: name.into(), unit, rates: Vec::new(), cpu_micros: Vec::new() }
    }

    /// Runs a round of `count` operations.
    pub async fn round(&mut self, count: u64, work: impl Future<Output = ()>) {
        let (began, ticks) = (Instant::now(), cpu_ticks());
        work.await;
        self.note(count, began.elapsed().as_secs_f64(), cpu_ticks() - ticks);
    }

    /// Notes a round that was measured elsewhere.
    pub fn note(&mut self, count: u64, seconds: f64, ticks: u64) {
        self.rates.push(count as f64 / seconds);
        self.cpu_micros.push(ticks as f64 / TICKS_PER_SECOND * 1e6 / count as f64);
    }

    /// The same rounds counted in another unit: `parts` of it in each operation.
    pub fn in_parts(&self, name: &str, unit: &'static str, parts: u32) -> Self {
        let parts = f64::from(parts);
        Self {
            name: name.to_owned(),
            unit,
            rates: self.rates.iter().map(|rate| rate * parts).collect(),
            cpu_micros: self.cpu_micros.iter().map(|micros| micros / parts).collect(),
        }
    }

    /// The median rate.
    pub fn rate(&self) -> f64 {
        spread(&self.rates).1
    }

    /// The median CPU time of an operation.
    pub fn cpu(&self) -> f64 {
        spread(&self.cpu_micros).1
    }

    /// Its rate as a part of another's: of each round beside the other's, which ran just before or after it
    /// on the same machine in the same mood, the median.
    pub fn rate_beside(&self, other: &Self) -> f64 {
        beside(&self.rates, &other.rates)
    }

    /// The same of CPU time.
    pub fn cpu_beside(&self, other: &Self) -> f64 {
        beside(&self.cpu_micros, &other.cpu_micros)
    }

    /// The series' line.
    pub fn print(&self) {
        let (min, median, max) = spread(&self.rates);
        let (low, middle, high) = spread(&self.cpu_micros);
        println!(
            "  {:<46} {min:>9.0} {median:>9.0} {max:>9.0} {:<13} CPU ({low:.0} {middle:.0} {high:.0})",
            self.name, self.unit
        );
    }
}

/// A heading.
pub fn heading(text: &str) {
    println!("\n{text}");
}

/// A ratio beside its goal; `at_most` says which way it goes.
pub fn goal(what: &str, ratio: f64, goal: f64, at_most: bool) {
    let met = if at_most { ratio <= goal } else { ratio >= goal };
    let (sign, verdict) = (if at_most { "<=" } else { ">=" }, if met { "met" } else { "NOT MET" });
    println!("  {what:<46} {ratio:>9.2}   goal {sign} {goal}: {verdict}");
}

/// A figure without a goal.
pub fn figure(what: &str, value: f64, unit: &str) {
    println!("  {what:<46} {value:>9.2} {unit}");
}

/// The median of the rounds' ratios.
fn beside(these: &[f64], those: &[f64]) -> f64 {
    let ratios: Vec<f64> = these.iter().zip(those).map(|(this, that)| this / that).collect();
    spread(&ratios).1
}

/// Minimum, median and maximum.
fn spread(values: &[f64]) -> (f64, f64, f64) {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    (sorted[0], sorted[sorted.len() / 2], sorted[sorted.len() - 1])
}

/// CPU time of this process so far, user and system, in clock ticks (proc(5), fields 14 and 15).
pub fn cpu_ticks() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    // The program's name is in parentheses and may hold spaces.
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

/// A number of `/proc/self/FILE`, as `write_bytes` of `io` or `VmRSS` (kilobytes) of `status`.
pub fn proc_number(file: &str, name: &str) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/self/{file}")).unwrap();
    let line = text.lines().find(|line| line.starts_with(name)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}
