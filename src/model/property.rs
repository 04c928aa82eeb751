//! [`Property`]: which value of a subject or an event a condition looks at.

use std::fmt;
use std::str::FromStr;

/// A dotted path to a value: a column, then keys into a struct, map or JSON object.
///
/// Written `a.b`, or `a["x.y"]` for a key with a dot, with `\"` and `\\` for `"` and `\` inside the quotes.
///
/// ```
/// use segmenta::model::property::PropertyPath;
/// let path: PropertyPath = r#"interests["home.garden"]"#.parse().unwrap();
/// assert_eq!(path.keys(), ["interests", "home.garden"]);
/// assert_eq!(path.to_string(), r#"interests["home.garden"]"#);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PropertyPath(Vec<String>);

/// Why a text is no property path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a property path: {reason}")]
pub struct InvalidPath {
    /// What was written.
    pub text: String,
    /// What is wrong with it.
    pub reason: &'static str,
}

impl PropertyPath {
    /// A path of these keys, the column first; `None` when there is none.
    #[must_use]
    pub fn from_keys(keys: Vec<String>) -> Option<Self> {
        if keys.is_empty() { None } else { Some(Self(keys)) }
    }

    /// The keys, the column first.
    #[must_use]
    pub fn keys(&self) -> &[String] {
        &self.0
    }
}

impl FromStr for PropertyPath {
    type Err = InvalidPath;

    fn from_str(text: &str) -> Result<Self, InvalidPath> {
        let invalid = |reason| InvalidPath { text: text.to_owned(), reason };
        let mut keys = Vec::new();
        let mut chars = text.chars().peekable();
        loop {
            let mut key = String::new();
            if chars.peek() == Some(&'[') {
                chars.next();
                if chars.next() != Some('"') {
                    return Err(invalid("`[` must be followed by a quoted key"));
                }
                loop {
                    match chars.next() {
                        Some('"') => break,
                        Some('\\') => match chars.next() {
                            Some(escaped @ ('"' | '\\')) => key.push(escaped),
                            _ => return Err(invalid("only `\\\"` and `\\\\` are escapes in a quoted key")),
                        },
                        Some(other) => key.push(other),
                        None => return Err(invalid("a quoted key does not end")),
                    }
                }
                if chars.next() != Some(']') {
                    return Err(invalid("a quoted key must be followed by `]`"));
                }
            } else {
                while let Some(&next) = chars.peek() {
                    match next {
                        '.' | '[' => break,
                        ']' | '"' => return Err(invalid("quote a key that holds `]` or `\"` as `[\"key\"]`")),
                        other => {
                            key.push(other);
                            chars.next();
                        }
                    }
                }
                if key.is_empty() {
                    return Err(invalid("a key is empty"));
                }
            }
            keys.push(key);
            match chars.peek() {
                None => return Ok(Self(keys)),
                Some('[') => {}
                Some('.') => {
                    chars.next();
                    if chars.peek() == Some(&'[') {
                        return Err(invalid("a key is empty"));
                    }
                }
                Some(_) => return Err(invalid("a quoted key must be followed by `.` or `[`")),
            }
        }
    }
}

impl fmt::Display for PropertyPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, key) in self.0.iter().enumerate() {
            if key.is_empty() || key.contains(['.', '[', ']', '"']) {
                write!(f, "[\"{}\"]", key.replace('\\', "\\\\").replace('"', "\\\""))?;
            } else if index == 0 {
                f.write_str(key)?;
            } else {
                write!(f, ".{key}")?;
            }
        }
        Ok(())
    }
}

/// A part of a local date and time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
pub enum DatePart {
    /// The calendar year.
    Year,
    /// The month, 1 to 12.
    Month,
    /// The day of the month, 1 to 31.
    Day,
    /// The day of the week, 1 = Monday to 7 = Sunday.
    Weekday,
    /// The hour of the day, 0 to 23.
    Hour,
}

impl DatePart {
    /// Every part.
    pub const ALL: [Self; 5] = [Self::Year, Self::Month, Self::Day, Self::Weekday, Self::Hour];

    /// The key of a definition that asks for it.
    #[must_use]
    pub fn keyword(self) -> &'static str {
        match self {
            Self::Year => "year",
            Self::Month => "month",
            Self::Day => "day",
            Self::Weekday => "weekday",
            Self::Hour => "hour",
        }
    }
}

/// What an attribute condition looks at: a stored value, or a number derived from stored values.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Property {
    /// The value at a path.
    Path(PropertyPath),
    /// Fractional days of 24 hours from the date there up to `as_of`.
    DaysSince(PropertyPath),
    /// Whole local days to the next yearly return of the date there; 0 on the day.
    DaysToAnniversary(PropertyPath),
    /// A part of the local date and time there.
    Part(DatePart, PropertyPath),
    /// The mean of the numbers there; missing when one of them is.
    Mean(Vec<PropertyPath>),
}

impl fmt::Display for Property {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => write!(f, "{path}"),
            Self::DaysSince(path) => write!(f, "days_since({path})"),
            Self::DaysToAnniversary(path) => write!(f, "days_to_anniversary({path})"),
            Self::Part(part, path) => write!(f, "{}({path})", part.keyword()),
            Self::Mean(paths) => {
                f.write_str("mean(")?;
                for (index, path) in paths.iter().enumerate() {
                    if index > 0 {
                        f.write_str(", ")?;
                    }
                    write!(f, "{path}")?;
                }
                f.write_str(")")
            }
        }
    }
}
