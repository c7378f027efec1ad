import { readdir, readFile, readlink, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { capture, type Ran, type ReportRow, type TestNode, type UnitRow } from './cluster.ts'

export { writeFiles as writeAll } from './busy.ts'

/** Files by their paths. */
export type Texts = Record<string, string>

/** Has a node start build scripts by launchers. @param more lines for `[build]` */
export async function withLaunchers(node: TestNode, more = ''): Promise<void> {
  await node.stop()
  const text = await readFile(join(node.home, 'config.toml'), 'utf8')
  await node.configure(`${text}\n[build]\nscript-launcher = true\n${more}`)
  await node.start()
}

export interface Built extends Ran {
  /** The runs of build scripts, by package. */
  runs: Map<string, UnitRow>
}

/** Builds from nothing, or on top of what is there. */
export async function buildAnew(
  node: TestNode,
  dir: string,
  { env = {}, args = [], keep = false }: { env?: NodeJS.ProcessEnv; args?: string[]; keep?: boolean } = {},
): Promise<Built> {
  if (!keep) await rm(join(dir, 'target'), { recursive: true, force: true })
  const all = { ...(await environmentOf(node)), ...env }
  const ran = await capture('cargo', ['build', '--offline', ...args], { cwd: dir, env: all })
  const runs = await runsOf(node)
  return { ...ran, runs: new Map(runs.map((unit) => [unit.package?.split('@')[0] ?? '', unit])) }
}

const environments = new WeakMap<TestNode, NodeJS.ProcessEnv>()

/** Of a cargo that uses a node; asked for once. */
export async function environmentOf(node: TestNode): Promise<NodeJS.ProcessEnv> {
  const known = environments.get(node) ?? (await node.cargoEnv())
  environments.set(node, known)
  return known
}

/** The runs of build scripts in the last build, each of which is known only when all is kept of it that is. */
export async function runsOf(node: TestNode): Promise<UnitRow[]> {
  const { session } = await node.ask<{ session: string }>('report')
  const deadline = Date.now() + 20_000
  for (;;) {
    const { units, session: now } = await node.ask<ReportRow & { session: string }>('report')
    const runs = units.filter(({ kind }) => kind === 'build-script-run')
    if (now !== session) throw new Error('another build has begun')
    if (runs.length > 0 || Date.now() > deadline) return runs
    await delay(10)
  }
}

/** Everything below a directory as text: kind, mode, and content in hex. */
export async function everything(dir: string): Promise<Map<string, string>> {
  const found = new Map<string, string>()
  const entries = await readdir(dir, { recursive: true, withFileTypes: true })
  for (const entry of entries) {
    const path = join(entry.parentPath, entry.name)
    const name = path.slice(dir.length + 1)
    if (entry.isSymbolicLink()) found.set(name, `link ${await readlink(path)}`)
    else {
      const { mode } = await stat(path)
      const content = entry.isFile() ? (await readFile(path)).toString('hex') : ''
      found.set(name, `${entry.isFile() ? 'file' : 'dir'} ${mode.toString(8)} ${content}`)
    }
  }
  return found
}

/** The OUT_DIR of a package's script, of which there is one. */
export async function outDirOf(dir: string, name: string, profile = 'debug'): Promise<string> {
  const build = join(dir, 'target', profile, 'build')
  for (const entry of await readdir(build)) {
    const out = join(build, entry, 'out')
    if (entry.startsWith(`${name}-`) && (await stat(out).catch(() => undefined))?.isDirectory()) return out
  }
  throw new Error(`no OUT_DIR of ${name}`)
}

/** A package whose script compiles C: with what is on PATH, from its own sources and with headers that lie elsewhere. */
export const compilingC: Texts = {
  'Cargo.toml': `[package]\nname = "native"\nversion = "0.1.0"\nedition = "2021"\n[features]\nloud = []\n[build-dependencies]\nhelper = { path = "helper" }\n[workspace]\n`,
  'helper/Cargo.toml': '[package]\nname = "helper"\nversion = "0.1.0"\nedition = "2021"\n',
  'helper/src/lib.rs': 'pub const FLAGS: &[&str] = &["-O1", "-MMD"];\n',
  'build.rs': `use std::{env, fs, process::Command};
fn run(command: &mut Command) {
    assert!(command.status().unwrap().success(), "{command:?}");
}
fn main() {
    let out = env::var("OUT_DIR").unwrap();
    let mut cc = Command::new("cc");
    cc.args(helper::FLAGS).args(["-Ic", "-c", "c/x.c", "-o"]).arg(format!("{out}/x.o"));
    if let Ok(dir) = env::var("SYSTEM_INCLUDE") { cc.arg("-isystem").arg(dir); }
    if let Ok(flags) = env::var("FISH_CFLAGS") { cc.args(flags.split(' ')); }
    if env::var_os("CARGO_FEATURE_LOUD").is_some() { cc.arg("-DLOUD"); }
    if let Ok(package) = env::var("FISH_PC") {
        for line in fs::read_to_string(package).unwrap().lines() {
            if let Some(flag) = line.strip_prefix("Cflags: ") { cc.arg(flag); }
        }
    }
    if env::var_os("FISH_ASKS").is_some() {
        let asked = Command::new("pkg-config").args(["--cflags", "fish"]).output().unwrap();
        assert!(asked.status.success(), "{asked:?}");
        cc.args(String::from_utf8(asked.stdout).unwrap().split_whitespace());
    }
    run(&mut cc);
    run(Command::new("ar").args(["crsD", &format!("{out}/libx.a"), &format!("{out}/x.o")]));
    run(Command::new("sh").args(["-c", "cat c/data.txt > $OUT_DIR/data"]));
    fs::create_dir_all(format!("{out}/dir")).unwrap();
    let _ = std::os::unix::fs::symlink("../data", format!("{out}/dir/link"));
    println!("cargo::rustc-link-search=native={out}");
    println!("cargo::rustc-link-lib=static=x");
    println!("cargo::rustc-env=PROFILE_THEN={}", env::var("PROFILE").unwrap());
    eprintln!("a word");
}
`,
  'c/x.c': `#include "x.h"
#if __has_include("extra.h")
#include "extra.h"
#endif
#if __has_include(<fish_system.h>)
#include <fish_system.h>
#endif
#ifndef SYSTEM
#define SYSTEM 0
#endif
#ifndef EXTRA
#define EXTRA 0
#endif
#ifdef LOUD
#define SAID 1000
#else
#define SAID 0
#endif
#ifndef FLAG
#define FLAG 0
#endif
int x(void) { return OWN + EXTRA + SYSTEM + SAID + FLAG; }
`,
  'c/x.h': '#define OWN 1\n',
  'c/data.txt': 'data\n',
  'src/main.rs': `extern "C" { fn x() -> i32; }
fn main() { println!("{} {} {}", unsafe { x() }, include_str!(concat!(env!("OUT_DIR"), "/data")).trim(), env!("PROFILE_THEN")) }
`,
}

/** No library of another kind of machine is here, so this needs none: not even `core`. What it is made from comes from OUT_DIR. */
export const crossing: Texts = {
  'Cargo.toml': '[package]\nname = "crossing"\nversion = "0.1.0"\nedition = "2021"\n[workspace]\n',
  'build.rs': `fn main() {
    let variable = |name| std::env::var(name).unwrap_or_default();
    let text = format!("macro_rules! said {{ ({}) => {{}} }}", variable("CARGO_CFG_TARGET_ARCH"));
    std::fs::write(format!("{}/said.rs", variable("OUT_DIR")), text).unwrap();
    println!("cargo::rerun-if-env-changed=SAYS");
    println!("cargo::rustc-cfg=says_{}", variable("SAYS"));
    println!("cargo::rustc-check-cfg=cfg(says_alone)");
}
`,
  'src/lib.rs': `#![feature(no_core, rustc_attrs)]
#![allow(internal_features)]
#![no_core]
#[rustc_builtin_macro]
macro_rules! include { () => {} }
#[rustc_builtin_macro]
macro_rules! concat { () => {} }
#[rustc_builtin_macro]
macro_rules! env { () => {} }
include!(concat!(env!("OUT_DIR"), "/said.rs"));
#[cfg(target_arch = "aarch64")]
said!(aarch64);
#[cfg(not(target_arch = "aarch64"))]
said!(x86_64);
`,
}
