//! What plans over tables read.

use super::*;

pub(super) fn trials() -> Vec<Trial> {
    named(&[
        ("memory_tables", memory_tables),
        ("conditions_skip_row_groups", conditions_skip_row_groups),
        ("only_wanted_columns_are_read", only_wanted_columns_are_read),
        ("scans_are_counted", scans_are_counted),
    ])
}

fn memory_tables() -> Outcome {
    let batches = MemoryTables { users: vec![people(), people()], events: Vec::new(), products: Vec::new() };
    let tables = run(Tables::from_batches(&users("is not looked at", ""), &batches, &EngineSettings::default()))?;
    assert_eq!(rows(&tables, TableRole::Users), ["1 | Ada", "1 | Ada", "2 | -", "2 | -"]);
    let Err(error) = tables.scan(TableRole::Products) else { panic!("there are no products") };
    expect_in(&error.to_string(), &["products", "no such table"]);
    Ok(())
}

fn conditions_skip_row_groups() -> Outcome {
    let folder = TempDir::new()?;
    let count = 4_000;
    let seconds = || (0..count).map(|second| second * 60);
    let types: Vec<_> = (0..count).map(|at| if at < 1_000 { "view" } else { "order" }).collect();
    let units: [(&str, ArrayRef); 5] = [
        ("s", Arc::new(TimestampSecondArray::from_iter_values(seconds()))),
        ("ms", Arc::new(TimestampMillisecondArray::from_iter_values(seconds().map(|at| at * 1_000)).with_timezone("Asia/Tokyo"))),
        ("us", Arc::new(TimestampMicrosecondArray::from_iter_values(seconds().map(|at| at * 1_000_000)))),
        ("utc", Arc::new(TimestampMicrosecondArray::from_iter_values(seconds().map(|at| at * 1_000_000)).with_timezone("UTC"))),
        ("ns", Arc::new(TimestampNanosecondArray::from_iter_values(seconds().map(|at| at * 1_000_000_000)))),
    ];
    for (unit, at) in units {
        let ids: ArrayRef = Arc::new(Int32Array::from_iter_values(0..i32::try_from(count)?));
        let kinds: ArrayRef = Arc::new(types.iter().copied().collect::<DictionaryArray<Int32Type>>());
        let path = folder.path().join(format!("{unit}.parquet"));
        write_parquet_in_groups(&path, &batch(vec![("id", ids), ("at", at), ("kind", kinds)]), 500);
        let tables = open(&events(&format!("{unit}.parquet"), ""), folder.path())?;
        let last = ScalarValue::TimestampMicrosecond(Some(3_600 * 60 * 1_000_000), Some("UTC".into()));
        for (condition, groups, matching) in [
            (column("at").gt_eq(lit(last)), "8 total → 1 matched", 400),
            (column("kind").eq(lit("view")), "8 total → 2 matched", 1_000),
            (column("id").lt(lit(10_i64)), "8 total → 1 matched", 10),
        ] {
            let filtered = frame(&tables, TableRole::Events).filter(condition)?.select(vec![column("id")])?;
            let plan = run(filtered.create_physical_plan())?;
            let context = tables.session().task_ctx();
            let found = run(datafusion::physical_plan::collect(Arc::clone(&plan), context))?;
            assert_eq!(found.iter().map(RecordBatch::num_rows).sum::<usize>(), matching);
            let metrics = DisplayableExecutionPlan::with_metrics(plan.as_ref()).indent(true).to_string();
            assert!(metrics.contains(&format!("row_groups_pruned_statistics={groups}")), "{unit}: {metrics}");
        }
    }
    Ok(())
}

fn only_wanted_columns_are_read() -> Outcome {
    let folder = TempDir::new()?;
    write_parquet(&folder.path().join("users.parquet"), &people());
    let tables = open(&users("users.parquet", ""), folder.path())?;
    let plan = run(frame(&tables, TableRole::Users).select(vec![column("id")])?.create_physical_plan())?;
    let shown = displayable(plan.as_ref()).indent(false).to_string();
    assert!(shown.contains("projection=[id]") && shown.lines().count() == 1, "{shown}");
    let counted = run(frame(&tables, TableRole::Users).count())?;
    assert_eq!(counted, 2);
    write(&folder.path().join("users.csv"), "id,name\n1,Ada\n2,\n");
    assert_eq!(run(frame(&open(&users("users.csv", ""), folder.path())?, TableRole::Users).count())?, 2);
    Ok(())
}

fn scans_are_counted() -> Outcome {
    let folder = TempDir::new()?;
    write_parquet(&folder.path().join("u/1.parquet"), &people());
    write(&folder.path().join("u/2.csv"), "id,name\n3,Eve\n");
    let tables = open(&users("u", "columns = { id = \"integer\" }"), folder.path())?;
    let plan = run(frame(&tables, TableRole::Users).create_physical_plan())?;
    let read = run(datafusion::physical_plan::collect(Arc::clone(&plan), tables.session().task_ctx()))?;
    assert_eq!(concat_batches(&read[0].schema(), &read)?.num_rows(), 3);
    let scans = tables.scans(&plan);
    assert_eq!(scans.len(), 1);
    assert_eq!((scans[0].table, scans[0].passes, scans[0].rows), (TableRole::Users, 1, 3));
    Ok(())
}
