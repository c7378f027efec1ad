//! `tally`: computes sheets kept as plain text.

mod args;
mod commands;

use args::{Args, Command};
use std::io::{self, Write};
use std::process::ExitCode;

fn main() -> ExitCode {
    let args = match Args::parse(std::env::args().skip(1)) {
        Ok(args) => args,
        Err(problem) => return fail(&format!("tally: {problem}\n{}", args::USAGE), 2),
    };
    let result = match &args.command {
        Command::Help => Ok(args::USAGE.to_owned()),
        Command::Version => Ok(commands::version()),
        Command::Eval(formula) => commands::eval(formula),
        Command::Show(file) => commands::show(file, args.format, args.places),
        Command::Explain(file, cell) => commands::explain(file, *cell),
        Command::Check(file) => commands::check(file),
        Command::Functions => Ok(commands::functions()),
        Command::Units => Ok(commands::units()),
    };
    match result {
        Ok(text) => match io::stdout().write_all(text.as_bytes()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(&format!("tally: {error}\n"), 1),
        },
        Err(message) => fail(&message, 1),
    }
}

fn fail(message: &str, code: u8) -> ExitCode {
    eprint!("{message}");
    ExitCode::from(code)
}
