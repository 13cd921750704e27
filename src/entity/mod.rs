//! The room entity.
