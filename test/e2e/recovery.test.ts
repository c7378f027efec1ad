import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { copyFile, readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { phraseOf } from '../../src/mesh/recovery.ts'
import { Cluster, capture, type Ran, shareShim, TestNode } from '../support/cluster.ts'

interface Status {
  node: { addresses: string[] }
  mesh: { id: string; name: string; isAdmin: boolean; admins: number }
}

const cli = new URL('../../src/cli/main.ts', import.meta.url).pathname
const someWords = phraseOf(new Uint8Array(32).fill(3))

describe('a mesh whose only administrator is lost', { timeout: 600_000 }, () => {
  let cluster: Cluster
  let bert: TestNode
  let eva: TestNode
  let phrase = ''
  let was: Status

  before(async () => {
    cluster = await Cluster.start(['ada', 'bert'])
    const ada = cluster.node('ada')
    bert = cluster.node('bert')
    was = await bert.json<Status>('status')
    const seed = Buffer.from(await readFile(join(ada.home, 'state/root.key'), 'utf8'), 'base64')
    phrase = phraseOf(new Uint8Array(seed))
    eva = new TestNode('eva', join(cluster.dir, 'eva'))
    await eva.configure('name = "eva"\n[mesh]\nlisten = ["127.0.0.1"]\nmdns = false\n')
    await shareShim(ada, eva)
    await ada.kill()
    await rm(ada.home, { recursive: true })
    cluster.nodes.splice(0, 1, eva)
  })
  after(() => cluster.close())

  const recover = async (node: TestNode, words: string, ...more: string[]): Promise<Ran> =>
    await capture(process.execPath, [cli, 'init', '--recover', ...more], { env: node.env, input: words })

  test('words that are no phrase, or of another mesh, change nothing', async () => {
    const [address = ''] = was.node.addresses
    const short = await recover(eva, phrase.split(' ').slice(1).join(' '))
    assert.match(short.stderr, /^error\[ERR_RECOVERY_PHRASE\]: it has 23 words/)
    assert.match((await recover(eva, '')).stderr, /^error\[ERR_USAGE\]: no recovery phrase/)
    const other = await recover(eva, someWords, '--member', address)
    assert.equal(other.code, 7)
    assert.match(other.stderr, /^error\[ERR_OTHER_MESH\]/)
    assert.match((await eva.shoal('up')).stderr, /^error\[ERR_NO_MESH\]/)
  })

  test('the words and a member make a new machine the administrator of the same mesh', async () => {
    const [address = ''] = was.node.addresses
    const lines = phrase.replaceAll(/((?:\w+ ){6})/g, '$1\n')
    const ran = await recover(eva, lines, '--member', address)
    assert.equal(ran.code, 0, ran.stderr)
    assert.match(ran.stdout, /is an administrator of ada's mesh, and keeps its root key\.\n/)
    assert.match(ran.stdout, /^1 member said who belongs to it\.\nOther administrators: ada\.$/m)
    assert.ok(!ran.stdout.includes(phrase.split(' ').slice(0, 3).join(' ')))
    await eva.start()
    await eva.waitForPeers(1)
    const { mesh } = await eva.json<Status>('status')
    assert.deepEqual([mesh.id, mesh.isAdmin, mesh.admins], [was.mesh.id, true, 2])
    const kicked = await eva.shoal('kick', 'ada')
    assert.equal(kicked.code, 0, kicked.stderr)
    for (const node of [eva, bert]) {
      const { peers } = await node.json<{ peers: { name: string; roles: string[] }[] }>('peers')
      assert.equal(
        peers.some(({ name, roles }) => name === 'ada' && roles.length > 0),
        false,
      )
    }
    await bert.waitForPeers(1)
  })

  test('a machine that is still a member needs nobody; one that was shut out hears so from a member, and gets another key', async () => {
    assert.match((await recover(bert, phrase)).stderr, /^error\[ERR_DAEMON_RUNNING\]/)
    await bert.stop()
    assert.match((await recover(bert, someWords)).stderr, /^error\[ERR_OTHER_MESH\]: these are not|belongs to/)
    const key = await readFile(join(bert.home, 'state/identity.key'), 'utf8')
    const alone = await recover(bert, phrase, '--json')
    assert.equal(alone.code, 0, alone.stderr)
    assert.deepEqual((JSON.parse(alone.stdout) as { recovered: object }).recovered, { heard: 0, admins: ['eva'] })
    assert.equal(await readFile(join(bert.home, 'state/identity.key'), 'utf8'), key)

    assert.equal((await eva.shoal('kick', 'bert')).code, 0)
    const [address = ''] = (await eva.json<Status>('status')).node.addresses
    const again = await recover(bert, phrase, '--member', address)
    assert.equal(again.code, 0, again.stderr)
    assert.notEqual(await readFile(join(bert.home, 'state/identity.key'), 'utf8'), key)
    await bert.start()
    await bert.waitForPeers(1)
    assert.equal((await bert.json<Status>('status')).mesh.isAdmin, true)
  })

  test('who has the words takes the root key off a disk, and is shut out for good by a kick then', async () => {
    const forget = async (words: string, ...more: string[]): Promise<Ran> =>
      await capture(process.execPath, [cli, 'init', '--forget-root', ...more], { env: bert.env, input: words })
    const file = join(bert.home, 'state/root.key')
    assert.match((await forget(phrase)).stderr, /^error\[ERR_DAEMON_RUNNING\]/)
    await bert.stop()
    assert.match((await forget(someWords)).stderr, /^error\[ERR_OTHER_MESH\]/)
    assert.ok(existsSync(file))
    // Left behind by a mesh that this machine has left and come back to.
    const aside = `${file}.left-1`
    await copyFile(file, aside)
    const ran = await forget(phrase)
    assert.equal(ran.code, 0, ran.stderr)
    assert.ok(
      ran.stdout.includes(`removed ${file}\n  removed ${aside}\n`) && ran.stdout.includes('Other administrators: eva.'),
    )
    assert.ok(!existsSync(file) && !existsSync(aside))
    const again = JSON.parse((await forget(phrase, '--json')).stdout) as { removed: string[] }
    assert.deepEqual(again.removed, [])

    await bert.start()
    await bert.waitForPeers(1)
    assert.equal((await bert.json<Status>('status')).mesh.isAdmin, true)
    assert.equal((await bert.shoal('invite')).code, 0)
    const kicked = await eva.shoal('kick', 'bert')
    assert.equal(kicked.code, 0, kicked.stderr)
    assert.notEqual((await bert.shoal('rekey')).code, 0)
    await eva.stop()
    const refused = await capture(process.execPath, [cli, 'init', '--forget-root'], { env: eva.env, input: phrase })
    assert.match(refused.stderr, /^error\[ERR_ROLE\]: this machine is the only administrator/)
    assert.ok(existsSync(join(eva.home, 'state/root.key')))
  })
})
