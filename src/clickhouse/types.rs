//! [`ServerType`]: the type of a column, as the server names it.

/// A type, as far as reading a column depends on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServerType {
    /// `Bool`.
    Bool,
    /// `Int8` to `Int64`.
    Int,
    /// `UInt8` to `UInt64`.
    UInt,
    /// `Int128`, `Int256`, `UInt128`, `UInt256`.
    Wide,
    /// `Float32`, `Float64`.
    Float,
    /// `Decimal(precision, scale)`, however it is written.
    Decimal {
        /// Digits in all.
        precision: u8,
        /// Digits after the point.
        scale: u8,
    },
    /// `String`.
    String,
    /// What is shown as a text: `FixedString`, `UUID`, `Enum`, `IPv4`, `IPv6`.
    Textual,
    /// `Date`, `Date32`.
    Date,
    /// `DateTime`, whole seconds.
    DateTime,
    /// `DateTime64(digits)`.
    DateTime64(u8),
    /// `Array`.
    Array(Box<Self>),
    /// `Tuple` with the names of its elements; without names when there are none.
    Tuple(Vec<(String, Self)>),
    /// `Map` from texts.
    Map(Box<Self>),
    /// `JSON` and `Object('json')`.
    Json,
    /// Anything else, by its name.
    Other(String),
}

/// A text that is no type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a type of ClickHouse")]
pub struct InvalidType(String);

impl std::str::FromStr for ServerType {
    type Err = InvalidType;

    /// Nullable and LowCardinality change nothing about how a value is read.
    fn from_str(text: &str) -> Result<Self, InvalidType> {
        let text = text.trim();
        let (name, arguments) = match text.split_once('(') {
            Some((name, rest)) => {
                let inside = rest.strip_suffix(')').ok_or_else(|| InvalidType(text.to_owned()))?;
                (name, split(inside))
            }
            None => (text, Vec::new()),
        };
        let only = || arguments.first().copied().ok_or_else(|| InvalidType(text.to_owned()));
        let number = |position: usize| arguments.get(position).and_then(|digits: &&str| digits.parse::<u8>().ok());
        Ok(match name {
            "Nullable" | "LowCardinality" => only()?.parse()?,
            "SimpleAggregateFunction" => arguments.get(1).ok_or_else(|| InvalidType(text.to_owned()))?.parse()?,
            "Bool" => Self::Bool,
            "Int8" | "Int16" | "Int32" | "Int64" => Self::Int,
            "UInt8" | "UInt16" | "UInt32" | "UInt64" => Self::UInt,
            "Int128" | "Int256" | "UInt128" | "UInt256" => Self::Wide,
            "Float32" | "Float64" | "BFloat16" => Self::Float,
            "Decimal" => match (number(0), number(1)) {
                (Some(precision), Some(scale)) => Self::Decimal { precision, scale },
                _ => return Err(InvalidType(text.to_owned())),
            },
            "Decimal32" => Self::Decimal { precision: 9, scale: number(0).unwrap_or(0) },
            "Decimal64" => Self::Decimal { precision: 18, scale: number(0).unwrap_or(0) },
            "Decimal128" => Self::Decimal { precision: 38, scale: number(0).unwrap_or(0) },
            "Decimal256" => Self::Decimal { precision: 76, scale: number(0).unwrap_or(0) },
            "String" => Self::String,
            "FixedString" | "UUID" | "Enum8" | "Enum16" | "Enum" | "IPv4" | "IPv6" => Self::Textual,
            "Date" | "Date32" => Self::Date,
            "DateTime" | "DateTime32" => Self::DateTime,
            "DateTime64" => Self::DateTime64(number(0).unwrap_or(3)),
            "Array" => Self::Array(Box::new(only()?.parse()?)),
            "Nested" | "Tuple" => {
                let elements = arguments.iter().map(|argument| element(argument)).collect::<Result<Vec<_>, _>>()?;
                let tuple = Self::Tuple(elements);
                if name == "Nested" { Self::Array(Box::new(tuple)) } else { tuple }
            }
            "Map" => match arguments.as_slice() {
                [key, value] if matches!(key.parse()?, Self::String | Self::Textual) => Self::Map(Box::new(value.parse()?)),
                _ => Self::Other(text.to_owned()),
            },
            "JSON" | "Object" => Self::Json,
            _ => Self::Other(text.to_owned()),
        })
    }
}

/// What commas separate that no bracket or quote holds.
fn split(text: &str) -> Vec<&str> {
    let (mut depth, mut quote, mut escaped, mut start) = (0_usize, None, false, 0);
    let mut parts = Vec::new();
    for (position, char) in text.char_indices() {
        match (quote, char) {
            (Some(_), _) if escaped => escaped = false,
            (Some(_), '\\') => escaped = true,
            (Some(open), _) => {
                if char == open {
                    quote = None;
                }
            }
            (None, '\'' | '`') => quote = Some(char),
            (None, '(') => depth += 1,
            (None, ')') => depth = depth.saturating_sub(1),
            (None, ',') if depth == 0 => {
                parts.extend(text.get(start..position));
                start = position + 1;
            }
            (None, _) => {}
        }
    }
    parts.extend(text.get(start..));
    parts.into_iter().map(str::trim).filter(|part| !part.is_empty()).collect()
}

/// `name Type`, `` `any name` Type `` or `Type`.
fn element(text: &str) -> Result<(String, ServerType), InvalidType> {
    if let Some(rest) = text.strip_prefix('`') {
        let mut name = String::new();
        let mut chars = rest.chars();
        while let Some(char) = chars.next() {
            match char {
                '\\' => name.extend(chars.next()),
                '`' => return Ok((name, chars.as_str().parse()?)),
                other => name.push(other),
            }
        }
        return Err(InvalidType(text.to_owned()));
    }
    match text.split_once(' ') {
        Some((name, of)) if !name.contains('(') => Ok((name.to_owned(), of.parse()?)),
        _ => Ok((String::new(), text.parse()?)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_read_as_the_server_writes_them() {
        let of = |text: &str| text.parse::<ServerType>().unwrap();
        assert_eq!(of("LowCardinality(Nullable(String))"), ServerType::String);
        assert_eq!(of("DateTime64(6, 'Europe/Berlin')"), ServerType::DateTime64(6));
        assert_eq!(of("DateTime('UTC')"), ServerType::DateTime);
        assert_eq!(of("Decimal(12, 2)"), ServerType::Decimal { precision: 12, scale: 2 });
        assert_eq!(of("Enum8('a,(' = 1, 'b\\'' = 2)"), ServerType::Textual);
        let tuple = of("Tuple(a Nullable(Int8), `b, \\`c` Array(Tuple(x String)))");
        let inner = ServerType::Array(Box::new(ServerType::Tuple(vec![("x".to_owned(), ServerType::String)])));
        assert_eq!(tuple, ServerType::Tuple(vec![("a".to_owned(), ServerType::Int), ("b, `c".to_owned(), inner)]));
        assert_eq!(of("Map(LowCardinality(String), Nullable(Float32))"), ServerType::Map(Box::new(ServerType::Float)));
        assert_eq!(of("Map(UInt8, String)"), ServerType::Other("Map(UInt8, String)".to_owned()));
        assert_eq!(of("JSON(max_dynamic_paths=8)"), ServerType::Json);
        assert_eq!(of("Variant(String, Int8)"), ServerType::Other("Variant(String, Int8)".to_owned()));
        assert!("Array(".parse::<ServerType>().is_err());
    }
}
