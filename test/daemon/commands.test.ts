import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type CommandNeeds, runCommand } from '../../src/daemon/commands.ts'
import { bench, facts, temporaryFile } from '../watch/support.ts'

for (const [method, params] of [
  ['report', {}],
  ['why', { crate: 'late' }],
] as const) {
  test(`${method}, asked right after cargo has ended, waits for the unit that is still being stored`, async (t) => {
    const { sessions, living } = bench(await temporaryFile(t))
    living.set(10, 'x').set(20, 'y')
    sessions.begin(10, '/ws').finish(facts('early'))
    const late = sessions.begin(20, '/ws')
    living.clear()
    const needs: Pick<CommandNeeds, 'sessions'> = { sessions }
    const asked = runCommand(method, params, needs as CommandNeeds) as Promise<{ units: { crate: string }[] }>
    await new Promise((resolve) => setImmediate(resolve))
    late.finish(facts('late'))
    const { units } = await asked
    assert.deepEqual(
      units.map(({ crate }) => crate),
      ['late'],
    )
  })
}
