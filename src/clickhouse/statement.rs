//! [`Statement`]: SQL with the values that the server binds. No value is ever part of the text.

use std::fmt;

use uuid::Uuid;

/// SQL with its parameters.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Statement {
    /// The text; `{name:Type}` stands where a value is bound.
    pub text: String,
    /// The values, by the names of the parameters.
    pub parameters: Vec<(String, Bound)>,
}

/// A value that the server binds.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Bound {
    /// ClickHouse's type.
    pub data_type: String,
    /// The value.
    pub value: Value,
}

/// What is bound. How it is written on the way to the server is the client's business.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Value {
    /// A text, or what the type reads from one.
    Text(String),
    /// A list of texts.
    Texts(Vec<String>),
    /// A number of any type, in digits.
    Number(String),
    /// A list of integers.
    Integers(Vec<i64>),
}

impl Statement {
    /// SQL of ours without parameters yet.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), parameters: Vec::new() }
    }

    /// Binds a parameter of the text. `data_type` is the type that the text gives it.
    #[must_use]
    pub fn bind(mut self, name: &str, data_type: &str, value: Value) -> Self {
        self.parameters.push((name.to_owned(), Bound { data_type: data_type.to_owned(), value }));
        self
    }

    /// Binds a `String`.
    #[must_use]
    pub fn text(self, name: &str, value: impl Into<String>) -> Self {
        self.bind(name, "String", Value::Text(value.into()))
    }

    /// Binds an `Array(String)`.
    #[must_use]
    pub fn texts<T: Into<String>>(self, name: &str, values: impl IntoIterator<Item = T>) -> Self {
        self.bind(name, "Array(String)", Value::Texts(values.into_iter().map(Into::into).collect()))
    }

    /// Binds a number of a type.
    #[must_use]
    #[expect(clippy::needless_pass_by_value, reason = "numbers are written where they are bound")]
    pub fn number(self, name: &str, data_type: &str, value: impl ToString) -> Self {
        self.bind(name, data_type, Value::Number(value.to_string()))
    }

    /// Binds a `UUID`.
    #[must_use]
    pub fn uuid(self, name: &str, value: Uuid) -> Self {
        self.bind(name, "UUID", Value::Text(value.to_string()))
    }

    /// The text in parentheses between two others.
    #[must_use]
    pub fn within(mut self, before: &str, after: &str) -> Self {
        self.text = format!("{before}(\n{}\n){after}", self.text);
        self
    }
}

/// A name of a database, table or column, in backquotes.
#[must_use]
pub fn quoted(name: &str) -> String {
    format!("`{}`", name.replace('\\', "\\\\").replace('`', "\\`"))
}

/// The text, and a line for each parameter.
impl fmt::Display for Statement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)?;
        for (name, Bound { data_type, value }) in &self.parameters {
            write!(f, "\n-- {name} {data_type} = {value}")?;
        }
        Ok(())
    }
}

/// Texts as JSON has them, so that each stays on its line.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let json = match self {
            Self::Number(digits) => return f.write_str(digits),
            Self::Text(text) => serde_json::to_string(text),
            Self::Texts(texts) => serde_json::to_string(texts),
            Self::Integers(integers) => serde_json::to_string(integers),
        };
        f.write_str(&json.unwrap_or_default())
    }
}
