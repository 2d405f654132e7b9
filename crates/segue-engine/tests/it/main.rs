//! The engine as its callers see it: one home folder, opened, asked, closed and opened again.

mod deployment;
mod durability;
mod experiments;
mod pages;
mod replay;
mod support;
