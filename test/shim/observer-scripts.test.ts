import assert from 'node:assert/strict'
import { copyFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { keptShim } from '../support/programs.ts'
import { onlyWhereItRuns, shown, Watch } from './observer/support.ts'
import { rustc } from './support.ts'

let watch: Watch

describe('what is noted of a build script besides', onlyWhereItRuns, () => {
  let bin: string
  before(async () => {
    watch = await Watch.make()
    bin = await watch.empty()
  })
  after(() => watch.remove())

  /** The probe under another name. */
  async function called(name: string): Promise<string> {
    const path = join(bin, name)
    await copyFile(watch.probe, path)
    return path
  }

  /** What the probe noted of clocks, random numbers and the variable that it asked for. */
  async function noted(name: string, call: string[], isScript = true): Promise<string[]> {
    const ran = await watch.observe(await called(name), call, isScript ? { script: 1 << 16 } : {})
    assert.ok(ran.complete)
    const kinds = ['clock', 'random']
    const asked = ran.events.filter(
      ({ kind, path }) => kinds.includes(kind) || (kind === 'env' && (path === 'FISH' || path.endsWith('()'))),
    )
    return asked.map((event) => shown(event) + (event.macro ? ' by the script' : ''))
  }

  const clock = ['clock 0 time']
  const cases: [call: string[], script: string[], builder: string[], tool: string[]][] = [
    [['time'], clock, clock, clock],
    [['localtime'], ['clock 0 localtime'], ['clock 0 localtime'], ['clock 0 localtime']],
    [['gettimeofday'], ['clock 0 gettimeofday'], [], []],
    [['clock_gettime', '0'], ['clock 0 clock_gettime'], [], []],
    [['clock_gettime', '1'], [], [], []],
    [['getrandom', '0'], ['random 0 getrandom'], ['random 0 getrandom'], []],
    [['getrandom', '4'], [], [], []],
    [['getentropy'], ['random 0 getentropy'], ['random 0 getentropy'], []],
    [['open', '/dev/urandom', '0'], ['random 0 /dev/urandom'], ['random 0 /dev/urandom'], []],
    [['gethostname'], ['env 0 gethostname() by the script'], ['env 0 gethostname() by the script'], []],
    [['uname'], ['env 0 uname() by the script'], ['env 0 uname() by the script'], []],
    [['getenv', 'FISH'], ['env 2 FISH by the script'], ['env 2 FISH by the script'], ['env 2 FISH']],
  ]
  for (const [call, script, builder, tool] of cases) {
    test(call.join(' '), async () => {
      assert.deepEqual(await noted('fish', call), script)
      assert.deepEqual(await noted('make', call), builder)
      for (const name of ['gcc', 'x86_64-linux-gnu-gcc-12', 'ld.bfd'])
        assert.deepEqual(await noted(name, call), tool, name)
      const of = call[0] === 'getenv' ? ['env 2 FISH'] : []
      assert.deepEqual(await noted('fish', call, false), of)
    })
  }

  test('a program that only looks like a tool is none', async () => {
    for (const name of ['gccx', 'my-cc-1x', 'ar2'])
      assert.deepEqual(await noted(name, ['gettimeofday']), ['clock 0 gettimeofday'])
  })

  test('where a file lies that is open, and no number of a pipe', async () => {
    const at = await watch.empty()
    await writeFile(join(at, 'file'), '')
    const seen = async (command: string): Promise<string[]> => {
      const ran = await watch.observe('/bin/sh', ['-c', command], { script: 1 << 16 })
      assert.ok(ran.complete)
      const isAsked = ({ path }: { path: string }): boolean =>
        path === 'readlink()' || path.startsWith('/proc/self/fd/')
      return ran.events.filter(isAsked).map(shown)
    }
    assert.deepEqual(await seen(`exec 7<${join(at, 'file')}; readlink /proc/self/fd/7`), ['env 0 readlink()'])
    assert.deepEqual(await seen('true | readlink /proc/self/fd/0'), ['link 0 /proc/self/fd/0'])
  })

  test('more than a compile has room for', async () => {
    const at = await watch.empty()
    const asks = `n=0; while [ $n -lt 12000 ]; do [ -e ${at}/${'x'.repeat(200)}$n ]; n=$((n + 1)); done\n`
    // Each twice: what was noted is not noted again.
    await writeFile(join(at, 'all'), asks.repeat(2))
    const script = await watch.observe('/bin/sh', [join(at, 'all')], { script: 1 << 16, bytes: 64 << 20 })
    assert.ok(script.complete)
    assert.equal(script.events.filter(({ path }) => path.includes('xxx')).length, 12_000)
  })

  test('what stands before rustc becomes it, if it is named', async () => {
    const { path } = await keptShim(rustc, join(watch.dir, 'shim'))
    const call = (wrapper: string) =>
      watch.observe('/bin/sh', ['-c', `${path} ${rustc} -vV; ${path} ${rustc} --print=sysroot`], {
        script: 1 << 16,
        env: { SHOAL_WRAPPER: wrapper, SHOAL: 'off' },
      })
    const named = await call(path)
    assert.ok(named.complete)
    assert.ok(named.events.some((event) => event.kind === 'attach' && event.path.endsWith('/bin/rustc')))
    // It may be static, and then nobody can see into it.
    assert.equal((await call('/another')).complete, (await call('')).complete)
  })
})
