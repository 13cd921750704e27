//! The room clean.
