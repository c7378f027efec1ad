import assert from 'node:assert/strict'
import { chmod, mkdir, mkdtemp, readdir, readFile, readlink, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { capture, enrol, type Ran, TestNode } from '../support/cluster.ts'

const cli = new URL('../../src/cli/main.ts', import.meta.url).pathname
/** In the shell that starts the node: one that no node is given, and one that it is because of its name. */
const [secret, own] = ['canary-of-the-shell', 'canary-of-the-node']
const watched = ['bwrap', 'prlimit', 'chrt', 'rustc'] as const

interface Status {
  node: { pid: number; addresses: string[] }
  lending: { tier: string; reason: string }
}

/** Listening sockets of one table of /proc/net, by inode: the local address as the kernel writes it. */
async function listening(table: 'tcp' | 'tcp6'): Promise<Map<string, string>> {
  const rows = (await readFile(`/proc/net/${table}`, 'utf8')).split('\n').slice(1)
  const fields = rows.map((row) => row.trim().split(/\s+/)).filter(([, , , state]) => state === '0A')
  return new Map(fields.map(([, local = '', , , , , , , , inode = '']) => [inode, local]))
}

/** `0100007F:1F90` is 127.0.0.1 and port 8080: the address in the byte order of the machine. */
function readable(local: string): string {
  const [address = '', port = ''] = local.split(':')
  return `/ip4/${Buffer.from(address, 'hex').reverse().join('.')}/tcp/${Number.parseInt(port, 16)}`
}

const isHere = process.platform === 'linux'

describe('a node that was started from a shell', { timeout: 600_000, skip: !isHere && 'needs /proc' }, () => {
  let dir = ''
  let node: TestNode
  let status: Status

  const shoal = async (...args: string[]): Promise<Ran> => {
    const PATH = `${join(dir, 'bin')}:${process.env.PATH}`
    const env = { ...node.env, PATH, SHELL_CANARY: secret, SHOAL_CANARY: own }
    return await capture(process.execPath, [cli, ...args], { env })
  }

  before(async () => {
    dir = await mkdtemp(join(tmpdir(), 'shoal-surface-'))
    await mkdir(join(dir, 'bin'))
    await mkdir(join(dir, 'seen'))
    for (const name of watched) {
      const { stdout } = await capture('sh', ['-c', `command -v ${name}`])
      if (stdout === '') continue
      const program = join(dir, 'bin', name)
      await writeFile(program, `#!/bin/sh\n/usr/bin/env > '${dir}/seen/${name}.'$$\nexec '${stdout.trim()}' "$@"\n`)
      await chmod(program, 0o755)
    }
    node = new TestNode('ada', join(dir, 'ada'))
    await node.configure('name = "ada"\n[mesh]\nlisten = ["127.0.0.1"]\nmdns = false\n[lend]\nyield = false\n')
    await enrol(node, undefined)
    const up = await shoal('up')
    assert.equal(up.code, 0, up.stderr)
    for (;;) {
      status = await node.ask<Status>('status')
      if (status.lending.reason !== 'not started') break
      await delay(50)
    }
  })
  after(async () => {
    await shoal('down')
    await rm(dir, { recursive: true, force: true, maxRetries: 5 })
  })

  test('listens on TCP for the mesh alone, and for its user at one socket in the file system', async () => {
    const fds = await readdir(`/proc/${status.node.pid}/fd`)
    const links = await Promise.all(fds.map((fd) => readlink(`/proc/${status.node.pid}/fd/${fd}`).catch(() => '')))
    const inodes = links.flatMap((link) => /^socket:\[(\d+)\]$/.exec(link)?.[1] ?? [])
    const [four, six] = [await listening('tcp'), await listening('tcp6')]
    const open = inodes.flatMap((inode) => four.get(inode) ?? [])
    const said = status.node.addresses.map((address) => address.replace(/\/p2p\/.*$/, ''))
    assert.deepEqual(open.map(readable), said)
    assert.deepEqual(
      inodes.flatMap((inode) => six.get(inode) ?? []),
      [],
    )
    const local = (await readFile('/proc/net/unix', 'utf8')).split('\n').slice(1)
    const accepting = local.map((row) => row.split(/\s+/)).filter(([, , , flags]) => flags === '00010000')
    const paths = accepting.filter(([, , , , , , inode = '']) => inodes.includes(inode)).map((row) => row[7] ?? '')
    assert.deepEqual(paths, [join(node.home, 'run/shoal.sock')])
  })

  test('knows nothing of the shell but what it needs, and what it starts knows no more; guests know nothing of the node', async () => {
    const names = new Set<string>()
    for (const file of await readdir(join(dir, 'seen'))) {
      const [name = ''] = file.split('.')
      names.add(name)
      const seen = await readFile(join(dir, 'seen', file), 'utf8')
      assert.ok(!seen.includes(secret), name)
      if (name !== 'rustc') assert.ok(!seen.includes(own), `${name}: ${seen}`)
    }
    assert.ok(names.has('bwrap'), [...names].join(', '))
    const daemon = await readFile(`/proc/${status.node.pid}/environ`, 'utf8')
    assert.ok(daemon.includes(own) && !daemon.includes(secret))
  })

  test('is looked at by doctor, and so is what is left when it has stopped', async () => {
    interface Checks {
      checks: { check: string; level: string; what: string }[]
    }
    const look = async (): Promise<Map<string, string>> => {
      const ran = await shoal('doctor', '--json')
      assert.equal(ran.code, 4, ran.stdout)
      return new Map((JSON.parse(ran.stdout) as Checks).checks.map(({ check, level }) => [check, level]))
    }
    const running = await look()
    for (const check of ['shim', 'mesh', 'certificate', 'node', 'peers', 'socket', 'state directory']) {
      assert.equal(running.get(check), 'ok', check)
    }
    assert.equal(running.get('sandbox'), status.lending.tier === 'none' ? 'warn' : 'ok')
    assert.deepEqual([running.get('administrators'), running.get('discovery')], ['warn', 'warn'])
    assert.equal((await shoal('down')).code, 0)
    const stopped = await look()
    assert.deepEqual([stopped.get('node'), stopped.get('sandbox'), stopped.get('shim')], ['warn', 'warn', 'ok'])
  })
})
