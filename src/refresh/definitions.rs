//! The definitions of a tenant: which files they stand in, and which form of each is in force.
//!
//! A file that became invalid leaves the form of the last run in force. A definition whose file is gone is missing: it is not
//! computed and keeps its members. A definition that was not edited and does not fit the tables any more cannot be evaluated; that
//! is a matter of the data, not of its author.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::config::parse_cron;
use super::due::{Candidate, Timetable};
use super::error::Error;
use crate::check::{CheckedSegment, Limits, check, check_nameless};
use crate::diagnostic::{Finding, Report, Severity, Source, nearest};
use crate::ir::{LogicalRule, LogicalSegment, fingerprint, lower, normalize};
use crate::model::catalog::Catalog;
use crate::model::condition::Subject;
use crate::model::id::SegmentId;
use crate::model::schedule::Schedule;
use crate::model::segment::{Definition, Status};
use crate::store::{DefinitionNote, DefinitionRecord, SegmentState, TenantState};
use crate::syntax::{Document, Format, Identity, Unreadable, parse, parse_expression, parse_in_place_of, print_json};

/// A text that holds one definition: a file, or what the command line says instead of one.
#[derive(Debug, Clone)]
pub struct DefinitionFile {
    /// Its path and text.
    pub source: Arc<Source>,
    /// The language of the text.
    pub language: Language,
}

/// The language of a definition's text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Language {
    /// All of a definition.
    Document(Format),
    /// All of a definition, which takes the place of another.
    InPlaceOf(Identity, Format),
    /// An expression, which is the rule alone.
    Expression {
        /// The id of the segment.
        id: SegmentId,
        /// What it contains.
        subject: Subject,
    },
}

impl DefinitionFile {
    /// Reads the definition.
    ///
    /// # Errors
    /// The text defines no segment.
    pub fn parse(&self) -> Result<Document, Unreadable> {
        match &self.language {
            Language::Document(format) => parse(&self.source, *format),
            Language::InPlaceOf(identity, format) => {
                parse_in_place_of(&self.source, *format, identity).map_err(|report| Unreadable { report, nameless: None })
            }
            Language::Expression { id, subject } => {
                parse_expression(&self.source, id, *subject).map_err(|report| Unreadable { report, nameless: None })
            }
        }
    }

    /// The segment that the text defines, as far as that can be told of one that cannot be read.
    #[must_use]
    pub fn segment(&self) -> Option<SegmentId> {
        self.parse().map_or_else(|_| probable_id(self), |document| Some(document.definition().id.clone()))
    }
}

/// The language of a file by its name; `None` for one that holds no definition.
#[must_use]
pub fn format_of(path: &Path) -> Option<Format> {
    Format::from_file_name(path.file_name()?.to_str()?)
}

/// Reads every definition file at the places, which are files, folders (with all below them) or globs, in the order of their paths.
///
/// # Errors
/// When a place is missing, cannot be read, or holds no definition.
pub fn read_definitions(places: &[PathBuf]) -> Result<Vec<DefinitionFile>, Error> {
    let mut paths = BTreeSet::new();
    for place in places {
        let found = files_at(place)?;
        if found.is_empty() {
            return Err(files_error(place, "hold no file that ends in .json, .toml, .yaml or .yml", None));
        }
        paths.extend(found);
    }
    paths.iter().map(|path| read_definition(path)).collect()
}

/// Reads one definition file.
///
/// # Errors
/// When it cannot be read, or its name says no language.
pub fn read_definition(path: &Path) -> Result<DefinitionFile, Error> {
    let Some(format) = format_of(path) else {
        return Err(files_error(path, "do not end in .json, .toml, .yaml or .yml", None));
    };
    let text = fs::read(path).map_err(|error| files_error(path, "cannot be read", Some(error)))?;
    // What is no UTF-8 becomes a character that no definition may contain outside a text, and is reported with its line.
    let text = String::from_utf8_lossy(&text);
    Ok(DefinitionFile { source: Source::new(path.display().to_string(), text.as_ref()), language: Language::Document(format) })
}

fn files_error(path: &Path, problem: &str, source: Option<io::Error>) -> Error {
    Error::DefinitionFiles { path: path.to_owned(), problem: problem.to_owned(), source }
}

fn files_at(place: &Path) -> Result<Vec<PathBuf>, Error> {
    if place.is_dir() {
        let mut found = Vec::new();
        collect_files(place, &mut found)?;
        return Ok(found);
    }
    if place.exists() {
        return Ok(vec![place.to_owned()]);
    }
    let pattern = place.to_string_lossy();
    if !pattern.contains(['*', '?', '[']) {
        return Err(files_error(place, "are not there", None));
    }
    let matches = glob::glob(&pattern).map_err(|error| files_error(place, &format!("are no pattern: {error}"), None))?;
    let mut found = Vec::new();
    for path in matches {
        let path = path.map_err(|error| files_error(place, "cannot be read", Some(error.into())))?;
        if path.is_file() && format_of(&path).is_some() {
            found.push(path);
        }
    }
    Ok(found)
}

fn collect_files(folder: &Path, found: &mut Vec<PathBuf>) -> Result<(), Error> {
    let unreadable = |error| files_error(folder, "cannot be read", Some(error));
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        let hidden = path.file_name().is_none_or(|name| name.as_encoded_bytes().starts_with(b"."));
        if hidden {
            continue;
        }
        if path.is_dir() {
            collect_files(&path, found)?;
        } else if format_of(&path).is_some() {
            found.push(path);
        }
    }
    Ok(())
}

/// The definitions of a tenant, and what the store knows besides them.
#[derive(Debug, Default)]
pub struct Definitions {
    /// Every segment that a file defines or the store knows.
    pub segments: BTreeMap<SegmentId, KnownSegment>,
    /// What was found in the files as they are now, warnings included.
    pub report: Report,
    /// Files whose text is not in force, by their names.
    pub invalid: Vec<InvalidFile>,
}

/// A file whose text cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidFile {
    /// Its name.
    pub file: String,
    /// The segment that it defines, as far as that can be told.
    pub segment: Option<SegmentId>,
    /// The first error, one line.
    pub error: String,
}

/// A segment with the form that is in force.
#[derive(Debug, Clone)]
pub struct KnownSegment {
    /// What is known of its file.
    pub note: DefinitionNote,
    /// What is in force.
    pub form: Form,
}

/// The form of a segment that is in force.
#[derive(Debug, Clone)]
pub enum Form {
    /// It can be evaluated.
    Ready(ReadySegment),
    /// It cannot be evaluated with the tables and definitions of now.
    Failed {
        /// The definition.
        definition: Arc<Definition>,
        /// What the store keeps of it.
        record: DefinitionRecord,
        /// Why, one line.
        error: String,
    },
    /// Its file is gone; what the store keeps of it.
    Missing(DefinitionRecord),
}

/// A segment that can be evaluated.
#[derive(Debug, Clone)]
pub struct ReadySegment {
    /// The definition, checked.
    pub checked: CheckedSegment,
    /// What it means, in normal form.
    pub logical: LogicalSegment,
    /// What the store keeps of it.
    pub record: DefinitionRecord,
    /// When it is recomputed; `None` = the default interval.
    pub timetable: Option<Timetable>,
}

impl KnownSegment {
    /// The definition in force; `None` when its file is gone.
    #[must_use]
    pub fn definition(&self) -> Option<&Arc<Definition>> {
        match &self.form {
            Form::Ready(ready) => Some(ready.checked.definition()),
            Form::Failed { definition, .. } => Some(definition),
            Form::Missing(_) => None,
        }
    }

    /// What the store keeps of the definition.
    #[must_use]
    pub fn record(&self) -> &DefinitionRecord {
        match &self.form {
            Form::Ready(ReadySegment { record, .. }) | Form::Failed { record, .. } | Form::Missing(record) => record,
        }
    }

    /// What decides when it is due; `None` when its file is gone.
    #[must_use]
    pub fn candidate(&self) -> Option<Candidate> {
        match &self.form {
            Form::Ready(ReadySegment { record, timetable, .. }) => Some(Candidate {
                status: record.status,
                kind: record.kind,
                timetable: timetable.clone(),
                hash: Some(record.hash.clone()),
            }),
            Form::Failed { definition, record, .. } => Some(Candidate {
                status: definition.status,
                kind: definition.kind,
                timetable: timetable_of(definition).unwrap_or(None),
                hash: Some(record.hash.clone()),
            }),
            Form::Missing(_) => None,
        }
    }
}

impl Definitions {
    /// The form of each segment that is in force: the files as they are, with the forms of the last run in place of those that are
    /// invalid.
    #[must_use]
    pub fn resolve(files: &[DefinitionFile], state: &TenantState, catalog: &Catalog, limits: &Limits) -> Self {
        let mut documents = Vec::new();
        let mut unreadable = Vec::new();
        for file in files {
            match file.parse() {
                Ok(document) => documents.push(document),
                Err(text) => unreadable.push((file, text)),
            }
        }
        let mut definitions = Self::default();
        for (file, Unreadable { report, nameless }) in unreadable {
            definitions.reject_text(file, &report, state);
            definitions.report.append(nameless.map_or(report, |document| check_nameless(&document, &documents, catalog, limits)));
        }
        let checked = check(&documents, catalog, limits);
        definitions.report.findings.extend(checked.report.findings);
        for (segment, result) in checked.segments {
            // What was not edited and is wrong now is a matter of the data.
            if let (Err(report), true) = (result, is_edited(&documents, &segment, state.segments.get(&segment))) {
                definitions.add_invalid(&documents, segment, first_error(&report));
            }
        }
        let notes = definitions.notes();
        let kept: BTreeMap<&SegmentId, Document> =
            notes.keys().filter_map(|segment| Some((segment, stored_form(state.segments.get(segment)?)?))).collect();
        documents.retain(|document| !kept.contains_key(&document.definition().id));
        documents.extend(kept.into_values());
        definitions.settle(&documents, &notes, state, catalog, limits);
        definitions
    }

    /// The segment with this id.
    ///
    /// # Errors
    /// The id that may be meant is `near` in the answer.
    pub fn get(&self, segment: &SegmentId) -> Result<&KnownSegment, Option<SegmentId>> {
        self.segments.get(segment).ok_or_else(|| {
            let near = nearest(segment.as_str(), self.segments.keys().map(SegmentId::as_str))?;
            near.parse().ok()
        })
    }

    /// What decides when each segment is due whose file is there.
    #[must_use]
    pub fn candidates(&self) -> BTreeMap<SegmentId, Candidate> {
        self.segments.iter().filter_map(|(id, known)| Some((id.clone(), known.candidate()?))).collect()
    }

    fn reject_text(&mut self, file: &DefinitionFile, report: &Report, state: &TenantState) {
        let segment = probable_id(file).filter(|segment| state.segments.contains_key(segment));
        self.invalid.push(InvalidFile { file: file.source.name.clone(), segment, error: first_error(report) });
    }

    fn add_invalid(&mut self, documents: &[Document], segment: SegmentId, error: String) {
        if self.invalid.iter().any(|file| file.segment.as_ref() == Some(&segment)) {
            return;
        }
        let document = documents.iter().find(|document| document.definition().id == segment);
        let file = document.map_or_else(String::new, |document| document.source().name.clone());
        self.invalid.push(InvalidFile { file, segment: Some(segment), error });
    }

    fn notes(&self) -> BTreeMap<SegmentId, DefinitionNote> {
        let noted = |file: &InvalidFile| Some((file.segment.clone()?, DefinitionNote::Invalid(file.error.clone())));
        self.invalid.iter().filter_map(noted).collect()
    }

    /// Fills in the segments from the documents that are in force now.
    fn settle(
        &mut self,
        documents: &[Document],
        notes: &BTreeMap<SegmentId, DefinitionNote>,
        state: &TenantState,
        catalog: &Catalog,
        limits: &Limits,
    ) {
        let mut checked = check(documents, catalog, limits).segments;
        let mut settler = Settler { segments: BTreeMap::new(), failed: BTreeMap::new(), checked: BTreeMap::new() };
        for document in documents {
            let definition = document.definition();
            match checked.remove(&definition.id) {
                Some(Ok(segment)) => {
                    settler.checked.insert(definition.id.clone(), segment);
                }
                Some(Err(report)) => {
                    settler.failed.insert(definition.id.clone(), (Arc::clone(definition), first_error(&report)));
                }
                None => {}
            }
        }
        let ids: Vec<SegmentId> = settler.checked.keys().cloned().collect();
        for id in &ids {
            // What comes of it is kept in its form.
            settler.ready(id, state).ok();
        }
        for (id, (definition, error)) in std::mem::take(&mut settler.failed) {
            match state.segments.get(&id) {
                Some(state) => {
                    settler.segments.insert(id, Form::Failed { definition, record: state.definition.clone(), error });
                }
                None => self.add_invalid(documents, id, error),
            }
        }
        for (id, stored) in &state.segments {
            settler.segments.entry(id.clone()).or_insert_with(|| Form::Missing(stored.definition.clone()));
        }
        for (id, form) in settler.segments {
            let note = match &form {
                // A kept form that this version cannot read any more is as good as gone.
                Form::Missing(_) => notes.get(&id).cloned().unwrap_or(DefinitionNote::Missing),
                Form::Ready(_) | Form::Failed { .. } => notes.get(&id).cloned().unwrap_or_default(),
            };
            self.segments.insert(id, KnownSegment { note, form });
        }
    }
}

/// Works out what checked segments mean, references first.
struct Settler {
    segments: BTreeMap<SegmentId, Form>,
    failed: BTreeMap<SegmentId, (Arc<Definition>, String)>,
    checked: BTreeMap<SegmentId, CheckedSegment>,
}

impl Settler {
    /// The hash of a segment, which covers those that it refers to: equal hashes have equal members. The reason when it, or one of
    /// those, cannot be evaluated. References form no circle, `check` saw to that.
    fn ready(&mut self, id: &SegmentId, state: &TenantState) -> Result<String, String> {
        match self.segments.get(id) {
            Some(Form::Ready(ready)) => return Ok(ready.record.hash.clone()),
            Some(Form::Failed { error, .. }) => return Err(error.clone()),
            Some(Form::Missing(_)) | None => {}
        }
        if let Some((_, error)) = self.failed.get(id) {
            return Err(error.clone());
        }
        let Some(checked) = self.checked.remove(id) else {
            return Err("it is not defined".to_owned());
        };
        let logical = normalize(lower(&checked));
        let mut hash = fingerprint(&logical);
        let mut error = None;
        let references = checked.references();
        for reference in &references {
            match self.ready(reference, state) {
                Ok(below) => hash = blake3::hash(format!("{hash}{reference}{below}").as_bytes()).to_hex().to_string(),
                Err(reason) => error = error.or_else(|| Some(format!("its reference `{reference}` cannot be evaluated: {reason}"))),
            }
        }
        let definition = checked.definition();
        let record = record_of(definition, hash.clone());
        let timetable = match timetable_of(definition) {
            Ok(timetable) => timetable,
            Err(reason) => {
                error = error.or(Some(reason));
                None
            }
        };
        let form = match &error {
            None => Form::Ready(ReadySegment { checked, logical, record, timetable }),
            Some(error) => {
                let record = state.segments.get(id).map_or(record, |state| state.definition.clone());
                Form::Failed { definition: Arc::clone(definition), record, error: error.clone() }
            }
        };
        self.segments.insert(id.clone(), form);
        match error {
            None => Ok(hash),
            Some(error) => Err(error),
        }
    }
}

/// Whether the rule of a segment is evaluated when others refer to it, rather than its stored members read.
#[must_use]
pub fn is_evaluated(ready: &ReadySegment) -> bool {
    match (&ready.logical.rule, ready.record.status) {
        (LogicalRule::Formula(_), Status::Active) => true,
        (LogicalRule::Formula(_), Status::Paused | Status::Archived) | (LogicalRule::Static, _) => false,
    }
}

fn record_of(definition: &Definition, hash: String) -> DefinitionRecord {
    DefinitionRecord {
        hash,
        json: print_json(definition),
        subject: definition.subject,
        kind: definition.kind,
        status: definition.status,
    }
}

/// When a segment is recomputed; `None` = at the default interval.
///
/// # Errors
/// Why its schedule is none, one line.
pub fn timetable_of(definition: &Definition) -> Result<Option<Timetable>, String> {
    match &definition.schedule {
        None => Ok(None),
        Some(Schedule::Every(interval)) => Ok(Some(Timetable::Every(*interval))),
        Some(Schedule::Cron(text)) => Ok(Some(Timetable::Cron(Box::new(parse_cron(text)?)))),
    }
}

/// Whether the text of a segment is another than that of its last run. Only then its errors are its author's.
fn is_edited(documents: &[Document], segment: &SegmentId, state: Option<&SegmentState>) -> bool {
    let Some(state) = state else { return true };
    let mut texts = documents.iter().filter(|document| document.definition().id == *segment);
    match (texts.next(), texts.next()) {
        // What could not be read of a text is left out of its definition, which may then be the one of the last run.
        (Some(document), None) => document.report().has_errors() || print_json(document.definition()) != state.definition.json,
        // Defined twice, which no valid form is.
        _ => true,
    }
}

/// The definition of the last run; `None` when this version cannot read it any more.
#[must_use]
pub fn stored_form(state: &SegmentState) -> Option<Document> {
    parse(&Source::new("last valid form", state.definition.json.as_str()), Format::Json).ok()
}

/// The id in a text that cannot be read as a whole: what stands after the first key `id` in any of the languages, else the name of
/// the file.
fn probable_id(file: &DefinitionFile) -> Option<SegmentId> {
    let written = file.source.text.lines().find_map(|line| {
        let after =
            line.trim_start_matches(|c: char| c.is_whitespace() || c == '{').strip_prefix(['"', '\'']).unwrap_or(line.trim_start());
        let value = after.strip_prefix("id")?.trim_start_matches(['"', '\'']).trim_start().strip_prefix([':', '='])?;
        let value = value.trim_start().trim_start_matches(['"', '\'']);
        value.split(['"', '\'', ',', ' ', '#']).next()?.trim_end().parse().ok()
    });
    written.or_else(|| Path::new(&file.source.name).file_stem()?.to_str()?.parse().ok())
}

fn first_error(report: &Report) -> String {
    let is_error = |finding: &&Finding| finding.severity == Severity::Error;
    report.findings.iter().find(is_error).map_or_else(|| "it is invalid".to_owned(), |finding| finding.message.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn assert_probable(name: &str, text: &str, id: Option<&str>) {
        let language = Language::Document(format_of(Path::new(name)).unwrap());
        let found = probable_id(&DefinitionFile { source: Source::new(name, text), language });
        assert_eq!(found.as_ref().map(SegmentId::as_str), id, "{text}");
    }

    #[test]
    fn the_id_of_a_broken_text_is_found_in_every_language() {
        assert_probable("q/x.json", "{ \"id\": \"vip\", ", Some("vip"));
        assert_probable("q/x.json", "{\n  \"name\": \"id\",\n  \"id\" : \"vip\"\n  oops", Some("vip"));
        assert_probable("q/x.toml", "name = \"n\"\nid = \"vip\" # mine\n[[", Some("vip"));
        assert_probable("q/x.yaml", "id: vip # mine\n  - :", Some("vip"));
        assert_probable("q/x.yml", "'id': 'vip'\n\t", Some("vip"));
    }

    #[test]
    fn a_text_without_an_id_is_that_of_its_file() {
        assert_probable("q/vip.json", "", Some("vip"));
        assert_probable("q/vip.json", "{\"identity\": \"other\"", Some("vip"));
        assert_probable("q/No Id.json", "{", None);
    }

    #[test]
    fn folders_globs_and_files_are_read_in_the_order_of_their_paths() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir_all(at("below/.hidden")).unwrap();
        for name in ["b.toml", "a.json", "below/c.yaml", "notes.md", "below/.hidden/d.json"] {
            fs::write(at(name), name).unwrap();
        }
        let names = |places: &[PathBuf]| {
            let files = read_definitions(places).unwrap();
            files.iter().map(|file| file.source.text.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(names(&[folder.path().to_owned()]), ["a.json", "b.toml", "below/c.yaml"]);
        assert_eq!(names(&[at("*.toml"), at("a.json"), at("a.*")]), ["a.json", "b.toml"]);
        for wrong in [at("gone"), at("*.yml"), at("below/.hidden/*.toml"), at("notes.md")] {
            assert!(matches!(read_definitions(&[wrong]), Err(Error::DefinitionFiles { .. })));
        }
    }
}
