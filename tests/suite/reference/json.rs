//! JSON text to values: RFC 8259 and nothing more, the first of equal keys, numbers as they are written.

use super::value::Value;

/// The one value that the text holds; `None` when it holds anything else.
pub(crate) fn parse(text: &str) -> Option<Value> {
    let mut reader = Reader { rest: text };
    let value = reader.value()?;
    reader.space();
    if reader.rest.is_empty() { Some(value) } else { None }
}

/// Whether the text is a number by the grammar of JSON.
pub(crate) fn is_number(text: &str) -> bool {
    let mut reader = Reader { rest: text };
    matches!(reader.number(), Some(Value::JsonNumber(_))) && reader.rest.is_empty()
}

struct Reader<'a> {
    rest: &'a str,
}

impl<'a> Reader<'a> {
    fn space(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t', '\r', '\n']);
    }

    fn take(&mut self, token: &str) -> Option<()> {
        self.rest = self.rest.strip_prefix(token)?;
        Some(())
    }

    fn char(&mut self) -> Option<char> {
        let char = self.rest.chars().next()?;
        self.rest = self.rest.strip_prefix(char)?;
        Some(char)
    }

    fn value(&mut self) -> Option<Value> {
        self.space();
        match self.rest.chars().next()? {
            '{' => self.object(),
            '[' => self.array(),
            '"' => self.string().map(|text| text.map_or(Value::NoText, Value::Text)),
            't' => self.take("true").map(|()| Value::Bool(true)),
            'f' => self.take("false").map(|()| Value::Bool(false)),
            'n' => self.take("null").map(|()| Value::Null),
            _ => self.number(),
        }
    }

    fn object(&mut self) -> Option<Value> {
        let mut members: Vec<(String, Value)> = Vec::new();
        self.take("{")?;
        self.space();
        if self.take("}").is_some() {
            return Some(Value::Object(members));
        }
        loop {
            self.space();
            let key = self.string()?;
            self.space();
            self.take(":")?;
            let value = self.value()?;
            if let Some(key) = key
                && members.iter().all(|(earlier, _)| *earlier != key)
            {
                members.push((key, value));
            }
            self.space();
            if self.take("}").is_some() {
                return Some(Value::Object(members));
            }
            self.take(",")?;
        }
    }

    fn array(&mut self) -> Option<Value> {
        let mut elements = Vec::new();
        self.take("[")?;
        self.space();
        if self.take("]").is_some() {
            return Some(Value::List(elements));
        }
        loop {
            elements.push(self.value()?);
            self.space();
            if self.take("]").is_some() {
                return Some(Value::List(elements));
            }
            self.take(",")?;
        }
    }

    /// A string; the inner `None` is one that is valid and yet no text: it escapes half of a surrogate pair.
    fn string(&mut self) -> Option<Option<String>> {
        let mut units = Vec::new();
        self.take("\"")?;
        loop {
            match self.char()? {
                '"' => return Some(String::from_utf16(&units).ok()),
                '\\' => units.push(self.escape()?),
                control if control < ' ' => return None,
                other => units.extend_from_slice(other.encode_utf16(&mut [0; 2])),
            }
        }
    }

    /// A unit of UTF-16.
    fn escape(&mut self) -> Option<u16> {
        Some(match self.char()? {
            '"' => 0x22,
            '\\' => 0x5c,
            '/' => 0x2f,
            'b' => 0x8,
            'f' => 0xc,
            'n' => 0xa,
            'r' => 0xd,
            't' => 0x9,
            'u' => self.unit()?,
            _ => return None,
        })
    }

    /// Four hexadecimal digits.
    fn unit(&mut self) -> Option<u16> {
        let mut unit = 0;
        for _ in 0..4 {
            unit = unit * 16 + self.char()?.to_digit(16)?;
        }
        u16::try_from(unit).ok()
    }

    fn number(&mut self) -> Option<Value> {
        let start = self.rest;
        let _minus = self.take("-");
        if self.take("0").is_none() {
            self.digits()?;
        }
        if self.take(".").is_some() {
            self.digits()?;
        }
        if self.take("e").or_else(|| self.take("E")).is_some() {
            let _sign = self.take("+").or_else(|| self.take("-"));
            self.digits()?;
        }
        let length = start.len() - self.rest.len();
        Some(Value::JsonNumber(start.get(..length)?.to_owned()))
    }

    /// At least one digit.
    fn digits(&mut self) -> Option<()> {
        let trimmed = self.rest.trim_start_matches(|char: char| char.is_ascii_digit());
        if trimmed.len() == self.rest.len() {
            return None;
        }
        self.rest = trimmed;
        Some(())
    }
}
