//! The room kafka.
