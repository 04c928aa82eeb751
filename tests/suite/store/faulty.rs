//! An object store that fails when it is told to, and one that does something strange.

use std::fmt;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt, TryStreamExt};
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

/// The store. Operations are counted from 1.
pub(crate) struct FaultyStore {
    store: Arc<dyn ObjectStore>,
    fault: Fault,
    count: Arc<AtomicU64>,
}

/// What goes wrong.
enum Fault {
    /// The operation of a number fails.
    Fails { at: u64, effect: Effect, after: After, counted: Counted },
    /// It is done twice, as by a client that did not hear of the first time.
    Twice { at: u64 },
    /// Something else is done before the operation of a number, of those that change something.
    HeldUp { at: u64, meanwhile: Mutex<Option<BoxFuture<'static, ()>>>, after: After },
    /// Files have only so much room; what each took stands beside it.
    Full { room: Mutex<u64>, taken: Mutex<Vec<u64>> },
}

/// What is to become of an operation.
enum Fate {
    Works,
    Fails(Effect),
    Twice,
    Waits(BoxFuture<'static, ()>),
}

/// A copy is another name of the same content.
const ROOM_OF_A_NAME: u64 = 1;

impl FaultyStore {
    pub(crate) fn new(store: Arc<dyn ObjectStore>, at: u64, effect: Effect, after: After) -> Self {
        Self::with(store, Fault::Fails { at, effect, after, counted: Counted::All })
    }

    /// A store that can only be read.
    pub(crate) fn read_only(store: Arc<dyn ObjectStore>) -> Self {
        Self::with(store, Fault::Fails { at: 1, effect: Effect::None, after: After::Fails, counted: Counted::Writes })
    }

    /// A store that does one operation twice.
    pub(crate) fn twice(store: Arc<dyn ObjectStore>, at: u64) -> Self {
        Self::with(store, Fault::Twice { at })
    }

    /// A store of which one operation waits for something else to be done.
    pub(crate) fn held_up(store: Arc<dyn ObjectStore>, at: u64, meanwhile: BoxFuture<'static, ()>, after: After) -> Self {
        Self::with(store, Fault::HeldUp { at, meanwhile: Mutex::new(Some(meanwhile)), after })
    }

    /// A store with room for so many bytes.
    pub(crate) fn full(store: Arc<dyn ObjectStore>, room: u64) -> Self {
        Self::with(store, Fault::Full { room: Mutex::new(room), taken: Mutex::default() })
    }

    fn with(store: Arc<dyn ObjectStore>, fault: Fault) -> Self {
        Self { store, fault, count: Arc::default() }
    }

    /// How many operations there were.
    pub(crate) fn operations(&self) -> u64 {
        self.count.load(Ordering::SeqCst)
    }

    /// The room that each file took, in their order.
    pub(crate) fn taken(&self) -> Vec<u64> {
        match &self.fault {
            Fault::Full { taken, .. } => taken.lock().unwrap().clone(),
            Fault::Fails { .. } | Fault::Twice { .. } | Fault::HeldUp { .. } => Vec::new(),
        }
    }

    /// Somebody makes room.
    pub(crate) fn make_room(&self) {
        if let Fault::Full { room, .. } = &self.fault {
            *room.lock().unwrap() = u64::MAX;
        }
    }

    /// The fate of the next operation, which takes so much room.
    fn fate(&self, kind: Counted, size: u64) -> Fate {
        if kind == Counted::All {
            match self.fault {
                Fault::Fails { counted: Counted::Writes, .. } => return Fate::Works,
                // A read that waits may be given up by who asked for it, and with it what it waits for.
                Fault::HeldUp { at, after: After::Fails, .. } if self.operations() >= at => return Fate::Fails(Effect::None),
                Fault::HeldUp { .. } => return Fate::Works,
                Fault::Fails { .. } | Fault::Twice { .. } | Fault::Full { .. } => {}
            }
        }
        let number = self.count.fetch_add(1, Ordering::SeqCst) + 1;
        match &self.fault {
            Fault::Fails { at, effect, .. } if number == *at => Fate::Fails(*effect),
            Fault::Fails { at, after: After::Fails, .. } | Fault::HeldUp { at, after: After::Fails, .. } if number > *at => {
                Fate::Fails(Effect::None)
            }
            Fault::Twice { at } if number == *at => Fate::Twice,
            Fault::HeldUp { at, meanwhile, .. } if number == *at => {
                meanwhile.lock().unwrap().take().map_or(Fate::Works, Fate::Waits)
            }
            Fault::Full { room, taken } if size > 0 => {
                let mut room = room.lock().unwrap();
                let Some(left) = room.checked_sub(size) else { return Fate::Fails(Effect::None) };
                *room = left;
                taken.lock().unwrap().push(size);
                Fate::Works
            }
            Fault::Fails { .. } | Fault::Twice { .. } | Fault::HeldUp { .. } | Fault::Full { .. } => Fate::Works,
        }
    }

    async fn act<T, O>(&self, kind: Counted, size: u64, operation: impl Fn() -> O + Send) -> Result<T>
    where
        T: Send,
        O: Future<Output = Result<T>> + Send,
    {
        match self.fate(kind, size) {
            Fate::Works => operation().await,
            Fate::Fails(Effect::None) => Err(broken()),
            Fate::Fails(Effect::Done) => {
                operation().await?;
                Err(broken())
            }
            Fate::Twice => {
                // What the first time came to, nobody heard.
                operation().await.ok();
                operation().await
            }
            Fate::Waits(meanwhile) => {
                meanwhile.await;
                operation().await
            }
        }
    }

    /// As [`Self::act`], for what is answered one by one.
    fn stream<T: Send + 'static>(
        &self,
        kind: Counted,
        operation: impl Fn() -> BoxStream<'static, Result<T>> + Send + 'static,
    ) -> BoxStream<'static, Result<T>> {
        match self.fate(kind, 0) {
            Fate::Works => operation(),
            Fate::Fails(Effect::None) => failing(),
            Fate::Fails(Effect::Done) => operation().and_then(|_| async { Err(broken()) }).boxed(),
            Fate::Twice => {
                let first = operation().count();
                futures::stream::once(first).flat_map(move |_| operation()).boxed()
            }
            Fate::Waits(meanwhile) => futures::stream::once(meanwhile).flat_map(move |()| operation()).boxed(),
        }
    }
}

fn broken() -> Error {
    Error::Generic { store: "faulty", source: "no space left on device".into() }
}

impl fmt::Debug for FaultyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FaultyStore").field("store", &self.store).finish_non_exhaustive()
    }
}

impl fmt::Display for FaultyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "faulty {}", self.store)
    }
}

#[async_trait]
impl ObjectStore for FaultyStore {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        let size = payload.content_length() as u64;
        self.act(Counted::Writes, size, || self.store.put_opts(location, payload.clone(), options.clone())).await
    }

    async fn put_multipart_opts(&self, location: &Path, options: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.act(Counted::Writes, 0, || self.store.put_multipart_opts(location, options.clone())).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.act(Counted::All, 0, || self.store.get_opts(location, options.clone())).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.act(Counted::All, 0, || self.store.get_ranges(location, ranges)).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let (store, locations) = (Arc::clone(&self.store), locations.collect::<Vec<_>>().now_or_never().unwrap());
        let locations: Vec<Path> = locations.into_iter().map(Result::unwrap).collect();
        self.stream(Counted::Writes, move || {
            let locations = futures::stream::iter(locations.clone()).map(Ok).boxed();
            store.delete_stream(locations)
        })
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let (store, prefix) = (Arc::clone(&self.store), prefix.cloned());
        // A list has no effect: it fails before it begins.
        match &self.fault {
            Fault::Fails { .. } => match self.fate(Counted::All, 0) {
                Fate::Fails(_) => failing(),
                Fate::Works | Fate::Twice | Fate::Waits(_) => store.list(prefix.as_ref()),
            },
            Fault::Twice { .. } | Fault::HeldUp { .. } | Fault::Full { .. } => {
                self.stream(Counted::All, move || store.list(prefix.as_ref()))
            }
        }
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.act(Counted::All, 0, || self.store.list_with_delimiter(prefix)).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.act(Counted::Writes, ROOM_OF_A_NAME, || self.store.copy_opts(from, to, options.clone())).await
    }
}

fn failing<T: Send + 'static>() -> BoxStream<'static, Result<T>> {
    futures::stream::iter([Err(broken())]).boxed()
}
