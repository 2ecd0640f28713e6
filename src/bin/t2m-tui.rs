//! The terminal program; see the library.

fn main() -> std::process::ExitCode {
    t2m_tui::cli::run()
}
