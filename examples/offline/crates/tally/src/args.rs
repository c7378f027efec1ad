use std::path::PathBuf;
use tally_record::FieldValue;
use tally_report::Format;
use tally_syntax::CellRef;

pub(crate) const USAGE: &str = "\
usage: tally eval FORMULA...
       tally show FILE [--format text|markdown|html|json|csv] [--places N]
       tally explain FILE CELL
       tally check FILE
       tally functions | units | --version | --help
";

pub(crate) enum Command {
    Help,
    Version,
    Eval(String),
    Show(PathBuf),
    Explain(PathBuf, CellRef),
    Check(PathBuf),
    Functions,
    Units,
}

pub(crate) struct Args {
    pub(crate) command: Command,
    pub(crate) format: Format,
    pub(crate) places: Option<usize>,
}

impl Args {
    pub(crate) fn parse(args: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut words = Vec::new();
        let (mut format, mut places) = (Format::default(), None);
        let mut args = args.peekable();
        // A formula may start with a minus sign, so options count only for the command that has them.
        let options = args.peek().is_some_and(|first| first == "show");
        while let Some(arg) = args.next() {
            match arg.as_str() {
                "--format" if options => format = option(&arg, args.next())?,
                "--places" if options => places = Some(option(&arg, args.next())?),
                _ => words.push(arg),
            }
        }
        Ok(Self { command: command(&words)?, format, places })
    }
}

fn option<T: FieldValue>(name: &str, value: Option<String>) -> Result<T, String> {
    let value = value.ok_or_else(|| format!("{name} needs {}", T::EXPECTED))?;
    T::from_field(&value).ok_or_else(|| format!("{name} needs {}, not {value:?}", T::EXPECTED))
}

fn command(words: &[String]) -> Result<Command, String> {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        ["--help" | "-h" | "help"] => Ok(Command::Help),
        ["--version" | "-V"] => Ok(Command::Version),
        ["eval", _, ..] => Ok(Command::Eval(words[1..].join(" "))),
        ["show", file] => Ok(Command::Show(file.into())),
        ["explain", file, cell] => {
            let cell = cell.parse().map_err(|error| format!("{cell:?}: {error}"))?;
            Ok(Command::Explain(file.into(), cell))
        }
        ["check", file] => Ok(Command::Check(file.into())),
        ["functions"] => Ok(Command::Functions),
        ["units"] => Ok(Command::Units),
        [] => Err("a command is missing".to_owned()),
        [first, ..] => Err(format!("{first:?} is no command, or not with these words")),
    }
}

#[cfg(test)]
mod tests {
    use super::{Args, Command};
    use tally_report::Format;

    fn parse(words: &[&str]) -> Result<Args, String> {
        Args::parse(words.iter().map(|word| (*word).to_owned()))
    }

    #[test]
    fn options_may_stand_anywhere() {
        let args = parse(&["show", "--places", "2", "a.csv", "--format", "json"]).unwrap();
        assert!(matches!(args.command, Command::Show(file) if file.ends_with("a.csv")));
        assert_eq!((args.format, args.places), (Format::Json, Some(2)));
    }

    #[test]
    fn a_formula_may_be_several_words() {
        let args = parse(&["eval", "-1", "+", "2"]).unwrap();
        assert!(matches!(args.command, Command::Eval(formula) if formula == "-1 + 2"));
    }

    #[test]
    fn mistakes_are_named() {
        let problem = |words: &[&str]| parse(words).err().unwrap();
        assert_eq!(
            problem(&["show", "a", "--format", "pdf"]).split(", not").next(),
            Some("--format needs one of text, markdown, html, json, csv")
        );
        assert_eq!(problem(&["explain", "a", "11"]), "\"11\": a cell is written like B12 or $B$12");
        assert_eq!(problem(&[]), "a command is missing");
    }
}
