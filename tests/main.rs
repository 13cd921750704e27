//! One binary, one module a promise.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::float_cmp,
    missing_docs,
    unreachable_pub,
    reason = "tests may fail loudly, and ask the environment and the wall clock"
)]

mod archive;
mod challenger;
mod commands;
mod config;
mod corpus;
mod dataset;
mod dead_letters;
mod demo;
mod drift;
mod explain;
mod faults;
mod fuzz;
mod guarantees;
mod import;
mod kafka;
mod label;
mod layering;
mod model;
mod monitoring;
mod pipeline;
mod registry;
mod retrain;
mod schemas;
mod trial;
mod web;
