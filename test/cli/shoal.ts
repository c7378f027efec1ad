import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable, Writable } from 'node:stream'
import type { TestContext } from 'node:test'
import { fileURLToPath } from 'node:url'
import { type ShoalPaths, shoalPaths } from '../../src/base/paths.ts'
import type { Io } from '../../src/cli/io.ts'
import { run } from '../../src/cli/program.ts'

export const statusAnswer = {
  node: { name: 'anna', peerId: '12D3KooA', pid: 4711, version: '0.1.0', addresses: ['/ip4/10.0.0.1/tcp/4001'] },
  mesh: { id: 'm1', name: 'office', open: false },
  slots: { total: 8, free: 7, lent: 1 },
  peers: 2,
  cache: { bytes: 1536, blocks: 3, results: 1 },
  health: [],
}

/** A directory of its own for one test, and the paths of a node in it. */
export async function temporaryHome(t: TestContext): Promise<{ home: string; paths: ShoalPaths }> {
  const home = await mkdtemp(join(tmpdir(), 'shoal-cli-'))
  t.after(() => rm(home, { recursive: true, force: true }))
  return { home, paths: shoalPaths({ SHOAL_HOME: home }, home) }
}

export interface Ran {
  code: number
  stdout: string
  stderr: string
}

export interface ShoalOptions {
  home: string
  env?: Record<string, string>
  stdin?: string
  /** Whether standard input is a person. */
  terminal?: boolean
  signal?: AbortSignal
}

/** Runs one `shoal` command line in this process. */
export async function shoal(args: readonly string[], options: ShoalOptions): Promise<Ran> {
  const out = new Text()
  const err = new Text()
  const env = { PATH: process.env.PATH, SHOAL_HOME: options.home, ...options.env }
  const io: Io = {
    stdout: out,
    stderr: err,
    stdin: Object.assign(Readable.from([options.stdin ?? '']), { isTTY: options.terminal ?? false }),
    env,
    paths: shoalPaths(env, options.home),
    daemonProgram: fileURLToPath(new URL('fake-daemon-program.ts', import.meta.url)),
    interactive: false,
    signal: options.signal ?? new AbortController().signal,
  }
  const code = await run(args, io)
  return { code, stdout: out.text, stderr: err.text }
}

class Text extends Writable {
  text = ''

  override _write(chunk: unknown, _encoding: string, done: () => void): void {
    this.text += String(chunk)
    done()
  }
}
