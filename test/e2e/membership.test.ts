import assert from 'node:assert/strict'
import { cp, readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { Cluster, TestNode } from '../support/cluster.ts'

interface Peers {
  self: { roles: string[] }
  peers: { name: string; peerId: string; connected: boolean; roles: string[] }[]
}

describe('a mesh of three, by the commands that people type', { timeout: 600_000 }, () => {
  let cluster: Cluster
  let ada: TestNode
  let bert: TestNode
  let cleo: TestNode

  before(async () => {
    cluster = await Cluster.start(['ada', 'bert', 'cleo'])
    ada = cluster.node('ada')
    bert = cluster.node('bert')
    cleo = cluster.node('cleo')
  })
  after(async () => {
    // Started again by itself.
    await bert.shoal('down')
    await cluster.close()
  })

  async function until(node: TestNode, holds: (peers: Peers['peers'], self: Peers['self']) => boolean): Promise<void> {
    for (let polls = 0; polls < 1200; polls++) {
      const { peers, self } = await node.ask<Peers>('peers')
      if (holds(peers, self)) return
      await delay(50)
    }
    assert.fail(`${node.name} sees ${JSON.stringify(await node.ask<Peers>('peers'))}\n${node.log}`)
  }

  test('peers shows what everybody is', async () => {
    const { peers } = await cleo.json<Peers>('peers')
    const roles = Object.fromEntries(peers.map((peer) => [peer.name, peer.roles]))
    assert.deepEqual(roles, { ada: ['member', 'lender', 'inviter', 'admin'], bert: ['member', 'lender'] })
  })

  test('what is secret is readable for the owner alone, and no link was given twice', async () => {
    for (const [node, name] of [
      [ada, 'root.key'],
      [ada, 'roster'],
      [ada, 'mesh.json'],
      [bert, 'roster'],
    ] as const) {
      assert.equal((await stat(join(node.home, 'state', name))).mode & 0o777, 0o600)
    }
    const links = [(await ada.shoal('invite')).stdout, (await ada.shoal('invite')).stdout]
    assert.match(links[0] ?? '', /^shoal1:[a-z2-7]+\n$/)
    assert.notEqual(links[0], links[1])
  })

  test('a member invites nobody until it was promoted; a new name is everywhere', async () => {
    const refused = await bert.shoal('invite')
    assert.equal(refused.code, 7)
    assert.match(refused.stderr, /^error\[ERR_ROLE\]/)
    assert.equal((await bert.shoal('promote', 'bert')).code, 7)
    assert.equal((await ada.shoal('promote', 'bert', '--role', 'inviter')).code, 0)
    await until(bert, (_, self) => self.roles.includes('inviter'))
    assert.equal((await bert.shoal('invite')).code, 0)
    assert.equal((await bert.shoal('rename', 'berta')).code, 0)
    await until(cleo, (peers) => peers.some(({ name, roles }) => name === 'berta' && roles.includes('inviter')))
    assert.equal((await bert.json<{ node: { name: string } }>('status')).node.name, 'berta')
  })

  test('rekey gives a machine another key, and the node comes back with it', async () => {
    const before = await bert.json<{ node: { peerId: string } }>('status')
    const ran = await bert.shoal('rekey')
    assert.equal(ran.code, 0, ran.stderr)
    const { node } = await bert.json<{ node: { peerId: string } }>('status')
    assert.notEqual(node.peerId, before.node.peerId)
    assert.match(ran.stdout, new RegExp(`new key: ${node.peerId}\n.*shut out: ${before.node.peerId}\n`))
    for (const other of [ada, cleo]) {
      await until(other, (peers) => {
        const [berta, ...more] = peers.filter(({ name }) => name === 'berta')
        const isNew = berta?.peerId === node.peerId && berta.connected && berta.roles.includes('inviter')
        return isNew && more.length === 0 && peers.every(({ peerId }) => peerId !== before.node.peerId)
      })
    }
  })

  test('kick shuts out at once, and what is shut out learns it', async () => {
    const ran = await bert.shoal('kick', 'cleo')
    assert.equal(ran.code, 7, ran.stderr)
    assert.equal((await ada.shoal('kick', 'nobody')).code, 2)
    assert.equal((await ada.shoal('kick', 'cleo')).code, 0)
    for (const node of [ada, bert]) await until(node, (peers) => peers.every(({ name }) => name !== 'cleo'))
    await until(cleo, (peers) => peers.every(({ connected }) => !connected))
    for (let polls = 0; polls < 1200; polls++) {
      const { health } = await cleo.ask<{ health: { code: string }[] }>('status')
      if (health.some(({ code }) => code === 'ERR_REVOKED')) return
      await delay(50)
    }
    assert.fail(cleo.log)
  })

  test('who was shut out and gets a link all the same joins with another key', async () => {
    const file = join(cleo.home, 'state/identity.key')
    const before = await readFile(file, 'utf8')
    assert.notEqual((await cleo.shoal('rekey')).code, 0)
    await cleo.stop()
    const link = (await ada.shoal('invite')).stdout.trim()
    const ran = await cleo.shoal('join', link)
    assert.equal(ran.code, 0, ran.stderr)
    assert.match(ran.stdout, /wrote .*identity\.key/)
    assert.notEqual(await readFile(file, 'utf8'), before)
  })

  test('who leaves is gone for the others, and its key with it; who has a copy of that is told', async (t) => {
    const twin = new TestNode('twin', join(cluster.dir, 'twin'))
    t.after(() => twin.stop())
    const isOurs = (path: string): boolean => !/\/(run|lock|cache)(\/|$)/.test(path.slice(bert.home.length))
    await cp(bert.home, twin.home, { recursive: true, filter: isOurs })
    await twin.start()
    const healthOf = async (node: TestNode): Promise<{ code: string; text: string; hint: string }[]> =>
      (await node.ask<{ health: { code: string; text: string; hint: string }[] }>('status')).health
    const says = async (node: TestNode, code: string): Promise<{ text: string; hint: string }> => {
      for (let polls = 0; polls < 1200; polls++) {
        const found = (await healthOf(node)).find((problem) => problem.code === code)
        if (found !== undefined) return found
        await delay(50)
      }
      assert.fail(`${node.name} never says ${code}\n${node.log}`)
    }
    await says(bert, 'ERR_CLONED')
    const asked = await bert.shoal('leave')
    assert.equal(asked.code, 2, asked.stdout)
    assert.match(asked.stderr, /Another machine has a copy of the key of this one\.[\s\S]*hint: Say --yes to leave/)
    assert.ok((await bert.shoal('status')).stdout.includes('berta'), 'it has not left')

    const left = await bert.shoal('leave', '--yes')
    assert.equal(left.code, 0, left.stderr)
    await until(ada, (peers) => peers.every(({ name }) => name !== 'berta'))
    await assert.rejects(stat(join(bert.home, 'state/identity.key')), { code: 'ENOENT' })
    const { hint } = await says(twin, 'ERR_REVOKED')
    assert.match(hint, /^Ask for a new link/)
  })

  test('a node with a mesh from before there were certificates says what to do, and loses nothing', async () => {
    const file = join(cleo.home, 'state/mesh.json')
    await cleo.stop()
    const before = JSON.stringify({ v: 1, id: 'a'.repeat(26), name: 'old', secret: 'AAAA', open: false, seeds: [] })
    await writeFile(file, before)
    const up = await cleo.shoal('up')
    assert.match(up.stderr, /^error\[ERR_MESH_OUTDATED\].*\n {2}hint: Run `shoal init`/)
    assert.equal(await readFile(file, 'utf8'), before)
  })
})
