//! The terminal's clipboard, by OSC 52: it works over ssh and needs no other program.

use crate::base64::base64;

/// Most bytes of a text that is copied: what most terminals take, in base 64, before they drop all of it.
pub const MOST: usize = 74_994;

/// The sequence that copies a text. Within tmux it is sent twice: as it is, which tmux takes where `set-clipboard` is on, and passed
/// through to the terminal, which it does where `allow-passthrough` is on.
pub fn sequence(text: &str, within_tmux: bool) -> String {
    let plain = format!("\x1b]52;c;{}\x07", base64(text.as_bytes()));
    if !within_tmux {
        return plain;
    }
    format!("{plain}\x1bPtmux;{}\x1b\\", plain.replace('\x1b', "\x1b\x1b"))
}
