//! Jobs that a stage has handed out and not got back: who waits for one for too long says so.

use std::time::Duration;

/// How long no job may come back while one is under way. A segment is tried for half a minute, and the slowest model that a
/// pipeline is held to takes ten seconds a batch.
const HANGS_AFTER: Duration = Duration::from_secs(120);

/// How many jobs are under way, and since when none has come back.
#[derive(Debug, Default)]
pub(in crate::pipeline) struct Awaited {
    jobs: usize,
    since: Duration,
}

impl Awaited {
    /// One is handed out.
    pub(in crate::pipeline) const fn handed_out(&mut self, now: Duration) {
        if self.jobs == 0 {
            self.since = now;
        }
        self.jobs += 1;
    }

    /// One has come back.
    pub(in crate::pipeline) const fn came_back(&mut self, now: Duration) {
        self.jobs = self.jobs.saturating_sub(1);
        self.since = now;
    }

    /// # Errors
    /// What hangs, and since when.
    pub(in crate::pipeline) fn health(&self, now: Duration) -> Result<(), String> {
        let silent = now.saturating_sub(self.since);
        if self.jobs == 0 || silent <= HANGS_AFTER {
            return Ok(());
        }
        Err(format!(
            "none of {} jobs has come back for {} s: the model, or the disk, hangs",
            self.jobs,
            silent.as_secs()
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_job_that_does_not_come_back_is_said_and_a_slow_one_is_not() {
        let mut awaited = Awaited::default();
        assert_eq!(awaited.health(at(10_000)), Ok(()), "nothing is under way");
        awaited.handed_out(at(10_000));
        awaited.handed_out(at(10_100));
        assert_eq!(awaited.health(at(10_120)), Ok(()));
        assert!(awaited.health(at(10_121)).is_err_and(|why| why.contains("none of 2 jobs has come back for 121 s")));
        awaited.came_back(at(10_130));
        assert_eq!(awaited.health(at(10_250)), Ok(()), "the other one has its own time");
        assert!(awaited.health(at(10_251)).is_err());
        awaited.came_back(at(10_260));
        assert_eq!(awaited.health(at(20_000)), Ok(()));
    }
}
