//! A QR code as inline SVG: dark modules as one path, on white with the quiet zone that scanners
//! need, in dark mode too. Not here: what the code says.

use std::fmt::Write as _;

use maud::{Markup, html};
use qrcode::{Color, EcLevel, QrCode};

/// Modules of white around the code (ISO/IEC 18004).
const QUIET_MODULES: usize = 4;

/// The code of a text, named for those who do not see it; `None` for a text that no code holds.
pub fn svg(text: &str, label: &str) -> Option<Markup> {
    let code = QrCode::with_error_correction_level(text, EcLevel::M).ok()?;
    let size = code.width() + 2 * QUIET_MODULES;
    let path = path(&code.to_colors(), code.width());
    Some(html! {
        svg class="qr" role="img" aria-label=(label) viewBox={ "0 0 " (size) " " (size) }
            shape-rendering="crispEdges" xmlns="http://www.w3.org/2000/svg" {
            rect width=(size) height=(size) fill="#fff" {}
            path d=(path) fill="#000" {}
        }
    })
}

/// A rectangle for each run of dark modules of a row.
fn path(modules: &[Color], width: usize) -> String {
    let mut path = String::new();
    for (row, line) in modules.chunks(width).enumerate() {
        let mut column = 0;
        while column < width {
            let run = line[column..].iter().take_while(|color| **color == Color::Dark).count();
            if run > 0 {
                let (x, y) = (column + QUIET_MODULES, row + QUIET_MODULES);
                // Writing into a String never fails.
                let _ = write!(path, "M{x} {y}h{run}v1h-{run}z");
            }
            column += run.max(1);
        }
    }
    path
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn runs_become_rectangles_inside_the_quiet_zone() {
        let (d, l) = (Color::Dark, Color::Light);
        assert_eq!(path(&[d, d, l, l, l, d], 3), "M4 4h2v1h-2zM6 5h1v1h-1z");
    }

    #[test]
    fn a_text_too_long_has_no_code() {
        assert!(svg("bitcoin:bc1qexample?amount=0.025", "code").is_some());
        assert!(svg(&"x".repeat(5_000), "code").is_none());
    }
}
