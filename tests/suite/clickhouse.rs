//! A ClickHouse server for tests: the one that `SEGMENTA_TEST_CLICKHOUSE` names (a URL, with user and password when it has some), or the
//! engine of the Python package `chdb` behind `tests/clickhouse/serve.py`, which is installed under `target/` and ends with the tests.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use libtest_mimic::{Failed, Trial};
use segmenta::clickhouse::{Connection, Secret, Settings, Statement, quoted};
use tokio::runtime::Runtime;
use uuid::Uuid;

use crate::python;

/// A server that runs while the tests do.
pub(crate) struct Server {
    settings: Settings,
    /// The password, to be handed to the program.
    pub(crate) password: String,
    /// Whether it is the engine behind `serve.py`.
    pub(crate) is_engine: bool,
    _child: Option<Child>,
}

/// What has to be written in another way in a URL.
const PASSWORD: &str = "a & b=c";

static SERVER: OnceLock<Result<Server, String>> = OnceLock::new();
static DATABASES: AtomicU32 = AtomicU32::new(0);

/// The server, or why there is none.
pub(crate) fn server() -> Result<&'static Server, String> {
    SERVER.get_or_init(start).as_ref().map_err(Clone::clone)
}

/// Whether there can be none here. Nothing is started yet.
pub(crate) fn is_missing() -> bool {
    let given = std::env::var_os("SEGMENTA_TEST_CLICKHOUSE").is_some();
    // Where all tests are asked for, what cannot run has to fail.
    let required = std::env::var_os("SEGMENTA_TEST_ALL").is_some();
    !given && !required && python::interpreter(&["chdb"]).is_err()
}

/// A test that needs the server, ignored where there can be none.
pub(crate) fn trial(name: impl Into<String>, run: impl FnOnce(&'static Server) -> Result<(), Failed> + Send + 'static) -> Trial {
    Trial::test(name, move || run(server()?)).with_ignored_flag(is_missing())
}

impl Server {
    /// Settings for a database of its own, which is created.
    pub(crate) fn database(&self, runtime: &Runtime) -> Result<Settings, String> {
        let number = DATABASES.fetch_add(1, Ordering::Relaxed);
        let name = format!("segmenta_test_{}_{number}", std::process::id());
        let create = Statement::new(format!("CREATE DATABASE {}", quoted(&name)));
        let connection = Connection::new(self.settings.clone(), Uuid::nil());
        runtime.block_on(connection.execute_once(create)).map_err(|error| format!("{error:?}"))?;
        Ok(Settings { database: name, ..self.settings.clone() })
    }

    /// How it is reached, without a database of its own.
    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }
}

fn start() -> Result<Server, String> {
    if let Some(given) = std::env::var_os("SEGMENTA_TEST_CLICKHOUSE") {
        let given = given.into_string().map_err(|_| "SEGMENTA_TEST_CLICKHOUSE is no text".to_owned())?;
        let mut url = url::Url::parse(&given).map_err(|error| format!("SEGMENTA_TEST_CLICKHOUSE: {error}"))?;
        let (user, password) = (url.username().to_owned(), url.password().unwrap_or_default().to_owned());
        let bare = url.set_username("").and_then(|()| url.set_password(None));
        bare.map_err(|()| "SEGMENTA_TEST_CLICKHOUSE is no URL of a server".to_owned())?;
        let mut settings = Settings::new(url.as_str().trim_end_matches('/'), "default");
        settings.password = Secret::new(password.clone());
        if !user.is_empty() {
            settings.user = user;
        }
        return Ok(Server { settings, password, is_engine: false, _child: None });
    }
    let python = python::interpreter(&["chdb"])?;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clickhouse/serve.py");
    let mut command = Command::new(python);
    command.arg("-B").arg(script).args(["--user", "tester", "--password", PASSWORD]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().map_err(|error| error.to_string())?;
    let stdout = child.stdout.take().ok_or("the engine has no output")?;
    let mut port = String::new();
    BufReader::new(stdout).read_line(&mut port).map_err(|error| error.to_string())?;
    let port: u16 = port.trim().parse().map_err(|_| "the engine ended before it listened".to_owned())?;
    let mut settings = Settings::new(format!("http://127.0.0.1:{port}"), "default");
    settings.user = "tester".to_owned();
    settings.password = Secret::new(PASSWORD);
    Ok(Server { settings, password: PASSWORD.to_owned(), is_engine: true, _child: Some(child) })
}
