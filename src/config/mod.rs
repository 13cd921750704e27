//! The room config.
