//! The figures as a table, each beside its goal.

/// What a figure should be.
#[derive(Clone, Copy)]
pub enum Goal {
    Below(f64),
    AtLeast(f64),
    Exactly(f64),
    None,
}

/// The rows so far.
#[derive(Default)]
pub struct Report {
    rows: Vec<[String; 4]>,
    figures: Vec<(String, f64)>,
}

impl Report {
    /// Adds a figure, and shows it at once: a run takes minutes.
    pub fn add(&mut self, what: impl Into<String>, figure: f64, unit: &str, goal: Goal) {
        let decimals = if figure.abs() >= 100.0 || figure.fract() == 0.0 { 0 } else { 2 };
        let measured = format!("{} {unit}", grouped(&format!("{figure:.decimals$}")));
        let (goal, met) = match goal {
            Goal::Below(most) => (format!("< {} {unit}", grouped(&most.to_string())), Some(figure < most)),
            Goal::AtLeast(least) => (format!("≥ {} {unit}", grouped(&least.to_string())), Some(figure >= least)),
            Goal::Exactly(only) => (format!("{} {unit}", grouped(&only.to_string())), Some(figure == only)),
            Goal::None => (String::new(), None),
        };
        let verdict = met.map_or("", |met| if met { "met" } else { "**missed**" });
        let row = [what.into(), measured.trim_end().to_owned(), goal.trim_end().to_owned(), verdict.to_owned()];
        eprintln!("{}: {} {}", row[0], row[1], row[3]);
        self.figures.push((row[0].clone(), figure));
        self.rows.push(row);
    }

    /// What was measured under this name before.
    pub fn figure(&self, what: &str) -> Option<f64> {
        self.figures.iter().rev().find(|(name, _)| name == what).map(|(_, figure)| *figure)
    }

    /// Percentiles of times in microseconds, as milliseconds.
    pub fn add_times(&mut self, what: &str, mut micros: Vec<u64>, goals: [Goal; 2]) {
        micros.sort_unstable();
        for (percent, goal) in [50, 99].into_iter().zip(goals) {
            self.add(format!("{what}, p{percent}"), percentile(&micros, percent) / 1000.0, "ms", goal);
        }
    }

    /// The table, in Markdown.
    pub fn table(&self) -> String {
        let mut text = "| figure | measured | goal | verdict |\n| --- | ---: | ---: | --- |\n".to_owned();
        for row in &self.rows {
            text.push_str(&format!("| {} |\n", row.join(" | ")));
        }
        text
    }
}

/// The value that so many of a hundred do not exceed.
fn percentile(sorted: &[u64], percent: usize) -> f64 {
    let at = (sorted.len() * percent).div_ceil(100).saturating_sub(1);
    sorted.get(at).copied().unwrap_or_default() as f64
}

/// `12345.6` as `12,345.6`.
fn grouped(number: &str) -> String {
    let (whole, fraction) = number.split_once('.').map_or((number, None), |(whole, part)| (whole, Some(part)));
    let mut text = String::new();
    for (at, digit) in whole.chars().enumerate() {
        if at > 0 && (whole.len() - at).is_multiple_of(3) && digit.is_ascii_digit() && !text.ends_with('-') {
            text.push(',');
        }
        text.push(digit);
    }
    fraction.map_or(text.clone(), |part| format!("{text}.{part}"))
}
