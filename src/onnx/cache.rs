//! The texts that were scored a moment ago, with their verdicts: syndicated news and reposts are asked once.
//!
//! A cache belongs to one bundle, so a verdict never outlives its model. Found by hash, but the tokens decide: two texts
//! with one hash never share a verdict.

use std::num::NonZeroUsize;
use std::sync::{Mutex, PoisonError};

use lru::LruCache;

use crate::event::Verdict;
use crate::model::Encoded;

/// A bounded cache; without room for anything it is always empty.
#[derive(Debug)]
pub(super) struct Cache {
    entries: Option<Mutex<LruCache<u64, Entry>>>,
}

#[derive(Debug)]
struct Entry {
    ids: Box<[u32]>,
    verdict: Verdict,
}

impl Cache {
    pub(super) fn new(texts_max: usize) -> Self {
        Self { entries: NonZeroUsize::new(texts_max).map(|size| Mutex::new(LruCache::new(size))) }
    }

    /// The verdicts that are known, in the order of the pool.
    pub(super) fn look_up(&self, pool: &[Encoded]) -> Vec<Option<Verdict>> {
        let Some(entries) = &self.entries else { return vec![None; pool.len()] };
        let mut entries = entries.lock().unwrap_or_else(PoisonError::into_inner);
        let known = |text: &Encoded, entry: &Entry| (entry.ids == text.ids).then(|| entry.verdict.clone());
        pool.iter().map(|text| entries.get(&text.hash).and_then(|entry| known(text, entry))).collect()
    }

    pub(super) fn keep<'a>(&self, fresh: impl Iterator<Item = (&'a Encoded, &'a Verdict)>) {
        let Some(entries) = &self.entries else { return };
        let mut entries = entries.lock().unwrap_or_else(PoisonError::into_inner);
        for (text, verdict) in fresh {
            entries.put(text.hash, Entry { ids: text.ids.clone(), verdict: verdict.clone() });
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::indexing_slicing, reason = "tests")]
    use super::*;
    use crate::event::Abstention;

    fn text(hash: u64, ids: &[u32]) -> Encoded {
        Encoded { ids: ids.into(), hash }
    }

    #[test]
    fn the_least_recently_used_text_leaves_first() {
        let cache = Cache::new(2);
        let verdict = Verdict::unasked(Abstention::EmptyText);
        let texts = [text(1, &[1]), text(2, &[2]), text(3, &[3])];
        cache.keep(texts[..2].iter().map(|text| (text, &verdict)));
        cache.look_up(&texts[..1]);
        cache.keep(texts[2..].iter().map(|text| (text, &verdict)));
        let known: Vec<bool> = cache.look_up(&texts).iter().map(Option::is_some).collect();
        assert_eq!(known, [true, false, true]);
    }

    #[test]
    fn texts_that_share_a_hash_do_not_share_a_verdict() {
        let cache = Cache::new(8);
        let verdict = Verdict::unasked(Abstention::EmptyText);
        cache.keep(std::iter::once((&text(7, &[1, 2]), &verdict)));
        assert_eq!(cache.look_up(&[text(7, &[2, 1])]), [None]);
    }

    #[test]
    fn a_cache_of_size_zero_keeps_nothing() {
        let cache = Cache::new(0);
        let verdict = Verdict::unasked(Abstention::EmptyText);
        cache.keep(std::iter::once((&text(7, &[1]), &verdict)));
        assert_eq!(cache.look_up(&[text(7, &[1])]), [None]);
    }
}
