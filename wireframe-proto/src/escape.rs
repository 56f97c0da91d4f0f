//! What a peer has said, made fit for a log.

use core::fmt::{self, Write};

/// Shows text that a peer had a part in, so that it can be logged: on one line, without
/// control characters, and cut.
///
/// Control characters, and all else that a terminal or a reader might not show, are
/// escaped as in Rust (`\n`, `\u{1b}`). What exceeds [`MAX_LEN`](Self::MAX_LEN) is left out,
/// with a `…` in its place, and costs nothing.
///
/// ```
/// use wireframe_proto::Escaped;
///
/// let name = "anna\n\x1b[31mERROR the server burns";
/// assert_eq!(Escaped(name).to_string(), r"anna\n\u{1b}[31mERROR the server burns");
/// let bytes = b"\xffSMB\0";
/// assert_eq!(Escaped(bytes.escape_ascii()).to_string(), r"\xffSMB\x00");
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Escaped<T>(pub T);

impl<T> Escaped<T> {
    /// The most bytes that are shown, counted as they are written: 256.
    pub const MAX_LEN: usize = 256;
}

impl<T: fmt::Display> fmt::Display for Escaped<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = Shown {
            out: f,
            room: Self::MAX_LEN,
            is_cut: false,
        };
        let written = write!(shown, "{}", self.0);
        match shown.is_cut {
            // The error that has stopped it was ours.
            true => f.write_char('…'),
            false => written,
        }
    }
}

/// Escapes what is written to it, until there is no more room.
struct Shown<'a, 'f> {
    out: &'a mut fmt::Formatter<'f>,
    room: usize,
    is_cut: bool,
}

impl Write for Shown<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        text.chars().try_for_each(|c| self.write_char(c))
    }

    fn write_char(&mut self, c: char) -> fmt::Result {
        // What does not heed the error may write again, and less than did not fit before.
        if self.is_cut {
            return Err(fmt::Error);
        }
        let is_plain = matches!(c, '"' | '\'' | '\\');
        let escaped = c.escape_debug();
        let len = match is_plain {
            true => 1,
            false => escaped.clone().map(char::len_utf8).sum(),
        };
        let Some(room) = self.room.checked_sub(len) else {
            self.is_cut = true;
            return Err(fmt::Error);
        };
        self.room = room;
        match is_plain {
            true => self.out.write_char(c),
            false => write!(self.out, "{escaped}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::{String, ToString};
    use std::format;

    use super::*;

    #[test]
    fn nothing_that_moves_a_cursor_or_reads_backwards_gets_through() {
        // rule: OBS-3
        let hostile = "a\r\nb\0\x07\x08\x1b[2J\x7f\u{9b}31m\u{202e}c\u{2028}\u{feff}\u{200b}";
        let shown = Escaped(hostile).to_string();
        let expected = concat!(
            r"a\r\nb\0\u{7}\u{8}\u{1b}[2J\u{7f}\u{9b}31m",
            r"\u{202e}c\u{2028}\u{feff}\u{200b}"
        );
        assert_eq!(shown, expected);
    }

    #[test]
    fn what_can_be_read_stays_as_it_is() {
        // rule: OBS-3
        let text = r#"it's "größer" than 日本 \ 7"#;
        assert_eq!(Escaped(text).to_string(), text);
    }

    #[test]
    fn text_is_cut_to_what_is_written_of_it() {
        // rule: OBS-3
        let just = "x".repeat(256);
        assert_eq!(Escaped(&just).to_string(), just);
        for len in [257, 1 << 20] {
            assert_eq!(Escaped("x".repeat(len)).to_string(), format!("{just}…"));
        }
        // An escape is shown whole or not at all, and so is a character.
        let bells = Escaped("\x07".repeat(1 << 20)).to_string();
        assert_eq!(bells, format!("{}…", r"\u{7}".repeat(256 / 5)));
        let wide = Escaped("日".repeat(1 << 20)).to_string();
        assert_eq!(wide, format!("{}…", "日".repeat(256 / 3)));
    }

    /// Fails if it is asked for more than is shown.
    struct Endless;

    impl fmt::Display for Endless {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            for n in 0.. {
                assert!(n <= 256, "what is not shown is made");
                f.write_str("x")?;
            }
            Ok(())
        }
    }

    #[test]
    fn what_is_left_out_costs_nothing() {
        // rule: OBS-3
        assert_eq!(Escaped(Endless).to_string().chars().count(), 257);
    }

    /// Goes on when it is told to stop.
    struct Heedless;

    impl fmt::Display for Heedless {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            for text in ["x".repeat(255).as_str(), "日", "y"] {
                let _ = f.write_str(text);
            }
            Ok(())
        }
    }

    #[test]
    fn nothing_is_written_behind_the_cut() {
        // rule: OBS-3
        let expected = format!("{}…", "x".repeat(255));
        assert_eq!(Escaped(Heedless).to_string(), expected);
    }

    #[test]
    fn an_error_of_the_reader_is_one() {
        struct Full;
        impl Write for Full {
            fn write_str(&mut self, _: &str) -> fmt::Result {
                Err(fmt::Error)
            }
        }
        assert!(write!(Full, "{}", Escaped("x")).is_err());
        assert_eq!(Escaped(String::new()).to_string(), "");
    }
}
