//! bellwether: a streaming pipeline for market sentiment.
//!
//! ```text
//!  posts topics ──► score ──┬─► scored     one record a post, key = post id
//!  (news, social)           ├─► mentions   one record a (post, subject), key = subject
//!                           └─► dead-letters
//!  mentions ──────► signal ─┬─► index      compacted, key = subject
//!                           └─► alerts
//!  scored, labels ► archive ──► Parquet: samples/ and labels/
//! ```
//!
//! The house has five floors; a room uses the floors below it (`tests/layering/mod.rs` holds it to that):
//!
//! | floor | rooms |
//! | --- | --- |
//! | 4 entry | [`cli`] |
//! | 3 assembly | [`config`], [`pipeline`], [`retrain`] |
//! | 2 adapters | [`kafka`], [`onnx`], [`archive`], [`memory`], [`web`], [`telemetry`] |
//! | 1 logic | [`codec`], [`clean`], [`entity`], [`model`], [`window`], [`rule`], [`sample`] |
//! | 0 vocabulary | [`stream`], [`event`], [`time`], [`metrics`] |
//!
//! Start at [`pipeline`] for the flow, at [`stream`] for the delivery guarantee, at [`codec`] for what happens to a
//! bad record.

pub mod archive;
pub mod clean;
pub mod cli;
pub mod codec;
pub mod config;
pub mod entity;
pub mod event;
pub mod kafka;
pub mod memory;
pub mod metrics;
pub mod model;
pub mod onnx;
pub mod pipeline;
pub mod retrain;
pub mod rule;
pub mod sample;
pub mod stream;
pub mod telemetry;
pub mod time;
pub mod web;
pub mod window;
