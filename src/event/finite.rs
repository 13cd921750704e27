//! Numbers of our records: JSON has no infinity, so one that an `f32` cannot hold is refused when it is read.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::de::Error;
use serde::{Deserialize, Deserializer};

/// What holds numbers.
pub(super) trait Numbers {
    fn are_finite(&self) -> bool;
}

impl Numbers for f32 {
    fn are_finite(&self) -> bool {
        self.is_finite()
    }
}

impl Numbers for Option<f32> {
    fn are_finite(&self) -> bool {
        self.is_none_or(f32::is_finite)
    }
}

impl Numbers for BTreeMap<Arc<str>, f32> {
    fn are_finite(&self) -> bool {
        self.values().all(|number| number.is_finite())
    }
}

/// Reads numbers that an `f32` can hold, for serde's `deserialize_with`.
pub(super) fn finite<'de, D: Deserializer<'de>, T: Deserialize<'de> + Numbers>(from: D) -> Result<T, D::Error> {
    let numbers = T::deserialize(from)?;
    if numbers.are_finite() { Ok(numbers) } else { Err(D::Error::custom("a number is too large")) }
}

#[cfg(test)]
mod tests {
    use serde::de::IntoDeserializer;
    use serde::de::value::{Error, F64Deserializer};

    use super::*;

    #[test]
    fn what_no_f32_can_hold_is_refused() {
        let read = |number: f64| {
            let number: F64Deserializer<Error> = number.into_deserializer();
            finite::<_, f32>(number)
        };
        assert_eq!(read(0.5), Ok(0.5));
        assert!(read(5e79).is_err() && read(f64::NAN).is_err());
        assert!(Some(1.0).are_finite() && None.are_finite() && !Some(f32::NEG_INFINITY).are_finite());
        let of = |number| BTreeMap::from([(Arc::from("a"), 0.0), (Arc::from("b"), number)]);
        assert!(of(1.0).are_finite() && !of(f32::INFINITY).are_finite());
    }
}
