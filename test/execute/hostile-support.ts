import { randomBytes } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import type { GuestLimits } from '../../src/execute/limits.ts'
import type { Outcome } from '../../src/execute/runner.ts'
import { type Files, type Lender, okResult } from './support.ts'

/** Begins every macro that attacks: what it needs of C, and where it is. */
export const prelude = `
#![allow(dead_code, unused)]
use proc_macro::TokenStream;
use std::os::raw::{c_char, c_int, c_long, c_void};
extern "C" {
    fn atexit(run: extern "C" fn()) -> c_int;
    fn syscall(number: c_long, ...) -> c_long;
    fn fcntl(fd: c_int, cmd: c_int, ...) -> c_int;
    fn ioctl(fd: c_int, request: c_long, ...) -> c_int;
    fn prctl(option: c_int, ...) -> c_int;
    fn kill(pid: c_int, signal: c_int) -> c_int;
    fn close(fd: c_int) -> c_int;
    fn ftruncate(fd: c_int, size: i64) -> c_int;
    fn fallocate(fd: c_int, mode: c_int, offset: i64, size: i64) -> c_int;
    fn mmap(at: *mut c_void, size: usize, prot: c_int, flags: c_int, fd: c_int, offset: i64) -> *mut c_void;
}
fn errno() -> i32 { std::io::Error::last_os_error().raw_os_error().unwrap_or(0) }
fn out() -> String {
    let args: Vec<String> = std::env::args().collect();
    args[args.iter().position(|a| a == "--out-dir").unwrap() + 1].clone()
}
fn library() -> String {
    let name = std::env::args().skip_while(|a| a != "--crate-name").nth(1).unwrap();
    format!("{}/lib{}-0123456789abcdef", out(), name)
}
fn text(value: String) -> TokenStream { format!("pub const REPORT: &str = {:?};", value).parse().unwrap() }
fn forever() -> ! { loop { std::thread::sleep(std::time::Duration::from_secs(3600)); } }
`

/** A library of macros, each of which does what `bodies` says; compiled and linked once. */
export class Macros {
  readonly #lender: Lender
  readonly #deps: Files
  #runs = 0

  constructor(lender: Lender, bodies: Readonly<Record<string, string>>) {
    const macros = Object.entries(bodies).map(
      ([name, body]) => `#[proc_macro] pub fn ${name}(_: TokenStream) -> TokenStream { ${body} }`,
    )
    this.#lender = lender
    this.#deps = lender.procMacro('hostile', `${prelude}\n${macros.join('\n')}\n`)
  }

  /** Compiles a crate that runs one of them, and which holds what it returns. */
  async run(
    name: string,
    options: { limits?: Partial<GuestLimits>; signal?: AbortSignal; build?: Files } = {},
  ): Promise<Outcome> {
    const { build, ...rest } = options
    const files = { 'src/lib.rs': `hostile::${name}!(); // ${this.#runs}` }
    const unit = { crate: `victim${this.#runs++}`, files, deps: this.#deps, ...(build && { build }) }
    return await this.#lender.run(await this.#lender.prepare(unit), rest)
  }
}

/** Some bytes that lie outside of every sandbox, and must never come out of one. */
export const makeCanary = (): string => `canary-${randomBytes(12).toString('hex')}`

/**
 * What a macro put between `<<` and `>>` in the outputs.
 * @throws when the canary is in any of them, or in the diagnostics
 */
export async function reportOf(outcome: Outcome, lender: Lender, canary: string): Promise<string> {
  const result = okResult(outcome)
  if (Buffer.from(result.stderr).includes(canary)) throw new Error('the diagnostics hold the canary')
  let report = ''
  for (const output of result.outputs) {
    const text = Buffer.from(await lender.bytes(output.cid)).toString('latin1')
    if (text.includes(canary)) throw new Error(`${output.name} holds the canary`)
    report ||= /<<(.*?)>>/s.exec(text)?.[1] ?? ''
  }
  return report
}

/** Processes that see something of a directory mounted: guests of whoever works in it, whatever they call themselves. */
export function guestsOf(dir: string): string[] {
  return readdirSync('/proc').filter((name) => {
    if (!/^\d+$/.test(name)) return false
    try {
      return readFileSync(`/proc/${name}/mountinfo`, 'latin1').includes(dir)
    } catch {
      // It has ended meanwhile.
      return false
    }
  })
}

/** What the work directory of a lender holds when no guest is there. */
export const emptyWork = ['inputs', 'toolchains', 'trees']
