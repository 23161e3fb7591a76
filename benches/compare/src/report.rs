//! What is printed: Markdown for people, or one JSON object a line.

use crate::cases::Case;

/// What one number of a case counts.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Nanoseconds per decision: less is better.
    Nanoseconds,
    /// Millions of decisions a second, of all threads together: more is better.
    MillionsPerSecond,
    /// Bytes of resident memory per key: less is better.
    BytesPerKey,
}

/// The figures of one subject, one a round.
pub struct Figure {
    pub name: &'static str,
    pub values: Vec<f64>,
    /// How many more were admitted than the algorithm's bound, where it can be checked.
    pub over_admitted: Option<u64>,
}

/// First quartile, median, third quartile.
struct Spread([f64; 3]);

impl Spread {
    fn of(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        let at = |quarters: usize| values[(values.len() - 1) * quarters / 4];
        Self([at(1), at(2), at(3)])
    }

    fn median(&self) -> f64 {
        self.0[1]
    }
}

/// The subject that the ratios of a case are of: tollgate's, or the first where there is none.
fn reference(figures: &[Figure]) -> &Figure {
    figures.iter().find(|figure| figure.name == "tollgate").unwrap_or(&figures[0])
}

/// `reference` divided by `figure`, round by round.
fn ratio(reference: &Figure, figure: &Figure) -> Spread {
    Spread::of(reference.values.iter().zip(&figure.values).map(|(own, other)| own / other).collect())
}

impl Unit {
    const fn name(self) -> &'static str {
        match self {
            Self::Nanoseconds => "ns",
            Self::MillionsPerSecond => "mops",
            Self::BytesPerKey => "bytes",
        }
    }
}

/// The head of the Markdown table.
pub fn print_head() {
    println!("| case | threads | subject | median | unit | first subject against it | quartiles | over-admitted |");
    println!("| --- | --- | --- | --- | --- | --- | --- | --- |");
}

/// Some rows of the Markdown table.
pub fn print_rows(case: &Case, figures: &[Figure]) {
    let reference = reference(figures);
    for figure in figures {
        let (median, Spread([low, middle, high])) =
            (Spread::of(figure.values.clone()).median(), ratio(reference, figure));
        let over_admitted = figure.over_admitted.map_or(String::new(), |count| count.to_string());
        println!(
            "| {} | {} | {} | {median:.2} | {} | {middle:.2} | {low:.2} – {high:.2} | {over_admitted} |",
            case.name,
            case.threads,
            figure.name,
            case.unit.name(),
        );
    }
}

/// One line of JSON. Names of cases and subjects need no escapes.
pub fn print_json(case: &Case, figures: &[Figure]) {
    let list = |entries: Vec<String>| format!("{{{}}}", entries.join(","));
    let reference = reference(figures);
    let mut fields = vec![
        format!(r#""case":"{}""#, case.name),
        format!(r#""threads":{}"#, case.threads),
        format!(r#""unit":"{}""#, case.unit.name()),
    ];
    for figure in figures {
        fields.push(format!(r#""{}":{:.3}"#, figure.name, Spread::of(figure.values.clone()).median()));
    }
    let ratios = figures.iter().map(|figure| {
        let Spread([low, middle, high]) = ratio(reference, figure);
        format!(r#""{}":[{low:.3},{middle:.3},{high:.3}]"#, figure.name)
    });
    fields.push(format!(r#""ratios":{}"#, list(ratios.collect())));
    let over_admitted: Vec<String> = figures
        .iter()
        .filter_map(|figure| figure.over_admitted.map(|count| format!(r#""{}":{count}"#, figure.name)))
        .collect();
    if !over_admitted.is_empty() {
        fields.push(format!(r#""over_admitted":{}"#, list(over_admitted)));
    }
    println!("{}", list(fields));
}
