//! Statements as forms of our own. A server takes no more than 128 KiB in one field of a form, unless its users' profile says otherwise, and
//! puts fields of the name `query` together: the client sends the text as one field, which is enough for short statements only.

use std::fmt::Write as _;
use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, HeaderMap};
use reqwest::redirect::Policy;
use serde::Deserialize;
use uuid::Uuid;

use super::connection::Effort;
use super::settings::Settings;
use super::statement::{Statement, Value};

/// What stands in one field at most, in bytes.
pub(crate) const FIELD: usize = 96 * 1024;

/// Whether a statement is too long for one field.
pub(super) fn is_long(statement: &Statement) -> bool {
    statement.text.len() > FIELD
}

/// Sends a statement, with settings in the URL; what it answers, and what it took. An error of the server is its text.
pub(super) async fn send(
    settings: &Settings,
    in_url: &[(String, String)],
    statement: &Statement,
) -> Result<(Vec<u8>, Effort), clickhouse::error::Error> {
    let failed = |error: reqwest::Error| clickhouse::error::Error::Network(Box::new(error));
    // As the client does: straight to the server, and nowhere else.
    let http = reqwest::Client::builder().no_proxy().redirect(Policy::none()).build().map_err(failed)?;
    // Nobody can write what is drawn here into a value before.
    let boundary = format!("segmenta-{}", Uuid::new_v4().simple());
    let request = http
        .post(&settings.url)
        .query(in_url)
        .header("X-ClickHouse-User", &settings.user)
        .header("X-ClickHouse-Key", settings.password.reveal())
        .header(CONTENT_TYPE, format!("multipart/form-data; boundary={boundary}"))
        .body(body(statement, &boundary));
    let response = request.send().await.map_err(failed)?;
    let (status, headers) = (response.status(), response.headers().clone());
    let bytes = response.bytes().await.map_err(failed)?;
    if !status.is_success() || headers.contains_key("X-ClickHouse-Exception-Code") {
        return Err(clickhouse::error::Error::BadResponse(String::from_utf8_lossy(&bytes).into_owned()));
    }
    let effort = Effort { received: bytes.len() as u64, ..effort(&headers) };
    Ok((bytes.to_vec(), effort))
}

/// The text in fields that are short enough, and a field for each parameter.
fn body(statement: &Statement, boundary: &str) -> String {
    let mut body = String::with_capacity(statement.text.len() * 2);
    let mut field = |name: &str, value: &str| {
        // Writing to a text does not fail.
        write!(body, "--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n").ok();
    };
    for piece in pieces(&statement.text) {
        field("query", piece);
    }
    for (name, bound) in &statement.parameters {
        field(&format!("param_{name}"), &written(&bound.value));
    }
    write!(body, "--{boundary}--\r\n").ok();
    body
}

/// A value as the server reads one of a parameter.
fn written(value: &Value) -> String {
    match value {
        Value::Text(text) => escaped(text),
        Value::Number(digits) => digits.clone(),
        Value::Texts(texts) => {
            let quoted: Vec<String> = texts.iter().map(|text| format!("'{}'", escaped(text))).collect();
            format!("[{}]", quoted.join(","))
        }
        Value::Integers(integers) => {
            let digits: Vec<String> = integers.iter().map(ToString::to_string).collect();
            format!("[{}]", digits.join(","))
        }
    }
}

/// A text in which nothing ends it.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        if matches!(character, '\\' | '\'' | '`' | '\t' | '\n') {
            escaped.push('\\');
        }
        escaped.push(character);
    }
    escaped
}

/// A text in pieces that each fit into a field, as do arrays of one such piece.
pub(crate) fn pieces(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let (piece, after) = rest.split_at(rest.floor_char_boundary(FIELD / 2));
        rest = after;
        Some(piece)
    })
}

/// What the server says that it took.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Summary {
    read_rows: String,
    read_bytes: String,
    written_rows: String,
    elapsed_ns: String,
}

fn effort(headers: &HeaderMap) -> Effort {
    let summary = headers.get("X-ClickHouse-Summary").and_then(|summary| serde_json::from_slice(summary.as_bytes()).ok());
    let Summary { read_rows, read_bytes, written_rows, elapsed_ns } = summary.unwrap_or_default();
    let number = |digits: &str| digits.parse().unwrap_or(0);
    Effort {
        rows: number(&read_rows),
        bytes: number(&read_bytes),
        written: number(&written_rows),
        received: 0,
        elapsed: Duration::from_nanos(number(&elapsed_ns)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_sent_in_pieces() {
        let text = format!("SELECT '{}'", "ä€𝄞".repeat(FIELD / 4));
        let statement = Statement::new(text.clone()).text("p1", "it's\ta \\ b").texts("p2", ["a'b", "[c]"]);
        assert!(is_long(&statement));
        let body = body(&statement, "edge");
        let fields: Vec<(&str, &str)> = body
            .split("--edge\r\nContent-Disposition: form-data; name=\"")
            .filter_map(|field| field.trim_end_matches("--edge--\r\n").strip_suffix("\r\n")?.split_once("\"\r\n\r\n"))
            .collect();
        let texts: Vec<&str> = fields.iter().filter(|(name, _)| *name == "query").map(|(_, value)| *value).collect();
        assert!(texts.len() > 2 && texts.iter().all(|piece| piece.len() <= FIELD), "{}", texts.len());
        assert_eq!(texts.concat(), text);
        let values: Vec<_> = fields.into_iter().filter(|(name, _)| name.starts_with("param_")).collect();
        assert_eq!(values, [("param_p1", "it\\'s\\\ta \\\\ b"), ("param_p2", "['a\\'b','[c]']")]);
    }
}
