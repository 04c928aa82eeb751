//! Where tables are, and everything that can be wrong with that.

use super::*;

pub(super) fn trials() -> Vec<Trial> {
    named(&[
        ("folders_hold_columns", folders_hold_columns),
        ("globs_and_lists", globs_and_lists),
        ("paths_upwards", paths_upwards),
        ("missing_and_empty_sources", missing_and_empty_sources),
        ("empty_tables_may_be_allowed", empty_tables_may_be_allowed),
        ("broken_files", broken_files),
        ("a_file_that_vanishes", a_file_that_vanishes),
        ("mappings", mappings),
    ])
}

fn folders_hold_columns() -> Outcome {
    let folder = TempDir::new()?;
    let file = |day: &str, city: &str| folder.path().join(format!("e/day={day}/city={city}/part.parquet"));
    let at = |micros: i64| Arc::new(TimestampMicrosecondArray::from(vec![micros]).with_timezone("UTC")) as ArrayRef;
    write_parquet(&file("2024-01-01", "New%20York"), &batch(vec![("id", ints(&[1])), ("at", at(0))]));
    write_parquet(&file("soon", "__HIVE_DEFAULT_PARTITION__"), &batch(vec![("id", ints(&[2])), ("at", at(1))]));
    write(&folder.path().join("e/day=2024-01-03/x.csv"), "id,at\n3,1970-01-01T00:00:00Z\n");
    let declared = "columns = { day = \"date\", id = \"integer\", at = \"timestamp\" }";
    let tables = open(&events("e", declared), folder.path())?;
    let expected = [
        "1 | 1970-01-01T00:00:00Z | 2024-01-01 | New York",
        "2 | 1970-01-01T00:00:00.000001Z | - | -",
        "3 | 1970-01-01T00:00:00Z | 2024-01-03 | -",
    ];
    assert_eq!(rows(&tables, TableRole::Events), expected);
    let one = frame(&tables, TableRole::Events).filter(column("city").eq(lit("New York")))?.select(vec![column("id")])?;
    assert_eq!(rows_of(one), ["1"]);
    Ok(())
}

fn globs_and_lists() -> Outcome {
    let folder = TempDir::new()?;
    for (number, path) in ["a/x-1.parquet", "a/x-2.parquet", "a/deep/x-3.parquet", "b[1]/y.parquet"].iter().enumerate() {
        let number = i64::try_from(number)? + 1;
        write_parquet(&folder.path().join(path), &batch(vec![("id", ints(&[number]))]));
    }
    let ids = |source: &str| Ok::<_, Failed>(rows(&open(&users(source, ""), folder.path())?, TableRole::Users));
    assert_eq!(ids("a/*.parquet")?, ["1", "2"]);
    assert_eq!(ids("a/**/*.parquet")?, ["1", "2", "3"]);
    assert_eq!(ids("a/x-[23].parquet")?, ["2"]);
    assert_eq!(ids("*/")?, ["1", "2", "3", "4"]);
    assert_eq!(ids("b[1]/y.parquet")?, ["4"]);
    let list = TenantTables {
        timezone: "UTC".to_owned(),
        users: Some(toml::from_str("source = [\"a/x-1.parquet\", \"a/deep\"]\nkey = \"id\"")?),
        ..TenantTables::default()
    };
    assert_eq!(rows(&open(&list, folder.path())?, TableRole::Users), ["1", "3"]);
    expect_in(&refusal(open(&users("a/*.csv", ""), folder.path())), &["`a/*.csv`", "holds no file", "allow_empty"]);
    Ok(())
}

/// `..` in relative and absolute paths, lists and globs; after a link it is the folder above the link's target.
fn paths_upwards() -> Outcome {
    let folder = TempDir::new()?;
    for (number, path) in ["data/x.parquet", "data/deep/y.parquet", "far/away/z.parquet", "far/z.parquet"].iter().enumerate() {
        let number = i64::try_from(number)? + 1;
        write_parquet(&folder.path().join(path), &batch(vec![("id", ints(&[number]))]));
    }
    let base = folder.path().join("project");
    fs::create_dir(&base)?;
    let ids = |source: &str| Ok::<_, Failed>(rows(&open(&users(source, ""), &base)?, TableRole::Users));
    assert_eq!(ids("../data/x.parquet")?, ["1"]);
    assert_eq!(ids("../data/deep/..")?, ["1", "2"]);
    assert_eq!(ids("../data/*.parquet")?, ["1"]);
    assert_eq!(ids("./../data/./deep/*")?, ["2"]);
    assert_eq!(ids(&base.join("../data/x.parquet").to_string_lossy())?, ["1"]);
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink("../far/away", base.join("link"))?;
        assert_eq!(ids("link/z.parquet")?, ["3"]);
        assert_eq!(ids("link/../z.parquet")?, ["4"]);
    }
    Ok(())
}

fn missing_and_empty_sources() -> Outcome {
    let folder = TempDir::new()?;
    expect_in(
        &refusal(open(&users("none.parquet", ""), folder.path())),
        &["users source", "none.parquet", "does not exist", "relative"],
    );
    fs::create_dir(folder.path().join("hollow"))?;
    expect_in(&refusal(open(&users("hollow", ""), folder.path())), &["`hollow` holds no file", "allow_empty"]);
    write_parquet(&folder.path().join("z/0.parquet"), &people().slice(0, 0));
    write(&folder.path().join("z/1.csv"), "id,name\n");
    write(&folder.path().join("z/2.ndjson"), "\n\n");
    write(&folder.path().join("z/3.csv"), "");
    expect_in(&refusal(open(&users("z", "columns = { id = \"integer\" }"), folder.path())), &["`z` holds no row", "allow_empty"]);
    expect_in(&refusal(open(&users("users.dat", ""), folder.path())), &["does not exist"]);
    write(&folder.path().join("users.dat"), "id\n1\n");
    expect_in(&refusal(open(&users("users.dat", ""), folder.path())), &["users.dat", "tells no format", "`format`"]);
    expect_in(&refusal(open(&users("ftp://host/x.csv", ""), folder.path())), &["ftp://host/x.csv", "s3://"]);
    Ok(())
}

fn empty_tables_may_be_allowed() -> Outcome {
    let folder = TempDir::new()?;
    fs::create_dir(folder.path().join("e"))?;
    let allowed = "allow_empty = true\nevent_type = \"kind\"\ndata = \"props\"\ncolumns = { price = \"float\" }";
    let tables = open(&events("e", allowed), folder.path())?;
    assert!(rows(&tables, TableRole::Events).is_empty());
    let columns: Vec<_> = tables.catalog().events.as_ref().unwrap().table.columns.keys().cloned().collect();
    assert_eq!(columns, ["price", "props", "at", "id", "kind"]);
    write_parquet(&folder.path().join("z.parquet"), &people().slice(0, 0));
    assert!(rows(&open(&users("z.parquet", "allow_empty = true"), folder.path())?, TableRole::Users).is_empty());
    Ok(())
}

fn broken_files() -> Outcome {
    let folder = TempDir::new()?;
    let whole = folder.path().join("whole.parquet");
    write_parquet(&whole, &people());
    let bytes = fs::read(&whole)?;
    fs::write(folder.path().join("cut.parquet"), &bytes[..bytes.len() - 20])?;
    fs::write(folder.path().join("none.parquet"), "")?;
    fs::write(folder.path().join("text.parquet"), "id,name\n1,Ada\n")?;
    for name in ["cut.parquet", "none.parquet", "text.parquet"] {
        expect_in(&refusal(open(&users(name, ""), folder.path())), &[name, "cannot be read as Parquet", "truncated"]);
    }
    let path = folder.path().join("whole.arrow");
    let mut writer = arrow_ipc::writer::FileWriter::try_new(fs::File::create(&path)?, &people().schema())?;
    writer.write(&people())?;
    writer.finish()?;
    let bytes = fs::read(&path)?;
    for cut in [3, 20, bytes.len() / 2, bytes.len() - 1] {
        fs::write(folder.path().join("cut.arrow"), &bytes[..cut])?;
        expect_in(&refusal(open(&users("cut.arrow", ""), folder.path())), &["cut.arrow", "cannot be read as Arrow IPC"]);
    }
    write(&folder.path().join("bad.ndjson"), "{\"id\":1}\n{\"id\":\n");
    expect_in(&refusal(open(&users("bad.ndjson", ""), folder.path())), &["bad.ndjson", "cannot be read as NDJSON"]);
    write(&folder.path().join("twice.csv"), "id,id\n1,2\n");
    expect_in(&refusal(open(&users("twice.csv", ""), folder.path())), &["twice.csv", "two columns named `id`"]);
    write(&folder.path().join("ragged.csv"), "id,name\n1,Ada\n2\n");
    let tables = open(&users("ragged.csv", ""), folder.path())?;
    let failure = run(frame(&tables, TableRole::Users).collect()).unwrap_err();
    let error = tables.failure("reading", failure).to_string();
    expect_in(&error, &["users source", "ragged.csv", "cannot be read to its end"]);
    Ok(())
}

fn a_file_that_vanishes() -> Outcome {
    let folder = TempDir::new()?;
    for format in ["parquet", "csv"] {
        let path = folder.path().join(format!("gone.{format}"));
        if format == "csv" {
            write(&path, "id\n1\n");
        } else {
            write_parquet(&path, &people());
        }
        let tables = open(&users(&format!("gone.{format}"), ""), folder.path())?;
        fs::remove_file(&path)?;
        let failure = run(frame(&tables, TableRole::Users).collect()).unwrap_err();
        let error = tables.failure("reading", failure);
        assert!(matches!(&error, BackendError::Source { table: TableRole::Users, .. }), "{error:?}");
        expect_in(&error.to_string(), &[&path.display().to_string(), "vanished"]);
    }
    Ok(())
}

fn mappings() -> Outcome {
    let folder = TempDir::new()?;
    let stored = batch(vec![
        ("user_id", ints(&[1])),
        ("score", Arc::new(Float32Array::from(vec![1.0]))),
        ("a.b", ints(&[1])),
        ("props", texts(&["{}"])),
        ("at", ints(&[0])),
    ]);
    write_parquet(&folder.path().join("t.parquet"), &stored);
    let users = |text: &str| TenantTables {
        timezone: "UTC".to_owned(),
        users: Some(toml::from_str(&format!("source = \"t.parquet\"\n{text}")).unwrap()),
        ..TenantTables::default()
    };
    let refused = |text: &str| refusal(open(&users(text), folder.path()));
    expect_in(&refused("key = \"usr_id\""), &["users", "`key` is `usr_id`", "no column `usr_id`", "Did you mean `user_id`?"]);
    expect_in(&refused("key = \"usr_id\"\ndata = \"props\""), &["no column `usr_id`"]);
    expect_in(&refused("key = \"a.b\""), &["Did you mean `[\"a.b\"]`?"]);
    expect_in(&refused("key = \"score\""), &["`score`, which holds float", "score = \"string\""]);
    expect_in(&refused("key = \"user_id\"\nversion = \"vresion\""), &["`version` is `vresion`"]);
    expect_in(&refused("key = \"user_id\"\ndata = \"prosp\""), &["`prosp`", "Did you mean `props`?"]);
    expect_in(&refused("key = \"user_id\"\ndata = \"score\""), &["`score`, which holds float"]);
    expect_in(&refused("key = \"a..b\""), &["`key`", "a key is empty"]);
    let tables = open(&users("key = \"props.account.id\"\nversion = \"score\"\ndata = \"props\""), folder.path())?;
    let found = tables.catalog().users.as_ref().unwrap();
    assert_eq!(found.key.to_string(), "props.account.id");
    assert_eq!(found.key.json.as_deref(), Some(["account".to_owned(), "id".to_owned()].as_slice()));
    assert_eq!(found.table.columns["props"].to_string(), "json");
    let no_key = TenantTables {
        timezone: "UTC".to_owned(),
        events: Some(toml::from_str("source = \"t.parquet\"\ntimestamp = \"at\"")?),
        ..TenantTables::default()
    };
    expect_in(&refusal(open(&no_key, folder.path())), &["`user_key`", "`product_key`"]);
    Ok(())
}
