//! The fields of a JSON record that a mapping asks for, taken out in one pass without building the rest.
//!
//! Only what a JSON pointer leads to is kept, borrowed from the record's bytes where it can be. Everything else is read
//! over, but read: a record with a broken or absurdly deep end (128 levels, serde_json's limit) is refused as a whole.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

/// Elements of an array that are kept; the rest is read over.
const ELEMENTS_MAX: usize = 256;

/// What a pointer leads to.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Leaf<'a> {
    Null,
    Flag,
    Whole(i64),
    Large(u64),
    Real(f64),
    Text(Cow<'a, str>),
    List(Vec<Leaf<'a>>),
    Object,
}

impl Leaf<'_> {
    /// The JSON type, for messages.
    pub(super) const fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Flag => "a boolean",
            Self::Whole(_) | Self::Large(_) | Self::Real(_) => "a number",
            Self::Text(_) => "a text",
            Self::List(_) => "an array",
            Self::Object => "an object",
        }
    }
}

/// The leaves at `pointers`, in their order; absent ones and nulls are `None`, of duplicate keys the last counts.
///
/// # Errors
/// When the bytes are not one JSON object.
pub(super) fn leaves<'a>(bytes: &'a [u8], pointers: &[&str]) -> Result<Vec<Option<Leaf<'a>>>, serde_json::Error> {
    let mut found: Vec<Option<Leaf<'a>>> = vec![None; pointers.len()];
    let wanted = pointers.iter().enumerate().map(|(slot, pointer)| Wanted { slot, rest: pointer }).collect();
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    (&mut deserializer).deserialize_map(Root(Seed { wanted, found: &mut found }))?;
    deserializer.end()?;
    Ok(found)
}

/// A slot and what is left of its pointer, which is empty or begins with `/`.
#[derive(Clone, Copy)]
struct Wanted<'p> {
    slot: usize,
    rest: &'p str,
}

impl<'p> Wanted<'p> {
    /// The same one level deeper, if the next token of the pointer is `key`.
    fn inside(self, key: &str) -> Option<Self> {
        let rest = self.rest.strip_prefix('/')?;
        let end = rest.find('/').unwrap_or(rest.len());
        let (token, rest) = rest.split_at(end);
        let equal = if token.contains('~') { token.replace("~1", "/").replace("~0", "~") == key } else { token == key };
        equal.then_some(Self { slot: self.slot, rest })
    }
}

/// Reads one value of which some parts are wanted. An array that is wanted whole is looked into no deeper than its
/// elements.
struct Seed<'p, 'f, 'a> {
    wanted: Vec<Wanted<'p>>,
    found: &'f mut [Option<Leaf<'a>>],
}

impl<'p, 'a> Seed<'p, '_, 'a> {
    /// Puts the leaf where exactly this value is wanted.
    fn keep(&mut self, leaf: &Leaf<'a>) {
        for wanted in self.wanted.iter().filter(|wanted| wanted.rest.is_empty()) {
            if let Some(place) = self.found.get_mut(wanted.slot) {
                *place = if *leaf == Leaf::Null { None } else { Some(leaf.clone()) };
            }
        }
    }

    fn below(&mut self, key: &str) -> Seed<'p, '_, 'a> {
        let wanted = self.wanted.iter().filter_map(|wanted| wanted.inside(key)).collect();
        Seed { wanted, found: self.found }
    }

    fn is_whole(&self) -> bool {
        self.wanted.iter().all(|wanted| wanted.rest.is_empty())
    }
}

impl<'a> DeserializeSeed<'a> for Seed<'_, '_, 'a> {
    type Value = ();

    fn deserialize<D: Deserializer<'a>>(mut self, deserializer: D) -> Result<(), D::Error> {
        // Of duplicate keys the last counts: an earlier one leaves nothing behind.
        for wanted in &self.wanted {
            if let Some(place) = self.found.get_mut(wanted.slot) {
                *place = None;
            }
        }
        if self.is_whole() {
            let leaf = Leaf::deserialize(deserializer)?;
            self.keep(&leaf);
            return Ok(());
        }
        deserializer.deserialize_any(self)
    }
}

/// A value that is not only wanted whole. What is no object and no array has nothing inside.
impl<'a> Visitor<'a> for Seed<'_, '_, 'a> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_map<A: MapAccess<'a>>(mut self, mut map: A) -> Result<(), A::Error> {
        self.keep(&Leaf::Object);
        while let Some(Key(key)) = map.next_key()? {
            let below = self.below(&key);
            if below.wanted.is_empty() {
                map.next_value::<Skip>()?;
            } else {
                map.next_value_seed(below)?;
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'a>>(mut self, mut seq: A) -> Result<(), A::Error> {
        let mut elements = Vec::new();
        for index in 0_usize.. {
            let Some(leaf) = seq.next_element_seed(Element { seed: self.below(&index.to_string()) })? else { break };
            if elements.len() < ELEMENTS_MAX {
                elements.push(leaf);
            }
        }
        self.keep(&Leaf::List(elements));
        Ok(())
    }

    fn visit_str<E: Error>(mut self, text: &str) -> Result<(), E> {
        self.keep(&Leaf::Text(Cow::Owned(text.to_owned())));
        Ok(())
    }

    fn visit_i64<E: Error>(mut self, number: i64) -> Result<(), E> {
        self.keep(&Leaf::Whole(number));
        Ok(())
    }

    fn visit_u64<E: Error>(mut self, number: u64) -> Result<(), E> {
        self.keep(&whole(number));
        Ok(())
    }

    fn visit_f64<E: Error>(mut self, number: f64) -> Result<(), E> {
        self.keep(&Leaf::Real(number));
        Ok(())
    }

    fn visit_bool<E: Error>(mut self, _: bool) -> Result<(), E> {
        self.keep(&Leaf::Flag);
        Ok(())
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }
}

/// An element of an array of which something is wanted: looked into where a pointer leads on, else kept as it is.
struct Element<'p, 'f, 'a> {
    seed: Seed<'p, 'f, 'a>,
}

impl<'a> DeserializeSeed<'a> for Element<'_, '_, 'a> {
    type Value = Leaf<'a>;

    fn deserialize<D: Deserializer<'a>>(mut self, deserializer: D) -> Result<Leaf<'a>, D::Error> {
        if !self.seed.is_whole() {
            return self.seed.deserialize(deserializer).map(|()| Leaf::Object);
        }
        let leaf = Leaf::deserialize(deserializer)?;
        self.seed.keep(&leaf);
        Ok(leaf)
    }
}

/// The record itself: an object, or it is malformed.
struct Root<'p, 'f, 'a>(Seed<'p, 'f, 'a>);

impl<'a> Visitor<'a> for Root<'_, '_, 'a> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'a>>(self, map: A) -> Result<(), A::Error> {
        self.0.visit_map(map)
    }
}

/// A key, borrowed unless it has escapes.
struct Key<'a>(Cow<'a, str>);

impl<'a> Deserialize<'a> for Key<'a> {
    fn deserialize<D: Deserializer<'a>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl<'a> Visitor<'a> for Text {
            type Value = Key<'a>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a key")
            }

            fn visit_borrowed_str<E: Error>(self, text: &'a str) -> Result<Key<'a>, E> {
                Ok(Key(Cow::Borrowed(text)))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Key<'a>, E> {
                Ok(Key(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(Text)
    }
}

/// Reads a value over; unlike `IgnoredAny` it counts levels, so that depth is refused wherever it stands.
struct Skip;

impl<'a> Deserialize<'a> for Skip {
    fn deserialize<D: Deserializer<'a>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(LeafVisitor { elements_max: 0 }).map(|_| Self)
    }
}

impl<'a> Deserialize<'a> for Leaf<'a> {
    fn deserialize<D: Deserializer<'a>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(LeafVisitor { elements_max: ELEMENTS_MAX })
    }
}

struct LeafVisitor {
    elements_max: usize,
}

impl<'a> Visitor<'a> for LeafVisitor {
    type Value = Leaf<'a>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_borrowed_str<E: Error>(self, text: &'a str) -> Result<Leaf<'a>, E> {
        Ok(Leaf::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Leaf<'a>, E> {
        Ok(Leaf::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Leaf<'a>, E> {
        Ok(Leaf::Whole(number))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Leaf<'a>, E> {
        Ok(whole(number))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Leaf<'a>, E> {
        Ok(Leaf::Real(number))
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Leaf<'a>, E> {
        Ok(Leaf::Flag)
    }

    fn visit_unit<E: Error>(self) -> Result<Leaf<'a>, E> {
        Ok(Leaf::Null)
    }

    fn visit_seq<A: SeqAccess<'a>>(self, mut seq: A) -> Result<Leaf<'a>, A::Error> {
        let mut elements = Vec::new();
        while elements.len() < self.elements_max {
            match seq.next_element()? {
                Some(leaf) => elements.push(leaf),
                None => return Ok(Leaf::List(elements)),
            }
        }
        while seq.next_element::<Skip>()?.is_some() {}
        Ok(Leaf::List(elements))
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<Leaf<'a>, A::Error> {
        while map.next_entry::<Key<'_>, Skip>()?.is_some() {}
        Ok(Leaf::Object)
    }
}

fn whole(number: u64) -> Leaf<'static> {
    i64::try_from(number).map_or(Leaf::Large(number), Leaf::Whole)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
    use proptest::prelude::*;

    use super::*;

    fn at<'a>(json: &'a str, pointer: &str) -> Option<Leaf<'a>> {
        leaves(json.as_bytes(), &[pointer]).unwrap().remove(0)
    }

    #[test]
    fn a_pointer_leads_where_rfc_6901_says() {
        let json = r#"{"a":{"b":[1,{"c":"x"}]},"m~n/o":true,"":{"":-1},"n":null}"#;
        assert_eq!(at(json, "/a/b/1/c"), Some(Leaf::Text("x".into())));
        assert_eq!(at(json, "/a/b/0"), Some(Leaf::Whole(1)));
        assert_eq!(at(json, "/a"), Some(Leaf::Object));
        assert_eq!(at(json, "/m~0n~1o"), Some(Leaf::Flag));
        assert_eq!(at(json, "//"), Some(Leaf::Whole(-1)));
        assert_eq!(at(json, "/n"), None);
        assert_eq!(at(json, "/a/x/y"), None);
        assert_eq!(at(json, "/n/x"), None);
    }

    #[test]
    fn a_value_and_its_inside_can_both_be_wanted() {
        let json = br#"{"u":{"name":"jo"},"s":["A","B"]}"#;
        let found = leaves(json, &["/u", "/u/name", "/s", "/s/1"]).unwrap();
        assert_eq!(found[0], Some(Leaf::Object));
        assert_eq!(found[1], Some(Leaf::Text("jo".into())));
        assert_eq!(found[2], Some(Leaf::List(vec![Leaf::Text("A".into()), Leaf::Text("B".into())])));
        assert_eq!(found[3], Some(Leaf::Text("B".into())));
    }

    #[test]
    fn of_duplicate_keys_the_last_counts() {
        assert_eq!(at(r#"{"a":1,"a":2}"#, "/a"), Some(Leaf::Whole(2)));
        assert_eq!(at(r#"{"a":{"b":1},"a":{}}"#, "/a/b"), None);
    }

    #[test]
    fn depth_is_refused_wherever_it_stands() {
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        assert!(leaves(deep.as_bytes(), &["/a"]).is_err());
        assert!(leaves(format!("{{\"x\":{deep}}}").as_bytes(), &["/a"]).is_err());
        assert!(leaves(format!("{{\"a\":{deep}}}").as_bytes(), &["/a"]).is_err());
        let objects = "{\"a\":".repeat(100_000);
        assert!(leaves(objects.as_bytes(), &["/a/a/a"]).is_err());
    }

    #[test]
    fn what_is_not_one_object_is_refused() {
        for json in ["", "1", "[]", "null", "{", "{}x", "{\"a\":1}{}", "\u{feff}"] {
            assert!(leaves(json.as_bytes(), &["/a"]).is_err(), "{json}");
        }
        assert!(leaves(b"{\"a\":\"\xff\"}", &["/a"]).is_err());
    }

    proptest! {
        #[test]
        fn the_pass_finds_what_a_whole_tree_finds(
            keys in proptest::collection::vec(("[ab]", "[ab/]{0,2}", -3_i64..3), 0..5),
            pointer in "(/[ab]){1,3}",
        ) {
            let mut object = serde_json::Map::new();
            for (outer, inner, number) in keys {
                let slot = object.entry(outer).or_insert_with(|| serde_json::json!({}));
                slot.as_object_mut().unwrap().insert(inner, number.into());
            }
            let json = serde_json::Value::Object(object);
            let text = json.to_string();
            let expected = json.pointer(&pointer).map(|value| value.as_i64().map_or(Leaf::Object, Leaf::Whole));
            prop_assert_eq!(at(&text, &pointer), expected);
        }

        #[test]
        fn no_bytes_make_it_fail(bytes in proptest::collection::vec(any::<u8>(), 0..64), text in "[{}\\[\\]\":,a01. ]{0,40}") {
            let _ = (leaves(&bytes, &["/a", "/a/0"]), leaves(text.as_bytes(), &["/a", "/a/0", "/a/a"]));
        }
    }
}
