//! Models whose score is a product of a listener's and an item's vector.

use crate::Query;

/// Vectors of listeners and items; the product of two of them is the score that
/// [`Recommender::recommend`](crate::Recommender::recommend) gives, but for rounding.
pub trait Vectors: Send + Sync {
    /// Numbers of a vector.
    fn size(&self) -> usize;

    /// Appends the vector of an item to `out`; false, and nothing is appended, for an item that is never
    /// recommended or not in the catalogue.
    fn item_vector(&self, item: u32, out: &mut Vec<f32>) -> bool;

    /// Appends the vector of a listener to `out`; false, and nothing is appended, if the model has nothing
    /// to say about this history.
    fn user_vector(&self, query: &Query<'_>, out: &mut Vec<f32>) -> bool;
}
