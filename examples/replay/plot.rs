//! The picture: offered and admitted load over time, one panel per algorithm.
//!
//! `docs/replay.svg` is what `--plot` draws of the built-in workload.

use std::{error::Error, ops::Range};

use plotters::{
    coord::Shift,
    prelude::*,
    style::text_anchor::{HPos, Pos, VPos},
};
use tollgate::Timestamp;

use crate::{
    cli::Options,
    date::{Date, MONTHS},
    outcome::Outcome,
    report::{grouped, percent},
    timeline::{Timeline, round_step},
    trace::Trace,
    workload::{CLIENTS, Workload},
};

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

// Sizes in pixels.
const WIDTH: u32 = 1_000;
const PANEL: u32 = 112;
/// What a panel leaves above it, for its title.
const GAP: u32 = 34;
const LEFT: u32 = 76;
const RIGHT: u32 = 18;
const HEADER: u32 = 44;
/// What the names of the clients take, where they have names.
const CAPTIONS: u32 = 46;
const FOOTER: u32 = 58;

const INK: RGBColor = RGBColor(0x24, 0x29, 0x2f);
const FAINT: RGBColor = RGBColor(0x57, 0x60, 0x6a);
const GRID: RGBColor = RGBColor(0xe4, 0xe7, 0xeb);
const OFFERED: RGBColor = RGBColor(0xd0, 0xd5, 0xdb);
/// Told apart by all kinds of eyes: M. Okabe, K. Ito, "Color universal design" (2008), darker where text needs it.
const COLOURS: [RGBColor; 5] = [
    RGBColor(0xd5, 0x5e, 0x00),
    RGBColor(0x00, 0x72, 0xb2),
    RGBColor(0x00, 0x8a, 0x63),
    RGBColor(0xb0, 0x4f, 0x88),
    RGBColor(0xb0, 0x7a, 0x00),
];

/// Draws it all.
pub(crate) fn svg(
    options: &Options,
    trace: &Trace,
    outcomes: &[Outcome],
    timeline: &Timeline,
    workload: Option<&Workload>,
) -> Result<String, Box<dyn Error>> {
    let picture = Picture::new(options, trace, outcomes, timeline, workload);
    let mut svg = String::new();
    let root = SVGBackend::with_string(&mut svg, (WIDTH, picture.bottom() + FOOTER)).into_drawing_area();
    // A ground of its own, for pages that are dark.
    root.fill(&WHITE)?;
    picture.header(&root)?;
    for (nth, outcome) in outcomes.iter().enumerate() {
        picture.panel(&root, nth, outcome)?;
    }
    picture.footer(&root)?;
    root.present()?;
    drop(root);
    Ok(svg)
}

/// What all panels share.
struct Picture<'a> {
    options: &'a Options,
    timeline: &'a Timeline,
    workload: Option<&'a Workload>,
    panels: u32,
    /// The offered load, in requests per bin.
    offered: Vec<u64>,
    /// The highest load that is shown, in requests per period.
    highest: f64,
    /// Where there are marks on the time axis, and what they say.
    marks: Vec<(Timestamp, String)>,
}

impl<'a> Picture<'a> {
    fn new(
        options: &'a Options,
        trace: &Trace,
        outcomes: &[Outcome],
        timeline: &'a Timeline,
        workload: Option<&'a Workload>,
    ) -> Self {
        let mut offered = timeline.empty();
        trace.requests.iter().for_each(|request| timeline.count(&mut offered, request.at));
        let loads = outcomes.iter().map(|outcome| &outcome.load);
        let highest = loads.chain([&offered]).flatten().max().copied().unwrap_or(0).max(1);
        let mut picture = Self {
            options,
            timeline,
            workload,
            panels: outcomes.len() as u32,
            offered,
            highest: 0.0,
            marks: if workload.is_some() { window_marks(options, timeline) } else { date_marks(timeline) },
        };
        picture.highest = 1.08 * picture.per_period(highest);
        picture
    }

    /// Requests per bin as requests per period.
    fn per_period(&self, count: u64) -> f64 {
        count as f64 * self.options.window.as_secs_f64() / self.timeline.bin.as_secs_f64()
    }

    /// The rate of one client, in requests per period, if it is low enough to be shown.
    fn rate(&self) -> Option<f64> {
        Some(self.options.limit() as f64).filter(|&rate| rate < self.highest)
    }

    fn seconds(&self, at: Timestamp) -> f64 {
        (at - self.timeline.start).as_secs_f64()
    }

    fn span(&self) -> Range<f64> {
        0.0..self.seconds(self.timeline.end())
    }

    /// The horizontal place of a time, in pixels.
    fn x(&self, at: Timestamp) -> i32 {
        let width = f64::from(WIDTH - LEFT - RIGHT);
        (f64::from(LEFT) + width * self.seconds(at) / self.span().end).round() as i32
    }

    fn top(&self, nth: usize) -> u32 {
        let above = if self.workload.is_some() { HEADER + CAPTIONS } else { HEADER };
        above + GAP + nth as u32 * (PANEL + GAP)
    }

    /// Where the last panel ends.
    fn bottom(&self) -> u32 {
        self.top(self.panels as usize) - GAP
    }

    fn header(&self, root: &Area<'_>) -> Result<(), Box<dyn Error>> {
        let middle = HEADER as i32 / 2 + 6;
        let options = self.options;
        let title = format!("{} per {:?} for each client", grouped(options.limit()), options.window);
        text(root, &title, (LEFT as i32, middle), 18, INK, (HPos::Left, true))?;

        let mut right = (WIDTH - RIGHT) as i32;
        if self.rate().is_some() {
            text(root, "one client's rate", (right, middle), 14, FAINT, (HPos::Right, false))?;
            right -= 122;
            for dash in 0..3 {
                let from = right - 28 + 10 * dash;
                root.draw(&PathElement::new([(from, middle), (from + 6, middle)], INK.stroke_width(2)))?;
            }
            right -= 52;
        }
        text(root, "offered", (right, middle), 14, FAINT, (HPos::Right, false))?;
        right -= 56;
        root.draw(&Rectangle::new([(right - 22, middle - 7), (right - 4, middle + 7)], OFFERED.filled()))?;
        right -= 44;
        text(root, "admitted", (right, middle), 14, FAINT, (HPos::Right, false))?;
        right -= 66;
        for (nth, colour) in COLOURS.into_iter().rev().enumerate() {
            let from = right - 8 - 7 * nth as i32;
            root.draw(&Rectangle::new([(from, middle - 7), (from + 5, middle + 7)], colour.filled()))?;
        }

        if let Some(workload) = self.workload {
            for client in &CLIENTS {
                let [from, to] = [client.from, client.to].map(|at| self.x(Timestamp::from_nanos(workload.at(at))));
                let (middle, top) = ((from + to) / 2, HEADER as i32 + 14);
                text(root, client.name, (middle, top), 15, INK, (HPos::Center, true))?;
                text(root, client.caption, (middle, top + 19), 13, FAINT, (HPos::Center, false))?;
            }
        }
        Ok(())
    }

    fn panel(&self, root: &Area<'_>, nth: usize, outcome: &Outcome) -> Result<(), Box<dyn Error>> {
        let colour = COLOURS[nth % COLOURS.len()];
        let top = self.top(nth);
        let name = outcome.name.replace('_', " ");
        let line = top as i32 - 12;
        text(root, &name, (LEFT as i32, line), 16, colour, (HPos::Left, true))?;
        let mut told = outcome.share().map_or("nothing offered".into(), |share| format!("{} admitted", percent(share)));
        if !outcome.longest_delay.is_zero() {
            told += ", each shown when its delay is over";
        }
        text(root, &told, (LEFT as i32 + 148, line), 14, INK, (HPos::Left, false))?;
        let worst = format!(
            "at most {} admitted in any {:?} (bound {})",
            grouped(outcome.worst_window),
            self.options.window,
            grouped(outcome.bound)
        );
        text(root, &worst, ((WIDTH - RIGHT) as i32, line), 14, FAINT, (HPos::Right, false))?;

        let area = root.clone().shrink((LEFT, top), (WIDTH - LEFT - RIGHT, PANEL));
        let mut chart = ChartBuilder::on(&area).build_cartesian_2d(self.span(), 0.0..self.highest)?;
        for (at, _) in &self.marks {
            let x = self.seconds(*at);
            chart.draw_series(LineSeries::new([(x, 0.0), (x, self.highest)], GRID))?;
        }
        for load in self.loads() {
            chart.draw_series(LineSeries::new([(0.0, load), (self.span().end, load)], GRID))?;
        }
        chart.draw_series(AreaSeries::new(self.steps(&self.offered), 0.0, OFFERED.filled()))?;
        let admitted = AreaSeries::new(self.steps(&outcome.load), 0.0, colour.mix(0.75).filled());
        chart.draw_series(admitted.border_style(colour.stroke_width(1)))?;
        if let Some(rate) = self.rate() {
            let ends = [0.0, self.span().end].map(|x| (x, rate));
            chart.draw_series(DashedLineSeries::new(ends, 6, 4, INK.stroke_width(1)))?;
        }
        chart.draw_series(LineSeries::new([(0.0, 0.0), (self.span().end, 0.0)], FAINT))?;
        for load in self.loads() {
            let (_, y) = chart.backend_coord(&(0.0, load));
            let label = if self.highest < 2.0 { format!("{load:.1}") } else { grouped(load as u64) };
            text(root, &label, (LEFT as i32 - 8, y), 13, FAINT, (HPos::Right, false))?;
        }
        Ok(())
    }

    fn footer(&self, root: &Area<'_>) -> Result<(), Box<dyn Error>> {
        let bottom = self.bottom() as i32;
        for (at, label) in &self.marks {
            let x = self.x(*at);
            // Not so far right that it would be cut off, at some 4 pixels for half a character.
            if x + 4 * label.len() as i32 <= WIDTH as i32 {
                text(root, label, (x, bottom + 14), 13, FAINT, (HPos::Center, false))?;
            }
        }
        let window = self.options.window;
        let axis = match self.workload {
            Some(_) => format!("time, in windows of {window:?}"),
            None => "time (UTC)".into(),
        };
        let middle = (LEFT + WIDTH - RIGHT) as i32 / 2;
        text(root, &axis, (middle, bottom + 38), 14, INK, (HPos::Center, false))?;

        let style = ("sans-serif", 14.0 * FONT_SCALE).into_font().transform(FontTransform::Rotate270).color(&INK);
        let middle = (self.top(0) as i32 + bottom) / 2;
        let label = format!("load, in requests per {window:?}");
        root.draw(&Text::new(label, (20, middle), style.pos(Pos::new(HPos::Center, VPos::Center))))?;
        Ok(())
    }

    /// The loads that are marked: some three of them, round numbers.
    fn loads(&self) -> impl Iterator<Item = f64> {
        let rough = (self.highest / 3.0).max(0.1);
        let power = 10f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].into_iter().map(|digit| digit * power).find(|&step| step >= rough);
        let (step, highest) = (step.unwrap_or(rough), self.highest);
        (0..).map(move |nth| f64::from(nth) * step).take_while(move |&load| load < highest)
    }

    /// The outline of a histogram, in seconds and requests per period.
    fn steps(&self, counts: &[u64]) -> Vec<(f64, f64)> {
        let bin = self.timeline.bin.as_secs_f64();
        let mut points: Vec<(f64, f64)> = Vec::new();
        for (nth, &count) in counts.iter().enumerate() {
            let (from, load) = (nth as f64 * bin, self.per_period(count));
            match points.last_mut() {
                // The same again: the last point moves on.
                Some((end, last)) if *last == load => *end = from + bin,
                _ => points.extend([(from, load), (from + bin, load)]),
            }
        }
        points
    }
}

/// What plotters divides a font's size by when it writes SVG.
const FONT_SCALE: f64 = 1.24;

/// Writes `text` with its middle at the height of `place`, flush with it as `how` says, and bold if it says so.
fn text(
    root: &Area<'_>,
    text: &str,
    place: (i32, i32),
    size: u32,
    colour: RGBColor,
    (flush, bold): (HPos, bool),
) -> Result<(), Box<dyn Error>> {
    let weight = if bold { FontStyle::Bold } else { FontStyle::Normal };
    let font = ("sans-serif", f64::from(size) * FONT_SCALE, weight).into_font();
    let style = TextStyle::from(font).color(&colour).pos(Pos::new(flush, VPos::Center));
    root.draw(&Text::new(text.to_owned(), place, style))?;
    Ok(())
}

/// The edges of the clock's windows, counted from the beginning.
fn window_marks(options: &Options, timeline: &Timeline) -> Vec<(Timestamp, String)> {
    let edges = (0..).map(|nth| (timeline.start + options.window * nth, nth.to_string()));
    edges.take_while(|(at, _)| *at <= timeline.end()).collect()
}

/// Round times of the calendar, some eight of them.
fn date_marks(timeline: &Timeline) -> Vec<(Timestamp, String)> {
    const DAY: u64 = 24 * 60 * 60;
    let [start, end] = [timeline.start, timeline.end()].map(|at| at.as_nanos() / 1_000_000_000);
    let step = round_step(end - start, 8);
    let label = |at: u64| {
        let Date { year, month, day } = Date::after_1970((at / DAY) as u32);
        let month = MONTHS[month as usize - 1];
        let (hour, minute, second) = (at / 3_600 % 24, at / 60 % 60, at % 60);
        match step {
            DAY.. => format!("{day} {month} {year}"),
            60.. => format!("{day} {month} {hour:02}:{minute:02}"),
            _ => format!("{hour:02}:{minute:02}:{second:02}"),
        }
    };
    let first = start.div_ceil(step);
    (first..=end / step).map(|nth| (Timestamp::from_secs(nth * step), label(nth * step))).collect()
}
