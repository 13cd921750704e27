//! The entry: everything is in `cli`.

fn main() -> std::process::ExitCode {
    bellwether::cli::main()
}
