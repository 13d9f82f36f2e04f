//! The edge: what a caller's bytes meet first, from the accept loop to the services.
//! Not here: rules of the money (`domain`, `usecase`), SQL (`store`).

pub mod listener;
