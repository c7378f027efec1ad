import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { Cluster, capture } from '../support/cluster.ts'
import { assertNoticed, Fixture, type State, testMutations } from '../support/fixture.ts'
import { kindMutations, kindsState, listenToKinds } from '../support/fixture-kinds.ts'
import { linkMutations, linkState, listenToLinked } from '../support/fixture-linking.ts'
import { lintMutations, lintState, readLints } from '../support/fixture-lints.ts'

describe('kinds of units: changed they are compiled, changed back they are recalled', () => {
  let cluster: Cluster
  let clippy: boolean

  before(async () => {
    cluster = await Cluster.start(['ada'])
    clippy = (await capture('cargo', ['clippy', '--version'])).code === 0
  })
  after(() => cluster.close())

  const place = (name: string): string => join(cluster.dir, name)
  async function fixture(
    name: string,
    state: State,
    listen: ConstructorParameters<typeof Fixture>[3],
  ): Promise<Fixture> {
    const made = new Fixture(cluster.node('ada'), place(name), state, listen)
    await made.prepare()
    return made
  }

  describe('all of them', () => {
    let kinds: Fixture
    before(async () => {
      kinds = await fixture('kinds', kindsState, listenToKinds)
    })
    testMutations(() => kinds, kindMutations)
  })

  describe('what only a linker reads', () => {
    let linked: Fixture
    before(async () => {
      linked = await fixture('linked', await linkState(place('linked')), listenToLinked)
    })
    testMutations(() => linked, linkMutations)
  })

  for (const command of ['check', 'clippy'] as const) {
    test(`cargo ${command}`, async (t) => {
      if (command === 'clippy' && !clippy) return t.skip('clippy is not installed')
      const lints = await fixture(command, lintState(command), async (_dir, _env, ran) => readLints(ran.stderr))
      for (const mutation of lintMutations(command)) {
        await t.test(mutation.title, () => assertNoticed(lints, mutation))
      }
    })
  }
})
