//! What stands around a rule: ids, names, states, times, and what is carried.

use libtest_mimic::Trial;
use segmenta::check::{Limits, check};
use segmenta::model::catalog::{ColumnType, Table};
use segmenta::syntax::dialect::{Dialect, Mapping, Settings, export};
use serde_json::{Value as Json, json};

use super::{canonical, read, read_one};

pub(crate) fn trials() -> Vec<Trial> {
    let trials: [(&str, fn()); 8] = [
        ("ids_are_given_or_made_of_names_and_files", ids_are_given_or_made_of_names_and_files),
        ("states_times_and_identities_are_mapped", states_times_and_identities_are_mapped),
        ("a_file_holds_one_definition_or_a_list", a_file_holds_one_definition_or_a_list),
        ("settings_say_what_names_stand_for", settings_say_what_names_stand_for),
        ("columns_decide_what_names_stand_for", columns_decide_what_names_stand_for),
        ("what_a_form_cannot_say_is_refused_with_its_place", what_a_form_cannot_say_is_refused_with_its_place),
        ("every_mistake_is_told_once", every_mistake_is_told_once),
        ("what_is_doubtful_is_warned_of", what_is_doubtful_is_warned_of),
    ];
    trials
        .into_iter()
        .map(|(name, test)| {
            Trial::test(format!("dialects::heads::{name}"), move || {
                test();
                Ok(())
            })
        })
        .collect()
}

const RULE: &str = r#"{"type": "condition", "attribute": "country", "operator": "=", "value": "CA"}"#;

fn rule() -> Json {
    serde_json::from_str(RULE).unwrap()
}

/// The canonical form of a document that a file `In File.json` holds.
#[track_caller]
fn imported(document: &Json, dialect: Dialect) -> Json {
    let settings = Settings::default();
    let mapping = Mapping { settings: &settings, users: None };
    canonical(&read_one("x/In File.json", &document.to_string(), dialect, mapping).unwrap())
}

/// The codes and the texts marked of what is wrong with a document.
#[track_caller]
fn found(text: &str, dialect: Dialect) -> Vec<(String, String)> {
    let settings = Settings::default();
    let import = read("in.json", text, dialect, Mapping { settings: &settings, users: None });
    let mut report = import.report;
    import.documents.iter().for_each(|document| report.append(document.report().clone()));
    let marked = |span: std::ops::Range<usize>| text.get(span).unwrap().to_owned();
    report.findings.into_iter().map(|finding| (finding.code.to_string(), marked(finding.span))).collect()
}

fn ids_are_given_or_made_of_names_and_files() {
    for (head, id, name) in [
        (json!({"id": "given", "name": "Any Name"}), "given", Some("Any Name")),
        (json!({"id": 42}), "42", None),
        (json!({"name": "High-Value  Prospects!"}), "high-value-prospects", Some("High-Value  Prospects!")),
        (json!({"Name": "Pascal"}), "pascal", Some("Pascal")),
        (json!({"label": "客户"}), "in-file", Some("客户")),
        (json!({"id": null, "name": null}), "in-file", None),
    ] {
        let mut document = head.clone();
        document["rule"] = rule();
        let canonical = imported(&document, Dialect::Tree);
        assert_eq!((canonical["id"].as_str(), canonical.get("name").and_then(Json::as_str)), (Some(id), name), "{head}");
    }
    assert_eq!(
        found(&format!(r#"{{"id": "No Id", "rule": {RULE}}}"#), Dialect::Tree),
        [("invalid-id".to_owned(), r#""No Id""#.to_owned())]
    );
}

fn states_times_and_identities_are_mapped() {
    let document = json!({
        "id": "x", "type": "dynamic", "isActive": false, "refreshInterval": 300, "tags": ["a"], "icon": "i", "color": "c",
        "computedCount": 12, "tenantId": "t", "created_by": "me", "metadata": {"note": [1, 2.5]}, "rules": [
            {"field": "country", "operator": "equals", "value": "CA"}]
    });
    let expected = json!({
        "id": "x", "status": "paused", "refresh_interval": "300s", "tags": ["a"], "icon": "i", "color": "c", "logic": "and",
        "conditions": [{"type": "user_attribute", "property": "country", "operator": "eq", "value": "CA"}],
        "metadata": {"computedCount": 12, "tenantId": "t", "created_by": "me", "note": [1, 2.5]}
    });
    assert_eq!(imported(&document, Dialect::Groups), expected);
    for (status, expected) in
        [("active", None), ("inactive", Some("paused")), ("draft", Some("paused")), ("ARCHIVED", Some("archived"))]
    {
        let document = json!({"id": "x", "status": status, "is_active": status == "active", "rule": rule()});
        assert_eq!(imported(&document, Dialect::Tree).get("status").and_then(Json::as_str), expected);
    }
    let contradiction = json!({"id": "x", "status": "active", "is_active": false, "rule": rule()}).to_string();
    assert_eq!(found(&contradiction, Dialect::Tree), [("conflicting-keys".to_owned(), "false".to_owned())]);
    let by_hand = json!({"id": "x", "type": "static", "rules": []});
    assert_eq!(imported(&by_hand, Dialect::Groups), json!({"id": "x", "kind": "static"}));
    let cached = json!({"id": "x", "filters": [{"type": "role", "field": "plan", "op": "eq", "value": "free"}],
        "cache": {"ttl-minutes": 60, "refresh-schedule": "0 6 * * 1"}});
    let cached = imported(&cached, Dialect::Audience);
    assert_eq!((&cached["cache_ttl"], &cached["schedule"]), (&json!("60min"), &json!("0 6 * * 1")));
    let twice =
        json!({"id": "x", "refresh_schedule": "0 5 * * *", "compose": {"ref": "y"}, "cache": {"refresh-schedule": "0 6 * * *"}});
    assert_eq!(found(&twice.to_string(), Dialect::Audience), [("conflicting-keys".to_owned(), r#""0 6 * * *""#.to_owned())]);
    let typo = format!(r#"{{"id": "x", "descripton": "d", "rule": {RULE}}}"#);
    assert_eq!(found(&typo, Dialect::Tree), [("unknown-key".to_owned(), r#""descripton""#.to_owned())]);
}

fn a_file_holds_one_definition_or_a_list() {
    let settings = Settings::default();
    let mapping = Mapping { settings: &settings, users: None };
    let text =
        format!(r#"[{{"id": "a", "rule": {RULE}}}, {{"id": "b", "rule": {{"type": "xor"}}}}, {{"id": "c", "rule": {RULE}}}, 7]"#);
    let import = read("in.json", &text, Dialect::Tree, mapping);
    let states: Vec<(&str, bool)> =
        import.documents.iter().map(|document| (document.definition().id.as_str(), document.report().has_errors())).collect();
    assert_eq!(states, [("a", false), ("b", true), ("c", false)]);
    assert_eq!(import.report.findings.len(), 1);
    // A key that stands twice makes one definition doubtful, not the others.
    let doubled = format!(r#"[{{"id": "a", "name": "x", "name": "y", "rule": {RULE}}}, {{"id": "b", "rule": {RULE}}}]"#);
    let import = read("in.json", &doubled, Dialect::Tree, mapping);
    let states: Vec<bool> = import.documents.iter().map(|document| document.report().has_errors()).collect();
    assert_eq!((states, import.report.findings.len()), (vec![true, false], 0));
    assert_eq!(found("[]", Dialect::Tree), [("empty-group".to_owned(), "[]".to_owned())]);
}

fn settings_say_what_names_stand_for() {
    let settings: Settings = toml::from_str(
        r#"
        tree.total_renders = { event_type = ["render_*", "export"], measure = "active_days", last = "90d" }
        tree.pricing_page_views = { property = "stats.pricing" }
        tree.fields = { country = "address.country", tier = "attributes.tier" }
        groups.fields = { lastEmailOpenedAt = "email.opened" }
        weighted.fields = { interests = "profile.interests", lastSeen = "seen_at", "pricePreferences.minObserved" = "cheapest" }
        audience.fields = { created_at = "signed_up_at", "feature_usage.export_pdf" = "exported_at", home-page = "page" }
        "#,
    )
    .unwrap();
    let mapping = Mapping { settings: &settings, users: None };
    let one = |document: Json, dialect: Dialect| {
        canonical(&read_one("in.json", &document.to_string(), dialect, mapping).unwrap())["conditions"][0].clone()
    };
    let tree = |attribute: &str| json!({"type": "condition", "attribute": attribute, "operator": ">", "value": 3});
    assert_eq!(
        one(tree("total_renders"), Dialect::Tree),
        json!({"type": "event", "event_type": ["render_*", "export"], "measure": "active_days", "operator": "gt", "value": 3,
            "window": {"last": "90d"}})
    );
    assert_eq!(one(tree("pricing_page_views"), Dialect::Tree)["property"], "stats.pricing");
    assert_eq!(one(rule(), Dialect::Tree)["property"], "address.country");
    let custom = json!({"type": "condition", "attribute": "custom_property", "property": "tier", "operator": "=", "value": "x"});
    assert_eq!(one(custom, Dialect::Tree)["property"], "attributes.tier");
    let group = json!({"rules": [{"field": "lastEmailOpenedAt", "operator": "is_set"}]});
    assert_eq!(one(group, Dialect::Groups)["property"], "email.opened");
    let weighted = |rule: Json| {
        let document = json!({"Rules": [rule]}).to_string();
        canonical(&read_one("in.json", &document, Dialect::Weighted, mapping).unwrap())["scoring"]["rules"][0]["condition"].clone()
    };
    let interest = json!({"Type": "CategoryInterest", "Field": "interests.tech", "Value": 1});
    assert_eq!(weighted(interest)["property"], "profile.interests.tech");
    assert_eq!(weighted(json!({"Type": "Recency", "Field": "any", "Value": 1}))["property"], json!({"days_since": "seen_at"}));
    let prices = json!({"type": "PriceRange", "value": "1-2"});
    assert_eq!(weighted(prices)["property"], json!({"mean": ["cheapest", "pricePreferences.maxObserved"]}));
    let audience = |filter: Json| one(json!({"filters": [filter]}), Dialect::Audience)["property"].clone();
    assert_eq!(audience(json!({"type": "account-tenure", "op": "gt", "value": 3})), "signed_up_at");
    assert_eq!(audience(json!({"type": "feature-usage", "field": "export-pdf", "op": "used-within", "value": 3})), "exported_at");
    assert_eq!(audience(json!({"type": "demographics", "field": "home-page", "op": "eq", "value": "x"})), "page");
}

fn columns_decide_what_names_stand_for() {
    let columns = [("total_renders", ColumnType::Integer), ("createdAt", ColumnType::Timestamp)];
    let table = Table { columns: columns.into_iter().map(|(name, stored)| (name.to_owned(), stored)).collect(), data: None };
    let settings = Settings::default();
    let one = |document: &Json, dialect: Dialect, users: Option<&Table>| {
        let document = read_one("in.json", &document.to_string(), dialect, Mapping { settings: &settings, users }).unwrap();
        canonical(&document)["conditions"][0].clone()
    };
    let renders = json!({"type": "condition", "attribute": "total_renders", "operator": ">", "value": 3});
    assert_eq!(one(&renders, Dialect::Tree, Some(&table))["type"], "user_attribute");
    assert_eq!(one(&renders, Dialect::Tree, None)["event_type"], json!(["video_rendered", "first_render_completed"]));
    let created = json!({"rules": [{"field": "createdAt", "operator": "is_set"}]});
    assert_eq!(one(&created, Dialect::Groups, Some(&table))["property"], "createdAt");
    assert_eq!(one(&created, Dialect::Groups, None)["property"], "created_at");
    let columns = [
        ("totalSessions", ColumnType::Integer),
        ("total_carts", ColumnType::Integer),
        (
            "price_preferences",
            ColumnType::Struct(vec![
                ("min_observed".to_owned(), ColumnType::Float),
                ("max_observed".to_owned(), ColumnType::Float),
            ]),
        ),
        ("price_traits", ColumnType::Json),
    ];
    let table = Table { columns: columns.into_iter().map(|(name, stored)| (name.to_owned(), stored)).collect(), data: None };
    let property = |rule: Json| {
        let document = json!({"rules": [rule]});
        let mapping = Mapping { settings: &settings, users: Some(&table) };
        let document = read_one("in.json", &document.to_string(), Dialect::Weighted, mapping).unwrap();
        canonical(&document)["scoring"]["rules"][0]["condition"]["property"].clone()
    };
    let statistic = |field: &str| property(json!({"type": "Statistic", "field": field, "value": 1}));
    assert_eq!(statistic("totalSessions"), "totalSessions");
    assert_eq!(statistic("totalCarts"), "total_carts");
    assert_eq!(statistic("priceTraits.likesDeals"), "price_traits.likesDeals");
    assert_eq!(statistic("unknownColumn"), "unknownColumn");
    let mean = json!({"mean": ["price_preferences.min_observed", "price_preferences.max_observed"]});
    assert_eq!(property(json!({"type": "PriceRange", "value": "1-2"})), mean);
}

fn what_a_form_cannot_say_is_refused_with_its_place() {
    let document = segmenta::syntax::parse(
        &segmenta::diagnostic::Source::new(
            "in.json",
            r#"{"id": "x", "logic": "and", "conditions": [{"not": {"type": "segment", "segment_id": "y"}}, {"type": "everyone"},
                {"type": "event", "measure": {"sum": "price"}, "operator": "gt", "value": 3},
                {"type": "user_attribute", "property": "a", "operator": "matches", "value": "b"}]}"#,
        ),
        segmenta::syntax::Format::Json,
    )
    .unwrap();
    let settings = Settings::default();
    let refused = |dialect: Dialect| {
        let report = export(&document, dialect, Mapping { settings: &settings, users: None }).unwrap_err();
        assert!(report.findings.iter().all(|finding| finding.code.name() == "untranslatable" && finding.help.is_some()));
        report.findings.into_iter().filter_map(|finding| finding.path).collect::<Vec<_>>()
    };
    let everyone = "/conditions/1/type";
    assert_eq!(refused(Dialect::Tree), ["/conditions/0/not", everyone, "/conditions/2/measure", "/conditions/3/operator"]);
    assert_eq!(refused(Dialect::Groups), ["/conditions/0/not", everyone, "/conditions/2/type", "/conditions/3/operator"]);
    assert_eq!(refused(Dialect::Audience), [everyone, "/conditions/2/type", "/conditions/3/operator"]);
}

/// One mistake is told once, by whichever stage finds it.
fn every_mistake_is_told_once() {
    let catalog = crate::language::catalog();
    let settings = Settings::default();
    for (dialect, text) in [
        (Dialect::Tree, r#"{"type": "condition", "attribute": "country", "operator": "=", "value": null}"#),
        (Dialect::Tree, r#"{"type": "or", "conditions": []}"#),
        (
            Dialect::Tree,
            r#"{"type": "or", "conditions": [{"type": "condition", "attribute": "cuontry", "operator": "=", "value": "x"}]}"#,
        ),
        (Dialect::Tree, r#"{"type": "condition", "atribute": "country", "operator": "=", "value": "x"}"#),
        (Dialect::Groups, r#"{"rules": []}"#),
        (Dialect::Groups, r#"{"name": "x"}"#),
        (Dialect::Groups, r#"{"rules": [{"field": "country", "operator": "equals", "value": {"a": 1}}]}"#),
        (Dialect::Groups, r#"{"rules": [{"field": "a..b", "operator": "equals", "value": 1}]}"#),
        (Dialect::Groups, r#"{"rules": [{"field": "visits", "operator": "between", "value": [1, 2, 3]}]}"#),
        (Dialect::Groups, r#"{"rules": [{"field": "visits", "operator": "between", "value": [2, 1]}]}"#),
        (Dialect::Audience, r#"{"filters": []}"#),
        (Dialect::Audience, r#"{"compose": {"and": []}}"#),
        (Dialect::Audience, r#"{"compose": {"ref": "No Id"}}"#),
        (Dialect::Audience, r#"{"filters": [{"type": "account-tenure", "op": "gt", "value": 1.5}]}"#),
        (Dialect::Layered, r#"{"logic": "and", "conditions": [{"type": "user_behaviour_signal"}]}"#),
        (Dialect::Layered, r#"{"logic": "and", "conditions": [{"type": "user_attribute"}]}"#),
    ] {
        let mapping = Mapping { settings: &settings, users: catalog.users.as_ref().map(|users| &users.table) };
        let mut import = read("in.json", text, dialect, mapping);
        import.report.append(check(&import.documents, &catalog, &Limits::default()).report);
        let findings: Vec<_> = import.report.findings.iter().map(|finding| (finding.code, &finding.message)).collect();
        assert_eq!(findings.len(), 1, "{text}: {findings:?}");
    }
}

fn what_is_doubtful_is_warned_of() {
    let rules = |count: usize, group: Json| {
        let rules: Vec<Json> =
            (0..count).map(|_| json!({"groupIndex": group, "field": "a", "operator": "equals", "value": "b"})).collect();
        json!({"rulesOperator": "OR", "rules": rules}).to_string()
    };
    let codes = |text: &str| found(text, Dialect::Groups).into_iter().map(|(code, _)| code).collect::<Vec<_>>();
    assert_eq!(codes(&rules(20, Json::Null)), Vec::<String>::new());
    assert_eq!(codes(&rules(21, Json::Null)), ["many-rules"]);
    assert_eq!(codes(&rules(2, json!(0))), ["single-alternative"]);
    assert_eq!(codes(&rules(1, json!(0))), ["single-alternative"]);
    let rule = json!({"field": "a", "operator": "equals", "value": "b"});
    let both = json!({"logic": "OR", "groups": [{"logic": "AND", "rules": [rule, rule]}]});
    assert_eq!(codes(&both.to_string()), ["single-alternative"]);
    assert_eq!(codes(&json!({"logic": "OR", "rules": [rule, rule]}).to_string()), Vec::<String>::new());
    // A metric is carried over, and holds for nobody.
    let metric =
        r#"{"logic": "or", "conditions": [{"type": "ai_visibility_metric", "metric": "rank", "operator": "lt", "value": 3}]}"#;
    assert_eq!(found(metric, Dialect::Layered), []);
}
