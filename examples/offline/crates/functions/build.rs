//! Turns `catalogue.txt` into an enum of all functions, with their parameters and how each is called.

use std::collections::HashSet;
use std::error::Error;
use std::fmt::{self, Write as _};
use std::path::Path;
use std::{env, fs};

const TABLE: &str = "catalogue.txt";

/// Names of functions that Rust has another use for.
const KEYWORDS: [&str; 4] = ["if", "match", "mod", "type"];

struct Function<'a> {
    module: &'a str,
    name: &'a str,
    signature: &'a str,
    summary: &'a str,
    takes: Vec<&'static str>,
    least: usize,
    most: Option<usize>,
}

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed={TABLE}");
    let text = fs::read_to_string(TABLE)?;
    let mut functions: Vec<Function<'_>> = Vec::new();
    let mut names = HashSet::new();
    let mut module = "";
    for (number, line) in (1..).zip(text.lines()) {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            module = name;
            continue;
        }
        let function = parse(module, line).map_err(|problem| format!("{TABLE}:{number}: {problem}"))?;
        if !names.insert(function.name) {
            return Err(format!("{TABLE}:{number}: {} stands there already", function.name).into());
        }
        functions.push(function);
    }
    functions.sort_by_key(|function| function.name);
    let mut code = String::new();
    generate(&mut code, &functions)?;
    fs::write(Path::new(&env::var("OUT_DIR")?).join("catalogue.rs"), code)?;
    Ok(())
}

fn parse<'a>(module: &'a str, line: &'a str) -> Result<Function<'a>, &'static str> {
    let (signature, summary) = line.split_once(") ").ok_or("a function has parameters and a summary")?;
    let (name, parameters) = signature.split_once('(').ok_or("a function has parameters")?;
    let mut function = Function {
        module,
        name,
        signature: &line[..signature.len() + 1],
        summary,
        takes: Vec::new(),
        least: 0,
        most: Some(0),
    };
    for parameter in parameters.split(", ") {
        if function.most.is_none() {
            return Err("nothing can follow the rest");
        }
        let (take, required, most) = match parameter.as_bytes() {
            [b'[', .., b']'] => ("optional", 0, Some(function.takes.len() + 1)),
            [b'{', .., b'}'] => ("list", 1, Some(function.takes.len() + 1)),
            [.., b'.', b'.', b'.'] => ("rest", 1, None),
            _ => ("take", 1, Some(function.takes.len() + 1)),
        };
        if required > 0 && function.takes.contains(&"optional") {
            return Err("what is optional comes last");
        }
        function.takes.push(take);
        function.least += required;
        function.most = most;
    }
    Ok(function)
}

fn generate(code: &mut String, functions: &[Function<'_>]) -> fmt::Result {
    let variant = |function: &Function<'_>| function.name[..1].to_owned() + &function.name[1..].to_lowercase();
    writeln!(code, "/// A function of formulas.")?;
    writeln!(code, "#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]\npub enum Function {{")?;
    for function in functions {
        writeln!(code, "    /// {}\n    {},", function.summary, variant(function))?;
    }
    writeln!(code, "}}\n\nimpl Function {{\n    /// All functions, by name.")?;
    writeln!(code, "    pub const ALL: [Self; {}] = [", functions.len())?;
    for function in functions {
        writeln!(code, "        Self::{},", variant(function))?;
    }
    writeln!(code, "    ];\n")?;
    let mut table = |doc: &str, signature: &str, value: &dyn Fn(&Function<'_>) -> String| {
        writeln!(code, "    /// {doc}\n    {signature} {{\n        match self {{")?;
        for function in functions {
            writeln!(code, "            Self::{} => {},", variant(function), value(function))?;
        }
        writeln!(code, "        }}\n    }}\n")
    };
    let quoted = |text: &str| format!("{text:?}");
    table("How it is called.", "pub const fn name(self) -> &'static str", &|function| quoted(function.name))?;
    table("Its name and parameters.", "pub const fn signature(self) -> &'static str", &|function| {
        quoted(function.signature)
    })?;
    table("What it does.", "pub const fn summary(self) -> &'static str", &|function| quoted(function.summary))?;
    table("Which group it belongs to.", "pub const fn group(self) -> &'static str", &|function| {
        quoted(function.module)
    })?;
    table("How many arguments it takes at least.", "pub const fn least(self) -> usize", &|function| {
        function.least.to_string()
    })?;
    table("How many it takes at most, if there is an end.", "pub const fn most(self) -> Option<usize>", &|function| {
        format!("{:?}", function.most)
    })?;
    table(
        "Hands it its arguments.",
        "fn dispatch(self, arguments: &mut Arguments) -> Result<Value, Fault>",
        &|function| {
            let lower = function.name.to_lowercase();
            let prefix = if KEYWORDS.contains(&lower.as_str()) { "r#" } else { "" };
            let takes: Vec<String> = function.takes.iter().map(|take| format!("arguments.{take}()?")).collect();
            format!("Ok(IntoValue::into_value({}::{prefix}{lower}({})))", function.module, takes.join(", "))
        },
    )?;
    writeln!(code, "    /// The function of a name in capitals.")?;
    writeln!(code, "    pub fn from_name(name: &str) -> Option<Self> {{\n        match name {{")?;
    for function in functions {
        writeln!(code, "            {:?} => Some(Self::{}),", function.name, variant(function))?;
    }
    writeln!(code, "            _ => None,\n        }}\n    }}\n}}")
}
