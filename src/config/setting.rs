//! What each type of value looks like in a file or a variable, and how it is shown again.

use std::time::Duration;

use super::tree::{Node, Value};
use super::units::{ByteSize, parse_bytes, parse_duration, show_bytes, show_duration};
use crate::event::Severity;
use crate::model::Device;
use crate::retrain::Method;
use crate::stream::Delivery;
use crate::telemetry::LogFormat;

/// Why a value is not of the type that its key wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wrong {
    pub(super) message: String,
    pub(super) remedy: String,
}

impl Wrong {
    pub(super) fn new(message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { message: message.into(), remedy: remedy.into() }
    }
}

/// A type that stands in a pipeline file.
pub(super) trait Setting: Sized {
    /// Reads it.
    fn read(value: &Value) -> Result<Self, Wrong>;
    /// As TOML.
    fn show(&self) -> String;
}

/// A text as TOML writes it.
pub(super) fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

fn not(value: &Value, wanted: &str, example: &str) -> Wrong {
    let found = match &value.node {
        Node::Text(text) | Node::Raw(text) => quoted(text),
        Node::Integer(number) => number.to_string(),
        Node::Float(number) => number.to_string(),
        Node::Flag(flag) => flag.to_string(),
        node => node.kind().to_owned(),
    };
    Wrong::new(format!("expected {wanted}, found {found}"), format!("write {example}"))
}

/// A text, whether from a file or from a variable.
fn text(value: &Value) -> Option<&str> {
    match &value.node {
        Node::Text(text) | Node::Raw(text) => Some(text),
        _ => None,
    }
}

/// A text of the file when it is written as a number of the environment.
fn raw<T: std::str::FromStr>(value: &Value) -> Option<T> {
    match &value.node {
        Node::Raw(text) => text.trim().parse().ok(),
        _ => None,
    }
}

impl Setting for String {
    fn read(value: &Value) -> Result<Self, Wrong> {
        match text(value) {
            Some(text) if !text.trim().is_empty() => Ok(text.to_owned()),
            _ => Err(not(value, "a text", "it in quotes, and not empty")),
        }
    }

    fn show(&self) -> String {
        quoted(self)
    }
}

/// A list of texts; one text alone is a list of one.
impl Setting for Vec<String> {
    fn read(value: &Value) -> Result<Self, Wrong> {
        match &value.node {
            Node::List(items) => items.iter().map(String::read).collect(),
            Node::Text(_) | Node::Raw(_) => String::read(value).map(|one| vec![one]),
            _ => Err(not(value, "a list of texts", "[\"one\", \"two\"]")),
        }
    }

    fn show(&self) -> String {
        format!("[{}]", self.iter().map(|item| quoted(item)).collect::<Vec<_>>().join(", "))
    }
}

macro_rules! whole_number {
    ($($kind:ty),*) => {$(
        impl Setting for $kind {
            fn read(value: &Value) -> Result<Self, Wrong> {
                let number = match &value.node {
                    Node::Integer(number) => Self::try_from(*number).ok(),
                    _ => raw(value),
                };
                number.ok_or_else(|| not(value, "a whole number", "it without quotes and without a point, such as 4"))
            }

            fn show(&self) -> String {
                self.to_string()
            }
        }
    )*};
}

whole_number!(i32, u32, usize);

impl Setting for f64 {
    fn read(value: &Value) -> Result<Self, Wrong> {
        let number = match &value.node {
            Node::Float(number) => Some(*number),
            Node::Integer(number) => i32::try_from(*number).ok().map(Self::from),
            _ => raw(value),
        };
        number
            .filter(|number: &Self| number.is_finite())
            .ok_or_else(|| not(value, "a number", "it without quotes, such as 0.5"))
    }

    fn show(&self) -> String {
        format!("{self:?}")
    }
}

impl Setting for f32 {
    #[expect(clippy::cast_possible_truncation, reason = "a bound on an index needs no more than seven digits")]
    fn read(value: &Value) -> Result<Self, Wrong> {
        f64::read(value).map(|number| number as Self)
    }

    fn show(&self) -> String {
        format!("{self:?}")
    }
}

impl Setting for Duration {
    fn read(value: &Value) -> Result<Self, Wrong> {
        text(value)
            .and_then(parse_duration)
            .ok_or_else(|| not(value, "a duration", "a number and one of ms, s, m, h, d, in quotes, such as \"30m\""))
    }

    fn show(&self) -> String {
        quoted(&show_duration(*self))
    }
}

impl Setting for ByteSize {
    fn read(value: &Value) -> Result<Self, Wrong> {
        text(value)
            .and_then(parse_bytes)
            .ok_or_else(|| not(value, "a size", "a number and one of B, KiB, MiB, GiB, in quotes, such as \"64MiB\""))
    }

    fn show(&self) -> String {
        quoted(&show_bytes(*self))
    }
}

impl Setting for std::net::SocketAddr {
    fn read(value: &Value) -> Result<Self, Wrong> {
        text(value)
            .and_then(|text| text.trim().parse().ok())
            .ok_or_else(|| not(value, "an address", "an IP address and a port, such as \"127.0.0.1:9898\""))
    }

    fn show(&self) -> String {
        quoted(&self.to_string())
    }
}

impl Setting for Device {
    fn read(value: &Value) -> Result<Self, Wrong> {
        match text(value).map(|text| (text, text.strip_prefix("cuda:").map(str::parse))) {
            Some(("auto", _)) => Ok(Self::Auto),
            Some(("cpu", _)) => Ok(Self::Cpu),
            Some((_, Some(Ok(number)))) => Ok(Self::Cuda(number)),
            _ => Err(not(value, "a device", "\"auto\", \"cpu\" or \"cuda:0\"")),
        }
    }

    fn show(&self) -> String {
        match self {
            Self::Auto => quoted("auto"),
            Self::Cpu => quoted("cpu"),
            Self::Cuda(number) => quoted(&format!("cuda:{number}")),
        }
    }
}

macro_rules! choice {
    ($kind:ty, $what:literal, $($word:literal => $variant:ident),+) => {
        impl Setting for $kind {
            fn read(value: &Value) -> Result<Self, Wrong> {
                match text(value) {
                    $(Some($word) => Ok(Self::$variant),)+
                    _ => Err(not(value, $what, &[$(concat!("\"", $word, "\"")),+].join(" or "))),
                }
            }

            fn show(&self) -> String {
                quoted(match self {
                    $(Self::$variant => $word,)+
                })
            }
        }
    };
}

choice!(Delivery, "a guarantee", "exactly-once" => ExactlyOnce, "at-least-once" => AtLeastOnce);
choice!(Method, "a method whose weights can be exported", "full" => Full, "lora" => Lora, "adalora" => AdaLora);
choice!(LogFormat, "a log format", "text" => Text, "json" => Json);
choice!(Severity, "a severity", "info" => Info, "warning" => Warning, "critical" => Critical);
