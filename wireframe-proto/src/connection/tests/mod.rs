//! The engine's rules, proven through the calls that a driver makes.

mod any_order;
mod between_commands;
mod bodies;
mod constant_work;
mod correlated_answers;
mod exclusive;
mod fairness;
mod held_back;
mod output_order;
mod programs;
mod push_account;
mod reactions;
mod support;
mod unencodable;
