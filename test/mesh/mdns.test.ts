import assert from 'node:assert/strict'
import { type ChildProcessByStdio, execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import type { Readable, Writable } from 'node:stream'
import { type TestContext, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { afterwards } from './fixture.ts'
import { createMembership, textOf } from './hiring.ts'

const program = fileURLToPath(new URL('mdns-node.ts', import.meta.url))
const ip = (...args: string[]) => promisify(execFile)('ip', args)

/** Two network namespaces with a cable between them, gone after the test; why not, where that is impossible. */
async function makeNetwork(t: TestContext): Promise<[string, string] | string> {
  if (process.getuid?.() !== 0) return 'network namespaces need root'
  const names: [string, string] = [`shoal${process.pid}a`, `shoal${process.pid}b`]
  try {
    await ip('netns', 'add', names[0])
  } catch (error) {
    return `network namespaces cannot be made: ${error instanceof Error ? error.message : error}`
  }
  afterwards(t, async () => {
    for (const name of names) await ip('netns', 'del', name).catch(() => undefined)
  })
  await ip('netns', 'add', names[1])
  await ip('link', 'add', 'wire', 'netns', names[0], 'type', 'veth', 'peer', 'name', 'wire', 'netns', names[1])
  for (const [index, name] of names.entries()) {
    await ip('-n', name, 'link', 'set', 'lo', 'up')
    await ip('-n', name, 'address', 'add', `10.77.0.${index + 1}/24`, 'dev', 'wire')
    await ip('-n', name, 'link', 'set', 'wire', 'up')
    await ip('-n', name, 'route', 'add', 'default', 'dev', 'wire')
  }
  return names
}

interface Machine {
  child: ChildProcessByStdio<Writable, Readable, null>
  /** By mesh: itself, and whom it met, in order. */
  self: Map<string, string>
  met: Map<string, string[]>
}

function startMachine(t: TestContext, namespace: string, links: string[], onLine: () => void): Machine {
  const args = ['netns', 'exec', namespace, process.execPath, program, ...links]
  const child = spawn('ip', args, { stdio: ['pipe', 'pipe', 'inherit'] })
  afterwards(t, async () => {
    const ended = once(child, 'close')
    child.stdin.end()
    await ended
  })
  const machine: Machine = { child, self: new Map(), met: new Map() }
  createInterface({ input: child.stdout }).on('line', (line) => {
    const [mesh = '', what, peer = ''] = line.split(' ')
    if (what === 'self') machine.self.set(mesh, peer)
    else machine.met.set(mesh, [...(machine.met.get(mesh) ?? []), peer])
    onLine()
  })
  return machine
}

test('members on one network find each other by mDNS; members of two meshes do not', { timeout: 60_000 }, async (t) => {
  const network = await makeNetwork(t)
  if (typeof network === 'string') {
    t.skip(network)
    return
  }
  const links = ['ours', 'theirs'].map((name) => textOf(createMembership({ name })))
  let notify = (): void => undefined
  const [one, two] = network.map((name) => startMachine(t, name, links, () => notify()))
  assert.ok(one && two)
  const complete = (): boolean => [one, two].every(({ met, self }) => met.size === 2 && self.size === 2)
  while (!complete()) {
    await new Promise<void>((resolve) => {
      notify = resolve
    })
  }
  for (const mesh of ['0', '1']) {
    assert.deepEqual(one.met.get(mesh), [two.self.get(mesh)])
    assert.deepEqual(two.met.get(mesh), [one.self.get(mesh)])
  }
})
