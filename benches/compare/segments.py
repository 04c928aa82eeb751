"""Twenty segments, each as a definition and as a query for DuckDB that somebody wrote by hand.

A query yields the members as a column `id`. The views `u`, `p` and `e` are the tables, as of is 2026-01-01 00:00 UTC, and a query may use
the members of an earlier one as the table `members_<id>`: that spares DuckDB the work that references cost.
"""

NOW = "TIMESTAMPTZ '2026-01-01 00:00:00+00'"


def user(property, operator, value=None, **more):
    leaf = {"type": "user_attribute", "property": property, "operator": operator}
    return leaf | ({} if value is None else {"value": value}) | more


def event(event_type=None, **more):
    return {"type": "event"} | ({} if event_type is None else {"event_type": event_type}) | more


def last(days):
    return {"last": f"{days}d"}


def since(days):
    return f"timestamp >= {NOW} - INTERVAL {days} DAY AND timestamp < {NOW}"


def users_with(aggregate, where):
    """Users for whom the aggregate over their events holds, which it does not without events."""
    return f"SELECT user_id AS id FROM e WHERE user_id IN (SELECT user_id FROM u) AND {where} GROUP BY user_id HAVING {aggregate}"


SEGMENTS = {
    "north-america-mail": (
        {"logic": "and", "conditions": [
            user("country", "in", ["US", "CA"]),
            user("email", "ends_with", "@EXAMPLE.com", ignore_case=True),
            user("email", "matches", "^[a-z]+[0-9]+@"),
        ]},
        "SELECT user_id AS id FROM u WHERE country IN ('US', 'CA') AND lower(email) LIKE '%@example.com'"
        " AND regexp_matches(email, '^[a-z]+[0-9]+@')",
    ),
    "high-value": (
        {"logic": "and", "conditions": [user("lifetime_value", "gte", 1000)]},
        "SELECT user_id AS id FROM u WHERE lifetime_value >= 1000",
    ),
    "repeat-buyers": (
        {"logic": "and", "conditions": [event("order_completed", operator="gte", value=2, window=last(90))]},
        users_with("count(*) >= 2", f"event_type = 'order_completed' AND {since(90)}"),
    ),
    "lapsed-buyers": (
        {"logic": "and", "conditions": [
            event("order_completed"),
            event("order_completed", operator="eq", value=0, window=last(45)),
        ]},
        users_with(f"max(timestamp) < {NOW} - INTERVAL 45 DAY", f"event_type = 'order_completed' AND timestamp < {NOW}"),
    ),
    "never-bought": (
        {"logic": "and", "conditions": [{"type": "everyone"}, {"not": event("order_completed")}]},
        "SELECT user_id AS id FROM u WHERE user_id NOT IN"
        f" (SELECT user_id FROM e WHERE event_type = 'order_completed' AND user_id IS NOT NULL AND timestamp < {NOW})",
    ),
    "spent-500": (
        {"logic": "and", "conditions": [
            event("order_completed", measure={"sum": "amount"}, operator="gte", value=500, window=last(60)),
        ]},
        users_with("sum(amount) >= 500", f"event_type = 'order_completed' AND {since(60)}"),
    ),
    "premium-baskets": (
        {"logic": "and", "conditions": [event("order_completed", measure={"avg": "price"}, operator="gte", value=150)]},
        users_with("sum(CAST(price AS DECIMAL(18, 9))) >= 150 * count(price)", f"event_type = 'order_completed' AND timestamp < {NOW}"),
    ),
    "cart-abandoners": (
        {"logic": "and", "conditions": [
            event("added_to_cart", where=[{"property": "price", "operator": "gte", "value": 30}], window=last(14)),
            {"not": event("order_completed", window=last(14))},
        ]},
        users_with(
            "count(*) FILTER (event_type = 'added_to_cart' AND price >= 30) > 0"
            " AND count(*) FILTER (event_type = 'order_completed') = 0",
            since(14),
        ),
    ),
    "window-shoppers": (
        {"logic": "and", "conditions": [
            event("product_viewed", measure={"count_distinct": "product_id"}, operator="gte", value=5, window=last(60)),
            event("order_completed", operator="lt", value=1, window=last(60)),
        ]},
        users_with(
            "count(DISTINCT product_id) FILTER (event_type = 'product_viewed') >= 5"
            " AND count(*) FILTER (event_type = 'order_completed') = 0",
            since(60),
        ),
    ),
    "email-engaged": (
        {"logic": "and", "conditions": [
            event(["email_opened", "email_clicked"], measure="active_weeks", operator="gte", value=2, window=last(60)),
            user("marketing_consent", "neq", False),
        ]},
        users_with(
            "count(DISTINCT date_trunc('week', timestamp)) >= 2",
            f"event_type IN ('email_opened', 'email_clicked') AND {since(60)}"
            " AND user_id IN (SELECT user_id FROM u WHERE marketing_consent IS DISTINCT FROM false)",
        ),
    ),
    "unreachable": (
        {"logic": "or", "conditions": [
            user("email", "is_not_set"),
            user("email_verified", "is_false"),
            user("marketing_consent", "eq", False),
        ]},
        "SELECT user_id AS id FROM u WHERE coalesce(email, '') = '' OR email_verified = false OR marketing_consent = false",
    ),
    "regular-visitors": (
        {"logic": "and", "conditions": [event(measure="active_days", operator="gte", value=10, window=last(90))]},
        users_with("count(DISTINCT date_trunc('day', timestamp)) >= 10", since(90)),
    ),
    "gone-quiet": (
        {"logic": "and", "conditions": [event(measure="days_since_last", operator="gt", value=30)]},
        users_with(f"max(timestamp) < {NOW} - INTERVAL 30 DAY", f"timestamp < {NOW}"),
    ),
    "tech-enthusiasts": (
        {"at_least": 2, "of": [
            user("interests.tech", "gte", 0.4),
            user("affinities.gadgets", "gte", 0.2),
            user("plan", "in", ["premium", "business"]),
        ]},
        "SELECT user_id AS id FROM u WHERE coalesce(interests['tech'] >= 0.4, false)::INT"
        " + coalesce(affinities.gadgets >= 0.2, false)::INT + coalesce(plan IN ('premium', 'business'), false)::INT >= 2",
    ),
    "promoters": (
        {"logic": "and", "conditions": [
            user("attributes.nps", "gte", 9),
            user("attributes.loyalty.tier", "not_in", ["bronze"]),
        ]},
        "SELECT user_id AS id FROM u WHERE TRY_CAST(trim(attributes->>'$.nps') AS DOUBLE) >= 9"
        " AND coalesce(attributes->>'$.loyalty.tier', '') <> 'bronze'",
    ),
    "mobile-now": (
        {"logic": "and", "conditions": [
            event(measure={"last": "properties.device"}, value_type="string", operator="in", value=["ios", "android"], window=last(30)),
        ]},
        "SELECT user_id AS id FROM (SELECT user_id, arg_max(properties->>'$.device', (timestamp, event_id)) AS device FROM e"
        f" WHERE user_id IN (SELECT user_id FROM u) AND properties->>'$.device' IS NOT NULL AND {since(30)} GROUP BY user_id)"
        " WHERE device IN ('ios', 'android')",
    ),
    "night-owls": (
        {"logic": "and", "conditions": [
            event(
                ["page_viewed", "app_opened"],
                where=[{"logic": "or", "conditions": [
                    {"property": {"hour": "timestamp"}, "operator": "gte", "value": 22},
                    {"property": {"hour": "timestamp"}, "operator": "lt", "value": 5},
                ]}],
                operator="gte",
                value=3,
                window=last(60),
            ),
        ]},
        users_with(
            "count(*) >= 3",
            f"event_type IN ('page_viewed', 'app_opened') AND (hour(timestamp) >= 22 OR hour(timestamp) < 5) AND {since(60)}",
        ),
    ),
    "january-birthdays": (
        {"logic": "and", "conditions": [
            user({"month": "birthday"}, "eq", 1),
            user("tags", "does_not_contain", "beta"),
        ]},
        "SELECT user_id AS id FROM u WHERE month(birthday) = 1 AND NOT coalesce(list_contains(tags, 'beta'), false)",
    ),
    "win-back": (
        {"logic": "and", "conditions": [
            {"type": "segment", "segment_id": "lapsed-buyers"},
            {"type": "segment", "segment_id": "unreachable", "operator": "not_in"},
        ]},
        'SELECT id FROM "members_lapsed-buyers" WHERE id NOT IN (SELECT id FROM "members_unreachable")',
    ),
    "bestsellers": (
        {"subject": "product", "logic": "and", "conditions": [
            event("order_completed", operator="gte", value=100, window=last(90)),
            {"type": "product_attribute", "property": "category", "operator": "in", "value": ["electronics", "home"]},
        ]},
        "SELECT product_id AS id FROM e JOIN p USING (product_id)"
        f" WHERE event_type = 'order_completed' AND {since(90)}"
        " AND CASE WHEN json_valid(data) THEN data->>'$.category' IN ('electronics', 'home') ELSE false END"
        " GROUP BY product_id HAVING count(*) >= 100",
    ),
}


def definition(segment):
    """The document of a segment."""
    rule = SEGMENTS[segment][0]
    if "at_least" in rule:
        rule = {"logic": "and", "conditions": [rule]}
    return {"id": segment} | rule
