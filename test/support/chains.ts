import type { Files } from './fixture.ts'

export interface ChainsInit {
  /** How many chains, of how many crates each. */
  chains: number
  length: number
  /** How much each crate has rustc compute. */
  steps: number
  /** How large a source is: as long as nothing better is known, that tells how long its compile takes (`daemon/units.ts`). Default: small. */
  sourceBytes?: number
  /** Makes all of it unknown to everybody. */
  salt: string
  /** Before the names of all crates. Default: none. */
  prefix?: string
}

/**
 * Crates of which each needs the one before it in its chain. rustc computes a constant in each of them, before it has metadata: no
 * crate can begin before the one before it has ended, and each takes as long as it is told to.
 */
export function chains(init: ChainsInit): Files {
  const { length, prefix = '' } = init
  const files: Record<string, string> = {}
  const names: string[] = []
  for (let chain = 0; chain < init.chains; chain++) {
    for (let at = 0; at < length; at++) {
      const [name, before] = [crateName(prefix, chain, at), at > 0 ? crateName(prefix, chain, at - 1) : undefined]
      names.push(name)
      const needs = before === undefined ? '' : `[dependencies]\n${before} = { path = "../${before}" }\n`
      files[`${name}/Cargo.toml`] = `[package]\nname = "${name}"\nversion = "0.1.0"\nedition = "2021"\n${needs}`
      files[`${name}/src/lib.rs`] = source(init, `${init.salt} ${name}`, before)
    }
  }
  const members = names.map((name) => `"${name}"`)
  files['Cargo.toml'] = `[workspace]\nresolver = "2"\nmembers = [${members.join(', ')}]\n`
  return files
}

const crateName = (prefix: string, chain: number, at: number): string => `${prefix}c${chain}n${at}`

function source({ steps, sourceBytes = 0 }: ChainsInit, salt: string, before: string | undefined): string {
  const text = computing(steps, salt, before)
  const line = '// Many small fish, which swim in a long line, one after the other.\n'
  return text + line.repeat(Math.max(0, Math.ceil((sourceBytes - text.length) / line.length)))
}

/** A library for which rustc has to compute a constant in so many steps. */
export function computing(steps: number, salt: string, before?: string): string {
  return `#![allow(long_running_const_eval)]
// ${salt}
const fn work(mut steps: u64) -> u64 {
    let mut sum: u64 = 1;
    while steps > 0 {
        sum = (sum ^ steps) % 1_000_003 * 7;
        steps -= 1;
    }
    sum
}
pub const SUM: u64 = work(${steps});
// A constant of another crate would be computed again.
pub const LENGTH: u8 = ${before === undefined ? '1' : `${before}::LENGTH + 1`};
`
}
