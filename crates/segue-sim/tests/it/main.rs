//! The simulator as its users meet it: streams of a world, published figures, listeners in the loop.

mod http;
mod loop_;
mod marginals;
mod streams;
