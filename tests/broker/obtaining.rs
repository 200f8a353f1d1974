//! Finding and obtaining nats-server.
