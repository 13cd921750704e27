//! The room pipeline.
