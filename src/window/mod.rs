//! The room window.
