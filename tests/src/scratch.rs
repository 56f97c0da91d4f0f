//! Files that a test needs for a while.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// A path that nobody else uses, gone at the end.
#[derive(Debug)]
pub struct Scratch(PathBuf);

impl Scratch {
    /// Where there is nothing. A test uses a name once.
    pub fn new(name: &str) -> Self {
        let thread = format!("{:?}", std::thread::current().id());
        let thread: String = thread.chars().filter(char::is_ascii_digit).collect();
        let name = format!("wireframe-{name}-{}-{thread}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let _ = fs::remove_file(&path);
        Self(path)
    }

    /// A file that says this.
    pub fn with(name: &str, text: &str) -> Self {
        let scratch = Self::new(name);
        fs::write(&scratch, text).expect("room for a file");
        scratch
    }
}

impl AsRef<Path> for Scratch {
    fn as_ref(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}
