//! The crate from outside: recorded traffic of real peers replayed, damaged, and added to.

#[cfg(test)]
mod answers;
#[cfg(test)]
mod captures;
#[cfg(test)]
mod configuration;
#[cfg(test)]
mod filters;
#[cfg(test)]
mod fleet;
#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod hostile;
#[cfg(test)]
mod own_agents;
