import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, describe, test } from 'node:test'
import { type Entry, entryProgram } from '../../src/execute/entry-program.ts'

const scratch = mkdtempSync(join(tmpdir(), 'shoal-entry-'))
after(() => rmSync(scratch, { recursive: true, force: true }))
const arch = process.arch === 'x64' || process.arch === 'arm64' ? process.arch : undefined
const skip = arch === undefined || process.platform !== 'linux'
const isRoot = process.getuid?.() === 0
const lastCapability = isRoot ? Number(readFileSync('/proc/sys/kernel/cap_last_cap', 'latin1')) : 0

function run(entry: Entry, argv: string[], env: Record<string, string> = {}) {
  const path = join(scratch, 'entry')
  rmSync(path, { force: true })
  writeFileSync(path, entryProgram(arch ?? 'x64', entry))
  chmodSync(path, 0o555)
  return spawnSync(path, argv, { env, encoding: 'utf8' })
}

describe('the first program of a guest', { skip }, () => {
  test('becomes the next one, with its arguments and its environment', () => {
    const program = `printf '%s|' "$0" "$@"; /usr/bin/env`
    const { stdout, status } = run({ tasks: 4096 }, ['/bin/sh', '-c', program, 'zero', 'one', '', 'two words'], {
      LD_NOTHING: 'a=b',
    })
    assert.equal(status, 0)
    assert.match(stdout, /^zero\|one\|\|two words\|/)
    assert.match(stdout, /\|LD_NOTHING=a=b\n/)
  })

  test('limits the tasks of whatever it becomes', () => {
    const { stdout } = run({ tasks: 4321 }, ['/bin/cat', '/proc/self/limits'])
    assert.match(stdout, /^Max processes +4321 +4321 /m)
  })

  test('says so when there is nothing to become', () => {
    assert.equal(run({ tasks: 4096 }, ['/nowhere']).status, 125)
    assert.equal(run({ tasks: 4096 }, []).status, 125)
  })

  test('gives up being root, and all that root may, for good', { skip: !isRoot }, () => {
    const user = 0x7abcdef0
    const { stdout } = run({ tasks: 64, become: { user, lastCapability } }, ['/bin/cat', '/proc/self/status'])
    for (const name of ['Uid', 'Gid']) assert.match(stdout, new RegExp(`^${name}:${`\\t${user}`.repeat(4)}$`, 'm'))
    assert.match(stdout, /^Groups:\s*$/m)
    for (const set of ['Inh', 'Prm', 'Eff', 'Bnd', 'Amb']) assert.match(stdout, new RegExp(`^Cap${set}:\\t0{16}$`, 'm'))
    assert.match(stdout, /^NoNewPrivs:\t1$/m)
  })

  test('runs nothing when it cannot become somebody else', { skip: isRoot }, () => {
    assert.equal(run({ tasks: 4096, become: { user: 0x7abcdef0, lastCapability } }, ['/bin/true']).status, 125)
  })
})

test('for arm64 every call is checked, and gives up at the same place', () => {
  const file = Buffer.from(entryProgram('arm64', { tasks: 9, become: { user: 0x7abcdef0, lastCapability: 1 } }))
  assert.equal(file.readUInt16LE(18), 183)
  const start = Number(file.readBigUInt64LE(24)) - 0x400000
  const code = Array.from({ length: (file.length - start) / 4 }, (_, at) => file.readUInt32LE(start + at * 4))
  const calls = code.flatMap((word, at) => (word === 0xd4000001 ? [at] : []))
  // Eight that are checked, execve, and the end.
  assert.equal(calls.length, 10)
  const ends = calls.slice(0, -2).map((at) => {
    const check = code[at + 1] ?? 0
    assert.equal(check >>> 24, 0xb5)
    return at + 1 + ((check >>> 5) & 0x7ffff)
  })
  assert.deepEqual(new Set(ends), new Set([(calls.at(-2) ?? 0) + 1]))
})
