import assert from 'node:assert/strict'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { systemMachine } from '../../src/daemon/machine.ts'

async function supplies(t: TestContext, all: Record<string, Record<string, string>>): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), 'shoal-power-'))
  t.after(() => rm(dir, { recursive: true }))
  for (const [name, values] of Object.entries(all)) {
    await mkdir(join(dir, name))
    for (const [file, value] of Object.entries(values)) await writeFile(join(dir, name, file), `${value}\n`)
  }
  return dir
}

test('a machine is on battery when its battery is being emptied, whatever its mouse does', async (t) => {
  const mains = { type: 'Mains', online: '0' }
  const battery = { type: 'Battery', status: 'Discharging' }
  const mouse = { ...battery, scope: 'Device' }
  const cases: [boolean, Record<string, Record<string, string>>][] = [
    [false, {}],
    [false, { AC: mains }],
    [true, { AC: mains, BAT0: battery }],
    [true, { BAT0: { ...battery, status: 'Full' }, BAT1: battery }],
    [false, { BAT0: { ...battery, status: 'Charging' } }],
    [false, { BAT0: { ...battery, status: 'Not charging' } }],
    [false, { mouse }],
    [true, { mouse, BAT0: { ...battery, scope: 'System' } }],
  ]
  for (const [expected, all] of cases) {
    assert.equal(systemMachine('linux', await supplies(t, all)).onBattery(), expected, JSON.stringify(all))
  }
  assert.equal(systemMachine('linux', '/nonexistent/power').onBattery(), false)
})

test('work shows as busy processors from one look to the next', () => {
  const machine = systemMachine(process.platform)
  assert.equal(machine.busyCores(), 0)
  const until = performance.now() + 300
  while (performance.now() < until) Math.sqrt(until)
  const busy = machine.busyCores()
  assert.ok(busy > 0.3 && busy <= machine.cores, `${busy} of ${machine.cores}`)
  assert.equal(machine.busyCores(), busy, 'who asks a moment later is told the same')
  assert.ok(machine.freeMemoryBytes() > 1 << 20)
})
