//! The engine's rules, proven through the calls that a driver makes.

mod any_order;
mod between_commands;
mod bodies;
mod constant_work;
mod correlated_answers;
mod cuts;
mod drain;
mod exclusive;
mod fairness;
mod framing_phases;
mod goodbyes;
mod half_close;
mod held_back;
mod hook_context;
mod output_order;
mod panics;
mod programs;
mod push_account;
mod reactions;
mod support;
mod unencodable;
mod upgrade;
