//! The room codec.
