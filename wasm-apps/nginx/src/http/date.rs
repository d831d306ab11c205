//! Times, as headers and logs write them.

use std::time::{Duration, SystemTime};

/// The last second of the year 9999, after which headers have no way of writing a time.
const LAST: u64 = 253_402_300_799;

/// Seconds since 1970 as in `Date:`.
pub fn format(seconds: u64) -> String {
    httpdate::fmt_http_date(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds.min(LAST)))
}

/// The seconds since 1970 of a header's date.
pub fn parse(text: &str) -> Option<u64> {
    let time = httpdate::parse_http_date(text).ok()?;
    Some(time.duration_since(SystemTime::UNIX_EPOCH).ok()?.as_secs())
}

/// A time of UTC by its parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parts {
    /// The year.
    pub year: u64,
    /// The month, from 1.
    pub month: u64,
    /// The day of the month, from 1.
    pub day: u64,
    /// The hour.
    pub hour: u64,
    /// The minute.
    pub minute: u64,
    /// The second.
    pub second: u64,
}

const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

impl Parts {
    /// Takes seconds since 1970 apart.
    pub fn new(seconds: u64) -> Self {
        let (days, rest) = (seconds / 86_400, seconds % 86_400);
        // Days are counted from the 1st of March of the year 0, in eras of 400 years (Howard Hinnant's civil_from_days).
        let days = days + 719_468;
        let (era, day_of_era) = (days / 146_097, days % 146_097);
        let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted = (5 * day_of_year + 2) / 153;
        let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
        Self {
            year: year_of_era + era * 400 + u64::from(month <= 2),
            month,
            day: day_of_year - (153 * shifted + 2) / 5 + 1,
            hour: rest / 3_600,
            minute: rest / 60 % 60,
            second: rest % 60,
        }
    }

    fn month_name(self) -> &'static str {
        MONTHS.get((self.month - 1) as usize).copied().unwrap_or("")
    }

    /// `21/Nov/2026:06:00:00 +0000`
    pub fn local(self) -> String {
        let Self { year, day, hour, minute, second, .. } = self;
        format!("{day:02}/{}/{year}:{hour:02}:{minute:02}:{second:02} +0000", self.month_name())
    }

    /// `2026-11-21T06:00:00+00:00`
    pub fn iso(self) -> String {
        let Self { year, month, day, hour, minute, second } = self;
        format!("{year}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}+00:00")
    }

    /// `2026/11/21 06:00:00`
    pub fn error_log(self) -> String {
        let Self { year, month, day, hour, minute, second } = self;
        format!("{year}/{month:02}/{day:02} {hour:02}:{minute:02}:{second:02}")
    }

    /// `21-Nov-2026 06:00`
    pub fn listing(self) -> String {
        let Self { year, day, hour, minute, .. } = self;
        format!("{day:02}-{}-{year} {hour:02}:{minute:02}", self.month_name())
    }
}

#[cfg(test)]
mod tests {
    use super::{Parts, format, parse};

    #[test]
    fn dates_are_read_as_they_are_written() {
        assert_eq!(format(784_111_777), "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(parse("Sun, 06 Nov 1994 08:49:37 GMT"), Some(784_111_777));
        assert_eq!(parse("Sunday, 06-Nov-94 08:49:37 GMT"), Some(784_111_777));
        assert_eq!(parse("yesterday"), None);
        assert_eq!(format(u64::MAX), "Fri, 31 Dec 9999 23:59:59 GMT");
    }

    #[test]
    fn leap_days_count() {
        assert_eq!(Parts::new(0).local(), "01/Jan/1970:00:00:00 +0000");
        assert_eq!(Parts::new(951_782_400).iso(), "2000-02-29T00:00:00+00:00");
        assert_eq!(Parts::new(1_709_251_199).error_log(), "2024/02/29 23:59:59");
        assert_eq!(Parts::new(1_709_251_200).listing(), "01-Mar-2024 00:00");
    }
}
