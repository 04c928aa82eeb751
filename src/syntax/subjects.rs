//! Lists of subjects in CSV files: with a header or without, in the column that is named, with the line of each.

use std::collections::BTreeMap;

use csv::{ReaderBuilder, StringRecord, Trim};

use crate::diagnostic::nearest;

/// How many places of a file a message names.
const NAMED: usize = 5;

/// Names of columns that hold subjects when none is named.
const USUAL: [&str; 3] = ["subject_id", "id", "subject"];

/// How a file is read.
#[derive(Debug, Clone)]
pub struct ListForm<'a> {
    /// The column by its name, or by its number from 1 where there is no header.
    pub column: Option<&'a str>,
    /// Whether the first row names the columns.
    pub header: Header,
    /// What stands between two values.
    pub delimiter: u8,
    /// The names that keys of subjects have in their tables.
    pub keys: Vec<&'a str>,
}

/// Whether the first row names the columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Header {
    /// When it holds a name that is looked for.
    Guessed,
    /// It does not.
    Absent,
}

/// The subjects of a file.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct SubjectList {
    /// Each with the line on which it stands first.
    pub lines: BTreeMap<String, u64>,
    /// Lines on which one stands again.
    pub repeats: Vec<(String, u64)>,
}

impl SubjectList {
    /// Subjects with their lines, the first few of them, for a message.
    #[must_use]
    pub fn places<'a>(&self, subjects: impl IntoIterator<Item = &'a str>) -> String {
        let mut places: Vec<(u64, &str)> =
            subjects.into_iter().filter_map(|subject| Some((*self.lines.get(subject)?, subject))).collect();
        places.sort_unstable();
        named(&places)
    }

    /// The repeats, the first few of them, for a message.
    #[must_use]
    pub fn repeated(&self) -> String {
        named(&self.repeats.iter().map(|(subject, line)| (*line, subject.as_str())).collect::<Vec<_>>())
    }
}

fn named(places: &[(u64, &str)]) -> String {
    let shown = places.iter().take(NAMED).map(|(line, subject)| format!("line {line}: `{subject}`"));
    let more = if places.len() > NAMED { ", ..." } else { "" };
    format!("{}{more}", shown.collect::<Vec<_>>().join(", "))
}

/// Why a text is no list of subjects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoList {
    /// What is wrong, with its line; to be read after the name of the file.
    pub problem: String,
    /// What to do instead; a sentence of its own.
    pub help: Option<String>,
}

fn wrong(problem: impl Into<String>, help: impl Into<Option<String>>) -> NoList {
    NoList { problem: problem.into(), help: help.into() }
}

/// The mark that some programs put at the beginning of a text.
const MARK: &[u8] = b"\xef\xbb\xbf";

/// Reads the subjects of a text.
///
/// # Errors
/// The first thing that is wrong, with its line.
///
/// ```
/// use segmenta::syntax::subjects::{Header, ListForm, read_subjects};
///
/// let form = ListForm { column: None, header: Header::Guessed, delimiter: b',', keys: vec!["user_id"] };
/// let list = read_subjects(b"name,user_id\nAnn,u1\n", &form).unwrap();
/// assert_eq!(list.lines["u1"], 2);
/// ```
pub fn read_subjects(text: &[u8], form: &ListForm<'_>) -> Result<SubjectList, NoList> {
    let text = text.strip_prefix(MARK).unwrap_or(text);
    let mut builder = ReaderBuilder::new();
    let reader = builder.has_headers(false).flexible(true).trim(Trim::All).delimiter(form.delimiter);
    let mut lines = Lines { text, at: 0, line: 1 };
    let mut rows = reader.from_reader(text).into_records().map(|row| {
        let row = row.map_err(|error| unreadable(&error, &mut lines))?;
        let line = row.position().map_or(0, |position| lines.of(position.byte()));
        Ok((row, line))
    });
    let first = rows.next().ok_or_else(|| wrong("is empty", None))??;
    let (column, first) = columns(form, first)?;
    let mut list = SubjectList::default();
    for row in first.into_iter().map(Ok).chain(rows) {
        let (row, line) = row?;
        // A row of nothing but one empty value is a line that holds nothing but spaces.
        if row.len() == 1 && row.get(0).is_none_or(str::is_empty) {
            continue;
        }
        match row.get(column) {
            Some(subject) if !subject.is_empty() => match list.lines.get(subject) {
                Some(_) => list.repeats.push((subject.to_owned(), line)),
                None => {
                    list.lines.insert(subject.to_owned(), line);
                }
            },
            Some(_) | None => return Err(wrong(format!("names no subject on line {line}"), None)),
        }
    }
    if list.lines.is_empty() {
        return Err(wrong("names no subject", None));
    }
    Ok(list)
}

/// The lines of a text, which are asked for in ascending order. The reader of CSV miscounts those that end with two characters.
struct Lines<'t> {
    text: &'t [u8],
    at: usize,
    line: u64,
}

impl Lines<'_> {
    /// The line on which a row stands that begins at or after a byte.
    fn of(&mut self, byte: u64) -> u64 {
        let mut start = usize::try_from(byte).unwrap_or(usize::MAX).min(self.text.len());
        while self.text.get(start).is_some_and(|byte| matches!(byte, b'\r' | b'\n')) {
            start += 1;
        }
        let passed = self.text.get(self.at..start).unwrap_or_default();
        self.line += passed.iter().map(|byte| u64::from(*byte == b'\n')).sum::<u64>();
        self.at = self.at.max(start);
        self.line
    }
}

fn unreadable(error: &csv::Error, lines: &mut Lines<'_>) -> NoList {
    let line = error.position().map(|position| lines.of(position.byte()));
    let at = line.map(|line| format!(" on line {line}")).unwrap_or_default();
    match error.kind() {
        csv::ErrorKind::Utf8 { .. } => wrong(format!("is not UTF-8{at}"), "Save it as UTF-8.".to_owned()),
        _ => wrong(format!("is no CSV{at}: {error}"), None),
    }
}

/// A row, and its line.
type Row = (StringRecord, u64);

/// The column of the subjects, and the first row when it is one of values.
fn columns(form: &ListForm<'_>, first: Row) -> Result<(usize, Option<Row>), NoList> {
    let names: Vec<&str> = first.0.iter().collect();
    match (form.column, form.header) {
        (Some(column), Header::Guessed) => match names.iter().position(|name| *name == column) {
            Some(position) => Ok((position, None)),
            None => {
                let near = nearest(column, names.iter().copied()).map(|near| format!("Did you mean `{near}`?"));
                let help = near.unwrap_or_else(|| format!("Its first line has {}.", quoted(&names)));
                Err(wrong(format!("has no column `{column}`"), help))
            }
        },
        (Some(column), Header::Absent) => {
            let number = column.parse::<usize>().ok().filter(|number| (1..=names.len()).contains(number));
            let problem = || wrong(format!("has no column `{column}`"), format!("Give its number, from 1 to {}.", names.len()));
            Ok((number.ok_or_else(problem)? - 1, Some(first)))
        }
        (None, header) => {
            let usual = form.keys.iter().copied().chain(USUAL);
            let found = usual.filter_map(|usual| names.iter().position(|name| name.eq_ignore_ascii_case(usual))).next();
            match (found, header) {
                (Some(position), Header::Guessed) => Ok((position, None)),
                (_, _) if names.len() == 1 => Ok((0, Some(first))),
                (_, _) => {
                    let problem = format!("has {} columns, and it is not said which holds the subjects", names.len());
                    Err(wrong(problem, "Name it with `--column`, or give its number together with `--no-header`.".to_owned()))
                }
            }
        }
    }
}

fn quoted(names: &[&str]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form() -> ListForm<'static> {
        ListForm { column: None, header: Header::Guessed, delimiter: b',', keys: vec!["user_id"] }
    }

    fn found(text: &str, form: &ListForm<'_>) -> Result<Vec<(String, u64)>, String> {
        let found = read_subjects(text.as_bytes(), form).map(|list| list.lines.into_iter().collect());
        found.map_err(|NoList { problem, help }| format!("{problem} {}", help.unwrap_or_default()).trim().to_owned())
    }

    #[track_caller]
    fn assert_found(text: &str, form: &ListForm<'_>, expected: &[(&str, u64)]) {
        let expected = expected.iter().map(|(subject, line)| ((*subject).to_owned(), *line)).collect();
        assert_eq!(found(text, form), Ok(expected), "{text:?}");
    }

    #[test]
    fn a_list_has_a_header_or_none() {
        assert_found("u2\nu1\n", &form(), &[("u1", 2), ("u2", 1)]);
        assert_found("user_id\nu2\nu1", &form(), &[("u1", 3), ("u2", 2)]);
        assert_found("name,USER_ID\nann,u1\n", &form(), &[("u1", 2)]);
        assert_found("\u{feff}subject_id,note\r\nu1,\"two\r\nlines\"\r\nu2,\r\n", &form(), &[("u1", 2), ("u2", 4)]);
        assert_found("\u{feff}\"subject_id\"\n\"a, \"\"b\"\"\"\n", &form(), &[("a, \"b\"", 2)]);
        assert_found("\u{feff}u1\n\n \nu2\n", &form(), &[("u1", 1), ("u2", 4)]);
        assert_found("42\n007\n", &form(), &[("007", 2), ("42", 1)]);
    }

    #[test]
    fn a_column_is_named_or_numbered() {
        let named = ListForm { column: Some("mail"), ..form() };
        assert_found("user_id,mail\nu1,a@b\n", &named, &[("a@b", 2)]);
        let numbered = ListForm { column: Some("2"), header: Header::Absent, ..form() };
        assert_found("x,user_id\ny,u1\n", &numbered, &[("u1", 2), ("user_id", 1)]);
        let bare = ListForm { header: Header::Absent, ..form() };
        assert_found("user_id\n", &bare, &[("user_id", 1)]);
        let semicolons = ListForm { delimiter: b';', ..form() };
        assert_found("a;id\n1;u1\n", &semicolons, &[("u1", 2)]);
    }

    #[test]
    fn what_is_no_list_is_told_with_its_line() {
        let fault = |text: &str, form: &ListForm<'_>| found(text, form).unwrap_err();
        assert_eq!(fault("", &form()), "is empty");
        assert_eq!(fault("user_id\n", &form()), "names no subject");
        assert_eq!(fault("user_id,x\nu1,1\n,2\n", &form()), "names no subject on line 3");
        let named = ListForm { column: Some("customer"), ..form() };
        assert_eq!(fault("user_id,x\n", &named), "has no column `customer` Its first line has `user_id`, `x`.");
        let near = ListForm { column: Some("user_ids"), ..form() };
        assert_eq!(fault("user_id,x\n", &near), "has no column `user_ids` Did you mean `user_id`?");
        assert!(fault("u1,1\n", &form()).starts_with("has 2 columns"));
        let numbered = ListForm { column: Some("3"), header: Header::Absent, ..form() };
        assert_eq!(fault("u1,1\n", &numbered), "has no column `3` Give its number, from 1 to 2.");
        assert_eq!(read_subjects(b"u1\r\n\xff\xfe\n", &form()).unwrap_err().problem, "is not UTF-8 on line 2");
    }

    #[test]
    fn repeats_are_kept_with_their_lines() {
        let list = read_subjects(b"u1\nu2\nu1\n", &form()).unwrap();
        assert_eq!(list.repeats, [("u1".to_owned(), 3)]);
        assert_eq!(list.repeated(), "line 3: `u1`");
        assert_eq!(list.places(["u2", "u1", "gone"]), "line 1: `u1`, line 2: `u2`");
    }
}
