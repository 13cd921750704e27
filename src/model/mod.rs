//! The room model.
