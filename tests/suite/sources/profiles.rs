//! What profiles of tables say.

use super::*;

pub(super) fn trials() -> Vec<Trial> {
    named(&[
        ("profiles", profiles),
        ("profiles_of_json_and_maps", profiles_of_json_and_maps),
        ("profiles_tell_what_they_leave_out", profiles_tell_what_they_leave_out),
    ])
}

/// The properties of a profile, as `property: type, missing; value×rows`.
fn shown(profile: &segmenta::backend::TableProfile) -> Vec<String> {
    let properties = profile.properties.iter().map(|property| {
        let top: Vec<_> = property.top.iter().map(|(value, rows)| format!("{value}×{rows}")).collect();
        format!("{}: {}, {} missing; {}", property.property, property.type_name, property.missing, top.join(" "))
    });
    properties.collect()
}

fn profiles() -> Outcome {
    let folder = TempDir::new()?;
    let day = |day: i64, kinds: Vec<Option<&str>>| {
        let rows = i64::try_from(kinds.len()).unwrap();
        let at = TimestampMillisecondArray::from_iter_values((0..rows).map(|row| day * 86_400_000 + row)).with_timezone("UTC");
        let ids: Vec<_> = (0..rows).collect();
        batch(vec![("id", ints(&ids)), ("at", Arc::new(at)), ("kind", Arc::new(StringArray::from(kinds)))])
    };
    write_parquet(&folder.path().join("e/1.parquet"), &day(1, vec![Some("view"), Some("order"), None]));
    write_parquet(&folder.path().join("e/2.parquet"), &day(0, vec![Some("view")]));
    let tables = open(&events("e", "event_type = \"kind\""), folder.path())?;
    let found = run(profile(&tables, TableRole::Events))?;
    assert_eq!((found.rows, found.files, found.sampled_rows), (4, Some(2), 4));
    assert_eq!(found.event_types, [("view".to_owned(), 2), ("order".to_owned(), 1)]);
    assert_eq!(found.time_range, Some(("1970-01-01T00:00:00Z".to_owned(), "1970-01-02T00:00:00.002Z".to_owned())));
    let expected = [
        "id: integer, 0 missing; 0×2 1×1 2×1",
        "at: timestamp, 0 missing; 1970-01-01T00:00:00Z×1 1970-01-02T00:00:00.001Z×1 1970-01-02T00:00:00.002Z×1 1970-01-02T00:00:00Z×1",
        "kind: text, 1 missing; view×2 order×1",
    ];
    assert_eq!(shown(&found), expected);
    Ok(())
}

fn profiles_of_json_and_maps() -> Outcome {
    let mut rates = MapBuilder::new(None, StringBuilder::new(), StringBuilder::new());
    for key in ["gold", "x.y"] {
        rates.keys().append_value(key);
        rates.values().append_value("v");
        rates.append(true)?;
    }
    rates.append(false)?;
    let city = (Arc::new(Field::new("city", DataType::Utf8, true)), texts(&["Bonn", "Bonn", "Köln"]));
    let props = ["{\"kind\":\"view\",\"n\":1,\"deep\":{\"t\":[1]}}", "{\"kind\":\"view\",\"n\":\"1\",\"at\":0}", "no json"];
    let stored = batch(vec![
        ("id", ints(&[1, 2, 3])),
        ("at", texts(&["2024-01-01", "2023-12-31T00:00:00+01:00", "never"])),
        ("rates", Arc::new(rates.finish())),
        ("address", Arc::new(StructArray::from(vec![city]))),
        ("props", texts(&props)),
    ]);
    let batches = MemoryTables { events: vec![stored], ..MemoryTables::default() };
    let tables = run(Tables::from_batches(
        &events("", "event_type = \"props.kind\"\ndata = \"props\""),
        &batches,
        &EngineSettings::default(),
    ))?;
    let found = run(profile(&tables, TableRole::Events))?;
    assert_eq!(found.event_types, [("view".to_owned(), 2)]);
    assert_eq!(found.time_range, Some(("2023-12-30T23:00:00Z".to_owned(), "2024-01-01T00:00:00Z".to_owned())));
    let expected = [
        "id: integer, 0 missing; 1×1 2×1 3×1",
        "at: text, 0 missing; 2023-12-31T00:00:00+01:00×1 2024-01-01×1 never×1",
        "rates: map of text, 1 missing; ",
        "rates.gold: text, 2 missing; v×1",
        "rates[\"x.y\"]: text, 2 missing; v×1",
        "address.city: text, 0 missing; Bonn×2 Köln×1",
        "props: json, 0 missing; ",
        "props.at: number, 2 missing; 0×1",
        "props.deep.t: array, 2 missing; ",
        "props.kind: text, 1 missing; view×2",
        "props.n: number or text, 1 missing; 1×2",
    ];
    assert_eq!(shown(&found), expected);
    Ok(())
}

fn profiles_tell_what_they_leave_out() -> Outcome {
    let many: Vec<String> = (0..200).map(|key| format!("\"k{key}\":1")).collect();
    let wide = format!("{{{}}}", many.join(","));
    let profiled = |props: &[&str]| {
        let ids: Vec<_> = (0..i64::try_from(props.len()).unwrap()).collect();
        let at = vec!["2024-01-01"; props.len()];
        let stored = batch(vec![("id", ints(&ids)), ("at", texts(&at)), ("props", texts(props))]);
        let batches = MemoryTables { events: vec![stored], ..MemoryTables::default() };
        let configured = events("", "event_type = \"props.kind\"\ndata = \"props\"");
        let tables = run(Tables::from_batches(&configured, &batches, &EngineSettings::default()))?;
        run(profile(&tables, TableRole::Events))
    };
    let all = profiled(&["{\"kind\":\"view\",\"empty\":{},\"deep\":{\"none\":{}}}", "{}"])?;
    let properties = shown(&all);
    assert_eq!(properties.iter().filter(|line| line.contains("object")).count(), 2, "an empty object is a value: {properties:?}");
    assert_eq!((all.crowded, all.more_event_types), (vec![], false));
    assert_eq!(profiled(&[&wide])?.crowded, ["props"]);
    let kinds: Vec<String> = (0..10_000).map(|kind| format!("{{\"kind\":\"k{kind}\"}}")).collect();
    let kinds: Vec<&str> = kinds.iter().map(String::as_str).collect();
    assert!(profiled(&kinds)?.more_event_types);
    assert!(!profiled(&kinds[1..])?.more_event_types);
    Ok(())
}
