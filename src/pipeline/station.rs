//! A stage on the in-process log, driven step by step: the real core, with its work and commits done at once.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use crate::memory::{Source, Transactions};
use crate::pipeline::stage::{Effect, Event, Stage, Stop};
use crate::pipeline::witness::{Told, Witness};
use crate::stream::{Delivery, Feed, Outcome, Patience};
use crate::time::Clock;

/// Records handed over at once.
const POLL: usize = 512;

/// One stage with everything it needs.
pub(in crate::pipeline) struct Station<S: Stage> {
    pub(in crate::pipeline) name: &'static str,
    pub(in crate::pipeline) core: S,
    pub(in crate::pipeline) source: Source,
    pub(in crate::pipeline) port: Transactions,
    pub(in crate::pipeline) work: Box<dyn FnMut(S::Job) -> S::Done + Send>,
    pub(in crate::pipeline) clock: Arc<dyn Clock>,
    pub(in crate::pipeline) witness: Witness,
    pub(in crate::pipeline) finished: bool,
}

impl<S> Station<S>
where
    S: Stage,
    S::Note: Told,
{
    /// Takes everything that waits; says whether there was anything.
    ///
    /// # Errors
    /// The reason to halt.
    pub(in crate::pipeline) fn run(&mut self) -> Result<bool, Stop> {
        let mut any = false;
        while let Some(feed) = self.source.poll(POLL) {
            any = true;
            self.event(Event::Feed(feed))?;
        }
        self.event(Event::Turn)?;
        Ok(any)
    }

    /// Ends the stage: everything that was begun is finished.
    ///
    /// # Errors
    /// The reason to halt.
    pub(in crate::pipeline) fn finish(&mut self) -> Result<(), Stop> {
        self.event(Event::Finish)
    }

    fn event(&mut self, event: Event<S::Done>) -> Result<(), Stop> {
        let mut events = VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            let settled = match &event {
                Event::Feed(Feed::Revoked { settled, .. }) => Some(settled.clone()),
                _ => None,
            };
            for effect in self.core.on(event, self.clock.now()) {
                match effect {
                    Effect::Work(job) => events.push_back(Event::Done((self.work)(job))),
                    Effect::Commit(mut epoch) => {
                        let delivery = Delivery::ExactlyOnce;
                        let outcome = epoch.commit(&mut self.port, delivery, Patience::default(), &*self.clock);
                        if let Outcome::Committed(_) = &outcome {
                            self.witness.committed(self.name, epoch.rows().map(|row| &row.note), Duration::ZERO);
                        }
                        if let Outcome::Fenced(_) = &outcome {
                            self.port.rejoin();
                        }
                        events.push_back(Event::Committed(outcome));
                    }
                    Effect::Source(command) => self.source.command(command),
                    Effect::Settled(_) => {
                        let _gone = settled.as_ref().map(|settled| settled.try_send(()));
                    }
                    Effect::WasReset(_) => {}
                    Effect::Finished => self.finished = true,
                    Effect::Halt(why) => return Err(Stop::Fault(why)),
                    Effect::BadData(why) => return Err(Stop::BadData(why)),
                }
            }
        }
        Ok(())
    }
}
