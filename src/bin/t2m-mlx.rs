//! The engine program that runs layers in MLX. `t2m-tui` starts it.

fn main() -> std::process::ExitCode {
    t2m_tui::engine::mlx::main()
}
