//! The floor of a warm rebuild: copies what an earlier build left, by name, and announces it. No daemon, no look at any input.
//! With `FLOOR_LOG` it says how many microseconds the copying of each unit took.
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};
use std::{env, fs};

fn main() {
    let args: Vec<String> = env::args().skip(1).collect();
    let value = |name: &str| {
        let at = args.iter().position(|arg| arg == name)?;
        args.get(at + 1).cloned()
    };
    let extra = args.iter().find_map(|arg| arg.strip_prefix("extra-filename="));
    if let (Some(name), Some(out), Some(extra)) = (value("--crate-name"), value("--out-dir"), extra) {
        let stem = format!("{name}{extra}");
        let library = format!("lib{stem}.");
        let saved = env::var("FLOOR_SAVED").expect("FLOOR_SAVED");
        let from = out.replacen(&env::var("FLOOR_TARGET").expect("FLOOR_TARGET"), &saved, 1);
        let mut copied = 0;
        let mut copying = Duration::ZERO;
        for entry in fs::read_dir(&from).into_iter().flatten().flatten() {
            let file = entry.file_name().to_string_lossy().into_owned();
            if file == stem || file.starts_with(&format!("{stem}.")) || file.starts_with(&library) {
                let to = Path::new(&out).join(&file);
                fs::create_dir_all(&out).expect("out-dir");
                let _ = fs::remove_file(&to);
                let start = Instant::now();
                fs::copy(entry.path(), &to).expect("copy");
                copying += start.elapsed();
                copied += 1;
                let emit = match file.rsplit('.').next() {
                    Some("d") => "dep-info",
                    Some("rmeta") => "metadata",
                    _ => "link",
                };
                let to = to.display();
                eprintln!("{{\"$message_type\":\"artifact\",\"artifact\":\"{to}\",\"emit\":\"{emit}\"}}");
            }
        }
        if let (true, Ok(log)) = (copied > 0, env::var("FLOOR_LOG")) {
            let line = format!("{stem} {}\n", copying.as_micros());
            let mut log = fs::OpenOptions::new().create(true).append(true).open(log).expect("log");
            log.write_all(line.as_bytes()).expect("log");
        }
        if copied > 0 {
            return;
        }
    }
    panic!("{}", Command::new(&args[0]).args(&args[1..]).exec());
}
