import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { phraseOf } from '../../src/mesh/recovery.ts'
import { Office, type OfficeHost } from '../support/hosts.ts'
import { keepPrograms, keptPrograms } from '../support/programs.ts'

const cli = fileURLToPath(new URL('../../src/cli/main.ts', import.meta.url))

interface Around {
  mesh: { name: string } | null
  near: { name: string; open: boolean }[]
}

interface Pending {
  pending: { name: string; address: string }[]
}

describe('an office where nobody has a link', { timeout: 600_000 }, () => {
  let office: Office | string
  let hosts: OfficeHost[] = []
  const host = (at: number): OfficeHost => {
    const found = hosts[at]
    assert.ok(found)
    return found
  }

  before(async () => {
    office = await Office.open(['ada', 'bert', 'cleo', 'dora', 'eva', 'finn', 'gina', 'hugo'], 'shoaljt')
    if (typeof office === 'string') return
    hosts = [...office.hosts]
    for (const { shoalHome } of hosts) await keptPrograms(shoalHome)
  })
  after(async () => {
    if (hosts[0] !== undefined) await keepPrograms(hosts[0].shoalHome)
    if (typeof office !== 'string') await office?.close()
  })

  test('six digits let a machine in that nobody has told anything', async (t) => {
    if (typeof office === 'string') return t.skip(office)
    const [ada, bert] = [host(0), host(1)]
    const lonely = await bert.tries('join')
    assert.deepEqual([lonely.code, lonely.stdout], [1, ''])
    assert.match(lonely.stderr, /^error\[ERR_PEER_LOST\]: no mesh is heard on the local network/)
    await ada.shoal('init', '--mesh', 'office', '--yes', '--up')
    const around = await bert.tries('init', '--check', '--json')
    assert.equal(around.code, 4)
    const { mesh, near } = JSON.parse(around.stdout) as Around
    assert.deepEqual([mesh, near.map(({ name, open }) => [name, open])], [null, [['office', false]]])

    const joining = bert.start('join', '--up')
    const [, code = ''] = await joining.said(
      /^Say \d{3} \d{3} to somebody of office, who types: shoal approve (\d{6})$/m,
    )
    const { pending } = await ada.json<Pending>('approve')
    assert.deepEqual(
      pending.map(({ name }) => name),
      ['bert'],
    )
    assert.ok(!(await ada.shoal('approve')).includes(code))
    const wrong = await ada.tries('approve', code === '123456' ? '123457' : '123456')
    assert.equal(wrong.code, 2, wrong.stderr)
    assert.match(await ada.shoal('approve', code.slice(0, 3), code.slice(3)), /^bert \(10\.213\.7\.2\) is a member now/)
    const joined = await joining.ended
    assert.equal(joined.code, 0, joined.stderr)
    assert.match(joined.stdout, /now a member of office/)
    await ada.peers(1)
  })

  test('init offers a person the mesh that it hears, and founds another one only if that is wanted', async (t) => {
    if (typeof office === 'string') return t.skip(office)
    const [ada, finn, gina] = [host(0), host(5), host(6)]
    const question =
      /On this network there is already: office\.\s+Join it, instead of founding another mesh\? \[y\/N\] $/
    const joining = finn.atTerminal('init')
    await joining.said(question)
    joining.type('y')
    const [, code = ''] = await joining.said(/somebody of office, who types: shoal approve (\d{6})\r?\n/)
    await ada.shoal('approve', code)
    await joining.said(
      new RegExp(`office says that somebody has typed ${code}\\. Have they told you so\\? \\[y/N\\] $`),
    )
    joining.type('y')
    const joined = await joining.ended
    assert.equal(joined.code, 0, joined.stdout)
    assert.match(joined.stdout, /This machine is now a member of office\.[\s\S]*Next: `shoal up` starts the node/)
    assert.doesNotMatch(joined.stdout, /Recovery phrase/)
    const { peers } = await ada.json<{ peers: { name: string; roles: string[] }[] }>('peers')
    assert.deepEqual(peers.find(({ name }) => name === 'finn')?.roles, ['member', 'lender'])

    const founding = gina.atTerminal('init')
    await founding.said(question)
    founding.type('n')
    const founded = await founding.ended
    assert.equal(founded.code, 0, founded.stdout)
    assert.match(founded.stdout, /belongs to the mesh gina's mesh\.[\s\S]*Recovery phrase of this mesh/)
    const again = gina.atTerminal('init')
    assert.equal((await again.ended).code, 0, 'who has a mesh is asked nothing')
  })

  test('a link leads to the one who made it, also where that one has another address by now', async (t) => {
    if (typeof office === 'string') return t.skip(office)
    const [ada, hugo] = [host(0), host(7)]
    const link = (await ada.shoal('invite')).trim()
    for (const change of [
      ['del', '10.213.7.1/24'],
      ['add', '10.213.7.101/24'],
    ]) {
      const ran = await ada.run('ip', ['addr', ...change, 'dev', 'eth0'])
      assert.equal(ran.code, 0, ran.stderr)
    }
    const joined = await hugo.tries('join', link)
    assert.equal(joined.code, 0, joined.stderr)
    const { peers } = await ada.json<{ peers: { name: string }[] }>('peers')
    assert.ok(peers.some(({ name }) => name === 'hugo'))
  })

  test('an open mesh says so, and lets in whoever has chosen it', async (t) => {
    if (typeof office === 'string') return t.skip(office)
    const [cleo, dora] = [host(2), host(3)]
    assert.match(await cleo.shoal('init', '--mesh', 'hall', '--open-lan', '--yes', '--up'), /^The mesh is open/m)
    const unclear = await dora.tries('join')
    assert.equal(unclear.code, 2)
    assert.match(unclear.stderr, /several meshes are heard: hall \([0-9a-f]{8}\), office \([0-9a-f]{8}\)/)
    const joined = await dora.shoal('join', '--mesh', 'hall', '--up')
    assert.match(joined, /^hall is open/m)
    assert.match(await dora.shoal('status'), /open: whoever finds it on the local network is let in/)
    await cleo.peers(1)
    const closed = await host(0).tries('init', '--open-lan')
    assert.match(closed.stderr, /^error\[ERR_USAGE\]: this machine belongs to office, which is not open/)
  })

  test('with the recovery phrase a new machine finds the mesh by itself, though nobody is left who may let it in', async (t) => {
    if (typeof office === 'string') return t.skip(office)
    const [ada, eva] = [host(0), host(4)]
    const seed = Buffer.from(await readFile(join(ada.shoalHome, 'state/root.key'), 'utf8'), 'base64')
    await ada.shoal('down')
    const input = phraseOf(new Uint8Array(seed))
    const ran = await eva.run(process.execPath, [cli, 'init', '--recover', '--up'], { input })
    assert.equal(ran.code, 0, ran.stderr)
    assert.match(ran.stdout, /is an administrator of office,/)
    assert.match(ran.stdout, /^1 member said who belongs to it/m)
    await eva.peers(1)
  })
})
