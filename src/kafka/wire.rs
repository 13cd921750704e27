//! Records and positions as librdkafka has them, and as we have them. Nothing is decided here.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use bytes::Bytes;
use rdkafka::error::{KafkaError as Theirs, RDKafkaErrorCode as Code};
use rdkafka::message::{BorrowedHeaders, BorrowedMessage, Header, Headers as _, Message as _, OwnedHeaders};
use rdkafka::producer::BaseRecord;
use rdkafka::util::IntoOpaque;
use rdkafka::{Offset, TopicPartitionList};

use crate::kafka::KafkaError;
use crate::stream::{Headers, Output, Partition, Position, Record};
use crate::time::Timestamp;

thread_local! {
    static IS_READING_NAMES: Cell<bool> = const { Cell::new(false) };
}

/// What stands for the name of a header that is no UTF-8; its value is out of reach as well.
const UNREADABLE: &str = "\u{fffd}";

/// Whether an error of a poll says that what a broker holds cannot be read. librdkafka goes on behind such records, or asks
/// for them again for good: either way nobody would miss them.
pub(super) fn is_unreadable(error: &Theirs) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(
            Code::BadMessage
                | Code::BadCompression
                | Code::NotImplemented
                | Code::InvalidMessage
                | Code::MessageSizeTooLarge
        )
    )
}

/// Whether this thread reads the names of headers: rdkafka panics at one that is no UTF-8, and that panic is caught here.
#[must_use]
pub fn is_reading_names() -> bool {
    IS_READING_NAMES.get()
}

/// The headers of a message, in order. Whoever writes to a topic decides what their names are.
fn headers_of(headers: &BorrowedHeaders) -> Headers {
    let one = |place: usize| {
        IS_READING_NAMES.set(true);
        let header = catch_unwind(AssertUnwindSafe(|| headers.get(place)));
        IS_READING_NAMES.set(false);
        header.map_or((UNREADABLE, None), |header| (header.key, header.value))
    };
    (0..headers.count()).map(one).collect()
}

/// Copies a message out of librdkafka's memory.
pub(super) fn record(message: &BorrowedMessage<'_>, topic: &Arc<str>) -> Record {
    let headers = message.headers().map_or_else(Headers::new, headers_of);
    Record {
        partition: Partition::new(topic, message.partition()),
        offset: message.offset(),
        appended_at: Timestamp::from_millis(message.timestamp().to_millis().unwrap_or(0)),
        key: message.key().map(Bytes::copy_from_slice),
        value: message.payload().map(Bytes::copy_from_slice),
        headers,
    }
}

/// The record to send for an output, for its own partition.
pub(super) fn outgoing<O: IntoOpaque>(output: &Output, opaque: O) -> BaseRecord<'_, [u8], [u8], O> {
    let mut record = BaseRecord::with_opaque_to(&output.topic, opaque).partition(output.partition);
    if let Some(key) = &output.key {
        record = record.key(key.as_ref());
    }
    if let Some(value) = &output.value {
        record = record.payload(value.as_ref());
    }
    if !output.headers.is_empty() {
        record = record.headers(headers(&output.headers));
    }
    record
}

/// Headers as librdkafka takes them.
pub(super) fn headers(all: &Headers) -> OwnedHeaders {
    let insert = |headers: OwnedHeaders, (key, value)| headers.insert(Header { key, value });
    all.iter().fold(OwnedHeaders::new_with_capacity(all.len()), insert)
}

/// A list of partitions with their positions.
///
/// # Errors
/// When librdkafka does not take an offset.
pub(super) fn list<'a>(
    positions: impl IntoIterator<Item = (&'a Partition, Position)>,
) -> Result<TopicPartitionList, KafkaError> {
    let mut list = TopicPartitionList::new();
    for (at, position) in positions {
        list.add_partition_offset(&at.topic, at.number, Offset::Offset(position.offset()))?;
    }
    Ok(list)
}

/// A list of partitions without positions.
pub(super) fn bare_list<'a>(partitions: impl IntoIterator<Item = &'a Partition>) -> TopicPartitionList {
    let mut list = TopicPartitionList::new();
    for at in partitions {
        list.add_partition(&at.topic, at.number);
    }
    list
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_librdkafka_would_skip_or_ask_for_for_good_is_no_passing_trouble() {
        for code in [
            Code::BadMessage,
            Code::BadCompression,
            Code::NotImplemented,
            Code::InvalidMessage,
            Code::MessageSizeTooLarge,
        ] {
            assert!(is_unreadable(&Theirs::MessageConsumption(code)), "{code:?}");
        }
        for code in [Code::BrokerTransportFailure, Code::AllBrokersDown, Code::NotLeaderForPartition] {
            assert!(!is_unreadable(&Theirs::MessageConsumption(code)), "{code:?}");
        }
    }
}
