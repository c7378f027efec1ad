import assert from 'node:assert/strict'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { TestBus } from '../support/bus.ts'
import { chains } from '../support/chains.ts'
import { Cluster, lastReport, type Ran, type TestNode } from '../support/cluster.ts'
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

  /** More at a time than Ada has slots for. */
  async function build(meanwhile: (building: { over: boolean }) => Promise<void>): Promise<void> {
    // The same one each time: after the first build it is known how long units take, so that they are worth sending away.
    const dir = join(cluster.dir, 'build')
    builds += 1
    await writeFiles(dir, chains({ chains: 4, length: 2, steps: 700_000, salt: `${process.pid} ${builds}` }))
    const building = { over: false }
    const running: Promise<Ran> = ada.cargo(dir, 'build', '--offline').finally(() => {
      building.over = true
    })
    await meanwhile(building)
    const ran = await running
    assert.equal(ran.code, 0, ran.stderr)
  }

  async function until(what: string, holds: () => boolean | Promise<boolean>): Promise<void> {
    for (let tries = 0; !(await holds()); tries++) {
      assert.ok(tries < 6000, `never: ${what}\n${ben.log.slice(-2000)}`)
      await delay(10)
    }
  }

  /** Builds until Ben has a guest: on a busy machine a build may find that all its units are as fast at home. False: he never had. */
  async function withGuest(act: () => Promise<void>): Promise<boolean> {
    let hasGuest = false
    for (let tries = 0; tries < 10 && !hasGuest; tries++)
      await build(async (building) => {
        while (!building.over && !hasGuest) hasGuest = (await lent()) > 0
        if (hasGuest) await act()
      })
    return hasGuest
  }

  test('takes leave before it does, and lends again when it is awake', async () => {
    await build(async () => undefined)
    const comesBack = await withGuest(async () => {
      bus.login.prepareForSleep(true)
      await until('its unit came back', () => /"why":"goodbye"/.test(ada.log))
      await until('Ben has none any more', async () => (await lent()) === 0)
    })
    assert.ok(comesBack)
    const made = (await lastReport(ada)).units
    assert.equal(made.length, 8)
    bus.login.prepareForSleep(false)
    await until('it is awake', () => ben.log.includes('the machine is awake'))
    assert.ok(await withGuest(async () => undefined))
  })
})
