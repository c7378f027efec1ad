import assert from 'node:assert/strict'
import { rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { Cluster, capture, type TestNode } from '../support/cluster.ts'
import { buildAnew, crossing, everything, withLaunchers, writeAll } from '../support/scripts.ts'

const elsewhere = 'aarch64-unknown-linux-gnu'
/** For what is compiled without a library of the target, and for targets that a file describes. */
const bootstrap = { RUSTC_BOOTSTRAP: '1' }

describe('a build script of what is made for another kind of machine', { skip: process.arch !== 'x64' }, () => {
  let cluster: Cluster
  let node: TestNode
  let dir: string
  const targets: [what: string, args: string[]][] = []
  before(async () => {
    cluster = await Cluster.start(['ada'])
    node = cluster.node('ada')
    await withLaunchers(node)
    dir = join(cluster.dir, 'crossing')
    await writeAll(dir, crossing)
    const host = /host: (.*)/.exec((await capture('rustc', ['-vV'])).stdout)?.[1] ?? ''
    const asked = ['-Zunstable-options', '--print=target-spec-json', '--target=x86_64-unknown-none']
    const spec = await capture('rustc', asked, { env: { ...process.env, ...bootstrap } })
    assert.equal(spec.code, 0, spec.stderr)
    await writeFile(join(cluster.dir, 'fish.json'), spec.stdout)
    targets.push(
      ['the machine itself', []],
      ['the machine itself by its name', [`--target=${host}`]],
      ['another one', [`--target=${elsewhere}`]],
      ['another one, in the new layout', [`--target=${elsewhere}`, '-Zbuild-dir-new-layout']],
      ['one that a file describes', ['-Zjson-target-spec', `--target=${join(cluster.dir, 'fish.json')}`]],
    )
  })
  after(() => cluster.close())

  const build = async (args: string[], env: NodeJS.ProcessEnv = {}): Promise<string> => {
    const { runs, code, stderr } = await buildAnew(node, dir, { env: { ...bootstrap, ...env }, args })
    assert.equal(code, 0, stderr)
    const run = runs.get('crossing')
    return `${run?.outcome} ${run?.reason}`.trim()
  }
  /** What the script left. */
  const left = async (): Promise<[path: string, text: string][]> => {
    const isLeft = ([path]: [string, string]): boolean => /\/out\/[^/]+$/.test(path) && path.includes('said')
    return [...(await everything(join(dir, 'target')))].filter(isLeft)
  }

  test('runs once for each, and is recalled for each as plain cargo has it run', async () => {
    for (const [what, args] of targets) {
      await rm(join(dir, 'target'), { recursive: true, force: true })
      const own = { ...process.env, ...bootstrap, CARGO_INCREMENTAL: '0', RUSTC_WRAPPER: '' }
      const plain = await capture('cargo', ['build', '--offline', ...args], { cwd: dir, env: own })
      assert.equal(plain.code, 0, `${what}: ${plain.stderr}`)
      const theirs = await left()
      assert.equal(theirs.length, 1, what)
      const isFor = what.startsWith('another') ? /said \{ \(aarch64\)/ : /said \{ \(x86_64\)/
      assert.match(Buffer.from(theirs[0]?.[1].split(' ')[2] ?? '', 'hex').toString(), isFor, what)
      assert.equal(await build(args), 'compiled-here', what)
      assert.equal(await build(args), 'recalled-here', what)
      assert.deepEqual(await left(), theirs, what)
    }
    // And back again, each as it was left.
    for (const [what, args] of targets) {
      assert.equal(await build(args), 'recalled-here', what)
      assert.equal(await build(args, { SAYS: 'alone' }), 'compiled-here', `${what}, other words`)
      assert.equal(await build(args), 'recalled-here', `${what}, as before`)
    }
  })
})
