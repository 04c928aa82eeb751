"""One segment as a definition and as a query that somebody wrote by hand for DuckDB."""

SEGMENT = "one"
DEFINITION = {
    "id": SEGMENT,
    "logic": "and",
    "conditions": [
        {
            "type": "event",
            "event_type": "added_to_cart",
            "where": [{"property": "price", "operator": "gte", "value": 50}],
            "window": {"last": "30d"},
            "operator": "gte",
            "value": 2,
        },
        {"type": "user_attribute", "property": "country", "operator": "in", "value": ["US", "CA"]},
    ],
}
QUERY = """
SELECT user_id AS subject_id FROM e
WHERE event_type = 'added_to_cart' AND price >= 50
  AND timestamp >= TIMESTAMPTZ '2025-12-02 00:00:00+00' AND timestamp < TIMESTAMPTZ '2026-01-01 00:00:00+00'
  AND user_id IN (SELECT user_id FROM u WHERE country IN ('US', 'CA'))
GROUP BY user_id HAVING count(*) >= 2
"""
