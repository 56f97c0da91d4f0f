//! Medians and ratios, as Markdown.

use std::io::{self, Write};
use std::time::Duration;

use super::plan::{Plan, Purpose};
use super::{CompareError, Run};

/// The runs of one server under one workload, one for each round.
#[derive(Debug, Default)]
pub(crate) struct Cell {
    runs: Vec<Result<Run, String>>,
}

impl Cell {
    pub(crate) fn add(&mut self, outcome: Result<Run, CompareError>) {
        self.runs.push(outcome.map_err(|error| error.to_string()));
    }

    fn failure(&self) -> Option<&str> {
        self.runs
            .iter()
            .find_map(|run| run.as_ref().err())
            .map(String::as_str)
    }

    fn median(&self, figure: impl Fn(&Run) -> Option<f64>) -> Option<f64> {
        median(self.runs.iter().flatten().filter_map(figure).collect())
    }

    /// Median over the rounds of this rate against that of `first` in the same round.
    fn ratio(&self, first: &Self) -> Option<f64> {
        let pairs = self.runs.iter().zip(&first.runs);
        let ratios = pairs.filter_map(|(this, first)| {
            let (this, first) = (this.as_ref().ok()?, first.as_ref().ok()?);
            Some(this.measured.rate / first.measured.rate)
        });
        median(ratios.collect())
    }
}

/// Writes one table of rates and one of processor time, or one of verdicts.
pub(crate) fn write(
    out: &mut dyn Write,
    servers: &[&str],
    rows: &[(&Plan, Vec<Cell>)],
    purpose: Purpose,
) -> io::Result<()> {
    if purpose == Purpose::Verify {
        return section(out, "verified", servers, rows, |_, cell, _| {
            cell.failure().unwrap_or("right").to_owned()
        });
    }
    section(out, "frames per second", servers, rows, rate)?;
    writeln!(out)?;
    section(out, "server ns per frame", servers, rows, |_, cell, _| {
        let nanos = cell.median(|run| run.cpu_nanos);
        nanos.map_or_else(|| "-".to_owned(), |nanos| format!("{nanos:.0}"))
    })
}

fn section(
    out: &mut dyn Write,
    heading: &str,
    servers: &[&str],
    rows: &[(&Plan, Vec<Cell>)],
    text: impl Fn(&Plan, &Cell, &Cell) -> String,
) -> io::Result<()> {
    writeln!(out, "| {heading} | {} |", servers.join(" | "))?;
    writeln!(out, "|---|{}", "---|".repeat(servers.len()))?;
    for (plan, cells) in rows {
        write!(out, "| {} |", plan.describe())?;
        for (cell, first) in cells.iter().zip(std::iter::repeat(cells.first())) {
            write!(out, " {} |", text(plan, cell, first.unwrap_or(cell)))?;
        }
        writeln!(out)?;
    }
    Ok(())
}

fn rate(plan: &Plan, cell: &Cell, first: &Cell) -> String {
    if let Some(failure) = cell.failure() {
        return format!("failed: {failure}");
    }
    let figure = if plan.is_bulk() {
        cell.median(|run| Some(run.measured.megabytes))
            .map(|megabytes| format!("{:.2} GB/s", megabytes / 1e3))
    } else {
        cell.median(|run| Some(run.measured.rate)).map(short)
    };
    let mut text = figure.unwrap_or_default();
    if let Some(ratio) = cell.ratio(first).filter(|_| !std::ptr::eq(cell, first)) {
        text.push_str(&format!(" ({ratio:.2})"));
    }
    let micros = |latency: Duration| latency.as_secs_f64() * 1e6;
    let p50 = cell.median(|run| run.measured.p50.map(micros));
    let p99 = cell.median(|run| run.measured.p99.map(micros));
    if let (Some(p50), Some(p99)) = (p50, p99) {
        text.push_str(&format!(", p50 {p50:.0} us, p99 {p99:.0} us"));
    }
    text
}

/// Three digits and a unit.
fn short(rate: f64) -> String {
    let (value, unit) = match rate {
        rate if rate >= 1e6 => (rate / 1e6, " M"),
        rate if rate >= 1e3 => (rate / 1e3, " k"),
        rate => (rate, ""),
    };
    let decimals = match value {
        value if value < 10.0 => 2,
        value if value < 100.0 => 1,
        _ => 0,
    };
    format!("{value:.decimals$}{unit}")
}

fn median(mut figures: Vec<f64>) -> Option<f64> {
    figures.sort_unstable_by(f64::total_cmp);
    let upper = figures.get(figures.len() / 2)?;
    let lower = figures.get((figures.len() - 1) / 2)?;
    Some(f64::midpoint(*lower, *upper))
}

#[cfg(test)]
mod tests {
    use super::{Cell, median, short};
    use crate::compare::{CompareError, Run};

    fn cell(rates: &[f64]) -> Cell {
        let mut cell = Cell::default();
        for rate in rates {
            let line = format!("rate={rate} MB/s=1 total=1");
            let measured = line.parse().unwrap();
            cell.add(Ok(Run {
                measured,
                cpu_nanos: None,
            }));
        }
        cell
    }

    #[test]
    fn the_median_of_an_even_number_lies_between_the_middle_two() {
        assert_eq!(median(vec![]), None);
        assert_eq!(median(vec![3.0, 1.0, 9.0]), Some(3.0));
        assert_eq!(median(vec![4.0, 1.0, 2.0, 9.0]), Some(3.0));
    }

    #[test]
    fn a_ratio_compares_within_rounds() {
        let first = cell(&[100.0, 10.0, 1.0]);
        let twice = cell(&[200.0, 20.0, 2.0]);
        assert_eq!(twice.ratio(&first), Some(2.0));
    }

    #[test]
    fn a_round_that_failed_is_not_compared() {
        let mut failing = cell(&[50.0]);
        failing.add(Err(CompareError::NotReady { seconds: 1 }));
        assert_eq!(failing.ratio(&cell(&[100.0, 1.0])), Some(0.5));
        assert!(failing.failure().is_some());
    }

    #[test]
    fn rates_have_three_digits() {
        let rates = [9_876_543.0, 98_765_432.0, 123_456.0, 999.0].map(short);
        assert_eq!(rates, ["9.88 M", "98.8 M", "123 k", "999"]);
    }
}
