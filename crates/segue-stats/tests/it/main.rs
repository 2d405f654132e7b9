//! The statistics as a whole, against published vectors.

mod vectors;
