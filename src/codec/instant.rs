//! The ways in which the world writes a time.

use chrono::{DateTime, FixedOffset};

use crate::time::Timestamp;

/// 0001-01-01 and the end of 9999, in seconds: what RFC 3339 can say.
const SECONDS_MIN: i64 = -62_135_596_800;
const SECONDS_MAX: i64 = 253_402_300_799;

/// A number below this is seconds (until the year 5138), below the next one milliseconds, below the last microseconds.
const SECONDS_BELOW: f64 = 1e11;
const MILLIS_BELOW: f64 = 1e14;
const MICROS_BELOW: f64 = 1e17;

/// A time as text: RFC 3339, RFC 2822, `Wed Oct 10 20:19:24 +0000 2018`, or a number as [`epoch`] reads it. `None` when
/// it is none of these, has no zone, or lies outside the years 1 to 9999.
#[must_use]
pub fn instant(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    if text.starts_with(|c: char| c.is_ascii_digit() || c == '-')
        && text.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'-'))
    {
        if let Ok(whole) = text.parse::<i64>() {
            return epoch_whole(whole);
        }
        return epoch(text.parse().ok()?);
    }
    let parsed: DateTime<FixedOffset> = DateTime::parse_from_rfc3339(text)
        .or_else(|_| DateTime::parse_from_rfc2822(text))
        .or_else(|_| DateTime::parse_from_str(text, "%a %b %d %H:%M:%S %z %Y"))
        .ok()?;
    within(parsed.timestamp_micros())
}

/// A time as a number since 1970: seconds, milliseconds or microseconds, told apart by their size.
#[must_use]
pub(super) fn epoch_whole(number: i64) -> Option<Timestamp> {
    let size = number.unsigned_abs();
    let factor = match size {
        0..100_000_000_000 => 1_000_000,
        100_000_000_000..100_000_000_000_000 => 1_000,
        100_000_000_000_000..100_000_000_000_000_000 => 1,
        _ => return None,
    };
    within(number.checked_mul(factor)?)
}

/// Like [`epoch_whole`], with a fraction.
#[must_use]
pub(super) fn epoch(number: f64) -> Option<Timestamp> {
    let size = number.abs();
    let factor = match size {
        _ if size < SECONDS_BELOW => 1e6,
        _ if size < MILLIS_BELOW => 1e3,
        _ if size < MICROS_BELOW => 1.0,
        _ => return None,
    };
    #[expect(clippy::cast_possible_truncation, reason = "below 1e17")]
    let micros = (number * factor).round() as i64;
    within(micros)
}

fn within(micros: i64) -> Option<Timestamp> {
    (SECONDS_MIN..=SECONDS_MAX).contains(&micros.div_euclid(1_000_000)).then(|| Timestamp::from_micros(micros))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn one_moment_is_read_in_every_form() {
        let moment = Timestamp::parse("2018-10-10T20:19:24Z");
        for text in [
            "2018-10-10T20:19:24Z",
            "2018-10-10T22:19:24+02:00",
            "2018-10-10 20:19:24+00:00",
            "Wed, 10 Oct 2018 20:19:24 GMT",
            "Wed, 10 Oct 2018 16:19:24 -0400",
            "Wed Oct 10 20:19:24 +0000 2018",
            "1539202764",
            "1539202764000",
            "1539202764000000",
            "1539202764.0",
        ] {
            assert_eq!(instant(text), moment, "{text}");
        }
        assert_eq!(epoch(1_539_202_764.25), moment.map(|at| at.plus(std::time::Duration::from_millis(250))));
        assert_eq!(epoch_whole(1_539_202_764_000), moment);
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in
            ["", "yesterday", "2018-10-10", "2018-10-10T20:19:24", "2018-02-30T00:00:00Z", "1539202764000000000", "1-1"]
        {
            assert_eq!(instant(text), None, "{text}");
        }
        assert_eq!(epoch(f64::NAN), None);
        assert_eq!(epoch(f64::INFINITY), None);
        assert_eq!(epoch_whole(i64::MIN), None);
    }

    proptest! {
        #[test]
        fn a_time_that_was_read_can_be_written_and_read_again(micros in -62_135_596_800_000_000_i64..253_402_300_800_000_000) {
            let at = Timestamp::from_micros(micros);
            prop_assert_eq!(instant(&at.to_string()), Some(at));
        }

        #[test]
        fn no_text_makes_it_fail(text in any::<String>(), digits in "-?[0-9.]{0,25}", number in any::<f64>(), whole in any::<i64>()) {
            let _ = (instant(&text), instant(&digits), epoch(number), epoch_whole(whole));
        }
    }
}
