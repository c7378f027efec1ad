import { type ChildProcess, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { silentLogger } from '../../src/base/log.ts'
import { createBlockStore } from '../../src/store/blocks.ts'
import { createMembership } from '../mesh/hiring.ts'
import { capture } from '../support/cluster.ts'
import type { Answer, Order } from './blocks-node.ts'
import { say } from './figures.ts'
import { Network } from './network.ts'

/**
 * What compressing gains on slow links: libraries as rustc makes them beside as many bytes that cannot be compressed, from one node to
 * another. `npm run bench -- slow-link [--mbit N]`.
 */
const program = fileURLToPath(new URL('blocks-node.ts', import.meta.url))
const at = process.argv.indexOf('--mbit')
const rates = at < 0 ? [20, 100, 1000] : [Number(process.argv[at + 1])]
const MB = 1_000_000
const wantedBytes = 24 * MB
const leastFile = 64 * 1024
const mostFile = 8 * MB

interface Block {
  cid: string
  size: number
}

/** Libraries of the installed toolchain: what cargo would have others compile looks the same. */
async function libraries(): Promise<Uint8Array[]> {
  const sysroot = (await capture('rustc', ['--print', 'sysroot'])).stdout.trim()
  const host = /^host: (.*)$/m.exec((await capture('rustc', ['-vV'])).stdout)?.[1] ?? ''
  const dir = join(sysroot, 'lib/rustlib', host, 'lib')
  const found: Uint8Array[] = []
  let bytes = 0
  for (const name of (await readdir(dir)).sort()) {
    if (!/\.(rlib|rmeta)$/.test(name)) continue
    const content = await readFile(join(dir, name))
    if (content.length < leastFile || content.length > mostFile || bytes + content.length > wantedBytes) continue
    found.push(content)
    bytes += content.length
  }
  return found
}

async function filled(dir: string, contents: readonly Uint8Array[]): Promise<Block[]> {
  const store = createBlockStore({ dir: join(dir, 'blocks'), log: silentLogger, maxBytes: 8e9, minFreeBytes: 0 })
  await store.start()
  const blocks: Block[] = []
  for (const content of contents) blocks.push({ cid: (await store.put(content)).toString(), size: content.length })
  await store.stop()
  return blocks
}

async function ask(node: ChildProcess, order: Order): Promise<Answer> {
  const answered = once(node, 'message')
  node.send(order)
  const [answer] = (await answered) as [Answer]
  if (answer.error !== undefined) throw new Error(answer.error)
  return answer
}

async function measure(dir: string, mbit: number): Promise<void> {
  const network = await Network.make(2, mbit)
  if (typeof network === 'string') return void say(`${mbit} Mbit/s: not measured, ${network}`)
  const nodes: ChildProcess[] = []
  try {
    const real = await libraries()
    const random = real.map(({ length }) => new Uint8Array(randomBytes(length)))
    const bytes = real.reduce((sum, { length }) => sum + length, 0)
    const [realBlocks, randomBlocks] = [await filled(join(dir, '0'), real), await filled(join(dir, '0'), random)]
    const membership = createMembership({ name: 'bench' })
    const peers: Answer[] = []
    for (const [index, { address, command }] of network.hosts.entries()) {
      const [first = '', ...rest] = command([process.execPath, '--expose-gc', program])
      const node = spawn(first, rest, { stdio: ['ignore', 'inherit', 'inherit', 'ipc'], serialization: 'advanced' })
      nodes.push(node)
      const seeds = peers.flatMap(({ addresses = [] }) => addresses)
      const order: Order = {
        do: 'start',
        dir: join(dir, String(index)),
        membership: { ...membership, seeds },
        listen: address,
      }
      peers.push(await ask(node, order))
    }
    const [holder, fetcher] = nodes as [ChildProcess, ChildProcess]
    const from = [peers[0]?.peerId ?? '']
    const fetch = async (blocks: Block[]): Promise<{ ms: number; sent: number }> => {
      const before = (await ask(holder, { do: 'usage' })).sentBytes ?? 0
      const { ms = 0 } = await ask(fetcher, { do: 'fetch', blocks, from, keep: true })
      return { ms, sent: ((await ask(holder, { do: 'usage' })).sentBytes ?? 0) - before }
    }
    // The first fetch learns how fast the link is.
    await fetch(randomBlocks.splice(0, 2))
    const plain = await fetch(randomBlocks)
    const packed = await fetch(realBlocks)
    const plainBytes = randomBlocks.reduce((sum, { size }) => sum + size, 0)
    const [slow, fast] = [plainBytes / plain.ms / 1000, bytes / packed.ms / 1000]
    say(
      `  ${mbit} Mbit/s: ${slow.toFixed(1)} MB/s of what cannot be compressed, ${fast.toFixed(1)} MB/s of libraries, ` +
        `${(fast / slow).toFixed(2)} x; ${((packed.sent / bytes) * 100).toFixed(0)} % of their bytes crossed the link`,
    )
  } finally {
    for (const node of nodes) {
      const gone = once(node, 'exit')
      if (node.connected) node.disconnect()
      else node.kill('SIGKILL')
      await gone
    }
    await network.remove()
  }
}

say('libraries from one node to another over slow links, beside as many random bytes')
for (const mbit of rates) {
  const dir = await mkdtemp(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'shoal-slow-link-'))
  try {
    await measure(dir, mbit)
  } finally {
    await rm(dir, { recursive: true, force: true })
  }
}
process.exit()
