//! What a broker's `-ERR` means for the connection, as the real server's NATS library takes it.

/// Kinds of `-ERR`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(usize)]
pub enum ServerError {
    /// The broker got no `PONG` for too long; the library reconnects.
    StaleConnection,
    /// The broker has as many clients as it may; the library tries again.
    MaxConnections,
    /// A subject that this client may not use; the connection stays.
    Permissions,
    /// More subscriptions than this client may have; the connection stays.
    MaxSubscriptions,
    /// Wrong or missing credentials, or expired ones; the library tries again
    /// (authentication errors never abort the reconnect loop, protocol document 1.2).
    Authorization,
    /// Credentials came too late; the library tries again.
    AuthenticationTimeout,
    /// A message was larger than the broker takes; the library closes for good.
    MaximumPayload,
    /// Anything else; the library closes for good once it was connected.
    Other,
}

/// What the library does about an error on an open connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remedy {
    /// Goes on.
    Stay,
    /// Drops the connection and reconnects.
    Reconnect,
    /// Drops the connection and never comes back: the server process lives, but is unreachable.
    CloseForGood,
}

impl ServerError {
    /// How many kinds there are.
    pub const COUNT: usize = Self::Other as usize + 1;

    /// All kinds, in the order of their numbers.
    pub const ALL: [Self; Self::COUNT] = [
        Self::StaleConnection,
        Self::MaxConnections,
        Self::Permissions,
        Self::MaxSubscriptions,
        Self::Authorization,
        Self::AuthenticationTimeout,
        Self::MaximumPayload,
        Self::Other,
    ];

    /// The kind of the text between the quotes of `-ERR '...'`.
    #[must_use]
    pub fn of(text: &[u8]) -> Self {
        let text = String::from_utf8_lossy(text).to_ascii_lowercase();
        let starts = |prefix: &str| text.starts_with(prefix);
        if starts("stale connection") {
            Self::StaleConnection
        } else if starts("maximum connections exceeded") {
            Self::MaxConnections
        } else if starts("permissions violation") {
            Self::Permissions
        } else if starts("maximum subscriptions exceeded") {
            Self::MaxSubscriptions
        } else if starts("authorization violation")
            || starts("user authentication expired")
            || starts("user authentication revoked")
            || starts("account authentication expired")
        {
            Self::Authorization
        } else if starts("authentication timeout") {
            Self::AuthenticationTimeout
        } else if starts("maximum payload violation") {
            Self::MaximumPayload
        } else {
            Self::Other
        }
    }

    /// What follows for an open connection.
    #[must_use]
    pub fn remedy(self) -> Remedy {
        match self {
            Self::Permissions | Self::MaxSubscriptions => Remedy::Stay,
            Self::StaleConnection
            | Self::MaxConnections
            | Self::Authorization
            | Self::AuthenticationTimeout => Remedy::Reconnect,
            Self::MaximumPayload | Self::Other => Remedy::CloseForGood,
        }
    }

    /// Name as it stands in counters.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::StaleConnection => "stale_connection",
            Self::MaxConnections => "max_connections",
            Self::Permissions => "permissions",
            Self::MaxSubscriptions => "max_subscriptions",
            Self::Authorization => "authorization",
            Self::AuthenticationTimeout => "authentication_timeout",
            Self::MaximumPayload => "maximum_payload",
            Self::Other => "other",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, kind: ServerError, remedy: Remedy) {
        assert_eq!(ServerError::of(text.as_bytes()), kind, "{text}");
        assert_eq!(kind.remedy(), remedy, "{text}");
        assert_eq!(ServerError::ALL[kind as usize], kind);
    }

    #[test]
    fn errors_are_told_apart_as_the_library_does() {
        use Remedy::{CloseForGood, Reconnect, Stay};
        check("Stale Connection", ServerError::StaleConnection, Reconnect);
        check("maximum connections exceeded", ServerError::MaxConnections, Reconnect);
        let permissions = "Permissions Violation for Subscription to \"a.b\"";
        check(permissions, ServerError::Permissions, Stay);
        check("maximum subscriptions exceeded", ServerError::MaxSubscriptions, Stay);
        check("Authorization Violation", ServerError::Authorization, Reconnect);
        check("User Authentication Expired", ServerError::Authorization, Reconnect);
        check("Authentication Timeout", ServerError::AuthenticationTimeout, Reconnect);
        check("Maximum Payload Violation", ServerError::MaximumPayload, CloseForGood);
        check("Unknown Protocol Operation", ServerError::Other, CloseForGood);
        check("", ServerError::Other, CloseForGood);
    }
}
