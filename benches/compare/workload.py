"""Segments as data: features, attributes and trees over them, from which every engine's own text is printed.

A feature is one value per user out of the events; an attribute one out of the user's row. Which value a feature compares with is left
open as a share of the users, and `calibrate.py` fills it in from the data, so that any number of segments comes to the wanted total.
The same number of segments is the same segments, always.
"""

import random
from dataclasses import dataclass

AS_OF = "2026-01-01T00:00:00Z"
TENANT = "bench"
WINDOWS = (7, 14, 30, 60, 90, None)
ITEM_TYPES = (
    "product_viewed", "added_to_cart", "checkout_started", "order_completed", "added_to_wishlist", "removed_from_cart",
    "review_submitted", "order_refunded",
)
OTHER_TYPES = (
    "page_viewed", "email_sent", "product_searched", "app_opened", "email_opened", "email_clicked", "support_ticket_created",
)


@dataclass(frozen=True)
class Where:
    """One condition on an event's property; a property with a dot is a path into the JSON of `properties`."""

    property: str
    operator: str  # eq, gte
    value: object


@dataclass(frozen=True)
class Feature:
    """A measure over the events of some types (None: all) that pass a condition, within the last days (None: all history)."""

    types: tuple | None
    measure: str  # count, sum, avg, min, max, count_distinct, active_days, days_since_last, last
    property: str | None
    where: Where | None
    days: int | None

    @property
    def is_zero_without_events(self):
        return self.measure in ("count", "sum", "count_distinct", "active_days")

    @property
    def is_whole(self):
        return self.measure in ("count", "count_distinct", "active_days")

    def json_paths(self):
        """Paths into `properties` that it reads."""
        paths = [self.property, self.where.property if self.where else None]
        return [path for path in paths if path and "." in path]


@dataclass(frozen=True)
class Attribute:
    """What is asked of a user's row: the property as segmenta names it, and the operator."""

    name: str
    operator: str
    value: object


@dataclass(frozen=True)
class Node:
    """`kind` is and, or, not, at_least, feature, attribute or reference; what else is set goes by it."""

    kind: str
    parts: tuple = ()
    count: int = 0
    feature: int = 0
    operator: str = ""
    share: float = 0.0
    value: object = None
    attribute: Attribute | None = None
    segment: str = ""


@dataclass(frozen=True)
class Workload:
    features: tuple
    segments: dict  # id -> Node


def families():
    """Features without their window, in an order in which the first 34 cover every event type and measure."""
    def family(types, measure="count", property=None, where=None):
        return ((types,) if isinstance(types, str) else types, measure, property, where)

    first = [family(event_type) for event_type in ITEM_TYPES + OTHER_TYPES]
    first += [
        family(None),
        family(None, "active_days"),
        family(None, "days_since_last"),
        family(("email_opened", "email_clicked")),
        family("product_viewed", where=Where("price", "gte", 100)),
        family("added_to_cart", where=Where("quantity", "gte", 2)),
        family("order_completed", where=Where("currency", "eq", "EUR")),
        family("page_viewed", where=Where("properties.page.path", "eq", "/pricing")),
        family("email_sent", where=Where("properties.campaign", "eq", "winter-sale")),
        family("review_submitted", where=Where("properties.stars", "gte", 4)),
        family("order_completed", "sum", "amount"),
        family("added_to_cart", "sum", "price"),
        family("checkout_started", "avg", "price"),
        family("product_viewed", "max", "price"),
        family("product_viewed", "count_distinct", "product_id"),
        family("order_completed", "count_distinct", "product_id"),
        family("app_opened", "active_days"),
        family("order_completed", "days_since_last"),
        family("product_viewed", "last", "currency"),
    ]
    more = []
    for event_type in ITEM_TYPES:
        for price in (25, 50, 200):
            more.append(family(event_type, where=Where("price", "gte", price)))
        for currency in ("USD", "EUR", "GBP"):
            more.append(family(event_type, where=Where("currency", "eq", currency)))
        more += [family(event_type, measure, "price") for measure in ("sum", "avg", "min", "max")]
        more.append(family(event_type, "days_since_last"))
    for event_type in ("added_to_cart", "checkout_started", "order_completed"):
        more += [family(event_type, where=Where("quantity", "gte", quantity)) for quantity in (3, 5)]
        more.append(family(event_type, "sum", "quantity"))
    more += [family(event_type, "active_days") for event_type in ("product_viewed", "order_completed", "page_viewed", "email_opened")]
    for path in ("/", "/help", "/sale", "/new"):
        more.append(family("page_viewed", where=Where("properties.page.path", "eq", path)))
    for event_type in ("email_opened", "email_clicked"):
        more += [family(event_type, where=Where("properties.campaign", "eq", name)) for name in ("welcome", "loyalty")]
    more.append(family("support_ticket_created", where=Where("properties.priority", "gte", 3)))
    more.append(family("app_opened", "last", "properties.device"))
    more = [other for other in more if other not in first]
    random.Random("families").shuffle(more)
    return first + more


def features(count):
    """The features of a workload: mostly families in several windows each, which differ in nothing else."""
    available = families()
    chosen = available[: max(34, count * 2 // 9)]
    combined = [Feature(types, measure, prop, where, days) for types, measure, prop, where in chosen for days in WINDOWS]
    rng = random.Random(f"windows-{count}")
    # Every family once, then windows of them until there are enough.
    picked = [combined[position * len(WINDOWS) + position % len(WINDOWS)] for position in range(len(chosen))][:count]
    rest = [feature for feature in combined if feature not in set(picked)]
    rng.shuffle(rest)
    # Distinct values and last values cost everybody most; one window of each in a hundred features is a realistic share.
    costly = ("count_distinct", "last")
    rest.sort(key=lambda feature: feature.measure in costly)
    picked += rest[: count - len(picked)]
    assert len(set(picked)) == count, f"there are only {len(combined)} features"
    return tuple(picked)


ATTRIBUTES = [
    Attribute("country", "in", ("US", "CA")),
    Attribute("country", "in", ("DE", "FR", "ES", "NL", "PL")),
    Attribute("country", "not_in", ("US", "GB")),
    Attribute("plan", "in", ("premium", "business")),
    Attribute("plan", "in", ("free", "basic")),
    Attribute("lifetime_value", "gte", 100),
    Attribute("lifetime_value", "gte", 500),
    Attribute("created_at", "days_since_gte", 365),
    Attribute("created_at", "days_since_lte", 200),
    Attribute("email_verified", "is_true", None),
    Attribute("marketing_consent", "neq_false", None),
    Attribute("tags", "contains", "newsletter"),
    Attribute("tags", "contains", "referred"),
    Attribute("interests.tech", "gte", 0.25),
    Attribute("affinities.gadgets", "gte", 0.125),
    Attribute("attributes.loyalty.tier", "in", ("silver", "gold", "platinum")),
    Attribute("total_sessions", "gte", 20),
    Attribute("email", "ends_with", "@example.com"),
]


def workload(segments, features_wanted):
    """So many segments over so many features, every feature used; about a tenth of the segments refer to another one."""
    rng = random.Random(f"segments-{segments}-{features_wanted}")
    pool = features(features_wanted)
    asked = []
    while len(asked) < segments * 3:
        order = list(range(len(pool)))
        rng.shuffle(order)
        asked += order
    asked = iter(asked)
    made, referable = {}, []
    for number in range(segments):
        name = f"s{number:04}"
        node, refers = shape(number, rng, pool, asked, referable)
        made[name] = node
        if not refers or number % 3 == 0:
            referable.append(name)
    return Workload(pool, made)


def shape(number, rng, pool, asked, referable):
    """The rule of a segment, and whether it refers to another."""
    def measured():
        return leaf(next(asked), pool, rng)

    def attribute():
        return Node("attribute", attribute=rng.choice(ATTRIBUTES))

    def none_of(index):
        # An absence: nobody without events may be forgotten.
        if pool[index].measure == "count":
            return Node("feature", feature=index, operator="eq", value=0)
        return Node("not", (leaf(index, pool, rng),))

    kind = number % 10
    if kind == 7 and referable:
        return Node("and", (Node("reference", segment=rng.choice(referable), operator=rng.choice(("in", "not_in"))), measured())), True
    return {
        0: lambda: Node("and", (measured(), attribute())),
        1: lambda: Node("and", (measured(), measured())),
        2: lambda: Node("and", (measured(), Node("or", (attribute(), measured())))),
        3: lambda: Node("and", (measured(), none_of(next(asked)))),
        4: lambda: Node("at_least", (measured(), measured(), attribute()), count=2),
        5: lambda: Node("or", (Node("and", (measured(), attribute())), Node("and", (measured(), attribute())))),
        6: lambda: Node("and", (measured(), attribute(), Node("not", (attribute(),)))),
        7: lambda: Node("and", (measured(),)),
        8: lambda: Node("or", (measured(), measured())),
        9: lambda: Node("and", (measured(), Node("not", (Node("and", (measured(), attribute())),)))),
    }[kind](), False


def leaf(index, pool, rng):
    feature = pool[index]
    if feature.measure == "last":
        values = ("EUR", "GBP") if feature.property == "currency" else ("ios", "android")
        return Node("feature", feature=index, operator="in", value=values)
    # What is recent is often asked for as a small number of days; everything else as a large value.
    operator = "lte" if feature.measure == "days_since_last" else "gte"
    return Node("feature", feature=index, operator=operator, share=round(rng.uniform(0.2, 0.9), 3))


def leaves(node):
    """Every leaf of a tree."""
    if node.parts:
        for part in node.parts:
            yield from leaves(part)
    else:
        yield node


def definition(name, node, pool):
    """The JSON definition of a segment whose values are known."""
    document = rule(node, pool)
    if node.kind not in ("and", "or"):
        document = {"logic": "and", "conditions": [document]}
    return {"id": name} | document


def rule(node, pool):
    match node.kind:
        case "and" | "or":
            return {"logic": node.kind, "conditions": [rule(part, pool) for part in node.parts]}
        case "at_least":
            return {"at_least": node.count, "of": [rule(part, pool) for part in node.parts]}
        case "not":
            return {"not": rule(node.parts[0], pool)}
        case "reference":
            return {"type": "segment", "segment_id": node.segment, "operator": node.operator}
        case "attribute":
            return attribute_rule(node.attribute)
        case "feature":
            return feature_rule(pool[node.feature], node)


def attribute_rule(attribute):
    leaf = {"type": "user_attribute", "property": attribute.name}
    match attribute.operator:
        case "days_since_gte" | "days_since_lte":
            return leaf | {"property": {"days_since": attribute.name}, "operator": attribute.operator[-3:], "value": attribute.value}
        case "is_true":
            return leaf | {"operator": "is_true"}
        case "neq_false":
            return leaf | {"operator": "neq", "value": False}
        case "in" | "not_in":
            return leaf | {"operator": attribute.operator, "value": list(attribute.value)}
        case operator:
            return leaf | {"operator": operator, "value": attribute.value}


def feature_rule(feature, node):
    leaf = {"type": "event"}
    if feature.types is not None:
        leaf["event_type"] = feature.types[0] if len(feature.types) == 1 else list(feature.types)
    if feature.where is not None:
        leaf["where"] = [{"property": feature.where.property, "operator": feature.where.operator, "value": feature.where.value}]
    if feature.property is not None:
        leaf["measure"] = {feature.measure: feature.property}
    elif feature.measure != "count":
        leaf["measure"] = feature.measure
    if feature.measure == "last":
        leaf["value_type"] = "string"
    if feature.days is not None:
        leaf["window"] = {"last": f"{feature.days}d"}
    value = list(node.value) if isinstance(node.value, tuple) else node.value
    return leaf | {"operator": node.operator, "value": value}
