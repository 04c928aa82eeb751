//! The functions of an expression: their names, what they take, and one call of one of them.

use std::ops::Range;

use sqlparser::ast::{Expr, Function as SqlFunction, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, ObjectNamePart};

use super::grammar::{LIST, bytes};
use super::read::Reader;
use crate::diagnostic::{Code, Finding, nearest};
use crate::model::path::DocPath;

/// What a function makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// A group of the `logic` of this word.
    Group(&'static str),
    /// `at_least`.
    AtLeast,
    /// `everyone`.
    Everyone,
    /// A reference, with its operator.
    Segment(&'static str),
    /// The operator of this word on a value, with an operand or without.
    Test(&'static str),
    /// Any operator on a value.
    AnyTest,
    /// A stored value, with what it is read as.
    Value,
    /// A number derived from one path, by the key of a definition.
    Derived(&'static str),
    /// The mean of several paths.
    Mean,
    /// A measure over events.
    Events,
    /// A pattern of events over time, by its key.
    Lifecycle(&'static str),
    /// Events in order.
    Sequence,
    /// One event of a sequence; no condition by itself.
    Step,
    /// A rank.
    Top,
    /// A share.
    Sample,
    /// A signal of members of another segment, by its word.
    Signal(&'static str),
    /// `ai_visibility_metric`.
    AiVisibilityMetric,
    /// A whole rule that scores; no condition.
    Scoring,
    /// A condition with its weight, in a scoring.
    ScoringRule,
}

impl Form {
    /// Whether it says something about a subject, so that it has no place among the conditions on a single event.
    pub(super) fn is_of_a_subject(self) -> bool {
        match self {
            Self::Everyone
            | Self::Segment(_)
            | Self::Events
            | Self::Lifecycle(_)
            | Self::Sequence
            | Self::Top
            | Self::Sample
            | Self::Signal(_)
            | Self::AiVisibilityMetric => true,
            Self::Group(_)
            | Self::AtLeast
            | Self::Test(_)
            | Self::AnyTest
            | Self::Value
            | Self::Derived(_)
            | Self::Mean
            | Self::Step
            | Self::Scoring
            | Self::ScoringRule => false,
        }
    }
}

/// A function and what it takes.
#[derive(Debug)]
pub(super) struct Function {
    pub(super) name: &'static str,
    pub(super) form: Form,
    /// How many arguments without a name it takes, at least and at most.
    positional: (usize, usize),
    /// The names of the others.
    named: &'static [&'static str],
    /// An example, shown when a call has another form.
    example: &'static str,
}

const MANY: usize = usize::MAX;
const READ_AS: &[&str] = &["type", "ignore_case"];

/// The measures of a property: the name of the argument, and the key of a definition.
pub(super) const MEASURES: [(&str, &str); 8] = [
    ("sum", "sum"),
    ("avg", "avg"),
    ("min", "min"),
    ("max", "max"),
    ("count_distinct", "count_distinct"),
    ("first_value", "first"),
    ("last_value", "last"),
    ("most_frequent", "most_frequent"),
];

const EVENTS: &[&str] = &[
    "where",
    "measure",
    "sum",
    "avg",
    "min",
    "max",
    "count_distinct",
    "first_value",
    "last_value",
    "most_frequent",
    "last",
    "from",
    "to",
    "type",
    "ignore_case",
];

const SIGNAL: &[&str] = &["event_type", "product_id_property", "last", "from", "to", "type", "ignore_case"];

const fn function(
    name: &'static str,
    form: Form,
    positional: (usize, usize),
    named: &'static [&'static str],
    example: &'static str,
) -> Function {
    Function { name, form, positional, named, example }
}

/// Every function.
pub(super) const FUNCTIONS: &[Function] = &[
    function("all_of", Form::Group("and"), (0, MANY), &[], "all_of(plan = 'pro', age >= 18)"),
    function("any_of", Form::Group("or"), (0, MANY), &[], "any_of(plan = 'pro', age >= 18)"),
    function("at_least", Form::AtLeast, (1, MANY), &[], "at_least(2, plan = 'pro', age >= 18, consent IS TRUE)"),
    function("everyone", Form::Everyone, (0, 0), &[], "everyone()"),
    function("in_segment", Form::Segment("in"), (1, 1), &[], "in_segment('churned')"),
    function("not_in_segment", Form::Segment("not_in"), (1, 1), &[], "not_in_segment('churned')"),
    function("contains", Form::Test("contains"), (2, 2), READ_AS, "contains(email, '@example.')"),
    function("does_not_contain", Form::Test("does_not_contain"), (2, 2), READ_AS, "does_not_contain(email, '@example.')"),
    function("starts_with", Form::Test("starts_with"), (2, 2), READ_AS, "starts_with(email, 'info@')"),
    function("ends_with", Form::Test("ends_with"), (2, 2), READ_AS, "ends_with(email, '.org')"),
    function("matches", Form::Test("matches"), (2, 2), READ_AS, "matches(email, '^[a-z]+@')"),
    function("contains_any", Form::Test("contains_any"), (2, 2), READ_AS, "contains_any(tags, ['new', 'sale'])"),
    function("contains_all", Form::Test("contains_all"), (2, 2), READ_AS, "contains_all(tags, ['new', 'sale'])"),
    function("is_set", Form::Test("is_set"), (1, 1), READ_AS, "is_set(email)"),
    function("is_not_set", Form::Test("is_not_set"), (1, 1), READ_AS, "is_not_set(email)"),
    function("test", Form::AnyTest, (2, 2), &["value", "value2", "type", "ignore_case"], "test(age, 'gte', value => 18)"),
    function("value", Form::Value, (1, 1), READ_AS, "value(age, type => 'number')"),
    function("days_since", Form::Derived("days_since"), (1, 1), READ_AS, "days_since(created_at)"),
    function("days_to_anniversary", Form::Derived("days_to_anniversary"), (1, 1), READ_AS, "days_to_anniversary(birthday)"),
    function("year", Form::Derived("year"), (1, 1), READ_AS, "year(created_at)"),
    function("month", Form::Derived("month"), (1, 1), READ_AS, "month(created_at)"),
    function("day", Form::Derived("day"), (1, 1), READ_AS, "day(created_at)"),
    function("weekday", Form::Derived("weekday"), (1, 1), READ_AS, "weekday(created_at)"),
    function("hour", Form::Derived("hour"), (1, 1), READ_AS, "hour(created_at)"),
    function("mean", Form::Mean, (1, MANY), READ_AS, "mean(price.low, price.high)"),
    function("events", Form::Events, (0, MANY), EVENTS, "events('order_completed', last => '30d', sum => 'price')"),
    function(
        "first_time",
        Form::Lifecycle("first_time"),
        (0, MANY),
        &["where", "last", "from", "to"],
        "first_time('order_completed', last => '30d')",
    ),
    function(
        "stopped",
        Form::Lifecycle("stopped"),
        (0, MANY),
        &["where", "active", "quiet"],
        "stopped('order_completed', active => '60d', quiet => '14d')",
    ),
    function(
        "restarted",
        Form::Lifecycle("restarted"),
        (0, MANY),
        &["where", "quiet", "recent"],
        "restarted('order_completed', quiet => '30d', recent => '7d')",
    ),
    function(
        "regular",
        Form::Lifecycle("regular"),
        (0, MANY),
        &["where", "period", "periods", "at_least", "count"],
        "regular('order_completed', period => '1w', periods => 8, at_least => 6)",
    ),
    function(
        "sequence",
        Form::Sequence,
        (0, MANY),
        &["within", "same", "last", "from", "to"],
        "sequence(step('product_viewed'), step('order_completed'), within => '7d', same => 'product_id')",
    ),
    function("step", Form::Step, (0, MANY), &["where", "absent"], "step('order_completed', where => (price >= 50))"),
    function(
        "top",
        Form::Top,
        (1, 1),
        &["order", "count", "percent"],
        "top(events('order_completed', sum => 'price'), count => 100)",
    ),
    function("sample", Form::Sample, (1, 1), &["salt"], "sample(10, salt => 'exp-1')"),
    function(
        "purchased_by_segment",
        Form::Signal("purchased_by_segment"),
        (1, 1),
        SIGNAL,
        "purchased_by_segment('vip', last => '30d') >= 10",
    ),
    function(
        "viewed_by_segment",
        Form::Signal("viewed_by_segment"),
        (1, 1),
        SIGNAL,
        "viewed_by_segment('vip', last => '30d') >= 10",
    ),
    function(
        "scoring",
        Form::Scoring,
        (1, MANY),
        &["combination", "threshold"],
        "scoring(rule(visits >= 4, weight => 2), country = 'US', threshold => 0.35)",
    ),
    function("rule", Form::ScoringRule, (1, 1), &["weight"], "rule(visits >= 4, weight => 2)"),
    function("ai_visibility_metric", Form::AiVisibilityMetric, (0, 1), READ_AS, "ai_visibility_metric('share_of_voice') >= 5"),
];

/// A call: which function, where, and with what.
#[derive(Debug)]
pub(super) struct Call<'e> {
    pub(super) form: Form,
    pub(super) name: &'static str,
    /// Where the name stands.
    pub(super) name_span: Range<usize>,
    /// Where all of it stands.
    pub(super) span: Range<usize>,
    /// The arguments without a name.
    pub(super) positional: Vec<&'e Expr>,
    named: Vec<(&'e Ident, &'e Expr)>,
}

impl<'e> Call<'e> {
    /// The argument of a name, and where its name stands.
    pub(super) fn named(&self, name: &str) -> Option<(Range<usize>, &'e Expr)> {
        self.named.iter().find(|(ident, _)| ident.value == name).map(|(ident, expr)| (bytes(ident.span), *expr))
    }
}

/// The parts of a call as they were written: its name, and its arguments with and without names.
type Written<'e> = (&'e Ident, Vec<&'e Expr>, Vec<(&'e Ident, &'e Expr)>);

fn written(function: &SqlFunction) -> Option<Written<'_>> {
    let [ObjectNamePart::Identifier(name)] = function.name.0.as_slice() else { return None };
    let FunctionArguments::List(list) = &function.args else { return None };
    let (mut positional, mut named) = (Vec::new(), Vec::new());
    for arg in &list.args {
        match arg {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => positional.push(expr),
            FunctionArg::Named { name, arg: FunctionArgExpr::Expr(expr), .. } => named.push((name, expr)),
            FunctionArg::Unnamed(_) | FunctionArg::Named { .. } | FunctionArg::ExprNamed { .. } => return None,
        }
    }
    Some((name, positional, named))
}

/// The values of a list in brackets, and the opening bracket; `None` for any other call.
pub(super) fn listed(function: &SqlFunction) -> Option<(&Ident, Vec<&Expr>)> {
    let (name, positional, _) = written(function)?;
    (name.value == LIST).then_some((name, positional))
}

/// The function that a call names, whatever its arguments.
pub(super) fn form_of(expr: &Expr) -> Option<Form> {
    let Expr::Function(function) = expr else { return None };
    lookup(written(function)?.0).map(|function| function.form)
}

fn lookup(name: &Ident) -> Option<&'static Function> {
    FUNCTIONS.iter().find(|function| function.name.eq_ignore_ascii_case(&name.value))
}

impl Reader<'_> {
    /// A call of a known function with arguments that it takes.
    pub(super) fn call<'e>(&mut self, function: &'e SqlFunction, place: &DocPath) -> Option<Call<'e>> {
        let (name, positional, named) = written(function)?;
        let name_span = bytes(name.span);
        let span = name_span.start..self.closing(name_span.start);
        if name.value == LIST {
            let finding = Finding::new(Code::WrongKind, "a list is no condition and no property")
                .with_help("Compare a property with it: `country IN ('US', 'CA')`, `contains_any(tags, ['new'])`.");
            self.refuse(span, place, finding);
            return None;
        }
        let Some(known) = lookup(name) else {
            let help = match nearest(&name.value, FUNCTIONS.iter().map(|function| function.name)) {
                Some(near) => format!("Did you mean `{near}`?"),
                None => foreign(&name.value),
            };
            let finding = Finding::new(Code::UnknownWord, format!("unknown function `{}`", name.value)).with_help(help);
            self.refuse(name_span, place, finding);
            return None;
        };
        let mut fits = self.named_arguments(known, &named, place);
        let (least, most) = known.positional;
        if !(least..=most).contains(&positional.len()) {
            let expected = match (least, most) {
                (0, 0) => "no argument without a name".to_owned(),
                (1, 1) => "one argument without a name".to_owned(),
                (least, most) if least == most => format!("{least} arguments without a name"),
                (least, _) => format!("at least {least} argument without a name"),
            };
            let message = format!("`{}` takes {expected}, not {}", known.name, positional.len());
            let code = if positional.len() < least { Code::MissingOperand } else { Code::UnexpectedOperand };
            self.refuse(span.clone(), place, Finding::new(code, message).with_help(format!("Write `{}`.", known.example)));
            fits = false;
        }
        fits.then_some(Call { form: known.form, name: known.name, name_span, span, positional, named })
    }

    fn named_arguments(&mut self, known: &Function, named: &[(&Ident, &Expr)], place: &DocPath) -> bool {
        let mut fits = true;
        for (index, (ident, _)) in named.iter().enumerate() {
            let name = ident.value.as_str();
            let absent = known.named.iter().copied().filter(|other| !named.iter().any(|(ident, _)| ident.value == *other));
            let finding = if !known.named.contains(&name) {
                let help = match nearest(name, absent) {
                    Some(near) => format!("Did you mean `{near}`?"),
                    None if known.named.is_empty() => format!("Write `{}`.", known.example),
                    None => {
                        format!("The arguments with a name are {}.", super::super::decode::list_words(known.named.iter().copied()))
                    }
                };
                Finding::new(Code::UnknownKey, format!("`{}` has no argument `{name}`", known.name)).with_help(help)
            } else if named.iter().take(index).any(|(earlier, _)| earlier.value == name) {
                Finding::new(Code::DuplicateKey, format!("the argument `{name}` stands twice in one call"))
                    .with_help("Keep one of them.")
            } else {
                continue;
            };
            self.refuse(bytes(ident.span), place, finding);
            fits = false;
        }
        fits
    }
}

/// What to write instead of a function that other dialects of SQL have.
fn foreign(name: &str) -> String {
    match name.to_ascii_lowercase().as_str() {
        "lower" | "upper" => "Write `value(country, ignore_case => true) = 'us'` to compare without regard to case.".to_owned(),
        "cast" | "date" | "timestamp" | "to_date" => {
            "Write `value(property, type => 'date')` to read a value as a type.".to_owned()
        }
        "count" | "sum" | "avg" | "min" | "max" => {
            "Measure events: `events('order_completed', last => '30d', sum => 'price') >= 500`.".to_owned()
        }
        "now" | "current_date" | "current_timestamp" | "datediff" | "date_sub" | "dateadd" => {
            "Dates are texts such as `'-30d'` or `'today'`; `days_since(created_at)` is an age in days.".to_owned()
        }
        "exists" | "isnull" | "coalesce" | "nullif" | "ifnull" => "`is_set` and `is_not_set` ask for a value.".to_owned(),
        _ => "Among the functions are `events`, `in_segment`, `contains`, `is_set`, `days_since` and `at_least`.".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnostic::Source;
    use crate::model::condition::Subject;
    use crate::syntax::parse_expression;

    /// What a message tells an author to write can be written, and the documentation has it.
    #[test]
    fn every_function_is_documented_and_its_example_is_read() {
        let page = include_str!("../../../docs/expressions.md");
        for function in FUNCTIONS {
            assert!(
                page.contains(&format!("{}(", function.name)) || page.contains(&format!("`{}`", function.name)),
                "{}",
                function.name
            );
            let example = match function.form {
                Form::Value | Form::Derived(_) | Form::Mean => format!("{} > 1", function.example),
                Form::Step => format!("sequence({0}, {0})", function.example),
                Form::ScoringRule => format!("scoring({})", function.example),
                _ => function.example.to_owned(),
            };
            let source = Source::new("example", example.as_str());
            let document = parse_expression(&source, &"a".parse().unwrap(), Subject::User).unwrap();
            assert_eq!(document.report().findings, [], "{example}");
        }
    }
}
