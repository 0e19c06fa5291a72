//! Inputs as a flow declares them.

use std::time::Duration;

use chrono::{DateTime, NaiveDate, NaiveTime, Utc};
use serde_json::Value;

use super::Pattern;
use crate::{Properties, Text};

/// An input of a flow, or of a resumption.
#[derive(Debug)]
pub struct Input {
    /// May hold dots: `a.b` is `inputs.a.b` in expressions, and `a.b` to callers.
    pub id: String,
    pub kind: InputKind,
    pub required: bool,
    /// Used when nothing, or null, was given; rendered then.
    pub defaults: Option<Properties>,
    /// For forms only: an execution without the input does not get it.
    pub prefill: Option<Value>,
    pub depends_on: Option<DependsOn>,
    pub description: Option<String>,
    pub display_name: Option<String>,
}

/// When an input is asked for at all.
#[derive(Debug)]
pub struct DependsOn {
    pub inputs: Vec<String>,
    /// Must render to boolean true.
    pub condition: Option<Text>,
}

/// Inclusive bounds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bounds<T> {
    pub low: Option<T>,
    pub high: Option<T>,
}

impl<T> Default for Bounds<T> {
    fn default() -> Self {
        Self { low: None, high: None }
    }
}

/// A choice of texts.
#[derive(Debug, Default)]
pub struct Select {
    pub values: Vec<String>,
    /// Renders to a list of texts, which replaces `values`.
    pub expression: Option<Text>,
    pub allow_custom_value: bool,
    /// Without `defaults` the first value is the default.
    pub auto_select_first: bool,
}

/// Type and options of an input.
#[derive(Debug)]
pub enum InputKind {
    String {
        validator: Option<Pattern>,
    },
    /// 32 bits.
    Int(Bounds<i64>),
    Float(Bounds<f64>),
    Bool,
    DateTime(Bounds<DateTime<Utc>>),
    Date(Bounds<NaiveDate>),
    Time(Bounds<NaiveTime>),
    Duration(Bounds<Duration>),
    /// Extensions with their dot; compared without case. Empty: all.
    File {
        allowed_extensions: Vec<String>,
    },
    Json,
    Yaml,
    Uri,
    Email,
    /// A text that is kept encrypted; the pattern looks at the plain one.
    Secret {
        validator: Option<Pattern>,
    },
    /// Elements are converted to `item`.
    Array {
        item: InputType,
    },
    Select(Select),
    MultiSelect {
        select: Select,
        item: InputType,
    },
    Enum {
        values: Vec<String>,
    },
}

macro_rules! input_types {
    ($($name:ident = $text:literal),+ $(,)?) => {
        /// The name of an input's type. BOOLEAN and BOOL are one.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum InputType { $($name),+ }

        impl InputType {
            pub const ALL: &[InputType] = &[$(InputType::$name),+];

            pub const fn as_str(self) -> &'static str {
                match self { $(InputType::$name => $text),+ }
            }
        }
    };
}

input_types! {
    String = "STRING",
    Int = "INT",
    Float = "FLOAT",
    Bool = "BOOL",
    DateTime = "DATETIME",
    Date = "DATE",
    Time = "TIME",
    Duration = "DURATION",
    File = "FILE",
    Json = "JSON",
    Yaml = "YAML",
    Uri = "URI",
    Secret = "SECRET",
    Array = "ARRAY",
    Select = "SELECT",
    MultiSelect = "MULTISELECT",
    Enum = "ENUM",
    Email = "EMAIL",
}

impl InputType {
    /// By its exact name: types of inputs are case-sensitive.
    pub fn parse(name: &str) -> Option<Self> {
        if name == "BOOLEAN" {
            return Some(Self::Bool);
        }
        Self::ALL.iter().copied().find(|known| known.as_str() == name)
    }

    /// Whether it can be the type of the elements of an ARRAY or MULTISELECT.
    pub fn is_item(self) -> bool {
        !matches!(self, Self::Array | Self::Secret | Self::MultiSelect | Self::Enum | Self::Select)
    }
}

impl InputKind {
    /// Its values are kept encrypted.
    pub fn is_secret(&self) -> bool {
        matches!(self, Self::Secret { .. })
    }

    pub fn input_type(&self) -> InputType {
        match self {
            Self::String { .. } => InputType::String,
            Self::Int(_) => InputType::Int,
            Self::Float(_) => InputType::Float,
            Self::Bool => InputType::Bool,
            Self::DateTime(_) => InputType::DateTime,
            Self::Date(_) => InputType::Date,
            Self::Time(_) => InputType::Time,
            Self::Duration(_) => InputType::Duration,
            Self::File { .. } => InputType::File,
            Self::Json => InputType::Json,
            Self::Yaml => InputType::Yaml,
            Self::Uri => InputType::Uri,
            Self::Email => InputType::Email,
            Self::Secret { .. } => InputType::Secret,
            Self::Array { .. } => InputType::Array,
            Self::Select(_) => InputType::Select,
            Self::MultiSelect { .. } => InputType::MultiSelect,
            Self::Enum { .. } => InputType::Enum,
        }
    }
}
