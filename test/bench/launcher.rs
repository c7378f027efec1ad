//! Runs programs in turn, many times, and says what each takes from its start to its exit: `launcher RUNS OUT_DIR NAME=PROGRAM…`. Each finds OUT_DIR
//! empty, and a variable with a value that it never had before. Prints a line for each: the name, and the microseconds of all runs.
use std::process::{Command, Stdio};
use std::time::Instant;
use std::{env, fs};

fn main() {
    let mut args = env::args().skip(1);
    let runs: usize = args.next().and_then(|runs| runs.parse().ok()).expect("runs");
    let out_dir = args.next().expect("OUT_DIR");
    let programs: Vec<(String, String)> = args
        .map(|arg| {
            let (name, program) = arg.split_once('=').expect("NAME=PROGRAM");
            (name.to_string(), program.to_string())
        })
        .collect();
    let mut took = vec![Vec::new(); programs.len()];
    for run in 0..runs {
        for turn in 0..programs.len() {
            // Nobody is always the one after the same other one.
            let at = if run % 2 == 0 { turn } else { programs.len() - 1 - turn };
            let (name, program) = &programs[at];
            let _ = fs::remove_dir_all(&out_dir);
            fs::create_dir(&out_dir).expect("OUT_DIR");
            let mut command = Command::new(program);
            command.stdout(Stdio::null()).stderr(Stdio::null());
            command.env("CARGO_PKG_DESCRIPTION", format!("{} {run} {turn}", std::process::id()));
            if name.starts_with("off") {
                command.env("SHOAL", "off");
            }
            let start = Instant::now();
            let ended = command.status().expect("a program");
            took[at].push(start.elapsed().as_micros());
            assert!(ended.success(), "{name} {ended}");
        }
    }
    for ((name, _), micros) in programs.iter().zip(&took) {
        let all: Vec<String> = micros.iter().map(u128::to_string).collect();
        println!("{name} {}", all.join(","));
    }
}
