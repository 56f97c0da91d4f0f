//! What the peer's fragments make a connection hold: no more than is documented, whatever
//! comes, and nothing once a message is whole, dropped or late.

mod deadline;
mod load;
mod named;
mod random;
