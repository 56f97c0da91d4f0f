//! Limits of the process.

/// Raises the number of open descriptors as far as the system allows.
///
/// A refusal is not an error here: whoever opens one descriptor too many gets an error
/// of its own, and most runs need few.
pub fn raise_open_files() {
    #[cfg(unix)]
    {
        use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
        let limit = getrlimit(Resource::Nofile);
        let _ = setrlimit(
            Resource::Nofile,
            Rlimit {
                current: limit.maximum,
                maximum: limit.maximum,
            },
        );
    }
}
