//! `StartError`: which device could not be opened, why, and what to do about it.
//! Errors of single packets may not enter: those are counters.
//! Answers to: errno values of open(2), ioctl(2), socket(2), setsockopt(2), capabilities(7).

use std::{fmt, io};

/// Why the datapath could not start. Nothing is left behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StartError {
    /// The device, in a user's words: `/dev/net/tun`, `TUN device sallet0`, `raw socket for ESP over IPv4` …
    pub device: String,
    /// The error number of the system call that failed.
    pub errno: i32,
    /// What was being done.
    pub attempt: &'static str,
    /// What is missing, or what to try; empty if unknown.
    pub advice: &'static str,
}

impl StartError {
    /// Wraps the error of a system call.
    pub(crate) fn new(device: &str, attempt: &'static str, error: &io::Error, advice: &'static str) -> Self {
        let errno = error.raw_os_error().unwrap_or(libc::EINVAL);
        Self {
            device: device.to_owned(),
            errno,
            attempt,
            advice,
        }
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let reason = io::Error::from_raw_os_error(self.errno);
        write!(f, "{}: cannot {}: {reason}", self.device, self.attempt)?;
        if self.advice.is_empty() {
            Ok(())
        } else {
            write!(f, "; {}", self.advice)
        }
    }
}

impl std::error::Error for StartError {}

impl From<StartError> for io::Error {
    fn from(error: StartError) -> Self {
        Self::new(Self::from_raw_os_error(error.errno).kind(), error)
    }
}

/// The error number inside an error of this crate, wrapped or plain.
#[must_use]
pub fn errno_of(error: &io::Error) -> Option<i32> {
    let wrapped = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<StartError>());
    wrapped.map(|inner| inner.errno).or_else(|| error.raw_os_error())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_names_device_reason_and_advice() {
        let cause = io::Error::from_raw_os_error(libc::EPERM);
        let error: io::Error =
            StartError::new("/dev/net/tun", "open it", &cause, "CAP_NET_ADMIN is missing").into();
        assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
        assert_eq!(errno_of(&error), Some(libc::EPERM));
        let text = error.to_string();
        assert!(
            text.starts_with("/dev/net/tun: cannot open it: Operation not permitted"),
            "{text}"
        );
        assert!(text.ends_with("; CAP_NET_ADMIN is missing"), "{text}");
    }
}
