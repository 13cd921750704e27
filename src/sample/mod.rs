//! The room sample.
