import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { mkdir, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import type { TestNode } from './cluster.ts'

const manifest = (name: string, rest: string): string =>
  `[package]\nname = "${name}"\nversion = "0.1.0"\nedition = "2021"\n${rest}`
const usesHold = '[dependencies]\nhold = { path = "../hold" }\n'

/** Units that take every slot of a node for as long as the test wants: nothing else can be compiled there. */
const files = {
  'Cargo.toml': '[workspace]\nresolver = "2"\nmembers = ["hold", "held"]\n',
  'hold/Cargo.toml': manifest('hold', '[lib]\nproc-macro = true\n'),
  'hold/src/lib.rs': `use proc_macro::TokenStream;
#[proc_macro] pub fn hold(name: TokenStream) -> TokenStream {
    let dir = std::env::var("HOLD_DIR").unwrap();
    std::fs::write(format!("{dir}/{name}"), "").unwrap();
    while !std::path::Path::new(&format!("{dir}/go")).exists() {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    TokenStream::new()
}
`,
  'held/Cargo.toml': manifest('held', usesHold),
  'held/src/lib.rs': '',
}

export async function writeFiles(dir: string, contents: Readonly<Record<string, string>>): Promise<void> {
  for (const [path, content] of Object.entries(contents)) {
    await mkdir(dirname(join(dir, path)), { recursive: true })
    await writeFile(join(dir, path), content)
  }
}

/** A unit that nobody else takes waits for a slot: then a test is to fail by what it finds, not by its time. */
const usualMs = 90_000

/**
 * Keeps the slots of a node, of which there are `slots`, busy while `work` runs, until it releases them, or for as long as that should take.
 * @param dir new each time
 */
export async function whileBusy<T>(
  node: TestNode,
  dir: string,
  slots: number,
  work: (release: () => Promise<void>) => Promise<T>,
  mostMs = usualMs,
): Promise<T> {
  const names = Array.from({ length: slots }, (_, at) => `held${at}`)
  await writeFiles(dir, files)
  for (const name of names) {
    await writeFiles(dir, { [`held/src/bin/${name}.rs`]: `hold::hold!(${name}); fn main() {} // ${dir}\n` })
  }
  const signals = join(dir, 'signals')
  await mkdir(signals, { recursive: true })
  const env = { ...(await node.cargoEnv()), HOLD_DIR: signals }
  const options = { cwd: dir, env, stdio: 'ignore' } as const
  const holding = spawn('cargo', ['build', '--offline', `-j${slots + 1}`, '--bins'], options)
  const ended = once(holding, 'close')
  const go = async (): Promise<void> => await writeFile(join(signals, 'go'), '')
  const timer = setTimeout(() => void go(), mostMs)
  try {
    for (let tries = 0; !names.every((name) => existsSync(join(signals, name))); tries++) {
      if (tries > 12_000) throw new Error('the slots never became busy')
      await delay(5)
    }
    return await work(go)
  } finally {
    clearTimeout(timer)
    await go()
    assert.deepEqual(await ended, [0, null])
  }
}
