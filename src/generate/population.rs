//! Who the users are. Everything about a user follows from the seed and the user's number, so that any thread can ask at any time
//! and nothing is kept, however many users there are.

use super::dice::{Dice, Stream, mix};
use super::shelf::{CATEGORIES, Category};

/// Days before the end of the data in which users joined.
const TENURE_DAYS: u64 = 1_024;

/// All users.
#[derive(Debug, Clone, Copy)]
pub(super) struct Population {
    /// Of the data set.
    pub(super) seed: u64,
    /// How many.
    pub(super) users: u64,
}

/// How much of a user there is to see, and when.
#[derive(Debug, Clone, Copy)]
pub(super) struct Activity {
    /// How likely a session is this user's, up to 65,536; 0 for one who never comes. About one user in `w` weighs `1/w`, as in
    /// Zipf's law.
    pub(super) weight: u64,
    /// How many days before the end of the data the user joined.
    pub(super) joined: i64,
    /// The days before the end, later and earlier one, between which the user stays away.
    pub(super) away: (i64, i64),
}

/// What a user is like.
#[derive(Debug, Clone, Copy)]
pub(super) struct Profile {
    /// Where the user lives.
    pub(super) place: &'static Place,
    /// What the user mostly looks at; an index of [`CATEGORIES`].
    pub(super) favourite: usize,
    /// What the user pays for.
    pub(super) plan: Plan,
    /// How many of a thousand carts become orders.
    pub(super) buys: u64,
    /// An index of [`DEVICES`].
    pub(super) device: usize,
}

/// Names of devices.
pub(super) const DEVICES: [&str; 4] = ["desktop", "ios", "android", "tablet"];

/// A subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Plan {
    /// Pays nothing.
    Free,
    /// The small one.
    Basic,
    /// The large one.
    Premium,
    /// For companies.
    Business,
}

impl Plan {
    /// The word in the data.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Free => "free",
            Self::Basic => "basic",
            Self::Premium => "premium",
            Self::Business => "business",
        }
    }
}

/// A city with its share of users.
#[derive(Debug)]
pub(super) struct Place {
    /// ISO 3166 code.
    pub(super) country: &'static str,
    /// Name, in its own language.
    pub(super) city: &'static str,
    /// IANA name.
    pub(super) timezone: &'static str,
    /// Hours east of UTC, near enough for a daily rhythm.
    pub(super) utc_offset: i64,
    /// ISO 4217 code.
    pub(super) currency: &'static str,
    weight: u64,
}

const fn place(
    country: &'static str,
    city: &'static str,
    timezone: &'static str,
    utc_offset: i64,
    currency: &'static str,
    weight: u64,
) -> Place {
    Place { country, city, timezone, utc_offset, currency, weight }
}

static PLACES: [Place; 20] = [
    place("US", "New York", "America/New_York", -5, "USD", 14),
    place("US", "Chicago", "America/Chicago", -6, "USD", 8),
    place("US", "Los Angeles", "America/Los_Angeles", -8, "USD", 10),
    place("US", "Austin", "America/Chicago", -6, "USD", 5),
    place("CA", "Toronto", "America/Toronto", -5, "USD", 5),
    place("CA", "Montréal", "America/Toronto", -5, "USD", 3),
    place("GB", "London", "Europe/London", 0, "GBP", 9),
    place("GB", "Manchester", "Europe/London", 0, "GBP", 4),
    place("DE", "Berlin", "Europe/Berlin", 1, "EUR", 6),
    place("DE", "München", "Europe/Berlin", 1, "EUR", 5),
    place("FR", "Paris", "Europe/Paris", 1, "EUR", 6),
    place("FR", "Lyon", "Europe/Paris", 1, "EUR", 2),
    place("ES", "Madrid", "Europe/Madrid", 1, "EUR", 3),
    place("NL", "Amsterdam", "Europe/Amsterdam", 1, "EUR", 3),
    place("PL", "Kraków", "Europe/Warsaw", 1, "EUR", 3),
    place("BR", "São Paulo", "America/Sao_Paulo", -3, "USD", 4),
    place("MX", "Ciudad de México", "America/Mexico_City", -6, "USD", 2),
    place("IN", "Mumbai", "Asia/Kolkata", 5, "USD", 4),
    place("JP", "東京", "Asia/Tokyo", 9, "USD", 2),
    place("AU", "Sydney", "Australia/Sydney", 10, "USD", 2),
];

impl Population {
    /// When a user is there. Cheap: it is asked many times per session.
    pub(super) fn activity(self, user: u64) -> Activity {
        let hash = mix(self.seed, user);
        let never = scale_16(hash >> 8, 1_000) < 120;
        let rank = 1 + (hash & 0xff);
        // The earlier of two even draws: the shop grew.
        let joined = 1 + ((hash >> 24) % TENURE_DAYS).min((hash >> 34) % TENURE_DAYS);
        let away = if (hash >> 44).is_multiple_of(4) {
            let from = signed((hash >> 46) % 120);
            (from - 21 - signed((hash >> 53) % 128), from)
        } else {
            (0, 0)
        };
        Activity { weight: if never { 0 } else { 65_536 / rank }, joined: signed(joined), away }
    }

    /// Someone for a session so many days before the end.
    pub(super) fn visitor(self, dice: &mut Dice, days_before_end: i64) -> u64 {
        let mut candidate = dice.below(self.users);
        // About one draw in fifty fits. The bound is for tiny populations of people who never come.
        for _ in 0..4_096 {
            let activity = self.activity(candidate);
            if dice.below(65_536) < activity.weight && activity.is_there(days_before_end) {
                break;
            }
            candidate = dice.below(self.users);
        }
        candidate
    }

    /// What a user is like.
    pub(super) fn profile(self, user: u64) -> Profile {
        let mut dice = Dice::new(self.seed, Stream::Profile, user, 0);
        let place = &PLACES[dice.weighted(PLACES.iter().map(|place| place.weight))];
        let favourite = dice.weighted(CATEGORIES.iter().map(|category| category.weight));
        let plan = match dice.below(100) {
            0..62 => Plan::Free,
            62..82 => Plan::Basic,
            82..96 => Plan::Premium,
            _ => Plan::Business,
        };
        let buys = match plan {
            Plan::Free => 350,
            Plan::Basic => 550,
            Plan::Premium | Plan::Business => 700,
        } + dice.below(250);
        let device = dice.weighted([40, 28, 24, 8].into_iter());
        Profile { place, favourite, plan, buys, device }
    }
}

impl Activity {
    /// Whether the user may come so many days before the end.
    pub(super) fn is_there(self, days_before_end: i64) -> bool {
        let (back, gone) = self.away;
        days_before_end < self.joined && !(back < days_before_end && days_before_end <= gone)
    }
}

impl Profile {
    /// What the user mostly looks at.
    pub(super) fn favourite_category(&self) -> &'static Category {
        &CATEGORIES[self.favourite]
    }
}

/// How a user is named in the tables.
pub(super) fn user_id(user: u64) -> String {
    format!("u{user:06}")
}

/// Maps the low 16 bits to 0..`end`.
fn scale_16(bits: u64, end: u64) -> u64 {
    ((bits & 0xffff) * end) >> 16
}

fn signed(small: u64) -> i64 {
    i64::try_from(small).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const POPULATION: Population = Population { seed: 1, users: 10_000 };

    #[test]
    fn some_never_come_and_few_come_often() {
        let weights: Vec<u64> = (0..POPULATION.users).map(|user| POPULATION.activity(user).weight).collect();
        let never = weights.iter().filter(|weight| **weight == 0).count();
        assert!((1_000..1_400).contains(&never), "{never}");
        let total: u64 = weights.iter().sum();
        let mut heaviest = weights;
        heaviest.sort_unstable_by(|a, b| b.cmp(a));
        let top: u64 = heaviest.iter().take(1_000).sum();
        assert!(top * 100 / total > 50, "the first tenth has {} percent", top * 100 / total);
    }

    #[test]
    fn nobody_comes_before_joining_or_while_away() {
        let mut dice = Dice::new(1, Stream::Events, 0, 0);
        for day in 1..=90 {
            for _ in 0..20 {
                let visitor = POPULATION.visitor(&mut dice, day);
                let activity = POPULATION.activity(visitor);
                assert!(activity.weight > 0 && activity.is_there(day) && activity.joined > day);
            }
        }
    }

    #[test]
    fn a_lonely_population_does_not_hang() {
        let lonely = Population { seed: 0, users: 1 };
        assert_eq!(lonely.visitor(&mut Dice::new(0, Stream::Events, 0, 0), 5_000), 0);
    }
}
