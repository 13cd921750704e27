//! The room memory.
