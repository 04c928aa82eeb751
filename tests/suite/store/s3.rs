//! A server of S3 in this process, over a temporary folder: the store as it is in the cloud, with its requests, signatures and conditions.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::future::join_all;
use futures::{StreamExt, TryStreamExt};
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use libtest_mimic::Trial;
use object_store::aws::AmazonS3Builder;
use object_store::path::Path;
use object_store::{Error, ObjectStore, ObjectStoreExt, PutMode, PutOptions, RetryConfig};
use s3s::auth::SimpleAuth;
use s3s::dto::*;
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s::{S3, S3Request, S3Response, S3Result};
use s3s_fs::FileSystem;
use segmenta::backend::LocalMembers;
use segmenta::store::object::ObjectLedger;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::RwLock;

use super::stage::{ManualClock, ObjectStage, Stage, local, within};

/// The one bucket of every server.
pub(crate) const BUCKET: &str = "bucket";
/// Who may use it.
pub(crate) const ACCESS_KEY: &str = "tester";
/// What it takes.
pub(crate) const SECRET_KEY: &str = "a secret of tests";

pub(crate) fn trials() -> Vec<Trial> {
    let trial = |name: &str, test: fn()| {
        Trial::test(format!("store::s3: {name}"), move || {
            test();
            Ok(())
        })
    };
    vec![
        trial("of many who create one object one does", || within(of_many_who_create_one_object_one_does())),
        trial("who does not know the secret is refused", || within(a_wrong_secret_is_refused())),
    ]
}

/// A server with an empty bucket, which goes with this value.
pub(crate) struct S3Server {
    folder: TempDir,
    address: SocketAddr,
    runtime: Option<Runtime>,
}

impl S3Server {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join(BUCKET)).unwrap();
        Self::over(folder)
    }

    /// A server of the buckets in a folder.
    pub(crate) fn over(folder: TempDir) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let disk = Consistent { disk: FileSystem::new(folder.path()).unwrap(), lock: RwLock::default() };
        let mut service = S3ServiceBuilder::new(disk);
        service.set_auth(SimpleAuth::from_single(ACCESS_KEY, SECRET_KEY));
        runtime.spawn(serve(listener, service.build()));
        Self { folder, address, runtime: Some(runtime) }
    }

    pub(crate) fn folder(&self) -> PathBuf {
        self.folder.path().to_owned()
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// A client that tries nothing again.
    pub(crate) fn store(&self) -> Arc<dyn ObjectStore> {
        self.store_with(SECRET_KEY)
    }

    fn store_with(&self, secret: &str) -> Arc<dyn ObjectStore> {
        let retries = RetryConfig { max_retries: 0, retry_timeout: Duration::from_secs(20), ..RetryConfig::default() };
        let store = AmazonS3Builder::new()
            .with_endpoint(self.endpoint())
            .with_allow_http(true)
            .with_region("eu-central-1")
            .with_bucket_name(BUCKET)
            .with_access_key_id(ACCESS_KEY)
            .with_secret_access_key(secret)
            .with_retry(retries)
            .build();
        Arc::new(store.unwrap())
    }
}

impl Drop for S3Server {
    fn drop(&mut self) {
        // A runtime must not wait for its end inside of another one.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

async fn serve(listener: std::net::TcpListener, service: S3Service) {
    let listener = TcpListener::from_std(listener).unwrap();
    while let Ok((connection, _)) = listener.accept().await {
        let service = service.clone();
        // A client that goes away is nobody's failure.
        tokio::spawn(async move { http1::Builder::new().serve_connection(TokioIo::new(connection), service).await.ok() });
    }
}

/// What the store of the cloud promises and a disk does not keep by itself: a condition holds while it is acted upon, and a list shows
/// one moment.
struct Consistent {
    disk: FileSystem,
    lock: RwLock<()>,
}

macro_rules! passed_on {
    ($($lock:ident $operation:ident($input:ident) -> $output:ident;)*) => {
        #[async_trait]
        impl S3 for Consistent {
            $(async fn $operation(&self, request: S3Request<$input>) -> S3Result<S3Response<$output>> {
                let _guard = self.lock.$lock().await;
                self.disk.$operation(request).await
            })*
        }
    };
}

passed_on! {
    read get_object(GetObjectInput) -> GetObjectOutput;
    read head_object(HeadObjectInput) -> HeadObjectOutput;
    read list_objects_v2(ListObjectsV2Input) -> ListObjectsV2Output;
    write put_object(PutObjectInput) -> PutObjectOutput;
    write copy_object(CopyObjectInput) -> CopyObjectOutput;
    write delete_object(DeleteObjectInput) -> DeleteObjectOutput;
    write delete_objects(DeleteObjectsInput) -> DeleteObjectsOutput;
    write create_multipart_upload(CreateMultipartUploadInput) -> CreateMultipartUploadOutput;
    write upload_part(UploadPartInput) -> UploadPartOutput;
    write complete_multipart_upload(CompleteMultipartUploadInput) -> CompleteMultipartUploadOutput;
    write abort_multipart_upload(AbortMultipartUploadInput) -> AbortMultipartUploadOutput;
}

/// A ledger in the bucket of a server of its own.
pub(crate) struct S3Stage {
    objects: ObjectStage,
    /// Lives as long as the stage.
    _server: S3Server,
}

impl S3Stage {
    pub(crate) fn new() -> Self {
        let server = S3Server::new();
        Self { objects: ObjectStage::new(server.store()), _server: server }
    }
}

impl Stage for S3Stage {
    type Ledger = ObjectLedger;

    fn open(&self) -> ObjectLedger {
        self.objects.open()
    }

    fn clock(&self) -> &ManualClock {
        &self.objects.clock
    }

    async fn members(&self, ids: &[&str]) -> LocalMembers {
        local(ids)
    }

    async fn ids(&self, members: &LocalMembers) -> Vec<String> {
        members.iter().map(str::to_owned).collect()
    }
}

async fn of_many_who_create_one_object_one_does() {
    let server = S3Server::new();
    for round in 0..5 {
        let path = Path::from(format!("log/commits/{round:012}.json"));
        let create = |number: u64| {
            let (store, path) = (server.store(), path.clone());
            async move {
                let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
                store.put_opts(&path, number.to_string().into(), options).await
            }
        };
        let done = join_all((0..16).map(create)).await;
        let winners: Vec<usize> = (0..done.len()).filter(|number| done[*number].is_ok()).collect();
        assert_eq!(winners.len(), 1, "{done:?}");
        assert!(done.iter().all(|done| matches!(done, Ok(_) | Err(Error::AlreadyExists { .. }))), "{done:?}");
        let content = server.store().get(&path).await.unwrap().bytes().await.unwrap();
        assert_eq!(content, winners[0].to_string());
    }
    let listed: Vec<_> = server.store().list(None).try_collect().await.unwrap();
    assert_eq!(listed.len(), 5);
    let deleted = server.store().delete_stream(futures::stream::iter(listed).map(|meta| Ok(meta.location)).boxed());
    assert_eq!(deleted.try_collect::<Vec<_>>().await.unwrap().len(), 5);
    assert!(server.store().list(None).next().await.is_none());
}

async fn a_wrong_secret_is_refused() {
    let server = S3Server::new();
    let refused = server.store_with("guessed").put(&Path::from("x"), "y".into()).await;
    assert!(matches!(refused, Err(Error::PermissionDenied { .. })), "{refused:?}");
}
