//! The shape of a rule: groups of one, conditions that stand twice, and branches that always or never hold.
//!
//! A mistake is told once, where it is made: what follows from it for the groups around it is not told again. `everyone` is meant
//! when it stands alone, and a metric without a source has a warning of its own.

use std::collections::BTreeMap;

use super::Found;
use super::exclusion::{Domain, Literal, nothing_passes};
use super::uses::event_uses;
use crate::check::{CheckedSegment, ElementType, Probes, Reading};
use crate::diagnostic::{Code, Finding};
use crate::ir::{
    Feature, Formula, OutlineNode, RowOutlineNode, RowTest, SubjectTest, Test, Value, normalize_formula, normalize_rows, outline,
    outline_rows,
};
use crate::model::condition::TopShare;
use crate::model::path::DocPath;

/// Adds what is doubtful about the shape of a segment's rule, and of the conditions on events in it.
pub(super) fn lint(segment: &CheckedSegment, probes: &Probes, found: &mut Found<'_>) {
    if let Some(tree) = outline(segment) {
        let root = Branch::of_subjects(&tree);
        judge(&root, probes, found);
    }
    for events in event_uses(segment).into_iter().filter(|events| !events.filter.is_empty()) {
        let place = events.path.key("where");
        let rows = outline_rows(events.filter, &place);
        let children: Vec<_> = rows.iter().map(Branch::of_rows).collect();
        let formula = Formula::All(rows.iter().map(|row| row.formula.clone()).collect());
        let list = Branch { path: &place, label: "", formula: &formula, children, is_written: false, is_graded: false };
        judge(&list, probes, found);
    }
}

/// A node of the author's tree, over subjects or over events.
struct Branch<'a, L> {
    path: &'a DocPath,
    label: &'a str,
    formula: &'a Formula<L>,
    children: Vec<Self>,
    /// It was written as a group below others; the rule as a whole and a list of conditions on events were not.
    is_written: bool,
    /// It has a degree: what excludes each other may both be near.
    is_graded: bool,
}

impl<'a> Branch<'a, SubjectTest> {
    fn of_subjects(node: &'a OutlineNode) -> Self {
        let OutlineNode { path, label, formula, children, degree, .. } = node;
        let children = children.iter().map(Self::of_subjects).collect();
        Self { path, label, formula, children, is_written: path.parent().is_some(), is_graded: degree.is_some() }
    }
}

impl<'a> Branch<'a, RowTest> {
    fn of_rows(node: &'a RowOutlineNode) -> Self {
        let RowOutlineNode { path, label, formula, children } = node;
        let children = children.iter().map(Self::of_rows).collect();
        Self { path, label, formula, children, is_written: true, is_graded: false }
    }
}

/// A leaf of a formula that tests one value.
pub(super) trait Tested: Clone + Ord {
    /// What is tested.
    type Of: Ord;

    /// The value and its test; `None` of a leaf that is no such test.
    fn parts(&self) -> Option<(Self::Of, &Test)>;

    /// Which values there are.
    fn domain(of: &Self::Of) -> Domain;

    /// The leaf holds for nobody, whatever else.
    fn is_void(&self) -> bool;

    fn normal(formula: &Formula<Self>) -> Formula<Self>;
}

impl Tested for SubjectTest {
    type Of = Feature;

    fn parts(&self) -> Option<(Feature, &Test)> {
        match self {
            Self::Feature(Feature::Attribute(value), test) => Some((Feature::Attribute(compared(value)), test)),
            Self::Feature(feature, test) => Some((feature.clone(), test)),
            Self::Member(_) | Self::Top(_) | Self::Compare(_) | Self::Scored(_) => None,
        }
    }

    fn domain(feature: &Feature) -> Domain {
        Domain::of_feature(feature)
    }

    fn is_void(&self) -> bool {
        match self {
            Self::Top(ranking) => match &ranking.share {
                TopShare::Count(count) => *count == 0,
                TopShare::Percent(percent) => percent.is_zero(),
            },
            Self::Feature(..) | Self::Member(_) | Self::Compare(_) | Self::Scored(_) => false,
        }
    }

    fn normal(formula: &Formula<Self>) -> Formula<Self> {
        normalize_formula(formula)
    }
}

impl Tested for RowTest {
    type Of = Value;

    fn parts(&self) -> Option<(Value, &Test)> {
        Some((compared(&self.value), &self.test))
    }

    fn domain(value: &Value) -> Domain {
        Domain::of_value(value)
    }

    fn is_void(&self) -> bool {
        false
    }

    fn normal(formula: &Formula<Self>) -> Formula<Self> {
        normalize_rows(formula)
    }
}

/// The value as it is compared with others: an array is the same whatever its elements are read as.
fn compared(value: &Value) -> Value {
    match value {
        Value::Stored(access, Reading::Elements(_)) => Value::Stored(access.clone(), Reading::Elements(ElementType::Any)),
        Value::Stored(..) | Value::DaysSince(_) | Value::DaysToAnniversary(_) | Value::Part(..) | Value::Mean(_) => value.clone(),
    }
}

/// What is known of a branch.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Verdict {
    /// It depends on the subject, or nothing is known.
    Open,
    /// It is `everyone`, or nothing but such.
    Everyone,
    /// It always (true) or never (false) holds.
    Constant(bool),
    /// It does, and was told of, or follows from what was.
    Told(bool),
}

impl Verdict {
    fn holds(self) -> Option<bool> {
        match self {
            Self::Open => None,
            Self::Everyone => Some(true),
            Self::Constant(value) | Self::Told(value) => Some(value),
        }
    }

    fn negated(self) -> Self {
        match self {
            Self::Open => Self::Open,
            Self::Everyone => Self::Constant(false),
            Self::Constant(value) => Self::Constant(!value),
            Self::Told(value) => Self::Told(!value),
        }
    }
}

/// Adds what is doubtful about a branch and those below it.
fn judge<L: Tested>(branch: &Branch<'_, L>, probes: &Probes, found: &mut Found<'_>) -> Verdict {
    if branch.children.is_empty() {
        return judge_leaf(branch, probes, found);
    }
    let verdicts: Vec<Verdict> = branch.children.iter().map(|child| judge(child, probes, found)).collect();
    repeated(branch, found);
    lonely(branch, found);
    let verdict = match branch.formula {
        Formula::All(_) => joined(&verdicts, true),
        Formula::Any(_) => joined(&verdicts, false),
        Formula::Not(_) => verdicts.first().copied().map_or(Verdict::Open, Verdict::negated),
        Formula::AtLeast { count, .. } => counted(&verdicts, *count),
        Formula::Constant(_) | Formula::Leaf(_) => Verdict::Open,
    };
    match verdict {
        Verdict::Constant(value) => {
            decided(branch, &verdicts, value, found);
            Verdict::Told(value)
        }
        Verdict::Open => excluded(branch, probes, found),
        other @ (Verdict::Everyone | Verdict::Told(_)) => other,
    }
}

/// Tells of a group that does not depend on the subject, at the condition that decides it alone if there is one.
fn decided<L>(branch: &Branch<'_, L>, verdicts: &[Verdict], value: bool, found: &mut Found<'_>) {
    let is_group = matches!(branch.formula, Formula::All(_) | Formula::Any(_));
    let deciding = branch.children.iter().zip(verdicts).find(|(_, verdict)| is_group && verdict.holds() == Some(value));
    match deciding {
        Some((child, _)) => {
            let message = format!("`{}` decides the group, which {} holds", child.label, word(value));
            tell(child.path, value, &message, "Leave it out, or the whole group.", found);
        }
        None => tell(branch.path, value, &whole(value), "Leave it out, or correct the conditions that decide it.", found),
    }
}

fn judge_leaf<L: Tested>(leaf: &Branch<'_, L>, probes: &Probes, found: &mut Found<'_>) -> Verdict {
    match leaf.formula {
        Formula::Constant(true) => return Verdict::Everyone,
        Formula::Constant(false) => return Verdict::Open,
        Formula::All(_) | Formula::Any(_) | Formula::AtLeast { .. } | Formula::Not(_) | Formula::Leaf(_) => {}
    }
    let normal = L::normal(leaf.formula);
    for value in [false, true] {
        let mut literals = Vec::new();
        collect(&normal, !value, &mut literals);
        if exclude(&literals, probes) {
            let message = format!("`{}` {} holds", leaf.label, word(value));
            tell(leaf.path, value, &message, if value { "Every value passes it." } else { "No value passes it." }, found);
            return Verdict::Told(value);
        }
    }
    Verdict::Open
}

/// `All` when `deciding` is true, else `Any`: one that does not hold decides the one, one that holds the other.
fn joined(verdicts: &[Verdict], all: bool) -> Verdict {
    let settles = |verdict: &&Verdict| verdict.holds() == Some(!all);
    if verdicts.iter().all(|verdict| *verdict == Verdict::Everyone) {
        return Verdict::Everyone;
    }
    if let Some(told) = verdicts.iter().find(|verdict| settles(verdict) && matches!(verdict, Verdict::Told(_))) {
        return *told;
    }
    if verdicts.iter().any(|verdict| settles(&verdict)) {
        return Verdict::Constant(!all);
    }
    match verdicts.iter().all(|verdict| verdict.holds().is_some()) {
        true => Verdict::Told(all),
        false => Verdict::Open,
    }
}

fn counted(verdicts: &[Verdict], count: usize) -> Verdict {
    let holding = verdicts.iter().filter(|verdict| verdict.holds() == Some(true)).count();
    let failing = verdicts.iter().filter(|verdict| verdict.holds() == Some(false)).count();
    let value = if holding >= count {
        true
    } else if verdicts.len() - failing < count {
        false
    } else {
        return Verdict::Open;
    };
    let told = verdicts.contains(&Verdict::Told(value));
    if told { Verdict::Told(value) } else { Verdict::Constant(value) }
}

/// Conditions of a group that exclude each other, or of which one always holds.
fn excluded<L: Tested>(branch: &Branch<'_, L>, probes: &Probes, found: &mut Found<'_>) -> Verdict {
    if branch.is_graded {
        return Verdict::Open;
    }
    // Alternatives always hold when their negations exclude each other.
    let value = match branch.formula {
        Formula::All(_) => false,
        Formula::Any(_) => true,
        Formula::AtLeast { .. } | Formula::Not(_) | Formula::Constant(_) | Formula::Leaf(_) => return Verdict::Open,
    };
    let normal: Vec<Formula<L>> = branch.children.iter().map(|child| L::normal(child.formula)).collect();
    let literals_of = |index: usize| {
        let mut literals = Vec::new();
        if let Some(formula) = normal.get(index) {
            collect(formula, !value, &mut literals);
        }
        literals
    };
    let each: Vec<_> = (0..normal.len()).map(literals_of).collect();
    let negates = |one: &Formula<L>, other: &Formula<L>| if let Formula::Not(inner) = one { **inner == *other } else { false };
    let opposed = |one: &Formula<L>, other: &Formula<L>| negates(one, other) || negates(other, one);
    let all: Vec<_> = each.iter().flatten().copied().collect();
    // What two conditions decide, all of them decide: only then it is worth to look for the two.
    if !exclude(&all, probes) && !normal.iter().any(|one| normal.iter().any(|other| opposed(one, other))) {
        return Verdict::Open;
    }
    for (later, child) in branch.children.iter().enumerate() {
        for (earlier, first) in branch.children.iter().enumerate().take(later) {
            let are_opposed = normal.get(earlier).zip(normal.get(later)).is_some_and(|(one, other)| opposed(one, other));
            let together: Vec<_> = [earlier, later].iter().filter_map(|index| each.get(*index)).flatten().copied().collect();
            if are_opposed || exclude(&together, probes) {
                let (message, help) = pair(first.label, child.label, value);
                tell(child.path, value, &message, help, found);
                return Verdict::Told(value);
            }
        }
    }
    tell(branch.path, value, &whole(value), "The conditions of the group decide it among themselves.", found);
    Verdict::Told(value)
}

fn pair(first: &str, second: &str, value: bool) -> (String, &'static str) {
    if value {
        let message = format!("`{first}` or `{second}` always holds");
        return (message, "Join them with `and` if both are meant, or leave the group out.");
    }
    (format!("`{first}` and `{second}` exclude each other"), "Join them with `or` if either is meant, or correct one of them.")
}

fn whole(value: bool) -> String {
    format!("this {} holds", word(value))
}

fn word(value: bool) -> &'static str {
    if value { "always" } else { "never" }
}

fn tell(path: &DocPath, value: bool, message: &str, help: &str, found: &mut Found<'_>) {
    let code = if value { Code::AlwaysHolds } else { Code::NeverHolds };
    found.add(path, Finding::new(code, message).with_help(help));
}

/// The leaves that must hold, or must not, for a formula to be `wanted`; some of them where others cannot be told apart.
pub(super) fn collect<'a, L>(formula: &'a Formula<L>, wanted: bool, literals: &mut Vec<(bool, &'a L)>) {
    match (formula, wanted) {
        (Formula::Leaf(leaf), _) => literals.push((wanted, leaf)),
        (Formula::Not(inner), _) => collect(inner, !wanted, literals),
        (Formula::All(of), true) | (Formula::Any(of), false) => {
            of.iter().for_each(|formula| collect(formula, wanted, literals));
        }
        (Formula::All(_), false) | (Formula::Any(_), true) | (Formula::AtLeast { .. } | Formula::Constant(_), _) => {}
    }
}

/// Whether leaves cannot be as they must all at once.
pub(super) fn exclude<L: Tested>(literals: &[(bool, &L)], probes: &Probes) -> bool {
    let is_opposed = |(must, leaf): &(bool, &L)| *must && literals.contains(&(false, leaf));
    let is_void = |(must, leaf): &(bool, &L)| *must && leaf.is_void();
    if literals.iter().any(|literal| is_opposed(literal) || is_void(literal)) {
        return true;
    }
    let mut by_value: BTreeMap<L::Of, Vec<Literal<'_>>> = BTreeMap::new();
    for (must, leaf) in literals {
        if let Some((of, test)) = leaf.parts() {
            by_value.entry(of).or_default().push((*must, test));
        }
    }
    by_value.iter().any(|(of, tests)| nothing_passes(tests, &L::domain(of), probes))
}

/// Conditions that stand twice in a group.
fn repeated<L: Tested>(branch: &Branch<'_, L>, found: &mut Found<'_>) {
    let counts = match branch.formula {
        Formula::All(_) | Formula::Any(_) => "stands twice in this group",
        Formula::AtLeast { .. } => "is counted twice",
        Formula::Not(_) | Formula::Constant(_) | Formula::Leaf(_) => return,
    };
    let normal: Vec<Formula<L>> = branch.children.iter().map(|child| L::normal(child.formula)).collect();
    for (index, (child, formula)) in branch.children.iter().zip(&normal).enumerate() {
        // Metrics without a source have nothing in common but that they hold for nobody.
        let is_plain = matches!(formula, Formula::Constant(_));
        if !is_plain && normal.iter().take(index).any(|earlier| earlier == formula) {
            let finding = Finding::new(Code::RepeatedCondition, format!("`{}` {counts}", child.label));
            found.add(child.path, finding.with_help("Leave one of them out, or write what was meant instead."));
        }
    }
}

/// A group of one condition.
fn lonely<L>(branch: &Branch<'_, L>, found: &mut Found<'_>) {
    if branch.children.len() != 1 {
        return;
    }
    let (key, code, message) = match branch.formula {
        Formula::Any(_) => ("logic", Code::SingleAlternative, "`or` of one condition"),
        Formula::AtLeast { .. } => ("at_least", Code::SingleAlternative, "a choice among one condition"),
        Formula::All(_) if branch.is_written => ("logic", Code::IdleGroup, "`and` of one condition"),
        Formula::All(_) | Formula::Not(_) | Formula::Constant(_) | Formula::Leaf(_) => return,
    };
    let help = if branch.is_written || key == "at_least" {
        "Write the condition in the place of the group, or add the others."
    } else {
        "Write `and`, or add the alternatives."
    };
    found.add(&branch.path.key(key), Finding::new(code, message).with_help(help));
}
