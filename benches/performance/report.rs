//! Medians, ratios, and the table they are shown in.

use std::time::Duration;

/// What is measured, in the unit it is shown in.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Value {
    /// Less is better.
    Time(Duration),
    /// Bytes in a second; more is better.
    Rate(f64),
    /// Requests answered in a second; more is better.
    Requests(f64),
    /// Bytes.
    Size(u64),
}

/// What a row should come to.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Aim {
    /// husk's value divided by the peer's is at most this.
    RatioAtMost(f64),
    /// husk's value divided by the peer's is at least this.
    RatioAtLeast(f64),
    /// A time that is not exceeded.
    TimeAtMost(Duration),
}

/// The rows measured so far.
#[derive(Debug, Default)]
pub(crate) struct Report(Vec<[String; 6]>);

impl Report {
    /// Adds what husk and the peer of this name took for the same thing; a peer without a value was not there.
    pub(crate) fn add(&mut self, what: &str, husk: Value, (name, peer): (&str, Option<Value>), aim: Option<Aim>) {
        let ratio = peer.map(|value| husk.number() / value.number());
        let shown_peer = match peer {
            Some(value) => format!("{name}: {}", value.show()),
            None => format!("{name}: not on this machine"),
        };
        self.add_row(what, husk, shown_peer, ratio, aim);
    }

    /// Adds something that has no peer.
    pub(crate) fn add_alone(&mut self, what: &str, husk: Value, aim: Option<Aim>) {
        self.add_row(what, husk, String::new(), None, aim);
    }

    fn add_row(&mut self, what: &str, husk: Value, peer: String, ratio: Option<f64>, aim: Option<Aim>) {
        let met = match (aim, ratio) {
            (None, _) => None,
            (Some(Aim::RatioAtMost(most)), ratio) => ratio.map(|ratio| ratio <= most),
            (Some(Aim::RatioAtLeast(least)), ratio) => ratio.map(|ratio| ratio >= least),
            (Some(Aim::TimeAtMost(most)), _) => Some(husk.number() <= most.as_secs_f64()),
        };
        let met = match met {
            Some(true) => "yes",
            Some(false) => "**no**",
            None => "",
        };
        self.0.push([
            what.to_owned(),
            husk.show(),
            peer,
            ratio.map(|ratio| format!("{ratio:.2}")).unwrap_or_default(),
            aim.map(Aim::show).unwrap_or_default(),
            met.to_owned(),
        ]);
    }

    /// The rows as a Markdown table.
    pub(crate) fn table(&self) -> String {
        let head = ["measure", "husk", "peer", "husk ÷ peer", "aim", "met"].map(str::to_owned);
        let widths: Vec<usize> = (0..head.len())
            .map(|column| self.0.iter().chain([&head]).map(|row| row[column].chars().count()).max().unwrap_or(0))
            .collect();
        let line = |row: &[String; 6]| {
            let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
            format!("| {} |\n", cells.collect::<Vec<_>>().join(" | "))
        };
        let rule = widths.iter().map(|width| "-".repeat(width + 2)).collect::<Vec<_>>().join("|");
        format!("{}|{rule}|\n{}", line(&head), self.0.iter().map(line).collect::<String>())
    }
}

impl Value {
    /// A time of so many seconds.
    pub(crate) fn seconds(seconds: f64) -> Self {
        Self::Time(Duration::from_secs_f64(seconds))
    }

    /// A time of so many nanoseconds.
    pub(crate) fn nanos(nanos: f64) -> Self {
        Self::seconds(nanos / 1e9)
    }

    fn number(self) -> f64 {
        match self {
            Self::Time(time) => time.as_secs_f64(),
            Self::Rate(rate) | Self::Requests(rate) => rate,
            Self::Size(bytes) => bytes as f64,
        }
    }

    fn show(self) -> String {
        match self {
            Self::Time(time) if time < Duration::from_millis(1) => format!("{:.1} µs", time.as_secs_f64() * 1e6),
            Self::Time(time) if time < Duration::from_secs(1) => format!("{:.1} ms", time.as_secs_f64() * 1e3),
            Self::Time(time) => format!("{:.2} s", time.as_secs_f64()),
            Self::Rate(rate) => format!("{:.2} GB/s", rate / 1e9),
            Self::Requests(rate) => format!("{:.1}k requests/s", rate / 1e3),
            Self::Size(_) => format!("{:.1} MB", self.number() / 1e6),
        }
    }
}

impl Aim {
    fn show(self) -> String {
        match self {
            Self::RatioAtMost(most) => format!("≤ {most} ×"),
            Self::RatioAtLeast(least) => format!("≥ {least} ×"),
            Self::TimeAtMost(most) => format!("< {}", Value::Time(most).show()),
        }
    }
}

/// Takes a sample: a run of something, and `N` numbers it gave.
pub(crate) type Sample<'a, const N: usize> = &'a mut dyn FnMut() -> anyhow::Result<[f64; N]>;

/// Medians of `count` samples of husk and of its peer, taken by turns, so that what else the machine does meets both.
pub(crate) fn medians<const N: usize>(
    count: usize,
    husk: Sample<'_, N>,
    mut peer: Option<Sample<'_, N>>,
) -> anyhow::Result<([f64; N], Option<[f64; N]>)> {
    let (mut of_husk, mut of_peer) = (Vec::with_capacity(count), Vec::with_capacity(count));
    for _ in 0..count {
        of_husk.push(husk()?);
        if let Some(peer) = &mut peer {
            of_peer.push(peer()?);
        }
    }
    let median = |samples: &[[f64; N]]| {
        std::array::from_fn(|index| quantile(&mut samples.iter().map(|sample| sample[index]).collect::<Vec<_>>(), 0.5))
    };
    Ok((median(&of_husk), peer.map(|_| median(&of_peer))))
}

/// The value below which a part `at` of the samples lies; there must be some.
pub(crate) fn quantile(samples: &mut [f64], at: f64) -> f64 {
    samples.sort_by(f64::total_cmp);
    let index = ((samples.len() - 1) as f64 * at).round() as usize;
    samples[index]
}
