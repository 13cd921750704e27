//! Places on a log: topics, partitions, positions and spans. The only `+ 1` between an offset and the position after
//! it stands here.

use std::fmt;
use std::sync::Arc;

/// A partition of a topic: always both.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Partition {
    /// Topic name.
    pub topic: Arc<str>,
    /// Partition number.
    pub number: i32,
}

impl Partition {
    /// Partition `number` of `topic`.
    #[must_use]
    pub fn new(topic: &Arc<str>, number: i32) -> Self {
        Self { topic: topic.clone(), number }
    }
}

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.topic, self.number)
    }
}

/// The next offset to read; exactly what Kafka calls a committed offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position(i64);

impl Position {
    /// A position as the log reports it (a committed offset, a watermark).
    #[must_use]
    pub const fn at(offset: i64) -> Self {
        Self(offset)
    }

    /// The position after a record.
    #[must_use]
    pub const fn after(offset: i64) -> Self {
        Self(offset.saturating_add(1))
    }

    /// The offset of the next record to read.
    #[must_use]
    pub const fn offset(self) -> i64 {
        self.0
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// A half-open stretch of one partition, `[from, until)`; `until` is the position to commit when it is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// The first position in it.
    pub from: Position,
    /// The position behind it.
    pub until: Position,
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}..{})", self.from, self.until)
    }
}

/// The partition number of a key among `count`: murmur2 as Java's default partitioner has it, so that every producer
/// of the world agrees. `count` below 1 counts as 1.
#[must_use]
pub fn partition_for(key: &[u8], count: i32) -> i32 {
    let positive = i32::try_from(murmur2(key) & 0x7fff_ffff).unwrap_or(0);
    positive % count.max(1)
}

/// `org.apache.kafka.common.utils.Utils.murmur2`: seed 0x9747b28c, little-endian words.
fn murmur2(data: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    let length = u32::try_from(data.len()).unwrap_or(u32::MAX);
    let mut hash: u32 = 0x9747_b28c ^ length;
    let mut words = data.chunks_exact(4);
    for word in &mut words {
        let mut k = word.iter().rev().fold(0_u32, |sum, byte| (sum << 8) | u32::from(*byte));
        k = k.wrapping_mul(M);
        k ^= k >> 24;
        k = k.wrapping_mul(M);
        hash = hash.wrapping_mul(M) ^ k;
    }
    let rest = words.remainder();
    if !rest.is_empty() {
        hash ^= rest.iter().rev().fold(0_u32, |sum, byte| (sum << 8) | u32::from(*byte));
        hash = hash.wrapping_mul(M);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(M);
    hash ^ (hash >> 15)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The values of Kafka's own unit test (`UtilsTest.testMurmur2`).
    #[test]
    fn murmur2_agrees_with_java_clients() {
        let cases: [(&[u8], i32); 6] = [
            (b"21", -973_932_308),
            (b"foobar", -790_332_482),
            (b"a-little-bit-long-string", -985_981_536),
            (b"a-little-bit-longer-string", -1_486_304_829),
            (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            (b"abc", 479_470_107),
        ];
        for (key, expected) in cases {
            assert_eq!(murmur2(key).cast_signed(), expected, "{}", String::from_utf8_lossy(key));
        }
    }

    /// What Java's `toPositive(murmur2(key)) % 7` gives for those.
    #[test]
    fn keys_go_where_java_clients_send_them() {
        let keys: [&[u8]; 6] = [
            b"21",
            b"foobar",
            b"a-little-bit-long-string",
            b"a-little-bit-longer-string",
            b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8",
            b"abc",
        ];
        assert_eq!(keys.map(|key| partition_for(key, 7)), [3, 0, 1, 0, 3, 4]);
        assert_eq!(keys.map(|key| partition_for(key, 1)), [0; 6]);
        assert_eq!(Span { from: Position::at(3), until: Position::at(7) }.to_string(), "[3..7)");
    }

    #[test]
    fn a_partition_is_never_out_of_range() {
        for count in [-1, 0, 1, 3, 7] {
            for key in 0..200_u32 {
                assert!((0..count.max(1)).contains(&partition_for(&key.to_le_bytes(), count)));
            }
        }
    }

    #[test]
    fn the_position_after_a_record_is_what_kafka_commits() {
        assert_eq!(Position::after(41), Position::at(42));
        assert_eq!(Position::after(i64::MAX), Position::at(i64::MAX));
    }
}
