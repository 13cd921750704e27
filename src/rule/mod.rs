//! The room rule.
