//! What is evaluated: anything that can be fitted on the train part and asked for a ranking.

use segue_data::Sequences;
use segue_models::{
    FitInput, ItemFeatures, ItemFilter, ModelError, Profiles as ModelProfiles, Query, Recommender, Scored,
    UserFeatures,
};
use segue_types::TimestampMs;

use crate::data::{Dataset, Plays};

/// All that a model may learn from: the train part of a split and nothing after it.
#[derive(Debug, Clone, Copy)]
pub struct Train<'a> {
    /// Plays or profiles; user and item rows are those of the whole data, so rows of users or
    /// items without a train play are there and empty.
    pub plays: Plays<'a>,
    /// Plays known at or after this moment are not in the train part; absent for undated data.
    pub until: Option<TimestampMs>,
    /// `[n_users]` external ids, if known.
    pub user_ids: Option<&'a [String]>,
    /// `[n_items]` external ids, if known.
    pub item_ids: Option<&'a [String]>,
    /// What is known of items besides plays.
    pub item_features: ItemFeatures<'a>,
    /// What is known of users besides plays.
    pub user_features: UserFeatures<'a>,
    /// Seed of whatever chance the fit uses; an evaluation over several seeds fits once with each.
    pub seed: u64,
}

impl<'a> Train<'a> {
    /// Everything as train data: what a model is fitted on after the evaluation is over.
    #[must_use]
    pub fn all(data: &Dataset<'a>, seed: u64) -> Self {
        Self {
            plays: data.plays,
            until: None,
            user_ids: data.user_ids,
            item_ids: data.item_ids,
            item_features: data.item_features,
            user_features: data.user_features,
            seed,
        }
    }

    /// The same as the input of a registered model. Profiles come as profiles, beside no sequences:
    /// a model that needs order has nothing to learn from and says so.
    #[must_use]
    pub fn fit_input(&self, seed: u64) -> FitInput<'a> {
        let (sequences, profiles) = match self.plays {
            Plays::Sequences(s) => (s, None),
            Plays::Profiles(p) => (
                Sequences {
                    offsets: &[0],
                    item: &[],
                    action: &[],
                    occurred_at: &[],
                    known_at: &[],
                    session: &[],
                    context: &[],
                    n_items: p.n_items,
                },
                Some(ModelProfiles { offsets: p.offsets, item: p.item, n_plays: p.n_plays }),
            ),
        };
        FitInput {
            profiles,
            item_ids: self.item_ids.unwrap_or(&[]),
            item_features: self.item_features,
            user_features: self.user_features,
            until: self.until,
            seed,
            ..FitInput::of(sequences)
        }
    }
}

/// A model that has been fitted and can be asked.
///
/// # Contract
/// As for [`Recommender`]: at most `k` items that the filter admits, best first, none twice, every
/// score finite, the same answer on any thread. The evaluator checks it and stops at a breach.
pub trait Fitted: Send + Sync {
    /// Fills `out` with the best `k` items for the query of user row `user`.
    ///
    /// # Errors
    /// If the query lacks what the model needs.
    fn recommend(
        &self,
        user: usize,
        query: &Query<'_>,
        k: usize,
        filter: &ItemFilter<'_>,
        out: &mut Vec<Scored>,
    ) -> Result<(), ModelError>;

    /// Whether its list may be asked for at any length. False for a ranking read from a file,
    /// whose ties were broken by whoever wrote it.
    fn can_extend(&self) -> bool {
        true
    }
}

/// A model under evaluation: fitted on the train part, then asked for every test user.
///
/// Any closure `Fn(&Train) -> Result<Box<dyn Recommender>, ModelError>` is one; [`model`] helps the
/// compiler to see it. [`RecommendationFile`](crate::RecommendationFile) is another.
pub trait FitAndRecommend: Sync {
    /// Fits the model. What it returns may be asked from several threads.
    ///
    /// # Errors
    /// If the train part lacks what the model needs.
    fn fit<'a>(&'a self, train: &Train<'_>) -> Result<Box<dyn Fitted + 'a>, ModelError>;
}

/// A model under evaluation from a function that fits a [`Recommender`].
pub fn model<F>(fit: F) -> impl FitAndRecommend
where
    F: Fn(&Train<'_>) -> Result<Box<dyn Recommender>, ModelError> + Sync,
{
    FromFn(fit)
}

struct FromFn<F>(F);

impl<F> FitAndRecommend for FromFn<F>
where
    F: Fn(&Train<'_>) -> Result<Box<dyn Recommender>, ModelError> + Sync,
{
    fn fit<'a>(&'a self, train: &Train<'_>) -> Result<Box<dyn Fitted + 'a>, ModelError> {
        Ok(Box::new(FromRecommender((self.0)(train)?)))
    }
}

/// Any [`Recommender`] as a fitted model: it knows the user by the history alone.
pub struct FromRecommender(
    /// The model.
    pub Box<dyn Recommender>,
);

impl Fitted for FromRecommender {
    fn recommend(
        &self,
        _user: usize,
        query: &Query<'_>,
        k: usize,
        filter: &ItemFilter<'_>,
        out: &mut Vec<Scored>,
    ) -> Result<(), ModelError> {
        self.0.recommend(query, k, filter, out)
    }
}
