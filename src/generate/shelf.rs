//! What is sold: categories, the shelf that sessions choose from, and the rows of the products table.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, RecordBatch, StringBuilder};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::arrow::error::ArrowError;
use jiff::ToSpan;
use jiff::civil::Date;
use serde_json::{Map, Value, json};

use super::dice::{Dice, Stream, mix};

/// A kind of products.
#[derive(Debug)]
pub(super) struct Category {
    /// The word in the data.
    pub(super) name: &'static str,
    /// The interest of users that it belongs to.
    pub(super) interest: &'static str,
    /// What people search for.
    pub(super) searches: [&'static str; 3],
    /// Its share of users and products.
    pub(super) weight: u64,
    /// Who makes them.
    pub(super) brands: [&'static str; 4],
    items: [&'static str; 6],
    /// Least and greatest price, whole units.
    prices: (u64, u64),
}

/// All categories.
pub(super) static CATEGORIES: [Category; 7] = [
    Category {
        name: "electronics",
        interest: "tech",
        searches: ["noise cancelling headphones", "usb-c charger", "4k monitor"],
        weight: 24,
        brands: ["Voltaic", "Norrland", "Pixelhaus", "Acme"],
        items: ["Headphones", "Smart Watch", "Monitor", "Keyboard", "Charger", "Camera"],
        prices: (15, 1_500),
    },
    Category {
        name: "fashion",
        interest: "fashion",
        searches: ["linen shirt", "winter coat", "jeans slim fit"],
        weight: 22,
        brands: ["Maison Été", "Denim & Co", "Fjordwear", "Acme"],
        items: ["Shirt", "Coat", "Jeans", "Dress", "Scarf", "Belt"],
        prices: (12, 320),
    },
    Category {
        name: "sports",
        interest: "sports",
        searches: ["running shoes", "yoga mat", "trail backpack"],
        weight: 16,
        brands: ["Strider", "Peak 9", "Fjordwear", "Aqua"],
        items: ["Running Shoes", "Yoga Mat", "Backpack", "Dumbbells", "Tent", "Bottle"],
        prices: (9, 480),
    },
    Category {
        name: "home",
        interest: "home",
        searches: ["led desk lamp", "cotton bedding", "coffee machine"],
        weight: 15,
        brands: ["Hygge", "Norrland", "Casa Verde", "Acme"],
        items: ["Desk Lamp", "Bedding", "Coffee Machine", "Rug", "Vase", "Chair"],
        prices: (8, 900),
    },
    Category {
        name: "beauty",
        interest: "beauty",
        searches: ["sunscreen 50", "vitamin c serum", "shampoo bar"],
        weight: 11,
        brands: ["Lumière", "Aqua", "Botanica", "Kōyō"],
        items: ["Serum", "Sunscreen", "Shampoo", "Perfume", "Lipstick", "Soap"],
        prices: (5, 140),
    },
    Category {
        name: "toys",
        interest: "family",
        searches: ["wooden train", "puzzle 1000", "plush bear"],
        weight: 6,
        brands: ["Holz", "Puzzlewerk", "Kōyō", "Acme"],
        items: ["Train Set", "Puzzle", "Plush Bear", "Board Game", "Kite", "Blocks"],
        prices: (6, 120),
    },
    Category {
        name: "books",
        interest: "books",
        searches: ["crime novel", "cookbook", "atlas"],
        weight: 6,
        brands: ["Leaf & Spine", "Atlas Press", "Botanica", "Kōyō"],
        items: ["Novel", "Cookbook", "Atlas", "Biography", "Poems", "Comic"],
        prices: (4, 60),
    },
];

/// What sessions need to know of a product.
#[derive(Debug, Clone, Copy)]
pub(super) struct Product {
    /// Its number.
    pub(super) number: u64,
    /// An index of [`CATEGORIES`].
    pub(super) category: usize,
    /// Its regular price in cents.
    pub(super) cents: u64,
}

/// All products, to choose from: the only state whose size grows with the options.
#[derive(Debug)]
pub(super) struct Shelf {
    /// The products of each category, each with the weights up to and with it.
    aisles: Vec<Vec<(u64, Product)>>,
    /// The same over all categories, for those that have none.
    everything: Vec<(u64, Product)>,
}

impl Shelf {
    /// The shelf of the first `products` products.
    pub(super) fn new(seed: u64, products: u64) -> Self {
        let mut shelf = Self { aisles: vec![Vec::new(); CATEGORIES.len()], everything: Vec::new() };
        for number in 0..products {
            let product = product(seed, number);
            // As with users, about one product in `w` weighs `1/w`; one in twelve is never looked at.
            let hash = mix(!seed, number);
            if hash.is_multiple_of(12) {
                continue;
            }
            let weight = 65_536 / (2 + ((hash >> 16) & 0x7f));
            for aisle in [&mut shelf.aisles[product.category], &mut shelf.everything] {
                let before = aisle.last().map_or(0, |(total, _)| *total);
                aisle.push((before + weight, product));
            }
        }
        shelf
    }

    /// A product of the category, the popular ones more often; of any category when that has none; `None` on an empty shelf.
    pub(super) fn choose(&self, dice: &mut Dice, category: usize) -> Option<Product> {
        let aisle = self.aisles.get(category).filter(|aisle| !aisle.is_empty()).unwrap_or(&self.everything);
        let (total, _) = aisle.last()?;
        let point = dice.below(*total);
        let position = aisle.partition_point(|(up_to, _)| *up_to <= point);
        aisle.get(position).map(|(_, product)| *product)
    }
}

/// How a product is named in the tables.
pub(super) fn product_id(number: u64) -> String {
    format!("p{number:05}")
}

/// The columns of the products table.
pub(super) fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("product_id", DataType::Utf8, false), Field::new("data", DataType::Utf8, true)]))
}

/// Rows of the products table.
pub(super) fn rows(seed: u64, end: Date, numbers: std::ops::Range<u64>) -> Result<RecordBatch, ArrowError> {
    let mut ids = StringBuilder::new();
    let mut data = StringBuilder::new();
    for number in numbers {
        ids.append_value(product_id(number));
        data.append_value(document(seed, number, end));
    }
    let columns: Vec<ArrayRef> = vec![Arc::new(ids.finish()), Arc::new(data.finish())];
    RecordBatch::try_new(schema(), columns)
}

fn product(seed: u64, number: u64) -> Product {
    let mut dice = Dice::new(seed, Stream::Product, number, 0);
    let category = dice.weighted(CATEGORIES.iter().map(|category| category.weight));
    let (low, high) = CATEGORIES[category].prices;
    // The least of three: most things are cheap.
    let whole = (0..3).map(|_| dice.below(high - low)).min().unwrap_or(0) + low;
    Product { number, category, cents: whole * 100 + *dice.pick(&[99, 95, 50, 0]) }
}

/// The JSON of a product. A few have members of the wrong type or none: real feeds do.
fn document(seed: u64, number: u64, end: Date) -> String {
    let product = product(seed, number);
    let category = &CATEGORIES[product.category];
    let mut dice = Dice::new(seed, Stream::Product, number, 1);
    let brand = *dice.pick(&category.brands);
    let item = *dice.pick(&category.items);
    let series = dice.between(1, 99);
    let mut data = Map::new();
    let mut put = |key: &str, value: Value| data.insert(key.to_owned(), value);

    put("name", json!(format!("{brand} {item} {series}")));
    put("category", json!(category.name));
    if !dice.chance(40) {
        put("brand", json!(brand));
    }
    put(
        "price",
        match dice.below(100) {
            0..3 => json!(format!("{}.{:02}", product.cents / 100, product.cents % 100)),
            3 => json!("call us"),
            _ => amount(product.cents),
        },
    );
    if dice.chance(220) {
        put("sale_price", amount(product.cents * (100 - dice.below(50)) / 100));
    } else if dice.chance(300) {
        put("sale_price", Value::Null);
    }
    put("currency", json!("USD"));
    put(
        "stock",
        match dice.below(100) {
            0..12 => json!(0),
            12..14 => json!("unknown"),
            14..18 => Value::Null,
            _ => json!(dice.below(400)),
        },
    );
    put("tags", tags(&mut dice, category));
    if !dice.chance(80) {
        put("rating", json!((25 + dice.below(26)) as f64 / 10.0));
        put("reviews", json!(dice.below(500)));
    }
    let age = dice.between(1, 900);
    let created = end.saturating_sub(age.days());
    put("created_at", json!(format!("{created}T{:02}:{:02}:00Z", dice.below(24), dice.below(60))));
    let slug = item.to_lowercase().replace(' ', "-");
    put("url", json!(format!("https://shop.example/{}/{slug}-{series}", category.name)));
    if dice.chance(850) {
        put("image_url", json!(format!("https://img.example/{}.jpg", product_id(number))));
    } else if dice.chance(500) {
        put("image_url", json!(""));
    }
    put("active", if dice.chance(30) { json!("TRUE") } else { json!(!dice.chance(60)) });
    put("dimensions", json!({"weight_kg": dice.between(1, 120) as f64 / 10.0, "box": dice.pick(&["S", "M", "L"])}));
    put("supplier", json!({"country": dice.pick(&["CN", "DE", "US", "PT", "VN"]), "lead.days": dice.between(2, 45)}));

    let text = Value::Object(data).to_string();
    if dice.chance(4) { text.trim_end_matches('}').to_owned() } else { text }
}

fn tags(dice: &mut Dice, category: &Category) -> Value {
    if dice.chance(40) {
        return json!(category.name);
    }
    let mut tags = vec![category.name];
    for (tag, per_mille) in [("new", 180), ("bestseller", 120), ("eco", 200), ("sale", 220), ("limited", 60), ("gift", 150)] {
        if dice.chance(per_mille) {
            tags.push(tag);
        }
    }
    if dice.chance(50) {
        tags.clear();
    }
    json!(tags)
}

fn amount(cents: u64) -> Value {
    json!(cents as f64 / 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn popular_products_are_chosen_more_often() {
        let shelf = Shelf::new(1, 300);
        let mut dice = Dice::new(1, Stream::Events, 0, 0);
        let mut chosen = vec![0_u32; 300];
        for _ in 0..10_000 {
            let product = shelf.choose(&mut dice, 0).unwrap();
            assert_eq!(product.category, 0);
            chosen[usize::try_from(product.number).unwrap()] += 1;
        }
        let most = chosen.iter().max().copied().unwrap();
        assert!(most > 500, "{most}");
    }

    #[test]
    fn an_empty_shelf_has_nothing_to_choose() {
        let mut dice = Dice::new(1, Stream::Events, 0, 0);
        assert!(Shelf::new(1, 0).choose(&mut dice, 0).is_none());
    }

    #[test]
    fn few_documents_are_damaged() {
        let end = jiff::civil::date(2026, 1, 1);
        let valid = (0..1_000).filter(|number| serde_json::from_str::<Value>(&document(1, *number, end)).is_ok()).count();
        assert!((980..1_000).contains(&valid), "{valid}");
    }
}
