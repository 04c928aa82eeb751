//! Two real purchase logs, where they are at hand: each definition beside SQL that DuckDB runs, written from the question and not from
//! the program.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use libtest_mimic::{Failed, Trial};
use segmenta::backend::tables::{EventSource, Locations, SubjectSource, TenantTables};
use segmenta::check::{self, Limits};
use segmenta::diagnostic::Source;
use segmenta::model::id::SegmentId;
use segmenta::syntax::{self, Format};
use serde_json::{Value as Json, json};

use crate::cases::shared_folder;
use crate::engine::{Engine, Order};
use crate::evaluators::{asked, disagreements};
use crate::python;
use crate::scenario::{Members, all_valid, explain};

/// A definition's rule, and the same question to DuckDB: who (`user_id`) it is. The tables are `e` and `u`.
type Question = (&'static str, Json, &'static str);

/// A purchase log.
#[derive(Clone, Copy)]
struct Log {
    folder: &'static str,
    timezone: &'static str,
    as_of: &'static str,
    questions: fn() -> Vec<Question>,
    /// How many users and events it is published to have, and what else is published: `where` of events, and their number.
    users: u64,
    events: u64,
    published: fn() -> Vec<(Json, u64)>,
}

const LOGS: [Log; 2] = [
    Log {
        folder: "cdnow",
        timezone: "UTC",
        as_of: "1998-07-01T00:00:00Z",
        questions: cdnow,
        users: 23_544,
        events: 69_659,
        published: || vec![(json!({"event_type": "order_completed"}), 69_659)],
    },
    Log {
        folder: "online_retail",
        timezone: "Europe/London",
        as_of: "2011-12-10T00:00:00Z",
        questions: online_retail,
        users: 4_373,
        events: 25_943,
        published: || {
            let negative = json!([{"property": "quantity", "operator": "lt", "value": 0}]);
            vec![(json!({"event_type": "order_cancelled"}), 3_837), (json!({ "where": negative }), 5_173)]
        },
    },
];

/// Runs SQL over the two files of a log: questions on standard input, the ids of each on standard output.
const SCRIPT: &str = r"
import duckdb, json, sys
asked = json.load(sys.stdin)
connection = duckdb.connect()
for name, file in (('e', 'events'), ('u', 'users')):
    connection.execute(f'create view {name} as select * from read_parquet(\'' + asked['folder'] + '/' + file + '.parquet\')')
found = {name: sorted(row[0] for row in connection.execute(sql).fetchall()) for name, sql in asked['questions'].items()}
json.dump(found, sys.stdout)
";

pub(crate) fn trials() -> Vec<Trial> {
    let mut trials = Vec::new();
    for log in LOGS {
        let folder = shared_folder().join("data").join(log.folder);
        let absent = !folder.join("events.parquet").is_file();
        let run = folder.clone();
        let against_duckdb = move || agrees_with_duckdb(log, &run);
        trials
            .push(Trial::test(format!("real_data::{}::agrees_with_duckdb", log.folder), against_duckdb).with_ignored_flag(absent));
        let published = move || has_the_published_figures(log, &folder);
        trials.push(
            Trial::test(format!("real_data::{}::has_the_published_figures", log.folder), published).with_ignored_flag(absent),
        );
    }
    trials
}

fn open(log: Log, folder: &Path) -> Result<Engine, String> {
    let file = |name: &str| Locations(vec![folder.join(name).display().to_string()]);
    let tables = TenantTables {
        timezone: log.timezone.to_owned(),
        users: Some(SubjectSource { source: file("users.parquet"), key: "user_id".to_owned(), ..SubjectSource::default() }),
        events: Some(EventSource {
            source: file("events.parquet"),
            user_key: Some("user_id".to_owned()),
            event_type: Some("event_type".to_owned()),
            timestamp: "timestamp".to_owned(),
            event_id: Some("event_id".to_owned()),
            ..EventSource::default()
        }),
        products: None,
    };
    Engine::over_files(&tables, &PathBuf::new())
}

/// The members of rules, by the whole pipeline over the files.
fn members(log: Log, folder: &Path, rules: &[(String, Json)]) -> Result<Members, String> {
    let engine = open(log, folder)?;
    let document = |(id, rule): &(String, Json)| {
        let text = json!({"id": id, "logic": "and", "conditions": [rule]}).to_string();
        let source = Arc::new(Source { name: id.clone(), text: text.into() });
        syntax::parse(&source, Format::Json).map_err(|text| explain(&text.report))
    };
    let documents = rules.iter().map(document).collect::<Result<Vec<_>, _>>()?;
    let checked = check::check(&documents, engine.catalog(), &Limits::default());
    let segments = all_valid(&checked)?;
    let as_of = log.as_of.parse().map_err(|error: jiff::Error| error.to_string())?;
    engine.members(Order { segments: &segments, as_of, stored: &Members::new() }, &asked(&segments))
}

fn agrees_with_duckdb(log: Log, folder: &Path) -> Result<(), Failed> {
    let python = python::interpreter(&["duckdb"])?;
    let questions = (log.questions)();
    let rules: Vec<(String, Json)> = questions.iter().map(|(id, rule, _)| ((*id).to_owned(), rule.clone())).collect();
    let found = members(log, folder, &rules)?;
    let sql: BTreeMap<&str, &str> = questions.iter().map(|(id, _, sql)| (*id, *sql)).collect();
    let expected = duckdb(&python, folder, &sql)?;
    let wrong = disagreements(&expected, &found);
    let mut complaints = Vec::new();
    for (id, (only_duckdb, only_here)) in wrong {
        let some = |ids: &[String]| ids.iter().take(5).cloned().collect::<Vec<_>>();
        let (duckdb, here) = (some(&only_duckdb), some(&only_here));
        complaints.push(format!(
            "`{id}`: {} only by DuckDB, as {duckdb:?}; {} only here, as {here:?}",
            only_duckdb.len(),
            only_here.len()
        ));
    }
    let trivial = expected.iter().filter(|(_, ids)| ids.is_empty()).map(|(id, _)| format!("`{id}` is nobody"));
    complaints.extend(trivial);
    if complaints.is_empty() { Ok(()) } else { Err(complaints.join("\n").into()) }
}

fn duckdb(python: &Path, folder: &Path, questions: &BTreeMap<&str, &str>) -> Result<Members, Failed> {
    let mut child = Command::new(python).args(["-c", SCRIPT]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let asked = json!({"folder": folder, "questions": questions}).to_string();
    child.stdin.take().ok_or("no standard input")?.write_all(asked.as_bytes())?;
    let output = child.wait_with_output()?;
    if !output.status.success() {
        return Err("DuckDB failed, as it says above".into());
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// Events are counted through segments: those with at least one, two, three ... of them, as often as someone has so many.
fn has_the_published_figures(log: Log, folder: &Path) -> Result<(), Failed> {
    let all = members(log, folder, &[("everyone".to_owned(), json!({"type": "everyone"}))])?;
    let users = all.values().map(|members| members.len() as u64).sum::<u64>();
    if users != log.users {
        return Err(format!("{users} users, not {}", log.users).into());
    }
    let mut published = (log.published)();
    published.push((json!({}), log.events));
    for (leaf, expected) in published {
        let found = count(log, folder, &leaf)?;
        if found != expected {
            return Err(format!("{found} events of {leaf}, not {expected}").into());
        }
    }
    Ok(())
}

/// The number of events of a leaf: the sum over k of the users with at least k.
fn count(log: Log, folder: &Path, leaf: &Json) -> Result<u64, String> {
    const AT_ONCE: u32 = 64;
    let mut sum = 0;
    for start in (1..).step_by(AT_ONCE as usize) {
        let rule = |least: u32| {
            let mut rule = leaf.clone();
            rule["type"] = json!("event");
            rule["operator"] = json!("gte");
            rule["value"] = json!(least);
            (format!("at-least-{least}"), rule)
        };
        let rules: Vec<(String, Json)> = (start..start + AT_ONCE).map(rule).collect();
        let found = members(log, folder, &rules)?;
        sum += found.values().map(|members| members.len() as u64).sum::<u64>();
        let last: SegmentId = rules.last().map(|(id, _)| id.parse()).ok_or("no rules")?.map_err(|_| "no id")?;
        if found.get(&last).is_none_or(|members| members.is_empty()) {
            break;
        }
    }
    Ok(sum)
}

fn orders(rest: &Json) -> Json {
    let mut leaf = json!({"type": "event", "event_type": "order_completed"});
    for (key, value) in rest.as_object().into_iter().flatten() {
        leaf[key] = value.clone();
    }
    leaf
}

/// As of 1 July 1998, UTC.
fn cdnow() -> Vec<Question> {
    vec![
        ("repeat-buyers", orders(&json!({"operator": "gte", "value": 2})), "select user_id from e group by 1 having count(*) >= 2"),
        ("bought-once", orders(&json!({"operator": "eq", "value": 1})), "select user_id from e group by 1 having count(*) = 1"),
        (
            "lapsed",
            orders(&json!({"operator": "eq", "value": 0, "window": {"last": "90d"}})),
            "select user_id from u where user_id not in (select user_id from e where timestamp >= timestamp '1998-04-02 00:00:00')",
        ),
        (
            "spent-100-in-the-second-quarter",
            orders(&json!({"measure": {"sum": "amount"}, "operator": "gte", "value": 100, "window": {"from": "1998-04-01", "to": "1998-06-30"}})),
            "select user_id from e where timestamp >= '1998-04-01' and timestamp < '1998-07-01'
             group by 1 having sum(cast(round(amount * 100) as bigint)) >= 10000",
        ),
        (
            "average-order-above-50",
            orders(&json!({"measure": {"avg": "amount"}, "operator": "gt", "value": 50})),
            "select user_id from e group by 1 having sum(cast(round(amount * 100) as bigint)) > 5000 * count(*)",
        ),
        (
            "never-more-than-ten",
            orders(&json!({"measure": {"max": "amount"}, "operator": "lte", "value": 10})),
            "select user_id from e group by 1 having max(amount) <= 10",
        ),
        (
            "first-order-in-february",
            json!({"logic": "and", "conditions": [
                orders(&json!({"window": {"from": "1997-02-01", "to": "1997-02-28"}})),
                orders(&json!({"operator": "eq", "value": 0, "window": {"to": "1997-01-31"}})),
            ]}),
            "select user_id from e group by 1 having min(timestamp) >= '1997-02-01' and min(timestamp) < '1997-03-01'",
        ),
        (
            "joined-in-march",
            json!({"type": "user_attribute", "property": "first_order_on", "operator": "between", "value": "1997-03-01", "value2": "1997-03-31"}),
            "select user_id from u where first_order_on between date '1997-03-01' and date '1997-03-31'",
        ),
        (
            "fifty-units",
            orders(&json!({"measure": {"sum": "quantity"}, "operator": "gte", "value": 50})),
            "select user_id from e group by 1 having sum(quantity) >= 50",
        ),
        (
            "six-months-of-buying",
            orders(&json!({"measure": "active_months", "operator": "gte", "value": 6})),
            "select user_id from e group by 1 having count(distinct strftime(timestamp, '%Y-%m')) >= 6",
        ),
        (
            "got-something-free",
            orders(&json!({"where": [{"property": "amount", "operator": "eq", "value": 0}]})),
            "select distinct user_id from e where amount = 0",
        ),
        (
            "five-different-amounts",
            orders(&json!({"measure": {"count_distinct": "amount"}, "operator": "gte", "value": 5})),
            "select user_id from e group by 1 having count(distinct amount) >= 5",
        ),
        (
            "came-back",
            json!({"logic": "and", "conditions": [
                orders(&json!({"window": {"last": "30d"}})),
                {"not": orders(&json!({"window": {"from": "-210d", "to": "-30d"}}))},
                orders(&json!({"window": {"to": "-210d"}})),
            ]}),
            "select user_id from e group by 1
             having count(*) filter (timestamp >= '1998-06-01') > 0
                and count(*) filter (timestamp >= '1997-12-03' and timestamp < '1998-06-01') = 0
                and count(*) filter (timestamp < '1997-12-03') > 0",
        ),
        (
            "last-order-above-100",
            orders(&json!({"measure": {"last": "amount"}, "operator": "gt", "value": 100})),
            "select user_id from (
                 select user_id, amount, row_number() over (partition by user_id order by timestamp desc, event_id desc, amount desc) as nth from e
             ) where nth = 1 and amount > 100",
        ),
        (
            "mostly-two-at-a-time",
            orders(&json!({"measure": {"most_frequent": "quantity"}, "operator": "eq", "value": 2})),
            "select user_id from (
                 select user_id, quantity, row_number() over (partition by user_id order by count(*) desc, quantity) as nth from e group by 1, 2
             ) where nth = 1 and quantity = 2",
        ),
        (
            "quiet-for-a-year",
            orders(&json!({"measure": "days_since_last", "operator": "gt", "value": 365})),
            "select user_id from e group by 1 having max(timestamp) < '1997-07-01'",
        ),
    ]
}

/// As of 10 December 2011 in London, which was an hour ahead of UTC from 27 March to 30 October, each time from 01:00 UTC.
fn online_retail() -> Vec<Question> {
    vec![
        (
            "repeat-buyers",
            orders(&json!({"operator": "gte", "value": 2})),
            "select user_id from e where event_type = 'order_completed' group by 1 having count(*) >= 2",
        ),
        (
            "cancelled-three-times",
            json!({"type": "event", "event_type": "order_cancelled", "operator": "gte", "value": 3}),
            "select user_id from e where event_type = 'order_cancelled' group by 1 having count(*) >= 3",
        ),
        (
            "only-cancelled",
            json!({"logic": "and", "conditions": [
                {"type": "event", "event_type": "order_cancelled"}, orders(&json!({"operator": "eq", "value": 0})),
            ]}),
            "select user_id from e group by 1 having count(*) filter (event_type = 'order_completed') = 0",
        ),
        (
            "lapsed",
            json!({"not": orders(&json!({"window": {"last": "90d"}}))}),
            // 90 local days before midnight of 10 December is midnight of 11 September, when London was an hour ahead.
            "select user_id from u where user_id not in (
                 select user_id from e where event_type = 'order_completed' and timestamp >= '2011-09-10 23:00:00')",
        ),
        (
            "returned-more-than-bought",
            json!({"type": "event", "measure": {"sum": "quantity"}, "operator": "lt", "value": 0}),
            "select user_id from e group by 1 having sum(quantity) < 0",
        ),
        (
            "negative-quantities-that-were-no-cancellation",
            orders(&json!({"where": [{"property": "quantity", "operator": "lt", "value": 0}]})),
            "select distinct user_id from e where event_type = 'order_completed' and quantity < 0",
        ),
        (
            "from-the-continent",
            json!({"type": "user_attribute", "property": "country", "operator": "not_in", "value": ["United Kingdom", "EIRE", "Channel Islands"]}),
            "select user_id from u where country is null or country not in ('United Kingdom', 'EIRE', 'Channel Islands')",
        ),
        (
            "lands",
            json!({"type": "user_attribute", "property": "country", "operator": "ends_with", "value": "LAND", "ignore_case": true}),
            "select user_id from u where lower(country) like '%land'",
        ),
        (
            "first-order-in-december-2010",
            json!({"logic": "and", "conditions": [
                orders(&json!({"window": {"from": "2010-12-01", "to": "2010-12-31"}})),
                orders(&json!({"operator": "eq", "value": 0, "window": {"to": "2010-11-30"}})),
            ]}),
            "select user_id from e where event_type = 'order_completed' group by 1
             having min(timestamp) >= '2010-12-01' and min(timestamp) < '2011-01-01'",
        ),
        (
            "first-invoice-a-cancellation",
            json!({"type": "event", "measure": {"first": "event_type"}, "operator": "eq", "value": "order_cancelled"}),
            "select user_id from (
                 select user_id, event_type, row_number() over (partition by user_id order by timestamp, event_id, event_type) as nth from e
             ) where nth = 1 and event_type = 'order_cancelled'",
        ),
        (
            "paid-above-100-a-piece",
            orders(&json!({"measure": {"max": "unit_price"}, "operator": "gt", "value": 100})),
            "select user_id from e where event_type = 'order_completed' group by 1 having max(unit_price) > 100",
        ),
        (
            "ten-weeks-of-buying",
            orders(&json!({"measure": "active_weeks", "operator": "gte", "value": 10})),
            "select user_id from e where event_type = 'order_completed' group by 1
             having count(distinct date_trunc('week', timestamp + case
                 when timestamp >= '2011-03-27 01:00' and timestamp < '2011-10-30 01:00' then interval 1 hour else interval 0 hour end)) >= 10",
        ),
        (
            "buys-before-nine",
            orders(&json!({"where": [{"property": {"hour": "timestamp"}, "operator": "lt", "value": 9}], "operator": "gte", "value": 2})),
            "select user_id from e where event_type = 'order_completed' and hour(timestamp + case
                 when timestamp >= '2011-03-27 01:00' and timestamp < '2011-10-30 01:00' then interval 1 hour else interval 0 hour end) < 9
             group by 1 having count(*) >= 2",
        ),
        (
            "half-a-year-of-net-units",
            json!({"type": "event", "event_type": "order_*", "measure": {"sum": "quantity"}, "operator": "between", "value": 1, "value2": 500,
                "window": {"last": "6m"}}),
            "select user_id from e where timestamp >= '2011-06-09 23:00:00' group by 1 having sum(quantity) between 1 and 500",
        ),
        (
            "average-of-prices",
            orders(&json!({"measure": {"avg": "unit_price"}, "operator": "lt", "value": "2.5"})),
            "select user_id from e where event_type = 'order_completed' group by 1
             having sum(cast(unit_price as decimal(18, 9))) < 2.5 * count(*)",
        ),
    ]
}
