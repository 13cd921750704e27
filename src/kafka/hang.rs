//! A client that finds no broker, or not the coordinator of its group, while another client does.
//!
//! librdkafka drops a broker that the controller fenced while it hung, and may never look for it again
//! (librdkafka#5511): it polls on, and says for good that no broker can be reached.

use std::time::Duration;

/// How long the client in place may be alone before another one is asked.
const ALONE: Duration = Duration::from_secs(15);
/// How long it is given after another one was answered.
const GRACE: Duration = Duration::from_secs(10);
/// How often another one is asked meanwhile.
const EVERY: Duration = Duration::from_secs(2);

/// Clients that are tried one after the other, when none of them brings a record.
pub(super) const CLIENTS_MAX: u32 = 5;

/// Clients that took the place since the last record.
#[derive(Debug, Default)]
pub(super) struct Renewals(u32);

impl Renewals {
    /// The one in place brought a record.
    pub(super) const fn brought(&mut self) {
        self.0 = 0;
    }

    /// Whether one more may take the place.
    pub(super) const fn may_renew(&mut self) -> bool {
        self.0 = self.0.saturating_add(1);
        self.0 <= CLIENTS_MAX
    }
}

/// What is known of the client in place.
#[derive(Debug, Default)]
pub(super) struct Hang {
    asked_at: Duration,
    answered_at: Option<Duration>,
}

impl Hang {
    /// Whether another client is to be asked: the one in place reached its brokers last at `reached_at`.
    pub(super) fn is_due(&mut self, now: Duration, reached_at: Duration) -> bool {
        if now.saturating_sub(reached_at) < ALONE {
            self.answered_at = None;
            return false;
        }
        let due = now.saturating_sub(self.asked_at) >= EVERY;
        if due {
            self.asked_at = now;
        }
        due
    }

    /// Another client was answered, or was not; whether the one in place had long enough since then.
    pub(super) fn is_certain(&mut self, now: Duration, is_answered: bool) -> bool {
        if !is_answered {
            self.answered_at = None;
            return false;
        }
        now.saturating_sub(*self.answered_at.get_or_insert(now)) >= GRACE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_stays_alone_while_others_are_answered_hangs_and_nobody_else_does() {
        let at = Duration::from_secs;
        let mut hang = Hang::default();
        assert!(!hang.is_due(at(114), at(100)), "it may come back by itself");
        assert!(hang.is_due(at(115), at(100)));
        assert!(!hang.is_due(at(116), at(100)), "it was asked a moment ago");
        assert!(!hang.is_certain(at(115), false), "nobody is answered");
        assert!(hang.is_due(at(118), at(100)) && !hang.is_certain(at(118), true));
        assert!(hang.is_due(at(126), at(100)) && !hang.is_certain(at(126), true));
        assert!(hang.is_due(at(128), at(100)) && hang.is_certain(at(128), true));
        // Once more away, and the same again from the beginning.
        assert!(!hang.is_certain(at(130), false) && !hang.is_certain(at(132), true));
        assert!(!hang.is_due(at(140), at(139)), "it is back");
        assert!(hang.is_due(at(160), at(139)) && !hang.is_certain(at(160), true), "what was before counts for nothing");
    }
    #[test]
    fn five_clients_in_a_row_bring_nothing_and_there_is_no_sixth() {
        let mut renewals = Renewals::default();
        let fifth = |renewals: &mut Renewals| (0..CLIENTS_MAX).all(|_| renewals.may_renew());
        assert!(fifth(&mut renewals));
        assert!(!renewals.may_renew());
        let mut renewals = Renewals::default();
        assert!(fifth(&mut renewals));
        renewals.brought();
        assert!(fifth(&mut renewals), "a record makes all of them good");
    }
}
