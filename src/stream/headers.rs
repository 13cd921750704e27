//! Record headers, packed into one buffer: a record has half a dozen of them, and is read and dropped with each of them.

use std::fmt::{self, Debug, Display, Write as _};

/// Record headers in their order; names may repeat, values may be null.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Headers {
    /// Of each: the lengths of its name and of its value, 4 bytes little-endian each, the name, the value.
    packed: Vec<u8>,
    count: usize,
}

/// Stands for the length of a value that is null.
const NULL: u32 = u32::MAX;
/// Bytes of the two lengths.
const LENGTHS: usize = 8;

impl Headers {
    /// None.
    #[must_use]
    pub const fn new() -> Self {
        Self { packed: Vec::new(), count: 0 }
    }

    /// None, with room for so many bytes of names, values and 8 more a header.
    #[must_use]
    pub fn with_capacity(bytes: usize) -> Self {
        Self { packed: Vec::with_capacity(bytes), count: 0 }
    }

    /// How many there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.count
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Bytes of all names and values.
    #[must_use]
    pub const fn size(&self) -> usize {
        self.packed.len() - LENGTHS * self.count
    }

    /// Puts one behind the others.
    pub fn push(&mut self, name: &str, value: Option<&[u8]>) {
        self.put(name, |packed| value.map(|value| packed.extend_from_slice(value)));
    }

    /// Puts one with this text behind the others.
    pub fn push_text(&mut self, name: &str, value: &dyn Display) {
        self.put(name, |packed| write!(Text(packed), "{value}").ok());
    }

    /// In their order.
    #[must_use]
    pub fn iter(&self) -> Iter<'_> {
        Iter { left: &self.packed }
    }

    /// The value of the first one of that name, where it is not null.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.iter().find(|(found, _)| *found == name)?.1
    }

    /// `write` puts the value behind what is there; `None` says that it is null.
    fn put(&mut self, name: &str, write: impl FnOnce(&mut Vec<u8>) -> Option<()>) {
        let packed = &mut self.packed;
        packed.extend_from_slice(&length(name.len()).to_le_bytes());
        let at = packed.len();
        packed.extend_from_slice(&NULL.to_le_bytes());
        packed.extend_from_slice(name.as_bytes());
        let from = packed.len();
        let is_null = write(packed).is_none();
        if is_null {
            packed.truncate(from);
        }
        let bytes = length(packed.len() - from);
        if let Some(place) = packed.get_mut(at..).and_then(|rest| rest.first_chunk_mut()).filter(|_| !is_null) {
            *place = bytes.to_le_bytes();
        }
        self.count += 1;
    }
}

/// No name and no value comes near 4 GiB: a record has at most 2.
fn length(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(NULL - 1)
}

struct Text<'a>(&'a mut Vec<u8>);

impl fmt::Write for Text<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.extend_from_slice(text.as_bytes());
        Ok(())
    }
}

/// Headers in their order: name and value.
#[derive(Debug, Clone)]
pub struct Iter<'a> {
    left: &'a [u8],
}

impl<'a> Iterator for Iter<'a> {
    type Item = (&'a str, Option<&'a [u8]>);

    fn next(&mut self) -> Option<Self::Item> {
        let (name, left) = self.left.split_first_chunk()?;
        let (value, left) = left.split_first_chunk()?;
        let (name, left) = left.split_at_checked(u32::from_le_bytes(*name) as usize)?;
        let length = u32::from_le_bytes(*value);
        let (value, left) = left.split_at_checked(if length == NULL { 0 } else { length as usize })?;
        self.left = left;
        // It was a text when it was put in.
        Some((std::str::from_utf8(name).unwrap_or_default(), (length != NULL).then_some(value)))
    }
}

impl<'a> IntoIterator for &'a Headers {
    type Item = (&'a str, Option<&'a [u8]>);
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

impl<N: AsRef<str>, V: AsRef<[u8]>> FromIterator<(N, Option<V>)> for Headers {
    fn from_iter<I: IntoIterator<Item = (N, Option<V>)>>(all: I) -> Self {
        let mut headers = Self::new();
        headers.extend(all);
        headers
    }
}

impl<N: AsRef<str>, V: AsRef<[u8]>> Extend<(N, Option<V>)> for Headers {
    fn extend<I: IntoIterator<Item = (N, Option<V>)>>(&mut self, all: I) {
        for (name, value) in all {
            self.push(name.as_ref(), value.as_ref().map(AsRef::as_ref));
        }
    }
}

impl Debug for Headers {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_list().entries(self).finish()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_text_is_put_in_as_it_is_shown() {
        let mut headers = Headers::with_capacity(100);
        headers.push_text("ce_time", &format_args!("{}:{}", 14, 30));
        headers.push("none", None);
        headers.push("empty", Some(b""));
        assert_eq!(headers.get("ce_time"), Some(&b"14:30"[..]));
        assert_eq!((headers.get("none"), headers.get("other"), headers.get("empty")), (None, None, Some(&b""[..])));
        let twice: Headers = [("one", Some("1")), ("two", Some("2")), ("one", Some("3"))].into_iter().collect();
        assert_eq!(twice.get("one"), Some(&b"1"[..]), "the first of that name");
        assert_eq!(
            format!("{headers:?}"),
            r#"[("ce_time", Some([49, 52, 58, 51, 48])), ("none", None), ("empty", Some([]))]"#
        );
    }

    struct Breaks;

    impl Display for Breaks {
        fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            formatter.write_str("half of")?;
            Err(fmt::Error)
        }
    }

    #[test]
    fn a_text_that_cannot_be_shown_is_null_and_harms_no_other() {
        let mut headers = Headers::new();
        headers.push_text("broken", &Breaks);
        headers.push_text("whole", &7);
        assert_eq!(headers.iter().collect::<Vec<_>>(), [("broken", None), ("whole", Some(&b"7"[..]))]);
    }

    proptest! {
        #[test]
        fn what_is_put_in_comes_out(all in any::<Vec<(String, Option<Vec<u8>>)>>()) {
            let headers: Headers = all.iter().map(|(name, value)| (name, value.as_ref())).collect();
            let found: Vec<_> = headers.iter().map(|(name, value)| (name.to_owned(), value.map(<[u8]>::to_vec))).collect();
            prop_assert_eq!(&found, &all);
            prop_assert_eq!((headers.len(), headers.is_empty()), (all.len(), all.is_empty()));
            let bytes = all.iter().map(|(name, value)| name.len() + value.as_ref().map_or(0, Vec::len));
            prop_assert_eq!(headers.size(), bytes.sum::<usize>());
            let again: Headers = headers.iter().collect();
            prop_assert!(again == headers);
        }
    }
}
