//! One module a promise.
