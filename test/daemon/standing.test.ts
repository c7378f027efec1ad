import assert from 'node:assert/strict'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { Key } from 'interface-datastore'
import { silentLogger } from '../../src/base/log.ts'
import { Determinism } from '../../src/daemon/determinism.ts'
import { Standings } from '../../src/daemon/standing.ts'
import { WorkspaceTrust } from '../../src/daemon/workspace-trust.ts'
import { openIndexDb } from '../../src/store/index-db.ts'

async function directory(t: TestContext): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), 'shoal-trust-'))
  t.after(() => rm(dir, { recursive: true, force: true }))
  return dir
}

test('what was found out about members and packages outlives the node', async (t) => {
  const dir = join(await directory(t), 'index')
  const first = await openIndexDb({ dir, log: silentLogger })
  const standings = await Standings.open({ datastore: first.datastore, log: silentLogger })
  const ledger = await Determinism.open({ datastore: first.datastore, log: silentLogger })
  assert.equal(standings.view('ann'), undefined)
  standings.accepted('ann')
  await standings.agreed('ann')
  await standings.unexplained('ann')
  const lie = { package: 'x 1.0.0', action: 'ab', at: 5 }
  const other = { package: 'y 1.0.0', action: 'cd', at: 7 }
  const lied = [await standings.lied('bob', lie), await standings.lied('bob', { ...lie, at: 6 })]
  assert.deepEqual([...lied, standings.isLiar('bob')], [false, false, false], 'of one package it may be the compiler')
  assert.deepEqual([await standings.lied('bob', other), await standings.lied('bob', other)], [true, false])
  await standings.doubt(new Uint8Array([1]))
  await ledger.note('fine 1.0.0', 'aa', true)
  await ledger.note('dice 1.0.0', 'aa', true)
  await ledger.note('dice 1.0.0', 'aa', false)
  await first.close()

  const second = await openIndexDb({ dir, log: silentLogger })
  t.after(() => second.close())
  const again = await Standings.open({ datastore: second.datastore, log: silentLogger })
  assert.deepEqual(again.view('ann'), {
    accepted: 0,
    audited: 2,
    agreed: 1,
    unexplained: 1,
    lies: [],
    isLiar: false,
  })
  assert.deepEqual([again.isLiar('ann'), again.isLiar('bob'), again.isLiar('cy')], [false, true, false])
  assert.deepEqual(again.view('bob')?.lies, [lie, other])
  assert.deepEqual([again.isDoubted(new Uint8Array([1])), again.isDoubted(new Uint8Array([2]))], [true, false])
  const kept = await Determinism.open({ datastore: second.datastore, log: silentLogger })
  assert.deepEqual([kept.isUnsteady('dice 1.0.0'), kept.isUnsteady('fine 1.0.0')], [true, false])
  assert.deepEqual(kept.unsteady(), [{ package: 'dice 1.0.0', toolchain: 'aa', same: 1, different: 1 }])
})

test('a liar stays one, whatever its packages are called and whatever becomes of the record', async (t) => {
  const dir = join(await directory(t), 'index')
  const first = await openIndexDb({ dir, log: silentLogger })
  let isFull = false
  const datastore = new Proxy(first.datastore, {
    get(of, name) {
      if (name === 'put' && isFull) throw new Error('no space')
      return Reflect.get(of, name).bind(of)
    },
  })
  const standings = await Standings.open({ datastore, log: silentLogger })
  const lie = (name: string) => ({ package: name, action: 'a'.repeat(64), at: 1 })
  for (let n = 0; n < 8; n += 1) await standings.lied('long', lie(`${n}${'語'.repeat(300)}`))
  await standings.lied('late', lie('a'))
  isFull = true
  await assert.rejects(standings.lied('late', lie('b')))
  isFull = false
  assert.deepEqual([standings.isLiar('late'), await standings.lied('late', lie('c'))], [false, true])
  const at = await Promise.all(['a', 'b', 'c'].map((name) => standings.lied('often', lie(name))))
  assert.deepEqual(at, [false, true, false])
  await standings.agreed('fine')
  for (const name of ['odd', 'fine']) await standings.agreed(name)
  await datastore.put(new Key('/standing/odd', false), new Uint8Array([1, 2]))
  await first.close()

  const second = await openIndexDb({ dir, log: silentLogger })
  t.after(() => second.close())
  const again = await Standings.open({ datastore: second.datastore, log: silentLogger })
  assert.deepEqual(again.liars().sort(), ['late', 'long', 'odd', 'often'])
  assert.deepEqual([again.view('long')?.lies.length, again.view('odd')?.isLiar], [8, true])
  // Nothing that is found right afterwards hides what cannot be read.
  await again.agreed('odd')
  const third = await Standings.open({ datastore: second.datastore, log: silentLogger })
  assert.ok(third.isLiar('odd'))
})

test('a workspace asks for more than its machine, for all that is built below it', async (t) => {
  const dir = await directory(t)
  const manifest = async (at: string, text: string): Promise<string> => {
    await mkdir(join(dir, at), { recursive: true })
    await writeFile(join(dir, at, 'Cargo.toml'), text)
    return join(dir, at)
  }
  const root = await manifest('ws', '[workspace]\n[workspace.metadata.shoal]\ntrust = "quorum:2"\n')
  const member = await manifest('ws/member', '[package]\nname = "member"\n')
  const alone = await manifest('alone', '[package]\nname = "a"\n[package.metadata.shoal]\ntrust = "ci"\n')
  const wrong = await manifest('wrong', '[package]\nname = "w"\n[package.metadata.shoal]\ntrust = "everybody"\n')
  const list = await manifest('list', '[workspace.metadata.shoal]\ntrust = ["own"]\n')
  const broken = await manifest('broken', '[workspace.metadata.shoal]\ntrust = \n')
  const none = await manifest('none', '[package]\nname = "n" # trust me\n')
  const trust = new WorkspaceTrust({ kind: 'team' }, silentLogger)
  const kinds = async (...dirs: string[]) =>
    (await trust.of(dirs.join(), () => dirs)).map((policy) =>
      policy.kind === 'quorum' ? `quorum:${policy.people}` : policy.kind,
    )
  assert.deepEqual(await kinds(root), ['team', 'quorum:2'])
  assert.deepEqual(await kinds(member), ['team', 'quorum:2'])
  assert.deepEqual(await kinds(member, alone), ['team', 'quorum:2', 'ci'])
  for (const bad of [wrong, list, broken]) assert.deepEqual(await kinds(bad), ['team', 'own'], bad)
  for (const plain of [none, join(dir, 'nowhere/at/all')]) assert.deepEqual(await kinds(plain), ['team'], plain)
  await writeFile(join(root, 'Cargo.toml'), '[workspace]\n')
  assert.deepEqual(await kinds(root), ['team', 'quorum:2'], 'looked at once for a build')
})
