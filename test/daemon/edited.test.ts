import assert from 'node:assert/strict'
import { test } from 'node:test'
import { systemClock } from '../../src/base/clock.ts'
import { EditedUnits } from '../../src/daemon/edited.ts'
import type { Invocation } from '../../src/plan/invocation.ts'
import { parseRustcArgs } from '../../src/plan/rustc-args.ts'

function unit(crate: string, ...more: string[]): Invocation {
  const argv = ['--crate-name', crate, 'src/lib.rs', '--crate-type', 'lib', '--emit=dep-info,metadata,link']
  argv.push('--out-dir', '/ws/target/debug/deps', '-C', 'extra-filename=-1', ...more)
  return { driver: undefined, rustc: 'rustc', argv, cwd: '/ws', env: new Map(), remaps: [], cargoPid: 1 }
}
const incremental = ['-C', 'incremental=/ws/target/debug/incremental']
const uses = (file: string): string[] => ['--extern', `base=${file}`]
const argsOf = ({ argv }: Invocation): { args: ReturnType<typeof parseRustcArgs> } => ({ args: parseRustcArgs(argv) })

test('what is built upon a library made incrementally follows it, until that is made otherwise', () => {
  const edited = new EditedUnits(systemClock)
  const base = unit('base', ...incremental)
  const [metadata, library] = ['rmeta', 'rlib'].map((kind) =>
    unit('top', ...incremental, ...uses(`/ws/target/debug/deps/libbase-1.${kind}`)),
  )
  assert.ok(metadata && library)
  assert.equal(edited.follower(metadata), undefined)
  edited.made(argsOf(base), base, 'incrementally')
  for (const top of [metadata, library]) {
    assert.equal(edited.follower(top)?.reason, 'incremental')
    assert.equal(edited.follower(top)?.crate, 'top')
  }
  edited.made(argsOf(base), base, 'otherwise')
  assert.equal(edited.follower(metadata), undefined)
})

test('others do not: upon another library, or not incremental themselves', () => {
  const edited = new EditedUnits(systemClock)
  const base = unit('base', ...incremental)
  edited.made(argsOf(base), base, 'incrementally')
  for (const other of [
    unit('top', ...incremental),
    unit('top', ...incremental, ...uses('/ws/target/debug/deps/libbase-2.rmeta')),
    unit('top', ...incremental, ...uses('/other/target/debug/deps/libbase-1.rmeta')),
    unit('top', ...uses('/ws/target/debug/deps/libbase-1.rmeta')),
  ]) {
    assert.equal(edited.follower(other), undefined)
  }
  assert.ok(edited.follower(unit('top', ...incremental, ...uses('target/debug/deps/libbase-1.rmeta'))), 'relative')
})
