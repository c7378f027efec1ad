import assert from 'node:assert/strict'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { TestBus } from '../support/bus.ts'
import { whileBusy } from '../support/busy.ts'
import { chains } from '../support/chains.ts'
import { Cluster, lastReport, type TestNode } from '../support/cluster.ts'
import { writeFiles } from '../support/fixture.ts'

describe('a lender whose machine goes to sleep', { skip: TestBus.missing, timeout: 600_000 }, () => {
  let bus: TestBus
  let cluster: Cluster
  let ada: TestNode
  let ben: TestNode
  let builds = 0

  before(async () => {
    bus = await TestBus.start()
    const awake = { DBUS_SYSTEM_BUS_ADDRESS: `unix:path=${bus.path}` }
    cluster = await Cluster.start(
      ['ada', 'ben'],
      () => '',
      (name) => (name === 'ben' ? awake : {}),
    )
    ada = cluster.node('ada')
    ben = cluster.node('ben')
  })
  after(async () => {
    await cluster.close()
    await bus.stop()
  })

  const lent = async (): Promise<number> => (await ben.ask<{ slots: { lent: number } }>('status')).slots.lent

  async function until(what: string, holds: () => boolean | Promise<boolean>): Promise<void> {
    for (let tries = 0; !(await holds()); tries++) {
      assert.ok(tries < 6000, `never: ${what}\n${ben.log.slice(-2000)}`)
      await delay(10)
    }
  }

  /** Builds with no slot free at home, so that Ben gets a guest, and acts when he has. */
  async function withGuest(act: () => Promise<void>): Promise<void> {
    const dir = join(cluster.dir, `build-${builds++}`)
    await writeFiles(dir, chains({ chains: 4, length: 2, steps: 700_000, salt: `${process.pid} ${builds}` }))
    const ran = await whileBusy(ada, `${dir}-busy`, 2, async (release) => {
      const building = ada.cargo(dir, 'build', '--offline')
      await until('Ben has a guest', async () => (await lent()) > 0)
      await act()
      await release()
      return await building
    })
    assert.equal(ran.code, 0, ran.stderr)
  }

  test('takes leave before it does, and lends again when it is awake', async () => {
    await withGuest(async () => {
      bus.login.prepareForSleep(true)
      await until('its unit came back', () => /"why":"goodbye"/.test(ada.log))
      await until('Ben has none any more', async () => (await lent()) === 0)
    })
    const made = (await lastReport(ada)).units
    assert.equal(made.length, 8)
    bus.login.prepareForSleep(false)
    await until('it is awake', () => ben.log.includes('the machine is awake'))
    await withGuest(async () => undefined)
  })
})
