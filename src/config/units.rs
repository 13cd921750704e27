//! Texts with units: `30m`, `1h30m`, `500ms`, `64MiB`.

use std::time::Duration;

/// A size in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ByteSize(pub(super) usize);

/// Units of time with their milliseconds, longest first.
const TIME_UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// Units of size with their bytes, largest first.
const SIZE_UNITS: [(&str, usize); 4] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

/// `500ms`, `30s`, `2m`, `1h30m`, `7d`, `1.5s`: numbers with units, the larger unit first.
#[must_use]
pub fn parse_duration(text: &str) -> Option<Duration> {
    let mut rest = text.trim();
    let mut units = TIME_UNITS.as_slice();
    let mut sum = Duration::ZERO;
    while !rest.is_empty() {
        let number_end = rest.find(|c: char| c.is_ascii_alphabetic())?;
        let (number, tail) = rest.split_at(number_end);
        let (unit, tail) = tail.split_at(tail.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(tail.len()));
        let index = units.iter().position(|(name, _)| *name == unit)?;
        sum = sum.checked_add(amount(number.trim(), units.get(index)?.1)?)?;
        units = units.get(index + 1..)?;
        rest = tail.trim_start();
    }
    (!text.trim().is_empty()).then_some(sum)
}

/// A number of units of so many milliseconds.
fn amount(number: &str, millis: u64) -> Option<Duration> {
    if let Ok(whole) = number.parse::<u64>() {
        return whole.checked_mul(millis).map(Duration::from_millis);
    }
    let number: f64 = number.parse().ok()?;
    Duration::try_from_secs_f64(number * f64::from(u32::try_from(millis).ok()?) / 1_000.0).ok()
}

/// The shortest text that reads back as that duration, in whole milliseconds.
pub(super) fn show_duration(span: Duration) -> String {
    let mut millis = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
    let mut text = String::new();
    for (name, size) in TIME_UNITS {
        if millis >= size {
            text.push_str(&format!("{}{name}", millis / size));
            millis %= size;
        }
    }
    if text.is_empty() { "0s".to_owned() } else { text }
}

/// `64MiB`, `512KiB`, `1048576B`.
pub(super) fn parse_bytes(text: &str) -> Option<ByteSize> {
    let (number, unit) = split(text)?;
    let size = SIZE_UNITS.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit))?.1;
    number.parse::<usize>().ok()?.checked_mul(size).map(ByteSize)
}

/// The shortest text that reads back as that size.
pub(super) fn show_bytes(bytes: ByteSize) -> String {
    let unit = SIZE_UNITS.iter().find(|(_, size)| bytes.0 != 0 && bytes.0.is_multiple_of(*size));
    unit.map_or_else(|| format!("{}B", bytes.0), |(name, size)| format!("{}{name}", bytes.0 / size))
}

fn split(text: &str) -> Option<(&str, &str)> {
    let text = text.trim();
    let at = text.find(|c: char| c.is_ascii_alphabetic())?;
    let (number, unit) = text.split_at(at);
    (!number.is_empty()).then(|| (number.trim_end(), unit))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn durations_are_numbers_with_units() {
        assert_eq!(parse_duration("30m"), Some(Duration::from_secs(1_800)));
        assert_eq!(parse_duration("1.5s"), Some(Duration::from_millis(1_500)));
        assert_eq!(parse_duration("1h30m"), Some(Duration::from_secs(5_400)));
        assert_eq!(parse_duration("0s"), Some(Duration::ZERO));
        assert_eq!(show_duration(Duration::from_millis(80_500)), "1m20s500ms");
        for wrong in ["", "30", "m", "-5s", "5 minutes", "30m1h", "5m5m", "1h30", "99999999999999999999d", "1e400s"] {
            assert_eq!(parse_duration(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn sizes_have_one_number_and_one_unit() {
        assert_eq!(parse_bytes("64MiB"), Some(ByteSize(64 << 20)));
        assert_eq!(show_bytes(ByteSize(1 << 20)), "1MiB");
        for wrong in ["", "64", "64MB", "-1B", "1.5MiB"] {
            assert_eq!(parse_bytes(wrong), None, "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn what_is_shown_reads_back(millis in 0_u64..10_000_000_000, bytes in 0_usize..10_000_000_000) {
            let span = Duration::from_millis(millis);
            prop_assert_eq!(parse_duration(&show_duration(span)), Some(span));
            prop_assert_eq!(parse_bytes(&show_bytes(ByteSize(bytes))), Some(ByteSize(bytes)));
        }
    }
}
