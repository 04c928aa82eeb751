//! What a command works with: the configuration, the chosen tenant, the place of its data, and the screen. The only reader of the
//! environment.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use uuid::Uuid;

use super::args::GlobalArguments;
use super::error::CliError;
use super::output::Unfinished;
use super::render::Screen;
use crate::backend::Backend;
use crate::clock::{SharedClock, SystemClock};
use crate::diagnostic::{Report, Source};
use crate::model::catalog::Catalog;
use crate::model::condition::Subject;
use crate::model::id::SegmentId;
use crate::refresh::Error;
use crate::refresh::config::{Config, ServerConfig, TenantConfig, parse_config};
use crate::refresh::definitions::{
    DefinitionFile, Form, KnownSegment, Language, ReadySegment, format_of, read_definition, read_definitions,
};
use crate::refresh::local::LocalPlace;
use crate::refresh::place::{Opened, ReadablePlace};
use crate::refresh::server::ClickHousePlace;

/// What a command works with; `P` is the place of its data, or `()` while that is not open.
pub(crate) struct Context<P> {
    pub(crate) screen: Screen,
    pub(crate) config: Config,
    pub(crate) place: P,
    pub(crate) clock: SharedClock,
    /// What is asked of a server is named after it, unless it belongs to a run of the store.
    pub(crate) run: Uuid,
    /// Uploads of results that ended before they were whole.
    pub(crate) uploads: Unfinished,
    tenant: Option<String>,
}

impl Context<()> {
    /// Reads the configuration.
    pub(crate) fn load(arguments: &GlobalArguments, screen: Screen) -> Result<Self, CliError> {
        let path = &arguments.config;
        let text = fs::read_to_string(path).map_err(|source| match source.kind() {
            std::io::ErrorKind::NotFound => CliError::Usage {
                problem: format!("there is no configuration at `{}`", path.display()),
                help: Some("Name it with `--config`, or start where `scheduler.toml` is.".to_owned()),
            },
            _ => CliError::Read { path: path.display().to_string(), source },
        })?;
        let config = parse_config(path, &text, &environment).map_err(Error::from)?;
        let clock: SharedClock = Arc::new(SystemClock::new());
        let run = clock.run_id(clock.now());
        Ok(Self { screen, config, place: (), clock, run, uploads: Unfinished::default(), tenant: arguments.tenant.clone() })
    }

    /// The same with the store of this process; nothing is created yet.
    pub(crate) fn open_local(self) -> Result<Context<LocalPlace>, CliError> {
        // Lets a test stop the program in the middle of a commit.
        let slowed = environment("SEGMENTA_TEST_STORE_PAUSE").and_then(|text| text.parse().ok()).map(Duration::from_millis);
        let place = LocalPlace::open(&self.config, Arc::clone(&self.clock), &user(), slowed)?;
        Ok(self.at(place))
    }

    /// The same with the place on a server, of which nothing is asked yet.
    pub(crate) async fn open_server(self, server: &ServerConfig) -> Result<Context<ClickHousePlace>, CliError> {
        let place = ClickHousePlace::open(server, &self.config.engine, Arc::clone(&self.clock), &user(), self.run).await;
        let place = place.map_err(Error::from)?;
        Ok(self.at(place))
    }

    fn at<P>(self, place: P) -> Context<P> {
        let Self { screen, config, place: (), clock, run, uploads, tenant } = self;
        Context { screen, config, place, clock, run, uploads, tenant }
    }
}

impl<P> Context<P> {
    /// The tenant that was named, or the only one.
    pub(crate) fn tenant(&self) -> Result<&TenantConfig, CliError> {
        let names = || self.config.tenants.iter().map(|tenant| format!("`{}`", tenant.id)).collect::<Vec<_>>().join(", ");
        match (&self.tenant, self.config.tenants.as_slice()) {
            (Some(named), _) => self.config.tenant(named).ok_or_else(|| CliError::Usage {
                problem: format!("there is no tenant `{named}`"),
                help: Some(format!("The configuration has {}.", names())),
            }),
            (None, [only]) => Ok(only),
            (None, _) => Err(CliError::Usage {
                problem: "there are several tenants".to_owned(),
                help: Some(format!("Name one with `--tenant`: {}.", names())),
            }),
        }
    }

    /// The tenants that a command is for that can work on all of them.
    pub(crate) fn tenants(&self) -> Result<Vec<&TenantConfig>, CliError> {
        match &self.tenant {
            Some(_) => Ok(vec![self.tenant()?]),
            None => Ok(self.config.tenants.iter().collect()),
        }
    }

    /// The instant to evaluate at: the one asked for, that of a tenant whose clock stands still, or now.
    pub(crate) fn as_of(&self, tenant: &TenantConfig, asked: Option<Timestamp>) -> Timestamp {
        asked.or(tenant.as_of).unwrap_or_else(|| self.clock.now())
    }
}

impl<P: ReadablePlace> Context<P> {
    /// Opens a tenant, for what is evaluated at an instant, with the segments that are named, by id or by file.
    pub(crate) async fn open_named(
        &self,
        tenant: &TenantConfig,
        names: &[String],
        as_of: Timestamp,
    ) -> Result<Named<P::Backend>, CliError> {
        let names: Vec<Name<'_>> = names.iter().map(|name| Name::of(name)).collect::<Result<_, _>>()?;
        let mut files = match read_definitions(&tenant.definitions) {
            Ok(files) => files,
            // A draft can be looked at before there is any definition.
            Err(_) if names.iter().all(|name| matches!(name, Name::File(_))) => Vec::new(),
            Err(error) => return Err(error.into()),
        };
        let mut ids = Vec::new();
        for name in names {
            match name {
                Name::Id(id) => ids.push(id),
                Name::File(path) => ids.push(put_first(&mut files, read_definition(path)?)?),
            }
        }
        self.open_files(tenant, &files, ids, as_of).await
    }

    /// Opens a tenant with a segment that an expression on the command line defines.
    pub(crate) async fn open_expression(
        &self,
        tenant: &TenantConfig,
        text: &str,
        subject: Subject,
        as_of: Timestamp,
    ) -> Result<Named<P::Backend>, CliError> {
        // Without any definition an expression refers to none.
        let mut files = read_definitions(&tenant.definitions).unwrap_or_default();
        let taken: BTreeSet<SegmentId> = files.iter().filter_map(|file| Some(file.parse().ok()?.definition().id.clone())).collect();
        let id = free_id("where", &taken)?;
        let file = DefinitionFile { source: Source::new(EXPRESSION, text), language: Language::Expression { id, subject } };
        let id = put_first(&mut files, file)?;
        self.open_files(tenant, &files, vec![id], as_of).await
    }

    /// Opens a tenant with a draft in the place of the segment that it defines.
    pub(crate) async fn open_draft(
        &self,
        tenant: &TenantConfig,
        draft: DefinitionFile,
        as_of: Timestamp,
    ) -> Result<Named<P::Backend>, CliError> {
        let mut files = read_definitions(&tenant.definitions).unwrap_or_default();
        let id = put_first(&mut files, draft)?;
        self.open_files(tenant, &files, vec![id], as_of).await
    }

    async fn open_files(
        &self,
        tenant: &TenantConfig,
        files: &[DefinitionFile],
        ids: Vec<SegmentId>,
        as_of: Timestamp,
    ) -> Result<Named<P::Backend>, CliError> {
        let opened = Opened::open(&self.place, tenant, files, as_of, self.run).await?;
        for id in &ids {
            refuse_unready(&opened, tenant, id)?;
        }
        Ok(Named { opened, ids })
    }

    /// What the tables of a tenant hold.
    pub(crate) async fn catalog(&self, tenant: &TenantConfig, source: CatalogSource) -> Result<Catalog, CliError> {
        match source {
            CatalogSource::Tables => {
                let opened = self.place.open(tenant, self.run).await;
                Ok(opened.map_err(|source| Error::Backend { tenant: tenant.id.clone(), source })?.catalog().clone())
            }
            CatalogSource::Kept => {
                let kept = self.place.kept_catalog(&tenant.id).await.map_err(Error::from)?;
                kept.ok_or_else(|| CliError::Usage {
                    problem: format!("no refresh of tenant `{}` has kept a catalog yet", tenant.id),
                    help: Some("Leave out `--offline`, or run `segmenta refresh` once.".to_owned()),
                })
            }
        }
    }
}

/// Where a catalog comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CatalogSource {
    /// The tables as they are.
    Tables,
    /// What the last refresh kept.
    Kept,
}

/// What stands for a file name where an expression is wrong.
pub(crate) const EXPRESSION: &str = "--where";

/// The id of a segment that has none: the word, or with a number behind it the first that no definition has.
pub(crate) fn free_id(word: &str, taken: &BTreeSet<SegmentId>) -> Result<SegmentId, CliError> {
    let numbered = (2..).map(|number: u64| format!("{word}-{number}"));
    let mut candidates = std::iter::once(word.to_owned()).chain(numbered).filter_map(|text| text.parse::<SegmentId>().ok());
    let free = candidates.find(|id| !taken.contains(id));
    free.ok_or_else(|| CliError::Usage { problem: "there is no id left for what has none".to_owned(), help: None })
}

/// A tenant that is open, and the segments that were named; each of them is ready.
pub(crate) struct Named<B: Backend> {
    pub(crate) opened: Opened<B>,
    pub(crate) ids: Vec<SegmentId>,
}

impl<B: Backend> Named<B> {
    /// The segments that were named, each once.
    pub(crate) fn ready(&self) -> impl Iterator<Item = &ReadySegment> {
        let distinct: BTreeSet<&SegmentId> = self.ids.iter().collect();
        distinct.into_iter().filter_map(|id| match &self.opened.definitions.segments.get(id)?.form {
            Form::Ready(ready) => Some(ready),
            Form::Failed { .. } | Form::Missing(_) => None,
        })
    }
}

/// The only segment that was named.
pub(crate) fn only_ready<'a, B: Backend>(named: &'a Named<B>, tenant: &TenantConfig) -> Result<&'a ReadySegment, CliError> {
    named.ready().next().ok_or_else(|| CliError::Usage { problem: format!("name a segment of tenant `{}`", tenant.id), help: None })
}

/// How a segment is named on the command line.
enum Name<'a> {
    Id(SegmentId),
    File(&'a Path),
}

impl<'a> Name<'a> {
    fn of(text: &'a str) -> Result<Self, CliError> {
        let path = Path::new(text);
        if format_of(path).is_some() || text.contains('/') {
            return Ok(Self::File(path));
        }
        text.parse().map(Self::Id).map_err(|error| CliError::Usage {
            problem: format!("{error}"),
            help: Some("A definition file ends in .json, .toml, .yaml or .yml.".to_owned()),
        })
    }
}

/// Puts a file in the place of those that define the same segment, or that cannot be read and seem to; returns its id.
pub(crate) fn put_first(files: &mut Vec<DefinitionFile>, file: DefinitionFile) -> Result<SegmentId, Error> {
    let document = file.parse().map_err(|unreadable| Error::Definitions(unreadable.report))?;
    let id = document.definition().id.clone();
    files.retain(|other| other.segment().as_ref() != Some(&id));
    files.insert(0, file);
    Ok(id)
}

/// Refuses a segment that cannot be evaluated as its definition stands.
pub(crate) fn refuse_unready<B: Backend>(opened: &Opened<B>, tenant: &TenantConfig, id: &SegmentId) -> Result<(), Error> {
    let definitions = &opened.definitions;
    if let Some(invalid) = definitions.invalid.iter().find(|file| file.segment.as_ref() == Some(id)) {
        let is_of_file = |name: &str| name == invalid.file;
        let findings = definitions.report.findings.iter().cloned();
        let findings = findings.filter(|finding| finding.source.as_ref().is_some_and(|source| is_of_file(&source.name)));
        return Err(Error::Definitions(Report { findings: findings.collect() }));
    }
    let unknown = |near| Error::UnknownSegment { tenant: tenant.id.clone(), segment: id.clone(), near };
    let KnownSegment { form, .. } = definitions.get(id).map_err(unknown)?;
    let problem = match form {
        Form::Ready(_) => return Ok(()),
        Form::Failed { error, .. } => format!("cannot be evaluated: {error}"),
        Form::Missing(_) => "is missing: the file that defined it is gone".to_owned(),
    };
    Err(Error::Segment { segment: id.clone(), problem })
}

/// On whose behalf the program works.
fn user() -> String {
    environment("USER").or_else(|| environment("USERNAME")).unwrap_or_else(|| "someone".to_owned())
}

/// A variable of the environment.
#[expect(clippy::disallowed_methods, reason = "this is the one reader of the environment")]
fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}
