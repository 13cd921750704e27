//! The place where the model stands that answers now; `swap` changes it whole.

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::model::Scorer;

/// Holds the scorer in use. Whoever scores a pool takes it once, so that one pool is answered by one model.
pub struct Slot {
    current: ArcSwap<Arc<dyn Scorer>>,
}

impl Slot {
    /// A slot with its first scorer.
    #[must_use]
    pub fn new(scorer: Arc<dyn Scorer>) -> Self {
        Self { current: ArcSwap::from_pointee(scorer) }
    }

    /// The scorer in use. It lives on with whoever holds it, also after a swap.
    #[must_use]
    pub fn get(&self) -> Arc<dyn Scorer> {
        Arc::clone(&self.current.load())
    }

    /// Puts another scorer in its place and gives back the one that stood there. Never waits for those who still use
    /// it: texts encoded by the old one must be scored by the old one.
    pub fn swap(&self, scorer: Arc<dyn Scorer>) -> Arc<dyn Scorer> {
        let before = self.current.swap(Arc::new(scorer));
        Arc::clone(&before)
    }
}

impl fmt::Debug for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scorer = self.get();
        f.debug_struct("Slot").field("id", scorer.id()).field("device", &scorer.device()).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::Slot;
    use crate::model::StubScorer;

    #[test]
    fn a_swap_shows_the_new_model_and_keeps_the_old_one_alive_for_its_users() {
        let slot = Slot::new(Arc::new(StubScorer::new().with_version("1")));
        let held = slot.get();
        let before = slot.swap(Arc::new(StubScorer::new().with_version("2")));
        assert_eq!(&*slot.get().id().version, "2");
        assert_eq!(&*held.id().version, "1");
        assert!(Arc::ptr_eq(&held, &before));
    }
}
