//! What can go wrong on the way to a file elsewhere.

use t2m_checkpoint::escape::{escape, quoted};

/// What kind of trouble it is: some of it passes, some of it means that a file is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// The address, or a setting, cannot be used.
    Asked,
    /// There is no such thing.
    Missing,
    /// The server wants to know who asks, or says no.
    Denied,
    /// The file is another one than a moment ago.
    Changed,
    /// The server sends whole files only.
    Whole,
    /// The server's answer contradicts itself, or what was asked.
    Answer,
    /// The connection broke, or the server is overburdened: worth another try.
    Passing,
    /// Nobody answers.
    Unreachable,
    /// The caller does not want it any more.
    Stopped,
}

/// An error with the address, what was asked, and the way out.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{}: {what}", escape(address))]
pub struct Error {
    /// What kind it is.
    pub trouble: Trouble,
    /// The address, as it can be shown: without credentials and signatures.
    pub address: String,
    /// What happened, and the way out.
    pub what: String,
}

impl Error {
    pub(crate) fn new(trouble: Trouble, address: impl Into<String>, what: impl Into<String>) -> Error {
        Error { trouble, address: address.into(), what: what.into() }
    }

    /// Whether it says that nothing is there, as far as whoever asks is told.
    pub(crate) fn is_absence(&self) -> bool {
        matches!(self.trouble, Trouble::Missing | Trouble::Denied)
    }
}

impl From<Error> for std::io::Error {
    fn from(error: Error) -> std::io::Error {
        let kind = match error.trouble {
            Trouble::Missing => std::io::ErrorKind::NotFound,
            Trouble::Denied => std::io::ErrorKind::PermissionDenied,
            _ => std::io::ErrorKind::Other,
        };
        std::io::Error::new(kind, error)
    }
}

/// A server's own words, cut to a length that fits a message.
pub(crate) fn words(text: &str) -> String {
    quoted(text.trim()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_safe_for_a_terminal() {
        let error = Error::new(Trouble::Missing, "https://host/\x1b[31m", "404 Not Found");
        assert!(!error.to_string().contains('\x1b') && error.is_absence());
        assert_eq!(std::io::Error::from(error).kind(), std::io::ErrorKind::NotFound);
    }
}
