//! Moments, durations and where "now" comes from.
//!
//! Nothing in bellwether asks the operating system for the time: it asks a [`Clock`], so that `play`, tests and
//! simulations decide what time it is. This is not a calendar: date formats of the outside world are in `codec`.

use std::fmt;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A moment in UTC, in whole microseconds since 1970-01-01. On the wire it is an RFC 3339 string.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The earliest moment that can be said.
    pub const MIN: Self = Self(i64::MIN);

    /// From microseconds since the epoch.
    #[must_use]
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// From milliseconds since the epoch (Kafka's unit); saturates.
    #[must_use]
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis.saturating_mul(1_000))
    }

    /// Microseconds since the epoch.
    #[must_use]
    pub const fn micros(self) -> i64 {
        self.0
    }

    /// Whole milliseconds since the epoch, rounded down.
    #[must_use]
    pub const fn millis(self) -> i64 {
        self.0.div_euclid(1_000)
    }

    /// This moment and `span` more; saturates.
    #[must_use]
    pub fn plus(self, span: Duration) -> Self {
        Self(self.0.saturating_add(micros_of(span)))
    }

    /// This moment less `span`; saturates.
    #[must_use]
    pub fn minus(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(micros_of(span)))
    }

    /// How long after `earlier` this is; zero when it is not after.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// Whether `span` is over, counted from `began`. A clock that was set back behind that moment will not say when: it
    /// is over then too, so that nobody waits until the clock has caught up.
    #[must_use]
    pub fn is_over(self, began: Self, span: Duration) -> bool {
        self < began || self.since(began) >= span
    }

    /// From an RFC 3339 text, `None` when it is not one.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        DateTime::parse_from_rfc3339(text).ok().map(|at| Self(at.timestamp_micros()))
    }

    /// The UTC date as `YYYY-MM-DD`.
    #[must_use]
    pub fn date(self) -> String {
        self.utc().map_or_else(|| "0000-00-00".to_owned(), |at| at.format("%Y-%m-%d").to_string())
    }

    fn utc(self) -> Option<DateTime<Utc>> {
        DateTime::from_timestamp_micros(self.0)
    }
}

fn micros_of(span: Duration) -> i64 {
    i64::try_from(span.as_micros()).unwrap_or(i64::MAX)
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.utc() {
            Some(at) => f.write_str(&at.to_rfc3339_opts(SecondsFormat::AutoSi, true)),
            None => write!(f, "{}us", self.0),
        }
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        from_text(deserializer, |text| Self::parse(text).ok_or("expected an RFC 3339 time"))
    }
}

/// Reads what stands in a text, without a copy of the text.
pub(crate) fn from_text<'de, D: Deserializer<'de>, T, E: fmt::Display>(
    from: D,
    parse: impl FnOnce(&str) -> Result<T, E>,
) -> Result<T, D::Error> {
    struct Text<F>(F);
    impl<T, E: fmt::Display, F: FnOnce(&str) -> Result<T, E>> serde::de::Visitor<'_> for Text<F> {
        type Value = T;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a string")
        }

        fn visit_str<X: serde::de::Error>(self, text: &str) -> Result<T, X> {
            (self.0)(text).map_err(X::custom)
        }
    }
    from.deserialize_str(Text(parse))
}

/// Where "now" comes from.
pub trait Clock: Send + Sync {
    /// The wall clock.
    fn now(&self) -> Timestamp;
    /// Time since an arbitrary start; never goes back. For measuring, not for records.
    fn monotonic(&self) -> Duration;
    /// Waits (system) or moves the time forward (manual).
    fn pause(&self, span: Duration);
}

/// The operating system's clock.
#[derive(Debug, Clone, Copy)]
pub struct SystemClock {
    start: Instant,
}

impl SystemClock {
    /// A clock whose monotonic time starts now.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is the one place that asks the system")]
    pub fn new() -> Self {
        Self { start: Instant::now() }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the one place that asks the system")]
    fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp(micros_of(since))
    }

    fn monotonic(&self) -> Duration {
        self.start.elapsed()
    }

    #[expect(clippy::disallowed_methods, reason = "this is the one place that waits")]
    fn pause(&self, span: Duration) {
        std::thread::sleep(span);
    }
}

/// A clock that moves only when told to: for `play`, tests and simulations.
#[derive(Debug, Default)]
pub struct ManualClock {
    micros: AtomicI64,
}

impl ManualClock {
    /// A clock that stands at `at`.
    #[must_use]
    pub fn new(at: Timestamp) -> Self {
        Self { micros: AtomicI64::new(at.micros()) }
    }

    /// Moves to `at`; never back.
    pub fn move_to(&self, at: Timestamp) {
        self.micros.fetch_max(at.micros(), Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.micros.load(Ordering::SeqCst))
    }

    fn monotonic(&self) -> Duration {
        Duration::from_micros(u64::try_from(self.micros.load(Ordering::SeqCst)).unwrap_or(0))
    }

    fn pause(&self, span: Duration) {
        self.micros.fetch_add(micros_of(span), Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_timestamp_reads_back_what_it_wrote() {
        let at = Timestamp::from_micros(1_772_458_200_000_123);
        assert_eq!(at.to_string(), "2026-03-02T13:30:00.000123Z");
        assert_eq!(Timestamp::parse(&at.to_string()), Some(at));
        assert_eq!(at.date(), "2026-03-02");
    }

    #[test]
    fn a_span_is_over_when_it_has_gone_by_or_the_clock_was_set_back() {
        let (began, span) = (Timestamp::from_millis(1_000), Duration::from_millis(10));
        let over: Vec<bool> =
            [999, 1_000, 1_009, 1_010].map(|now| Timestamp::from_millis(now).is_over(began, span)).into();
        assert_eq!(over, [true, false, false, true]);
    }

    #[test]
    fn a_manual_clock_never_goes_back() {
        let clock = ManualClock::new(Timestamp::from_millis(1_000));
        clock.move_to(Timestamp::from_millis(500));
        assert_eq!(clock.now(), Timestamp::from_millis(1_000));
        clock.pause(Duration::from_millis(5));
        assert_eq!(clock.now(), Timestamp::from_millis(1_005));
    }
}
