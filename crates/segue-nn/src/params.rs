//! Parameters: one flat arena with named groups.

use std::ops::Range;

use crate::matmul::Packed;
use crate::{Counter, Mat, NnError};

/// How a group begins.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Init {
    /// All zero.
    Zeros,
    /// All one.
    Ones,
    /// Normal with this standard deviation.
    Normal(f32),
    /// Uniform in `±√(6 / (rows + cols))` (Glorot & Bengio 2010).
    Glorot,
}

/// A named group of the arena.
#[derive(Debug, Clone, PartialEq)]
pub struct Group {
    /// Name, such as `block.0.attention.qkv.weight`.
    pub name: String,
    /// Where it stands.
    pub param: Param,
    /// How it begins.
    pub init: Init,
    /// Whether weight decay applies: matrices yes, biases and gains no.
    pub decays: bool,
    /// Where the weight of a linear map stands among those that are packed.
    packed: Option<usize>,
}

/// A place in the arena: a matrix `[rows, cols]`, row by row. Vectors have one row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Param {
    start: usize,
    /// Rows.
    pub rows: usize,
    /// Columns.
    pub cols: usize,
}

impl Param {
    /// Its range in the arena.
    #[must_use]
    pub fn range(self) -> Range<usize> {
        self.start..self.start + self.rows * self.cols
    }

    /// Its numbers `[rows, cols]`.
    #[must_use]
    pub fn of(self, arena: &[f32]) -> &[f32] {
        &arena[self.range()]
    }

    /// Its numbers `[rows, cols]`, to be changed.
    #[must_use]
    pub fn of_mut(self, arena: &mut [f32]) -> &mut [f32] {
        &mut arena[self.range()]
    }
}

/// The plan of the arena: blocks add their groups while a model is built.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Layout {
    groups: Vec<Group>,
    len: usize,
    packed_len: usize,
}

impl Layout {
    /// Adds a matrix `[rows, cols]`; weight decay applies to it.
    pub fn matrix(&mut self, name: impl Into<String>, rows: usize, cols: usize, init: Init) -> Param {
        self.add(name.into(), rows, cols, init, true)
    }

    /// Adds a vector `[cols]`; weight decay does not apply to it.
    pub fn vector(&mut self, name: impl Into<String>, cols: usize, init: Init) -> Param {
        self.add(name.into(), 1, cols, init, false)
    }

    /// Adds the weight `[rows, cols]` of a linear map; weight decay applies to it. Returns it and where it
    /// stands in what [`pack`](Self::pack) fills.
    pub fn weight(&mut self, name: impl Into<String>, rows: usize, cols: usize) -> (Param, usize) {
        let (param, at) = (self.matrix(name, rows, cols, Init::Glorot), self.packed_len);
        self.packed_len += Packed::size(cols, rows);
        if let Some(group) = self.groups.last_mut() {
            group.packed = Some(at);
        }
        (param, at)
    }

    fn add(&mut self, name: String, rows: usize, cols: usize, init: Init, decays: bool) -> Param {
        let param = Param { start: self.len, rows, cols };
        self.len += rows * cols;
        self.groups.push(Group { name, param, init, decays, packed: None });
        param
    }

    /// Fills `packed` with the weights of linear maps as products read them: turned around, and packed once
    /// for all products of a step or of a model that answers.
    pub fn pack(&self, params: &[f32], packed: &mut Vec<f32>) {
        packed.resize(self.packed_len, 0.0);
        for group in &self.groups {
            if let Some(at) = group.packed {
                let Param { rows, cols, .. } = group.param;
                let weight = Mat::new(group.param.of(params), rows, cols);
                Packed::write(weight.t(), &mut packed[at..at + Packed::size(cols, rows)]);
            }
        }
    }

    /// Numbers in the arena.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing was added.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The groups in the order of the arena.
    #[must_use]
    pub fn groups(&self) -> &[Group] {
        &self.groups
    }

    /// A new arena. Group `g` draws from stream `g` of `seed`, so that adding a group at the end
    /// changes no other.
    #[must_use]
    pub fn init(&self, seed: u64) -> Vec<f32> {
        let mut arena = vec![0.0; self.len];
        for (stream, group) in (0_u64..).zip(&self.groups) {
            let values = group.param.of_mut(&mut arena);
            let draws = Counter::new(seed, stream);
            match group.init {
                Init::Zeros => {}
                Init::Ones => values.fill(1.0),
                Init::Normal(sd) => {
                    for (i, v) in (0_u64..).zip(values) {
                        *v = sd * draws.normal(i);
                    }
                }
                Init::Glorot => {
                    let bound = (6.0 / (group.param.rows + group.param.cols) as f32).sqrt();
                    for (i, v) in (0_u64..).zip(values) {
                        *v = bound * (2.0 * draws.uniform(i) - 1.0);
                    }
                }
            }
        }
        arena
    }

    /// Checks that every number is finite.
    ///
    /// # Errors
    /// [`NnError::NotFinite`] names the first group that holds another; `what` goes into the message.
    pub fn check_finite(&self, what: &'static str, arena: &[f32]) -> Result<(), NnError> {
        match self.groups.iter().find(|g| !crate::simd::all_finite(g.param.of(arena))) {
            None => Ok(()),
            Some(group) => Err(NnError::NotFinite { what, group: group.name.clone() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_stand_side_by_side_and_begin_as_they_say() {
        let mut layout = Layout::default();
        let gain = layout.vector("gain", 3, Init::Ones);
        let weight = layout.matrix("weight", 40, 50, Init::Glorot);
        let noise = layout.matrix("noise", 100, 100, Init::Normal(0.5));
        let arena = layout.init(7);
        assert_eq!(arena.len(), layout.len());
        assert_eq!(gain.of(&arena), [1.0; 3]);
        let bound = (6.0_f32 / 90.0).sqrt();
        assert!(weight.of(&arena).iter().all(|w| w.abs() <= bound));
        assert!(weight.of(&arena).iter().any(|w| w.abs() > 0.9 * bound));
        let variance = noise.of(&arena).iter().map(|w| f64::from(w * w)).sum::<f64>() / 1e4;
        assert!((variance - 0.25).abs() < 0.02, "{variance}");
        assert_ne!(layout.init(8), arena);
        assert_eq!(layout.init(7), arena);
    }

    #[test]
    fn a_number_that_is_none_names_its_group() {
        let mut layout = Layout::default();
        layout.vector("a", 2, Init::Zeros);
        let b = layout.vector("b", 2, Init::Zeros);
        let mut arena = layout.init(0);
        assert!(layout.check_finite("gradient", &arena).is_ok());
        b.of_mut(&mut arena)[1] = f32::INFINITY;
        let message = layout.check_finite("gradient", &arena).unwrap_err().to_string();
        assert_eq!(message, "gradient of parameter group `b` is not finite");
    }
}
