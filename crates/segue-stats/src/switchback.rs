//! Switchback experiments: whole periods (or markets) take turns between arms.

use crate::StatsError;
use crate::error::finite;
use crate::random::Stream;

/// One period of one block (a market, a day of the week).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Period {
    /// Block within which arms were drawn.
    pub block: usize,
    /// Whether the treatment was on.
    pub treated: bool,
    /// The metric of the period, its first minutes after a switch already left out against carry-over.
    pub value: f64,
}

/// Result of [`switchback`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Switchback {
    /// Mean over blocks of treated minus untreated, weighted by the smaller of the two counts.
    pub effect: f64,
    /// Share of re-drawn schedules with an effect at least as large, the one that happened included.
    pub p_value: f64,
    /// Blocks that had both arms.
    pub n_blocks: usize,
}

/// Randomisation test of a switchback: arms are shuffled between the periods of each block, `draws` times.
///
/// It assumes nothing about the correlation of periods but that the schedule was drawn at random within blocks
/// and that what one period does has worn off before the next is measured.
///
/// # Errors
/// [`StatsError::TooFew`] if no block has both arms, or without draws; [`StatsError::Range`] for a value that is
/// not finite.
///
/// # Source
/// Bojinov, Simchi-Levi & Zhao, "Design and analysis of switchback experiments", Management Science 2023;
/// Phipson & Smyth, "Permutation p-values should never be zero", 2010.
pub fn switchback(periods: &[Period], draws: usize, seed: u64) -> Result<Switchback, StatsError> {
    for period in periods {
        finite("value of a period", period.value)?;
    }
    if draws == 0 {
        return Err(StatsError::TooFew { what: "draws", got: 0, needed: 1 });
    }
    let mut blocks = std::collections::BTreeMap::<usize, (Vec<f64>, usize)>::new();
    for period in periods {
        let block = blocks.entry(period.block).or_default();
        // Treated values first: a shuffle of the values is a new schedule.
        if period.treated {
            block.0.insert(block.1, period.value);
            block.1 += 1;
        } else {
            block.0.push(period.value);
        }
    }
    let mut blocks: Vec<(Vec<f64>, usize)> =
        blocks.into_values().filter(|(values, treated)| *treated > 0 && *treated < values.len()).collect();
    if blocks.is_empty() {
        return Err(StatsError::TooFew { what: "blocks with both arms", got: 0, needed: 1 });
    }
    let effect = effect_of(&blocks);
    let mut extreme = 1;
    for draw in 0..draws {
        let mut stream = Stream::new(seed, draw as u64);
        for (values, _) in &mut blocks {
            for i in (1..values.len()).rev() {
                values.swap(i, stream.next_below(i + 1));
            }
        }
        extreme += usize::from(effect_of(&blocks).abs() >= effect.abs() * (1.0 - 1e-12));
    }
    Ok(Switchback { effect, p_value: extreme as f64 / (draws + 1) as f64, n_blocks: blocks.len() })
}

fn effect_of(blocks: &[(Vec<f64>, usize)]) -> f64 {
    let (mut sum, mut weights) = (0.0, 0.0);
    for (values, treated) in blocks {
        let mean = |x: &[f64]| x.iter().sum::<f64>() / x.len() as f64;
        let weight = (*treated).min(values.len() - treated) as f64;
        sum += weight * (mean(&values[..*treated]) - mean(&values[*treated..]));
        weights += weight;
    }
    sum / weights
}

#[cfg(test)]
mod tests {
    use super::*;

    fn world(effect: f64, seed: u64) -> Vec<Period> {
        let mut stream = Stream::new(seed, 0);
        (0..60)
            .map(|i| {
                let treated = stream.next_f64() < 0.5;
                // Blocks differ far more than the arms do.
                let value = 50.0 * f64::from(i / 10) + stream.next_f64() + if treated { effect } else { 0.0 };
                Period { block: i as usize / 10, treated, value }
            })
            .collect()
    }

    #[test]
    fn an_effect_smaller_than_the_blocks_is_found_and_none_is_not() {
        let found = switchback(&world(0.8, 1), 2_000, 7).unwrap();
        assert!((found.effect - 0.8).abs() < 0.25 && found.p_value < 0.002, "{found:?}");
        let rejected =
            (0..200).filter(|&s| switchback(&world(0.0, s), 200, 7).unwrap().p_value <= 0.1).count();
        assert!((6..=36).contains(&rejected), "{rejected}");
    }

    #[test]
    fn one_arm_only_has_no_answer() {
        let all = [Period { block: 0, treated: true, value: 1.0 }; 4];
        assert!(switchback(&all, 10, 0).is_err() && switchback(&world(0.0, 1), 0, 0).is_err());
    }
}
