//! Time cut into bands, so that measures that differ in nothing but their windows are one: an event falls into one band, and a window is
//! a run of bands.

use std::ops::Range;

use crate::model::window::Interval;

/// No band: the event lies in no window.
pub(super) const NO_BAND: u16 = u16::MAX;

/// The bounds of the windows of all measures, in microseconds: what lies between two neighbours is the same to every window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Bounds(Vec<i64>);

impl Bounds {
    /// The bounds of these windows.
    pub(super) fn of(windows: impl Iterator<Item = Interval>) -> Self {
        let bounds = windows.flat_map(|window| [window.from, window.to]).flatten();
        let mut bounds: Vec<i64> = bounds.map(jiff::Timestamp::as_microsecond).collect();
        bounds.sort_unstable();
        bounds.dedup();
        Self(bounds)
    }

    /// How many spans of time they make.
    pub(super) fn spans(&self) -> usize {
        self.0.len() + 1
    }

    /// The span that an instant lies in: 0 before the first bound.
    pub(super) fn span(&self, instant: i64) -> usize {
        self.0.partition_point(|bound| *bound <= instant)
    }

    /// The spans that a window consists of.
    fn window(&self, window: Interval) -> Range<usize> {
        let at = |instant: jiff::Timestamp| self.span(instant.as_microsecond());
        let from = window.from.map_or(0, at);
        from..window.to.map_or(self.spans(), at).max(from)
    }
}

/// How a measure keeps its windows apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Grain {
    /// What lies in a window is put together from all of its bands.
    Both,
    /// The latest event of a window is the latest before its end, if that is not before its start.
    Latest,
    /// The earliest event of a window is the earliest since its start, if that is not after its end.
    Earliest,
}

/// The bands of one measure with several windows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Bands {
    /// The band of each span of time, [`NO_BAND`] for those in no window.
    of_span: Vec<u16>,
    /// How many there are.
    count: usize,
    /// The bands of each window.
    windows: Vec<Range<usize>>,
    /// The spans of each band.
    spans: Vec<Range<usize>>,
}

impl Bands {
    /// The bands of these windows; `None` when there are more than can be numbered.
    pub(super) fn of(bounds: &Bounds, windows: &[Interval], grain: Grain) -> Option<Self> {
        let spans: Vec<Range<usize>> = windows.iter().map(|window| bounds.window(*window)).collect();
        // Where a band begins, and which bands hold what a window asks for.
        let begins = |span: usize| match grain {
            Grain::Both => spans.iter().any(|window| window.start == span || window.end == span),
            Grain::Latest => spans.iter().any(|window| window.end == span),
            Grain::Earliest => spans.iter().any(|window| window.start == span),
        };
        let wanted = |span: usize| spans.iter().any(|window| window.contains(&span));
        let mut of_span = Vec::with_capacity(bounds.spans());
        let mut first_spans: Vec<usize> = Vec::new();
        let mut last_spans: Vec<usize> = Vec::new();
        let mut open = false;
        for span in 0..bounds.spans() {
            if !wanted(span) {
                of_span.push(NO_BAND);
                open = false;
                continue;
            }
            if !open || begins(span) {
                first_spans.push(span);
                last_spans.push(span);
            }
            if let Some(last) = last_spans.last_mut() {
                *last = span;
            }
            open = true;
            let band = u16::try_from(first_spans.len() - 1).ok().filter(|band| *band != NO_BAND)?;
            of_span.push(band);
        }
        // The bands that begin before a span.
        let before = |span: usize| first_spans.partition_point(|first| *first < span);
        let windows = spans.iter().map(|window| match grain {
            Grain::Both => before(window.start)..before(window.end),
            Grain::Latest => 0..before(window.end),
            Grain::Earliest => before(window.start)..first_spans.len(),
        });
        let windows = windows.collect();
        let spans = first_spans.iter().zip(last_spans).map(|(first, last)| *first..last + 1).collect();
        Some(Self { windows, count: first_spans.len(), of_span, spans })
    }

    /// How many.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// The band of a span of time, or [`NO_BAND`].
    pub(super) fn of_span(&self, span: usize) -> u16 {
        self.of_span.get(span).copied().unwrap_or(NO_BAND)
    }

    /// When each band begins and ends, in microseconds.
    pub(super) fn edges(&self, bounds: &Bounds) -> Vec<(Option<i64>, Option<i64>)> {
        let edge = |span: &Range<usize>| {
            (span.start.checked_sub(1).and_then(|at| bounds.0.get(at)).copied(), bounds.0.get(span.end - 1).copied())
        };
        self.spans.iter().map(edge).collect()
    }

    /// The bands of a window, by its position.
    pub(super) fn window(&self, window: usize) -> Range<usize> {
        self.windows.get(window).cloned().unwrap_or(0..0)
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    fn window(from: Option<i64>, to: Option<i64>) -> Interval {
        let at = |micros| Timestamp::from_microsecond(micros).unwrap();
        Interval { from: from.map(at), to: to.map(at) }
    }

    /// Every window holds exactly the instants that fall into one of its bands, however windows lie to each other.
    #[test]
    fn windows_are_runs_of_bands() {
        let sets: [&[Interval]; 5] = [
            &[window(None, Some(10))],
            &[window(Some(3), Some(10)), window(Some(7), Some(10)), window(None, Some(10))],
            &[window(Some(1), Some(4)), window(Some(3), Some(6)), window(Some(8), Some(9))],
            &[window(Some(5), Some(5)), window(Some(6), Some(2)), window(Some(2), Some(6))],
            &[window(None, None), window(Some(4), None)],
        ];
        for windows in sets {
            let other = window(Some(2), Some(9));
            let bounds = Bounds::of(windows.iter().copied().chain([other]));
            let bands = Bands::of(&bounds, windows, Grain::Both).unwrap();
            for instant in -1..12 {
                let band = usize::from(bands.of_span(bounds.span(instant)));
                for (position, window) in windows.iter().enumerate() {
                    let inside = window.from.is_none_or(|from| from.as_microsecond() <= instant)
                        && window.to.is_none_or(|to| instant < to.as_microsecond());
                    assert_eq!(bands.window(position).contains(&band), inside, "{instant} in {window:?} of {windows:?}");
                }
            }
        }
    }

    #[test]
    fn windows_with_one_end_need_one_band_for_what_is_latest() {
        let windows = [window(Some(3), Some(10)), window(Some(7), Some(10)), window(None, Some(10))];
        let bounds = Bounds::of(windows.iter().copied());
        assert_eq!(Bands::of(&bounds, &windows, Grain::Both).unwrap().count(), 3);
        let latest = Bands::of(&bounds, &windows, Grain::Latest).unwrap();
        assert_eq!((latest.count(), latest.window(0), latest.window(2)), (1, 0..1, 0..1));
        assert_eq!(Bands::of(&bounds, &windows, Grain::Earliest).unwrap().count(), 3);
    }
}
