//! What must hold of any text that is read by floors which do not build without the engine: `cargo test` asks it of texts that were kept, and
//! of what comes of them when they are changed at random.

use std::collections::BTreeSet;
use std::path::Path;

use segmenta::refresh::config::{ConfigError, parse_config};
use segmenta::store::object::rewritten_commit;

/// Of a configuration. Returns what came of it.
pub(crate) fn configuration(bytes: &[u8]) -> String {
    let Ok(text) = std::str::from_utf8(bytes) else { return "no text".to_owned() };
    let environment = |name: &str| (name != "MISSING").then(|| format!("value of {name}"));
    let read = || parse_config(Path::new("scheduler.toml"), text, &environment);
    match read() {
        Ok(config) => {
            let ids: BTreeSet<&str> = config.tenants.iter().map(|tenant| tenant.id.as_str()).collect();
            assert!(!ids.is_empty() && ids.len() == config.tenants.len(), "{} tenants, {} ids", config.tenants.len(), ids.len());
            assert_eq!(format!("{config:?}"), format!("{:?}", read().unwrap()), "read twice");
            "accepted".to_owned()
        }
        Err(ConfigError { location, problem, help }) => {
            let line = location.strip_prefix("scheduler.toml").expect("the file is named");
            let last = 1 + text.bytes().filter(|byte| *byte == b'\n').count();
            let exists = line.strip_prefix(':').is_none_or(|line| (1..=last).contains(&line.parse().unwrap()));
            assert!(exists, "{location} of {last} lines");
            assert!(!problem.is_empty() && !problem.contains('\n'), "{problem:?}");
            assert!(help.is_none_or(|help| !help.is_empty()));
            problem
        }
    }
}

/// Of the record of a commit, and of one with this body and a checksum that is right. Returns what came of it.
pub(crate) fn commit_record(bytes: &[u8]) -> String {
    let hash = blake3::hash(bytes).to_hex();
    let sealed = [format!(r#"{{"format":2,"blake3":"{hash}","body":"#).as_bytes(), bytes, b"}"].concat();
    let mut came = String::new();
    for bytes in [bytes, &sealed] {
        match rewritten_commit(bytes) {
            Ok(rewritten) => {
                assert_eq!(rewritten_commit(&rewritten).unwrap(), rewritten, "read and written again");
                came.push_str("accepted; ");
            }
            Err(error) => came.push_str(&format!("{error}; ")),
        }
    }
    came
}
