//! The published tables in the hands of other tools: one line reads each.

use std::process::Command;
use std::time::Duration;

use libtest_mimic::{Arguments, Trial};

use super::stage::{DiskStage, Stage, refresh, within};
use crate::python::interpreter;

/// Per tool, the line that reads the files which a glob names, leaving a table `t`, and one that shows `t` as sorted lines.
const TOOLS: [(&str, &[&str], &str, &str); 4] = [
    (
        "pandas",
        &["pandas", "pyarrow"],
        "import pandas, glob; t = pandas.concat(map(pandas.read_parquet, glob.glob(G)))",
        "t.values.tolist()",
    ),
    ("polars", &["polars"], "import polars; t = polars.read_parquet(G)", "t.rows()"),
    ("duckdb", &["duckdb", "pytz"], "import duckdb; t = duckdb.sql(f\"select * from '{G}'\")", "t.fetchall()"),
    (
        "clickhouse",
        &["chdb"],
        "import chdb; t = str(chdb.query(f\"select * from file('{G}', Parquet)\", 'CSV'))",
        "[r.split(',') for r in t.replace('\"', '').splitlines()]",
    ),
];

const GLOBS: [(&str, usize); 3] =
    [("memberships/demo/*.parquet", 3), ("changes/demo/*/*.parquet", 5), ("history/demo/*/*.parquet", 4)];

pub(crate) fn trials() -> Vec<Trial> {
    let trial = |(tool, packages, read, show): (&'static str, &'static [&'static str], &'static str, &'static str)| {
        let name = format!("store::tables: one line reads them in {tool}");
        // Nothing is installed for a test that is not asked for.
        let asked_for = Arguments::from_args().filter.is_none_or(|filter| name.contains(&filter));
        match if asked_for { interpreter(packages) } else { Err("not asked for".to_owned()) } {
            Ok(python) => Trial::test(name, move || {
                let stage = within(published());
                for (glob, rows) in GLOBS {
                    let glob = stage.root().join(glob);
                    let script = format!("G = {:?}\n{read}\nfor row in {show}: print(row)", glob.to_str().unwrap());
                    let output = Command::new(&python).args(["-c", &script]).output().map_err(|error| error.to_string())?;
                    let shown = String::from_utf8_lossy(&output.stdout).into_owned();
                    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
                    assert_eq!(shown.lines().count(), rows, "{shown}");
                    assert!(shown.lines().all(|line| line.contains("demo") && line.contains("2026")), "{shown}");
                    assert!(shown.contains("vip") && shown.contains("calm"), "{shown}");
                }
                Ok(())
            }),
            Err(reason) => Trial::test(format!("{name} (not installed: {})", reason.lines().next().unwrap_or_default()), || Ok(()))
                .with_ignored_flag(true),
        }
    };
    TOOLS.into_iter().map(trial).collect()
}

async fn published() -> DiskStage {
    let stage = DiskStage::new();
    for members in [&["ann", "bob"][..], &["bob", "Ünal 🦊"]] {
        refresh(&stage, &stage.open(), &[("vip", "h1", members), ("calm", "h1", &["eve"])]).await.unwrap();
        stage.clock().advance(Duration::from_secs(86_400));
    }
    stage
}
