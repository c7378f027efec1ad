import { join } from 'node:path'
import { after, before, describe } from 'node:test'
import { Cluster, capture } from '../support/cluster.ts'
import { Fixture, readSaid, testMutations } from '../support/fixture.ts'
import { inputMutations } from '../support/fixture-input-mutations.ts'
import { inputsState } from '../support/fixture-inputs.ts'

describe('whatever goes into a unit: changed it is compiled, changed back it is recalled', () => {
  let cluster: Cluster
  let fixture: Fixture

  before(async () => {
    cluster = await Cluster.start(['ada'])
    const dir = join(cluster.dir, 'inputs')
    fixture = new Fixture(cluster.node('ada'), dir, inputsState(dir), async () =>
      readSaid((await capture(join(dir, 'target/debug/app'), [])).stdout),
    )
    await fixture.prepare()
  })
  after(() => cluster.close())

  testMutations(() => fixture, inputMutations)
})
