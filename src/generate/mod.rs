//! Demo data: users, products and events of a shop that never was. The same options give the same rows on any machine.
//!
//! Nothing but the shelf of products is kept: who a user is follows from the user's number, and a file of events from its day. So
//! files are made on all cores at once, and memory does not grow with users or events.
//!
//! Layout: `users.parquet`, `products.parquet`, `events/date=2026-01-01/part-0.parquet`. Files of events are sorted by time.

mod dice;
mod events;
mod insight;
mod output;
mod population;
mod session;
mod shelf;
mod users;

use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;

use jiff::civil::Date;

use self::events::Part;
use self::output::Output;
use self::population::Population;
use self::shelf::Shelf;

/// Microseconds of a UTC day.
const MICROS_PER_DAY: i64 = 86_400_000_000;
/// Most events of one file; also what one thread holds at a time.
const EVENTS_PER_FILE: u64 = 500_000;
/// Rows of users, products or events that are built at a time.
const ROWS_PER_BATCH: usize = 16_384;

/// How much to generate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Rows of the users table.
    pub users: u64,
    /// Rows of the events table, exactly.
    pub events: u64,
    /// Days, UTC, over which the events are spread.
    pub days: u32,
    /// Rows of the products table.
    pub products: u64,
    /// Another seed gives other data.
    pub seed: u64,
    /// The day after the last day of events. The start of this day is a good `as_of`.
    pub end: Date,
}

impl Default for Options {
    /// The demo of the repository.
    fn default() -> Self {
        Self { users: 1_000, events: 20_000, days: 100, products: 200, seed: 1, end: jiff::civil::date(2026, 1, 1) }
    }
}

/// How far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Events written.
    pub events: u64,
    /// Events in all.
    pub of: u64,
}

/// What was generated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Summary {
    /// Rows of the users table.
    pub users: u64,
    /// Rows of the products table.
    pub products: u64,
    /// Rows of the events table.
    pub events: u64,
    /// Files written.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Why nothing, or not everything, was generated.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GenerateError {
    /// An option makes no sense.
    #[error("`{option}` {problem}")]
    Option {
        /// Its name.
        option: &'static str,
        /// What is wrong, to be read after the name.
        problem: String,
    },
    /// The folder holds something already.
    #[error("the folder `{}` is not empty", folder.display())]
    NotEmpty {
        /// The folder.
        folder: PathBuf,
    },
    /// A file or folder cannot be made.
    #[error("cannot {operation} `{}`", path.display())]
    Io {
        /// `create`, `write`, `read`.
        operation: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The cause below.
        #[source]
        source: std::io::Error,
    },
    /// Rows cannot be written as Parquet.
    #[error("cannot write `{}` as Parquet", path.display())]
    Parquet {
        /// The file.
        path: PathBuf,
        /// The cause below.
        #[source]
        source: datafusion::parquet::errors::ParquetError,
    },
    /// Rows cannot be built.
    #[error("cannot build the rows of `{}`", path.display())]
    Rows {
        /// The file.
        path: PathBuf,
        /// The cause below.
        #[source]
        source: datafusion::arrow::error::ArrowError,
    },
}

/// Writes the three tables into a folder that is empty or does not exist yet, on all cores.
///
/// # Errors
/// When an option makes no sense, the folder is not empty, or a file cannot be written. What was written by then stays.
pub fn generate(options: &Options, folder: &Path, progress: &mut dyn FnMut(Progress)) -> Result<Summary, GenerateError> {
    check(options)?;
    let output = Output::open(folder)?;
    let population = Population { seed: options.seed, users: options.users };
    let shelf = Shelf::new(options.seed, options.products);
    let end = options.end.since(jiff::civil::date(1970, 1, 1)).map_or(0, |span| span.get_days());

    let mut bytes = output.write("users.parquet", &users::schema(), options.users, |range| users::rows(population, end, range))?;
    bytes += output
        .write("products.parquet", &shelf::schema(), options.products, |range| shelf::rows(options.seed, options.end, range))?;
    let parts = parts(options, end);
    bytes += write_events(&output, &parts, population, &shelf, progress)?;
    Ok(Summary { users: options.users, products: options.products, events: options.events, files: 2 + parts.len() as u64, bytes })
}

fn check(options: &Options) -> Result<(), GenerateError> {
    let invalid = |option, problem: &str| Err(GenerateError::Option { option, problem: problem.to_owned() });
    if options.users == 0 {
        return invalid("users", "must be at least 1");
    }
    if options.days == 0 {
        return invalid("days", "must be at least 1");
    }
    if options.days > 36_500 {
        return invalid("days", "must be at most 36500");
    }
    if !(1990..=9000).contains(&options.end.year()) {
        return invalid("end", "must lie between the years 1990 and 9000");
    }
    Ok(())
}

/// The files of events: each day has its share of them, and as many files as that needs.
fn parts(options: &Options, end: i32) -> Vec<Part> {
    let days = i32::try_from(options.days).unwrap_or(i32::MAX);
    let weights: Vec<u128> = (0..days).map(|position| day_weight(position, end - days + position)).collect();
    let total: u128 = weights.iter().sum();
    let mut parts = Vec::new();
    let (mut weight, mut done) = (0, 0);
    for (position, day_weight) in (0..days).zip(weights) {
        weight += day_weight;
        let up_to = u64::try_from(u128::from(options.events) * weight / total).unwrap_or(u64::MAX);
        let (mut left, mut number) = (up_to - done, 0);
        while left > 0 {
            let events = left.min(EVENTS_PER_FILE);
            parts.push(Part { day: end - days + position, days_before_end: days - position, number, events });
            left -= events;
            number += 1;
        }
        done = up_to;
    }
    parts
}

/// How busy a day is: the shop grows, weekends are busier, and so are the end of November and December.
fn day_weight(position: i32, day: i32) -> u128 {
    // 1970-01-01 was a Thursday.
    let weekday: u64 = match day.rem_euclid(7) {
        // Friday, Saturday, Sunday.
        1 => 110,
        2 => 128,
        3 => 122,
        _ => 96,
    };
    let date = jiff::civil::date(1970, 1, 1).saturating_add(jiff::Span::new().days(day));
    let season = match (date.month(), date.day()) {
        (11, 24..=30) => 170,
        (12, 1..=23) => 125,
        _ => 100,
    };
    u128::from(weekday * season * (1_000 + u64::from(position.unsigned_abs())))
}

/// Writes the files of events on all cores. The first error stops every thread at its next file.
fn write_events(
    output: &Output,
    parts: &[Part],
    population: Population,
    shelf: &Shelf,
    progress: &mut dyn FnMut(Progress),
) -> Result<u64, GenerateError> {
    let next = AtomicUsize::new(0);
    let stopped = AtomicBool::new(false);
    let (report, reports) = mpsc::channel();
    let threads = std::thread::available_parallelism().map_or(1, NonZero::get).min(parts.len());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            let report = report.clone();
            let (next, stopped) = (&next, &stopped);
            scope.spawn(move || {
                while !stopped.load(Ordering::Relaxed)
                    && let Some(part) = parts.get(next.fetch_add(1, Ordering::Relaxed))
                {
                    let written = write_part(output, *part, population, shelf);
                    if report.send(written.map(|bytes| (part.events, bytes))).is_err() {
                        break;
                    }
                }
            });
        }
        drop(report);
        let of = parts.iter().map(|part| part.events).sum();
        let (mut events, mut bytes) = (0, 0);
        for written in reports {
            let (part_events, part_bytes) = written.inspect_err(|_| stopped.store(true, Ordering::Relaxed))?;
            events += part_events;
            bytes += part_bytes;
            progress(Progress { events, of });
        }
        Ok(bytes)
    })
}

fn write_part(output: &Output, part: Part, population: Population, shelf: &Shelf) -> Result<u64, GenerateError> {
    let played = events::play_part(population, shelf, part);
    let date = jiff::civil::date(1970, 1, 1).saturating_add(jiff::Span::new().days(part.day));
    let name = format!("events/date={date}/part-{}.parquet", part.number);
    output.write(&name, &events::schema(), part.events, |range| {
        let position = |row: u64| usize::try_from(row).unwrap_or(usize::MAX);
        let (first, last) = (position(range.start), position(range.end));
        events::rows(part, first, &played[first..last])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_share_all_events() {
        for events in [0, 1, 99, 20_000, 3_000_017] {
            let options = Options { events, ..Options::default() };
            let parts = parts(&options, 20_454);
            assert_eq!(parts.iter().map(|part| part.events).sum::<u64>(), events);
            assert!(parts.iter().all(|part| (1..=100).contains(&part.days_before_end)));
        }
    }

    #[test]
    fn a_busy_day_has_several_files() {
        let options = Options { events: 1_200_000, days: 1, ..Options::default() };
        let sizes: Vec<u64> = parts(&options, 20_454).iter().map(|part| part.events).collect();
        assert_eq!(sizes, [500_000, 500_000, 200_000]);
    }

    #[test]
    fn weekends_and_black_friday_are_busy() {
        // 2025-11-29 is a Saturday, 2025-11-04 a Tuesday.
        assert!(day_weight(0, 20_421) > 2 * day_weight(0, 20_396));
        assert!(day_weight(0, 20_400) > day_weight(0, 20_396));
    }

    #[test]
    fn options_without_sense_are_refused() {
        let folder = Path::new("/nonexistent");
        let refused = |options: Options| generate(&options, folder, &mut |_| {}).unwrap_err().to_string();
        assert_eq!(refused(Options { users: 0, ..Options::default() }), "`users` must be at least 1");
        assert_eq!(refused(Options { days: 0, ..Options::default() }), "`days` must be at least 1");
    }
}
