//! The mentions of one subject: which count, which were replaced or taken back, and the windows over them.
//!
//! A book slides over the log: each record that came in stays for `keep`, whether it counts or not, and the first to
//! come is the first to leave. A mention counts unless a higher version of the same post came within `memory` before
//! it. A lower version that comes later than that cannot weigh anything: its post was published before the higher one
//! came, so that it is older than every window.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use crate::event::{Mention, Sketch};
use crate::time::Timestamp;
use crate::window::{Copies, Reading, Window};

/// The novelty of a first telling.
pub const TELLING: u32 = 1_000_000;

/// Bytes of a mention in a book, at most, as long as its id, link, source and excerpt have [`TEXTS_BYTES`] together: its
/// entry, its texts and its places in the tables (`bench` measures it).
pub const MENTION_BYTES: usize = 1_600;
/// Beyond so many bytes of texts, a mention has the room of several.
const TEXTS_BYTES: usize = 512;

/// Where a mention stands in a book: by event time, then by its offset in the mentions topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Event time.
    pub at: Timestamp,
    /// Offset of the mention's record.
    pub offset: i64,
}

impl Place {
    /// Behind every mention of that event time.
    #[must_use]
    pub const fn last_of(at: Timestamp) -> Self {
        Self { at, offset: i64::MAX }
    }
}

/// What a book remembers of a mention.
#[derive(Debug, Clone, PartialEq)]
pub struct Told {
    /// The post.
    pub post_id: Arc<str>,
    /// The start of its text.
    pub excerpt: Arc<str>,
    /// A link to it.
    pub url: Option<Arc<str>>,
    /// Who delivered it.
    pub source: Arc<str>,
    /// When it was published (as its author says).
    pub published_at: Timestamp,
    /// −1 to 1.
    pub score: f32,
    /// Novelty in millionths: all of it for the first telling of a story, 1 / (1 + n) of it after n copies; 0 without
    /// a label.
    pub novelty: u32,
    /// Confidence × relevance × novelty; 0 without a label.
    pub weight: f32,
    /// For telling stories apart.
    pub sketch: Sketch,
    /// When its sketch was counted, in log time; none where copies are not.
    counted_at: Option<Timestamp>,
    version: Version,
}

/// What became of a mention.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// It counts.
    Counts,
    /// A higher version of the post (or this very one) came before.
    Stale,
}

/// Orders the tellings of a post: the highest revision wins, on a tie the higher offset of the post's record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Version {
    revision: Timestamp,
    offset: i64,
    log: u64,
}

impl Version {
    fn of(mention: &Mention) -> Self {
        let log = xxhash_rust::xxh3::xxh3_64_with_seed(
            mention.origin.topic.as_bytes(),
            u64::from(mention.origin.partition.unsigned_abs()),
        );
        Self { revision: mention.revision, offset: mention.origin.offset, log }
    }
}

#[derive(Debug, Default)]
struct Versions {
    current: Option<Place>,
    /// When which version came; a later one is lower (else it replaces what came before).
    came: Vec<(Timestamp, Version)>,
}

/// A mention that came.
#[derive(Debug)]
struct Came {
    /// When, in log time.
    came: Timestamp,
    offset: i64,
    /// Its event time, where it was not stale.
    at: Option<Timestamp>,
    post: Arc<str>,
    room: usize,
}

/// The bounds of a book.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// How long a mention is kept, in log time.
    pub keep: Duration,
    /// How long versions are told apart, in log time.
    pub memory: Duration,
    /// Mentions kept; the lowest offsets leave first.
    pub mentions_max: usize,
}

/// The mentions of one subject. Every call names the log time, which never goes back; [`Book::advance`] comes first.
#[derive(Debug)]
pub struct Book {
    limits: Limits,
    told: BTreeMap<Place, Told>,
    posts: HashMap<Arc<str>, Versions>,
    order: VecDeque<Came>,
    room: usize,
    copies: Option<Copies>,
    windows: Vec<Window>,
    overflowed: u64,
    changed: bool,
    /// When the first of what came since [`Book::take_soonest`] leaves something.
    soonest: Option<Timestamp>,
}

impl Book {
    /// An empty book with these windows; without `copies` every mention is new.
    #[must_use]
    pub fn new(limits: Limits, windows: Vec<Window>, copies: Option<Copies>) -> Self {
        let (told, posts, order) = (BTreeMap::new(), HashMap::new(), VecDeque::new());
        Self { limits, told, posts, order, room: 0, copies, windows, overflowed: 0, changed: false, soonest: None }
    }

    /// Moves to `now`: what is too old leaves.
    pub fn advance(&mut self, now: Timestamp) {
        for (number, window) in self.windows.iter_mut().enumerate() {
            self.changed |= window.advance(now, &self.told) && number == 0;
        }
        let since = now.minus(self.limits.keep);
        while self.order.front().is_some_and(|first| first.came < since) {
            self.drop_first();
        }
    }

    /// A mention has come, at `now`, at `offset` of the mentions topic; `at` is its event time.
    pub fn tell(&mut self, mention: Mention, at: Timestamp, offset: i64, now: Timestamp) -> Taken {
        let version = Version::of(&mention);
        let place = Place { at, offset };
        let since = now.minus(self.limits.memory);
        let versions = self.posts.entry(mention.post_id.clone()).or_default();
        let stale = versions.came.iter().any(|(came, higher)| *came >= since && *higher >= version);
        versions.came.retain(|(came, higher)| *came >= since && *higher > version);
        versions.came.push((now, version));
        let replaced = if stale { None } else { versions.current.replace(place) };
        let (post, room) = (mention.post_id.clone(), room(&mention));
        self.order.push_back(Came { came: now, offset, at: (!stale).then_some(at), post, room });
        self.room += room;
        self.soonest = self.soonest.into_iter().chain([self.forgotten_at(now)]).min();
        if let Some(replaced) = replaced {
            self.take(replaced);
        }
        if !stale {
            self.enter(mention, place, version, now);
        }
        while self.told.len() > self.limits.mentions_max || self.order.len() > 2 * self.limits.mentions_max {
            self.forget_first();
        }
        if stale { Taken::Stale } else { Taken::Counts }
    }

    /// Forgets the mention that came first, for want of room.
    pub fn forget_first(&mut self) {
        let before = self.told.len();
        self.drop_first();
        self.overflowed += (before - self.told.len()) as u64;
    }

    /// Takes back what `post` says, where its revision is earlier than `before`. True when something was taken back.
    pub fn retract(&mut self, post: &str, before: Timestamp) -> bool {
        let Some(versions) = self.posts.get_mut(post) else { return false };
        let Some(place) = versions.current else { return false };
        if self.told.get(&place).is_none_or(|told| told.version.revision >= before) {
            return false;
        }
        versions.current = None;
        self.take(place);
        true
    }

    /// Whether it remembers a mention of this post.
    #[must_use]
    pub fn knows(&self, post: &str) -> bool {
        self.posts.contains_key(post)
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        while !self.order.is_empty() {
            self.drop_first();
        }
    }

    /// Mentions that count.
    #[must_use]
    pub fn len(&self) -> usize {
        self.told.len()
    }

    /// The room that what is remembered takes, in mentions of [`MENTION_BYTES`]. Those that do not count take it too.
    #[must_use]
    pub fn room(&self) -> usize {
        self.room
    }

    /// The offset of the first mention that is remembered.
    #[must_use]
    pub fn first_offset(&self) -> Option<i64> {
        self.order.front().map(|first| first.offset)
    }

    /// Whether nothing is remembered at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// What the window of that number shows; nothing for a number that it does not have.
    #[must_use]
    pub fn reading(&self, window: usize) -> Reading {
        self.windows.get(window).map_or_else(Reading::default, Window::reading)
    }

    /// The mentions in that window, oldest first, with their weight at `now`.
    pub fn inside(&self, window: usize, now: Timestamp) -> impl Iterator<Item = (f64, &Told)> {
        self.windows.get(window).into_iter().flat_map(move |window| window.inside(now, &self.told))
    }

    /// The next moment at which something leaves.
    #[must_use]
    pub fn next_change(&self) -> Option<Timestamp> {
        let windows = self.windows.iter().filter_map(|window| window.next_change(&self.told));
        windows.chain(self.order.front().map(|first| self.forgotten_at(first.came))).min()
    }

    /// The next moment at which something leaves of what came since the last call: as good as [`Book::next_change`] for
    /// whoever knew that, and cheap.
    pub fn take_soonest(&mut self) -> Option<Timestamp> {
        self.soonest.take()
    }

    /// How many mentions left early for want of room since the last call.
    pub fn take_overflowed(&mut self) -> u64 {
        std::mem::take(&mut self.overflowed)
    }

    /// Whether the mentions in the first window changed since the last call.
    pub fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    fn enter(&mut self, mention: Mention, place: Place, version: Version, now: Timestamp) {
        let copies = self.copies.as_mut().map_or(0, |copies| copies.tell(mention.sketch, now));
        let labelled = mention.label.is_some();
        let weight = mention.confidence.clamp(0.0, 1.0) * mention.relevance.clamp(0.0, 1.0) / (1.0 + copies as f32);
        let told = Told {
            post_id: mention.post_id,
            excerpt: mention.excerpt,
            url: mention.url,
            source: mention.source,
            published_at: mention.published_at,
            score: mention.score.clamp(-1.0, 1.0),
            novelty: if labelled { TELLING / (1 + copies) } else { 0 },
            weight: if labelled && weight.is_finite() { weight } else { 0.0 },
            sketch: mention.sketch,
            counted_at: self.copies.is_some().then_some(now),
            version,
        };
        for (number, window) in self.windows.iter_mut().enumerate() {
            if window.add(place.at, &told) {
                self.changed |= number == 0;
                self.soonest = self.soonest.into_iter().chain([window.left_at(place.at)]).min();
            }
        }
        self.told.insert(place, told);
    }

    /// A record leaves when it is older than `keep`, hence the microsecond.
    fn forgotten_at(&self, came: Timestamp) -> Timestamp {
        came.plus(self.limits.keep).plus(Duration::from_micros(1))
    }

    fn take(&mut self, place: Place) {
        let Some(told) = self.told.remove(&place) else { return };
        if let (Some(copies), Some(at)) = (&mut self.copies, told.counted_at) {
            copies.remove(told.sketch, at);
        }
        for (number, window) in self.windows.iter_mut().enumerate() {
            self.changed |= window.take(place.at, &told) && number == 0;
        }
    }

    /// The record that came first leaves, in time or for want of room.
    fn drop_first(&mut self) {
        let Some(Came { came, offset, at, post, room }) = self.order.pop_front() else { return };
        self.room = self.room.saturating_sub(room);
        let place = at.map(|at| Place { at, offset });
        if let Some(versions) = self.posts.get_mut(&post) {
            versions.came.retain(|(later, _)| *later > came);
            versions.current = versions.current.filter(|current| Some(*current) != place);
            if versions.current.is_none() && versions.came.is_empty() {
                self.posts.remove(&post);
            }
        }
        if let Some(place) = place {
            self.take(place);
        }
    }
}

/// The room that a mention takes, in mentions of [`MENTION_BYTES`].
fn room(mention: &Mention) -> usize {
    let Mention { post_id, excerpt, url, source, .. } = mention;
    let texts = post_id.len() + excerpt.len() + url.as_ref().map_or(0, |url| url.len()) + source.len();
    1 + texts.saturating_sub(TEXTS_BYTES).div_ceil(MENTION_BYTES)
}
