//! bellwether without its adapters, from the same files: what turns bytes of others into something of ours.
#![allow(dead_code, unused_imports, reason = "the rooms that use the rest are not here")]

#[path = "../../src/clean/mod.rs"]
pub mod clean;
#[path = "../../src/codec/mod.rs"]
pub mod codec;
#[path = "../../src/config/mod.rs"]
pub mod config;
#[path = "../../src/entity/mod.rs"]
pub mod entity;
#[path = "../../src/event/mod.rs"]
pub mod event;
#[path = "../../src/model/mod.rs"]
pub mod model;
#[path = "../../src/rule/mod.rs"]
pub mod rule;
#[path = "../../src/sample/mod.rs"]
pub mod sample;
#[path = "../../src/stream/mod.rs"]
pub mod stream;
#[path = "../../src/time.rs"]
pub mod time;
#[path = "../../src/window/mod.rs"]
pub mod window;

/// The settings of rooms that are not here.
#[path = "../../src/archive/settings.rs"]
pub mod archive;
#[path = "../../src/retrain/settings.rs"]
pub mod retrain;
#[path = "../../src/telemetry/settings.rs"]
pub mod telemetry;
#[path = "../../src/web/settings.rs"]
pub mod web;

#[path = "kafka.rs"]
pub mod kafka;
#[path = "onnx.rs"]
pub mod onnx;
#[path = "pipeline.rs"]
pub mod pipeline;
