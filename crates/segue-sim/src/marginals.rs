//! The simulated world beside published figures on real listening.
//!
//! [`marginals`] computes each figure with the definition and the filter of its source and says whether
//! it is close. Two sources that describe different people cannot both be met; where that is so the row
//! says which one the world follows.

use serde::Serialize;

use crate::config::WorldConfig;
use crate::tally::{SKIP_CUTS_MS, Share, Tally};
use crate::world::World;
use segue_types::{EndReason, StartReason, Surface};

/// Whether a simulated figure is near the published one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Every number of the row is within the tolerance.
    Close,
    /// At least one is not.
    Off,
}

/// One row of the comparison.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Marginal {
    /// What is compared, with its definition.
    pub quantity: &'static str,
    /// As published.
    pub published: String,
    /// In this world.
    pub simulated: String,
    /// Short name of the source; see [`SOURCES`].
    pub source: &'static str,
    /// Strength of the evidence: `H`, `M` or `L`.
    pub confidence: char,
    /// Near or not.
    pub verdict: Verdict,
    /// Why a row is off, or what to know when reading it; may be empty.
    pub why: &'static str,
}

/// Sources by their short names.
pub const SOURCES: &[(&str, &str)] = &[
    ("Lamere", "P. Lamere, \"The Skip\", 2014 (Spotify listening)"),
    (
        "MS",
        "Brost, Mehrotra & Jehan, \"The Music Streaming Sessions Dataset\", 2019, mini set: 167,880 plays",
    ),
    ("YA", "Yambda-5B, arXiv 2505.22238"),
    ("Y50", "statistics of a 10,000-user sample of Yambda (public notebooks)"),
    ("DU", "Deezer uncertainty-feedback notebook, 2025"),
    ("L1", "the one listener of the Last.fm 1K sample"),
    ("HR", "HetRec 2011 Last.fm 2k, profiles of the fifty most played artists"),
    ("KKBox", "WSDM Cup 2018, competition sample"),
    ("Luminate", "Luminate year-end 2023 and mid-year 2024 reports"),
    ("Zhang", "Zhang et al., \"Understanding user behavior in Spotify\", INFOCOM 2013"),
    ("Anderson", "Anderson et al., \"The dynamics of repeat consumption\", WWW 2014"),
    ("Carousel", "Bendada et al., \"Carousel personalization in music streaming apps\", RecSys 2020"),
    ("Jamendo", "durations of the MTG-Jamendo tracks"),
    ("Spotify 2020", "Anderson et al., \"Algorithmic effects on the diversity of consumption\", WWW 2020"),
    ("Company", "figures of public companies on premium subscribers"),
];

/// A published number is met within this much of itself …
const RELATIVE: f64 = 0.15;
/// … or, for shares, within this much.
const ABSOLUTE: f64 = 0.03;

/// Collects rows.
struct Table {
    rows: Vec<Marginal>,
}

fn percent(x: f64) -> String {
    if x.is_finite() { format!("{:.1} %", 100.0 * x) } else { "–".to_owned() }
}

fn is_near(published: f64, simulated: f64, absolute: f64) -> bool {
    (simulated - published).abs() <= absolute.max(RELATIVE * published.abs())
}

impl Table {
    fn push(
        &mut self,
        quantity: &'static str,
        (published, simulated): (String, String),
        near: bool,
        (source, confidence): (&'static str, char),
        why: &'static str,
    ) {
        let verdict = if near { Verdict::Close } else { Verdict::Off };
        self.rows.push(Marginal { quantity, published, simulated, source, confidence, verdict, why });
    }

    /// A row of shares.
    fn shares(
        &mut self,
        quantity: &'static str,
        published: &[f64],
        simulated: &[f64],
        source: (&'static str, char),
        why: &'static str,
    ) {
        let show = |xs: &[f64]| xs.iter().map(|&x| percent(x)).collect::<Vec<_>>().join(", ");
        let near = published.iter().zip(simulated).all(|(&p, &s)| is_near(p, s, ABSOLUTE));
        self.push(quantity, (show(published), show(simulated)), near, source, why);
    }

    /// A row of plain numbers.
    fn numbers(
        &mut self,
        quantity: &'static str,
        published: &[f64],
        simulated: &[f64],
        source: (&'static str, char),
        why: &'static str,
    ) {
        let show = |xs: &[f64]| {
            let digits = |x: f64| if x.abs() >= 20.0 { format!("{x:.0}") } else { format!("{x:.2}") };
            xs.iter().map(|&x| digits(x)).collect::<Vec<_>>().join(", ")
        };
        let near = published.iter().zip(simulated).all(|(&p, &s)| is_near(p, s, 0.0));
        self.push(quantity, (show(published), show(simulated)), near, source, why);
    }
}

/// The figures of a world beside the published ones. Generates the whole log once; meant for
/// [`WorldConfig::reference`], whose listeners are as active as those of the sources.
#[must_use]
pub fn marginals(world: &World) -> Vec<Marginal> {
    rows(&Tally::of(world), world)
}

fn of(shares: &[Share]) -> Vec<f64> {
    shares.iter().map(|s| s.value()).collect()
}

fn part(counts: &[u64], codes: &[u8]) -> f64 {
    codes.iter().map(|&c| counts[c as usize]).sum::<u64>() as f64 / counts.iter().sum::<u64>() as f64
}

/// Value below which a share `q` of the counted cases lies, as an index.
fn quantile_of_counts(counts: &[u64], q: f64) -> f64 {
    let target = q * counts.iter().sum::<u64>() as f64;
    let mut seen = 0.0;
    for (value, &n) in counts.iter().enumerate() {
        seen += n as f64;
        if seen >= target {
            return value as f64;
        }
    }
    f64::NAN
}

fn quantile(values: &[u64], q: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    sorted.get(((sorted.len() as f64 - 1.0) * q).round().max(0.0) as usize).map_or(f64::NAN, |&x| x as f64)
}

/// Least-squares slope of `ln y` over `ln x`.
fn log_slope(points: &[(f64, f64)]) -> f64 {
    let logs: Vec<(f64, f64)> =
        points.iter().filter(|p| p.0 > 0.0 && p.1 > 0.0).map(|p| (p.0.ln(), p.1.ln())).collect();
    let n = logs.len() as f64;
    let (mx, my) = (logs.iter().map(|p| p.0).sum::<f64>() / n, logs.iter().map(|p| p.1).sum::<f64>() / n);
    let cov: f64 = logs.iter().map(|p| (p.0 - mx) * (p.1 - my)).sum();
    cov / logs.iter().map(|p| (p.0 - mx).powi(2)).sum::<f64>()
}

/// Slope of the density in a histogram with four bins per doubling, between two values.
fn density_slope(counts: &[u64], low: f64, high: f64) -> f64 {
    let edge = |bin: usize| (bin as f64 / 4.0).exp2();
    let points: Vec<(f64, f64)> = counts
        .iter()
        .enumerate()
        .map(|(bin, &n)| ((bin as f64 / 4.0 + 0.125).exp2(), n as f64 / (edge(bin + 1) - edge(bin))))
        .filter(|p| (low..=high).contains(&p.0))
        .collect();
    log_slope(&points)
}

/// Gini coefficient of non-negative counts.
fn gini(counts: &[u64]) -> f64 {
    let mut sorted = counts.to_vec();
    sorted.sort_unstable();
    let n = sorted.len() as f64;
    let total: f64 = sorted.iter().sum::<u64>() as f64;
    let weighted: f64 = sorted.iter().enumerate().map(|(i, &c)| (i as f64 + 1.0) * c as f64).sum();
    2.0 * weighted / (n * total) - (n + 1.0) / n
}

/// Share of the sum that the top `share` of the positive counts has.
fn top_share(descending: &[u64], share: f64) -> f64 {
    let n = ((descending.len() as f64 * share).round() as usize).max(1);
    descending.iter().take(n).sum::<u64>() as f64 / descending.iter().sum::<u64>() as f64
}

fn positive_descending(counts: &[u64]) -> Vec<u64> {
    let mut sorted: Vec<u64> = counts.iter().copied().filter(|&n| n > 0).collect();
    sorted.sort_unstable_by(|a, b| b.cmp(a));
    sorted
}

fn rows(t: &Tally, world: &World) -> Vec<Marginal> {
    let mut table = Table { rows: Vec::new() };
    lengths(&mut table, t);
    skips(&mut table, t);
    sessions(&mut table, t);
    repeats(&mut table, t);
    concentration(&mut table, t, world);
    people(&mut table, t, world.config());
    table.rows
}

fn lengths(table: &mut Table, t: &Tally) {
    table.shares(
        "left by 5 s, 10 s, 30 s, before the end (any reason)",
        &[0.241, 0.290, 0.351, 0.486],
        &of(&t.left_by),
        ("Lamere", 'H'),
        "",
    );
    table.shares(
        "left before the end: mobile, desktop, weekend (published: above 50 %)",
        &[0.511, 0.401, 0.50],
        &of(&t.left_where),
        ("Lamere", 'M'),
        "",
    );
    table.shares(
        "fraction heard: at most 5 %, at most 16 %, at least 95 %",
        &[0.24, 0.29, 0.57],
        &[t.fraction[0].value(), t.fraction[1].value(), t.fraction[3].value()],
        ("YA", 'M'),
        "Lamere's curve has more plays left early than Yambda; the world follows Lamere",
    );
    table.shares(
        "more than half heard: all, programmed, own choice",
        &[0.632, 0.681, 0.587],
        &[t.fraction[2].value(), t.half_by_origin[0].value(), t.half_by_origin[1].value()],
        ("Y50", 'H'),
        "MS has radio skipped more than the rest, Y50 recommended plays less; the world lies between",
    );
    table.shares(
        "heard 30 s by earlier plays: 0, 1, about 10, about 50",
        &[0.78, 0.745, 0.806, 0.755],
        &of(&t.stream_by_count),
        ("DU", 'M'),
        "Deezer's level is above Lamere's 64.9 % overall; the shape (dip, peak, fall) is followed",
    );
    table.shares(
        "heard 30 s by gap: 5 min, 1–3 h, 1 d, 12 d",
        &[0.65, 0.83, 0.80, 0.70],
        &of(&t.stream_by_gap),
        ("DU", 'M'),
        "same difference of level",
    );
    table.numbers(
        "seconds a played track lasts: median",
        &[215.0],
        &[quantile_of_counts(&t.durations, 0.5)],
        ("MS", 'H'),
        "",
    );
}

fn skips(table: &mut Table, t: &Tally) {
    debug_assert!(SKIP_CUTS_MS[0] < SKIP_CUTS_MS[1]);
    table.shares(
        "sessions of ten plays or more, first twenty: skip_1 (12 s), skip_2 (60 s), skip_3 (95 %), not skipped",
        &[0.422, 0.517, 0.648, 0.333],
        &of(&t.skip),
        ("MS", 'H'),
        "the cut-offs are not disclosed (ours, in brackets, were chosen to fit); MS leaves 33 % of plays to finish, Lamere 51 % and \
         Yambda 57 %: the world follows the two that agree",
    );
    let surface = |s: Surface| t.skip_by_surface[s.code() as usize];
    let both = |a: Share, b: Share| Share { yes: a.yes + b.yes, all: a.all + b.all };
    table.shares(
        "skip_2 by context: charts, radio, collection, editorial, catalogue",
        &[0.555, 0.554, 0.546, 0.508, 0.457],
        &of(&[
            surface(Surface::Charts),
            surface(Surface::Radio),
            surface(Surface::Library),
            surface(Surface::Editorial),
            both(surface(Surface::Catalogue), surface(Surface::Search)),
        ]),
        ("MS", 'H'),
        "level as above; the order is followed",
    );
    table.shares(
        "skip_2 by plan (free, premium) and shuffle (off, on)",
        &[0.534, 0.513, 0.50, 0.55],
        &of(&[t.skip_by_plan[0], t.skip_by_plan[1], t.skip_by_shuffle[0], t.skip_by_shuffle[1]]),
        ("MS", 'H'),
        "level as above",
    );
    table.shares(
        "skip_2 at 06 h, at 02 h",
        &[0.47, 0.55],
        &[t.skip_by_hour[6].value(), t.skip_by_hour[2].value()],
        ("MS", 'H'),
        "level as above",
    );
    table.shares(
        "skip_2 by place in session: 1st, 2nd, 3rd, 6th, 15th",
        &[0.38, 0.48, 0.51, 0.53, 0.55],
        &[0, 1, 2, 5, 14].map(|i| t.skip_by_place[i].value()),
        ("MS", 'H'),
        "level as above",
    );
    table.shares(
        "skip_2 after the previous play: finished, skipped",
        &[0.15, 0.77],
        &of(&t.skip_after),
        ("MS", 'H'),
        "",
    );
    let start = |codes: &[StartReason]| part(&t.starts, &codes.iter().map(|c| c.code()).collect::<Vec<_>>());
    table.shares(
        "start reasons: forward, track done, click, back",
        &[0.476, 0.33, 0.10, 0.08],
        &[
            start(&[StartReason::Next]),
            start(&[StartReason::TrackDone, StartReason::Autoplay]),
            start(&[StartReason::Click]),
            start(&[StartReason::Back]),
        ],
        ("MS", 'H'),
        "follows from the share of finished plays above",
    );
    let end = |codes: &[EndReason]| part(&t.ends, &codes.iter().map(|c| c.code()).collect::<Vec<_>>());
    table.shares(
        "end reasons: forward, track done, back, end of play (stop, other choice, cut off)",
        &[0.485, 0.34, 0.08, 0.09],
        &[
            end(&[EndReason::Next]),
            end(&[EndReason::TrackDone]),
            end(&[EndReason::Back]),
            end(&[
                EndReason::Stop,
                EndReason::Click,
                EndReason::Crash,
                EndReason::Logout,
                EndReason::NetworkLost,
            ]),
        ],
        ("MS", 'H'),
        "as the row above",
    );
    let on = |codes: &[Surface]| part(&t.surfaces, &codes.iter().map(|c| c.code()).collect::<Vec<_>>());
    table.shares(
        "contexts: collection, catalogue, editorial, radio, other",
        &[0.40, 0.23, 0.21, 0.13, 0.03],
        &[
            on(&[Surface::Library]),
            on(&[Surface::Catalogue, Surface::Search]),
            on(&[Surface::Editorial]),
            on(&[Surface::Radio]),
            on(&[Surface::Charts, Surface::Home, Surface::Other]),
        ],
        ("MS", 'H'),
        "",
    );
    table.shares("shuffle", &[0.309], &[t.shuffled.value()], ("MS", 'H'), "");
}

fn sessions(table: &mut Table, t: &Tally) {
    let (n, days) = (t.n_sessions as f64, t.active_days as f64);
    table.numbers(
        "plays per session, sessions per active day, minutes per active day (gap over 30 min)",
        &[18.4, 2.35, 95.0],
        &[t.n_plays as f64 / n, n / days, t.listened_ms as f64 / 60_000.0 / days],
        ("Y50", 'H'),
        "",
    );
    let at_risk = |k: usize| t.session_length[k..].iter().sum::<u64>() as f64;
    let hazard = |k: usize| t.session_length[k] as f64 / at_risk(k);
    table.shares(
        "hazard of the session's end after the 10th and 18th track",
        &[0.08, 0.05],
        &[hazard(10), hazard(18)],
        ("MS", 'M'),
        "",
    );
    let gap = |q: f64| quantile_of_counts(&t.session_gaps, q) / 10.0;
    table.numbers(
        "hours between sessions: quartile, median, quartile, p90",
        &[1.6, 9.5, 13.9, 22.1],
        &[gap(0.25), gap(0.5), gap(0.75), gap(0.9)],
        ("L1", 'L'),
        "one very active listener; the world's listeners are mostly less active",
    );
    let sunday: f64 = t.sunday_hours.iter().sum::<u64>() as f64;
    let hour = |h: usize| t.sunday_hours[h] as f64 / sunday;
    table.shares(
        "plays by local hour on a Sunday: at 05 h, mean of 14–16 h",
        &[0.008, 0.069],
        &[hour(5), (hour(14) + hour(15) + hour(16)) / 3.0],
        ("MS", 'M'),
        "",
    );
    let peaks = |counts: &[u64], low: usize, high: usize| {
        (low..high).max_by_key(|&h| (counts[h], std::cmp::Reverse(h))).unwrap_or(0)
    };
    let morning = peaks(&t.weekday_arrivals, 6, 13);
    let evening = peaks(&t.weekday_arrivals, 14, 24);
    let weekend = peaks(&t.weekend_arrivals, 6, 12);
    let near = (9..=10).contains(&morning) && (18..=19).contains(&evening) && weekend == 11;
    table.push(
        "hours of most session arrivals on weekdays; on weekends",
        (
            "9–10 and 18–19; no morning peak".to_owned(),
            format!(
                "{morning} and {evening}; {}",
                if weekend == 11 {
                    "no morning peak".to_owned()
                } else {
                    format!("morning peak at {weekend}")
                }
            ),
        ),
        near,
        ("Zhang", 'M'),
        "",
    );
}

fn repeats(table: &mut Table, t: &Tally) {
    table.shares(
        "heard before in the log (second half): track, artist",
        &[0.76, 0.95],
        &of(&t.heard_before),
        ("L1", 'L'),
        "one listener with years of log; here a month of it",
    );
    table.shares(
        "listener–track pairs heard again within a month",
        &[0.50],
        &[t.again_in_month.value()],
        ("KKBox", 'M'),
        "listeners come back to their own tracks more in this world",
    );
    let steep = density_slope(&t.step_law, 64.0, 512.0);
    let tail = density_slope(&t.step_law, 1_024.0, 8_192.0);
    table.push(
        "gap law: slope of the density of steps since the last play, at 64–512 and at 1,024–8,192",
        ("power law, then an exponential cut-off".to_owned(), format!("{steep:.2}, then {tail:.2}")),
        tail < steep,
        ("Anderson", 'H'),
        "",
    );
    table.numbers(
        "slope of the density of gaps over time (8 h to the log's half)",
        &[-1.27],
        &[density_slope(&t.hour_law, 8.0, 720.0)],
        ("L1", 'L'),
        "one listener over years; in 60 days a listener's repeats fall off less steeply",
    );
}

fn concentration(table: &mut Table, t: &Tally, world: &World) {
    let artists = positive_descending(&t.artist_plays);
    let zipf: Vec<(f64, f64)> = artists
        .iter()
        .enumerate()
        .map(|(i, &n)| (i as f64 + 1.0, n as f64))
        .filter(|p| (10.0..=1_000.0).contains(&p.0))
        .collect();
    table.numbers(
        "artists (top-50 profiles): share of plays of the top 1 %, Gini, Zipf slope (ranks 10–1,000)",
        &[0.52, 0.89, -0.99],
        &[top_share(&artists, 0.01), gini(&artists), log_slope(&zipf)],
        ("HR", 'M'),
        "the share of the top 1 % grows with the number of artists",
    );
    let items = positive_descending(&t.item_plays);
    table.shares(
        "listens of the top 7.3 % of played tracks",
        &[0.839],
        &[top_share(&items, 0.073)],
        ("Y50", 'H'),
        "published as the tracks with 100 listens or more",
    );
    let catalogue = world.catalogue();
    let last_day = world.config().end_day().0;
    let released: Vec<u32> =
        (0..catalogue.n_items() as u32).filter(|&i| catalogue.release_day[i as usize] < last_day).collect();
    let n_plays = |i: u32| t.item_plays.get(i as usize).copied().unwrap_or(0);
    let never = released.iter().filter(|&&i| n_plays(i) == 0).count();
    table.shares(
        "released tracks never played",
        &[0.248],
        &[never as f64 / released.len() as f64],
        ("Luminate", 'H'),
        "depends on plays per track: published for a year of a whole market",
    );
    table.shares(
        "plays of music at most 18 months old",
        &[0.27],
        &[t.new_music.value()],
        ("Luminate", 'H'),
        "",
    );
    let mut durations: Vec<u64> = catalogue.duration_ms.iter().map(|&d| u64::from(d / 1_000)).collect();
    durations.sort_unstable();
    table.numbers(
        "seconds a track of the catalogue lasts: p5, median, p95",
        &[77.0, 227.0, 451.0],
        &[quantile(&durations, 0.05), quantile(&durations, 0.5), quantile(&durations, 0.95)],
        ("Jamendo", 'H'),
        "",
    );
}

fn people(table: &mut Table, t: &Tally, config: &WorldConfig) {
    let median = quantile(&t.per_user, 0.5);
    table.numbers(
        "plays per listener: p90 and p95 as multiples of the median",
        &[4.21, 5.54],
        &[quantile(&t.per_user, 0.9) / median, quantile(&t.per_user, 0.95) / median],
        ("YA", 'H'),
        "",
    );
    table.numbers(
        "plays per listener, median, scaled to 300 days",
        &[3_076.0],
        &[median * 300.0 / f64::from(config.n_days)],
        ("YA", 'H'),
        "a matter of `mean_plays_per_day`; the presets other than `reference` are set lower to stay small",
    );
    table.shares(
        "top artist of a profile: quartile, median, quartile",
        &[0.08, 0.127, 0.22],
        &[0.25, 0.5, 0.75].map(|q| quantile(&t.top_artist, q) / 1_000.0),
        ("HR", 'M'),
        "",
    );
    let mut changes: Vec<u64> =
        t.diversity.iter().map(|&(first, second)| first.abs_diff(second) * 1_000 / first.max(1)).collect();
    changes.sort_unstable();
    let change = quantile(&changes, 0.5) / 1_000.0;
    table.push(
        "change of a listener's diversity (effective genres) between the halves of the log: median",
        ("very stable over a year".to_owned(), percent(change)),
        change < 0.15,
        ("Spotify 2020", 'H'),
        "the source gives no number and the bound of 15 % is ours; the correlation of the halves is only about .7",
    );
    table.shares(
        "display-to-stream on the shelves of Home",
        &[0.007],
        &[t.n_home_plays as f64 / t.n_impressions as f64],
        ("Carousel", 'M'),
        "published: 0.7 % mean, 13 % for the best; cards here are tracks, there playlists",
    );
    table.shares(
        "programmed listening (Home, radio, editorial, charts, autoplay)",
        &[0.487],
        &[t.programmed.value()],
        ("YA", 'H'),
        "31 % in Spotify's filing of 2017; the contexts of MS imply 34–37 %",
    );
    let per_mille = |i: usize| t.reactions[i] as f64 * 1_000.0 / t.n_plays as f64;
    table.numbers(
        "per 1,000 plays: likes, dislikes, unlikes",
        &[19.2, 2.5, 7.1],
        &[per_mille(0), per_mille(1), per_mille(2)],
        ("YA", 'H'),
        "saves count as likes, hides as dislikes",
    );
    table.shares(
        "active 1, 7, 30 days after the first observed play",
        &[0.547, 0.497, 0.446],
        &of(&t.back),
        ("Y50", 'M'),
        "",
    );
    table.shares(
        "listeners of one month without a play in the next",
        &[0.05],
        &[t.churned.value()],
        ("Company", 'M'),
        "published: under 1.5–5 % a month; includes long pauses here",
    );
}

/// The rows as a Markdown table.
#[must_use]
pub fn to_markdown(rows: &[Marginal]) -> String {
    let mut out = String::from(
        "| quantity | published | simulated | source | evidence | verdict | remark |\n|---|---|---|---|---|---|---|\n",
    );
    for r in rows {
        let verdict = match r.verdict {
            Verdict::Close => "close",
            Verdict::Off => "off",
        };
        let line = format!(
            "| {} | {} | {} | {} | {} | {verdict} | {} |\n",
            r.quantity, r.published, r.simulated, r.source, r.confidence, r.why
        );
        out.push_str(&line);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gini_and_top_share_of_small_counts_are_right_by_hand() {
        assert!((gini(&[1, 1, 1, 1])).abs() < 1e-12);
        assert!((gini(&[0, 0, 0, 4]) - 0.75).abs() < 1e-12);
        assert!((top_share(&[6, 2, 1, 1], 0.25) - 0.6).abs() < 1e-12);
    }

    #[test]
    fn slopes_of_a_pure_power_law_are_recovered() {
        let points: Vec<(f64, f64)> = (1..100).map(|x| (f64::from(x), f64::from(x).powf(-1.3))).collect();
        assert!((log_slope(&points) + 1.3).abs() < 1e-9);
        let counts: Vec<u64> = (0..60)
            .map(|b| {
                let edge = |b: i32| (f64::from(b) / 4.0).exp2();
                // The integral of x^-2 over the bin, times a large number.
                (1e12 * (1.0 / edge(b) - 1.0 / edge(b + 1))) as u64
            })
            .collect();
        assert!((density_slope(&counts, 8.0, 1_000.0) + 2.0).abs() < 0.01);
    }

    #[test]
    fn quantiles_of_counts_are_indices() {
        assert_eq!(quantile_of_counts(&[0, 5, 0, 5], 0.5), 1.0);
        assert_eq!(quantile_of_counts(&[0, 5, 0, 5], 0.9), 3.0);
        assert!(quantile_of_counts(&[], 0.5).is_nan() || quantile_of_counts(&[], 0.5) == 0.0);
        assert_eq!(quantile(&[3, 1, 2], 0.5), 2.0);
    }

    #[test]
    fn nearness_is_relative_or_absolute_for_small_shares() {
        assert!(is_near(0.5, 0.57, ABSOLUTE) && !is_near(0.5, 0.58, ABSOLUTE));
        assert!(is_near(0.01, 0.035, ABSOLUTE) && !is_near(0.01, f64::NAN, ABSOLUTE));
    }
}
