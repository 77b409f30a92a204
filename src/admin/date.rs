//! Dates as Java's `Date.toString` prints them.

use crate::ids::Millis;

const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// A wall-clock time in UTC, for instance `Mon Nov 23 01:35:37 UTC 2026`.
pub(super) fn java_date(time: Millis) -> String {
    let seconds = time.0.div_euclid(1000);
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let (year, month, day) = civil(days);
    let weekday = DAYS[usize::try_from(days.rem_euclid(7)).expect("below 7")];
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    let month = MONTHS[month];
    format!("{weekday} {month} {day:02} {hour:02}:{minute:02}:{second:02} UTC {year}")
}

/// Year, month (from 0) and day (from 1) of a day counted from 1970, in the Gregorian calendar.
fn civil(days: i64) -> (i64, usize, i64) {
    // Counted from 1 March of a year divisible by 400, leap days come last in every period.
    let days = days + 719_468;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = usize::try_from((month_from_march + 2) % 12).expect("below 12");
    let year = era * 400 + year_of_era + i64::from(month < 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_as_java_prints_them() {
        let cases = [
            (0, "Thu Jan 01 00:00:00 UTC 1970"),
            (951_782_400_000, "Tue Feb 29 00:00:00 UTC 2000"),
            (1_709_251_199_999, "Thu Feb 29 23:59:59 UTC 2024"),
            (1_709_251_200_000, "Fri Mar 01 00:00:00 UTC 2024"),
            (1_795_397_737_000, "Mon Nov 23 01:35:37 UTC 2026"),
            (4_102_444_799_000, "Thu Dec 31 23:59:59 UTC 2099"),
            (-1, "Wed Dec 31 23:59:59 UTC 1969"),
        ];
        for (time, text) in cases {
            assert_eq!(java_date(Millis(time)), text);
        }
    }
}
