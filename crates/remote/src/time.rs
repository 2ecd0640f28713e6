//! Moments as signatures and servers write them, in UTC.

use std::time::{SystemTime, UNIX_EPOCH};

/// Days from the first of March of the year 0 to 1970, and in 400 years.
const TO_1970: i64 = 719_468;
const DAYS_OF_400_YEARS: i64 = 146_097;

/// Seconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment(u64);

impl Moment {
    /// This one.
    pub fn now() -> Moment {
        Moment(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs())
    }

    /// So many seconds after the beginning of 1970.
    #[cfg(test)]
    pub fn of_seconds(seconds: u64) -> Moment {
        Moment(seconds)
    }

    /// `20130524`
    pub fn day(self) -> String {
        // A year that begins in March has its leap day at its end.
        let days = (self.0 / 86_400) as i64 + TO_1970;
        let (era, day) = (days.div_euclid(DAYS_OF_400_YEARS), days.rem_euclid(DAYS_OF_400_YEARS));
        let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
        let day = day - (365 * year + year / 4 - year / 100);
        let month = (5 * day + 2) / 153;
        let date = day - (153 * month + 2) / 5 + 1;
        let (month, next) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
        format!("{:04}{month:02}{date:02}", era * 400 + year + next)
    }

    /// `20130524T000000Z`
    pub fn basic(self) -> String {
        let seconds = self.0 % 86_400;
        format!("{}T{:02}{:02}{:02}Z", self.day(), seconds / 3600, seconds / 60 % 60, seconds % 60)
    }

    /// Seconds from this moment to the one that a header names: `Wed, 21 Oct 2015 07:28:00 GMT`; none where that is past.
    pub fn until(self, date: &str) -> Option<u64> {
        const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
        let mut words = date.split_once(", ")?.1.split(' ');
        let day: i64 = words.next()?.parse().ok()?;
        let name = words.next()?;
        let month = MONTHS.iter().position(|month| *month == name)? as i64 + 1;
        let year: i64 = words.next()?.parse().ok().filter(|year| (1970..10_000).contains(year))?;
        let mut clock = words.next()?.split(':').map(str::parse::<i64>);
        let (hour, minute, second) = (clock.next()?.ok()?, clock.next()?.ok()?, clock.next()?.ok()?);
        let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
        let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1 - TO_1970;
        let then = days.checked_mul(86_400)? + hour * 3600 + minute * 60 + second;
        Some(u64::try_from(then).ok()?.saturating_sub(self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_written_and_read() {
        let moment = Moment::of_seconds(1_445_412_480);
        assert_eq!(moment.basic(), "20151021T072800Z");
        assert_eq!(moment.until("Wed, 21 Oct 2015 07:28:00 GMT"), Some(0));
        assert_eq!(moment.until("Thu, 29 Feb 2024 00:00:01 GMT"), Some(1_709_164_801 - 1_445_412_480));
        assert_eq!(Moment::of_seconds(1_709_164_801).day(), "20240229");
        assert_eq!(moment.until("soon"), None);
        assert!(Moment::now().basic().starts_with("20"));
    }
}
