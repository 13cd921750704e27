//! What librdkafka's errors mean for a transaction.

use rdkafka::error::{KafkaError as Theirs, RDKafkaErrorCode as Code};

use crate::stream::{Fault, Output};

/// What librdkafka says about the error: it knows what may follow.
pub(super) fn fault(error: &Theirs) -> Fault {
    let mut why = error.to_string();
    if let Some(Code::Fenced | Code::ProducerFenced | Code::InvalidProducerEpoch) = error.rdkafka_error_code() {
        why.push_str("; does another process run with this `kafka.instance`? Give each its own");
    }
    match error {
        Theirs::Transaction(inner) if inner.is_fatal() => Fault::Fatal(why),
        Theirs::Transaction(inner) if inner.txn_requires_abort() => Fault::Abortable(why),
        Theirs::Transaction(inner) if inner.is_retriable() => Fault::Retriable(why),
        _ => Fault::Fatal(why),
    }
}

/// What it means that the client did not take an output.
pub(super) fn refused_output(output: &Output, error: &Theirs) -> Fault {
    let size = output.size();
    let why = format!("a record of {size} bytes for {}/{} was refused: {error}", output.topic, output.partition);
    match error.rdkafka_error_code() {
        // Inside a transaction that has failed already: abort says why.
        Some(Code::State | Code::PurgeQueue) => Fault::Abortable(why),
        _ => Fault::Fatal(why),
    }
}
