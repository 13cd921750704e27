//! How inputs come: plainly, or by a producer with transactions of its own, some of which it gives up and writes again.

use std::sync::Arc;

use super::world::World;
use crate::memory::{Log, Script, Transactions};
use crate::pipeline::dice::Dice;
use crate::stream::{Output, Transaction as _};
use crate::time::Clock;

/// The name of the producer, and of the group that it is no member of.
const OUTSIDE: &str = "outside";

/// Who writes the inputs.
pub(super) struct Feeder {
    port: Transactions,
    dice: Dice,
    /// What the open transaction has written.
    open: Option<Vec<Output>>,
}

impl Feeder {
    pub(super) fn new(log: &Log, clock: Arc<dyn Clock>, seed: u64) -> Self {
        let port = Transactions::new(log.clone(), Arc::from(OUTSIDE), OUTSIDE, clock, Script::default());
        Self { port, dice: Dice::new(seed ^ 0xfeed), open: None }
    }
}

impl World {
    /// Appends the next input, or ends the transaction of those before it; false when nothing is left to do.
    pub(super) fn append(&mut self) -> bool {
        let Some(open) = self.feeder.open.take() else { return self.begin_or_append() };
        if self.waiting.is_empty() || self.feeder.dice.chance(0.5) {
            self.end_inputs(open);
        } else {
            self.append_within(open);
        }
        true
    }

    fn begin_or_append(&mut self) -> bool {
        if self.waiting.is_empty() {
            return false;
        }
        if self.feeder.dice.chance(0.2) && self.feeder.port.begin().is_ok() {
            self.append_within(Vec::new());
        } else if let Some(input) = self.waiting.pop() {
            let position = self.site.log.append(&input, self.now()).unwrap();
            self.note(|_| format!("append {}/{} up to {position}", input.topic, input.partition));
        }
        true
    }

    fn append_within(&mut self, mut open: Vec<Output>) {
        let Some(input) = self.waiting.pop() else { return };
        let produced = self.feeder.port.produce(&input);
        self.note(|_| format!("append {}/{} in a transaction: {produced:?}", input.topic, input.partition));
        open.push(input);
        match produced {
            Ok(()) => self.feeder.open = Some(open),
            // It was open for too long.
            Err(_) => self.give_up(open),
        }
    }

    fn end_inputs(&mut self, open: Vec<Output>) {
        if self.feeder.dice.chance(0.3) {
            return self.give_up(open);
        }
        let committed = self.feeder.port.commit();
        self.note(|_| format!("a transaction of {} inputs is committed: {committed:?}", open.len()));
        if committed.is_err() {
            self.give_up(open);
        }
    }

    /// What was written in it is still to be written.
    fn give_up(&mut self, open: Vec<Output>) {
        let aborted = self.feeder.port.abort();
        self.note(|_| format!("a transaction of {} inputs is given up: {aborted:?}", open.len()));
        self.waiting.extend(open.into_iter().rev());
    }
}
