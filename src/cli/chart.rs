//! A chart of counts over time, in Braille dots.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use textplots::{Chart, LabelBuilder as _, LabelFormat, Plot as _, Shape, TickDisplay, TickDisplayBuilder as _};

/// Dots from side to side and from top to bottom; two by four are a character.
const SIZE: (u32, u32) = (140, 48);

/// A span up to this is told with the time of day.
const SHORT_SECONDS: i64 = 3 * 86_400;

/// Counts that last from their instants, in seconds, to the next ones; `None` when there are no two instants.
pub(crate) fn chart(title: &str, mut counts: Vec<(i64, u64)>, zone: &TimeZone) -> Option<String> {
    counts.sort_by_key(|(at, _)| *at);
    let (first, last) = (counts.first()?.0, counts.last()?.0);
    if first == last {
        return None;
    }
    let least = counts.iter().map(|(_, count)| *count).min()?;
    let greatest = counts.iter().map(|(_, count)| *count).max()?;
    let (bottom, top) = scale(least, greatest);
    #[expect(clippy::cast_precision_loss, reason = "a chart has a few thousand dots")]
    let (points, end, bottom, top) = {
        let points: Vec<(f32, f32)> = counts.iter().map(|(at, count)| ((at - first) as f32, *count as f32)).collect();
        (points, (last - first) as f32, bottom as f32, top as f32)
    };
    let zone = zone.clone();
    let is_short = last - first <= SHORT_SECONDS;
    #[expect(clippy::cast_possible_truncation, reason = "a label is as exact as the chart")]
    let label = move |seconds: f32| {
        let at = if seconds >= end { last } else { first + seconds as i64 };
        let Ok(at) = Timestamp::from_second(at) else { return String::new() };
        let at = at.to_zoned(zone.clone());
        at.strftime(if is_short { "%Y-%m-%d %H:%M" } else { "%Y-%m-%d" }).to_string()
    };
    let shape = Shape::Steps(&points);
    let (width, height) = SIZE;
    let mut chart = Chart::new_with_y_range(width, height, 0.0, end, bottom, top);
    let chart = chart
        .x_label_format(LabelFormat::Custom(Box::new(label)))
        .y_label_format(LabelFormat::Custom(Box::new(|count| format!("{count:.0}"))))
        .y_tick_display(TickDisplay::Sparse)
        .lineplot(&shape);
    chart.axis();
    chart.figures();
    Some(format!("{title}\n{chart}"))
}

/// Steps from the bottom of a chart to its top, each with a label.
const STEPS: u64 = 3;

/// The ends of a scale with labels that are round, which holds all counts and stands above them. What hardly moves is looked at from near.
fn scale(least: u64, greatest: u64) -> (u64, u64) {
    let base = if least > greatest / 2 && greatest > least { least } else { 0 };
    let decades = (0..20).map_while(|power| 10_u64.checked_pow(power));
    let round = decades.flat_map(|decade| [1, 2, 5].map(|digit| decade.saturating_mul(digit)));
    let ends = round.map(|step| {
        let bottom = base / step * step;
        (bottom, bottom.saturating_add(STEPS.saturating_mul(step)))
    });
    ends.into_iter().find(|(_, top)| *top > greatest).unwrap_or((0, u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 86_400;

    fn drawn(counts: Vec<(i64, u64)>) -> Option<String> {
        chart("members of `vip`", counts, &TimeZone::get("Europe/Berlin").unwrap())
    }

    #[test]
    fn a_chart_begins_and_ends_with_local_dates() {
        // 2026-01-01T23:30:00Z, which is the next day in Berlin.
        let start = 1_767_310_200;
        let chart = drawn((0..30).zip(100..).map(|(day, count)| (start + day * DAY, count)).collect()).unwrap();
        let last = chart.trim_end().lines().last().unwrap();
        assert!(last.starts_with("2026-01-02") && last.trim_end().ends_with("2026-01-31"), "{chart}");
        assert!(chart.starts_with("members of `vip`\n") && chart.contains(" 130\n"), "{chart}");
        assert!(chart.contains(" 100\n") && !chart.contains(" 0\n"), "{chart}");
        let short = drawn(vec![(start, 1), (start + 3_600, 3)]).unwrap();
        let last = short.trim_end().lines().last().unwrap();
        assert!(last.starts_with("2026-01-02 00:30") && last.trim_end().ends_with("2026-01-02 01:30"), "{short}");
        assert!(short.contains(" 6\n") && short.contains(" 0\n"), "{short}");
    }

    #[test]
    fn scales_are_round_and_hold_all_counts() {
        let scales = [(0, 0), (1, 3), (45, 45), (100, 129), (990_000, 1_010_000), (7, 8), (u64::MAX, u64::MAX)];
        let ends = [(0, 3), (0, 6), (0, 60), (100, 130), (990_000, 1_020_000), (7, 10), (0, u64::MAX)];
        assert_eq!(scales.map(|(least, greatest)| scale(least, greatest)), ends);
    }

    #[test]
    fn what_is_one_instant_or_nobody_needs_no_chart() {
        assert_eq!(drawn(vec![(7, 1), (7, 2)]), None);
        assert_eq!(drawn(Vec::new()), None);
        assert!(drawn(vec![(0, 0), (DAY, 0)]).is_some());
    }
}
