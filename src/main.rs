//! The `doorward` program. Floor 9: nothing but the exit code.

fn main() -> std::process::ExitCode {
    doorward::cli::main()
}
