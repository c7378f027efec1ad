import { ShoalError } from '../../base/errors.ts'
import { processRuns } from '../process.ts'
import { mustRun, runChild } from './child.ts'

/** Where the nodes of the demo live. */
export interface Network {
  kind: 'namespaces' | 'loopback'
  /** The command line that runs `argv` where node `index` lives. */
  at(index: number, argv: readonly string[]): string[]
  /** Gives back everything that was set up, and ends what still runs inside. */
  close(): Promise<void>
}

const bridge = 'shoal-demo'
const namespaceOf = (letter: string): string => `shoal-demo-${letter}`
const cableOf = (letter: string): string => `shoal-demo-v${letter}`

const loopback: Network = {
  kind: 'loopback',
  at: (_, argv) => [...argv],
  close: async () => undefined,
}

/**
 * As root on Linux: a network namespace for every node, all on one bridge without a way out, 10.77.0.0/24. Otherwise
 * (or where the kernel does not allow it) all nodes share the loopback interface.
 * @param letters one per node
 * @param say told why there are no namespaces, when there could have been
 * @throws ShoalError ERR_DAEMON_RUNNING when another demo is using the namespaces
 */
export async function openNetwork(letters: readonly string[], say: (text: string) => void): Promise<Network> {
  if (process.platform !== 'linux' || process.getuid?.() !== 0) return loopback
  if ((await runs(['ip', '-Version'])) !== true) {
    say('ip(8) is not installed: all nodes share the loopback interface')
    return loopback
  }
  await refuseWhenInUse(letters)
  // What a demo that was killed may have left.
  await remove(letters)
  try {
    await create(letters)
  } catch (error) {
    await remove(letters)
    say(`no network namespaces here (${error instanceof Error ? error.message : String(error)}): using loopback`)
    return loopback
  }
  return {
    kind: 'namespaces',
    at: (index, argv) => ['ip', 'netns', 'exec', namespaceOf(letters[index] ?? ''), ...argv],
    async close() {
      await endLeftOvers(letters)
      await remove(letters)
    },
  }
}

async function create(letters: readonly string[]): Promise<void> {
  await ip('link', 'add', bridge, 'type', 'bridge')
  await ip('link', 'set', bridge, 'up')
  for (const [index, letter] of letters.entries()) {
    const namespace = namespaceOf(letter)
    const cable = cableOf(letter)
    await ip('netns', 'add', namespace)
    await ip('link', 'add', cable, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', namespace)
    await ip('link', 'set', cable, 'master', bridge, 'up')
    await ip('-n', namespace, 'addr', 'add', `10.77.0.${index + 1}/24`, 'dev', 'eth0')
    await ip('-n', namespace, 'link', 'set', 'lo', 'up')
    await ip('-n', namespace, 'link', 'set', 'eth0', 'up')
    // mDNS sends to a multicast group, and a packet to a group needs a route like any other.
    await ip('-n', namespace, 'route', 'add', 'default', 'dev', 'eth0')
  }
}

async function remove(letters: readonly string[]): Promise<void> {
  for (const letter of letters) {
    await runs(['ip', 'netns', 'delete', namespaceOf(letter)])
    await runs(['ip', 'link', 'delete', cableOf(letter)])
  }
  await runs(['ip', 'link', 'delete', bridge])
}

async function refuseWhenInUse(letters: readonly string[]): Promise<void> {
  const pids = await processesIn(letters)
  if (pids.length === 0) return
  throw new ShoalError('ERR_DAEMON_RUNNING', `a demo is running already (processes ${pids.join(', ')})`, {
    hint: 'Wait for it, or end those processes.',
  })
}

// A node that was interrupted while it started is known to nobody else.
async function endLeftOvers(letters: readonly string[]): Promise<void> {
  for (const pid of await processesIn(letters)) {
    if (await processRuns(pid)) process.kill(pid, 'SIGKILL')
  }
}

async function processesIn(letters: readonly string[]): Promise<number[]> {
  const found = await Promise.all(letters.map((letter) => runChild(['ip', 'netns', 'pids', namespaceOf(letter)])))
  return found.flatMap(({ code, stdout }) => (code === 0 ? stdout.split('\n').filter(Boolean).map(Number) : []))
}

async function ip(...args: string[]): Promise<void> {
  await mustRun(['ip', ...args])
}

/** Whether it succeeds; a program that is not there does not. */
async function runs(argv: readonly string[]): Promise<boolean> {
  return await runChild(argv).then(
    ({ code }) => code === 0,
    () => false,
  )
}
