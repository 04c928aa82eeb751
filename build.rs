//! Puts the definitions of `queries/` into the program, which gives them out as templates.

use std::error::Error;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

#[expect(clippy::disallowed_methods, reason = "Cargo names the folder for the result in the environment")]
fn main() -> Result<(), Box<dyn Error>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("queries");
    println!("cargo::rerun-if-changed=queries");
    let mut files = Vec::new();
    for entry in fs::read_dir(&folder)? {
        files.push(entry?.path());
    }
    files.sort();
    let mut list = "static FILES: &[(&str, &str)] = &[\n".to_owned();
    for file in files {
        let name = file.file_name().ok_or("a file without a name")?;
        writeln!(list, "    ({:?}, include_str!({file:?})),", name.to_string_lossy())?;
    }
    list.push_str("];\n");
    fs::write(Path::new(&std::env::var("OUT_DIR")?).join("templates.rs"), list)?;
    Ok(())
}
