import assert from 'node:assert/strict'
import { chmod, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import fc from 'fast-check'
import { codeOf } from '../../src/base/errors.ts'
import { issueCertificate, lifetimeMs, renew } from '../../src/mesh/certificate.ts'
import { createInvite, proveInvite } from '../../src/mesh/invite.ts'
import { kick } from '../../src/mesh/kick.ts'
import { redeem } from '../../src/mesh/redeem.ts'
import { leave, revoke } from '../../src/mesh/revocation.ts'
import { Roster } from '../../src/mesh/roster.ts'
import { loadRoster, saveRoster } from '../../src/mesh/roster-file.ts'
import { maxStatements } from '../../src/mesh/roster-places.ts'
import { hex, lateMs } from '../../src/mesh/statement.ts'
import { day, hour, inviting, keyOf, office, plain, serialOf, start, trusted } from './office.ts'

const { genesis, root, ann, ivy, max, hire, roster } = office()
const now = start + hour
const code = (expected: string, run: () => unknown): void => assert.throws(run, { code: expected })

/** Statements of every type, with every kind of conflict among them. */
function history(): Uint8Array[] {
  const bob = hire(root, 5, trusted, start, 'bob')
  const rogue = hire(ann, 6, trusted, start, 'rogue')
  const kim = hire(ivy, 7, plain, start, 'kim')
  const lee = hire(rogue, 8, plain, start, 'lee')
  const secret = serialOf(50)
  const invite = createInvite(ann, { secret, roles: plain }, start)
  const used = [ivy, bob].flatMap((inviter, at) => {
    const channel = new Uint8Array(32)
    const subject = keyOf(10 + at).publicKey
    const proof = proveInvite({ secret, mesh: invite.body.mesh, subject, inviter: inviter.key.publicKey, channel })
    const book = roster(ann, ivy)
    book.add(invite.bytes, start)
    const request = { proof, remote: subject, channel, name: `guest${at}`, serial: serialOf(51 + at) }
    const made = redeem({ book, issuer: inviter }, request, start + at)
    return [made.certificate, made.redemption]
  })
  const spare = createInvite(ivy, { secret: serialOf(60), roles: plain }, start)
  const promoted = { subject: kim.key.publicKey, name: 'kim', roles: inviting, serial: serialOf(61) }
  const people = [ann, ivy, max, bob, rogue, kim, lee].map(({ certificate }) => certificate)
  const statements = [
    ...people,
    invite,
    spare,
    ...used,
    ...[5, 6, 7, 8].map((ms) => renew(max.certificate, ann, start + ms, serialOf(62 + ms))),
    ...[9, 10, 11].map((ms) =>
      issueCertificate(root, { ...promoted, roles: plain, serial: serialOf(62 + ms) }, start + ms),
    ),
    issueCertificate(bob, promoted, start + 6),
    revoke(ivy, { kind: 'invite', invite: spare.body.invite }, 'burned', start),
    leave(max, start),
    leave(max, start + 1),
    leave(max, start + 2),
    leave(hire(ivy, 4, plain, start + 1), start + 1),
    revoke(rogue, { kind: 'key', key: bob.key.publicKey }, 'kicked', start),
    revoke(ann, { kind: 'key', key: rogue.key.publicKey }, 'kicked', start),
    revoke(ann, { kind: 'issuer', key: ivy.key.publicKey, keep: [kim.certificate.id] }, 'kicked', start),
    revoke(root, { kind: 'issuer', key: rogue.key.publicKey, keep: [] }, 'kicked', start),
  ]
  return statements.map(({ bytes }) => bytes)
}

/** Everything that a roster can be asked. */
function verdicts(book: Roster, at: number): unknown {
  const keys = Array.from({ length: 12 }, (_, number) => keyOf(number + 1).publicKey)
  const answer = (run: () => unknown): unknown => {
    try {
      return run()
    } catch (error) {
      return codeOf(error)
    }
  }
  const invites = [serialOf(50), serialOf(60)].map(
    (secret) => createInvite(ann, { secret, roles: plain }, start).body.invite,
  )
  return {
    digest: hex(book.digest(at)),
    ids: book.ids(at).map(hex),
    members: book.members(at).map(({ name }) => name),
    keys: keys.map((key) => answer(() => book.verify(key, at).name)),
    invites: invites.map((invite) => answer(() => hex(book.openInvite(invite, at).id))),
  }
}

test('whatever the order, and however often: the same digest, the same verdicts', () => {
  const all = history()
  const shuffled = fc
    .shuffledSubarray(all, { minLength: 0 })
    .chain((subset) =>
      fc.tuple(
        fc.constant(subset),
        fc.shuffledSubarray([...subset, ...subset.slice(0, 5)], { minLength: subset.length }),
      ),
    )
  fc.assert(
    fc.property(shuffled, ([subset, mixed]) => {
      const [one, two] = [new Roster(genesis), new Roster(genesis)]
      for (const bytes of subset) one.add(bytes, now)
      for (const bytes of [...mixed, ...subset]) {
        two.add(bytes, now)
        two.members(now)
      }
      for (const at of [now, start + lifetimeMs + lateMs, start + 40 * day, start + 500 * day]) {
        assert.deepEqual(verdicts(two, at), verdicts(one, at))
      }
    }),
    { numRuns: 40, seed: 7 },
  )
})

test('the whole history comes out as it should', () => {
  const book = new Roster(genesis)
  for (const bytes of history()) book.add(bytes, now)
  assert.deepEqual(
    book
      .members(now)
      .map(({ name }) => name)
      .toSorted(),
    // Of the two guests with one link, who came first is out with ivy, and who came second stays out.
    ['ann', 'bob', 'ivy', 'kim'],
  )
})

test('two nodes exchange what the other lacks, and then agree', () => {
  const all = history()
  const [one, two] = [new Roster(genesis), new Roster(genesis)]
  all.forEach((bytes, at) => {
    const known = at % 3 === 0 ? [one] : at % 3 === 1 ? [two] : [one, two]
    for (const book of known) book.add(bytes, now)
  })
  assert.notDeepEqual(one.digest(now), two.digest(now))
  const [toOne, toTwo] = [two.bytesOf(one.missing(two.ids(now))), one.bytesOf(two.missing(one.ids(now)))]
  for (const bytes of toOne) assert.equal(one.add(bytes, now), 'added')
  for (const bytes of toTwo) two.add(bytes, now)
  assert.deepEqual(one.digest(now), two.digest(now))
  assert.deepEqual(one.missing(two.ids(now)), [])
  assert.deepEqual(one.bytesOf([new Uint8Array(32)]), [])
  const tooMany = Array.from({ length: maxStatements + 1 }, () => new Uint8Array(32))
  code('ERR_LIMIT', () => one.missing(tooMany))
  code('ERR_LIMIT', () => one.bytesOf(tooMany))
})

test('the digest of nothing is that of no bytes', () => {
  assert.equal(hex(new Roster(genesis).digest(now)), 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855')
})

test('of a member that is renewed for years, three certificates are kept', () => {
  const book = new Roster(genesis)
  let certificate = hire(root, 9, plain).certificate
  for (let time = start; time < start + 1000 * day; time += lifetimeMs / 2) {
    certificate = renew(certificate, root, time, serialOf(time / day))
    book.add(certificate.bytes, time)
    assert.ok(book.size <= 3)
    assert.equal(book.verify(certificate.body.subject, time).notAfter, time + lifetimeMs)
  }
})

async function stateDir(t: TestContext): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), 'shoal-roster-'))
  t.after(() => rm(dir, { recursive: true }))
  return dir
}

test('a roster is one file, which others cannot read', async (t) => {
  const dir = await stateDir(t)
  await assert.rejects(loadRoster(dir, now), { code: 'ERR_NO_MESH' })
  await assert.rejects(loadRoster(join(dir, 'absent'), now), { code: 'ERR_NO_MESH' })
  const book = new Roster(genesis)
  for (const bytes of history()) book.add(bytes, now)
  await saveRoster(dir, book, now)
  const loaded = await loadRoster(dir, now)
  assert.deepEqual(verdicts(loaded, now), verdicts(book, now))
  assert.deepEqual(loaded.genesis, genesis)
  assert.deepEqual(await readdir(dir), ['roster'])
  // Later, what has passed away is no damage.
  const late = start + 500 * day
  assert.deepEqual(verdicts(await loadRoster(dir, late), late), verdicts(book, late))
  await chmod(join(dir, 'roster'), 0o644)
  await assert.rejects(loadRoster(dir, now), { code: 'ERR_CONFIG' })
})

test('a damaged roster is put aside, and no empty one takes its place', async (t) => {
  const dir = await stateDir(t)
  const book = roster(ann, ivy, max)
  for (const statement of kick({ roster: book, issuer: ann, random: () => serialOf(1) }, max.key.publicKey, {}, now)) {
    book.add(statement.bytes, now)
  }
  await saveRoster(dir, book, now)
  const good = await readFile(join(dir, 'roster'), 'utf8')
  const damage = [
    '',
    good.slice(0, -1),
    good.slice(0, good.length / 2),
    good.slice(65),
    `${good}x`,
    good.replace(/^./, (digit) => (digit === 'a' ? 'b' : 'a')),
    good.replace(/.\n$/, (end) => (end.startsWith('A') ? 'B\n' : 'A\n')),
    '\u0000'.repeat(good.length),
  ]
  for (const [number, text] of damage.entries()) {
    await writeFile(join(dir, 'roster'), text, { mode: 0o600 })
    await assert.rejects(loadRoster(dir, now + number), { code: 'ERR_ROSTER_DAMAGED' })
    const aside = `roster.damaged-${now + number}`
    assert.deepEqual(await readdir(dir), [aside])
    assert.equal(await readFile(join(dir, aside), 'utf8'), text)
    // And again, as long as nobody has looked after it.
    await assert.rejects(loadRoster(dir, now), { code: 'ERR_ROSTER_DAMAGED' })
    await rm(join(dir, aside))
  }
  await writeFile(join(dir, 'roster'), good, { mode: 0o600 })
  assert.equal((await loadRoster(dir, now)).members(now).length, 2)
})
