//! Texts of the configuration to files: local paths, folders, globs and URLs, listed anew at every run.

use std::path::{Path as LocalPath, PathBuf};
use std::sync::Arc;

use datafusion::datasource::object_store::ObjectStoreUrl;
use datafusion::execution::runtime_env::RuntimeEnv;
use futures::TryStreamExt;
use object_store::aws::AmazonS3Builder;
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::http::HttpBuilder;
use object_store::path::Path;
use object_store::{ClientOptions, ObjectMeta, ObjectStore, ObjectStoreExt, ObjectStoreScheme};
use percent_encoding::percent_decode_str;
use url::Url;

use super::fault;
use crate::backend::tables::Format;
use crate::backend::{BackendError, TableRole};

/// What Hive writes for a partition whose value is NULL.
const NULL_PARTITION: &str = "__HIVE_DEFAULT_PARTITION__";

/// A file of a source.
#[derive(Debug, Clone)]
pub(super) struct File {
    /// Where it is, as a person would write it.
    pub(super) location: String,
    /// The store that holds it.
    pub(super) store: ObjectStoreUrl,
    /// Where in the store, how large, and of when.
    pub(super) meta: ObjectMeta,
    /// How it is written.
    pub(super) format: Format,
    /// The columns that the names of its folders hold, `name=value`, with their values.
    pub(super) partitions: Vec<(String, Option<String>)>,
}

/// What a listing needs to know.
pub(super) struct Listing<'a> {
    /// The table, for messages.
    pub(super) table: TableRole,
    /// The folder that relative paths start from.
    pub(super) base: &'a LocalPath,
    /// The format of all files; by their names when absent.
    pub(super) format: Option<Format>,
    /// Where stores are registered.
    pub(super) runtime: &'a RuntimeEnv,
}

impl Listing<'_> {
    /// The files of a path, glob or URL, by name.
    pub(super) async fn files(&self, source: &str) -> Result<Vec<File>, BackendError> {
        match Url::parse(source) {
            Ok(url) if url.scheme() == "file" => match url.to_file_path() {
                Ok(path) => self.local(source, &path.to_string_lossy()).await,
                Err(()) => Err(fault(self.table, source, "is not a path on this machine").into()),
            },
            Ok(url) if !url.cannot_be_a_base() => self.remote(source, &url).await,
            _ => self.local(source, source).await,
        }
    }

    async fn local(&self, source: &str, path: &str) -> Result<Vec<File>, BackendError> {
        let exact = self.base.join(path);
        let (root, paths) = if exact.exists() {
            let paths = if exact.is_dir() { self.walk(&exact)? } else { vec![exact.clone()] };
            (exact, paths)
        } else if let Some(fixed) = fixed_part(path) {
            (self.base.join(fixed), self.expand(source, path)?)
        } else {
            let missing = fault(self.table, exact.display(), "does not exist");
            return Err(missing.help("Check the path; a relative one starts from the folder of the configuration.").into());
        };
        let url = ObjectStoreUrl::local_filesystem();
        let store = self.store(&url)?;
        let mut files = Vec::new();
        for path in paths {
            let location = path.display().to_string();
            let Some(format) = self.format_of(&path, path == root, &location)? else { continue };
            let broken = |cause: object_store::Error| fault(self.table, &location, "cannot be read").cause(cause);
            // A store's path holds no `..`; what it means depends on links, so the file system says.
            let absolute = path.canonicalize().map_err(|cause| fault(self.table, &location, "cannot be read").cause(cause))?;
            let place = Path::from_absolute_path(absolute).map_err(|cause| broken(cause.into()))?;
            let meta = store.head(&place).await.map_err(broken)?;
            let folders = path.strip_prefix(&root).unwrap_or(&path).parent().into_iter().flat_map(LocalPath::components);
            let partitions = folders.filter_map(|folder| partition(&folder.as_os_str().to_string_lossy())).collect();
            files.push(File { location, store: url.clone(), meta, format, partitions });
        }
        files.sort_by(|left, right| left.location.cmp(&right.location));
        Ok(files)
    }

    /// Every file below a folder that is not hidden.
    fn walk(&self, folder: &LocalPath) -> Result<Vec<PathBuf>, BackendError> {
        let broken = |cause| fault(self.table, folder.display(), "cannot be listed").cause(cause);
        let mut files = Vec::new();
        for entry in std::fs::read_dir(folder).map_err(broken)? {
            let path = entry.map_err(broken)?.path();
            let hidden = path.file_name().is_none_or(|name| is_hidden(&name.to_string_lossy()));
            if hidden {
                continue;
            }
            if path.is_dir() {
                files.extend(self.walk(&path)?);
            } else {
                files.push(path);
            }
        }
        Ok(files)
    }

    fn expand(&self, source: &str, pattern: &str) -> Result<Vec<PathBuf>, BackendError> {
        let absolute = LocalPath::new(pattern).is_absolute();
        let base = glob::Pattern::escape(&self.base.to_string_lossy());
        let pattern = if absolute || base.is_empty() { pattern.to_owned() } else { format!("{base}/{pattern}") };
        let found = glob::glob(&pattern).map_err(|cause| fault(self.table, source, "is not a valid pattern").cause(cause))?;
        let mut files = Vec::new();
        for path in found {
            let path = path.map_err(|cause| fault(self.table, source, "cannot be listed").cause(cause))?;
            if path.is_dir() {
                files.extend(self.walk(&path)?);
            } else if !path.file_name().is_none_or(|name| is_hidden(&name.to_string_lossy())) {
                files.push(path);
            }
        }
        Ok(files)
    }

    async fn remote(&self, source: &str, url: &Url) -> Result<Vec<File>, BackendError> {
        let broken = |cause: object_store::Error| fault(self.table, source, "cannot be listed").cause(cause);
        let (store_url, path) = self.open_store(source, url)?;
        let store = self.store(&store_url)?;
        // A query in an object store's URL is a `?` of a glob.
        let pattern = match url.query() {
            Some(query) => format!("{path}?{query}"),
            None => path.to_string(),
        };
        let fixed = fixed_part(&pattern);
        let root = fixed.unwrap_or(&pattern);
        let root = Path::parse(root).map_err(|cause| broken(cause.into()))?;
        let single = fixed.is_none() && !url.path().ends_with('/');
        let mut found = Vec::new();
        if single {
            match store.head(&root).await {
                Ok(meta) => found.push(meta),
                Err(object_store::Error::NotFound { .. }) => {}
                Err(cause) => return Err(broken(cause).into()),
            }
        }
        let exact = !found.is_empty();
        if !exact {
            let pattern = fixed.map(|_| glob::Pattern::new(&pattern)).transpose();
            let pattern = pattern.map_err(|cause| fault(self.table, source, "is not a valid pattern").cause(cause))?;
            let options = glob::MatchOptions { require_literal_separator: true, ..glob::MatchOptions::new() };
            let listed: Vec<ObjectMeta> = store.list(Some(&root)).try_collect().await.map_err(broken)?;
            found.extend(listed.into_iter().filter(|meta| match &pattern {
                Some(pattern) => pattern.matches_with(meta.location.as_ref(), options),
                None => true,
            }));
            found.retain(|meta| !below(&meta.location, &root).iter().any(|part| is_hidden(part)));
        }
        let mut files = Vec::new();
        for meta in found {
            let location = format!("{}{}", store_url.as_str(), meta.location);
            let Some(format) = self.format_of(LocalPath::new(meta.location.as_ref()), exact, &location)? else { continue };
            let mut folders = below(&meta.location, &root);
            folders.pop();
            let partitions = folders.iter().filter_map(|folder| partition(folder)).collect();
            files.push(File { location, store: store_url.clone(), meta, format, partitions });
        }
        files.sort_by(|left, right| left.location.cmp(&right.location));
        Ok(files)
    }

    /// The format of a file; `None` for one that a listing found and that is none of ours.
    fn format_of(&self, path: &LocalPath, named: bool, location: &str) -> Result<Option<Format>, BackendError> {
        let by_name = path.extension().and_then(|extension| Format::from_extension(&extension.to_string_lossy()));
        match self.format.or(by_name) {
            None if named => {
                let unknown = fault(self.table, location, "has a name that tells no format");
                Err(unknown.help("Set `format` to parquet, arrow, csv or ndjson.").into())
            }
            format => Ok(format),
        }
    }

    fn store(&self, url: &ObjectStoreUrl) -> Result<Arc<dyn ObjectStore>, BackendError> {
        let broken = |cause| fault(self.table, url.as_str(), "cannot be reached").cause(cause);
        Ok(self.runtime.object_store(url).map_err(broken)?)
    }

    /// Registers the store of a URL unless it is, with what the environment says of it; and the path in it.
    fn open_store(&self, source: &str, url: &Url) -> Result<(ObjectStoreUrl, Path), BackendError> {
        let broken = |cause: object_store::Error| fault(self.table, source, "cannot be reached").cause(cause);
        let (scheme, path) = ObjectStoreScheme::parse(url).map_err(|cause| {
            let unknown = fault(self.table, source, "is not a place that can be read").cause(cause);
            unknown.help("Use a path, a glob, or a URL with file://, s3://, gs://, az:// or https://.")
        })?;
        let root = &url[..url::Position::BeforePath];
        let registered =
            ObjectStoreUrl::parse(root).map_err(|cause| fault(self.table, source, "cannot be reached").cause(cause))?;
        if self.runtime.object_store(&registered).is_ok() {
            return Ok((registered, path));
        }
        let store: Arc<dyn ObjectStore> = match scheme {
            ObjectStoreScheme::AmazonS3 => Arc::new(AmazonS3Builder::from_env().with_url(url.as_str()).build().map_err(broken)?),
            ObjectStoreScheme::GoogleCloudStorage => {
                Arc::new(GoogleCloudStorageBuilder::from_env().with_url(url.as_str()).build().map_err(broken)?)
            }
            ObjectStoreScheme::MicrosoftAzure => {
                Arc::new(MicrosoftAzureBuilder::from_env().with_url(url.as_str()).build().map_err(broken)?)
            }
            ObjectStoreScheme::Http => {
                let options = ClientOptions::new().with_allow_http(url.scheme() == "http");
                Arc::new(HttpBuilder::new().with_url(root).with_client_options(options).build().map_err(broken)?)
            }
            _ => return Err(fault(self.table, source, "is not a place that can be read").into()),
        };
        self.runtime.register_object_store(registered.as_ref(), store);
        Ok((registered, path))
    }
}

/// The part of a glob before its first segment with a special character; `None` when it has none.
fn fixed_part(pattern: &str) -> Option<&str> {
    let special = pattern.find(['*', '?', '['])?;
    let before = pattern.get(..special)?;
    Some(before.rfind('/').and_then(|end| before.get(..end)).unwrap_or(""))
}

/// Names that tools give to what is no data.
fn is_hidden(name: &str) -> bool {
    name.starts_with(['.', '_'])
}

fn below(location: &Path, root: &Path) -> Vec<String> {
    location.prefix_match(root).into_iter().flatten().map(|part| part.as_ref().to_owned()).collect()
}

fn partition(folder: &str) -> Option<(String, Option<String>)> {
    let (name, value) = folder.split_once('=')?;
    let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    let value = if value == NULL_PARTITION { None } else { Some(decoded(value)) };
    if name.is_empty() { None } else { Some((decoded(name), value)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fixed_parts_of_globs() {
        assert_eq!(fixed_part("events/day=*/x.parquet"), Some("events"));
        assert_eq!(fixed_part("*.parquet"), Some(""));
        assert_eq!(fixed_part("a/b-[0-9].csv"), Some("a"));
        assert_eq!(fixed_part("events/"), None);
    }

    #[test]
    fn folders_that_hold_a_column() {
        assert_eq!(partition("day=2024-01-01"), Some(("day".to_owned(), Some("2024-01-01".to_owned()))));
        assert_eq!(partition("city=New%20York%3D"), Some(("city".to_owned(), Some("New York=".to_owned()))));
        assert_eq!(partition("city=__HIVE_DEFAULT_PARTITION__"), Some(("city".to_owned(), None)));
        assert_eq!(partition("plain"), None);
    }
}
