"""A hundred segments of products over attributes in JSON, as definitions and as DuckDB's queries.

The text of some products is not valid JSON, prices are texts here and there, stock is sometimes unknown and tags are sometimes one text:
the queries read what segmenta reads, and no more than that needs.
"""

import random

import sql

SEGMENTS = 100
STRINGS = {
    "category": ("electronics", "fashion", "home", "sports", "beauty", "books", "toys"),
    "brand": ("Acme", "Norrland", "Fjordwear", "Aqua", "Voltaic", "Maison Été", "Denim & Co", "Kōyō"),
    "supplier.country": ("CN", "PT", "VN"),
    "dimensions.box": ("S", "M", "L"),
}
NUMBERS = {"price": (20, 50, 100, 250), "stock": (10, 50, 150, 300), "rating": (3.5, 4, 4.5), "reviews": (50, 200, 400)}
TAGS = ("eco", "new", "limited", "bestseller")


def segments():
    """Each a list of conditions that must hold, of one to three; a condition is a property, an operator and a value."""
    rng = random.Random("products")
    return {f"p{number:03}": [condition(rng) for _ in range(1 + number % 3)] for number in range(SEGMENTS)}


def condition(rng):
    kind = rng.choice(("in", "in", "not_in", "gte", "gte", "lt", "tag", "active"))
    if kind in ("in", "not_in"):
        name = rng.choice(sorted(STRINGS))
        return name, kind, tuple(rng.sample(STRINGS[name], rng.randint(1, 2)))
    if kind in ("gte", "lt"):
        name = rng.choice(sorted(NUMBERS))
        return name, kind, rng.choice(NUMBERS[name])
    return ("tags", "contains", rng.choice(TAGS)) if kind == "tag" else ("active", "is_true", None)


def definition(name, conditions):
    return {"id": name, "subject": "product", "logic": "and", "conditions": [rule(*condition) for condition in conditions]}


def rule(name, operator, value):
    leaf = {"type": "product_attribute", "property": f"data.{name}", "operator": operator}
    if operator == "contains":
        return leaf | {"value_type": "array", "value": value}
    if value is None:
        return leaf
    return leaf | {"value": list(value) if isinstance(value, tuple) else value}


def holds(column, operator, value):
    """The condition on the text of a value in JSON."""
    match operator:
        case "in":
            return sql.one_of(column, value)
        case "not_in":
            return f"coalesce(NOT {sql.one_of(column, value)}, true)"
        case "gte":
            return f"TRY_CAST({column} AS DOUBLE) >= {value}"
        case "lt":
            return f"TRY_CAST({column} AS DOUBLE) < {value}"
        case "contains":
            element = sql.literal(f'"{value}"')
            return f"({column} = {sql.literal(value)} OR contains({column}, {element}))"
        case "is_true":
            return f"lower({column}) = 'true'"


def taken(paths, source="p"):
    """The ids and the texts of some paths, for which each product's JSON is read once."""
    names = ", ".join(f"'$.{path}'" for path in paths)
    return f"(SELECT product_id, CASE WHEN json_valid(data) THEN json_extract_string(data, [{names}]) END AS v FROM {source})"


def query(conditions, columns):
    """A segment's own query."""
    paths = sorted({name for name, _, _ in conditions})
    where = " AND ".join(holds(f"v[{paths.index(name) + 1}]", operator, value) for name, operator, value in conditions)
    return f"SELECT {columns} FROM {taken(paths)} WHERE {where}"


def each(connection, _out):
    """One query after another, members kept in temporary tables."""
    for name, conditions in segments().items():
        connection.execute(f'CREATE TEMP TABLE "{name}" AS {query(conditions, "product_id")}')


def each_written(connection, out):
    """One query after another, each into its sorted file with the nine columns."""
    import duckdb_ways

    for name, conditions in segments().items():
        columns = sql.snapshot_columns(duckdb_ways.DIALECT, name, "product_id")
        duckdb_ways.copy(connection, f"{query(conditions, columns)} ORDER BY product_id", out / f"{name}.parquet")


def once_written(connection, out):
    """By hand: the JSON read once into a table in the order of ids, then a file per segment."""
    import duckdb_ways

    paths = sorted({name for conditions in segments().values() for name, _, _ in conditions})
    columns = ", ".join(f"v[{position + 1}] AS a{position}" for position in range(len(paths)))
    connection.execute(f"CREATE TEMP TABLE wide AS SELECT product_id, {columns} FROM {taken(paths)} ORDER BY product_id")
    for name, conditions in segments().items():
        where = " AND ".join(holds(f"a{paths.index(path)}", operator, value) for path, operator, value in conditions)
        columns = sql.snapshot_columns(duckdb_ways.DIALECT, name, "product_id")
        duckdb_ways.copy(connection, f"SELECT {columns} FROM wide WHERE {where}", out / f"{name}.parquet")
