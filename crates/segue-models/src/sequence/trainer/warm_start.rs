//! Going on from an earlier model, whose catalogue may be another one.

use super::{Best, Trainer};
use crate::ModelError;
use crate::sequence::model::SequenceModel;

impl Trainer<'_> {
    /// Takes the weights of an earlier model before the first step. `rows[i]` is the row there of item `i`
    /// here; items without one keep their new vectors. Vectors that are sums of features are
    /// [taken apart](crate::sequence::item_features::FeatureRows::take_apart). Moments start from zero. If
    /// anything is validated on, the earlier weights are the best so far, as round 0.
    ///
    /// # Errors
    /// [`ModelError::Shape`] if the models differ, or `rows` is no map from this catalogue into that one.
    pub fn start_from(&mut self, earlier: &SequenceModel, rows: &[Option<u32>]) -> Result<(), ModelError> {
        let wrong =
            |what: &str, expected, got| Err(ModelError::Shape { what: what.to_owned(), expected, got });
        let state = &mut self.now.state;
        if earlier.params().len() != state.params.len() {
            return wrong("parameters of the earlier model", state.params.len(), earlier.params().len());
        }
        let table = earlier.item_vectors();
        if table.d != state.table.d {
            return wrong("size of the earlier model's vectors", state.table.d, table.d);
        }
        let n_items = self.features.n_items();
        if rows.len() != n_items {
            return wrong("rows of the earlier model's items", n_items, rows.len());
        }
        if let Some(row) = rows.iter().flatten().find(|&&row| row as usize >= table.n_rows()) {
            return wrong("a row below the earlier model's items", table.n_rows(), *row as usize);
        }
        state.params.copy_from_slice(earlier.params());
        self.trained_before = vec![false; rows.len()];
        for (row, before) in rows.iter().enumerate().filter_map(|(row, before)| Some((row, (*before)?))) {
            state.table.table[row * table.d..(row + 1) * table.d].copy_from_slice(table.row(before));
            self.trained_before[row] = earlier.is_trained(before);
        }
        self.features.take_apart(&self.trained_before, &mut state.table);
        if let Some(ndcg) = self.validate() {
            let (params, table) = (self.now.state.params.clone(), self.now.state.table.clone());
            self.now.best = Some(Best { round: 0, ndcg, params, table });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use segue_data::OwnedSequences;

    use super::super::tests::{ring, with_dropout};
    use super::*;
    use crate::sequence::ItemFeatureSettings;
    use crate::{FitInput, ItemFeatures, RoundReport};

    /// The plays of a ring of 44 items whose rows differ from those of the ring of 40: item `i` is row
    /// `rows[i]`, and the row of the ring of 40 for each of these rows.
    fn grown() -> (OwnedSequences, Vec<Option<u32>>) {
        let row = |item: u32| (item * 7 + 3) % 44;
        let users = (0..60).map(|u| (0..3 + u % 7).map(|i| row((u * 5 + i) % 44)).collect());
        let mut before = vec![None; 44];
        (0..40).for_each(|item| before[row(item) as usize] = Some(item));
        (OwnedSequences::from_items(44, users), before)
    }

    fn trained<'a>(
        plays: &'a OwnedSequences,
        earlier: Option<(&SequenceModel, &[Option<u32>])>,
    ) -> Trainer<'a> {
        let (network, mut objective) = with_dropout("sampled_softmax", 0.0);
        objective.training.rounds = 40;
        objective.training.patience = 40;
        objective.training.validation_share = 0.5;
        let input = FitInput { seed: 1, ..FitInput::of(plays.view()) };
        let mut trainer = Trainer::new(network, objective, &input).unwrap();
        if let Some((model, rows)) = earlier {
            trainer.start_from(model, rows).unwrap();
        }
        while !trainer.is_done() {
            trainer.round().unwrap();
        }
        trainer
    }

    #[test]
    fn sums_of_features_are_taken_over_and_new_items_begin_with_their_values() {
        let (plays, rows) = grown();
        let small_plays = ring(40);
        let (network, mut objective) = with_dropout("sampled_softmax", 0.0);
        objective.item_features = ItemFeatureSettings { artist: true, content: true, ..Default::default() };
        // Items of row `i` here and there have the same artist, and contents of their own.
        let artist: Vec<u32> = (0..44).map(|row| rows[row].unwrap_or(7) % 5).collect();
        let before: Vec<u32> = (0..40).map(|item| item % 5).collect();
        let content: Vec<f32> = (0..44 * 3).map(|i| (i * 31 % 17) as f32 - 8.0).collect();
        let input = |plays, artist, content| FitInput {
            seed: 1,
            item_features: ItemFeatures { artist, content, ..ItemFeatures::default() },
            ..FitInput::of(plays)
        };
        let first = input(small_plays.view(), &before, &content[..120]);
        let mut trainer = Trainer::new(network.clone(), objective, &first).unwrap();
        trainer.round().unwrap();
        let earlier = trainer.finish();
        let next = input(plays.view(), &artist, &content);
        let mut trainer = Trainer::new(network, objective, &next).unwrap();
        trainer.start_from(&earlier, &rows).unwrap();
        let sums = trainer.features.sums(&trainer.now.state.table);
        for (row, before) in (0..44).zip(&rows).filter_map(|(row, before)| Some((row, (*before)?))) {
            for (got, want) in sums.row(row).iter().zip(earlier.item_vectors().row(before)) {
                assert!((got - want).abs() < 1e-5, "row {row}: {got} {want}");
            }
        }
        // The value of an artist is the mean of what its items have besides their content.
        let table = &trainer.now.state.table;
        let value = table.row(44 + 1 + 2);
        let of_artist: Vec<u32> =
            (0..44).filter(|&row| artist[row as usize] == 2 && rows[row as usize].is_some()).collect();
        for (i, &value) in value.iter().enumerate() {
            let own: f32 = of_artist.iter().map(|&row| table.row(row)[i]).sum();
            assert!(own.abs() < 1e-4, "own rows of an artist's items are what differs: {own}");
            assert!(value.is_finite());
        }
        trainer.round().unwrap();
    }

    #[test]
    fn growth_keeps_old_rows_bit_for_bit_and_gives_new_items_seeded_ones() {
        let small_plays = ring(40);
        let earlier = trained(&small_plays, None).finish();
        let (plays, rows) = grown();
        let (network, objective) = with_dropout("sampled_softmax", 0.0);
        let input = FitInput { seed: 9, ..FitInput::of(plays.view()) };
        let mut trainer = Trainer::new(network.clone(), objective, &input).unwrap();
        trainer.start_from(&earlier, &rows).unwrap();
        let (state, fresh) = (&trainer.checkpoint().state, network.new_table(44, 9));
        assert_eq!(state.params, earlier.params());
        for (row, before) in (0..44).zip(&rows) {
            let want = before.map_or_else(|| fresh.row(row), |before| earlier.item_vectors().row(before));
            assert_eq!(state.table.row(row), want, "row {row}");
        }
        let error = trainer.start_from(&earlier, &rows[1..]).unwrap_err().to_string();
        assert!(error.contains("expected 44, got 43"), "{error}");
    }

    #[test]
    fn a_warm_start_reaches_the_quality_of_a_cold_one_in_fewer_rounds() {
        let small_plays = ring(40);
        let earlier = trained(&small_plays, None).finish();
        let (plays, rows) = grown();
        let cold = trained(&plays, None);
        let goal = 0.9 * cold.checkpoint().best.as_ref().unwrap().ndcg;
        let warm = trained(&plays, Some((&earlier, &rows)));
        let rounds = |trainer: &Trainer<'_>| {
            let reached = |r: &&RoundReport| r.validation_ndcg.is_some_and(|ndcg| ndcg >= goal);
            trainer.checkpoint().history.iter().find(reached).map(|r| r.round)
        };
        let (warm, cold) = (rounds(&warm), rounds(&cold));
        assert!(
            warm.is_some_and(|warm| cold.is_some_and(|cold| 2 * warm <= cold)),
            "{warm:?}, cold {cold:?}"
        );
    }
}
