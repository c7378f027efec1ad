import assert from 'node:assert/strict'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { Cluster, capture, type UnitRow } from '../support/cluster.ts'
import { assertAllRecalled, Fixture, packageManifest, readSaid, writeFiles } from '../support/fixture.ts'

const depends = (...names: string[]): string =>
  `[dependencies]\n${names.map((name) => `${name} = { path = "../${name}" }\n`).join('')}`

const files = {
  'Cargo.toml': '[workspace]\nresolver = "2"\nmembers = ["ui", "ui_extra", "middle", "app", "other"]\n',
  'ui/Cargo.toml': packageManifest('ui', '[lib]\ncrate-type = ["lib", "cdylib"]\n'),
  'ui/src/lib.rs': 'pub fn value() -> u8 {\n    1\n}\n',
  'ui_extra/Cargo.toml': packageManifest('ui_extra'),
  'ui_extra/src/lib.rs': 'pub fn value() -> u8 {\n    10\n}\n',
  'middle/Cargo.toml': packageManifest('middle', depends('ui')),
  'middle/src/lib.rs': 'pub fn value() -> u8 {\n    ui::value()\n}\n',
  'app/Cargo.toml': packageManifest('app', depends('middle')),
  'app/src/main.rs': 'fn main() {\n    println!("app={}", middle::value());\n}\n',
  'other/Cargo.toml': packageManifest('other', depends('ui_extra')),
  'other/src/main.rs': 'fn main() {\n    println!("other={}", ui_extra::value());\n}\n',
}

describe('a library whose file is called without a hash', () => {
  let cluster: Cluster
  let fixture: Fixture
  const of = (...packages: string[]) => ({
    env: {},
    args: ['build', '--offline', ...packages.flatMap((name) => ['-p', name])],
  })

  before(async () => {
    cluster = await Cluster.start(['ada'])
    const node = cluster.node('ada')
    fixture = new Fixture(node, join(cluster.dir, 'ws'), { files, ...of('app') }, async (dir) =>
      readSaid((await capture(join(dir, 'target/debug/app'), [])).stdout),
    )
    await writeFiles(fixture.dir, files)
  })
  after(() => cluster.close())

  const outcomes = (units: UnitRow[], crate: string): string[] =>
    units.filter((unit) => unit.crate === crate).map(({ outcome }) => outcome)

  test('binds nobody to the libraries beside it that begin like it', async () => {
    await fixture.build(of('other'))
    // Nothing of what is linked next is still being kept then, which gives it another time stamp.
    await fixture.build(of('middle'), { keepTarget: true })
    const first = await fixture.build(of('app'), { keepTarget: true })
    assert.deepEqual(outcomes(first.units, 'app'), ['compiled-here'])
    assertAllRecalled((await fixture.succeed(of('app'))).units)

    await writeFiles(fixture.dir, { 'ui_extra/src/lib.rs': 'pub fn value() -> u8 {\n    11\n}\n' })
    const { units } = await fixture.succeed(of())
    for (const crate of ['ui', 'middle', 'app']) assert.deepEqual(outcomes(units, crate), ['recalled-here'], crate)
    assert.deepEqual(outcomes(units, 'other'), ['compiled-here'])
  })

  test('is itself an input of whoever links it', async () => {
    await writeFiles(fixture.dir, { 'ui/src/lib.rs': 'pub fn value() -> u8 {\n    2\n}\n' })
    const changed = await fixture.succeed(of('app'))
    assert.deepEqual(await fixture.listen({}, changed.ran), { app: '2' })
    assert.deepEqual(outcomes(changed.units, 'app'), ['compiled-here'])
    await writeFiles(fixture.dir, { 'ui/src/lib.rs': files['ui/src/lib.rs'] })
    const back = await fixture.succeed(of('app'))
    assert.deepEqual(await fixture.listen({}, back.ran), { app: '1' })
    assertAllRecalled(back.units)
  })
})
