//! The engine's rules, proven through the calls that a driver makes.

mod between_commands;
mod constant_work;
mod correlated_answers;
mod fairness;
mod output_order;
mod push_account;
mod support;
mod unencodable;
