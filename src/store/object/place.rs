//! [`Place`]: an object store and the prefix of the ledger in it, with the few operations that the ledger needs. It knows nothing of
//! what the files mean; its errors name the operation and the path.

use std::collections::BTreeSet;
use std::fmt;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use object_store::aws::AmazonS3Builder;
use object_store::azure::MicrosoftAzureBuilder;
use object_store::buffered::BufWriter;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt, PutMode, PutOptions};
use url::Url;

use super::delay::DelayedStore;
use crate::store::LedgerError;

/// Files that are read, put in place or deleted at the same time: a store far away answers late, and many at once.
pub(super) const FILES_AT_ONCE: usize = 16;

/// Files that are made to last at the same time.
const SYNCS_AT_ONCE: usize = 32;

/// Where a ledger lives: a store, and the prefix of the ledger's files in it.
#[derive(Clone)]
pub struct Place {
    store: Arc<dyn ObjectStore>,
    prefix: Path,
    location: String,
    durability: Durability,
}

/// Who sees to it that what was written survives a loss of power.
#[derive(Clone)]
enum Durability {
    /// The store.
    Store,
    /// This module, for files below this root of a local file system.
    Root(PathBuf),
}

/// Whether a file that must not exist before was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Created {
    /// It was.
    New,
    /// One of that name exists, perhaps from an attempt of this very call that was taken to have failed.
    Taken,
}

/// Whether a file was copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Copied {
    /// It is in place.
    Whole,
    /// There is nothing to copy.
    SourceAbsent,
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Place").field("location", &self.location).finish_non_exhaustive()
    }
}

impl Place {
    /// A prefix in an object store; `location` names it in messages.
    #[must_use]
    pub fn new(store: Arc<dyn ObjectStore>, prefix: Path, location: impl Into<String>) -> Self {
        Self { store, prefix, location: location.into(), durability: Durability::Store }
    }

    /// The place that a local path, or an `s3://`, `gs://`, `az://` or `file://` URL names. Credentials, regions and endpoints of
    /// the URLs come from the usual environment variables. Nothing is created until something is written.
    ///
    /// # Errors
    /// When the URL is not understood, or its store cannot be set up.
    pub fn open(location: &str) -> Result<Self, LedgerError> {
        match Url::parse(location) {
            Ok(url) if url.scheme() == "file" => match url.to_file_path() {
                Ok(path) => Self::local(&path, location),
                Err(()) => Err(unusable(location, "it is not a path of this machine")),
            },
            Ok(url) if location.contains("://") => Self::remote(&url, location),
            Ok(_) | Err(_) => Self::local(std::path::Path::new(location), location),
        }
    }

    fn local(path: &std::path::Path, location: &str) -> Result<Self, LedgerError> {
        let root = resolved(path).map_err(|source| unusable(location, source))?;
        let prefix = Path::from_absolute_path(&root).map_err(|source| unusable(location, source))?;
        // Every run has a folder of its own, which must not stay when its files are gone.
        let store = Arc::new(LocalFileSystem::new().with_automatic_cleanup(true));
        Ok(Self { store, prefix, location: location.to_owned(), durability: Durability::Root(root) })
    }

    fn remote(url: &Url, location: &str) -> Result<Self, LedgerError> {
        let fault = |source: object_store::Error| unusable(location, source);
        let store: Arc<dyn ObjectStore> = match url.scheme() {
            "s3" | "s3a" => Arc::new(AmazonS3Builder::from_env().with_url(url.as_str()).build().map_err(fault)?),
            "gs" => Arc::new(GoogleCloudStorageBuilder::from_env().with_url(url.as_str()).build().map_err(fault)?),
            "az" | "adl" | "azure" | "abfs" | "abfss" => {
                Arc::new(MicrosoftAzureBuilder::from_env().with_url(url.as_str()).build().map_err(fault)?)
            }
            _ => return Err(unusable(location, "its scheme is none of `file`, `s3`, `gs` and `az`")),
        };
        let prefix = Path::from_url_path(url.path()).map_err(|source| unusable(location, source))?;
        Ok(Self::new(store, prefix, location))
    }

    /// The same place with a pause before each operation: a hook for tests that kill the process at a random moment.
    #[must_use]
    pub fn delayed(self, pause: Duration) -> Self {
        Self { store: Arc::new(DelayedStore::new(self.store, pause)), ..self }
    }

    /// The store, and the path in it that the place's location names.
    #[must_use]
    pub fn object(&self) -> (Arc<dyn ObjectStore>, Path) {
        (Arc::clone(&self.store), self.prefix.clone())
    }

    /// What the place is called in messages.
    #[must_use]
    pub fn location(&self) -> &str {
        &self.location
    }

    /// The whole of a file; `None` when it does not exist.
    pub(super) async fn read(&self, path: &Path) -> Result<Option<Bytes>, LedgerError> {
        let found = async { self.store.get(&self.absolute(path)).await?.bytes().await };
        match found.await {
            Ok(bytes) => Ok(Some(bytes)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(source) => Err(failed("read", path, source)),
        }
    }

    /// Parts of a file.
    pub(super) async fn read_ranges(&self, path: &Path, ranges: &[Range<u64>]) -> object_store::Result<Vec<Bytes>> {
        self.store.get_ranges(&self.absolute(path), ranges).await
    }

    /// The size of a file; `None` when it does not exist.
    pub(super) async fn size(&self, path: &Path) -> Result<Option<u64>, LedgerError> {
        match self.store.head(&self.absolute(path)).await {
            Ok(meta) => Ok(Some(meta.size)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(source) => Err(failed("read", path, source)),
        }
    }

    /// Writes a file, whole, over the one of that name.
    pub(super) async fn replace(&self, path: &Path, bytes: Bytes) -> Result<(), LedgerError> {
        self.store.put(&self.absolute(path), bytes.into()).await.map_err(|source| failed("write", path, source))?;
        Ok(())
    }

    /// Writes a file, whole, unless one of that name exists.
    pub(super) async fn create(&self, path: &Path, bytes: Bytes) -> Result<Created, LedgerError> {
        let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        match self.store.put_opts(&self.absolute(path), bytes.into(), options).await {
            Ok(_) => {}
            Err(object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. }) => return Ok(Created::Taken),
            Err(source) => return Err(failed("write", path, source)),
        }
        self.persist(std::slice::from_ref(path)).await?;
        Ok(Created::New)
    }

    /// A writer of a new file, which appears whole when the writer is shut down.
    pub(super) fn upload(&self, path: &Path) -> BufWriter {
        BufWriter::new(Arc::clone(&self.store), self.absolute(path))
    }

    /// Puts a copy of a file in place, whole, over the one of that name. On a local disk this is a hard link that is renamed.
    pub(super) async fn copy(&self, from: &Path, to: &Path) -> Result<Copied, LedgerError> {
        match self.store.copy(&self.absolute(from), &self.absolute(to)).await {
            Ok(()) => Ok(Copied::Whole),
            Err(object_store::Error::NotFound { .. }) => Ok(Copied::SourceAbsent),
            Err(source) => Err(failed("write", to, source)),
        }
    }

    /// Deletes a file; one that does not exist is fine.
    pub(super) async fn delete(&self, path: &Path) -> Result<(), LedgerError> {
        match self.store.delete(&self.absolute(path)).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(source) => Err(failed("delete", path, source)),
        }
    }

    /// The files below a folder, in no order.
    pub(super) async fn list(&self, folder: &Path) -> Result<Vec<Path>, LedgerError> {
        Ok(self.list_sized(folder).await?.into_iter().map(|(path, _)| path).collect())
    }

    /// The files below a folder with their sizes, in no order.
    pub(super) async fn list_sized(&self, folder: &Path) -> Result<Vec<(Path, u64)>, LedgerError> {
        let found: Result<Vec<ObjectMeta>, _> = self.store.list(Some(&self.absolute(folder))).try_collect().await;
        let found = found.map_err(|source| failed("list", folder, source))?;
        Ok(found.iter().filter_map(|meta| Some((self.relative(&meta.location)?, meta.size))).collect())
    }

    /// Makes files, and their names, survive a loss of power.
    pub(super) async fn persist(&self, paths: &[Path]) -> Result<(), LedgerError> {
        let Durability::Root(root) = &self.durability else { return Ok(()) };
        // A disk does together what is asked of it at the same time: one after the other, a thousand files take a thousand times as long.
        let files: Vec<(Path, PathBuf)> = paths.iter().map(|path| (path.clone(), on_disk(root, path))).collect();
        let synced =
            futures::stream::iter(files).map(|(path, file)| synced(path, move || sync_file(&file))).buffered(SYNCS_AT_ONCE);
        synced.try_collect::<()>().await?;
        self.persist_names(paths).await
    }

    /// Makes the names of files survive a loss of power, whose content does so already.
    pub(super) async fn persist_names(&self, paths: &[Path]) -> Result<(), LedgerError> {
        let Durability::Root(root) = &self.durability else { return Ok(()) };
        let Some(first) = paths.first() else { return Ok(()) };
        let (root, files) = (root.clone(), paths.iter().map(|path| on_disk(root, path)).collect::<Vec<_>>());
        synced(first.clone(), move || sync_folders(&root, &files)).await
    }

    /// Deletes what a process that died was in the middle of writing to these folders. Only local disks keep such files, under
    /// names that no store of this kind lists.
    pub(super) async fn sweep(&self, folders: &[Path]) -> Result<(), LedgerError> {
        let Durability::Root(_) = &self.durability else { return Ok(()) };
        for (path, _) in self.half_written(folders).await? {
            match std::fs::remove_file(&path) {
                Ok(()) => {}
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(source) => return Err(failed("delete", &Path::from(path.to_string_lossy().as_ref()), source)),
            }
        }
        Ok(())
    }

    /// What processes are in the middle of writing to these folders, or were when they died: paths on a local disk, and sizes.
    pub(super) async fn half_written(&self, folders: &[Path]) -> Result<Vec<(PathBuf, u64)>, LedgerError> {
        let Durability::Root(root) = &self.durability else { return Ok(Vec::new()) };
        let mut found = Vec::new();
        for folder in folders {
            let path = on_disk(root, folder);
            let read = tokio::task::spawn_blocking(move || temporary_files(&path)).await;
            let read = read.map_err(|source| failed("list", folder, source))?;
            found.extend(read.map_err(|source| failed("list", folder, source))?);
        }
        Ok(found)
    }

    fn absolute(&self, path: &Path) -> Path {
        self.prefix.parts().chain(path.parts()).collect()
    }

    fn relative(&self, path: &Path) -> Option<Path> {
        Some(path.prefix_match(&self.prefix)?.collect())
    }
}

fn on_disk(root: &std::path::Path, path: &Path) -> PathBuf {
    path.parts().fold(root.to_owned(), |folder, part| folder.join(part.as_ref()))
}

/// Does something on the disk beside everything else.
async fn synced(path: Path, sync: impl FnOnce() -> std::io::Result<()> + Send + 'static) -> Result<(), LedgerError> {
    let synced = tokio::task::spawn_blocking(sync).await.map_err(|source| failed("write", &path, source))?;
    synced.map_err(|source| failed("write", &path, source))
}

fn sync_file(file: &std::path::Path) -> std::io::Result<()> {
    std::fs::File::open(file)?.sync_all()
}

fn sync_folders(root: &std::path::Path, files: &[PathBuf]) -> std::io::Result<()> {
    let ancestors = files.iter().flat_map(|file| file.ancestors().skip(1).take_while(|folder| folder.starts_with(root)));
    // A name is in its folder, which is a file of its own; only Unix lets a program open it.
    let folders: BTreeSet<&std::path::Path> = ancestors.filter(|_| cfg!(unix)).collect();
    folders.into_iter().rev().try_for_each(sync_file)
}

fn temporary_files(folder: &std::path::Path) -> std::io::Result<Vec<(PathBuf, u64)>> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            found.extend(temporary_files(&entry.path())?);
        } else if entry.file_name().to_string_lossy().contains(".parquet#") {
            found.push((entry.path(), entry.metadata()?.len()));
        }
    }
    Ok(found)
}

/// The path without links and `..`, although its last parts need not exist.
fn resolved(path: &std::path::Path) -> std::io::Result<PathBuf> {
    let absolute = std::path::absolute(path)?;
    let mut missing = Vec::new();
    let mut existing = absolute.as_path();
    loop {
        match (existing.canonicalize(), existing.parent(), existing.file_name()) {
            (Ok(found), _, _) => return Ok(missing.iter().rev().fold(found, |folder, name| folder.join(name))),
            (Err(error), Some(parent), Some(name)) if error.kind() == std::io::ErrorKind::NotFound => {
                missing.push(name.to_owned());
                existing = parent;
            }
            (Err(error), _, _) => return Err(error),
        }
    }
}

pub(super) fn failed(
    operation: &'static str,
    path: &Path,
    source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> LedgerError {
    LedgerError::Io { operation, path: path.to_string(), source: source.into() }
}

fn unusable(location: &str, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> LedgerError {
    LedgerError::Location { location: location.to_owned(), source: source.into() }
}
