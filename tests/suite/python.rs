//! Python packages for comparisons, installed by the tests themselves under `target/`.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

static INSTALLING: Mutex<()> = Mutex::new(());

/// A Python 3 interpreter that can import `packages` (names on PyPI), or why there is none.
pub(crate) fn interpreter(packages: &[&str]) -> Result<PathBuf, String> {
    let _guard = INSTALLING.lock().map_err(|error| error.to_string())?;
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/python");
    let python = folder.join("bin/python3");
    if !python.exists() {
        run(Command::new("python3").args(["-m", "venv"]).arg(&folder))?;
    }
    for package in packages {
        let stamp = folder.join(format!("installed-{package}"));
        if !stamp.exists() {
            run(Command::new(&python).args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", package]))?;
            std::fs::write(&stamp, "").map_err(|error| error.to_string())?;
        }
    }
    Ok(python)
}

fn run(command: &mut Command) -> Result<(), String> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    if output.status.success() { Ok(()) } else { Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr))) }
}
