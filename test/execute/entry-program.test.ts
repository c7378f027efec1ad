import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, describe, test } from 'node:test'
import { type Entry, entryProgram, type Limit } from '../../src/execute/entry-program.ts'

const scratch = mkdtempSync(join(tmpdir(), 'shoal-entry-'))
after(() => rmSync(scratch, { recursive: true, force: true }))
const arch = process.arch === 'x64' || process.arch === 'arm64' ? process.arch : undefined
const skip = arch === undefined || process.platform !== 'linux'
const isRoot = process.getuid?.() === 0
const lastCapability = isRoot ? Number(readFileSync('/proc/sys/kernel/cap_last_cap', 'latin1')) : 0

function run(entry: Partial<Entry>, program: string[], env: Record<string, string> = {}) {
  const path = join(scratch, 'entry')
  rmSync(path, { force: true })
  writeFileSync(path, entryProgram(arch ?? 'x64', { limits: [], ...entry, program }))
  chmodSync(path, 0o555)
  return spawnSync(path, ['not', 'these'], { env, encoding: 'utf8' })
}

describe('the first program of a guest', { skip }, () => {
  test('becomes the next one, with its arguments and its environment', () => {
    const program = `printf '%s|' "$0" "$@"; /usr/bin/env`
    const long = 'ä'.repeat(50_000)
    const words = ['zero', 'one', '', 'two words', "it's", long]
    const { stdout, status } = run({}, ['/bin/sh', '-c', program, ...words], { LD_NOTHING: 'a=b' })
    assert.equal(status, 0)
    assert.ok(stdout.startsWith(`${words.join('|')}|`), stdout.slice(0, 200))
    assert.match(stdout, /\|LD_NOTHING=a=b\n/)
  })

  test('limits whatever it becomes', () => {
    const limits: Limit[] = [
      { of: 'core', value: 0 },
      { of: 'cpu', value: 77 },
      { of: 'data', value: 5 * 1024 ** 3 },
      { of: 'fileSize', value: 6 * 1024 ** 3 + 1 },
      { of: 'files', value: 99 },
      { of: 'signals', value: 55, isOptional: true },
      { of: 'tasks', value: 4321 },
    ]
    const { stdout } = run({ limits }, ['/bin/cat', '/proc/self/limits'])
    for (const [name, value] of [
      ...([
        ['core file size', 0],
        ['cpu time', 77],
        ['data size', 5 * 1024 ** 3],
      ] as const),
      ...([
        ['file size', 6 * 1024 ** 3 + 1],
        ['open files', 99],
        ['pending signals', 55],
        ['processes', 4321],
      ] as const),
    ])
      assert.match(stdout, new RegExp(`^Max ${name} +${value} +${value} `, 'm'))
  })

  test('runs nothing when it is not limited, unless it may do without', () => {
    // More than the kernel lets anybody have open.
    const value = 2 ** 40
    assert.equal(run({ limits: [{ of: 'files', value }] }, ['/bin/true']).status, 125)
    assert.equal(run({ limits: [{ of: 'files', value, isOptional: true }] }, ['/bin/true']).status, 0)
  })

  test('says so when there is nothing to become', () => {
    assert.equal(run({}, ['/nowhere']).status, 125)
    assert.equal(run({}, []).status, 125)
  })

  test('gives up being root, and all that root may, for good', { skip: !isRoot }, () => {
    const user = 0x7abcdef0
    const { stdout } = run({ become: { user, lastCapability } }, ['/bin/cat', '/proc/self/status'])
    for (const name of ['Uid', 'Gid']) assert.match(stdout, new RegExp(`^${name}:${`\\t${user}`.repeat(4)}$`, 'm'))
    assert.match(stdout, /^Groups:\s*$/m)
    for (const set of ['Inh', 'Prm', 'Eff', 'Bnd', 'Amb']) assert.match(stdout, new RegExp(`^Cap${set}:\\t0{16}$`, 'm'))
    assert.match(stdout, /^NoNewPrivs:\t1$/m)
  })

  test('runs nothing when it cannot become somebody else', { skip: isRoot }, () => {
    assert.equal(run({ become: { user: 0x7abcdef0, lastCapability } }, ['/bin/true']).status, 125)
  })
})

test('for arm64 every call is checked, and gives up at the same place', () => {
  const file = Buffer.from(
    entryProgram('arm64', {
      limits: [
        { of: 'signals', value: 9, isOptional: true },
        { of: 'tasks', value: 9 },
      ],
      become: { user: 0x7abcdef0, lastCapability: 1 },
      program: ['/bin/rustc', 'one'],
    }),
  )
  assert.equal(file.readUInt16LE(18), 183)
  const start = Number(file.readBigUInt64LE(24)) - 0x400000
  const code = Array.from({ length: (file.length - start) / 4 }, (_, at) => file.readUInt32LE(start + at * 4))
  const calls = code.flatMap((word, at) => (word === 0xd4000001 ? [at] : []))
  // One that may fail, eight that are checked, execve, and the end.
  assert.equal(calls.length, 11)
  const ends = calls.slice(1, -2).map((at) => {
    const check = code[at + 1] ?? 0
    assert.equal(check >>> 24, 0xb5)
    return at + 1 + ((check >>> 5) & 0x7ffff)
  })
  assert.deepEqual(new Set(ends), new Set([(calls.at(-2) ?? 0) + 1]))
})
