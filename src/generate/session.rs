//! What a user does in one go: a visit, an email, a call for help. Funnels are kept: nothing is ordered that was not in the cart,
//! and nothing is put there that was not looked at.

use super::dice::Dice;
use super::population::{DEVICES, Profile};
use super::shelf::{CATEGORIES, Product, Shelf};

/// One event.
#[derive(Debug, Clone, Copy)]
pub(super) struct Event {
    /// Microseconds since 1970.
    pub(super) at: i64,
    /// The session, counted within its file.
    pub(super) session: u32,
    /// Whose it is.
    pub(super) actor: Actor,
    /// What happened.
    pub(super) kind: EventKind,
    /// With which product, at which price.
    pub(super) item: Option<Item>,
    /// What else is known.
    pub(super) detail: Detail,
    /// An index of [`DEVICES`].
    pub(super) device: usize,
    /// ISO 4217 code.
    pub(super) currency: &'static str,
}

/// Whose an event is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Actor {
    /// A user.
    User(u64),
    /// Someone who did not log in.
    Nobody,
}

/// A product in an event.
#[derive(Debug, Clone, Copy)]
pub(super) struct Item {
    /// Which.
    pub(super) product: u64,
    /// The price of one, in cents.
    pub(super) cents: u64,
    /// How many.
    pub(super) quantity: u32,
}

/// What only some events carry.
#[derive(Debug, Clone, Copy)]
pub(super) enum Detail {
    /// Nothing more.
    None,
    /// The kind of page; an index of [`PAGES`].
    Page(usize),
    /// What was searched for.
    Search(&'static str),
    /// The mail's campaign; an index of [`CAMPAIGNS`].
    Mail(usize),
    /// The visit's campaign, and a voucher.
    Order {
        /// An index of [`CAMPAIGNS`].
        campaign: Option<usize>,
        /// An index of [`VOUCHERS`].
        voucher: Option<usize>,
    },
    /// A ticket's topic, an index of [`TOPICS`], and its priority.
    Ticket {
        /// An index of [`TOPICS`].
        topic: usize,
        /// 1 is the most urgent.
        priority: u64,
    },
    /// Stars, 1 to 5.
    Review(u64),
}

pub(super) const PAGES: [&str; 6] = ["/", "/sale", "/new", "/pricing", "/account", "/help"];
pub(super) const CAMPAIGNS: [&str; 5] = ["winter-sale", "welcome", "back-in-stock", "loyalty", "black-friday"];
pub(super) const VOUCHERS: [&str; 3] = ["SAVE10", "FREESHIP", "VIP20"];
pub(super) const TOPICS: [&str; 4] = ["delivery", "refund", "product", "account"];

/// What happens in a shop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum EventKind {
    AppOpened,
    PageViewed,
    ProductSearched,
    ProductViewed,
    AddedToWishlist,
    AddedToCart,
    RemovedFromCart,
    CheckoutStarted,
    OrderCompleted,
    OrderRefunded,
    ReviewSubmitted,
    EmailSent,
    EmailOpened,
    EmailClicked,
    SupportTicketCreated,
}

impl EventKind {
    /// The word in the data.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::AppOpened => "app_opened",
            Self::PageViewed => "page_viewed",
            Self::ProductSearched => "product_searched",
            Self::ProductViewed => "product_viewed",
            Self::AddedToWishlist => "added_to_wishlist",
            Self::AddedToCart => "added_to_cart",
            Self::RemovedFromCart => "removed_from_cart",
            Self::CheckoutStarted => "checkout_started",
            Self::OrderCompleted => "order_completed",
            Self::OrderRefunded => "order_refunded",
            Self::ReviewSubmitted => "review_submitted",
            Self::EmailSent => "email_sent",
            Self::EmailOpened => "email_opened",
            Self::EmailClicked => "email_clicked",
            Self::SupportTicketCreated => "support_ticket_created",
        }
    }

    /// Whether money moved.
    pub(super) fn has_amount(self) -> bool {
        matches!(self, Self::OrderCompleted | Self::OrderRefunded)
    }
}

/// Plays a session that starts at `start` and adds its events in the order of their times; at least one.
pub(super) fn play(dice: &mut Dice, shelf: &Shelf, who: (Actor, &Profile), session: u32, start: i64, events: &mut Vec<Event>) {
    let (actor, profile) = who;
    let device = if dice.chance(850) { profile.device } else { dice.index(DEVICES.len()) };
    let mut play = Play { dice, shelf, profile, actor, session, device, at: start, campaign: None, events };
    match play.dice.below(100) {
        0..28 => play.mail(),
        28..31 => play.ticket(),
        _ => play.visit(),
    }
}

/// The share of sessions that start in each local hour.
pub(super) const HOURS: [u64; 24] = [6, 4, 2, 2, 2, 4, 10, 20, 30, 36, 38, 40, 44, 42, 38, 36, 38, 44, 54, 66, 72, 62, 40, 18];

struct Play<'a> {
    dice: &'a mut Dice,
    shelf: &'a Shelf,
    profile: &'a Profile,
    actor: Actor,
    session: u32,
    device: usize,
    at: i64,
    campaign: Option<usize>,
    events: &'a mut Vec<Event>,
}

impl Play<'_> {
    fn mail(&mut self) {
        let campaign = self.dice.index(CAMPAIGNS.len());
        self.push(EventKind::EmailSent, None, Detail::Mail(campaign));
        if self.dice.chance(420) {
            self.wait(60, 6 * 3_600);
            self.push(EventKind::EmailOpened, None, Detail::Mail(campaign));
            if self.dice.chance(300) {
                self.wait(2, 90);
                self.push(EventKind::EmailClicked, None, Detail::Mail(campaign));
                self.campaign = Some(campaign);
                self.wait(1, 5);
                self.visit();
            }
        }
    }

    fn ticket(&mut self) {
        let topic = self.dice.index(TOPICS.len());
        let priority = 1 + self.dice.below(4);
        self.push(EventKind::SupportTicketCreated, None, Detail::Ticket { topic, priority });
    }

    fn visit(&mut self) {
        if self.device != 0 && self.dice.chance(550) {
            self.push(EventKind::AppOpened, None, Detail::None);
        } else {
            let page = if self.dice.chance(600) { 0 } else { self.dice.index(PAGES.len()) };
            self.push(EventKind::PageViewed, None, Detail::Page(page));
        }
        let category = if self.dice.chance(650) { self.profile.favourite } else { self.dice.index(CATEGORIES.len()) };
        if self.dice.chance(350) {
            self.wait(3, 60);
            let search = *self.dice.pick(&CATEGORIES[category].searches);
            self.push(EventKind::ProductSearched, None, Detail::Search(search));
        }
        let views = 1 + self.dice.below(6).min(self.dice.below(6));
        let mut cart = None;
        for _ in 0..views {
            self.wait(4, 180);
            if let Some(product) = self.shelf.choose(self.dice, category) {
                cart = self.look(product).or(cart);
            }
        }
        if let Some(item) = cart {
            self.decide(item);
        }
    }

    /// Looks at a product, and perhaps puts it in the cart.
    fn look(&mut self, product: Product) -> Option<Item> {
        // Now and then there is an offer.
        let cents = if self.dice.chance(150) { product.cents * 4 / 5 } else { product.cents };
        let seen = Item { product: product.number, cents, quantity: 1 };
        self.push(EventKind::ProductViewed, Some(seen), Detail::None);
        if self.dice.chance(60) {
            self.wait(2, 40);
            self.push(EventKind::AddedToWishlist, Some(seen), Detail::None);
        }
        if !self.dice.chance(300) {
            return None;
        }
        self.wait(2, 60);
        let quantity = if self.dice.chance(750) { 1 } else { 2 + u32::try_from(self.dice.below(4)).unwrap_or(0) };
        let item = Item { quantity, ..seen };
        self.push(EventKind::AddedToCart, Some(item), Detail::None);
        if self.dice.chance(120) {
            self.wait(5, 120);
            self.push(EventKind::RemovedFromCart, Some(item), Detail::None);
            return None;
        }
        Some(item)
    }

    /// Goes to the checkout, or leaves the cart where it is.
    fn decide(&mut self, item: Item) {
        if !self.dice.chance(700) {
            return;
        }
        self.wait(10, 300);
        self.push(EventKind::CheckoutStarted, Some(item), Detail::None);
        if !self.dice.chance(self.profile.buys) {
            return;
        }
        self.wait(30, 400);
        let voucher = self.dice.chance(200).then(|| self.dice.index(VOUCHERS.len()));
        let order = Detail::Order { campaign: self.campaign, voucher };
        self.push(EventKind::OrderCompleted, Some(item), order);
        if self.dice.chance(90) {
            self.wait(1_200, 5 * 3_600);
            self.push(EventKind::OrderRefunded, Some(item), order);
        } else if self.dice.chance(160) {
            self.wait(1_800, 5 * 3_600);
            let stars = 5 - self.dice.below(5).min(self.dice.below(5));
            self.push(EventKind::ReviewSubmitted, Some(item), Detail::Review(stars));
        }
    }

    fn wait(&mut self, least_seconds: i64, most_seconds: i64) {
        self.at += self.dice.between(least_seconds * 1_000, most_seconds * 1_000) * 1_000;
    }

    fn push(&mut self, kind: EventKind, item: Option<Item>, detail: Detail) {
        self.events.push(Event {
            at: self.at,
            session: self.session,
            actor: self.actor,
            kind,
            item,
            detail,
            device: self.device,
            currency: self.profile.place.currency,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generate::dice::Stream;
    use crate::generate::population::Population;

    #[test]
    fn funnels_are_kept() {
        let population = Population { seed: 1, users: 100 };
        let shelf = Shelf::new(1, 50);
        let mut dice = Dice::new(1, Stream::Events, 0, 0);
        let mut orders = 0;
        for session in 0..2_000 {
            let profile = population.profile(u64::from(session) % 100);
            let mut events = Vec::new();
            play(&mut dice, &shelf, (Actor::User(0), &profile), session, 1_000, &mut events);
            assert_eq!(events[0].at, 1_000);
            assert!(events.is_sorted_by_key(|event| event.at));
            for (position, event) in events.iter().enumerate() {
                let needed = match event.kind {
                    EventKind::OrderRefunded | EventKind::ReviewSubmitted => EventKind::OrderCompleted,
                    EventKind::OrderCompleted => EventKind::CheckoutStarted,
                    EventKind::CheckoutStarted | EventKind::RemovedFromCart => EventKind::AddedToCart,
                    EventKind::AddedToCart | EventKind::AddedToWishlist => EventKind::ProductViewed,
                    EventKind::EmailClicked => EventKind::EmailOpened,
                    EventKind::EmailOpened => EventKind::EmailSent,
                    EventKind::AppOpened
                    | EventKind::PageViewed
                    | EventKind::ProductSearched
                    | EventKind::ProductViewed
                    | EventKind::EmailSent
                    | EventKind::SupportTicketCreated => continue,
                };
                let product = event.item.map(|item| item.product);
                let earlier = events[..position].iter().find(|e| e.kind == needed && e.item.map(|item| item.product) == product);
                assert!(earlier.is_some(), "{:?} without {needed:?}", event.kind);
                orders += u32::from(event.kind == EventKind::OrderCompleted);
            }
        }
        assert!((100..600).contains(&orders), "{orders}");
    }
}
