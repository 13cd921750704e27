//! A record as any program may send it, byte by byte: no client library writes a header whose name is no UTF-8.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use bellwether::time::{Clock as _, SystemClock};

/// Sends one record to partition 0 of a topic (Produce version 3, one batch of format 2); returns the broker's error code.
pub fn produce(servers: &str, topic: &str, value: &[u8], headers: &[(&[u8], &[u8])]) -> i16 {
    let batch = batch(&record(value, headers));
    let mut body = Vec::new();
    // No transaction; acknowledged by all within ten seconds.
    for part in [&(-1_i16).to_be_bytes()[..], &(-1_i16).to_be_bytes(), &10_000_i32.to_be_bytes()] {
        body.extend_from_slice(part);
    }
    body.extend(1_i32.to_be_bytes());
    body.extend(text(topic));
    for part in [1_i32, 0, batch.len() as i32] {
        body.extend(part.to_be_bytes());
    }
    body.extend(batch);
    let mut request = Vec::new();
    // Produce, version 3, correlation 1.
    for part in [&0_i16.to_be_bytes()[..], &3_i16.to_be_bytes(), &1_i32.to_be_bytes()] {
        request.extend_from_slice(part);
    }
    request.extend(text("raw"));
    request.extend(body);
    let mut broker = TcpStream::connect(servers).unwrap();
    broker.write_all(&(request.len() as i32).to_be_bytes()).unwrap();
    broker.write_all(&request).unwrap();
    let mut size = [0; 4];
    broker.read_exact(&mut size).unwrap();
    let mut answer = vec![0; i32::from_be_bytes(size) as usize];
    broker.read_exact(&mut answer).unwrap();
    // Correlation, one topic with its name, one partition with its number: then the code.
    let at = 4 + 4 + 2 + topic.len() + 4 + 4;
    i16::from_be_bytes(answer[at..at + 2].try_into().unwrap())
}

fn text(text: &str) -> Vec<u8> {
    [&(text.len() as i16).to_be_bytes()[..], text.as_bytes()].concat()
}

fn record(value: &[u8], headers: &[(&[u8], &[u8])]) -> Vec<u8> {
    let mut inner = vec![0];
    // Deltas of time and offset; no key.
    for number in [0, 0, -1, value.len() as i64] {
        varint(number, &mut inner);
    }
    inner.extend_from_slice(value);
    varint(headers.len() as i64, &mut inner);
    for part in headers.iter().flat_map(|(name, value)| [name, value]) {
        varint(part.len() as i64, &mut inner);
        inner.extend_from_slice(part);
    }
    let mut record = Vec::new();
    varint(inner.len() as i64, &mut record);
    record.extend(inner);
    record
}

fn batch(record: &[u8]) -> Vec<u8> {
    let mut covered = Vec::new();
    // Of now, for what is old is removed within seconds.
    let now = (SystemClock::new().now().millis()).to_be_bytes();
    // Attributes, the last offset, times, no producer, no sequence, one record.
    for part in [&0_i16.to_be_bytes()[..], &0_i32.to_be_bytes(), &now, &now] {
        covered.extend_from_slice(part);
    }
    for part in [&(-1_i64).to_be_bytes()[..], &(-1_i16).to_be_bytes(), &(-1_i32).to_be_bytes(), &1_i32.to_be_bytes()] {
        covered.extend_from_slice(part);
    }
    covered.extend_from_slice(record);
    let rest = [&(-1_i32).to_be_bytes()[..], &[2], &crc32c(&covered).to_be_bytes(), &covered].concat();
    [&0_i64.to_be_bytes()[..], &(rest.len() as i32).to_be_bytes(), &rest].concat()
}

/// The checksum of a batch: CRC-32C (Castagnoli), RFC 3720 appendix B.4.
fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| (sum >> 1) ^ (0x82f6_3b78 & (sum & 1).wrapping_neg()))
    })
}

/// A number as records have it: zigzag, seven bits at a time.
fn varint(number: i64, into: &mut Vec<u8>) {
    let mut rest = ((number << 1) ^ (number >> 63)) as u64;
    while rest >= 0x80 {
        into.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    into.push(rest as u8);
}
