//! Moments, to the millisecond, written as people read them: `2026-11-30T20:21:10.123Z`.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

const DAY: u64 = 86_400_000;
/// Days from the first of March of the year 0 to 1970, and in 400 years.
const TO_1970: u64 = 719_468;
const DAYS_OF_400_YEARS: u64 = 146_097;
/// The last day that is written with four digits of a year.
const LAST: u64 = 253_402_300_799_999;

/// Milliseconds since 1970, in UTC.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(u64);

impl Time {
    /// This moment.
    pub fn now() -> Time {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Time::of_millis(u64::try_from(since.as_millis()).unwrap_or(LAST))
    }

    /// So many milliseconds after the beginning of 1970.
    pub fn of_millis(millis: u64) -> Time {
        Time(millis.min(LAST))
    }

    /// Milliseconds since the beginning of 1970.
    pub fn millis(self) -> u64 {
        self.0
    }

    /// Year, month and day.
    fn date(self) -> (u64, u64, u64) {
        // A year that begins in March has its leap day at its end: every month but that one has a fixed place.
        let days = self.0 / DAY + TO_1970;
        let (era, day) = (days / DAYS_OF_400_YEARS, days % DAYS_OF_400_YEARS);
        let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
        let day = day - (365 * year + year / 4 - year / 100);
        let month = (5 * day + 2) / 153;
        let date = day - (153 * month + 2) / 5 + 1;
        let (month, next) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
        (era * 400 + year + next, month, date)
    }

    /// `2026-11-30`
    pub fn day(self) -> String {
        let (year, month, day) = self.date();
        format!("{year:04}-{month:02}-{day:02}")
    }

    /// `2026-11-30 20:21`, in UTC.
    pub fn minute(self) -> String {
        let minutes = self.0 % DAY / 60_000;
        format!("{} {:02}:{:02}", self.day(), minutes / 60, minutes % 60)
    }

    /// A moment as it is written.
    pub fn parse(text: &str) -> Option<Time> {
        let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
        let numbers = |text: &str, by: char| -> Option<Vec<u64>> {
            text.split(by).map(|part| part.bytes().all(|at| at.is_ascii_digit()).then(|| part.parse().ok())?).collect()
        };
        let (clock, millis) = time.split_once('.').unwrap_or((time, "0"));
        let ([year, month, day], [hour, minute, second]) =
            (<[u64; 3]>::try_from(numbers(date, '-')?).ok()?, <[u64; 3]>::try_from(numbers(clock, ':')?).ok()?);
        let millis = numbers(&format!("{millis:0<3}"), '.').filter(|_| millis.len() <= 3)?;
        let possible = (1970..10_000).contains(&year) && (1..=12).contains(&month) && (1..=31).contains(&day);
        if !possible || hour > 23 || minute > 59 || second > 60 {
            return None;
        }
        let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
        let (era, year) = (year / 400, year % 400);
        let days = era * DAYS_OF_400_YEARS + year * 365 + year / 4 - year / 100 + (153 * month + 2) / 5 + day - 1;
        let seconds = (hour * 60 + minute) * 60 + second;
        Some(Time::of_millis((days.checked_sub(TO_1970)?) * DAY + seconds * 1000 + millis.first()?))
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rest = self.0 % DAY;
        let (hour, minute) = (rest / 3_600_000, rest / 60_000 % 60);
        write!(f, "{}T{hour:02}:{minute:02}:{:02}.{:03}Z", self.day(), rest / 1000 % 60, rest % 1000)
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Time, D::Error> {
        let text = String::deserialize(deserializer)?;
        Time::parse(&text).ok_or_else(|| de::Error::custom("a moment like 2026-11-30T20:21:10.123Z is expected"))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn moments_are_written_as_people_read_them() {
        let written = |millis| Time::of_millis(millis).to_string();
        assert_eq!(written(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(written(951_782_400_000), "2000-02-29T00:00:00.000Z");
        assert_eq!(written(1_796_070_070_123), "2026-11-30T20:21:10.123Z");
        assert_eq!(written(u64::MAX), "9999-12-31T23:59:59.999Z");
        assert_eq!(Time::of_millis(1_796_070_070_123).minute(), "2026-11-30 20:21");
        for wrong in ["", "2026-11-30", "2026-13-30T20:21:10Z", "1969-12-31T00:00:00Z", "2026-11-30T24:00:00Z"] {
            assert_eq!(Time::parse(wrong), None, "{wrong}");
        }
        assert_eq!(Time::parse("2026-11-30T20:21:10Z").unwrap().millis(), 1_796_070_070_000);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(millis in 0..=LAST) {
            prop_assert_eq!(Time::parse(&Time(millis).to_string()), Some(Time(millis)));
        }

        #[test]
        fn any_text_is_read_or_refused(text in ".{0,40}") {
            let _ = Time::parse(&text);
        }
    }
}
