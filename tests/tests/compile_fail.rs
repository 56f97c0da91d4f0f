//! What the compiler says to functions that are not handlers.

use std::{io::Write, process::Command};

/// The compiler whose words are in the files beside the cases. Others put it differently.
const WORDED_BY: &str = "rustc 1.95.";

#[test]
fn the_compiler_names_what_is_wrong_with_a_handler() {
    let cases = trybuild::TestCases::new();
    cases.pass("tests/ui/pass/*.rs");
    let rustc = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned());
    let output = Command::new(rustc).arg("--version").output().unwrap();
    let version = String::from_utf8(output.stdout).unwrap();
    if version.starts_with(WORDED_BY) {
        cases.compile_fail("tests/ui/*.rs");
    } else {
        // Written past the harness, which shows nothing of a test that passes.
        let skipped = format!("SKIPPED: the messages are those of {WORDED_BY}x, not of {version}");
        std::io::stderr().write_all(skipped.as_bytes()).unwrap();
    }
}
