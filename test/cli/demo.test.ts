import assert from 'node:assert/strict'
import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { runChild } from '../../src/cli/demo/child.ts'
import { verdictOf } from '../../src/cli/demo/verdict.ts'
import { copyWorkspace } from '../../src/cli/demo/workspace.ts'
import type { Report } from '../../src/cli/shapes.ts'

type Outcome = Report['units'][number]['outcome']

const report = (...groups: [count: number, kind: string, outcome: Outcome][]): Pick<Report, 'units'> => ({
  units: groups.flatMap(([count, kind, outcome]) =>
    Array.from({ length: count }, () => ({ crate: 'x', kind, outcome, where: 'here', reason: '', ms: 1 })),
  ),
})
const enoughAway = report([3, 'lib', 'compiled-mesh'], [7, 'lib', 'compiled-here'])
const enoughRecalled = report([5, 'lib', 'recalled-here'], [4, 'bin', 'recalled-mesh'], [1, 'test', 'compiled-here'])

test('the demo succeeds only when both builds show what they should', () => {
  assert.equal(verdictOf(enoughAway, enoughRecalled).holds, true)
  assert.equal(verdictOf(report([2, 'lib', 'compiled-mesh'], [8, 'lib', 'compiled-here']), enoughRecalled).holds, false)
  assert.equal(verdictOf(enoughAway, report([8, 'lib', 'recalled-here'], [2, 'lib', 'compiled-mesh'])).holds, false)
  assert.equal(verdictOf(report(), report()).holds, false)
})

test('only lib units count as compiled away, units of every kind as recalled, and recalled is not compiled', () => {
  const cold = report(
    [5, 'bin', 'compiled-mesh'],
    [1, 'lib', 'compiled-mesh'],
    [1, 'lib', 'recalled-mesh'],
    [2, 'lib', 'compiled-here'],
  )
  const { away, recalled } = verdictOf(cold, enoughRecalled)
  assert.deepEqual(away, { count: 1, of: 4, share: 0.25 })
  assert.deepEqual(recalled, { count: 9, of: 10, share: 0.9 })
})

test('copyWorkspace() leaves out what a build left', async (t) => {
  const dir = await mkdtemp(join(tmpdir(), 'shoal-demo-test-'))
  t.after(() => rm(dir, { recursive: true, force: true }))
  for (const path of ['from/target/debug', 'from/crates/a/src', 'from/crates/a/target']) {
    await mkdir(join(dir, path), { recursive: true })
  }
  await writeFile(join(dir, 'from/crates/a/src/lib.rs'), '')
  await copyWorkspace(join(dir, 'from'), join(dir, 'some/where/to'))
  const copied = await readdir(join(dir, 'some/where/to'), { recursive: true })
  assert.deepEqual(copied.toSorted(), ['crates', 'crates/a', 'crates/a/src', 'crates/a/src/lib.rs'])
})

test('runChild() returns what a program said and how it ended', async () => {
  const { code, output, stdout } = await runChild(['sh', '-c', 'cat; echo err >&2; exit 4'], { stdin: 'in\n' })
  assert.deepEqual([code, stdout], [4, 'in\n'])
  assert.deepEqual(output.split('\n').toSorted(), ['', 'err', 'in'])
})

test('runChild() ends the program before it gives up', async () => {
  const stop = new AbortController()
  const running = runChild(['sh', '-c', 'echo $$; exec sleep 60'], { signal: stop.signal })
  setImmediate(() => stop.abort(new Error('Ctrl-C')))
  await assert.rejects(running, /Ctrl-C/)
})

test('runChild() of a program that is not there says ENOENT', async () => {
  await assert.rejects(runChild(['shoal-no-such-program']), { code: 'ENOENT' })
})
