//! Types of files, of several files, and of declarations, to those that are delivered.

use super::*;

pub(super) fn trials() -> Vec<Trial> {
    named(&[
        ("canonical_types", canonical_types),
        ("nested_types", nested_types),
        ("added_columns_and_wider_integers_unify", added_columns_and_wider_integers_unify),
        ("conflicts_name_both_files", conflicts_name_both_files),
        ("a_declaration_settles_a_conflict", a_declaration_settles_a_conflict),
        ("declared_types", declared_types),
        ("naive_timestamps", naive_timestamps),
        ("times_are_floored", times_are_floored),
        ("weird_names", weird_names),
    ])
}

fn canonical_types() -> Outcome {
    let folder = TempDir::new()?;
    let dictionary: DictionaryArray<Int32Type> = vec!["x", "y"].into_iter().collect();
    let stored = batch(vec![
        ("id", Arc::new(LargeStringArray::from(vec!["a", "b"]))),
        ("i8", Arc::new(Int8Array::from(vec![1, -1]))),
        ("u32", Arc::new(UInt32Array::from(vec![1, u32::MAX]))),
        ("u64", Arc::new(UInt64Array::from(vec![1, u64::MAX]))),
        ("f32", Arc::new(Float32Array::from(vec![0.5, -0.0]))),
        ("dict", Arc::new(dictionary)),
        ("d64", Arc::new(Date64Array::from(vec![86_400_000, -1]))),
        ("dec", Arc::new(Decimal128Array::from(vec![1, 250]).with_precision_and_scale(10, 2)?)),
        ("bin", Arc::new(BinaryArray::from(vec![b"x".as_ref(), b"y".as_ref()]))),
        ("at", Arc::new(TimestampMillisecondArray::from(vec![1, i64::MAX]).with_timezone("+05:00"))),
    ]);
    write_parquet(&folder.path().join("users.parquet"), &stored);
    let from_file = open(&users("users.parquet", ""), folder.path())?;
    let expected = [
        "id: text",
        "i8: integer",
        "u32: integer",
        "u64: unsigned integer",
        "f32: float",
        "dict: text",
        "d64: date",
        "dec: decimal(10,2)",
        "bin: Binary",
        "at: timestamp",
    ];
    assert_eq!(columns(&from_file), expected);
    let from_memory = memory_users(vec![stored], "")?;
    for tables in [from_file, from_memory] {
        let scanned = frame(&tables, TableRole::Users);
        let types: Vec<_> = scanned.schema().fields().iter().map(|field| field.data_type().to_string()).collect();
        let canonical = [
            "Utf8View",
            "Int64",
            "Int64",
            "UInt64",
            "Float64",
            "Utf8View",
            "Date32",
            "Decimal128(10, 2)",
            "Timestamp(µs, \"UTC\")",
        ];
        assert_eq!(types, canonical);
        assert_eq!(
            rows_of(scanned),
            [
                "a | 1 | 1 | 1 | 0.5 | x | 1970-01-02 | 0.01 | 1970-01-01T00:00:00.001Z",
                "b | -1 | 4294967295 | 18446744073709551615 | -0.0 | y | 1969-12-31 | 2.50 | -"
            ]
        );
    }
    Ok(())
}

fn nested_types() -> Outcome {
    let folder = TempDir::new()?;
    let inner = StructArray::from(vec![
        (Arc::new(Field::new("city", DataType::Utf8, true)), texts(&["Bonn", "Köln"])),
        (Arc::new(Field::new("zip", DataType::Int32, true)), Arc::new(Int32Array::from(vec![1, 2])) as ArrayRef),
    ]);
    let tags = ListArray::from_iter_primitive::<Int32Type, _, _>(vec![Some(vec![Some(1), None]), None]);
    let pair = FixedSizeListArray::from_iter_primitive::<Int32Type, _, _>(vec![Some(vec![Some(1), Some(2)]), None], 2);
    let mut rates = MapBuilder::new(None, StringBuilder::new(), StringBuilder::new());
    rates.keys().append_value("k");
    rates.values().append_value("v");
    rates.append(true)?;
    rates.append(false)?;
    let one = batch(vec![
        ("id", ints(&[1, 2])),
        ("address", Arc::new(inner)),
        ("tags", Arc::new(tags)),
        ("pair", Arc::new(pair)),
        ("rates", Arc::new(rates.finish())),
    ]);
    let fields = Fields::from(vec![Field::new("zip", DataType::Int64, true), Field::new("street", DataType::Utf8, true)]);
    let other = StructArray::new(fields, vec![ints(&[3]), texts(&["Ring"])], None);
    write_parquet(&folder.path().join("u/1.parquet"), &one);
    write_parquet(&folder.path().join("u/2.parquet"), &batch(vec![("id", ints(&[3])), ("address", Arc::new(other))]));
    let tables = open(&users("u", ""), folder.path())?;
    let scanned = frame(&tables, TableRole::Users);
    let types: Vec<_> = scanned.schema().fields().iter().map(|field| field.data_type().clone()).collect();
    assert!(matches!(&types[1], DataType::Struct(fields) if fields.len() == 3 && fields[1].data_type() == &DataType::Int64));
    assert!(matches!(&types[2], DataType::List(element) if element.data_type() == &DataType::Int64));
    let expected = [
        "1 | {city: Bonn, zip: 1, street: -} | [1, -] | [1, 2] | {k: v}",
        "2 | {city: Köln, zip: 2, street: -} | - | - | -",
        "3 | {city: -, zip: 3, street: Ring} | - | - | -",
    ];
    assert_eq!(rows_of(scanned), expected);
    assert_eq!(rows(&memory_users(vec![one], "")?, TableRole::Users).len(), 2);
    Ok(())
}

fn added_columns_and_wider_integers_unify() -> Outcome {
    let folder = TempDir::new()?;
    let old = batch(vec![("id", Arc::new(Int16Array::from(vec![1])) as ArrayRef), ("same", texts(&["a"]))]);
    let new = batch(vec![("plan", texts(&["pro"])), ("same", texts(&["b"])), ("id", ints(&[1 << 40]))]);
    write_parquet(&folder.path().join("u/2023.parquet"), &old);
    write_parquet(&folder.path().join("u/2024.parquet"), &new);
    let tables = open(&users("u/", ""), folder.path())?;
    assert_eq!(columns(&tables), ["id: integer", "same: text", "plan: text"]);
    assert_eq!(rows(&tables, TableRole::Users), ["1 | a | -", "1099511627776 | b | pro"]);
    Ok(())
}

fn conflicts_name_both_files() -> Outcome {
    let folder = TempDir::new()?;
    write_parquet(&folder.path().join("u/a.parquet"), &batch(vec![("id", ints(&[1])), ("amount", ints(&[1]))]));
    write_parquet(&folder.path().join("u/b.parquet"), &batch(vec![("id", ints(&[2])), ("amount", texts(&["1"]))]));
    let text = refusal(open(&users("u", ""), folder.path()));
    expect_in(&text, &["u/a.parquet", "u/b.parquet", "`amount`", "as text", "as integer", "`columns`"]);
    let nested =
        |values: ArrayRef| StructArray::from(vec![(Arc::new(Field::new("x.y", values.data_type().clone(), true)), values)]);
    write_parquet(&folder.path().join("n/a.parquet"), &batch(vec![("id", ints(&[1])), ("s", Arc::new(nested(ints(&[1]))))]));
    write_parquet(&folder.path().join("n/b.parquet"), &batch(vec![("id", ints(&[1])), ("s", Arc::new(nested(texts(&["1"]))))]));
    expect_in(&refusal(open(&users("n", ""), folder.path())), &["`s[\"x.y\"]`", "n/a.parquet", "n/b.parquet"]);
    Ok(())
}

fn a_declaration_settles_a_conflict() -> Outcome {
    let folder = TempDir::new()?;
    write_parquet(&folder.path().join("u/a.parquet"), &batch(vec![("id", ints(&[1])), ("amount", ints(&[1]))]));
    write_parquet(&folder.path().join("u/b.parquet"), &batch(vec![("id", ints(&[2])), ("amount", texts(&[" 1.5 "]))]));
    let tables = open(&users("u", "columns = { amount = \"decimal(12,2)\" }"), folder.path())?;
    assert_eq!(rows(&tables, TableRole::Users), ["1 | 1.00", "2 | 1.50"]);
    Ok(())
}

fn declared_types() -> Outcome {
    let folder = TempDir::new()?;
    let header = "id,zip,amount,at,props,n,f,ok,day,when";
    let good = "1,01234,12.30,1700000000,\"{\"\"a\"\":1}\",7,0.5,TRUE,2024-02-29,2024-01-01T00:00:00+01:00";
    let bad = "2,,12.345,noon,x,7.5,inf,yes,2023-02-29,2024-01-01T00:00:00.1234567Z";
    write(&folder.path().join("users.csv"), &format!("{header}\n{good}\n{bad}\n"));
    let declared = "columns = { zip = \"string\", amount = \"decimal(12,2)\", at = \"timestamp[s]\", props = \"json\", \
                    n = \"integer\", f = \"float\", ok = \"boolean\", day = \"date\", when = \"timestamp\" }";
    let tables = open(&users("users.csv", declared), folder.path())?;
    let expected = [
        "1 | 01234 | 12.30 | 2023-11-14T22:13:20Z | {\"a\":1} | 7 | 0.5 | true | 2024-02-29 | 2023-12-31T23:00:00Z",
        "2 | - | - | - | x | - | - | - | - | 2024-01-01T00:00:00.123456Z",
    ];
    assert_eq!(rows(&tables, TableRole::Users), expected);
    write_parquet(
        &folder.path().join("users.parquet"),
        &batch(vec![("id", ints(&[1])), ("zip", ints(&[10_115])), ("at", ints(&[1_700_000_000]))]),
    );
    let tables = open(&users("users.parquet", "columns = { zip = \"string\", at = \"timestamp[s]\" }"), folder.path())?;
    assert_eq!(rows(&tables, TableRole::Users), ["1 | 10115 | 2023-11-14T22:13:20Z"]);
    // A column that is gone is no column, and nothing else stops.
    let tables = open(&users("users.parquet", "columns = { zip = \"string\", gone = \"string\" }"), folder.path())?;
    assert_eq!(columns(&tables), ["id: integer", "zip: text", "at: integer"]);
    let text = refusal(open(&users("users.parquet", "columns = { zip = \"boolean\" }"), folder.path()));
    expect_in(&text, &["users.parquet", "`zip` as integer", "cannot be declared as boolean"]);
    Ok(())
}

fn naive_timestamps() -> Outcome {
    let folder = TempDir::new()?;
    let hour = |text: &str| text.parse::<jiff::civil::DateTime>().unwrap().to_zoned(jiff::tz::TimeZone::UTC).unwrap().timestamp();
    let local = ["2024-03-31T02:30:00", "2024-10-27T02:30:00", "2024-07-01T12:00:00"].map(hour);
    let naive =
        Arc::new(TimestampNanosecondArray::from_iter_values(local.iter().map(|at| i64::try_from(at.as_nanosecond()).unwrap())))
            as ArrayRef;
    let zoned = Arc::new(TimestampSecondArray::from_iter_values(local.iter().map(|at| at.as_second())).with_timezone("Asia/Tokyo"));
    write_parquet(&folder.path().join("e.parquet"), &batch(vec![("id", ints(&[1, 2, 3])), ("at", naive), ("zoned", zoned)]));
    let tables = open(&events("e.parquet", "naive_timezone = \"Europe/Berlin\""), folder.path())?;
    assert_eq!(
        rows(&tables, TableRole::Events),
        [
            "1 | 2024-03-31T01:30:00Z | 2024-03-31T02:30:00Z",
            "2 | 2024-10-27T00:30:00Z | 2024-10-27T02:30:00Z",
            "3 | 2024-07-01T10:00:00Z | 2024-07-01T12:00:00Z"
        ]
    );
    let tables = open(&events("e.parquet", ""), folder.path())?;
    assert_eq!(rows(&tables, TableRole::Events)[0], "1 | 2024-03-31T02:30:00Z | 2024-03-31T02:30:00Z");
    let text = refusal(open(&events("e.parquet", "naive_timezone = \"Europe/Berlim\""), folder.path()));
    expect_in(&text, &["no timezone `Europe/Berlim`", "IANA"]);
    Ok(())
}

fn times_are_floored() -> Outcome {
    let folder = TempDir::new()?;
    let at = Arc::new(TimestampNanosecondArray::from(vec![-1, -1_000, -1_001, 1_999]).with_timezone("UTC")) as ArrayRef;
    write_parquet(&folder.path().join("e.parquet"), &batch(vec![("id", ints(&[1, 2, 3, 4])), ("at", at)]));
    let tables = open(&events("e.parquet", ""), folder.path())?;
    assert_eq!(
        rows(&tables, TableRole::Events),
        [
            "1 | 1969-12-31T23:59:59.999999Z",
            "2 | 1969-12-31T23:59:59.999999Z",
            "3 | 1969-12-31T23:59:59.999998Z",
            "4 | 1970-01-01T00:00:00.000001Z"
        ]
    );
    let instant = |micros| lit(ScalarValue::TimestampMicrosecond(Some(micros), Some("UTC".into())));
    for (condition, expected) in [
        (column("at").eq(instant(-1)), vec!["1", "2"]),
        (column("at").gt_eq(instant(-1)), vec!["1", "2", "4"]),
        (column("at").gt(instant(-1)), vec!["4"]),
        (column("at").lt(instant(-1)), vec!["3"]),
        (column("at").lt_eq(instant(-1)), vec!["1", "2", "3"]),
        (instant(1).eq(column("at")), vec!["4"]),
    ] {
        let found = frame(&tables, TableRole::Events).filter(condition)?.select(vec![column("id")])?;
        assert_eq!(rows_of(found), expected);
    }
    Ok(())
}

fn weird_names() -> Outcome {
    let folder = TempDir::new()?;
    let names = ["id", "User.Name", "quo\"te", "it's", "a b", "ÄÖ", "id ", "SELECT", "x=y", "", "back\\slash", "star*"];
    let columns = names.iter().enumerate().map(|(at, name)| (*name, ints(&[i64::try_from(at).unwrap()]))).collect();
    write_parquet(&folder.path().join("we ird/50% #1?.parquet"), &batch(columns));
    let tables = open(&users("we ird", ""), folder.path())?;
    assert_eq!(rows(&tables, TableRole::Users), ["0 | 1 | 2 | 3 | 4 | 5 | 6 | 7 | 8 | 9 | 10 | 11"]);
    for (at, name) in names.iter().enumerate() {
        let condition = column(name).eq(lit(i64::try_from(at)?));
        let found = frame(&tables, TableRole::Users).filter(condition)?.select(vec![column(name)])?;
        assert_eq!(rows_of(found), [at.to_string()]);
    }
    Ok(())
}
