//! Retrieval models, one file each, and the one list of them.
//!
//! To add a model: write `retrieval/NAME.rs` with a type that implements
//! [`Model`](crate::Model), and add its line to the list below. The conformance suite, the
//! configuration, artifacts and the engine find it there.

mod counts;
pub mod factors;
mod interactions;
mod item_model;
mod item_to_item;
mod kept_counts;
mod kernel;
mod market_lists;

pub use counts::Targets;
pub use interactions::{RowsOf, TermFrequency};
pub use item_model::{History, ItemModel, ItemModelConfig, Kept};
pub use kernel::Kernel;

use crate::registry::RecommenderKind;

/// Declares the modules and the list from one line per model; models of other folders come last.
macro_rules! recommenders {
    ($($module:ident :: $model:ident),+ ; $($elsewhere:path),+ $(,)?) => {
        $(pub mod $module;)+

        /// Every registered retrieval model.
        pub const RECOMMENDERS: &[RecommenderKind] = &[
            $(RecommenderKind::of::<$module::$model>(),)+
            $(RecommenderKind::of::<$elsewhere>()),+
        ];
    };
}

recommenders! {
    decayed_popularity::DecayedPopularity,
    co_listen::CoListen,
    item_knn::ItemKnn,
    rp3_beta::Rp3Beta,
    bpr::Bpr,
    act_r::ActR,
    markov::Markov,
    seq_rules::SeqRules,
    pctm::Pctm,
    trending::Trending,
    ease::Ease,
    ials::Ials,
    slim::Slim;
    crate::sequence::SasRec,
    crate::sequence::ESasRec,
    crate::sequence::Hstu,
    crate::sequence::Gru4Rec,
}
