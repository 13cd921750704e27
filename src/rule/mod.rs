//! Rules and the life of an alert: what a condition is, when it turns an alert, and what is said about it.
//!
//! ```text
//!  quiet ──holds──► pending ──for `hold`──► firing ──not for `keep_firing`──► resolved (= quiet)
//!    │                 └──holds no more──► resolved                              ▲
//!    └──holds, `hold` is 0──► firing ─────────────────────────────────────────────┘
//! ```
//! Time is log time. Every arrow that ends at a name is one record of the `alerts` topic.

mod evidence;
mod life;
mod settings;
mod summary;

pub use evidence::{EVIDENCE_MAX, evidence};
pub use life::{Life, Turn, fingerprint};
pub use settings::{Bound, Rule, SubjectPattern};
pub use summary::summary;
