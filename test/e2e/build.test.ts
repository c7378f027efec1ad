import assert from 'node:assert/strict'
import { readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { artifacts, Cluster, capture, lastReport, type UnitRow } from '../support/cluster.ts'
import { writeRemapWrapper } from '../support/plain.ts'

const isLib = (unit: UnitRow): boolean => unit.kind === 'lib'
const share = (units: UnitRow[], test: (unit: UnitRow) => boolean): number =>
  units.filter((unit) => isLib(unit) && test(unit)).length / units.filter(isLib).length

/** The artifacts of a plain cargo with the same remap flags, in a directory of its own. */
async function reference(cluster: Cluster, example: string, as: string): Promise<Map<string, Buffer>> {
  const dir = await cluster.checkout(example, as)
  const wrapper = await writeRemapWrapper(cluster.dir)
  const env = { ...process.env, RUSTC_WRAPPER: wrapper, CARGO_INCREMENTAL: '0', CARGO_TERM_COLOR: 'never' }
  const ran = await capture('cargo', ['build', '--offline'], { cwd: dir, env })
  assert.equal(ran.code, 0, ran.stderr)
  return await artifacts(join(dir, 'target'))
}

function assertSameBytes(actual: Map<string, Buffer>, expected: Map<string, Buffer>): void {
  assert.deepEqual([...actual.keys()].sort(), [...expected.keys()].sort())
  const different = [...expected].filter(
    ([name, bytes]) => Buffer.compare(actual.get(name) ?? Buffer.of(), bytes) !== 0,
  )
  assert.deepEqual(
    different.map(([name]) => name),
    [],
  )
}

describe('a workspace without dependencies, on three nodes', () => {
  let cluster: Cluster
  let plain: Map<string, Buffer>
  let first: string

  before(async () => {
    cluster = await Cluster.start(['ada', 'ben', 'cyd'])
    plain = await reference(cluster, 'offline', 'reference')
  })
  after(() => cluster.close())

  test('a first build is shared, and its bytes are those of plain rustc', async () => {
    first = await cluster.checkout('offline', 'first')
    const ran = await cluster.node('ada').cargo(first, 'build', '--offline')
    assert.equal(ran.code, 0, ran.stderr)
    const { units } = await lastReport(cluster.node('ada'))
    assert.ok(
      units.some((unit) => unit.outcome === 'compiled-mesh'),
      JSON.stringify(units),
    )
    assertSameBytes(await artifacts(join(first, 'target')), plain)
  })

  test('another node in another directory recalls it, and the program runs', async () => {
    const second = await cluster.checkout('offline', 'some/other/place')
    const ran = await cluster.node('ben').cargo(second, 'build', '--offline')
    assert.equal(ran.code, 0, ran.stderr)
    const { units } = await lastReport(cluster.node('ben'))
    assert.ok(share(units, (unit) => unit.outcome.startsWith('recalled')) >= 0.9, JSON.stringify(units))
    assertSameBytes(await artifacts(join(second, 'target')), plain)
    const program = await capture(join(second, 'target/debug/tally'), ['--version'])
    assert.equal(program.code, 0, program.stderr)
  })

  test('from nothing in the same directory everything is recalled here, and nothing is stale afterwards', async () => {
    const node = cluster.node('ada')
    await rm(join(first, 'target'), { recursive: true })
    assert.equal((await node.cargo(first, 'build', '--offline')).code, 0)
    const { units } = await lastReport(node)
    assert.equal(
      share(units, (unit) => unit.outcome === 'recalled-here'),
      1,
      JSON.stringify(units),
    )
    assertSameBytes(await artifacts(join(first, 'target')), plain)
    const again = await node.cargo(first, 'build', '--offline')
    assert.doesNotMatch(again.stderr, /Compiling/)
    const without = await capture('cargo', ['build', '--offline'], {
      cwd: first,
      env: { ...process.env, CARGO_INCREMENTAL: '0' },
    })
    assert.doesNotMatch(without.stderr, /Compiling/, 'the wrapper must not be part of what cargo compares')
  })

  test('an edit is compiled, and undone it is recalled', async () => {
    const node = cluster.node('ada')
    const file = join(first, 'crates/decimal/src/lib.rs')
    const original = await readFile(file, 'utf8')
    await writeFile(file, `${original}\n/// Added by a test.\npub fn added_by_a_test() -> u8 {\n    7\n}\n`)
    assert.equal((await node.cargo(first, 'build', '--offline')).code, 0)
    const edited = (await lastReport(node)).units.filter((unit) => unit.crate === 'tally_decimal')
    assert.match(edited[0]?.outcome ?? '', /^compiled/)
    await writeFile(file, original)
    assert.equal((await node.cargo(first, 'build', '--offline')).code, 0)
    const undone = (await lastReport(node)).units.filter((unit) => unit.crate === 'tally_decimal')
    assert.equal(undone[0]?.outcome, 'recalled-here')
    assertSameBytes(await artifacts(join(first, 'target')), plain)
  })

  test('the tests of its members pass', async () => {
    // `npm run oracle` does all of it, beside plain cargo. These two have tests of every kind.
    const packages = ['-p', 'tally', '-p', 'tally-record']
    const ran = await cluster.node('cyd').cargo(first, 'test', '--offline', '--quiet', ...packages)
    assert.equal(ran.code, 0, ran.stdout + ran.stderr)
  })

  test('a compile error looks as without Shoal, once, with the same exit code', async () => {
    const broken = await cluster.checkout('offline', 'broken')
    const file = join(broken, 'crates/graph/src/lib.rs')
    await writeFile(file, `${await readFile(file, 'utf8')}\npub fn wrong() -> u8 { let unused = 1; "text" }\n`)
    const args = ['build', '--offline', '--color=always', '-p', 'tally-graph']
    const env = { ...process.env, CARGO_INCREMENTAL: '0' }
    const plainRan = await capture('cargo', args, { cwd: broken, env })
    await rm(join(broken, 'target'), { recursive: true })
    const ran = await cluster.node('ada').cargo(broken, ...args)
    assert.notEqual(plainRan.code, 0)
    assert.equal(ran.code, plainRan.code)
    const diagnostics = (text: string): string =>
      text.slice(text.indexOf('unused variable') - 40).split('warning: build failed')[0] ?? ''
    assert.equal(diagnostics(ran.stderr), diagnostics(plainRan.stderr))
    assert.equal(ran.stderr.split('mismatched types').length, plainRan.stderr.split('mismatched types').length)
  })
})
