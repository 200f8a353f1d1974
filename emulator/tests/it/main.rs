//! The crate from outside: recorded traffic of real peers, replayed.

#[cfg(test)]
mod captures;
#[cfg(test)]
mod filters;
