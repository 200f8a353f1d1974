//! Choria's protocol version 1 on the wire, unsecured: documents to bytes and back, for both ends.
//!
//! Layers (protocol document 3.1): a transport carries, in base64, a secure request or reply, which
//! carries as a JSON string a request or reply, which carries as a JSON string the payload of an
//! agent. Nothing here opens a socket, reads a clock or knows what an agent answers.

pub(crate) mod base64;
pub mod client;
pub mod escape;
pub mod filter;
pub mod json;
mod member;
pub mod reply;
pub mod request;
mod transport;

/// Protocol id of the transport.
pub const TRANSPORT: &str = "choria:transport:1";
/// Protocol id of the secure request.
pub const SECURE_REQUEST: &str = "choria:secure:request:1";
/// Protocol id of the secure reply.
pub const SECURE_REPLY: &str = "choria:secure:reply:1";
/// Protocol id of the request.
pub const REQUEST: &str = "choria:request:1";
/// Protocol id of the reply.
pub const REPLY: &str = "choria:reply:1";
