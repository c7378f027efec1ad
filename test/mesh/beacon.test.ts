import assert from 'node:assert/strict'
import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { type TestContext, test } from 'node:test'
import { setImmediate } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { afterwards } from './fixture.ts'

const program = fileURLToPath(new URL('beacon-node.ts', import.meta.url))
const execute = promisify(execFile)
const ip = (...args: string[]) => execute('ip', args)
const at = (namespace: string, ...args: string[]): string[] => [
  'netns',
  'exec',
  namespace,
  process.execPath,
  program,
  ...args,
]

interface Heard {
  ms: number
  addresses: string[]
}

/** A machine between two others, whose default route leads to the first; and one without any network. */
async function makeNetworks(t: TestContext): Promise<[string, string, string, string] | string> {
  if (process.getuid?.() !== 0) return 'network namespaces need root'
  const names = ['m', 'a', 'b', 'n'].map((letter) => `shoal${process.pid}${letter}`) as [string, string, string, string]
  const [middle, ...outer] = names
  try {
    await ip('netns', 'add', middle)
  } catch (error) {
    return `network namespaces cannot be made: ${error instanceof Error ? error.message : error}`
  }
  afterwards(t, async () => {
    for (const name of names) await ip('netns', 'del', name).catch(() => undefined)
  })
  for (const name of outer) await ip('netns', 'add', name)
  for (const [index, name] of outer.slice(0, 2).entries()) {
    await ip('link', 'add', `eth${index}`, 'netns', middle, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', name)
    for (const [where, dev, host] of [
      [middle, `eth${index}`, 1],
      [name, 'eth0', 2],
    ] as const) {
      await ip('-n', where, 'address', 'add', `10.78.${index}.${host}/24`, 'dev', dev)
      await ip('-n', where, 'link', 'set', dev, 'up')
    }
  }
  // The kernel notices a moment later that a cable is plugged in, and until then there is no network.
  for (const name of [middle, ...outer.slice(0, 2)]) {
    while (
      /NO-CARRIER|state (DOWN|LOWERLAYERDOWN)/.test(
        (await ip('-n', name, 'link', 'show', 'up')).stdout.replace(/.*LOOPBACK.*/g, ''),
      )
    ) {
      await setImmediate()
    }
  }
  await ip('-n', middle, 'route', 'add', 'default', 'via', '10.78.0.2')
  return names
}

async function hear(namespace: string): Promise<Heard> {
  return JSON.parse((await execute('ip', at(namespace, 'hear'))).stdout) as Heard
}

test('a node is heard on each of its networks, whichever has the default route, and nobody listens without one', async (t) => {
  const networks = await makeNetworks(t)
  if (typeof networks === 'string') return t.skip(networks)
  const [middle, first, second, none] = networks
  const peer = '12D3KooWJWoaqZhDaoEFshF7Rh1bpY9ohihFhzcW6d69Lr2NASuq'
  const address = `/ip4/10.78.1.1/tcp/4001/p2p/${peer}`
  const speaker = spawn('ip', at(middle, 'say', address), { stdio: ['pipe', 'pipe', 'inherit'] })
  afterwards(t, async () => {
    const ended = once(speaker, 'close')
    speaker.stdin.end()
    await ended
  })
  await once(speaker.stdout, 'data')
  const [there, here, alone] = await Promise.all([hear(second), hear(first), hear(none)])
  assert.deepEqual([there.addresses, here.addresses, alone.addresses], [[address], [address], []])
  const asking = spawn('ip', at(second, 'say', address.replace('10.78.1.1', '10.78.1.2')), {
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  afterwards(t, async () => {
    const ended = once(asking, 'close')
    asking.stdin.end()
    await ended
  })
  await once(asking.stdout, 'data')
  assert.equal((await hear(middle)).addresses.length, 1, 'the question goes out on both networks')
})
