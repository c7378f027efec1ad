import assert from 'node:assert/strict'
import { chmod, cp, mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { Cluster, capture, type TestNode } from '../support/cluster.ts'
import { type Built, buildAnew, compilingC, everything, outDirOf, withLaunchers, writeAll } from '../support/scripts.ts'

/** As pkg-config reads it. */
const packageFile = (flags: string): string => `Name: fish\nDescription: fish\nVersion: 1\nCflags: ${flags}\n`

describe('a build script that compiles C', () => {
  let cluster: Cluster
  let node: TestNode
  let dir: string
  let env: NodeJS.ProcessEnv
  let host: string
  before(async () => {
    host = /host: (.*)/.exec((await capture('rustc', ['-vV'])).stdout)?.[1] ?? ''
    cluster = await Cluster.start(['ada'])
    node = cluster.node('ada')
    await withLaunchers(node)
    dir = join(cluster.dir, 'fish')
    await writeAll(dir, compilingC)
    const system = join(cluster.dir, 'system')
    await mkdir(join(cluster.dir, 'first'))
    await writeAll(system, { 'fish_system.h': '#define SYSTEM 10\n', 'fish.pc': packageFile('-DPC') })
    env = {
      SYSTEM_INCLUDE: system,
      FISH_PC: join(system, 'fish.pc'),
      PATH: `${join(cluster.dir, 'first')}:${process.env.PATH}`,
    }
  })
  after(() => cluster.close())

  const outcome = ({ runs, stderr, code }: Built): string => {
    assert.equal(code, 0, stderr)
    const unit = runs.get('native')
    return `${unit?.outcome} ${unit?.reason}`
  }
  const ran = 'compiled-here '
  const recalled = 'recalled-here '
  const build = async (more: NodeJS.ProcessEnv = {}, args: string[] = [], at = dir): Promise<string> =>
    outcome(await buildAnew(node, at, { env: { ...env, ...more }, args }))
  const says = async (at = dir): Promise<string> => (await capture(join(at, 'target/debug/native'), [])).stdout.trim()

  /** What plain cargo leaves there. */
  async function plainly(at: string): Promise<{ out: Map<string, string>; program: Buffer }> {
    await rm(join(at, 'target'), { recursive: true, force: true })
    const variables = { ...process.env, ...env, CARGO_INCREMENTAL: '0', RUSTC_WRAPPER: '' }
    const cargo = await capture('cargo', ['build', '--offline'], { cwd: at, env: variables })
    assert.equal(cargo.code, 0, cargo.stderr)
    return {
      out: await everything(await outDirOf(at, 'native')),
      program: await readFile(join(at, 'target/debug/native')),
    }
  }

  test('is recalled from nothing, with the bytes and the modes that plain cargo gives there', async () => {
    const plain = await plainly(dir)
    assert.equal(await build(), ran)
    assert.deepEqual(await everything(await outDirOf(dir, 'native')), plain.out)
    assert.equal(await says(), '11 data debug')

    assert.equal(await build(), recalled)
    assert.deepEqual(await everything(await outDirOf(dir, 'native')), plain.out)
    assert.equal(await says(), '11 data debug')

    const other = join(cluster.dir, 'another-place', 'fish')
    await mkdir(join(cluster.dir, 'another-place'))
    await cp(dir, other, { recursive: true, filter: (path) => !path.endsWith('/target') })
    const there = await plainly(other)
    // Its own name, and what lies around it, can be other there.
    assert.equal(await build({}, [], other), ran)
    assert.equal(await build({}, [], other), recalled)
    assert.deepEqual(await everything(await outDirOf(other, 'native')), there.out)
    assert.ok((await readFile(join(await outDirOf(other, 'native'), 'x.d'), 'utf8')).includes(other))
    assert.equal(await says(other), '11 data debug')

    // Where rules of make are written with quotes.
    const quoted = join(cluster.dir, 'a place', 'fish')
    await mkdir(join(cluster.dir, 'a place'))
    await cp(dir, quoted, { recursive: true, filter: (path) => !path.endsWith('/target') })
    const within = await plainly(quoted)
    assert.equal(await build({}, [], quoted), 'compiled-here path-bound')
    assert.equal(await build({}, [], quoted), recalled)
    assert.deepEqual(await everything(await outDirOf(quoted, 'native')), within.out)

    // Another home, as far as cargo and the shell are concerned, which takes in all variables.
    const home = join(cluster.dir, 'home')
    await mkdir(home)
    const cargoHome = process.env.CARGO_HOME ?? join(process.env.HOME ?? '/', '.cargo')
    const rustupHome = process.env.RUSTUP_HOME ?? join(process.env.HOME ?? '/', '.rustup')
    const elsewhere = { HOME: home, USER: 'somebody', CARGO_HOME: join(home, 'cargo'), RUSTUP_HOME: rustupHome }
    assert.notEqual(elsewhere.CARGO_HOME, cargoHome)
    assert.equal(await build(elsewhere), ran)
    assert.equal(await build(elsewhere), recalled)

    // In cargo's new layout, which stable cargo has only when it is told so.
    const layout: [NodeJS.ProcessEnv, string[]] = [{ RUSTC_BOOTSTRAP: '1' }, ['-Zbuild-dir-new-layout']]
    assert.equal(await build(...layout), ran)
    assert.equal(await build(...layout), recalled)
    assert.equal(await says(), '11 data debug')

    // Nothing is asked where nobody wants it, and everything works without a node.
    const off = await buildAnew(node, dir, { env: { ...env, SHOAL: 'off' } })
    assert.equal(off.code, 0, off.stderr)
    assert.equal(await says(), '11 data debug')
    assert.equal(await build(), recalled)
    await node.kill()
    const touched = join(dir, 'c/x.h')
    await writeFile(touched, await readFile(touched))
    const alone = { ...(await node.cargoEnv()), ...env }
    const again = await capture('cargo', ['build', '--offline', '-v'], { cwd: dir, env: alone })
    assert.equal(again.code, 0, again.stderr)
    assert.match(again.stderr, /Running `[^`]*build-script-build`/)
    const moved = join(cluster.dir, 'moved')
    await rename(dir, moved)
    await rename(moved, dir)
    await node.start()
  })

  test('runs when anything changes that it or its children look at, and is recalled when that is as before', async () => {
    await build()
    assert.equal(await build(), recalled)
    const file = async (path: string, text: string, mode?: number): Promise<() => Promise<void>> => {
      const before = await readFile(path).catch(() => undefined)
      await writeFile(path, text)
      if (mode !== undefined) await chmod(path, mode)
      return async () => (before === undefined ? await rm(path) : await writeFile(path, before))
    }
    const first = join(cluster.dir, 'first')
    const wrapped = (name: string): string => `#!/bin/sh\nexec /usr/bin/${name} "$@"\n`
    const mutations: [what: string, change: () => Promise<() => Promise<void>>][] = [
      ['a source', () => file(join(dir, 'c/x.c'), `${compilingC['c/x.c']}\n/* more */\n`)],
      ['a header', () => file(join(dir, 'c/x.h'), '#define OWN 2\n')],
      ['a header that was not there', () => file(join(dir, 'c/extra.h'), '#define EXTRA 100\n')],
      ['a header of the system', () => file(join(cluster.dir, 'system/fish_system.h'), '#define SYSTEM 20\n')],
      ['a header that hides that one', () => file(join(dir, 'c/fish_system.h'), '#define SYSTEM 30\n')],
      ['a file that only a child reads', () => file(join(dir, 'c/data.txt'), 'other\n')],
      ['a pkg-config file', () => file(join(cluster.dir, 'system/fish.pc'), packageFile('-DFLAG=5'))],
      ['the compiler', () => file(join(first, 'cc'), wrapped('cc'), 0o755)],
      ['the archiver', () => file(join(first, 'ar'), wrapped('ar'), 0o755)],
    ]
    for (const [what, change] of mutations) {
      const back = await change()
      assert.equal(await build(), ran, what)
      await back()
      assert.equal(await build(), recalled, `${what}, as before`)
    }
    const variables: [what: string, more: NodeJS.ProcessEnv, args: string[]][] = [
      ['flags', { FISH_CFLAGS: '-DFLAG=3' }, []],
      ['a variable of the compiler', { CPATH: join(dir, 'c') }, []],
      ['the order of PATH', { PATH: `${join(cluster.dir, 'second')}:${env.PATH}` }, []],
      ['a feature', {}, ['--features=loud']],
      ['a profile', {}, ['--release']],
      ['a target', {}, [`--target=${host}`]],
      ['the script', {}, []],
      ['what the script depends on', {}, []],
    ]
    const changes: Record<string, [path: string, from: string, to: string]> = {
      'the script': ['build.rs', 'a word', 'another word'],
      'what the script depends on': ['helper/src/lib.rs', '-O1', '-O2'],
    }
    await writeAll(join(cluster.dir, 'second'), { cc: wrapped('cc') })
    await chmod(join(cluster.dir, 'second/cc'), 0o755)
    for (const [what, more, args] of variables) {
      const [path, from = '', to = ''] = changes[what] ?? []
      const back =
        path === undefined ? undefined : await file(join(dir, path), (compilingC[path] ?? '').replace(from, to))
      assert.equal(await build(more, args), ran, what)
      await back?.()
      assert.equal(await build(), recalled, `${what}, as before`)
      assert.equal(await says(), '11 data debug')
    }
  })

  test('runs when a file of pkg-config changes that pkg-config alone reads', async () => {
    const asking = { FISH_PC: undefined, FISH_ASKS: '1', PKG_CONFIG_PATH: join(cluster.dir, 'system') }
    const list = join(cluster.dir, 'system/fish.pc')
    assert.equal(await build(asking), ran)
    assert.equal(await build(asking), recalled)
    await writeFile(list, packageFile('-DFLAG=5'))
    assert.equal(await build(asking), ran)
    assert.equal(await says(), '16 data debug')
    await writeFile(list, packageFile('-DPC'))
    assert.equal(await build(asking), recalled)
    assert.equal(await says(), '11 data debug')
    // One that hides it, where none was before.
    const earlier = join(cluster.dir, 'first')
    const both = { ...asking, PKG_CONFIG_PATH: `${earlier}:${asking.PKG_CONFIG_PATH}` }
    assert.equal(await build(both), ran)
    assert.equal(await build(both), recalled)
    await writeFile(join(earlier, 'fish.pc'), packageFile('-DFLAG=6'))
    assert.equal(await build(both), ran)
    assert.equal(await says(), '17 data debug')
    await rm(join(earlier, 'fish.pc'))
    assert.equal(await build(both), recalled)
  })

  test('why says what changed', async () => {
    await build()
    await writeFile(join(dir, 'c/x.h'), '#define OWN 7\n')
    assert.equal(await build(), ran)
    const { stdout } = await node.shoal('why', 'native')
    assert.match(stdout, /native \(build-script-run\): it ran here\n\s+because.*c\/x\.h/)
    await writeFile(join(dir, 'c/x.h'), compilingC['c/x.h'] ?? '')
  })
})
