import type { Published } from './registry.ts'
import type { Texts } from './scripts.ts'

/**
 * A published package whose script compiles C. How nicely it runs is nothing that a trace could have: who runs it otherwise says
 * something else of the same.
 */
export const fishSys = (name: string): Published => ({
  name: `${name}-sys`,
  version: '1.2.3',
  manifest: `links = "${name}"\n`,
  files: {
    'build.rs': `use std::{env, fs, process::Command};
extern "C" { fn getpriority(which: i32, who: u32) -> i32; }
fn main() {
    let out = env::var("OUT_DIR").unwrap();
    let run = |command: &mut Command| assert!(command.status().unwrap().success(), "{command:?}");
    fs::create_dir_all(format!("{out}/include")).unwrap();
    fs::write(format!("{out}/include/fins.h"), format!("#define FINS {}\\n", 7 + unsafe { getpriority(0, 0) })).unwrap();
    run(Command::new("cc").args(["-O1", "-c", "c/${name}.c", "-I"]).arg(format!("{out}/include")).arg("-o").arg(format!("{out}/${name}.o")));
    run(Command::new("ar").args(["crsD", &format!("{out}/lib${name}.a"), &format!("{out}/${name}.o")]));
    std::os::unix::fs::symlink("include/fins.h", format!("{out}/linked.h")).unwrap();
    fs::write(format!("{out}/${name}.pc"), format!("prefix={out}\\n")).unwrap();
    println!("cargo::rustc-link-search=native={out}");
    println!("cargo::rustc-link-lib=static=${name}");
    println!("cargo::metadata=include={out}/include");
}
`,
    [`c/${name}.c`]: `#include <stddef.h>\n#include <fins.h>\nint ${name}(void) { return FINS; }\n`,
    'src/lib.rs': `extern "C" { pub fn ${name}() -> i32; }\n`,
  },
})

/** Names of such packages. */
export const sorts = ['fish', 'eel', 'squid']
/** A program that needs them all. */
export const needsFish: Texts = {
  'Cargo.toml': `[package]\nname = "app"\nversion = "0.1.0"\nedition = "2021"\n[dependencies]\n${sorts.map((name) => `${name}-sys = "1"\n`).join('')}[workspace]\n`,
  'src/main.rs': `fn main() { unsafe { println!("{}", [${sorts.map((name) => `${name}_sys::${name}()`).join(', ')}].map(|fins| fins.to_string()).join(" ")) } }\n`,
}
