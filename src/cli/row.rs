//! A JSON object whose keys keep their order and whose other values keep their bytes: what filters pass through.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde::ser::{Serialize, SerializeMap as _, Serializer};
use serde_json::value::RawValue;

use crate::cli::{Failure, Input};

/// One object.
#[derive(Debug)]
pub struct Row {
    fields: Vec<(String, Box<RawValue>)>,
}

impl Row {
    /// Reads the line `number` of `input`.
    ///
    /// # Errors
    /// When it is no JSON object, naming file and line.
    pub fn read(input: &Input, number: usize, text: &str) -> Result<Self, Failure> {
        serde_json::from_str(text).map_err(|error| {
            input.bad(
                number,
                format!("not a JSON object: {error}"),
                "write one JSON object a line, with a field `text`",
            )
        })
    }

    /// A field that is a text; `None` when it is absent or something else.
    pub fn text(&self, name: &str) -> Option<String> {
        self.raw(name).and_then(|raw| serde_json::from_str(raw.get()).ok())
    }

    /// Puts a value in its field's place, or at the end.
    ///
    /// # Errors
    /// When the value has no JSON form.
    pub fn set(&mut self, name: &str, value: &impl Serialize) -> Result<(), Failure> {
        let raw = serde_json::value::to_raw_value(value).map_err(|error| Failure::internal(error.to_string()))?;
        match self.fields.iter_mut().find(|(field, _)| field == name) {
            Some((_, old)) => *old = raw,
            None => self.fields.push((name.to_owned(), raw)),
        }
        Ok(())
    }

    fn raw(&self, name: &str) -> Option<&RawValue> {
        self.fields.iter().rev().find(|(field, _)| field == name).map(|(_, raw)| &**raw)
    }
}

impl Serialize for Row {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.fields.len()))?;
        for (name, raw) in &self.fields {
            map.serialize_entry(name, raw)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Row {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;
        impl<'de> Visitor<'de> for Fields {
            type Value = Row;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Row, A::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(Row { fields })
            }
        }
        deserializer.deserialize_map(Fields)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn the_order_of_keys_and_the_form_of_numbers_are_kept() {
        let text = r#"{"z":1.50,"text":"a","a":{"y":1,"x":[10000000000000000000000]}}"#;
        let mut row: Row = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&row).unwrap(), text);
        row.set("text", &"b").unwrap();
        row.set("new", &true).unwrap();
        let changed = r#"{"z":1.50,"text":"b","a":{"y":1,"x":[10000000000000000000000]},"new":true}"#;
        assert_eq!(serde_json::to_string(&row).unwrap(), changed);
    }
}
