//! Results to a file or an object store: as they come, in bounded memory, and there whole or not at all.
//!
//! A file is written beside its place under another name, and renamed when it is whole. To an object store small results are one request, and
//! larger ones uploads of parts, which show when they are completed. What ends before, by an error or a signal, leaves nothing visible.

use std::fs;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::record_batch::RecordBatch;
use futures::{Stream, StreamExt as _};
use object_store::{ObjectStore, ObjectStoreExt as _, PutMode, PutOptions, WriteMultipart};
use url::Url;
use uuid::Uuid;

use super::args::{OutputArguments, OutputFormat};
use super::context::Context;
use super::error::CliError;
use super::sink::Sink;
use crate::refresh::Error;
use crate::store::object::Place;

/// Bytes of a part of an upload. There may be ten thousand parts.
const PART: usize = 16 * 1024 * 1024;

/// Parts on their way at a time.
const PARTS_AT_ONCE: usize = 4;

/// Shows rows to whoever looks at standard output, or writes them to where the arguments say.
pub(crate) async fn deliver<P, E: Into<CliError>>(
    context: &Context<P>,
    output: &OutputArguments,
    schema: SchemaRef,
    rows: impl Stream<Item = Result<RecordBatch, E>> + Unpin,
) -> Result<(), CliError> {
    let Some(location) = &output.to else { return context.screen.stream(schema, rows).await };
    let format = match context.screen.asked {
        Some(format) => format,
        None => format_of(location)?,
    };
    let replaces = if output.force { Existing::Replaced } else { Existing::Kept };
    let written = match Destination::of(location) {
        Destination::File(path) => {
            let file = NewFile::create(&path, replaces)?;
            write_file(file, format, &schema, rows).await?
        }
        Destination::Object => {
            let (store, path) = Place::open(location).map_err(Error::from)?.object();
            let object = NewObject {
                store,
                path,
                location: location.clone(),
                replaces,
                buffer: Buffer::default(),
                upload: None,
                unfinished: context.uploads.clone(),
            };
            write_object(object, format, &schema, rows).await?
        }
    };
    context.screen.note(&format!("{written} row{} written to {location}", if written == 1 { "" } else { "s" }));
    Ok(())
}

/// Refuses what could not be delivered, before anything is asked of the store.
pub(crate) fn refuse_undeliverable<P>(context: &Context<P>, output: &OutputArguments) -> Result<(), CliError> {
    let Some(location) = &output.to else { return Ok(()) };
    if context.screen.asked.is_none() {
        format_of(location)?;
    }
    match Destination::of(location) {
        Destination::File(path) if !output.force && path.symlink_metadata().is_ok() => Err(exists(location)),
        Destination::File(_) | Destination::Object => Ok(()),
    }
}

/// What a name ends in.
const ENDINGS: [(&str, OutputFormat); 6] = [
    (".csv", OutputFormat::Csv),
    (".ndjson", OutputFormat::Ndjson),
    (".jsonl", OutputFormat::Ndjson),
    (".json", OutputFormat::Json),
    (".parquet", OutputFormat::Parquet),
    (".arrow", OutputFormat::Arrow),
];

fn format_of(location: &str) -> Result<OutputFormat, CliError> {
    let lower = location.to_lowercase();
    let known = ENDINGS.iter().find(|(ending, _)| lower.ends_with(ending)).map(|(_, format)| *format);
    known.ok_or_else(|| CliError::Usage {
        problem: format!("the name `{location}` does not tell its format"),
        help: Some("End it in .csv, .ndjson, .json, .parquet or .arrow, or say `--format`.".to_owned()),
    })
}

/// What becomes of what is there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Existing {
    Kept,
    Replaced,
}

enum Destination {
    File(PathBuf),
    Object,
}

impl Destination {
    fn of(location: &str) -> Self {
        match Url::parse(location) {
            Ok(url) if url.scheme() == "file" => match url.to_file_path() {
                Ok(path) => Self::File(path),
                Err(()) => Self::File(PathBuf::from(location)),
            },
            Ok(_) if location.contains("://") => Self::Object,
            Ok(_) | Err(_) => Self::File(PathBuf::from(location)),
        }
    }
}

fn exists(location: &str) -> CliError {
    CliError::Usage { problem: format!("`{location}` is there already"), help: Some("`--force` replaces it.".to_owned()) }
}

/// A file on its way. Unless it is put in place, nothing of it stays.
struct NewFile {
    place: PathBuf,
    beside: PathBuf,
    replaces: Existing,
    is_in_place: bool,
}

impl NewFile {
    fn create(place: &Path, replaces: Existing) -> Result<Self, CliError> {
        let shown = place.display().to_string();
        if replaces == Existing::Kept && place.symlink_metadata().is_ok() {
            return Err(exists(&shown));
        }
        let Some(name) = place.file_name() else {
            return Err(CliError::Usage { problem: format!("`{shown}` names no file"), help: None });
        };
        let beside = place.with_file_name(format!(".{}.{}.part", name.to_string_lossy(), Uuid::now_v7()));
        fs::File::create_new(&beside).map_err(|source| CliError::Write { path: shown, source })?;
        Ok(Self { place: place.to_owned(), beside, replaces, is_in_place: false })
    }

    fn put_in_place(mut self) -> Result<(), CliError> {
        let written = |source| CliError::Write { path: self.place.display().to_string(), source };
        match self.replaces {
            Existing::Replaced => fs::rename(&self.beside, &self.place).map_err(written)?,
            // A link is not made where there is a file, whoever made that meanwhile; a renamed file would take its place.
            Existing::Kept => match fs::hard_link(&self.beside, &self.place) {
                Ok(()) => fs::remove_file(&self.beside).map_err(written)?,
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    return Err(exists(&self.place.display().to_string()));
                }
                // Not every file system has links.
                Err(_) if self.place.symlink_metadata().is_err() => fs::rename(&self.beside, &self.place).map_err(written)?,
                Err(error) => return Err(written(error)),
            },
        }
        self.is_in_place = true;
        Ok(())
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if !self.is_in_place {
            // What cannot be removed bears a name that says what it is.
            fs::remove_file(&self.beside).ok();
        }
    }
}

async fn write_file<E: Into<CliError>>(
    file: NewFile,
    format: OutputFormat,
    schema: &SchemaRef,
    mut rows: impl Stream<Item = Result<RecordBatch, E>> + Unpin,
) -> Result<usize, CliError> {
    let path = file.place.display().to_string();
    let named = |error: CliError| match error {
        CliError::Output(source) => CliError::Write { path: path.clone(), source },
        other => other,
    };
    let out = fs::OpenOptions::new().write(true).open(&file.beside).map_err(|source| named(source.into()))?;
    let mut sink = Sink::open(format, schema, BufWriter::new(out)).map_err(named)?;
    let mut count = 0;
    while let Some(batch) = rows.next().await {
        let batch = batch.map_err(Into::into)?;
        count += batch.num_rows();
        sink.write(&batch).map_err(named)?;
    }
    let out = sink.finish().map_err(named)?;
    let out = out.into_inner().map_err(|error| named(error.into_error().into()))?;
    out.sync_all().map_err(|source| named(source.into()))?;
    file.put_in_place()?;
    Ok(count)
}

/// Bytes on their way to an object store.
#[derive(Debug, Clone, Default)]
struct Buffer(Arc<Mutex<Vec<u8>>>);

impl Buffer {
    fn take(&self) -> Bytes {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner)).into()
    }

    fn len(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

impl Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Uploads that ended before they were whole, and wait to be called off.
#[derive(Debug, Clone, Default)]
pub(crate) struct Unfinished(Arc<Mutex<Vec<WriteMultipart>>>);

impl Unfinished {
    /// Calls them off. What the store does not let go of is not visible either.
    pub(crate) async fn abort(&self) {
        let uploads = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        for upload in uploads {
            if let Err(error) = upload.abort().await {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(error, "an upload could not be called off; its parts stay in the store, where nobody sees them");
            }
        }
    }
}

/// An object on its way.
struct NewObject {
    store: Arc<dyn ObjectStore>,
    path: object_store::path::Path,
    location: String,
    replaces: Existing,
    buffer: Buffer,
    upload: Option<WriteMultipart>,
    unfinished: Unfinished,
}

impl NewObject {
    fn failed(&self, error: object_store::Error) -> CliError {
        match error {
            object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. } => exists(&self.location),
            error => CliError::Write { path: self.location.clone(), source: io::Error::other(error) },
        }
    }

    async fn refuse_existing(&self) -> Result<(), CliError> {
        match (self.replaces, self.store.head(&self.path).await) {
            (Existing::Replaced, _) | (Existing::Kept, Err(object_store::Error::NotFound { .. })) => Ok(()),
            (Existing::Kept, Ok(_)) => Err(exists(&self.location)),
            (Existing::Kept, Err(error)) => Err(self.failed(error)),
        }
    }

    /// Sends what is there when it is enough for a part.
    async fn send(&mut self) -> Result<(), CliError> {
        if self.buffer.len() < PART {
            return Ok(());
        }
        if self.upload.is_none() {
            let upload = self.store.put_multipart(&self.path).await.map_err(|error| self.failed(error))?;
            self.upload = Some(WriteMultipart::new_with_chunk_size(upload, PART));
        }
        if let Some(upload) = &mut self.upload {
            let room = upload.wait_for_capacity(PARTS_AT_ONCE).await;
            upload.put(self.buffer.take());
            room.map_err(|error| self.failed(error))?;
        }
        Ok(())
    }

    async fn put_in_place(mut self) -> Result<(), CliError> {
        let last = self.buffer.take();
        let Some(upload) = &mut self.upload else {
            let mode = match self.replaces {
                Existing::Kept => PutMode::Create,
                Existing::Replaced => PutMode::Overwrite,
            };
            let put = self.store.put_opts(&self.path, last.into(), PutOptions { mode, ..PutOptions::default() }).await;
            return put.map(drop).map_err(|error| self.failed(error));
        };
        upload.put(last);
        let sent = upload.wait_for_capacity(0).await;
        sent.map_err(|error| self.failed(error))?;
        // The client has no way of completing an upload only where there is no object, so this is asked as late as can be. A copy that
        // is made only there would leave another object when it is interrupted, and S3 copies no more than 5 GiB at a time.
        self.refuse_existing().await?;
        match self.upload.take() {
            Some(upload) => upload.finish().await.map(drop).map_err(|error| self.failed(error)),
            None => Ok(()),
        }
    }
}

impl Drop for NewObject {
    fn drop(&mut self) {
        if let Some(upload) = self.upload.take() {
            self.unfinished.0.lock().unwrap_or_else(PoisonError::into_inner).push(upload);
        }
    }
}

async fn write_object<E: Into<CliError>>(
    mut object: NewObject,
    format: OutputFormat,
    schema: &SchemaRef,
    mut rows: impl Stream<Item = Result<RecordBatch, E>> + Unpin,
) -> Result<usize, CliError> {
    object.refuse_existing().await?;
    let mut sink = Sink::open(format, schema, object.buffer.clone())?;
    let mut count = 0;
    while let Some(batch) = rows.next().await {
        let batch = batch.map_err(Into::into)?;
        count += batch.num_rows();
        sink.write(&batch)?;
        object.send().await?;
    }
    sink.finish()?;
    object.put_in_place().await?;
    Ok(count)
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::{ArrayRef, StringArray};
    use futures::stream;
    use object_store::memory::InMemory;

    use super::*;

    fn rows(batches: usize) -> Vec<Result<RecordBatch, CliError>> {
        let texts: ArrayRef = Arc::new(StringArray::from_iter_values((0..1_000).map(|row| format!("{row} {}", "x".repeat(4_000)))));
        let batch = RecordBatch::try_from_iter([("text", texts)]).unwrap();
        (0..batches).map(|_| Ok(batch.clone())).collect()
    }

    fn object(store: &Arc<InMemory>, replaces: Existing, unfinished: &Unfinished) -> NewObject {
        NewObject {
            store: Arc::clone(store) as _,
            path: "a/b.csv".into(),
            location: "memory".to_owned(),
            replaces,
            buffer: Buffer::default(),
            upload: None,
            unfinished: unfinished.clone(),
        }
    }

    async fn write(object: NewObject, batches: Vec<Result<RecordBatch, CliError>>) -> Result<usize, CliError> {
        let schema = rows(1).remove(0).unwrap().schema();
        write_object(object, OutputFormat::Csv, &schema, stream::iter(batches)).await
    }

    #[tokio::test]
    async fn objects_appear_whole_and_replace_others_only_by_force() {
        // The second is larger than a part.
        for batches in [1, 12] {
            let (store, unfinished) = (Arc::new(InMemory::new()), Unfinished::default());
            assert_eq!(write(object(&store, Existing::Kept, &unfinished), rows(batches)).await.unwrap(), batches * 1_000);
            let bytes = store.get(&"a/b.csv".into()).await.unwrap().bytes().await.unwrap();
            assert_eq!(bytes.split(|byte| *byte == b'\n').count(), batches * 1_000 + 2, "a header, and the end of the last line");
            let refused = write(object(&store, Existing::Kept, &unfinished), rows(1)).await.unwrap_err();
            assert_eq!(refused.to_string(), "`memory` is there already");
            write(object(&store, Existing::Replaced, &unfinished), rows(0)).await.unwrap();
            assert_eq!(store.get(&"a/b.csv".into()).await.unwrap().bytes().await.unwrap(), "text\n");
            assert!(unfinished.0.lock().unwrap().is_empty());
        }
    }

    #[tokio::test]
    async fn an_object_that_appears_meanwhile_stays() {
        for batches in [1, 12] {
            let (store, unfinished) = (Arc::new(InMemory::new()), Unfinished::default());
            // Somebody else writes it while the last rows are on their way.
            let theirs = Arc::clone(&store);
            let appears = stream::once(async move {
                theirs.put(&"a/b.csv".into(), "theirs".into()).await.unwrap();
                rows(1).remove(0)
            });
            let (schema, before) = (rows(1).remove(0).unwrap().schema(), stream::iter(rows(batches)));
            let object = object(&store, Existing::Kept, &unfinished);
            let refused = write_object(object, OutputFormat::Csv, &schema, before.chain(appears).boxed()).await.unwrap_err();
            assert_eq!(refused.to_string(), "`memory` is there already");
            assert_eq!(store.get(&"a/b.csv".into()).await.unwrap().bytes().await.unwrap(), "theirs");
            let uploads = unfinished.0.lock().unwrap().len();
            assert_eq!(uploads, usize::from(batches > 1), "what was sent is called off");
            unfinished.abort().await;
        }
    }

    #[tokio::test]
    async fn an_object_that_fails_or_is_dropped_leaves_nothing() {
        let (store, unfinished) = (Arc::new(InMemory::new()), Unfinished::default());
        let mut broken = rows(12);
        broken.push(Err(CliError::Invalid));
        assert!(matches!(write(object(&store, Existing::Kept, &unfinished), broken).await, Err(CliError::Invalid)));
        // A signal lets go of the work where it stands.
        let endless = stream::iter(rows(12)).chain(stream::pending());
        let schema = rows(1).remove(0).unwrap().schema();
        let mut written =
            Box::pin(write_object(object(&store, Existing::Kept, &unfinished), OutputFormat::Csv, &schema, endless.boxed()));
        assert!(futures::poll!(&mut written).is_pending());
        drop(written);
        assert_eq!(unfinished.0.lock().unwrap().len(), 2);
        unfinished.abort().await;
        assert!(unfinished.0.lock().unwrap().is_empty());
        assert!(store.head(&"a/b.csv".into()).await.is_err());
    }

    #[tokio::test]
    async fn files_appear_whole_and_replace_others_only_by_force() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("b.csv");
        let schema = rows(1).remove(0).unwrap().schema();
        let names = || fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect::<Vec<_>>();
        let mut broken = rows(1);
        broken.push(Err(CliError::Invalid));
        let file = NewFile::create(&place, Existing::Kept).unwrap();
        assert_eq!(names().len(), 1, "it is written beside its place");
        assert!(write_file(file, OutputFormat::Csv, &schema, stream::iter(broken)).await.is_err());
        assert!(names().is_empty());

        let file = NewFile::create(&place, Existing::Kept).unwrap();
        assert_eq!(write_file(file, OutputFormat::Csv, &schema, stream::iter(rows(1))).await.unwrap(), 1_000);
        assert_eq!(names(), ["b.csv"]);
        assert!(matches!(NewFile::create(&place, Existing::Kept), Err(CliError::Usage { .. })));

        // One that appeared while it was written is not replaced either.
        let late = folder.path().join("late.csv");
        let file = NewFile::create(&late, Existing::Kept).unwrap();
        fs::write(&late, "theirs").unwrap();
        assert!(matches!(write_file(file, OutputFormat::Csv, &schema, stream::iter(rows(1))).await, Err(CliError::Usage { .. })));
        assert_eq!(fs::read_to_string(&late).unwrap(), "theirs");
        let file = NewFile::create(&late, Existing::Replaced).unwrap();
        write_file(file, OutputFormat::Csv, &schema, stream::iter(rows(0))).await.unwrap();
        assert_eq!(fs::read_to_string(&late).unwrap(), "text\n");
        assert_eq!(names().len(), 2);
    }

    #[test]
    fn names_tell_formats_and_places() {
        for (name, format) in
            [("a.csv", OutputFormat::Csv), ("s3://b/A.PARQUET", OutputFormat::Parquet), ("x.json", OutputFormat::Json)]
        {
            assert_eq!(format_of(name).unwrap(), format);
        }
        assert!(format_of("a.csv.gz").is_err() && format_of("json").is_err());
        let path = |location: &str| match Destination::of(location) {
            Destination::File(path) => Some(path),
            Destination::Object => None,
        };
        assert_eq!(path("file:///tmp/a.csv"), Some("/tmp/a.csv".into()));
        assert_eq!(path("c:a.csv"), Some("c:a.csv".into()));
        assert_eq!(path("gs://bucket/a.csv"), None);
    }
}
