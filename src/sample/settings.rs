//! Which scored posts are kept.

/// The sampling policy.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Policy {
    /// Every scored post.
    All,
    /// A share of them (0 to 1), chosen by a hash of the post's id: the same posts in every run.
    Hash(f64),
}
