//! An object store that fails when it is told to.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMultipartOptions,
    PutOptions, PutPayload, PutResult, Result,
};

/// What happens to the operation at which the store fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Nothing is done.
    None,
    /// It is done, and reported as failed.
    Done,
}

/// What happens after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum After {
    /// Everything works again: a hiccup.
    Works,
    /// Nothing does: the process is as good as dead.
    Fails,
}

/// Which operations count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Counted {
    /// All of them.
    All,
    /// Those that change something: for a full disk, or one that may only be read.
    Writes,
}

/// The store. Operations are counted from 1; the one with the number `at` fails.
#[derive(Debug)]
pub(crate) struct FaultyStore {
    store: Arc<dyn ObjectStore>,
    at: u64,
    effect: Effect,
    after: After,
    counted: Counted,
    count: Arc<AtomicU64>,
}

/// What is to become of an operation.
enum Fate {
    Works,
    Fails(Effect),
}

impl FaultyStore {
    pub(crate) fn new(store: Arc<dyn ObjectStore>, at: u64, effect: Effect, after: After) -> Self {
        Self { store, at, effect, after, counted: Counted::All, count: Arc::default() }
    }

    /// A store that can only be read.
    pub(crate) fn read_only(store: Arc<dyn ObjectStore>) -> Self {
        Self { store, at: 1, effect: Effect::None, after: After::Fails, counted: Counted::Writes, count: Arc::default() }
    }

    /// How many operations there were.
    pub(crate) fn operations(&self) -> u64 {
        self.count.load(Ordering::SeqCst)
    }

    fn fate(&self, kind: Counted) -> Fate {
        if self.counted == Counted::Writes && kind == Counted::All {
            return Fate::Works;
        }
        let number = self.count.fetch_add(1, Ordering::SeqCst) + 1;
        match self.after {
            _ if number == self.at => Fate::Fails(self.effect),
            After::Fails if number > self.at => Fate::Fails(Effect::None),
            After::Fails | After::Works => Fate::Works,
        }
    }

    async fn act<T>(&self, kind: Counted, operation: impl Future<Output = Result<T>> + Send) -> Result<T> {
        match self.fate(kind) {
            Fate::Works => operation.await,
            Fate::Fails(Effect::None) => Err(broken()),
            Fate::Fails(Effect::Done) => {
                operation.await?;
                Err(broken())
            }
        }
    }
}

fn broken() -> Error {
    Error::Generic { store: "faulty", source: "no space left on device".into() }
}

impl fmt::Display for FaultyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "faulty {}", self.store)
    }
}

#[async_trait]
impl ObjectStore for FaultyStore {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        self.act(Counted::Writes, self.store.put_opts(location, payload, options)).await
    }

    async fn put_multipart_opts(&self, location: &Path, options: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.act(Counted::Writes, self.store.put_multipart_opts(location, options)).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.act(Counted::All, self.store.get_opts(location, options)).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.act(Counted::All, self.store.get_ranges(location, ranges)).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        match self.fate(Counted::Writes) {
            Fate::Works => self.store.delete_stream(locations),
            Fate::Fails(Effect::None) => failing(),
            Fate::Fails(Effect::Done) => {
                let deleted = self.store.delete_stream(locations);
                deleted.and_then(|_| async { Err(broken()) }).boxed()
            }
        }
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        match self.fate(Counted::All) {
            Fate::Works => self.store.list(prefix),
            Fate::Fails(_) => failing(),
        }
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.act(Counted::All, self.store.list_with_delimiter(prefix)).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.act(Counted::Writes, self.store.copy_opts(from, to, options)).await
    }
}

fn failing<T: Send + 'static>() -> BoxStream<'static, Result<T>> {
    futures::stream::iter([Err(broken())]).boxed()
}
