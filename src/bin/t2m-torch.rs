//! The engine program that runs layers in libtorch. `t2m-tui` starts it.

fn main() -> std::process::ExitCode {
    t2m_tui::engine::torch::main()
}
